"""What all pages share: the choices in the sidebar, the runs in training, the message where there are no runs."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import added, first_quick, page_text, records, stored

PAGES = sorted(page.stem for page in (Path(__file__).resolve().parents[2] / "dashboard" / "views").glob("*.py"))
KINDS = ("selectbox", "multiselect", "radio", "button_group", "slider", "select_slider", "toggle",
         "checkbox", "number_input", "text_input", "text_area", "date_input")


@pytest.fixture
def store(tmp_path):
    for name in ("baseline", "gse"):
        for seed in (1, 2):
            stored(tmp_path / "runs", records(name, seed, pooling="cls", best=0.4))
    return tmp_path / "runs"


@pytest.mark.parametrize("page", first_quick(*PAGES))
def test_a_page_has_a_title_and_all_of_its_choices_in_the_address(app, store, page):
    app.switch_page(f"views/{page}.py").run()
    assert len(app.title) == 1 and not app.exception and not app.error
    widgets = {widget.proto.id: widget for kind in KINDS for widget in app.get(kind)}.values()
    assert len({widget.proto.query_param_key for widget in widgets}) == len(widgets)
    # what a training is to change is not part of a view
    assert {widget.label for widget in widgets if not widget.proto.query_param_key} <= {"Change settings"}


@pytest.mark.parametrize("page", PAGES)
def test_without_a_run_a_page_says_how_one_is_made(app, page):
    app.switch_page(f"views/{page}.py").run()
    assert not app.exception
    assert "lab train" in page_text(app) or (page == "train" and app.code[0].value.startswith("lab ablate multitask"))


def test_the_store_is_named_and_what_trains_or_ended_early(app, store):
    stored(store, records("smart", 1, state="running"),
           {"state": "running", "heartbeat": time.time() + 3000, "step": 50, "total": 94})
    stored(store, records("smart", 2), {"state": "running", "heartbeat": 1, "step": 50})
    stored(store, records("smart", 3), {"state": "running", "heartbeat": time.time(), "step": "x", "total": -1})
    app.run()
    bars = [bar.proto.text.replace("\\", "") for bar in app.get("progress")]
    assert bars == ["smart-1: 50 of 94", "smart-3: 0 of 1"]
    assert str(store) in page_text(app) and "smart-2 stopped" in page_text(app)


def test_many_stopped_runs_are_folded(app, store):
    for seed in range(10):
        stored(store, records("smart", seed, state="running"), {"state": "running"})
    app.run()
    assert [part.label for part in app.sidebar.expander] == ["10 runs stopped, failed or unreadable"]
    assert len(app.sidebar.expander[0].caption) == 10


def test_a_choice_follows_its_runs_when_lines_get_other_names(app, store):
    app.query_params["recipe"] = ["gse", "nobody"]
    app.run()
    assert app.multiselect(key="recipe").value == ["gse"]
    again = stored(store, records("gse", 1, run="again", pooling="mean"))
    assert app.run().multiselect(key="recipe").value == ["gse (pooling=cls)"]
    app.switch_page("views/curves.py").run()
    assert app.multiselect(key="recipe").value == ["gse (pooling=cls)"]
    shutil.rmtree(again)
    assert app.run().multiselect(key="recipe").value == ["gse"]
    for run in store.glob("gse-*"):
        shutil.rmtree(run)
    assert app.run().multiselect(key="recipe").value == [] and not app.exception


def test_a_group_that_is_gone_falls_back_to_the_largest(app, store):
    other = stored(store, records("gse", data="sample", run="other"))
    app.run()
    names = app.selectbox(key="from").options
    assert "SST 8544" in names[0] and "sample" in names[1]
    app.selectbox(key="from").set_value(names[1]).run()
    assert app.multiselect(key="recipe").options == ["gse"]
    for seed in (3, 4, 5):
        stored(store, records("gse", seed))  # growth elsewhere changes no choice
    assert app.run().selectbox(key="from").value == names[1]
    shutil.rmtree(other)
    assert app.run().selectbox(key="from").value == names[0] and not app.exception


def test_visitors_who_look_at_once_see_whole_records(app, store):
    from choices import snapshot

    def looked(_):
        now = snapshot()
        return now.version, len(now.runs), now.runs["step"].notna().all()

    folder = store / "gse-1"
    rows = records("gse", 1)
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            reads = [threads.submit(looked, None) for _ in range(8)]
            added(folder, rows)
            seen = [read.result() for read in reads]
            assert all(whole for *_, whole in seen)
            assert len({of[:2] for of in seen}) == len({of[0] for of in seen})  # a version is one frame
    assert looked(None)[1] == sum(len(file.read_text().splitlines()) for file in store.glob("*/metrics.jsonl"))
    assert json.loads((folder / "status.json").read_text())["state"] == "done"


def choices(app):
    """The values of all choices of a page, by their names in the address."""
    return {widget.proto.query_param_key: widget.value for kind in KINDS for widget in app.get(kind)
            if widget.proto.query_param_key}


@pytest.mark.parametrize("page", PAGES)
def test_a_link_opens_the_same_view_when_other_runs_have_come(page, open_page, trained_store):
    app = open_page(page)
    before, address = choices(app), dict(app.query_params)
    shutil.copytree(trained_store / "one", trained_store / "0")  # in the same group, and first of it
    config = trained_store / "0" / "experiment.json"
    config.write_text(config.read_text().replace('"name": "tiny"', '"name": "baseline"'))
    for seed in range(4):  # the largest group
        stored(trained_store, records("baseline", seed, overall=.9))
    assert choices(open_page(page))["from"] != before["from"]
    again = open_page(page, **address)
    assert choices(again) == before and dict(again.query_params) == address


@pytest.mark.parametrize("page", first_quick(*PAGES))
@pytest.mark.parametrize("bad", ["", "nonsense", "<b>\x00\N{GRINNING FACE}", "-1", ["", "nonsense", "9" * 30]])
def test_a_nonsensical_address_opens_the_page_as_it_is_without(page, bad, open_page, store):
    from choices import TEXTS

    usual = choices(open_page(page))
    assert choices(open_page(page, **dict.fromkeys(usual.keys() - set(TEXTS), bad))) == usual
    open_page(page, **dict.fromkeys(usual, bad))


def test_of_repeated_values_one_counts(open_page, store):
    found = choices(open_page("curves", by=["step", "seconds"], what=["dev score", "train score"]))
    assert (found["by"], found["what"]) == ("step", "train score")


def test_a_link_to_a_recipe_opens_all_lines_that_are_now_called_so(open_page, store):
    address = dict(open_page("curves", recipe="gse").query_params)
    assert address["recipe"] == "gse"
    stored(store, records("gse", 1, run="again", pooling="mean"))
    address = dict(open_page("curves", **address).query_params)
    assert address["recipe"] == ["gse (pooling=cls)", "gse (pooling=mean)"]
    shutil.rmtree(store / "again")
    assert open_page("curves", **address).multiselect(key="recipe").value == ["gse"]
