"""The package itself: every public name is there, and importing it does nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import lab


def test_every_public_name_is_there():
    assert all(getattr(lab, name) is not None for name in lab.__all__)
    assert {"Experiment", "RECIPES", "PROTOCOLS", "fit", "load_runs", "leaderboard", "figures", "load_encoder", "Bert",
            "BertConfig", "AdamW", "POOLINGS", "STS_HEADS", "SAMPLERS", "overall_score", "predict"} <= set(dir(lab))


def test_importing_does_nothing(tmp_path):
    code = "import sys, lab; print([m for m in ('torch', 'numpy', 'pandas', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]" and not done.stderr and not list(tmp_path.iterdir())


def test_modules_are_there_without_an_import_of_their_own():
    code = "import lab; print(lab.runs.schema.SCHEMA > 3, hasattr(lab, 'nothing'), hasattr(lab.runs, '__pycache__'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True False False", done.stderr


@pytest.mark.parametrize(("name", "unneeded"), [
    ("leaderboard", ("plotly", "torch")), ("load_runs", ("plotly", "torch")), ("load_data", ("torch", "pandas")),
    ("figures.curves", ("torch",))])
def test_a_name_does_not_load_what_it_does_not_need(name, unneeded):
    code = f"import sys, lab; lab.{name}; print([m for m in {unneeded} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("room", ["datasets", "encoders", "engines", "runs", "results", "figures", "teach", "whatif",
                                  "commands"])
def test_a_rooms_public_names_are_there_and_hide_no_module_of_it(room):
    package = getattr(lab, room)
    modules = {file.stem for file in Path(package.__file__).parent.glob("*.py")}
    assert package.__all__ and not modules & set(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
