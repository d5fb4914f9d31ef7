"""Files that are sent of a run: what is begun is known for a start, and none leads out of the run's folder."""

import json

import pytest
from helpers import trained

import lab
from lab.engines import parcels
from lab.runs.folder import Run


def test_what_a_driver_had_begun_to_write_of_a_run_is_known_for_a_start(tiny, tiny_data, tmp_path):
    run = Run(tmp_path / "made")
    parcels.write_file(run.folder, "status.json", json.dumps({"state": "starting"}).encode())
    parcels.write_file(run.folder, "checkpoints/00000004/model.safetensors", b"half")
    assert trained(tiny, tiny_data, run=run.folder)[0].status["state"] == "done"


def test_no_file_is_written_outside_of_a_run(tmp_path):
    for name in ("../other", "/tmp/other", "checkpoints/../../other"):
        with pytest.raises(lab.LabError, match="a worker sent the file"):
            parcels.write_file(tmp_path / "run", name, b"")
    assert not list(tmp_path.iterdir())
