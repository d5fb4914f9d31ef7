"""Draws docs/conflict.svg, and prints the tables of docs/conflict.md: conflict between tasks against shuffled labels.

    python docs/draw_conflict.py [--runs data/runs]
"""

import argparse
from pathlib import Path

import pandas as pd

import lab
from lab.data import TASK_NAMES
from lab.figures.styles import styles_of
from lab.results.conflict import against_null
from lab.results.significance import FEWEST_SEEDS, interval

HERE = Path(__file__).resolve().parent
RECIPES = ("baseline", "multitask", "gradient_surgery")
LEFT, WIDTH, ROW, TOP, REACH = 190, 460, 22, 56, 0.15  # pixels; the axis goes from -REACH to REACH


def within(runs: pd.DataFrame) -> pd.DataFrame:
    """The cosines between two batches of one task: a row for each recipe and task, with the interval over seeds."""
    rows, found = runs[(runs["metric"] == "cosine_within") & (runs["split"] == "sampled")], []
    for (recipe, task), part in rows.astype({"name": str, "task": str}).groupby(["name", "task"], sort=False):
        seeds = part.groupby("seed")["value"].mean()
        mean, low, high = interval(seeds if len(seeds) >= FEWEST_SEEDS else part["value"])
        found.append({"recipe": recipe, "pair": f"two batches of {TASK_NAMES[task]}", "seeds": len(seeds), "gap": mean,
                      "low": low, "high": high})
    return pd.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=str(HERE.parent / "data" / "runs"))
    runs = lab.load_runs(parser.parse_args().runs)
    runs = runs[runs["name"].isin(RECIPES) & (runs["state"] == "done") & (runs["departs"] == "")]
    runs = runs.assign(name=runs["name"].astype(str))
    whole, same = against_null(runs), within(runs)
    with_null = set(runs.loc[runs["metric"] == "cosine_gap", "run"])
    epoch = runs[runs["run"].isin(with_null)]
    early, late = (against_null(part) for part in (epoch[epoch["epoch"] <= 1], epoch[epoch["epoch"] > 5]))
    print(f"{len(with_null)} runs: {', '.join(sorted(map(str, with_null)))}\n")
    print("| recipe | tasks | seeds | cosine | with shuffled labels | difference, 95 % interval | verdict |")
    print("|---|---|---|---|---|---|---|")
    for row in whole.itertuples():
        print(f"| {row.recipe} | {row.pair} | {row.seeds} | {row.cosine:+.4f} | {row.shuffled:+.4f} "
              f"| {row.gap:+.4f} ({row.low:+.4f} to {row.high:+.4f}) | {row.verdict} |")
    print("\n| recipe | tasks | first epoch | epochs 6 to 10 |\n|---|---|---|---|")
    for a, b in zip(early.itertuples(), late.itertuples(), strict=True):
        print(f"| {a.recipe} | {a.pair} | {a.gap:+.4f} ({a.low:+.4f} to {a.high:+.4f}) "
              f"| {b.gap:+.4f} ({b.low:+.4f} to {b.high:+.4f}) |")
    print("\n| recipe | two batches of | seeds | cosine, 95 % interval |\n|---|---|---|---|")
    for row in same.itertuples():
        print(f"| {row.recipe} | {row.pair.split()[-1]} | {row.seeds} "
              f"| {row.gap:+.3f} ({row.low:+.3f} to {row.high:+.3f}) |")
    for metric in ("conflict", "update_cosine", "update_length"):
        means = runs[runs["metric"] == metric].astype({"task": str}).groupby(["name", "task"])["value"].mean()
        print(f"\n{metric}: " + ", ".join(f"{' '.join(key)} {value:.4f}" for key, value in means.items()))
    (HERE / "conflict.svg").write_text(drawn(whole, same), encoding="utf-8")


def drawn(whole: pd.DataFrame, same: pd.DataFrame) -> str:
    """A row for each pair of tasks and recipe: the difference to shuffled labels, with its interval; then `within`."""
    rows = [*whole.sort_values("pair", kind="stable", ascending=False).itertuples(),
            *same.sort_values("pair", kind="stable").itertuples()]
    styles = styles_of(RECIPES)
    height = TOP + ROW * len(rows) + 10 * (len({row.pair for row in rows}) - 1) + 60
    svg, y, before = [], TOP, None
    for row in rows:
        if row.pair != before:
            y += 10 if before else 0
            svg.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end" class="ink">{row.pair}</text>')
            before = row.pair
        x, low, high = (LEFT + WIDTH / 2 * (1 + max(-1, min(1, value / REACH)))
                        for value in (row.gap, row.low, row.high))
        colour = styles[row.recipe].colour
        svg.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
                   f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"/>'
                   f'<text x="{LEFT + WIDTH + 12}" y="{y + 4}" class="soft">{row.recipe}</text>')
        y += ROW
    axis = [f'<line x1="{LEFT + WIDTH / 2}" x2="{LEFT + WIDTH / 2}" y1="{TOP - 14}" y2="{y - 6}" class="axis"/>']
    for tick in (-0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15):
        axis.append(f'<text x="{LEFT + WIDTH / 2 * (1 + tick / REACH)}" y="{y + 14}" text-anchor="middle" class="soft">'
                    f'{tick:+.2f}</text>')
    axis.append(f'<text x="{LEFT + WIDTH / 2}" y="{y + 34}" text-anchor="middle" class="ink">cosine of two tasks minus '
                'that with shuffled labels; below: cosine of two batches of one task</text>')
    words = "; ".join(f"{row.recipe}, {row.pair}: {row.gap:+.3f} ({row.low:+.3f} to {row.high:+.3f})" for row in rows)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 150} {height}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13">\n'
            f'<title>Cosines of task gradients against shuffled labels</title>\n<desc>{words}</desc>\n'
            '<style>.ink{fill:#222}.soft{fill:#555}.axis{stroke:#888}'
            '@media(prefers-color-scheme:dark){.ink{fill:#eee}.soft{fill:#bbb}}</style>\n'
            f'<text x="{LEFT}" y="22" class="ink" font-size="15">Do the tasks conflict more than with shuffled labels?'
            '</text>\n'
            + "\n".join(axis + svg) + "\n</svg>\n")


if __name__ == "__main__":
    main()
