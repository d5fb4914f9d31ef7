"""Train `frozen` on the bundled sample and write its heads to data/heads/, which ship with the lab.

    python data/ship_heads.py [--out FILE]

They answer `lab predict` and the page Live predictions where there is no run yet. The same code, CPU and number of
threads give the same file. The file's header says what the heads were made from, and their scores on the sample's dev.
"""

import argparse
import json
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from lab.data import checkout, load_data
from lab.experiment import PROTOCOLS, RECIPES
from lab.results.ask import heads_file, scores_of
from lab.train import fit


def write_heads(out: Path) -> Path:
    """Train the heads and write them as one safetensors file."""
    experiment = PROTOCOLS["sample"](RECIPES["frozen"])
    data = load_data(checkout() / "data" / "sample")
    with tempfile.TemporaryDirectory() as store:
        training = fit(experiment, data=data, root=store)
        for _ in training:
            pass
        scores, majority, rows = scores_of(training.run)
        model, _ = training.run.model("best")
    about = {"experiment": json.loads(experiment.to_json()), "data": f"{data.label} ({data.fingerprint})",
             "step": model.step, "scores": scores, "majority": majority, "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in model.heads.state_dict().items()}, out,
              metadata={"about": json.dumps(about)})
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=heads_file())
    print(write_heads(parser.parse_args().out))
