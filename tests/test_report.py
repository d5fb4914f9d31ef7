"""Table 1 and its figures, from records alone."""

import json

import numpy as np
import pandas as pd
import pytest

import lab
from lab import figures, report


def records(name="baseline", seed=1, data="SST 8544", overall=0.5, best=None, state="done", run=None, **settings):
    """The rows of one made-up run: two epochs, dev_full at the last and, with `best`, at the first."""
    about = {"run": run or f"{name}-{seed}", "name": name, "seed": seed, "protocol": "laptop", "encoder": "minilm",
             "settings": json.dumps({"name": name, "updates": ["separate"], **settings}), "departs": "",
             "data": data, "fingerprint": data, "state": state}
    rows = []
    for split, step, value in [("dev", 47, best or 0.4), ("train", 47, 0.5), ("dev", 94, overall), ("train", 94, 0.9),
                               ("dev_full", 94, overall), *([("dev_full", 47, best)] if best else [])]:
        for task, metric in figures.SCORES.items():
            rows.append({**about, "step": step, "epoch": step // 47, "split": split, "task": task, "metric": metric,
                         "value": value, "seconds": 1.0})
    return pd.DataFrame(rows)


def test_the_last_epoch_ranks_and_the_best_stands_beside_it():
    runs = pd.concat([records("baseline", 1, overall=0.5, best=0.6), records("baseline", 2, overall=0.7),
                      records("multitask", 1, overall=0.65)])
    table = lab.leaderboard(runs)
    assert list(table["name"]) == ["multitask", "baseline"] and list(table["seeds"]) == [1, 2]
    baseline = table.iloc[1]
    assert baseline["overall"] == pytest.approx(0.6) and baseline["best_overall"] == pytest.approx(0.65)
    assert baseline["paper_overall"] == 0.641


def test_settings_and_data_that_differ_are_never_averaged():
    runs = pd.concat([records(seed=1, lr=1e-4), records(seed=2, lr=1e-4), records(seed=1, lr=1e-3, run="x"),
                      records(seed=1, data="sample", run="y", lr=1e-4)])
    table = lab.leaderboard(runs)
    assert sorted(table["seeds"]) == [1, 1, 2]
    text = report.as_text(table)
    assert "baseline (lr=0.001)" in text and "baseline (lr=0.0001)" in text
    assert text.count("data: sample") == 1 and "made from the bundled sample" in text
    sample = table[table["data"] == "sample"]
    assert sample["paper_overall"].isna().all() and "paper_overall " not in report.as_text(sample).split("\n\n")[0]


def test_a_null_seed_ranks_last_and_is_not_averaged_away():
    broken = records("multitask", 2, overall=0.9)
    broken.loc[broken["task"].isin(["sts", "all"]), "value"] = np.nan
    runs = pd.concat([broken, records("multitask", 1, overall=0.9), records("baseline", 1, overall=0.1)])
    table = lab.leaderboard(runs)
    assert list(table["name"]) == ["baseline", "multitask"]
    assert table.iloc[1]["seeds"] == 2 and np.isnan(table.iloc[1]["overall"]) and table.iloc[1]["sst"] == 0.9
    assert "n/a (1 of 2 seeds)" in report.as_text(table)


def test_unfinished_runs_are_not_ranked_and_an_empty_store_says_what_to_do():
    assert lab.leaderboard(records(state="running")).empty
    assert "lab train" in report.as_text(lab.leaderboard(lab.load_runs()))


@pytest.mark.parametrize("draw", [figures.curves, figures.leaderboard, lambda runs: figures.overfit(runs, "baseline")])
def test_figures_say_what_they_were_made_from(draw):
    figure = draw(pd.concat([records(), records("multitask")]))
    assert "data: SST 8544 · encoder: minilm · protocol: laptop · seeds: 1" in figure.layout.title.text
    assert len(figure.data) >= 4  # a panel a task, and overall
    assert draw(lab.load_runs()).layout.annotations[0].text == "nothing recorded yet"


def test_curves_are_means_over_seeds_and_over_nothing_else():
    seeds = [records(seed=1, overall=0.5, lr=1), records(seed=2, overall=0.7, lr=1)]
    figure = figures.curves(pd.concat(seeds))
    assert list(figure.data[0].y) == pytest.approx([0.4, 0.6]) and list(figure.data[0].x) == [1, 2]
    others = [records(run="x", overall=0.1, lr=2), records(run="y", data="sample", lr=1)]
    figure = figures.curves(pd.concat([*seeds, *others]))
    lines = {line.name: list(line.y) for line in figure.data}
    assert set(lines) == {"baseline (data=SST 8544, lr=1)", "baseline (data=SST 8544, lr=2)",
                          "baseline (data=sample, lr=1)"}
    assert lines["baseline (data=SST 8544, lr=2)"] == pytest.approx([0.4, 0.1])
    assert list(figures.curves(records(), x="updates").data[0].x) == [3 * 47, 3 * 94]  # three steps an iteration


def test_verdicts_come_from_seeds_or_not_at_all():
    few = pd.concat([records(name, seed, overall=0.5) for name in ("baseline", "gse") for seed in (1, 2)])
    assert "no verdict against baseline below 3 seeds" in report.as_text(lab.leaderboard(few), few)
    truth = (("baseline", 0.5, 1), ("gse", 0.6, 2), ("smart", 0.5, 2))
    runs = pd.concat([records(name, seed, overall=mean + 0.001 * (seed * k % 3))
                      for name, mean, k in truth for seed in range(5)])
    text = report.as_text(lab.leaderboard(runs), runs)
    lines = text.split("simultaneous")[1].splitlines()[2:]
    verdict = {line.split()[0]: line for line in lines if line.strip()}
    assert "better" in verdict["gse"] and "no difference shown" in verdict["smart"] and "difference of 0.005" in text
    smoke = runs.assign(protocol="smoke")
    assert "better" not in report.as_text(lab.leaderboard(smoke), smoke)


def test_the_same_run_twice_is_one_seed():
    table = lab.leaderboard(pd.concat([records(seed=1), records(seed=1, run="baseline-1-2")]))
    assert list(table["seeds"]) == [1]


def test_the_papers_number_stands_only_beside_its_own_row():
    changed = records(run="x", pooling="mean").assign(departs="pooling")
    table = lab.leaderboard(pd.concat([records(), changed])).set_index("departs")
    assert table.loc[""]["paper_overall"] == 0.641 and np.isnan(table.loc["pooling"]["paper_overall"])


def test_names_cannot_become_html(tmp_path):
    runs = records("<script>alert(1)</script>", data="<b>x</b>")
    page = report.write(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page and "<b>x</b>" not in page
    for figure in (figures.curves(runs), figures.leaderboard(runs), figures.overfit(runs, runs["name"].iloc[0])):
        texts = [figure.layout.title.text, *(line.name or "" for line in figure.data),
                 *(label for line in figure.data if isinstance(line.y[0], str) for label in line.y)]
        assert not any("<script" in text or "<b>" in text for text in texts)
