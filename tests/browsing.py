"""The dashboard in the system's Chromium: fixtures of the server, the browser and its pages, for several test modules.

A module that imports them has a fixture `store`, the run store that the server shows.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

APP = Path(__file__).resolve().parents[1] / "dashboard" / "app.py"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
# No script runs, nothing waits for one, and no colour is on its way to another.
DRAWN = """() => document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]")
    && !document.querySelector("[data-stale=true], [data-testid=stSkeleton]")
    && document.getAnimations().every(of => !(of instanceof CSSTransition))"""
EXTRA = {}  # further variables of the server's environment

expect.set_options(timeout=120_000)


def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.fail("no Chromium here, which these tests need: apt-get install chromium", pytrace=False)
    return found


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    """The dashboard, started from another folder and with an empty home: its port and its output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LAB_RUNS": str(store), "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": str(APP.parent.parent), "BROWSER": "true", **EXTRA}
    # It has a stdin, since Streamlit may ask for an e-mail address.
    process = subprocess.Popen([sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port)],
                               cwd=home, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    output = []
    try:
        for line in process.stdout:
            output.append(line)
            if f"127.0.0.1:{port}" in line:
                break
        else:
            pytest.fail("the dashboard did not start:\n" + "".join(output))
        threading.Thread(target=output.extend, args=(process.stdout,), daemon=True).start()
        yield port, output
        assert process.poll() is None, f"it ended by itself: {process.returncode}\n" + "".join(output)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    assert "Traceback" not in "".join(output), "".join(output)
    assert not list(home.rglob("*credentials*"))


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(server, browser):
    """A function that opens an address, with a size and a theme. Afterwards no other host may have been asked."""
    asked, contexts = [], []

    def visit(path="", width=1300, height=900, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(120_000)  # a busy machine is no fault
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: asked.append(socket.url))
        whose = "" if "whose" in path else ("&" if "?" in path else "?") + "whose=mine"  # not those that ship
        page.goto(f"http://127.0.0.1:{server[0]}/{path}{whose}")
        return ready(page)

    yield visit
    for context in contexts:
        context.close()
    elsewhere = [url for url in asked if url.split("//")[-1].split("/")[0] != f"127.0.0.1:{server[0]}"
                 and not url.startswith(("data:", "blob:"))]
    assert asked and not elsewhere, elsewhere


def ready(page):
    """Wait until the page has been drawn, and nothing on it fades any more; it must have no exception."""
    page.wait_for_selector("h1")
    page.wait_for_function(DRAWN)
    assert not page.locator("[data-testid=stException]").count()
    return page
