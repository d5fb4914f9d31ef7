"""A form of settings: for each field of an experiment the input that fits it."""

from collections.abc import Sequence

import streamlit as st
from pickers import plain

from lab.experiment import CHOICES, Experiment
from lab.runs.labels import as_set

SEVERAL = ("updates", "tasks")  # fields that are lists of names
NOT_OFFERED = ("name", "protocol", "seed")


def given() -> dict[str, str]:
    """The settings that the address names, as set=lr=0.001&set=pooling=mean."""
    pairs = (text.partition("=") for text in st.query_params.get_all("set"))
    return {field: value for field, _, value in pairs if field}


def changed_fields(usual: Experiment, offered: Sequence[str], key: str) -> list[str]:
    """The changes that the user makes to some of the offered fields, as `--set` takes them."""
    before = given()
    options = [*offered, *(field for field in before if field not in offered)]
    fields = st.multiselect("Change settings", options, default=[field for field in before if field in options],
                            key=key, placeholder="nothing: train the recipe as it is")
    settings = []
    for field in fields:
        first = before.get(field)  # the address may name anything
        usually = as_set(getattr(usual, field)) if field in Experiment.__dataclass_fields__ else ""
        label = f"{field} (usually {usually})" if usually else plain(field)
        where = f"{key}-{field}"
        if field in CHOICES and field not in SEVERAL:
            names = list(CHOICES[field])
            place = names.index(first) if first in names else names.index(usually) if usually in names else 0
            value = st.selectbox(label, names, place, key=where)
        else:
            value = st.text_input(label, usually if first is None else first, key=where,
                                  help="Names with commas between them: " + ", ".join(CHOICES[field])
                                  if field in SEVERAL else None)
        settings.append(f"{field}={value}")
    return settings
