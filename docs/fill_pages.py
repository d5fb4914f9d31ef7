"""Writes the tables and pictures of the pages on results anew, from the records that ship with the lab.

    python docs/fill_pages.py [--runs data/runs]

A page has `<!-- table: NAME -->` before a table; this replaces the table that follows, and nothing else.
"""

import argparse
import re
import sys
from pathlib import Path

import claims_tables
import conflict_tables
import pandas as pd

import lab
from lab.results import tables

HERE = Path(__file__).resolve().parent
PAGES = ("results.md", "claims.md", "conflict.md")


def leaderboard(runs: pd.DataFrame) -> list[str]:
    """Table 1 of docs/results.md: last epoch, means over seeds, and the best epoch's overall score."""
    block = next(tables.blocks(runs))
    shown = tables.cells(block.dev, spread=("overall",), beside=block.floors)
    lines = ["| recipe | seeds | SST accuracy | QQP accuracy | STS Pearson | overall | best overall |",
             "|---" * 7 + "|"]
    return lines + [f"| {' | '.join([*row[:6], row[9]])} |" for row in shown.itertuples(index=False)]


def finished(folder: str) -> pd.DataFrame:
    """The finished runs of a store that are as their recipes say, on real data at protocol `laptop`."""
    runs = lab.load_runs(folder)
    kept = (runs["state"] == "done") & (runs["departs"] == "") & (runs["protocol"] == "laptop")
    return runs[kept & (runs["data"] != "sample")].astype({"name": str})


def filled(page: str, regions: dict[str, list[str]]) -> str:
    """The page with the table in each of its regions replaced. KeyError: nothing makes the table."""
    def table(found: re.Match) -> str:
        return f"{found[1]}\n" + "\n".join(regions[found[2]]) + "\n"

    return re.sub(r"(<!-- table: ([\w: ]+) -->)\n(?:\|.*\n)*", table, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=str(HERE.parent / "data" / "runs"))
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page would change")
    chosen = parser.parse_args()
    runs = finished(chosen.runs)
    compared = pd.read_csv(Path(chosen.runs) / "compared.csv")
    regions = {"leaderboard": leaderboard(runs), **claims_tables.regions(runs, compared),
               **conflict_tables.regions(runs)}
    pages = "".join((HERE / page).read_text(encoding="utf-8") for page in PAGES)
    if lost := [name for name in regions if f"<!-- table: {name} -->" not in pages]:
        sys.exit(f"{', '.join(lost)}: no page has these tables")
    texts = {HERE / page: filled((HERE / page).read_text(encoding="utf-8"), regions) for page in PAGES}
    texts |= {HERE / "claims.svg": claims_tables.drawn(runs), HERE / "conflict.svg": conflict_tables.drawn(runs)}
    stale = [file for file, text in texts.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    if chosen.check and stale:
        sys.exit(f"{', '.join(file.name for file in stale)}: not what the records say; run docs/fill_pages.py")
    for file in stale:
        file.write_text(texts[file], encoding="utf-8")


if __name__ == "__main__":
    main()
