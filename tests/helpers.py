"""Helpers that several tests share: runs, made-up records, encoders."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import lab
from lab.batches import Stream, prepare
from lab.bert import Bert
from lab.data import SCORES, TASKS
from lab.runs import checkpoints
from lab.runs.row_dropout import RowDropout
from lab.train import kept_share


def first_quick(first, *others):
    """Parameters of which `make test-quick` takes the first alone."""
    return [first, *(pytest.param(*(other if isinstance(other, tuple) else (other,)), marks=pytest.mark.slow)
                     for other in others)]



def trained(experiment, data, **options):
    """A run trained to its end, and its rows."""
    training = lab.fit(experiment, data=data, progress=False, **options)
    rows = list(training)
    return training.run, rows


def stopped(experiment, data, run, after_epoch=1):
    """A training that is stopped once the scores of an epoch are there, after its checkpoint."""
    training = lab.fit(experiment, data=data, run=run, progress=False)
    for row in training:
        if row["epoch"] == after_epoch and row["split"] == "dev":
            break
    training.close()
    return training


def resumed(experiment, data, run="half", after_epoch=1):
    """A training that is stopped and then resumed to its end."""
    stopped(experiment, data, run, after_epoch)
    training = lab.fit(experiment, data=data, run=run, resume=True, progress=False)
    list(training)
    return training


def inputs(training):
    """What a training draws its batches from: rows by (task, split), and the stream of each task."""
    e, data = training.recorder.settings, training.recorder.data
    rows = prepare(data, training.tokenizer, share=kept_share(e, data), pair=e.pair)
    return rows, {t: Stream(len(rows[t, "train"]), e.batch_size, [e.seed, i]) for i, t in enumerate(TASKS)}


def batch_of(training, number=0):
    """The rows of a training's batches in iteration `number`, counted from 0, with the parallel sampler."""
    rows, streams = inputs(training)
    return {t: rows[t, "train"].take(stream.batch(number)) for t, stream in streams.items()}


def without_dropout(training):
    """The same training, with every dropout layer switched off."""
    for module in training.model.modules():
        if isinstance(module, torch.nn.Dropout | RowDropout):
            module.p = 0.0
    return training


def with_repeated_ids(folder):
    """Give the dev rows of a data folder ids of which each stands in two rows, 12 rows apart."""
    for file in folder.glob("*-dev.csv"):
        header, *rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
        for number, row in enumerate(rows):
            row[header.index("id")] = f"row{number % 12}"
        file.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    return folder


def repeatable(rows):
    """Rows without what is timed, which no two runs have in common."""
    return [{k: v for k, v in r.items() if k != "seconds"} for r in rows
            if r["metric"] not in ("tokens_per_second", "peak_memory_mb")]


def weights_at(run, step):
    """The model's weights in a checkpoint."""
    return {k: v for k, v in checkpoints.load(run.checkpoints, step)[0].items() if k.startswith("model/")}


def same_weights(ours, theirs):
    """Whether two models have bit-identical weights."""
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def records(name="baseline", seed=1, data="SST 8544", overall=0.5, best=None, state="done", run=None, test=None,
            started="2026-11-23T10:00:00+0000", more=(), **settings):
    """The rows of one made-up run of two epochs, as `lab.load_runs` gives them.

    dev_full stands at the last epoch and, with `best`, at the first; with `test`, a value, test rows do too.
    more: (step, split, task, metric, value) of further rows.
    """
    settings = {"name": name, "updates": ["separate"], "iterations": 47, **settings}
    about = {"run": run or f"{name}-{seed}", "name": name, "seed": seed, "protocol": "laptop", "encoder": "minilm",
             "settings": json.dumps(settings), "departs": "", "data": data, "fingerprint": data, "started": started,
             "state": state}
    scores = [("dev", 47, best or 0.4), ("train", 47, 0.5), ("dev", 94, overall), ("train", 94, 0.9),
              ("dev_full", 94, overall), *([("dev_full", 47, best)] if best else [])]
    scores += [("test", 94, test), *([("test", 47, best)] if best else [])] if test else []
    rows = [(step, split, task, metric, value) for split, step, value in scores for task, metric in SCORES.items()]
    return pd.DataFrame([{**about, "step": step, "epoch": -(-step // 47), "split": split, "task": task,
                          "metric": metric, "value": value, "seconds": 1.0}
                         for step, split, task, metric, value in [*rows, *more]])


def hostile_records():
    """Runs whose names and settings try to be HTML, Markdown, a spreadsheet's formula or a terminal's control code."""
    names = ["</script><script>alert(1)</script>", "=HYPERLINK(\"http://x\")|`</td>`", "@SUM(1)\n| c |", "-1\x1b[2J",
             "![x](http://x/p.png) [y](javascript:alert(1))"]
    runs = [records(name, run=f"r{i}", data="<b>x</b>=1", started="<img src=x>") for i, name in enumerate(names)]
    return pd.concat(runs).assign(encoder="=cmd|' /C calc'!A0")


def stored(store, frame, status=None):
    """The folder of one made-up run (`records`) in a store, as a training leaves it."""
    about, folder = frame.iloc[0], store / frame.iloc[0]["run"]
    folder.mkdir(parents=True)
    experiment = json.loads(about["settings"]) | {key: about[key] for key in ("protocol", "encoder")}
    config = {"format": 1, "experiment": experiment | {"seed": int(about["seed"])}, "departs": [],
              "data": {"label": about["data"], "fingerprint": about["fingerprint"]}, "started": about["started"]}
    (folder / "experiment.json").write_text(json.dumps(config))
    (folder / "status.json").write_text(json.dumps(status or {"state": about["state"]}))
    added(folder, frame)
    return folder


def added(folder, frame):
    """Append the rows of a frame to a run's."""
    rows = frame[["step", "epoch", "split", "task", "metric", "value", "seconds"]].to_dict("records")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


# ---- encoders --------------------------------------------------------------------------------------------------------

TINY_SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
              "max_position_embeddings": 16}
TINY_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "A", "a", "é", "e", "."]
TINY_TEXTS = ["the cat sat.", "A cats", "é"]


def encoder_outputs(model, tokenizer):
    """Hidden states at real tokens and pooled first tokens, of a Bert or of transformers' model."""
    inputs = tokenizer(TINY_TEXTS, padding=True, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        if isinstance(model, Bert):
            hidden = model.eval().encode(model.embed(ids), mask)
            pooled = model.pooler(hidden[:, 0])
        else:
            hidden, pooled = model(ids, attention_mask=mask)[:2]
    return torch.cat([hidden[mask.bool()], pooled])


def assert_same_encoder(found, expected, atol=1e-5):
    """Two pairs of model and tokenizer compute the same."""
    torch.testing.assert_close(encoder_outputs(*found), encoder_outputs(*expected), rtol=0, atol=atol)


def rewrite_tensors(folder, change):
    """Replace the tensors in a folder's model.safetensors by what `change` returns for them."""
    tensors = load_file(folder / "model.safetensors")
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    save_file(change(tensors) or tensors, folder / "model.safetensors", metadata={"format": "pt"})


def page_text(app):
    """All texts of a page in Streamlit's test runner, without the backslashes that escape Markdown."""
    parts = (app.title, app.subheader, app.markdown, app.caption, app.info, app.error, app.code, app.sidebar.caption)
    return "\n".join(str(part.value) for kind in parts for part in kind).replace("\\", "")


def page_figures(app):
    """The figures of a page as JSON; each must have a text alternative."""
    charts = app.get("plotly_chart")
    assert all(chart.proto.alt for chart in charts)
    return [json.loads(chart.proto.spec) for chart in charts]


def page_table(app, *columns, number=0):
    """The table of a page that has these columns; `number` chooses among several."""
    return [table.value for table in app.dataframe if set(columns) <= set(table.value)][number]


def rerun(app):
    """Run a page again, which must not fail."""
    assert not app.run().exception and not app.error
    return app
