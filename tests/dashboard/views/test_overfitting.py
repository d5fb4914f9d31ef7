"""Overfitting: the scores of train beside those of dev, and what training beyond the best epoch lost."""

import pytest
from helpers import page_figures, page_table, page_text


def test_it_says_what_training_beyond_the_best_epoch_lost(add_run, open_page):
    add_run("baseline", overall=0.5, best=0.6)
    app = open_page("overfitting")
    row = page_table(app, "best epoch on dev").iloc[0]
    assert row["best epoch on dev"] == 1
    assert (row["lost after the best epoch"], row["gap"]) == (pytest.approx(0.1), pytest.approx(0.4))
    drawn = {trace["name"]: trace for trace in page_figures(app)[0]["data"] if trace["showlegend"]}
    assert set(drawn) == {"train", "dev", "best epoch on dev, of each score"}
    assert drawn["train"]["marker"]["symbol"].endswith("-open")
    assert "SST is best after epoch 1 of 2; training on lost 0.100" in page_text(app)
