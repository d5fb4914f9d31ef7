"""Screenshots of the dashboard for the README: docs/dashboard-*.png, of the run store at hand, in the system's browser.

    make screenshots
"""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
PICTURES = {  # name -> page, width, height, theme
    "leaderboard": ("leaderboard", 1300, 900, "light"), "curves": ("curves", 1300, 1150, "light"),
    "gradients": ("gradients", 1300, 900, "dark"), "narrow": ("overfitting", 400, 800, "dark"),
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


def main() -> None:
    """Start the dashboard, take the screenshots, stop it."""
    chromium = shutil.which("chromium") or sys.exit("no Chromium here: apt-get install chromium")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(HERE.parent / "dashboard" / "app.py"),
         "--server.port", str(port), "--server.headless", "true"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        next(line for line in server.stdout if f":{port}" in line)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            for name, (page_name, width, height, theme) in PICTURES.items():
                page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme).new_page()
                page.goto(f"http://127.0.0.1:{port}/{page_name}")
                page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning] .js-plotly-plot .point",
                                       state="attached", timeout=120_000)
                page.screenshot(path=HERE / f"dashboard-{name}.png", timeout=120_000)
                page.context.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    main()
