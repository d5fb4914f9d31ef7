"""Train the heads of `frozen` on the real sets and the bundled sample, and write them to data/heads/, which ships.

    OMP_NUM_THREADS=1 python data/ship_heads.py [--data DIR] [--out FILE]

They answer `lab predict` and the page Live predictions where there is no run yet. DIR has the six CSV files of the real
sets (default: LAB_DATA, else data/). Of QQP, the first rows are enough, for its head has two numbers; the sample's
sentences on sentiment stand in the training rows several times, since they are plain and few. The same code, CPU and
number of threads give the same file. Its header says what the heads were made from, and their scores on the real dev
sets, which were not trained on.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from lab.data import TASKS, checkout, file_name, find_data, load_data
from lab.errors import LabError
from lab.experiment import PROTOCOLS, RECIPES
from lab.results.ask import heads_file, scores_of
from lab.train import fit

QQP_ROWS, COPIES = 8000, {"sst": 4}  # of the real rows; how often the sample's rows stand beside them, else once
# `frozen` on all of these rows: larger batches, and a learning rate that falls to 0.
EXPERIMENT = replace(PROTOCOLS["laptop"](RECIPES["frozen"]), scale=1.0, batch_size=64, iterations=168, epochs=8,
                     schedule="linear", samples=0)


def put_together(real: Path, folder: Path) -> None:
    """Write the real rows, with the sample's behind those of training, as six files in the course's layout."""
    for task in TASKS:
        for split in ("train", "dev"):
            name = file_name(task, split)
            header, *rows = (real / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
            if split == "train":
                rows = rows[:QQP_ROWS] if task == "qqp" else rows
                plain = (checkout() / "data" / "sample" / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
                rows += plain[1:] * COPIES.get(task, 1)
            (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def write_heads(real: Path, out: Path) -> Path:
    """Train the heads and write them as one safetensors file."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as store:
        put_together(real, Path(folder))
        training = fit(EXPERIMENT, data=load_data(folder), root=store)
        for _ in training:
            pass
        scores, majority, rows = scores_of(training.run)
        model, _ = training.run.model("best")
    about = {"experiment": json.loads(EXPERIMENT.to_json()), "data": "SST, a part of QQP, STS and the bundled sample",
             "dev": "the real dev sets", "step": model.step, "scores": scores, "majority": majority, "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in model.heads.state_dict().items()}, out,
              metadata={"about": json.dumps(about)})
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=heads_file())
    given = parser.parse_args()
    found = find_data(given.data)
    if load_data(found).kind == "sample":
        raise LabError("the heads are trained on the real sets: --data names their folder")
    print(write_heads(found, given.out))
