"""What a machine of a cluster does with a job: it lacks something, or has something else of that name."""

import os
import re

import pytest

import lab
from lab.engines import cluster, machine
from lab.runs.folder import Run


def job_for(e, data, store, changes):
    """A job as a driver makes it, with changes."""
    driver = cluster.Driver(None, None, data, None, None)
    given = {"run": "made", "experiment": e.to_json(), "data": str(data.folder), "root": str(store), "threads": 1,
             "wait": False}
    return driver._checked(given) | changes


@pytest.mark.parametrize(("changes", "what"), [({"fingerprint": "0123456789ab"}, "holds other data"),
                                               ({"encoder_sha256": "ab" * 32}, "has other weights")])
def test_a_machine_with_other_data_or_another_encoder_refuses_by_name(changes, what, tiny, tiny_data, tmp_path):
    job = job_for(tiny, lab.load_data(tiny_data), tmp_path / "store", changes)
    with pytest.raises(lab.LabError, match=rf"^{re.escape(os.uname().nodename)}: .* {what} .*make them equal"):
        list(machine.place(job, {}, None))
    assert not Run(tmp_path / "store" / "made").exists


def test_a_machine_says_what_it_lacks(tiny, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    elsewhere = {"data": "/elsewhere", "encoder": "/elsewhere", "mark": "of another store"}
    job = job_for(tiny, lab.load_data(tiny_data), tmp_path / "store", elsewhere)
    assert list(machine.place(job, {}, None)) == [{"lacks": ["data", "encoder", "store"]}]
