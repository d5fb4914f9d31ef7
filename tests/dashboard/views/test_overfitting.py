"""Overfitting: the scores of train beside those of dev, and what training beyond the best epoch lost."""

from urllib.parse import quote

import pytest
from helpers import page_table


def test_it_says_what_training_beyond_the_best_epoch_lost(add_run, open_page):
    add_run("baseline", overall=0.5, best=0.6)
    app = open_page("overfitting")
    row = page_table(app, "best epoch on dev").iloc[0]
    assert row["best epoch on dev"] == 1
    assert (row["lost after the best epoch"], row["gap"]) == (pytest.approx(0.1), pytest.approx(0.4))
    legend = app.get("html")[0].proto.body  # train is an open marker, dev a filled one
    assert legend.count("role=listitem") == 3 and quote("fill='none'") in legend
