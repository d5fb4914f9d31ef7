"""Train from the page: a recipe, what to change in it, seeds, and a button."""

import shlex

import jobs
import streamlit as st
from fields import NOT_OFFERED, changed_fields
from pickers import plain, select

from lab.commands.training import at_protocol
from lab.data import checkout, find_data
from lab.errors import LabError
from lab.experiment import KNOWN, PROTOCOLS, Experiment
from lab.runs.labels import differences

HOW_LONG = {"paper": "hours on a GPU", "laptop": "minutes on a laptop",
            "sample": "a minute on the bundled sample", "smoke": "seconds; nothing is learned"}


st.title("Train")
try:
    data = find_data(None)
except LabError as error:
    st.error(plain(error))
    st.stop()
left, right = st.columns(2)
recipe = select("Recipe", list(KNOWN), "multitask", "train", left,
                help="What it sets otherwise than the baseline is said below")
usual_protocol = "sample" if (data.parent.name, data.name) == ("data", "sample") else "laptop"
protocol = select("Protocol", list(PROTOCOLS), usual_protocol, "scale", right, format_func=str,
                  help="; ".join(f"{name}: {how}" for name, how in HOW_LONG.items()))
is_what = f"differs from the baseline in {differences(recipe)}" if differences(recipe) else "is the baseline itself"
folder = data.relative_to(checkout()) if data.is_relative_to(checkout()) else data
st.caption(plain(f"The recipe {recipe} {is_what}. The protocol {protocol} takes {HOW_LONG[protocol]}. Data: {folder}"))
usual = PROTOCOLS[protocol](KNOWN[recipe])
offered = ["smart.weight" if field == "smart" else field for field in vars(Experiment()) if field not in NOT_OFFERED]
settings = changed_fields(usual, offered, f"change-{recipe}")
seeds = st.number_input("Seeds", 1, 20, 1, key="many", bind="query-params",
                        help="Three are the fewest that give a verdict; each is a run of its own")
command = ["ablate", recipe, "--protocol", protocol, "--seeds", str(seeds), "--data", str(data),
           *(part for setting in settings for part in ("--set", setting))]
try:
    made, why = at_protocol(KNOWN[recipe], protocol, settings), ""
except LabError as error:
    made, why = usual, str(error)
if why:
    st.error(plain(why))
else:
    total = made.iterations * made.epochs * seeds
    st.caption(f"{seeds} run{'s' * (seeds > 1)} of {made.epochs} epochs, {total:,} iterations in all. The same on the "
               "command line:")
    st.code(shlex.join(["lab", *command]), language=None, wrap_lines=True)
st.button("Train", type="primary", icon=":material/model_training:", disabled=bool(why), on_click=jobs.start_or_say,
          args=(command,), help="It goes on when this page is closed; finished runs are not trained twice")
if refused := st.session_state.pop("refused", None):
    st.error(plain(refused))
jobs.show("ablate")
