"""Figure 4: train beside dev, each task's best epoch, and what was lost by training beyond it."""

import pandas as pd
import streamlit as st
from choices import chosen
from panels import choose, draw_panels, headline, how_to_read
from pickers import plain, select

from lab.data import TASK_NAMES
from lab.figures.panels import numbers
from lab.figures.training import overfit_panels
from lab.results import headlines, tables
from lab.runs.frames import provenance

EPOCHS = {"task": "score", "best_epoch": "best epoch", "last_epoch": "last epoch", "at_best": "dev at the best",
          "at_last": "dev at the end", "lost": "lost", "low": "lost, from", "high": "to", "seeds": "seeds"}
NAMES = {"recipe": "recipe", "seeds": "seeds", "best_epoch": "best epoch on dev", "dev_best": "dev at that epoch",
         "dev_last": "dev at the end", "lost": "lost after the best epoch", "train_last": "train at the end",
         "gap": "gap", "gap_sst": "gap SST", "gap_qqp": "gap QQP", "gap_sts": "gap STS"}


def formats(columns: list[str]) -> dict:
    return {column: st.column_config.NumberColumn(format="%.3f") for column in columns}


@st.cache_data(max_entries=32, show_spinner=False)
def told(_runs: pd.DataFrame, key: tuple, name: str) -> tuple[str, pd.DataFrame]:
    """The headline of a recipe and its best epochs, until runs change."""
    return headlines.overfitting(_runs, name), headlines.best_epochs(_runs, name)


@st.cache_data(max_entries=8, show_spinner=False)
def all_recipes(_runs: pd.DataFrame, key: tuple) -> pd.DataFrame:
    """The table of all recipes, until runs change."""
    return tables.overfitting(_runs)


st.title("Overfitting")
selection = chosen()
place = st.empty()
name = select("Recipe", selection.labels, selection.labels[0], "shown")
said, epochs = told(selection.runs, selection.key, name)
with place:
    headline(f"{name}: {said}" if said else "")
panels = overfit_panels(selection.runs, name)
kinds = [panel.title.split(":")[0].split("<br>")[0] for panel in panels]
panels = choose(panels, kinds, kinds[:3], "charts")
draw_panels(panels, "overfit", 3, numbers(panels))
epochs = epochs.assign(task=epochs["task"].map(TASK_NAMES)).rename(columns=EPOCHS)
st.dataframe(epochs, key="epochs", hide_index=True, placeholder="n/a", alt=f"Best epoch of each task of {name}",
             column_config=formats([EPOCHS[c] for c in ("at_best", "at_last", "lost", "low", "high")]))
read = ["Where the train line goes on rising and the dev line does not, the model learns its training sentences by "
        "heart. The dashed line marks the epoch that is best on dev for this score.",
        "Lost: dev at the best epoch minus dev at the end, with a 95 % interval over seeds from three seeds on. The "
        "best epoch is picked on dev itself, so part of its lead is luck. Gap: train minus dev at the end.",
        "Scored before the first step and after each epoch, on a part of train and of QQP's dev; the leaderboard has "
        "the scores of the end, on more rows."]
if any(panel.flat for panel in panels):
    read.append(plain(f"Gray lines: what no training gives on the same rows of dev. {tables.FLOORS_NOTE}."))
how_to_read(*read)
st.caption(plain(provenance(selection.runs[selection.runs["label"] == name])))

with st.expander("All chosen recipes", expanded=len(selection.labels) > 1):
    st.write("Overall score, means over seeds.")
    table = all_recipes(selection.runs, selection.key).rename(columns=NAMES)
    st.dataframe(table, key="overfit-all", hide_index=True, placeholder="n/a",
                 column_config=formats(list(NAMES.values())[3:]),
                 alt="What each recipe lost on dev after its best epoch")
