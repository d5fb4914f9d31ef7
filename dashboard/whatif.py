"""What if, from here: a form that starts `lab fork` from a step of a run, with one thing changed."""

import jobs
import streamlit as st
from choices import Chosen, visible
from fields import changed_fields
from pickers import plain

from lab.errors import LabError
from lab.experiment import Experiment
from lab.runs import checkpoints
from lab.runs.folder import Run
from lab.whatif.futures import FIELDS, NOTE

FIELD_NAMES = ["smart.weight" if field == "smart" else field for field in FIELDS]


def form(selection: Chosen) -> None:
    """The form, and what its forks say. Runs without weights cannot be forked."""
    now = visible()
    folders = {name: Run(now.folders[name]) for name in selection.runs["run"].unique()}
    steps = {name: checkpoints.steps(run.checkpoints) for name, run in folders.items()}
    offered = [name for name, there in steps.items() if there]
    if not offered:
        st.write("No chosen run has weights here; one of your own has them.")
        return
    st.write("Two futures of a run from one step, on the same batches and noise: as it was, and with one thing "
             f"changed. What comes out is {NOTE}.")
    left, middle, right = st.columns(3)
    run = left.selectbox("Run", offered, format_func=now.labels.get, key="fork-run")
    about = folders[run].config["experiment"]
    made = Experiment(**about)
    total = made.iterations * made.epochs
    iterations = right.number_input("Iterations of both", 1, total, min(50, max(1, total // 4)), key="fork-iterations")
    step = middle.number_input(f"From iteration (of {total})", 0, total - iterations, (total - iterations) // 2,
                               key=f"fork-step-{run}", help=f"Saved are {', '.join(map(str, steps[run]))}; another one "
                               "is reached by training from the one before it")
    settings = changed_fields(made, FIELD_NAMES, "fork-change")
    why = "" if settings else "Change one field or more."
    try:
        if settings and made.with_settings(settings) == made:
            why = "Nothing is changed yet: give the field another value."
    except LabError as error:
        why = str(error)
    if why:
        st.caption(plain(why))
    command = ["fork", str(folders[run].folder), "--step", str(step), "--iterations", str(iterations),
               *(part for setting in settings for part in ("--set", setting))]
    st.button("Start both futures", disabled=bool(why), on_click=jobs.start_or_say, args=(command,),
              icon=":material/fork_right:")
    if refused := st.session_state.pop("refused", None):
        st.error(plain(refused))
    jobs.show("fork")
