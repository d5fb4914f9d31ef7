"""Draws docs/imports.svg: the modules of `lab` in their layers, and an arrow for each import.   make imports

The layers are those of the import contract in pyproject.toml, which the tests enforce. An import that follows from
other arrows is left out. A folder's `__init__`, on the left, loads the modules it names when they are first used; an
import of it counts as one of these modules.
"""

import random
import re
import tomllib
from graphlib import TopologicalSorter
from itertools import accumulate, pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
ROW, BOX, GAP, SIDE, LEFT, FOOT = 50, 24, 15, 20, 150, 60  # heights of a row and a box; between boxes; margins
UP, FLAT = "#dc2626", ("#dbe9f6", "#5b7186")  # arrows upwards; modules in lab/ itself: boxes, arrows from there
COLOURS = {"encoders": ("#fde2c8", "#c2701c"), "runs": ("#d7ecd4", "#4d9146"), "results": ("#e6dcf3", "#8159bd"),
           "figures": ("#fbd9e3", "#cf4a76"), "teach": ("#fff1b8", "#a88a12"), "datasets": ("#cfeeec", "#2f8f88"),
           "whatif": ("#e6dcf5", "#7a52b3"), "engines": ("#e3e8c8", "#7d8a2e"), "commands": ("#ece0d8", "#8a5a44")}
Edge = tuple[str, str]


def read(pyproject: Path) -> tuple[dict[str, set[str]], dict[str, int], dict[str, int]]:
    """What each module imports; the row of each, from the bottom; and the row of each folder's `__init__`."""
    contracts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")[::-1]
    graph = grimp.build_graph("lab", exclude_type_checking_imports=True, cache_dir=None)
    public = {}  # of each folder: the modules that its `__init__` loads on first use
    for folder in sorted(m for m in graph.modules - {"lab"} if graph.find_children(m)):
        source = (ROOT / folder.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
        public[folder] = {f"{folder}.{module}" for module in re.findall(r'"\w+": "(\w+)"', source)}
    imports = {m: set().union(*(public.get(i, {i}) for i in graph.find_modules_directly_imported_by(m))) - {"lab", m}
               for m in sorted(graph.modules - public.keys() - {"lab"})}
    # Of the names that a layer joins by | or :, a module's own layer is the one with the longest match.
    level = {m: max((len(name), i) for i, layer in enumerate(layers) for name in re.findall(r"[\w.]+", layer)
                    if f"{m}.".startswith(f"{name}."))[1] for m in imports}
    inside, depth = {m: {i for i in imports[m] if level[i] == level[m]} for m in imports}, {}
    for m in TopologicalSorter(inside).static_order():  # graphlib.CycleError: modules that import each other
        depth[m] = max((1 + depth[i] for i in inside[m]), default=0)
    places = sorted({(level[m], depth[m]) for m in imports})
    row = {m: places.index((level[m], depth[m])) for m in imports}
    return imports, row, {f"{folder}.__init__": max(row[m] for m in of) for folder, of in public.items()}


def width(node: object) -> float:
    """Of a module's box, or of the place that an arrow needs where it passes a row."""
    return 7.2 * len(node.removeprefix("lab.")) + 16 if isinstance(node, str) else 2


def place(row: dict[str, int], edges: set[Edge], seed: int) -> tuple[float, dict[object, float], dict[Edge, list]]:
    """Where things stand: (how far arrows go sideways, x of each node, the nodes along each arrow)."""
    draw, paths = random.Random(seed), {}
    for a, b in sorted(edges):  # an arrow upwards is laid out like one downwards
        high, low = sorted((a, b), key=row.get, reverse=True)
        paths[a, b] = [high, *[(a, b, r) for r in range(row[high] - 1, row[low], -1)], low]
    rows = {r: [m for m in row if row[m] == r] for r in set(row.values())}
    near: dict[object, list] = {m: [] for m in row}
    for path in paths.values():
        for node in path[1:-1]:
            rows[node[2]].append(node)
        for a, b in pairwise(path):
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)
    x = {node: draw.uniform(0, 800) for node in near}
    for turn in range(150):
        for r in sorted(rows, reverse=bool(turn % 2)):
            want = {n: sum(x[m] for m in near[n]) / len(near[n]) if near[n] else 400 for n in rows[r]}
            nodes = sorted(want, key=want.get)
            offset = [0.0, *accumulate((width(a) + width(b)) / 2 + GAP for a, b in pairwise(nodes))]
            free = [want[n] - o for n, o in zip(nodes, offset, strict=True)]
            ends = accumulate(free, max), reversed([*accumulate(free[::-1], min)])  # no overlap: pushed right, or left
            x |= {n: (a + b) / 2 + o for n, a, b, o in zip(nodes, *ends, offset, strict=True)}
    return sum(abs(x[a] - x[b]) for path in paths.values() for a, b in pairwise(path)), x, paths


def main(pyproject: Path = ROOT / "pyproject.toml") -> None:
    imports, row, folders = read(pyproject)
    up = {(m, i) for m in imports for i in imports[m] if row[i] > row[m]}
    below = {m: {i for i in imports[m] if row[i] < row[m]} for m in imports}
    reached: dict[str, set[str]] = {}
    for m in sorted(row, key=row.get):
        reached[m] = below[m].union(*(reached[i] for i in below[m]))
    down = {(m, i) for m in row for i in below[m] if not any(i in reached[other] for other in below[m])}
    _, x, paths = min((place(row, down | up, seed) for seed in range(200)), key=lambda found: found[0])
    shift, high = LEFT - min(x[n] - width(n) / 2 for n in x), SIDE + max(row.values()) * ROW + BOX + FOOT
    wide = max(x[n] + width(n) / 2 for n in x) + shift + SIDE
    y = {n: high - FOOT - BOX - ROW * (row[n] if isinstance(n, str) else n[2]) for n in x}  # of the upper edge
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" '
           f'height="{high}" font-family="system-ui, sans-serif" font-size="13" fill="#0f172a">',
           *(f'<marker id="{c[1:]}" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
             f'<path d="M0 1L7 4L0 7z" fill="{c}"/></marker>' for c in (UP, FLAT[1], *dict(COLOURS.values()).values())),
           '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>',
           f'<text x="{SIDE}" y="{high - 34}">An arrow points to what a module imports; one that follows from others '
           f'is left out.</text><text x="{SIDE}" y="{high - 14}">Dashed: the exceptions that point upwards, imports '
           'inside a function. Colours: the folders.</text>']
    for (a, b), path in sorted(paths.items()):
        points = [(x[n] + shift, y[n] + BOX / 2) for n in path]
        points[0], points[-1] = (points[0][0], y[path[0]] + BOX), (points[-1][0], y[path[-1]])
        points = points[::-1] if (a, b) in up else points
        d = "M{:.1f} {:.1f}".format(*points[0])
        for (x0, y0), (x1, y1) in pairwise(points[1:]):  # a smooth line near the points
            d += f"Q{x0:.1f} {y0:.1f} {(x0 + x1) / 2:.1f} {(y0 + y1) / 2:.1f}"
        stroke, dashes = (UP, "6 4") if (a, b) in up else (COLOURS.get(a.split(".")[1], FLAT)[1], "none")
        svg.append('<path d="{}L{:.1f} {:.1f}" fill="none" stroke="{}" stroke-dasharray="{}" stroke-width="1.4" '
                   'marker-end="url(#{})"/>'.format(d, *points[-1], stroke, dashes, stroke[1:]))
    for m, r in folders.items():
        x[m], y[m] = SIDE - shift + width(m) / 2, high - FOOT - BOX - ROW * r
    for m in [*row, *folders]:
        svg.append(f'<rect x="{x[m] + shift - width(m) / 2:.1f}" y="{y[m]}" width="{width(m):.1f}" height="{BOX}" '
                   f'rx="5" fill="{COLOURS.get(m.split(".")[1], FLAT)[0]}" stroke="#475569"/>'
                   f'<text x="{x[m] + shift:.1f}" y="{y[m] + 16.5}" text-anchor="middle">'
                   f'{m.removeprefix("lab.").replace(".", "/")}</text>')
    (ROOT / "docs" / "imports.svg").write_text("\n".join(svg) + "\n</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
