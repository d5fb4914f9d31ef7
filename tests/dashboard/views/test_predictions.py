"""Live predictions: answers to the user's own sentences, tokens, attention."""

import json
import shutil

import pytest
from helpers import first_quick, page_figures, page_text

import lab
from lab.runs.folder import Run
from lab.runs.stores import runs_root

SHIPS = "frozen, as it ships with the lab"


def test_without_runs_the_heads_that_ship_answer_and_say_how_good_they_are(open_page):
    at = open_page("predictions", **{"say": "I loved the film.", "and": "I loved the movie."})
    said = page_text(at)
    assert not at.exception and at.selectbox(key="live").options == [SHIPS] and len(at.metric) == 2
    assert "of 100 unseen sentences" in said and "the real dev sets" in said and "lab train strong" in said
    link = at.get("page_link")[-1].proto
    assert (link.page, link.label, link.query_string) == ("train", "Train a model", "train=strong")


def test_a_run_that_is_trained_while_the_page_is_open_takes_over(open_page, trained):
    at = open_page("predictions", say="Good.")
    assert at.selectbox(key="live").value == SHIPS
    shutil.copytree(trained, runs_root())
    at.run()
    assert not at.exception and at.selectbox(key="live").value == "one" and not at.get("page_link")


def test_it_opens_on_two_sentences(open_page):
    at = open_page("predictions")
    assert [at.text_input(key=key).value for key in ("say", "and")] == ["The film is not good.", "The film is good."]
    assert len(at.metric) == 2


def test_a_run_at_the_majority_class_is_not_presented_as_knowing(page):
    assert "lab train strong" in page_text(page(say="Good.", live="one"))


@pytest.fixture
def page(trained_store, open_page):
    """A function that opens the page on the store with two trained runs."""
    return lambda **address: open_page("predictions", **address)


def metrics(at):
    return [part.value for part in at.metric]


def test_one_sentence_is_answered_by_the_best_checkpoint_and_its_tokens_are_shown(page):
    at = page(say="Unbelievably good!", live="one", saved="best")
    model, tokenizer = Run.open("one").model("best")
    expected = lab.predict(model, "sst", ["Unbelievably good!"], tokenizer=tokenizer)
    bars, heat, grid = page_figures(at)
    assert len(grid["data"][1]["x"]) == 2 * 4  # layers and heads
    assert bars["data"][0]["x"] == pytest.approx(expected.loc[0, [f"p{c}" for c in range(5)]].tolist(), rel=1e-5)
    assert heat["layout"]["title"]["text"] == "Attention, layer 2, mean of heads" and not at.metric
    said = page_text(at)
    assert " ".join(tokenizer.convert_ids_to_tokens(tokenizer("Unbelievably good!")["input_ids"])) in said
    made = f"epoch {model.step // 4} of 2, iteration {model.step}"
    assert made in said and "seed: 11711" in said


def test_a_pair_is_answered_by_two_runs_side_by_side(page):
    pair = ("How far is it?", "What is the distance?")
    at = page(**{"say": pair[0], "and": pair[1], "live": "one", "beside": "two", "layer": "1", "head": "head 3",
                 "of": "sentence 2"})
    expected = []
    for run in ("one", "two"):
        expected += [f"{lab.predict(run, 'qqp', [pair])['probability'][0]:.0%}",
                     f"{lab.predict(run, 'sts', [pair])['prediction'][0]:.2f}"]
    assert metrics(at) == expected
    assert [part.value for part in at.code] == ["[CLS] what is the distance ? [SEP]",
                                                "[CLS] how far is it ? [SEP] what is the distance ? [SEP]"]
    assert [figure["layout"]["title"]["text"] for figure in page_figures(at)[2:4]] == ["Attention, layer 1, head 3"] * 2
    assert len({figure["data"][0]["zmax"] for figure in page_figures(at)[2:4]}) == 1  # one scale of colours


def test_an_address_with_only_a_second_sentence_opens_as_it_is(page):
    assert page().text_input(key="say").value == "The film is not good."
    at = page(**{"and": "How far is it?"})
    assert at.text_input(key="say").value == "" and not at.metric


def test_the_answer_stands_there_in_words_and_its_words_are_coloured(page):
    at = page(**{"say": "A <b>good</b> film.", "and": "A good movie.", "live": "one"})
    row = lab.predict("one", "sst", ["A <b>good</b> film."]).iloc[0]
    assert f"**{row['answer']}, {row[f'p{row.prediction}']:.0%}**" in page_text(at)
    words = [part.proto.body for part in at.get("html") if "<p" in part.proto.body]
    assert len(words) == 2 and "&lt;b&gt;good&lt;/b&gt;</span>" in words[0] and words[0].count("<span") == 3
    assert "By occlusion: without" in page_text(at)
    assert len(page(**{"say": "A film.", "and": "A movie.", "live": "one", "why": "STS"}).get("html")) == 3


def test_an_example_fills_in_both_sentences_and_says_what_to_watch(page):
    at = page()
    next(button for button in at.button if button.label == "Word order").click().run()
    assert at.text_input(key="say").value == "The dog chases the cat." and len(at.metric) == 2
    assert "only counts words" in page_text(at)


@pytest.mark.parametrize("text", first_quick(
    "<script>alert(1)</script>", "[x](javascript:alert(1)) **b** $a$ :red[x]", "   ", "", "\x00\x1b[31m\x07", "\x00",
    "word " * 2000, "\N{CJK UNIFIED IDEOGRAPH-597D}" * 10_000, "\N{GRINNING FACE}" * 300))
def test_any_text_is_answered_or_refused_with_a_message(page, text):
    at = page(**{"say": text, "and": text, "live": "two", "beside": "one"})
    if not text.strip():
        assert "Type a sentence" in page_text(at)
    elif len(text) == 10_000:
        assert "first 500 characters" in page_text(at) and at.metric
    else:
        assert at.metric or "nothing of the text is left" in page_text(at)
    assert not any(part.allow_html for part in at.markdown)
    assert "<script>" not in "".join(map(json.dumps, page_figures(at)))


@pytest.mark.parametrize("harm", ["weights", "state", "encoder", "tokenizer", "list"])
def test_a_damaged_run_is_one_line_and_the_other_still_answers(page, trained_store, harm):
    run = trained_store / "two"
    if harm in ("encoder", "tokenizer"):
        (run / "encoder" / {"encoder": "config.json", "tokenizer": "tokenizer.json"}[harm]).write_text("{")
    else:
        for folder in (run / "checkpoints").iterdir():
            if harm == "weights":
                file = folder / "model.safetensors"
                file.write_bytes(file.read_bytes()[:100])
            else:
                (folder / "state.json").write_text({"state": '{"files": {}}', "list": "[]"}[harm])
    at = page(**{"say": "Good.", "and": "Fine.", "live": "one", "beside": "two"})
    assert len(at.error) == 1 and "\n" not in at.error[0].value and len(at.metric) == 2


def test_a_run_whose_settings_cannot_be_read_is_named_and_not_offered(page, trained_store):
    file = trained_store / "two" / "experiment.json"
    config = json.loads(file.read_text())
    config["experiment"]["telepathy"] = True
    file.write_text(json.dumps(config))
    at = page(**{"say": "Good.", "and": "Fine.", "live": "two"})
    assert at.selectbox(key="live").options == ["one", SHIPS] and len(at.metric) == 2
    assert "two cannot be read" in page_text(at) and "telepathy" in page_text(at)


def test_a_run_whose_weights_vanish_gives_way_to_another(page, trained_store):
    at = page(say="Good.", live="one")
    before = page_figures(at)[0]["data"][0]["x"]
    for folder in (trained_store / "one" / "checkpoints").iterdir():
        shutil.rmtree(folder)
    at.run()
    assert not at.exception and at.selectbox(key="live").value == "two"
    assert page_figures(at)[0]["data"][0]["x"] != before
