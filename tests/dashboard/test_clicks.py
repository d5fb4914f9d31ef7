"""The questions that a student or researcher asks, each answered in Chromium within so many clicks.

The fixtures of the server and the browser are those of browsing.py, with a store of runs that have predictions.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import browsing
import pytest
from browsing import ready
from helpers import records, stored
from playwright.sync_api import expect

import lab
from lab.runs.marks import Marks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_encoder, tiny_data):
    """Two trained runs on the tiny data, three seeds of two recipes with gradients, and a failed run."""
    store = tmp_path_factory.mktemp("clicks")
    tiny = lab.Experiment(name="tiny", encoder=str(tiny_encoder), epochs=1, iterations=3, lr=1e-2, eval_train=20,
                          eval_qqp=20, device="cpu")
    for name, experiment in (("one", tiny), ("two", replace(tiny, pooling="mean"))):
        list(lab.fit(experiment, data=lab.load_data(tiny_data), run=name, root=store, progress=False))
    for number, name in enumerate(("baseline", "gse")):
        for seed in (1, 2, 3):
            more = [(step, split, pair, metric, value) for step in (25, 50, 75) for pair in ("sst-qqp", "sst-sts")
                    for split, metric, value in (("sampled", "cosine", .01), ("sampled", "cosine_gap", seed / 1000),
                                                 ("sampled", "cosine_shuffled", .01))]
            more += [(step, "batch", "all", *of) for step in (25, 50)
                     for of in (("update_cosine", .9996), ("update_length", 1.02))] * number
            rows = records(name, seed, overall=.5 + number / 10 + seed ** (1 + number) / 1000, more=more,
                           pooling=["cls", "mean"][number], updates=["pcgrad", "sum"] if number else ["separate"])
            rows.loc[(rows["task"] == "sts") & (rows["split"] == "dev") & (rows["step"] == 47), "value"] = .9
            stored(store, rows)
    stored(store, records("smart", 1, state="failed"))
    return store


@pytest.fixture(scope="module", autouse=True)
def data_folder(tiny_data):
    """The server reads the texts of the tiny data."""
    patch = pytest.MonkeyPatch()
    patch.setitem(browsing.EXTRA, "LAB_DATA", str(tiny_data))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def tiny_group(store):
    """The part of an address that names the group of the two trained runs."""
    about = lab.load_runs(store).query("run == 'one'").iloc[0]
    return "from=" + quote(f"{about['encoder']} · {about['protocol']} · {about['data']} ({about['fingerprint']})")


class Clicks:
    """A page whose clicks are counted."""

    def __init__(self, page):
        self.page, self.count = page, 0

    def __call__(self, what, **more):
        self.count += 1
        what.click(**more)
        ready(self.page)

    def to(self, name):
        self(self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True))
        self.page.wait_for_function(f"document.querySelector('h1')?.innerText === '{name}'")
        ready(self.page)


def said(page, text):
    expect(page.get_by_test_id("stMain").get_by_text(text).first).to_be_visible()


SAMPLE = "from=minilm+·+laptop+·+SST+8544+(SST+8544)"


def test_which_recipe_is_best_and_is_that_real(visit):
    page = visit()  # no click at all
    said(page, "Best on dev is gse, with an overall score of 0.605 (the mean of 3 seeds).")
    said(page, "It is better than baseline: by +0.103, 95 % interval")


def test_where_does_overfitting_begin_for_each_task(visit):
    click = Clicks(visit())
    click.to("Overfitting")
    said(click.page, "STS is best after epoch 1 of 2; training on lost")
    assert click.count == 1


def test_do_tasks_conflict_and_does_pcgrad_matter(visit):
    click = Clicks(visit())
    click.to("Gradients")
    said(click.page, "No two tasks are shown to conflict more than they do with shuffled labels. PCGrad changed the "
                     "update by 3.5 %")
    assert click.count == 1


def row(page, number, table=0):
    """A click on the left of a row of a table, which is drawn on a canvas."""
    page.locator(".dvn-scroller").nth(table).click(position={"x": 17, "y": 17 + 35 * number})


def choose_rows(click, numbers, then, table=0):
    """Choose rows. A click is lost where the table is not painted yet, so it is made again until `then` is there."""
    for number in numbers:
        row(click.page, number, table)
        click.count += 1
    for _ in range(3):
        try:
            expect(then).to_be_visible(timeout=15_000)
            return
        except AssertionError:
            row(click.page, numbers[-1], table)
    expect(then).to_be_visible()


def test_which_settings_differ_among_these_runs(visit):
    click = Clicks(visit("compare"))
    said(click.page, "These 2 runs differ in")
    click(click.page.get_by_test_id("stMain").get_by_role("combobox", name="Runs"))
    click(click.page.get_by_role("option", name="gse-2", exact=True))
    said(click.page, "These 3 runs differ in updates, pooling")
    expect(click.page.get_by_label("Settings that differ").first).to_be_visible()
    assert click.count == 2


def test_hide_my_failed_runs(visit, store):
    click = Clicks(visit())
    click.to("Runs")
    click(click.page.get_by_role("button", name="Hide failed runs"))
    expect(click.page.get_by_text("Hidden: 1 run.")).to_be_visible()
    assert click.count == 2 and Marks(store).all()["smart-1"].hidden
    Marks(store).set("smart-1", hidden=False)


def test_train_this_again_with_another_head(visit, store):
    page = visit("runs")
    click = Clicks(page)
    choose_rows(click, [3], page.get_by_text("Train again with another STS head"))  # the two newest have no recipe
    click(page.get_by_role("radio", name="cosine_d", exact=True))
    said(page, "--set sts_head=cosine_d")
    try:
        click(page.get_by_role("button", name="Train it"))
        said(page, "Started: lab ablate baseline")
    finally:  # a test that fails leaves no training behind
        jobs = list((store / ".jobs").glob("*.json"))
        for job in jobs:
            os.kill(json.loads(job.read_text())["process"], signal.SIGKILL)
        shutil.rmtree(store / ".jobs", ignore_errors=True)
    assert len(jobs) == 1 and click.count == 3


def test_why_this_mistake(visit):
    page = visit("mistakes")
    click = Clicks(page)
    click(page.get_by_role("button", name="Show the runs that have predictions"))
    link = page.get_by_role("link", name="Open this example in Live predictions")
    choose_rows(click, [1], link, table=-1)
    click(link)
    page.wait_for_function("document.querySelector('h1')?.innerText === 'Live predictions'")
    said(page, "By occlusion: without")
    assert click.count == 3


def test_the_same_sentence_in_two_models(visit):
    page = visit("predictions")  # it opens on two sentences, which its address names
    for box in ("Sentence", "A second one, for paraphrase and similarity"):
        expect(page.get_by_role("textbox", name=box)).not_to_have_value("")
    assert page.evaluate("['say', 'and'].every(key => new URLSearchParams(location.search).get(key))")
    click = Clicks(page)
    first, other = (("one", "two") if page.get_by_role("heading", name="one", exact=True).count() else ("two", "one"))
    click(page.get_by_test_id("stMain").get_by_role("combobox", name="Beside it"))
    click(page.get_by_role("option", name=other, exact=True))
    for name in (first, other):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    assert click.count == 2


def test_export_this_figure_with_its_legend(visit):
    for path, begins in (("curves", b"\x89PNG"), ("curves?pictures=SVG", b"<svg")):
        click = Clicks(visit(path))
        click.page.locator(".js-plotly-plot .legend").first.wait_for()
        click.page.locator(".js-plotly-plot").first.hover()
        with click.page.expect_download() as download:
            click(click.page.locator(".modebar-btn[data-title*='ownload']").first)
        picture = Path(download.value.path()).read_bytes()
        assert picture.startswith(begins) and click.count == 1
    assert b"gse" in picture and b"baseline" in picture  # names stand only in the legend


def test_a_cell_of_the_confusion_matrix_opens_its_examples(visit, tiny_group):
    page = visit(f"mistakes?mr=one&{tiny_group}")
    box = page.locator(".js-plotly-plot .nsewdrag").first
    box.wait_for()
    size = box.bounding_box()
    box.click(position={"x": size["width"] * .3, "y": size["height"] * .1})
    page.wait_for_function("new URLSearchParams(location.search).get('mg') === '0 negative'")
    ready(page)
    assert page.evaluate("new URLSearchParams(location.search).get('ma')") == "1 somewhat negative"
    page.go_back()  # Back undoes a choice
    page.wait_for_function("new URLSearchParams(location.search).get('ma') !== '1 somewhat negative'")


def test_at_400_pixels_the_leaderboard_shows_the_verdict_and_all_three_tasks(visit):
    page = visit(f"leaderboard?{SAMPLE}", 400, 800)
    table = page.locator(".dvn-scroller").first
    table.wait_for()
    heads = page.get_by_test_id("stDataFrame").first.locator("[role=columnheader]")
    heads.first.wait_for(state="attached")  # those of the columns in sight
    shown = heads.all_inner_texts()
    # A column that has begun follows them, so the last of them is in sight as a whole.
    assert ["recipe", "vs", "overall", "sst", "qqp", "sts", "verdict"] == [text for text in shown if text]


def test_the_pointer_shows_all_lines_in_one_box(visit):
    page = visit(f"curves?{SAMPLE}")
    plot = page.locator(".js-plotly-plot .nsewdrag").first
    plot.wait_for()
    size = plot.bounding_box()
    plot.hover(position={"x": size["width"] - 5, "y": size["height"] / 2})
    box = page.locator(".js-plotly-plot .hoverlayer .legend").first
    expect(box).to_contain_text("epoch 2")
    expect(box).to_contain_text("gse 0.6")
    expect(box).to_contain_text("baseline 0.5")
    assert float(box.locator(".bg").evaluate("e => getComputedStyle(e).fillOpacity")) < 1


def test_give_my_view_to_someone_without_the_lab(store, tmp_path, browser):
    file = tmp_path / "view.html"
    subprocess.run([sys.executable, "-c", "from lab.cli import main; main()", "share", "--out", str(file), "--runs",
                    str(store)], check=True, capture_output=True)
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.locator(".js-plotly-plot .legend").first.wait_for()
    drawn = "document.querySelector('figure .plot').data.filter(line => line.mode === 'lines+markers')"
    assert page.evaluate(f"Math.max(...{drawn}[0].x)") == 2
    page.select_option("#by", "step")
    assert page.evaluate(f"Math.max(...{drawn}[0].x)") == 94
    page.locator(".choices summary").click()
    page.get_by_label("gse", exact=True).uncheck()
    assert page.evaluate(f"{drawn}.find(line => line.name === 'gse').visible") is False
    expect(page.locator("tr[data-line=gse]")).to_be_hidden()
    expect(page.locator(".compare").first).to_contain_text("95 % interval")
    assert len(asked) == 1 and not errors and file.stat().st_size < 10e6
    page.close()
