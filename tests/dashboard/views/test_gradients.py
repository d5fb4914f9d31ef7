"""Task gradients and SMART's penalty, or the reason why there are none."""

from helpers import page_table, page_text


def test_it_says_why_there_is_nothing(add_run, open_page):
    add_run("baseline")
    app = open_page("gradients")
    assert "No task gradients are recorded" in page_text(app) and "No chosen run has SMART's penalty" in page_text(app)


def test_it_shows_what_combining_changed(add_run, open_page):
    rows = [(94, "batch", "sst-qqp", "cosine", -0.2), (94, "batch", "all", "update_cosine", 0.9)]
    add_run("gse", more=rows[:1])
    assert "is not in these records" in page_text(open_page("gradients"))
    add_run("gse", 2, more=rows)
    app = open_page("gradients", charts="update and plain mean")
    assert "is not in these records" not in page_text(app)
    assert "update and plain mean: cosine" in set(page_table(app, "panel")["panel"])


def test_smarts_penalty_is_there_beside_many_recipes_without_one(add_run, open_page):
    for name in ("baseline", "multitask", "gradient_surgery", "gse", "cosine_2d1"):
        add_run(name, more=[(94, "batch", "sst-qqp", "cosine", -0.2)])
    add_run("smart", more=[(94, "batch", "sst", "penalty", 0.1)])
    app = open_page("gradients", charts="SMART: penalty")
    assert "No chosen run has SMART's penalty" not in page_text(app)
    assert {"SST: penalty"} == set(page_table(app, "panel")["panel"])
