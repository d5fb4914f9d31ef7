"""Conflict against its null: a gap is told where its interval leaves 0, and no more where it does not."""

import pandas as pd
import pytest
from helpers import records

from lab.results import conflict


def with_null(name, seed, gaps, shuffled=0.02):
    return records(name, seed, more=[row for step, gap in zip((25, 50, 75, 94), gaps, strict=False)
                                     for row in ((step, "sampled", "sst-qqp", "cosine_gap", gap),
                                                 (step, "sampled", "sst-qqp", "cosine_shuffled", shuffled))])


def test_one_run_is_held_against_its_null_by_windows():
    table = conflict.against_null(pd.concat([with_null("gse", 1, (-0.1, -0.12, -0.11, -0.09)),
                                             with_null("multitask", 1, (-0.1, 0.12, -0.11, 0.09)),
                                             with_null("mean", 1, (0.1, 0.12, 0.11, 0.09)), records("smart")]))
    table = table.set_index("recipe")
    assert list(table.index) == ["gse", "multitask", "mean"] and set(table["pair"]) == {"SST and QQP"}
    assert list(table["verdict"]) == [conflict.MORE, conflict.NONE, conflict.LESS]
    assert table.loc["gse", ["seeds", "windows"]].tolist() == [1, 4]
    assert table.loc["gse", ["gap", "shuffled", "cosine"]].tolist() == pytest.approx([-0.105, 0.02, -0.085])
    said = conflict.sentence(table.reset_index())
    assert said == "More conflict than with shuffled labels: SST and QQP in gse (by 0.105); elsewhere no more is shown."


def test_seeds_count_from_three_on():
    """Each run's windows agree with one another, and the seeds do not."""
    seeds = ((1, -0.3), (2, 0.2), (3, -0.1))
    runs = [with_null("gse", seed, (gap, gap + 0.01, gap, gap - 0.01)) for seed, gap in seeds]
    assert conflict.against_null(pd.concat(runs[:1]))["verdict"].tolist() == [conflict.MORE]
    row = conflict.against_null(pd.concat(runs)).iloc[0]
    assert row["seeds"] == 3 and row["gap"] == pytest.approx(-0.2 / 3) and row["verdict"] == conflict.NONE


def test_nothing_is_said_without_a_null():
    table = conflict.against_null(records())
    assert table.empty and conflict.sentence(table) == ""
    none = conflict.against_null(with_null("gse", 1, (0.0, 0.1, 0.0, 0.1)))
    assert conflict.sentence(none).startswith("No two tasks")


def test_each_seed_counts_once_however_many_windows_it_has():
    runs = pd.concat([with_null("gse", 1, [-.1] * 4, .0), with_null("gse", 2, [.2], .3), with_null("gse", 3, [.3], .3)])
    row = conflict.against_null(runs).iloc[0]
    assert row["shuffled"] == pytest.approx(.2) and row["cosine"] == pytest.approx(.2 + .4 / 3)


def test_elsewhere_is_said_only_where_there_is_an_elsewhere():
    table = conflict.against_null(pd.concat([with_null("gse", seed, [-.3 - seed / 1000] * 2) for seed in (1, 2, 3)]))
    assert "More conflict than with shuffled labels: SST and QQP in gse" in conflict.sentence(table)
    assert "elsewhere" not in conflict.sentence(table)
