"""The table of runs that a local Ray cluster trained beside that of the same runs trained one after the other.

    OMP_NUM_THREADS=1 python tests/engines/side_by_side.py [SEEDS]

Four recipes at the protocol `sample` on the bundled sample, each with SEEDS seeds (default 1), by both engines, one
thread a run. It prints the scores of both on dev and in how many runs each recorded number is the same, apart from what
is timed. The exit code is 1 if one differs.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd

import lab
from lab.data import checkout
from lab.results.tables import SCORE_COLUMNS
from lab.runs.folder import list_runs
from lab.runs.replay import TIMED

RECIPES = ("frozen", "baseline", "multitask", "gradient_surgery")


def recorded(store: Path) -> dict[str, list[dict]]:
    """Of each run, what was recorded of it, without the seconds."""
    return {run.name: [row | {"seconds": None} for row in run.rows() if row["metric"] not in TIMED]
            for run in list_runs(store)}


def main(seeds: int) -> int:
    experiments = [lab.PROTOCOLS["sample"](lab.RECIPES[name]) for name in RECIPES]
    tables, rows = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in ("processes", "ray"):
            store = Path(folder) / engine
            frame = lab.ablate(experiments, seeds=seeds, data=checkout() / "data" / "sample", root=store, engine=engine)
            tables[engine] = lab.leaderboard(frame).set_index("name")[SCORE_COLUMNS]
            rows[engine] = recorded(store)
    print(pd.concat(tables, axis=1).round(3).to_string())
    same = [rows["ray"].get(name) == of for name, of in rows["processes"].items()]
    print(f"{sum(same)} of {len(same)} runs are the same in each number that is recorded, apart from times and memory")
    return int(not all(same) or len(rows["ray"]) != len(same))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 1))
