"""Mistakes of one run and disagreements of two; also with missing, damaged or vanishing files."""

import shutil

from helpers import page_figures, page_table, page_text, rerun


def titles(app):
    return [figure["layout"]["title"]["text"] for figure in page_figures(app)]


def examples(app):
    return page_table(app, "answer", "id")


def test_mistakes_are_counted_and_shown_with_their_texts(open_page, add_predictions):
    add_predictions(wrong=6, sure=.6)
    at = open_page("mistakes")
    confusion, calibration = titles(at)
    assert confusion.startswith("SST: sentiment") and calibration.startswith("Calibration: error")
    assert "Expected calibration error" in page_text(at)
    shown = examples(at)
    assert list(shown) == ["gold", "answer", "confidence", "text", "id"] and len(shown) == 6
    assert list(shown["confidence"]) == sorted(shown["confidence"], reverse=True)
    hostile = "<script>alert(1)</script> **bold** [x](javascript:1)"
    assert shown.iloc[-1]["text"] == hostile and hostile not in page_text(at)  # a table shows it as text
    at.segmented_control(key="ms").set_value("all")
    at = rerun(at)
    assert len(examples(at)) == 20
    at.get("pagination")[0].set_value(2)
    assert len(examples(rerun(at))) == 4


def test_choices_come_from_the_address(open_page, add_predictions):
    add_predictions(wrong=6)
    add_predictions("gse", wrong=9)
    at = open_page("mistakes", mr="gse-1", m2="baseline-1", mt="QQP", ms="disagreements", mg="1 paraphrase")
    assert at.selectbox(key="mr").value == "gse-1"
    shown = examples(at)
    assert list(shown) == ["gold", "answer", "answer 2", "text1", "text2", "id"]
    assert set(shown["gold"]) <= {"1 paraphrase"} and (shown["answer"] != shown["answer 2"]).all()
    bad = open_page("mistakes", mr="../../etc", mt="<b>", mp="99", mg="x")
    assert bad.selectbox(key="mr").value in ("gse-1", "baseline-1") and len(examples(bad))


def test_a_click_on_a_cell_lists_its_examples(open_page, add_predictions):
    add_predictions(wrong=6)
    at = open_page("mistakes")
    cells = page_figures(at)[0]["data"][1]
    assert cells["customdata"][7] == [1, 2] and len(cells["x"]) == 25
    before = examples(at)
    gold, answer = before["gold"].iloc[0], before["answer"].iloc[0]
    at = open_page("mistakes", mg=gold, ma=answer)
    assert set(zip(examples(at)["gold"], examples(at)["answer"], strict=True)) == {(gold, answer)}


def test_sts_has_a_scatter_plot_for_each_run(open_page, add_predictions):
    add_predictions(wrong=6)
    add_predictions("gse", wrong=2)
    at = open_page("mistakes", mt="STS", m2="gse-1")
    assert len(titles(at)) == 2 and all("STS: similarity: r 0." in title for title in titles(at))
    shown = examples(at)
    assert (shown["gold"] - shown[["answer", "answer 2"]].mean(axis=1)).abs().max() > .5


def test_rows_with_the_same_id_are_examples_of_their_own(open_page, add_predictions, repeated):
    add_predictions(wrong=6, sure=.6)
    add_predictions("gse", wrong=9, sure=.6)
    at = open_page("mistakes", mr="baseline-1", m2="gse-1", ms="disagreements")
    shown, examples_ = examples(at), repeated.splits["sst", "dev"].examples
    assert set(shown["text"]) == {e.texts[0] for e in examples_[6:9]} and len(shown) == 3
    assert "24 examples" in "".join(titles(at)) and len(examples(open_page("mistakes", mr="gse-1"))) == 9


def test_without_the_runs_data_there_are_ids_alone(open_page, add_predictions, tmp_path, monkeypatch):
    add_predictions(wrong=6)
    add_predictions("gse", wrong=9)
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "nowhere"))
    at = open_page("mistakes", m2="gse-1", ms="disagreements")
    assert "LAB_DATA names" in page_text(at) and not titles(at)
    assert list(examples(at)) == ["answer", "answer 2", "id"]
    assert len(examples(at)) == 3
    assert "LAB_DATA names" in page_text(open_page("compare"))


def test_runs_without_probabilities_or_predictions_say_so(open_page, add_predictions):
    add_predictions(wrong=6)
    add_predictions("gse", answers=False, score=.625)
    assert "No calibration" in page_text(open_page("mistakes"))
    at = open_page("mistakes", mc="true")  # there is no checkpoint
    assert "has records but no weights" in page_text(at)
    at = open_page("mistakes", mr="gse-1")
    assert "has no sst predictions" in page_text(at) and .625 in set(page_table(at, "score of", "gse-1")["gse-1"])
    at = open_page("compare")
    assert page_text(at).count("has no predictions") == 1 and "the same experiment" in page_text(at)
    assert set(page_table(at, "gse-1: difference")["gse-1: difference"]) == {.125}


def test_damaged_files_and_strange_ids_are_a_line(open_page, add_predictions):
    folder = add_predictions(wrong=6)
    add_predictions("gse")
    file = folder / "predictions" / "last" / "sst-dev-output.csv"
    whole = file.read_text()
    file.write_text(whole + "nobody , 3 \n")
    at = open_page("mistakes")
    assert "is none of the 24" in page_text(at) and list(examples(at)) == ["answer", "id"]
    for damaged in (whole + "half a li", "", "id \t x \na , nan \n", "\0"):
        file.write_text(damaged)
        assert "sst-dev-output.csv" in page_text(open_page("mistakes"))
    assert "sst-dev-output.csv" in page_text(open_page("compare"))
    file.write_text(whole)
    (folder / "probabilities" / "last").mkdir(parents=True)
    (folder / "probabilities" / "last" / "sst-dev-probabilities.csv").write_text("id,p0\n,,,")
    assert "not in the layout of probabilities" in page_text(open_page("mistakes"))


def test_a_run_that_vanishes_between_two_clicks_is_no_exception(open_page, add_predictions):
    add_predictions(wrong=6)
    gone = add_predictions("gse")
    opened = {name: open_page(name, **address) for name, address in (("mistakes", {"mr": "gse-1"}), ("compare", {}))}
    file = gone / "predictions" / "last" / "sst-dev-output.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:4]) + "\n")
    assert len(examples(rerun(opened["mistakes"]))) == 3  # what is on the disk now
    shutil.rmtree(gone / "predictions")
    assert "has no predictions" in page_text(rerun(opened["compare"]))
    shutil.rmtree(gone)
    for at in opened.values():
        rerun(at)


def test_where_no_run_has_predictions_those_that_have_some_are_one_click_away(open_page, add_run, add_predictions):
    for seed in (1, 2):
        add_run("gse", seed)
    alone = open_page("mistakes")
    assert "No run here has predictions" in page_text(alone) and not alone.button and not alone.toggle
    assert "frozen, as it ships with the lab" in page_text(alone) and len(examples(alone)) == 20  # the sample's
    assert "no runs" not in page_text(alone)  # as the provenance of a model that is no run
    assert {"gold", "answer", "confidence", "text"} <= set(examples(alone))
    add_predictions(wrong=6)
    at = open_page("mistakes")
    assert "No run here has predictions" in page_text(at)
    at.button[0].click()
    at = rerun(at)
    assert "No run here has predictions" not in page_text(at) and len(examples(at)) == 6
