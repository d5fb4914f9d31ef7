"""Server time of the dashboard's pages on a made-up store of 100 runs of 10,000 rows: a Markdown table.

    python tests/benchmarks/pages.py [--runs 100] [--rows 10000] [--rounds 3] [--pages curves gradients]

Each page is drawn once, which reads the store or finds it read, and then again after a change of a choice, in
Streamlit's own test runner: no browser, so what is measured is the server's work. Seconds of the processor are printed
beside those of the clock, since the former say more where something else runs. Of Live predictions, the time from the
change of a sentence until its answer bars are sent is printed too, with the model that ships.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve()
REPO = HERE.parents[2]
sys.path[:0] = [str(REPO), str(REPO / "dashboard"), str(REPO / "tests")]
RECIPES = ("baseline", "multitask", "gradient_surgery", "gse", "cosine_embedding", "cosine_d", "cosine_2d1", "smart",
           "strong", "frozen")
PAIRS = ("sst-qqp", "sst-sts", "qqp-sts")
EPOCHS, ITERATIONS = 25, 400
CHOICES = {"leaderboard": ("text_input", "find", ("s", "")), "curves": ("segmented_control", "by", ("step", "epoch")),
           "runs": ("text_input", "find", ("g", "")),
           "overfitting": ("pills", "charts", (["overall score"], ["SST sentiment"])),
           "gradients": ("toggle", "lines", (True, False)), "mistakes": ("segmented_control", "mt", ("qqp", "sst")),
           "compare": ("segmented_control", "cw", ("best", "last")), "train": ("number_input", "many", (2, 1)),
           "home": ("radio", "whose", ("mine", "both")),
           "predictions": ("text_input", "say", ("The film is bad.", "The film is not bad."))}


def fill(store: Path, runs: int, rows: int) -> None:
    """Write the runs: scores after every epoch, and windows of losses, gradients and SMART's penalty."""
    from helpers import added, records, stored

    rng = np.random.default_rng(0)
    each = [("batch", task, "loss") for task in ("sst", "qqp", "sts")] + [
        (split, pair, metric) for pair in PAIRS for split, metric in (
            ("batch", "cosine"), ("batch", "conflict"), ("sampled", "cosine_gap"), ("sampled", "cosine_shuffled"))] + [
        ("batch", "all", metric) for metric in ("update_cosine", "update_length")] + [
        ("batch", task, metric) for task in ("sst", "qqp", "sts") for metric in ("grad_norm", "penalty")]
    scores = [(split, task, metric) for split in ("dev", "train") for task, metric in (
        ("sst", "accuracy"), ("qqp", "accuracy"), ("sts", "pearson"), ("all", "overall"))]
    windows = -(-rows // len(each))
    for number in range(runs):
        name, seed = RECIPES[number % len(RECIPES)], number // len(RECIPES) + 1
        first = records(name, seed, overall=.5 + rng.random() / 10, iterations=ITERATIONS, epochs=EPOCHS,
                        updates=["pcgrad"] if number % 3 else ["sum"], pooling="mean" if number % 2 else "cls")
        folder = stored(store, first[first["split"] == "dev_full"].assign(step=EPOCHS * ITERATIONS, epoch=EPOCHS))
        steps = np.linspace(1, EPOCHS * ITERATIONS, windows).astype(int)
        parts = [pd.DataFrame({"step": steps, "split": split, "task": task, "metric": metric,
                               "value": rng.normal(.5, .1, windows)}) for split, task, metric in each]
        ends = np.arange(EPOCHS + 1) * ITERATIONS
        parts += [pd.DataFrame({"step": ends, "split": split, "task": task, "metric": metric,
                                "value": rng.normal(.5, .05, len(ends))}) for split, task, metric in scores]
        frame = pd.concat(parts).sort_values("step", kind="stable")[: rows]
        added(folder, frame.assign(epoch=-(-frame["step"] // ITERATIONS), seconds=frame["step"] / 10))


def main() -> None:
    """Fill a store in a temporary folder, draw each page, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", nargs="*", default=list(CHOICES))
    parser.add_argument("--store", type=Path, help="A store that is there, or is filled and kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = given.store or Path(temporary) / "runs"
        if not store.is_dir():
            fill(store, given.runs, given.rows)
        os.environ |= {"LAB_RUNS": str(store)}
        print("| page | first view | after a change, clock | after a change, processor |\n|---|---|---|---|")
        for page in given.pages:
            measure(page, given.rounds)


def noted(draw: Callable, sent: list) -> Callable:
    """`draw`, which also notes when each chart was sent."""
    def wrapped(*args, **more):
        sent.append((more.get("key"), time.perf_counter()))
        return draw(*args, **more)

    return wrapped


def measure(page: str, rounds: int) -> None:
    """Print the row of a page."""
    import streamlit as st
    from streamlit.testing.v1 import AppTest

    sent, drawn = [], st.plotly_chart
    st.plotly_chart = noted(drawn, sent)
    app = AppTest.from_file(str(REPO / "dashboard" / "app.py"), default_timeout=600)
    app.switch_page(f"views/{page}.py")
    began = time.perf_counter()
    app.run()
    first = time.perf_counter() - began
    assert not app.exception, (page, app.exception)
    widget, key, values = CHOICES[page]
    clock, processor, bars = [], [], []
    for number in range(rounds):
        getattr(app, widget)(key=key).set_value(values[number % len(values)])
        sent.clear()
        began, used = time.perf_counter(), time.process_time()
        app.run()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
        bars += [at - began for key_, at in sent if str(key_).startswith("live-sst")][:1]
        assert not app.exception, (page, app.exception)
    st.plotly_chart = drawn
    more = f"; bars after {statistics.median(bars):.2f} s" if bars else ""
    print(f"| {page} | {first:.2f} s | {statistics.median(clock):.2f} s{more} | {statistics.median(processor):.2f} s |",
          flush=True)


if __name__ == "__main__":
    main()
