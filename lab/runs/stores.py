"""The stores of runs: one's own, and the one that ships with the lab.

A store is a folder of run folders. Which one is read or written follows from an argument, from LAB_RUNS, or from where
the lab stands.
"""

import os
from pathlib import Path

from lab.data import checkout
from lab.errors import LabError
from lab.runs.reading import read_json


def runs_root(root: str | Path | None = None) -> Path:
    """The run store: `root`, else LAB_RUNS, else the folder runs/ of the checkout."""
    return expanded(root or os.environ.get("LAB_RUNS") or checkout() / "runs")


def expanded(path: str | Path) -> Path:
    """A path with `~` as the home folder, `~user` as a user's. LabError: nothing says where that is."""
    path = os.path.expanduser(path)
    if str(path).startswith("~"):
        user = Path(path).parts[0][1:]
        why = f"there is no user {user!r}" if user else "where the home folder is cannot be found out (HOME is not set)"
        raise LabError(f"{path}: {why}; write it in full")
    return Path(path)


def named_store(root: str | None) -> str | None:
    """The name of a store that is to be read, as it was given. LabError: there is no such folder."""
    if root is not None and not (store := expanded(root)).is_dir():
        raise LabError(f"there is no run store {store}{', it is a file' * store.exists()}")
    return root


def check_writable(store: Path) -> None:
    """LabError: no run can be written in this store. The store need not exist yet."""
    there = next(folder for folder in (store, *store.absolute().parents) if os.path.lexists(folder))
    if not os.path.isdir(there):
        why = f"{there} is not a folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        why = f"you may not write in {there}"
    else:
        return
    raise LabError(f"{store}: no run can be kept there, since {why}; name another run store with --runs (root=) or "
                   "LAB_RUNS")


def shipped_root() -> Path:
    """The store that ships with the lab: records of the recipes on the real data, without weights."""
    return checkout() / "data" / "runs"


def ships(store: Path) -> bool:
    """Whether a store is the one that ships with the lab, in which nothing is written."""
    return store.resolve() == shipped_root().resolve()


def both_stores() -> list[Path]:
    """The user's own store, and the one that ships with the lab, unless that is the same."""
    own = runs_root()
    return [own] if ships(own) else [own, shipped_root()]


def run_folders(store: Path) -> list[Path]:
    """The folders of all runs of a store, by name."""
    return [file.parent for file in sorted(store.glob("*/experiment.json"))] if store.is_dir() else []


def shown_store(root: str | Path | None = None) -> tuple[Path, str | None]:
    """The store to read, and a note to show with it.

    Where no store is named and the user's own is empty, that is the store that ships with the lab; the note says so.
    """
    own, shipped = runs_root(root), run_folders(shipped_root())
    if root is not None or not shipped or run_folders(own):
        return own, None
    configs = [read_json(run / "experiment.json") for run in shipped]
    recipes = [config.get("experiment", {}).get("name") for config in configs]
    days = [str(config.get("started"))[:10] for config in configs]
    seeds, first, last = max(map(recipes.count, recipes)), min(days), max(days)
    when = f"on {first}" if first == last else f"from {first} to {last}"
    return shipped_root(), (f"no runs of your own yet: these are the records that ship with the lab, made {when}, "
                            f"{seeds} seed{'s at most' * (seeds > 1)} a recipe")
