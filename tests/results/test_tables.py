"""Tables 1 and 2, verdicts and what overfitting loses, from records alone; texts from files are escaped."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from helpers import hostile_records, records

import lab
from lab.experiment import KNOWN
from lab.results import tables
from lab.results.notes import notes
from lab.results.significance import interval


def cells(text, recipe):
    """The first line of a terminal table that belongs to a recipe."""
    (line, *_) = [line for line in text.splitlines() if line.split()[:1] == [recipe]]
    return line


def test_floors_are_the_last_rows_of_a_table_and_have_no_seeds():
    more = [(0, "dev_full", "sst", "majority_class", .26), (0, "dev_full", "qqp", "majority_class", .62),
            (0, "dev_full", "sts", "no_training_mean", .84)]
    runs = records(more=more, end_qqp=4000)
    said = tables.as_text(runs).splitlines()
    flat = [line.split() for line in said]
    assert ["majority", "class", "-", "0.260", "0.620", "n/a", "n/a"] in flat
    assert ["no", "training", "(mean)", "-", "0.260", "0.620", "0.840", "0.600"] in flat
    assert any("4,000 rows" in line and "0.007" in line for line in said)
    assert "no training (mean)" in tables.as_markdown(runs) and len(tables.leaderboard(runs)) == 1
    assert "majority" not in tables.as_text(records()).lower()
    shown = tables.cells(lab.leaderboard(runs), beside=tables.floors(runs))
    assert list(shown.iloc[-1]["best on dev"]) == list(shown.iloc[-1]["the paper"]) == [""] * 4
    tested = records(test=.6, more=[*more, (0, "test", "sst", "majority_class", .23)])
    ends = tables.as_text(tested).split("Table 2")[1], tables.as_markdown(tested).split("Table 2")[1]
    assert all("0.230" in end and "0.260" not in end for end in ends)
    rows = [(row["table"], row["name"], row["sst"]) for row in csv.DictReader(io.StringIO(tables.as_csv(tested)))]
    assert rows[2:4] == [("1 (dev)", "majority class", "0.26"), ("1 (dev)", "no training (mean)", "0.26")]
    assert rows[4:] == [("2 (test)", "majority class", "0.23")]


def test_notes_say_what_the_encoder_saw_and_on_how_many_rows_qqp_is_scored():
    def said(**more):
        return " ".join(notes(lab.leaderboard(records(**more))))

    assert "include Quora's" in said() and "multiplied by 8" in said() and "rows" not in said()
    rows = "at most 4,000 rows of its dev set, always the same; so many have a sampling error of 0.007"
    assert rows in said(end_qqp=4000)
    assert "4,000" not in said(end_qqp=4000, data="sample")  # it has fewer
    raw = " ".join(notes(lab.leaderboard(records().assign(encoder="minilm-raw"))))
    assert "include Quora's" in raw and "never trained, which lowers the scores" in raw and "by 8" not in raw


def test_recipes_beyond_the_papers_thirteen_have_rows_without_the_papers_numbers():
    table = lab.leaderboard(pd.concat([records("strong", overall=.7), records()]))
    assert list(table["name"]) == ["strong", "baseline"]
    assert table.filter(like="paper_").notna().all(axis=1).tolist() == [False, True]
    assert list(tables.cells(table).loc[0, "the paper"]) == ["-"] * 4 and len(tables.missing(table)) == 12


def test_recipes_are_ranked_by_the_last_epoch_beside_their_best_on_dev():
    runs = pd.concat([records("baseline", 1, overall=0.5, best=0.6), records("baseline", 2, overall=0.7),
                      records("multitask", 1, overall=0.65)])
    table = lab.leaderboard(runs)
    assert list(table["name"]) == ["multitask", "baseline"] and list(table["seeds"]) == [1, 2]
    baseline = table.iloc[1]
    assert baseline["overall"] == pytest.approx(0.6) and baseline["best_overall"] == pytest.approx(0.65)
    assert baseline["best_sts"] == pytest.approx(0.65)


def test_rows_have_the_papers_four_numbers_and_their_days():
    runs = pd.concat([records(started="2026-11-23T10:00:00+0000"),
                      records(seed=2, started="2026-11-25T10:00:00+0000"), records("smart_gse")])
    table = lab.leaderboard(runs).set_index("name")
    paper = table.loc["baseline", ["paper_sst", "paper_qqp", "paper_sts", "paper_overall"]]
    assert list(paper) == [0.512, 0.731, 0.361, 0.641]
    assert table.loc["smart_gse", "paper_overall"] != table.loc["smart_gse", "paper_overall"]  # it ran out of memory
    assert list(table.loc[["baseline", "smart_gse"], "date"]) == ["2026-11-23 to 2026-11-25", "2026-11-23"]
    text = tables.as_text(runs)
    assert "seeds: 1-2 · date: 2026-11-23 to 2026-11-25 · fingerprint: SST 8544" in text
    assert cells(text, "baseline").split()[-4:] == ["0.512", "0.731", "0.361", "0.641"]


def test_intervals_are_given_for_three_or_more_seeds():
    values = [0.5, 0.6, 0.9]
    table = lab.leaderboard(pd.concat([records(seed=i, overall=v, best=0.4 + v / 10) for i, v in enumerate(values)]))
    for column, of in (("overall", values), ("best_sst", [0.4 + v / 10 for v in values])):
        assert list(table.loc[0, [column, f"{column}_low", f"{column}_high"]]) == pytest.approx(interval(of))
    text = tables.cells(table)
    assert text["last epoch", "qqp"][0] == "0.667 ±0.517"
    few = lab.leaderboard(pd.concat([records(seed=i, overall=v) for i, v in enumerate(values[:2])]))
    assert np.isnan(few["overall_low"][0]) and tables.cells(few)["last epoch", "overall"][0] == "0.550"


def test_settings_and_data_that_differ_are_never_averaged():
    runs = pd.concat([records(seed=1, lr=1e-4), records(seed=2, lr=1e-4), records(seed=1, lr=1e-3, run="x"),
                      records(seed=1, data="sample", run="y", lr=1e-4)])
    assert sorted(lab.leaderboard(runs)["seeds"]) == [1, 1, 2]
    text = tables.as_text(runs)
    assert "baseline (lr=0.001)" in text and "baseline (lr=0.0001)" in text
    assert text.count("data: sample") == 1 and "made from the bundled sample" in text
    sample = runs[runs["data"] == "sample"]
    assert lab.leaderboard(sample)["paper_overall"].isna().all() and "the paper  " not in tables.as_text(sample)


def test_a_null_seed_ranks_last_and_is_not_averaged_away():
    broken = records("multitask", 2, overall=0.9)
    broken.loc[broken["task"].isin(["sts", "all"]), "value"] = np.nan
    runs = pd.concat([broken, records("multitask", 1, overall=0.9), records("multitask", 3, overall=0.9),
                      records("baseline", 1, overall=0.1)])
    table = lab.leaderboard(runs)
    assert list(table["name"]) == ["baseline", "multitask"]
    worst = table.iloc[1]
    assert worst["seeds"] == 3 and worst["sst"] == 0.9
    assert worst[["sts", "sts_low", "overall", "overall_low", "overall_high"]].isna().all()
    for text in (tables.as_text(runs), tables.as_markdown(runs)):
        assert "n/a (1 of 3 seeds)" in text
    assert notes(table)[-1].startswith("no overall score of multitask (1 of 3 seeds): after the last epoch every pair")
    assert "every pair" not in " ".join(notes(table[:1]))


def test_unfinished_runs_are_not_ranked_and_an_empty_store_says_what_to_do():
    assert lab.leaderboard(records(state="running")).empty
    assert "lab train" in tables.as_text(lab.load_runs())


@pytest.mark.parametrize("lacking", ["encoder", "data", "fingerprint", "started", "step", "value"])
def test_a_record_that_lacks_a_field_breaks_no_table(lacking):
    runs = pd.concat([records().astype({lacking: object}), records("gse")])
    runs.loc[runs["name"] == "baseline", lacking] = None
    assert "gse" in tables.as_text(runs) and "gse" in tables.as_csv(runs)
    if lacking == "encoder":
        assert "encoder: not recorded" in tables.as_text(runs)


def test_the_same_run_twice_is_one_seed():
    twice = pd.concat([records(seed=1), records(seed=1, run="baseline-1-2", overall=0.9), records(seed=2)])
    table = lab.leaderboard(twice)
    assert list(table["seeds"]) == [2] and table["overall"][0] == 0.5 and np.isnan(table["overall_low"][0])


def test_a_changed_recipe_is_not_compared_with_the_papers_numbers():
    changed = records(run="x", pooling="mean").assign(departs="pooling")
    table = lab.leaderboard(pd.concat([records(), changed])).set_index("departs")
    assert table.loc[""]["paper_overall"] == 0.641 and table.loc["pooling"].filter(like="paper").isna().all()


def test_it_says_which_of_the_thirteen_are_missing():
    runs = pd.concat([*(records(name) for name in lab.RECIPES if name not in ("gse", "smart")),
                      records("smart", pooling="mean").assign(departs="pooling")])
    assert tables.missing(lab.leaderboard(runs)) == ["gse", "smart"]
    for text in (tables.as_text(runs), tables.as_markdown(runs)):
        assert "ot here: gse, smart" in text
    assert "not here" not in tables.as_text(pd.concat([records(name) for name in lab.RECIPES]))


def test_table_2_is_given_where_test_files_were_scored():
    runs = pd.concat([records("gse_3x", best=0.3, test=0.7), records("baseline", test=0.6)])
    table = lab.leaderboard(runs, "test")
    assert list(table["name"]) == ["gse_3x", "baseline"] and list(table["overall"]) == [0.7, 0.6]
    assert table["best_overall"][0] == 0.3 and list(table.filter(like="paper_").iloc[0]) == [.524, .768, .329, .652]
    assert table["paper_overall"].isna()[1]
    text = tables.as_text(runs)
    assert "Table 2" in text and "not those of the course" not in text
    assert "Table 2" not in tables.as_text(records()) + tables.as_markdown(records())
    for text in (tables.as_text(real := runs.assign(fingerprint="b59f4013d8a2")), tables.as_markdown(real)):
        assert "QQP test rows of this data are not those of the course" in text
    partly = runs[(runs["split"] != "test") | runs["task"].isin(["sst", "sts"])]
    assert lab.leaderboard(partly, "test")["overall"].isna().all()
    assert cells(tables.as_text(partly).split("Table 2")[1], "gse_3x").split()[2:6] == ["0.700", "n/a", "0.700", "n/a"]


def test_verdicts_need_three_seeds_of_each_recipe():
    few = pd.concat([records(name, seed, overall=0.5) for name in ("baseline", "gse") for seed in (1, 2)])
    assert "no verdict against baseline: that takes 3 seeds" in tables.as_text(few)
    assert "no recipe here has the name baseline" in tables.as_text(pd.concat([records("gse"), records("smart")]))
    truth = (("baseline", 0.5, 1), ("gse", 0.6, 2), ("smart", 0.5, 2))
    runs = pd.concat([records(name, seed, overall=mean + 0.001 * (seed * k % 3))
                      for name, mean, k in truth for seed in range(5)])
    text = tables.as_text(runs)
    lines = text.split("simultaneous")[1].splitlines()[2:]
    verdict = {line.split()[0]: line for line in lines if line.strip()}
    assert "<0.001" in verdict["gse"] and "better" in verdict["gse"]
    assert "no difference shown" in verdict["smart"] and "difference of 0.005" in text
    assert "better" not in tables.as_text(runs.assign(protocol="smoke"))


def test_verdicts_say_where_recipes_have_other_seeds_and_use_them_all():
    seen = np.random.default_rng(0).normal(.5, .01, (3, 4))
    def runs(counts):
        return pd.concat([records(name, seed, overall=row[seed]) for name, row, count in
                          zip(("baseline", "gse", "smart"), seen, counts, strict=True) for seed in range(count)])

    text = " ".join(tables.as_text(runs([4, 4, 3])).split())
    assert "Not all have the same seeds" in text and "here 3 to 4;" in text
    assert f"gse 4 {seen[1].mean() - seen[0].mean():.3f}" in text
    assert "Not all have the same seeds" in " ".join(tables.as_text(runs([3, 4, 4])).split())
    assert "Not all have the same seeds" not in tables.as_text(runs([4, 4, 4]))


def test_recipes_that_train_other_parts_or_tasks_widen_no_interval():
    def of(name, *overall, **settings):
        return [records(name, seed, overall=value, **settings) for seed, value in enumerate(overall)]

    whole = {"trains": "all", "tasks": ["sst", "qqp", "sts"]}
    alike = [*of("baseline", 0.50, 0.51, 0.53, **whole), *of("gse", 0.60, 0.62, 0.63, **whole)]
    others = [*of("frozen", 0.2, 0.9, 0.4, **whole | {"trains": "heads"}),  # seeds that spread far wider
              *of("sst_alone", 0.1, 0.9, 0.2, **whole | {"tasks": ["sst"]})]
    (found, note), (alone, said) = tables.verdicts(pd.concat([*alike, *others])), tables.verdicts(pd.concat(alike))
    found, alone = found.set_index("recipe"), alone.set_index("recipe")
    assert found.loc["gse", ["low", "high", "p"]].tolist() == alone.loc["gse", ["low", "high", "p"]].tolist()
    assert note == said
    for name, what in (("frozen", "parts"), ("sst_alone", "tasks")):
        assert found.loc[name, "verdict"] == f"trains other {what}: not compared"
        assert found.loc[name, "seeds"] == 3 and np.isnan(found.loc[name, "low"])
    none, why = tables.verdicts(pd.concat([*alike, *others]), "frozen")
    assert none.empty and "no other recipe here trains the same parts and tasks as frozen" in why


def test_overfitting_is_of_means_over_the_seeds_that_the_figures_show():
    runs = pd.concat([records(seed=1, best=0.7), records(seed=2, best=0.5), records(seed=2, best=0.5, run="again")])
    row = tables.overfitting(runs).iloc[0]
    assert row[["best_epoch", "dev_best", "dev_last", "lost"]].tolist() == pytest.approx([1, 0.6, 0.5, 0.1])
    assert row[["seeds", "train_last", "gap", "gap_sst"]].tolist() == pytest.approx([2, 0.9, 0.4, 0.4])
    assert tables.overfitting(runs.assign(label="mine"))["recipe"].tolist() == ["mine"]
    assert tables.overfitting(runs[:0]).empty


def test_csv_and_markdown_hold_the_same_tables():
    runs = pd.concat([records("gse_3x", seed, overall=0.5 + seed / 100, test=0.7) for seed in range(3)]
                     + [records("baseline", 1, overall=0.6)])
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(runs))))
    assert [(row["table"], row["name"]) for row in rows] == [("1 (dev)", "baseline"), ("1 (dev)", "gse_3x"),
                                                             ("2 (test)", "gse_3x")]
    table = lab.leaderboard(runs)
    for column in ("overall", "overall_low", "best_sts_high", "paper_sts"):
        assert float(rows[1][column]) == pytest.approx(table[column][1])
    assert rows[0]["encoder"] == "minilm" and rows[0]["protocol"] == "laptop" and rows[0]["date"] == "2026-11-23"
    lines = tables.as_markdown(runs).splitlines()
    assert "| gse_3x | 3 | 0.510 ±0.025 | 0.510 ±0.025 | 0.510 ±0.025 | 0.510 ±0.025 |" in "\n".join(lines)
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_scores_that_differ_by_rounding_alone_have_no_interval():
    runs = pd.concat([records("frozen", seed, overall=.8382 + 1e-9 * seed, encoder="minilm") for seed in range(3)])
    assert set(tables.cells(lab.leaderboard(runs))["last epoch"].iloc[0]) == {"0.838"}


def test_texts_from_files_control_neither_a_terminal_nor_a_spreadsheet_nor_markdown():
    runs = hostile_records()
    assert "\x1b" not in tables.as_text(runs)
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(runs), newline="")))
    assert {row["name"] for row in rows} == {f"'{name}" if name[0] in "=@+-" else name for name in set(runs["name"])}
    assert not [value for row in rows for value in row.values() if value[:1] in "=@+" and value]
    markdown = tables.as_markdown(runs)
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + runs["name"].nunique()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<" not in markdown.replace("&lt;", "") and not re.search(r"(?<!\\)\[", markdown)


def test_claims_are_answered_by_the_planned_contrasts_of_runs_as_planned():
    def made(name, seed, overall, **changes):
        settings = json.loads(lab.PROTOCOLS["laptop"](KNOWN[name]).to_json()) | changes
        return records(overall=overall, **settings | {"seed": seed})

    runs = pd.concat([made(name, seed, mean + 0.001 * (seed * k % 3)) for name, mean, k in
                      (("multitask", 0.5, 1), ("baseline", 0.6, 2), ("smart", 0.5, 1)) for seed in range(5)])
    (block,) = tables.blocks(runs)
    found = block.claims.set_index(["a", "b"])
    assert found.loc[("multitask", "baseline"), "verdict"] == "differs"
    assert found.loc[("multitask", "baseline"), "difference"] == pytest.approx(-0.1, abs=.002)
    assert found.loc[("gse", "sum_sum"), "verdict"] == "cannot be told: 0 seeds in common"
    assert "multitask - baseline | -0.005 | 5 | -0.1" in tables.as_markdown(runs)
    other = pd.concat([runs, *(made("smart", seed, .9, lr=1e-5) for seed in range(5, 9))])  # not as it was planned
    for block in tables.blocks(other):
        assert block.claims.set_index(["a", "b"]).loc[("smart", "multitask"), "seeds"] == 5
    again = pd.concat([runs, made("smart", 0, .5, samples=0).assign(run="again")])  # the same training, twice
    (block,) = tables.blocks(again)
    assert block.claims.set_index(["a", "b"]).loc[("smart", "multitask"), "seeds"] == 5
    (made_up,) = tables.blocks(runs.assign(data="sample"))
    assert made_up.claims.empty and "Claims" not in tables.as_markdown(runs.assign(data="sample"))
