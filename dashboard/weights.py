"""Trained models in memory: opened once for all visitors, and again when a run has other checkpoints."""

import threading
from pathlib import Path

import streamlit as st
from answers import ships

from lab.results.ask import scores_of
from lab.runs.folder import Run


def checkpoint_files(run: Run) -> tuple:
    """A cache key for the checkpoints of a run as they are now; empty if there is none after step 0."""
    files, trained = [], False
    try:
        for file in sorted(run.checkpoints.glob("[0-9]*/*")):
            stat, trained = file.stat(), trained or (file.suffix == ".safetensors" and int(file.parent.name) > 0)
            files.append((str(file), stat.st_mtime_ns, stat.st_size))
    except (OSError, ValueError):
        pass  # a checkpoint is just being written or removed
    return tuple(files) if trained else ()


@st.cache_resource(max_entries=4, show_spinner="Loading the weights ...")
def _opened(folder: str | None, weights: str, files: tuple) -> tuple:
    """What `model_of` gives, cached until the run has other checkpoints."""
    import torch

    torch.set_num_threads(min(2, torch.get_num_threads()))  # other processes may be training
    if folder is None:
        asked, lock = ships()
        return asked.model, asked.tokenizer, lock, (asked.scores, asked.majority, asked.rows)
    run = Run(Path(folder))
    return *run.model(weights), threading.Lock(), scores_of(run, weights)


def model_of(run: Run | None, weights: str) -> tuple:
    """(model, tokenizer, lock, scores) of a run with the checkpoints of now. None: of the model that ships."""
    return _opened(str(run.folder), weights, checkpoint_files(run)) if run else _opened(None, "", ())
