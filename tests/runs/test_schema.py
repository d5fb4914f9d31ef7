"""Records carry a schema: older ones are upgraded, and within one an unknown or missing key is an error."""

import dataclasses
import json

import pytest
from helpers import stopped, trained

import lab
from lab.pretrain import Pretraining
from lab.runs import schema
from lab.runs.folder import Run

ROW = {"step": 1, "epoch": 1, "split": "dev", "task": "sst", "metric": "loss", "value": 1.0, "seconds": 1.0}


def rewritten(run, change):
    """The run, its experiment.json changed by a function."""
    file = run.folder / "experiment.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))
    return run


def as_schema_4(config):
    """What a version of schema 4 wrote, which kept the newest two checkpoints."""
    config["schema"] = 4
    del config["experiment"]["checkpoints"]


def as_schema_3(config):
    """What a version of schema 3 wrote, which kept the learning rate and trained all tasks alike."""
    as_schema_4(config)
    config["schema"] = 3
    for key in ("schedule", "tasks", "task_weights"):
        del config["experiment"][key]


def as_schema_2(config):
    """What a version of schema 2 wrote, which trained everything and had one QQP head."""
    as_schema_3(config)
    config["schema"] = 2
    for key in ("trains", "qqp_head", "end_qqp"):
        del config["experiment"][key]


def as_schema_1(config):
    """What a version of schema 1 wrote, before it had the settings pair and samples, and SMART a reduction."""
    as_schema_2(config)
    config["format"] = 1
    del config["schema"], config["experiment"]["pair"], config["experiment"]["samples"]
    if config["experiment"]["smart"]:
        del config["experiment"]["smart"]["reduction"]


def test_the_schema_names_all_fields():
    """A field that is added raises SCHEMA, and comes with an upgrade and a test of it."""
    assert schema.SCHEMA == 5 and list(schema.UPGRADES) == [1, 2, 3, 4]
    for keys, of in ((schema.SETTINGS, lab.Experiment), (schema.SMART, lab.Smart), (schema.PRETRAINING, Pretraining)):
        assert keys == {field.name for field in dataclasses.fields(of)}


@pytest.mark.parametrize("smart", [None, lab.Smart()])
def test_a_record_of_schema_1_stands_with_later_ones_and_is_resumed(smart, tiny, tiny_data):
    tiny = dataclasses.replace(tiny, smart=smart, epochs=2, iterations=2)
    new, _ = trained(tiny, tiny_data, run="new")
    old = rewritten(stopped(tiny, tiny_data, "old").run, as_schema_1)
    assert old.config["schema"] == schema.SCHEMA and old.config["experiment"] == new.config["experiment"]
    run, _ = trained(tiny, tiny_data, run="old", resume=True)
    frame = lab.load_runs()
    assert set(frame["run"]) == {"new", "old"} and frame["settings"].nunique() == 1
    assert run.model()[0].pair == "siamese" and run.status["state"] == "done"


@pytest.mark.parametrize("older", [as_schema_2, as_schema_3, as_schema_4])
def test_an_older_record_stands_with_later_ones_and_is_resumed(older, tiny, tiny_data):
    tiny = dataclasses.replace(tiny, epochs=2, iterations=2)
    new, _ = trained(tiny, tiny_data, run="new")
    old = rewritten(stopped(tiny, tiny_data, "old").run, older)
    assert old.config["schema"] == schema.SCHEMA and old.config["experiment"] == new.config["experiment"]
    run, _ = trained(tiny, tiny_data, run="old", resume=True)
    assert run.status["state"] == "done" and lab.load_runs()["settings"].nunique() == 1


@pytest.mark.parametrize("older", [as_schema_1, as_schema_2])
def test_an_older_minilm_is_the_wheels_as_it_is(older, tiny, tiny_data):
    run = trained(dataclasses.replace(tiny, epochs=1, iterations=1), tiny_data, run="one")[0]
    rewritten(run, lambda config: (config["experiment"].update(encoder="minilm"), config.pop("encoder_sha256")))
    assert run.config["experiment"]["encoder"] == "minilm"
    rewritten(run, older)
    settings = run.config["experiment"]
    assert {key: settings[key] for key in ("encoder", "trains", "qqp_head", "end_qqp")} == {
        "encoder": "minilm-raw", "trains": "all", "qqp_head": "linear", "end_qqp": None}
    assert set(lab.load_runs()["encoder"]) == {"minilm-raw"}


def test_an_older_pretraining_gets_no_settings_of_fine_tuning(tiny_data, tiny_encoder):
    e = Pretraining(encoder=str(tiny_encoder), scale=1.0, device="cpu")
    training = lab.pretrain_mlm(e, data=tiny_data, progress=False)
    training.close()
    rewritten(training.run, lambda config: (config.update(schema=2), config["experiment"].pop("schedule")))
    assert training.run.config["experiment"].keys() == schema.PRETRAINING


@pytest.mark.parametrize(("change", "why"), [
    (lambda c: c.pop("threads"), "schema 5 lacks threads"),
    (lambda c: c.update(mood="good"), "schema 5 has the unknown key 'mood'"),
    (lambda c: c["experiment"].pop("pair"), "experiment: schema 5 lacks pair"),
    (lambda c: c["experiment"].update(poling="cls"), "experiment: schema 5 has the unknown key 'poling'"),
    (lambda c: c["experiment"]["smart"].pop("sigma"), "experiment: smart: schema 5 lacks sigma"),
    (lambda c: c.update(schema=99), "its records have schema '99', and this lab reads schemas 1 to 5"),
    (lambda c: c.update(schema="3"), "its records have schema '3'"),
    (lambda c: c["data"].pop("cut"), "data: schema 5 lacks cut"),
    (lambda c: c.update(data=7), "data: schema 5 has an object of keys here"),
    (lambda c: c.update(experiment=7), "no settings under 'experiment'"),
])
def test_another_key_or_schema_is_an_error_that_names_it(tiny, tiny_data, change, why):
    experiment = dataclasses.replace(tiny, smart=lab.Smart(), epochs=1, iterations=1)
    run = rewritten(trained(experiment, tiny_data, run="one")[0], change)
    with pytest.raises(lab.LabError, match=why.replace("(", r"\(")):
        run.config  # noqa: B018
    with pytest.warns(UserWarning, match=f"run one is left out: .*{why}"):
        assert lab.load_runs().empty
    with pytest.raises(lab.LabError):
        lab.predict("one", "sst", ["A fine film."])


@pytest.mark.parametrize(("row", "why"), [
    ({k: v for k, v in ROW.items() if k != "value"}, "a row of schema 5 lacks value"),
    ({**ROW, "note": 1}, "a row of schema 5 has the unknown key 'note'"),
    ({"step": 1}, "a row of schema 5 lacks epoch, metric"),
])
def test_a_row_that_does_not_follow_the_schema_is_named(tiny, tiny_data, row, why):
    run, rows = trained(dataclasses.replace(tiny, epochs=1, iterations=1), tiny_data, run="one")
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.warns(UserWarning, match=why):
        assert lab.load_runs().empty
    rewritten(run, as_schema_1)  # within schema 1, what a row lacks is not recorded
    (run.folder / "status.json").write_text('{"state": "done"}')  # and there was no digest of the rows
    assert len(lab.load_runs()) == len(rows) + ("metric" in row)


def test_the_shipped_records_are_read():
    shipped = sorted((lab.data.checkout() / "data").glob("runs*/*/experiment.json"))
    assert shipped
    for file in shipped:
        config = Run(file.parent).config
        assert config["experiment"].keys() == schema.SETTINGS
        assert lab.Experiment.from_json(json.dumps(config["experiment"]))


def test_an_older_run_with_random_samplers_has_another_name(tiny, tiny_data):
    """In schema 1 a task drawn twice counted once: such a run is neither a seed of a new one, nor resumed as one."""
    tiny = dataclasses.replace(tiny, updates=("sum",), sampling="proportional", epochs=2, iterations=2)
    old = rewritten(stopped(tiny, tiny_data, "old").run, as_schema_1)
    assert old.config["experiment"]["name"] == "tiny_batch_mean"
    with pytest.raises(lab.LabError, match=r"trained with other settings \(name\)"):
        lab.fit(tiny, data=tiny_data, run="old", resume=True, progress=False)


def test_a_record_of_schema_1_without_a_setting_is_shown_but_makes_no_model(tiny, tiny_data):
    run = trained(dataclasses.replace(tiny, epochs=1, iterations=1), tiny_data, run="old")[0]
    rewritten(run, as_schema_1)
    rewritten(run, lambda config: config["experiment"].pop("pooling"))
    assert set(lab.load_runs()["run"]) == {"old"}
    with pytest.raises(lab.LabError, match="its record lacks pooling"):
        run.model()


def test_a_pretraining_answers_no_task(tiny, tiny_data, tiny_encoder):
    e = Pretraining(encoder=str(tiny_encoder), scale=1.0, device="cpu")
    training = lab.pretrain_mlm(e, data=tiny_data, progress=False)
    training.close()
    with pytest.raises(lab.LabError, match="is a pretraining, which answers no task"):
        lab.predict(training.run.folder, "sst", ["A fine film."])
