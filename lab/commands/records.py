"""The commands that read what runs have recorded: report, share, compare, and verify, which trains a stretch again."""

import json
import shlex
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from lab.commands.options import DataOption, StoreOption


def report(
    runs: StoreOption = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file (default: report.html in the run store; of records "
                                             "that ship with the lab, shipped.html in your own store)")] = None,
) -> None:
    """Print Tables 1 and 2 of all finished runs, verdicts and planned claims; write them and the figures as files.

    The files are HTML, CSV and Markdown. Without a finished run of your own, the records that ship are shown.
    """
    from lab.results import report as page
    from lab.results import tables
    from lab.runs.records import load_runs
    from lab.runs.stores import expanded, runs_root, ships, shown_store

    store, note = shown_store(runs)
    there = runs_root(runs) / "report.html"
    if ships(there.parent):  # only what ships belongs there
        there = runs_root() / "shipped.html"
    frame = load_runs(store)
    if note:
        print(f"{note}\n")
    if tables.leaderboard(frame).empty:
        print(f"{store}: no finished runs; name another run store with --runs or LAB_RUNS, or make a run: "
              f"{shlex.join(['lab', 'train', 'baseline', '--runs', str(store)])}")
    else:
        print(tables.as_text(frame))
        file = page.write(frame, expanded(out or there))
        states = frame.drop_duplicates("run").set_index("run")["state"].sort_index()
        names = f"runs: {', '.join(states.index[states == 'done'])}"
        print("\n" + textwrap.fill(names, 120, break_long_words=False, break_on_hyphens=False))
        if others := [f"{run} ({state})" for run, state in states[states != "done"].items()]:
            print(f"not finished, so not shown: {', '.join(others)}")
        print(f"\npictures: {file}\ntables: {file.with_suffix('.csv')}, {file.with_suffix('.md')}")


def share(
    out: Annotated[Path, typer.Option(help="The HTML file")] = Path("minbert-lab.html"),
    runs: StoreOption = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="The runs too that are hidden on the dashboard")] = False,
) -> None:
    """Write all results, your own and the shipped ones, as one HTML file that opens anywhere, without the lab."""
    from lab.errors import LabError
    from lab.results import report as page
    from lab.runs.records import Store
    from lab.runs.stores import both_stores, expanded

    store = Store(*([expanded(runs)] if runs else both_stores()))
    frame = store.frame()
    left_out = [] if hidden else [run for run, said in store.marked.items() if said.hidden]
    if not (frame.loc[~frame["run"].isin(left_out), "state"] == "done").any():
        raise LabError(f"there is nothing to share: no finished runs in {' or '.join(map(str, store.places))}")
    file = page.write(frame[~frame["run"].isin(left_out)], expanded(out), beside=False)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB; it needs no network and no lab")
    for run, why in store.unreadable.items():
        print(f"left out: {run}: {why}")
    if left_out:
        print(f"left out: {len(left_out)} hidden run{'s' * (len(left_out) > 1)}; --hidden writes them too")


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="A finished run's name or folder")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="The run to compare it with")],
    data: DataOption = None,
    weights: Annotated[str, typer.Option(help="last, or best (on dev)")] = "last",
    runs: StoreOption = None,
) -> None:
    """Compare two runs: the settings that differ, and paired tests on the same examples."""
    from lab.data import load_data
    from lab.results.comparison import as_text

    print(as_text(first, second, load_data(data), weights, runs))


def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name or folder")],
    data: DataOption = None,
    runs: StoreOption = None,
) -> None:
    """Train the last stretch of a run again, from the checkpoint before, and say whether the bits are the same."""
    from lab.experiment import Experiment
    from lab.pretrain import Pretraining, pretrain_mlm
    from lab.runs import schema
    from lab.runs.folder import Run
    from lab.runs.replay import replay
    from lab.train import fit

    found = Run.open(run, runs)
    settings = found.config
    schema.check_settings(settings, found.folder / "experiment.json")
    kind, again = (Pretraining, pretrain_mlm) if "head" in settings else (Experiment, fit)
    settings = kind.from_json(json.dumps(settings["experiment"]))
    first, last, differing = replay(found, lambda copy: again(settings, data=data, run=copy, resume=True))
    if differing:
        print(f"{found.name}: iterations {first} to {last}, trained again, differ in {len(differing)} of what was "
              f"compared, first in {differing[0]}")
        raise typer.Exit(1)
    print(f"{found.name}: iterations {first} to {last}, trained again, give the same bits: weights and records")
