"""Who may import whom (the contracts in pyproject.toml), and that no module uses another's private names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FILES = [file for folder in ("lab", "dashboard", "tests", "data", "docs") for file in (REPO / folder).rglob("*.py")]


def test_the_import_contracts_are_kept():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=REPO, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_module_stands_in_a_layer():
    import tomllib

    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    listed = {name for of in contracts for layer in of.get("layers", ()) for name in layer.split(" | ")}
    modules = [".".join(f.relative_to(REPO).with_suffix("").parts) for f in (REPO / "lab").rglob("*.py")]
    lost = [m for m in modules if not m.endswith("__init__") and not {m, m.rpartition(".")[0]} & listed]
    assert not lost


def private_names(code):
    """The private names of other modules that a module imports, or reads from what it has imported."""
    tree, imported, found = ast.parse(code), set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            imported |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lab":
            found += [alias.name for alias in node.names if alias.name.startswith("_")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            of = node.value
            while isinstance(of, ast.Attribute):
                of = of.value
            if isinstance(of, ast.Name) and of.id in imported and of.id not in ("torch", "os", "sys", "np"):
                found.append(node.attr)
    return found


def test_private_names_are_found():
    assert private_names("from lab.runs import folder, _x\nfolder._read()\nself._own") == ["_x", "_read"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPO)))
def test_no_private_name_crosses_a_module(file):
    assert not private_names(file.read_text(encoding="utf-8"))


def test_the_lesson_is_flat_and_its_rooms_are_few():
    flat, rooms = ([path.name for path in (REPO / "lab").iterdir() if kind(path)]
                   for kind in (Path.is_file, lambda path: (path / "__init__.py").exists()))
    assert len(flat) <= 16 and sorted(rooms) == ["commands", "datasets", "encoders", "engines", "figures", "results",
                                                 "runs", "teach", "whatif"]
