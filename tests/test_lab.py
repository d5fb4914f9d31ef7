"""The package itself: every public name is there, and importing it does nothing."""

import subprocess
import sys

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
    code = "import lab; print(lab.tables.LEGEND[:3], hasattr(lab, 'nothing'), hasattr(lab, '__pycache__'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "sst False False", done.stderr
