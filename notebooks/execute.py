"""Run notebooks from top to bottom, each in a fresh kernel.   python notebooks/execute.py [--records] [NAME.ipynb ...]

`--records` runs only the first cell and those with the tag `records`, which show the records in data/runs: seconds, for
when other records ship.

`make outputs` writes the outputs into the notebooks: at full scale, in a run store of their own, a static picture
beside each plotly figure for readers without JavaScript, and no widget. The tests run the same at a small scale, which
no cell has to know: `teach.experiment` makes small runs where LAB_NOTEBOOKS=small, and `smaller` rewrites the numbers.
"""

import base64
import html
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted(HERE.glob("[0-9][0-9]_*.ipynb"))
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
COLOURS = 64  # of a picture
SECONDS = 2400  # the longest that a cell may take
FEWER = {"lab.ablate(": (r"\bseeds=\d+", "seeds=1"), "lab.fork(": (r"\biterations=\d+", "iterations=2")}


def smaller(source: str) -> str:
    """A cell's code with ablations of one seed and forks of two iterations."""
    for call, (number, small) in FEWER.items():
        if call in source:
            source = re.sub(number, small, source)
    return source


def execute(path: Path, scale: str, store: Path, tag: str = "") -> nbformat.NotebookNode:
    """The notebook with its outputs. scale: "small" or "full"; store: the folder for its runs.

    tag: of its cells only the first with code, which imports the lab, and those with this tag.
    nbclient.exceptions.CellExecutionError: a cell failed, and how.
    """
    notebook = nbformat.read(path, as_version=4)
    if tag:
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        notebook.cells = [cell for cell in notebook.cells if cell is first or tagged(cell, tag)]
    for cell in notebook.cells if scale == "small" else ():
        cell.source = smaller(cell.source) if cell.cell_type == "code" else cell.source
    environment = os.environ | {"LAB_NOTEBOOKS": scale, "LAB_RUNS": str(store), "TQDM_DISABLE": "1"}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", record_timing=False,
                   resources={"metadata": {"path": str(path.parent)}}).execute(env=environment)
    for cell in notebook.cells:  # progress bars: their widgets end with the kernel
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}}
    return notebook


def figures(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The outputs that hold a plotly figure."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return [output for output in outputs if PLOTLY in output.get("data", {})]


def alternative(figure: dict) -> str:
    """A plotly figure in words, for those who do not see it: its title, panels, axes and lines."""
    layout = figure["layout"]
    named = {"Chart": [layout.get("title", {}).get("text")],
             "Panels": [of.get("text") for of in layout.get("annotations", ()) if not of.get("showarrow")],
             "Axes": [layout[key].get("title", {}).get("text") for key in sorted(layout) if key[1:5] == "axis"],
             "Lines": [of.get("name") for of in figure["data"]]}
    parts = []
    for what, texts in named.items():
        if texts := list(dict.fromkeys(filter(None, texts))):
            more = f" and {len(texts) - 6} more" if len(texts) > 6 else ""
            parts.append(f"{what}: {'; '.join(texts[:6])}{more}.")
    return html.unescape(re.sub(r"<[^>]+>", "", " ".join(parts).replace("<br>", ", ")))


def add_pictures(notebook: nbformat.NotebookNode) -> None:
    """A PNG beside every plotly figure, of few colours, for it is committed; and its text alternative."""
    import plotly.graph_objects as go
    import plotly.io
    from PIL import Image

    drawn = figures(notebook)
    made = [go.Figure({key: of.data[PLOTLY][key] for key in ("data", "layout")}) for of in drawn]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.png" for number in range(len(drawn))]
        if files:
            plotly.io.write_images(made, files, width=[figure.layout.width or 900 for figure in made],
                                   height=[figure.layout.height or 450 for figure in made])
        for of, file in zip(drawn, files, strict=True):
            # an octree: the median cut, the default, gives two of our lines' colours one place
            Image.open(file).convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE).save(file, optimize=True)
            of.data["image/png"] = base64.b64encode(file.read_bytes()).decode()
            of.metadata["image/png"] = {"alt": alternative(of.data[PLOTLY])}  # shown by nbconvert --template classic


def tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    """Whether a cell has a tag."""
    return tag in cell.metadata.get("tags", ())


def put_back(path: Path, made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as it is, with the outputs of those of its cells that were run again, numbered as in a whole run."""
    notebook, outputs = nbformat.read(path, as_version=4), {cell.id: cell.outputs for cell in made.cells}
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.outputs = outputs.get(cell.id, cell.outputs)
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number
    return notebook


def main(paths: list[Path], tag: str) -> None:
    """Execute notebooks at full scale and write them back, outputs and all. tag: see `execute`."""
    for path in paths:
        if tag and not any(tagged(cell, tag) for cell in nbformat.read(path, as_version=4).cells):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, "full", Path(folder) / "runs", tag)
        spent = time.monotonic() - began
        add_pictures(notebook)
        notebook = put_back(path, notebook) if tag else notebook
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        print(f"{path.name}: {spent:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--records"]
    main([Path(name).resolve() for name in names] or NOTEBOOKS, "records" if "--records" in sys.argv else "")
