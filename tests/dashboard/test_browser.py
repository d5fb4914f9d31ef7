"""The dashboard in the system's Chromium, with one server, one made-up store and every page.

These tests hold for any page: it has a title, no exception, its choices in the address, no element that came from a
record, no request to another host, no horizontal scrolling at 400 px, no serious finding of axe.
"""

import http.client
import json
import re
import shutil
import socket
import time
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import APP, ready
from helpers import added, records, stored
from playwright.sync_api import expect

# In one worker, since all tests share one server and one browser.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

EVIL = ("<script>window.__pwned=1</script><img src=x onerror=window.__pwned=1>[x](javascript:alert) $x$ :red[x] "
        "\x00\u202e")
PAGES = {page.stem for page in (APP.parent / "views").glob("*.py")}
HOSTILE = "‹hostile›"  # the encoder of the hostile runs: they are a group of their own
# Faults of Streamlit, by axe's rule, with selectors of the elements of its own that have them.
STREAMLITS_OWN = {}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two recipes of three seeds, a run that trains, a sample run, hostile runs, a damaged one."""
    store = tmp_path_factory.mktemp("store")
    diagnostics = [(step, split, "sst-qqp", metric, 0.1) for step in (25, 50, 75) for split in ("batch", "sampled")
                   for metric in ("cosine", "conflict")]
    for name, score in (("baseline", 0.5), ("gse", 0.6)):
        for seed in (1, 2, 3):
            stored(store, records(name, seed, overall=score + seed / 100, best=0.45, more=diagnostics, pooling="cls"))
    stored(store, records("smart", 1, state="running", more=diagnostics, pooling="cls").query("step < 94"),
           {"state": "running", "heartbeat": time.time() + 3000, "step": 47, "total": 94})
    stored(store, records("gse", data="sample", run="sampled", lr=1.0))
    for number, name in enumerate((EVIL, "../../etc/passwd", "\ud800\udfff", "x" * 5000)):
        rows = records("NAME", number, run=f"hostile{number}", data=EVIL, started=EVIL,
                       more=[(94, EVIL, EVIL, EVIL, 0.5), (94, "dev", "NAME", "accuracy", 0.5)], pooling=EVIL)
        folder = stored(store, rows.assign(encoder=HOSTILE))
        for file in (folder / "experiment.json", folder / "metrics.jsonl"):
            file.write_text(file.read_text().replace("NAME", json.dumps(name)[1:-1]))
        with open(folder / "metrics.jsonl", "ab") as file:
            file.write(b'\xff\n[]\n{"metric": "loss", "value": NaN, "step": "x", "split": {}}\n{"half')
    (store / "hostile0" / "status.json").write_text(json.dumps({"state": "running", "heartbeat": "x", "step": EVIL}))
    for text in ("{", '{"format": 99, "experiment": {}}'):
        folder = store / f"damaged{len(text)}"
        folder.mkdir()
        (folder / "experiment.json").write_text(text)
    return store


def sideways(page):
    """The parts of a page that can be scrolled horizontally."""
    wide = "p => [...document.querySelectorAll(p)].some(e => e.scrollWidth > e.clientWidth)"
    return [part for part in ("html", "[data-testid=stMain]") if page.evaluate(wide, part)]


def address(page):
    return page.evaluate("Object.fromEntries([...new URLSearchParams(location.search).keys()]"
                         ".map(key => [key, new URLSearchParams(location.search).getAll(key)]))")


def group(page):
    return page.get_by_test_id("stSidebar").get_by_role("combobox", name="Made from")


def recipes(page):
    return page.get_by_test_id("stSidebar").get_by_test_id("stMultiSelect")


def go(page, name):
    """Go to another page by its link in the sidebar."""
    page.get_by_test_id("stSidebarNav").locator(f"a[href*='/{name}']" if name else "a").first.click()
    page.wait_for_url(f"**/{name}*")
    return ready(page)


def test_it_listens_here_alone_and_answers_no_other_name(server):
    port = server[0]
    for elsewhere in ("127.0.0.2", "::1"):
        with pytest.raises(OSError):
            socket.create_connection((elsewhere, port), timeout=5)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    for host, answer in ((f"127.0.0.1:{port}", 101), (f"localhost:{port}", 101), (f"evil.example:{port}", 403)):
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        asked.request("GET", "/_stcore/stream", headers={"Host": host, **upgrade})
        assert asked.getresponse().status == answer, host
        asked.close()


def test_choices_stand_in_the_address_and_come_back_from_it(visit):
    page = visit("?whose=shipped")
    page.get_by_test_id("stSidebar").get_by_text("mine", exact=True).click()
    expect(group(page)).to_have_value(re.compile("minilm-raw"))
    recipes(ready(page)).locator("input").click()
    page.get_by_role("option", name="gse", exact=True).click()
    page.wait_for_function("location.search.includes('recipe=gse')")
    ready(page)
    for name in sorted(PAGES - {"home"}):  # they go along from page to page
        go(page, name)
        expect(recipes(page)).to_contain_text("gse")
        assert (address(page)["recipe"], address(page)["whose"]) == (["gse"], ["mine"]), name
    page.reload()
    expect(recipes(ready(page))).to_contain_text("gse")


def test_every_page_opens_by_its_address(visit, server):
    page = visit()
    titles = set()
    for name in sorted(PAGES):
        page.goto(f"http://127.0.0.1:{server[0]}/{name * (name != 'home')}?recipe=gse&from=minilm-raw+·+laptop"
                  "+·+sample+(sample)")
        expect(group(ready(page))).to_have_value(re.compile("sample"))
        expect(recipes(page)).to_contain_text("gse")
        titles.add(page.locator("h1").first.inner_text())
        assert address(page)["recipe"] == ["gse"] and "sample" in address(page)["from"][0], name
    assert len(titles) == len(PAGES)


def test_an_address_with_unknown_values_falls_back_quietly(visit):
    page = visit("curves?recipe=none&recipe=gse&from=<script>&other=1")
    expect(recipes(page)).to_contain_text("gse")
    assert address(page).get("recipe") == ["gse"] and "SST 8544" in address(page)["from"][0]
    expect(group(page)).to_have_value(re.compile("SST 8544"))


def test_a_run_that_trains_moves_by_itself_and_choices_stay(visit, store):
    page = visit("leaderboard?recipe=smart&recipe=gse")
    points = ("[...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => plot.data || [])"
              ".reduce((n, line) => n + (line.x || []).length, 0)")
    before = page.wait_for_function(points).json_value()
    page.evaluate("window.__same = 1")
    expect(page.get_by_text("smart-1: 47 of 94").first).to_be_visible()

    rows, folder = records("smart", 1, overall=0.4).query("step == 94"), store / "smart-1"
    added(folder, rows)
    (folder / "status.json").write_text(json.dumps({"state": "running", "heartbeat": time.time() + 3000, "step": 94,
                                                    "total": 94}))
    expect(page.get_by_text("smart-1: 94 of 94").first).to_be_visible()
    (folder / "status.json").write_text(json.dumps({"state": "done"}))
    page.wait_for_function(f"{points} > {before}")
    expect(page.get_by_text("smart-1: 94 of 94")).to_have_count(0)
    for chosen in ("smart", "gse"):
        expect(recipes(page)).to_contain_text(chosen)
    assert sorted(address(page)["recipe"]) == ["gse", "smart"]
    assert page.evaluate("window.__same"), "the page was loaded anew"

    stored(store, records("gse", 1, overall=0.7, run="gse-again", pooling="mean"))  # gse is now called otherwise
    expect(recipes(page)).to_contain_text("gse (pooling=cls)")
    expect(recipes(page)).not_to_contain_text("pooling=mean")
    shutil.rmtree(store / "gse-again")
    expect(recipes(page)).not_to_contain_text("pooling")
    expect(recipes(page)).to_contain_text("gse")


def test_a_click_on_a_row_of_the_leaderboard_is_what_the_other_pages_show(visit):
    page = visit("leaderboard")
    for last in (False, False, True):  # a click is lost where the table is not painted yet
        page.locator(".dvn-scroller").first.click(position={"x": 17, "y": 52})
        try:
            # the best row, whichever tests ran before
            expect(recipes(page)).to_contain_text("gse", timeout=120_000 if last else 15_000)
            break
        except AssertionError:
            if last:
                raise
    expect(recipes(page)).not_to_contain_text("baseline")
    ready(go(page, "curves"))
    assert address(page)["recipe"] == ["gse"]


def test_tables_can_be_taken_along(visit):
    page = visit("leaderboard")
    for name, begin in (("CSV", "table,name,settings"), ("Markdown", "# minBERT lab")):
        with page.expect_download() as download:
            page.get_by_test_id("stDownloadButton").get_by_role("button", name=name).click()
        assert Path(download.value.path()).read_text().startswith(begin)


def test_runs_that_ended_early_or_cannot_be_read_are_named(visit):
    page = visit()
    told = page.get_by_test_id("stSidebar")
    expect(told).to_contain_text("hostile0 stopped: its process has ended")
    expect(told).to_contain_text("damaged1 cannot be read")
    expect(told).to_contain_text(re.compile("damaged32 cannot be read: .* its records have schema '99'"))


def test_hostile_records_are_only_text_on_every_page(visit, server):
    page = visit()
    group(page).click()
    page.get_by_role("option", name=HOSTILE).click()
    page.wait_for_function("location.search.includes('from=')")
    chosen = page.evaluate("location.search")
    for name in sorted(PAGES):
        page.goto(f"http://127.0.0.1:{server[0]}/{name * (name != 'home')}{chosen}")
        expect(group(ready(page))).to_have_value(re.compile(HOSTILE))
        assert page.evaluate("window.__pwned") is None, name
        assert not page.locator("body script:not([src]):not([type=module]), img[src=x], [onerror], a[href^=javascript]"
                                ).filter(has_text="__pwned").count(), name
        assert not page.locator("img[src=x], [onerror], a[href^='javascript:']").count(), name
    page = visit(f"curves{chosen}", 400, 800)
    assert not sideways(page)


def faults(page):
    """The serious findings of axe that are not Streamlit's own: rule, place, element."""
    found = [(finding["id"], node["target"][-1], node["html"][:200])
             for finding in Axe().run(page).response["violations"] if finding["impact"] in ("serious", "critical")
             for node in finding["nodes"]]
    return [(rule, target, html) for rule, target, html in found
            if not any(page.evaluate("([t, own]) => !!document.querySelector(t)?.closest(own)", [target, own])
                       for own in STREAMLITS_OWN.get(rule, ()))]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_both_themes_narrow_and_wide_without_a_serious_finding(visit, name):
    for scheme, width, height in (("light", 1300, 900), ("dark", 400, 800)):
        page = visit(name * (name != "home"), width, height, scheme)
        dark = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).colorScheme")
        assert dark == scheme
        assert not sideways(page), width
        # axe judges contrast only in what the window shows, so the window becomes as tall as the page.
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": max(tall + 100, height)})
        ours = faults(ready(page))
        if ours:  # a part that is just being drawn again is pale for a moment, which is no fault
            ours = [fault for fault in faults(ready(page)) if fault in ours]
        assert not ours, "\n".join(map(str, ours))
