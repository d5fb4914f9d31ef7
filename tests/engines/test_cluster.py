"""Runs on a Ray cluster of several node processes on 127.0.0.1: killed workers, machines and drivers."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from helpers import repeatable, trained

import lab
from lab.engines import ablation, cluster
from lab.runs.folder import Run, list_runs
from lab.runs.stores import runs_root
from lab.runs.writer import Writer
from lab.train import run_name

AGENTS = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port", "metrics_export_port")


def machine():
    """The settings of a small machine. Its agents have ports: for those that choose one, Ray waits 15 seconds, which is
    too short where the suite's other processes take all cores."""
    with contextlib.ExitStack() as closing:
        ports = [closing.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in AGENTS]
    return {"num_cpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1",
            **dict(zip(AGENTS, ports, strict=True))}


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """A Ray cluster of two machines with a core each. The second one may be taken away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on 127.0.0.1 alone
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("machine")))
        patch.setenv("RAY_TMPDIR", made := tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short, for its sockets' names
        from ray.cluster_utils import Cluster

        handler, of = signal.getsignal(signal.SIGTERM), Cluster()
        try:
            of.add_node(**machine(), include_dashboard=False)
            of.second = of.add_node(**machine())
            of.tmp = Path(os.environ["TMPDIR"])
            yield of
        finally:  # also where a machine did not start in time
            of.shutdown()
            signal.signal(signal.SIGTERM, handler)  # Ray sets its own
            shutil.rmtree(made, ignore_errors=True)


on_ray = pytest.mark.xdist_group("ray")


def tasks():
    """The processes that train for Ray."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if file.read_bytes().startswith(b"ray::_task"):
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


@on_ray
def test_runs_go_on_where_a_worker_or_a_machine_ended(machines, tiny, tiny_data, monkeypatch):
    long = dataclasses.replace(tiny, epochs=8, eval_rows=20, samples=1)
    experiments = [dataclasses.replace(long, name=name, updates=(name,)) for name in ("sum", "separate")]
    steps, said = {}, []
    tell = ablation.Tally.tell

    def disturb(self, name, report):
        tell(self, name, report)
        steps.setdefault(name, report.get("step", 0))
        steps[name] = max(steps[name], report.get("step", 0))
        said.extend([report["again"]] if "again" in report else [])
        if machines.second and sum(step >= 4 for step in steps.values()) == 2:
            machines.remove_node(machines.second, allow_graceful=False)
            machines.second = None
            steps.clear()
        elif not machines.second and len(said) == 1 and any(step >= 8 for step in steps.values()):
            said.append("killed")
            os.kill(tasks()[0], signal.SIGKILL)

    monkeypatch.setattr(ablation.Tally, "tell", disturb)
    monkeypatch.setattr("lab.engines.machine.EVERY", 0.0)
    frame = lab.ablate(experiments, seeds=1, data=tiny_data, engine="ray", address=machines.address, progress=False)
    assert set(frame["state"]) == {"done"} and frame["run"].nunique() == 2
    assert len(said) == 3 and all("another one goes on" in line for line in said if line != "killed"), said
    for e in experiments:  # the serial table beside Ray's
        rows = Run(runs_root() / run_name(e, lab.load_data(tiny_data))).rows()
        assert repeatable(rows) == repeatable(trained(e, tiny_data, run=f"{e.name}-alone")[1])


@on_ray
def test_after_a_killed_driver_the_same_line_goes_on(machines, tiny, tiny_data):
    settings = ["iterations=4", "epochs=15", "device=cpu", "eval_rows=20"]
    line = ["ablate", "multitask", "--data", tiny_data, "--encoder", tiny.encoder, "--protocol", "smoke", "--seeds", 1,
            "--engine", "ray", "--address", machines.address, *(word for s in settings for word in ("--set", s))]
    command = [sys.executable, "-c", "from lab.cli import main; main()", *map(str, line)]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = threading.Timer(300, driver.kill)
    deadline.start()
    seen = letter = " "
    while letter and not re.search(r" [1-9]\d*%", seen):
        letter = driver.stderr.read(1)
        seen += letter
    driver.kill()
    driver.communicate()
    deadline.cancel()
    (run,) = list_runs()
    assert run.status["state"] != "done", seen
    again = lab.Experiment.from_json(json.dumps(run.config["experiment"]))
    lab.ablate([again], seeds=1, data=tiny_data, engine="ray", address=machines.address, progress=False)
    assert run.status["state"] == "done" and len(list_runs()) == 1
    Writer(run, lambda: None).close()  # nobody holds its lock


@on_ray
def test_where_the_store_is_not_seen_data_and_encoder_are_sent_and_the_run_comes_back(
        machines, tiny, tiny_data, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(tiny_encoder).parent)
    e = dataclasses.replace(tiny, encoder=Path(tiny_encoder).name)  # a path that no worker finds, as elsewhere
    data = dataclasses.replace(lab.load_data(tiny_data), folder=tmp_path / "elsewhere")
    monkeypatch.setattr(cluster, "mark", lambda store: "of another machine's store")
    lab.ablate([e], seeds=2, data=data, engine="ray", address=machines.address, progress=False)
    runs = list_runs()
    assert [run.status["state"] for run in runs] == ["done", "done"]
    alone = trained(dataclasses.replace(tiny, seed=runs[0].config["experiment"]["seed"]), tiny_data, run="alone")[1]
    assert repeatable(runs[0].rows()) == repeatable(alone)
    assert runs[0].model("last")[0].step == 12 and (runs[0].folder / "predictions" / "last").is_dir()
    (own,) = machines.tmp.glob("minbert-lab-*")
    assert {path.name.split("-")[0] for path in own.iterdir()} == {"cache", "data", "encoder"}  # and no store


@pytest.mark.parametrize(("options", "why"), [({"engine": "rai"}, "did you mean 'ray'"),
                                              ({"address": "auto"}, "give engine ray with it"),
                                              ({"engine": "ray", "cpus": 0}, "must be 1 or more")])
def test_engines_that_are_not_there(options, why, tiny, tiny_data):
    with pytest.raises(lab.LabError, match=why):
        lab.ablate([tiny], data=tiny_data, **options)
