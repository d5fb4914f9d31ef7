"""Choices whose value stands in the address of the page, also where nobody has chosen it, but the page.

So a link opens the same view when there are other runs. Where the address names something that is gone, the page says
so. Runs are offered by their labels; an address may name them by their folder too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

GONE = "gone"  # in the session: key of a choice -> what the address named and is not here


def plain(text: object) -> str:
    """A text from a file, escaped for a place that reads Markdown."""
    text = str(text).encode("utf-8", "replace").decode()  # a lone surrogate cannot be sent
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~:$&" else c for c in text)


def with_commands(text: object) -> str:
    """The same, but a command of the lab in backticks is shown as one."""
    return re.sub(r"\\`(lab(?: |[a-z]|\\[-_])*)\\`", lambda found: f"`{found[1].replace(chr(92), '')}`", plain(text))


def select(label: str, options: Sequence[Any], first: Any, key: str, place: Any = st, **more: Any) -> Any:
    """A selectbox whose value stands in the address also where nobody has chosen it, but the page: `first`.

    A value that is no option (any more) gives way to `first`, and the page says so.
    """
    keep(key, options, first, more.get("format_func", str))
    # Its own default is none, the one value that no address holds; the browser's history can bring it back.
    chosen = place.selectbox(label, options, index=None, required=True, key=key, bind="query-params", **more)
    chosen = first if chosen is None else chosen
    _say_gone(key, chosen == first, place)
    return chosen


def select_run(label: str, labels: Mapping[str, str], first: str, key: str, place: Any = st, **more: Any) -> str:
    """`select` of a run, by its folder's name. labels: run -> what it is called."""
    run = select(label, list(labels), first, key, place, format_func=lambda run: labels.get(run, run), **{
        "help": "Its folder: " + plain(st.session_state.get(key) or first), **more})
    return run


def select_other(label: str, labels: Mapping[str, str], key: str, place: Any = st, **more: Any) -> str | None:
    """A run, or none. An address may name it by its folder too."""
    asked = st.query_params.get(key)
    if asked and key not in st.session_state and asked not in labels.values():
        if asked in labels:
            st.query_params[key] = labels[asked]
            st.rerun()
        st.session_state.setdefault(GONE, {})[key] = asked
        del st.query_params[key]
    found = place.selectbox(label, list(labels), index=None, format_func=lambda run: labels.get(run, run), key=key,
                            bind="query-params", **more)
    _say_gone(key, found is None, place)
    return found


def select_runs(label: str, labels: Mapping[str, str], first: Sequence[str], key: str, **more: Any) -> list[str]:
    """Any number of runs, in the order in which they were chosen. `first` where nobody has chosen."""
    asked = st.query_params.get_all(key)
    if key in st.session_state:
        gone = [run for run in st.session_state[key] if run not in labels]
        if gone:
            st.session_state[key] = [run for run in st.session_state[key] if run in labels]
            st.session_state.setdefault(GONE, {})[key] = ", ".join(gone)
    elif not asked or set(asked) - set(labels.values()):
        named = {shown: run for run, shown in labels.items()} | {run: run for run in labels}
        there = [named[text] for text in dict.fromkeys(asked) if text in named]
        if gone := [text for text in asked if text not in named]:
            st.session_state.setdefault(GONE, {})[key] = ", ".join(gone)
        st.query_params[key] = [labels[run] for run in there or first]
        if asked:
            st.rerun()  # with the value in the address
        st.session_state[key] = list(first)
    found = st.multiselect(label, list(labels), format_func=lambda run: labels.get(run, run), key=key,
                           bind="query-params", **more)
    _say_gone(key, True, st)
    return found


def keep(key: str, options: Sequence[Any] | None, first: Any, format_func: Callable[[Any], str] = str) -> None:
    """Write `first` into the address of the widget with this key, unless it or the address has a valid value.

    options: None if all values are valid. An option that the address names by itself, and not as it is shown, is valid.
    """
    if key in st.session_state:
        if options is not None and st.session_state[key] not in options:
            if isinstance(st.session_state[key], str):
                st.session_state.setdefault(GONE, {})[key] = st.session_state[key]
            st.session_state[key] = first
    elif key not in st.query_params:  # the widget takes the value from the session, so nothing runs again
        st.query_params[key] = format_func(first)
        st.session_state[key] = first
    elif options is not None and st.query_params[key] not in map(format_func, options):
        if (asked := st.query_params[key]) in options:
            first = asked
        elif asked:
            st.session_state.setdefault(GONE, {})[key] = asked
        st.query_params[key] = format_func(first)
        st.rerun()  # with the widget's first value from the address


def _say_gone(key: str, unchanged: bool, place: Any) -> None:
    """Say what the address named and is not here, until another choice is made."""
    gone = st.session_state.get(GONE, {})
    if key in gone and unchanged:
        place.caption(f":material/warning: {plain(gone[key][:300])} is not here (any more).")
    elif key in gone:
        del gone[key]
