"""A picture's panels beside each other, below each other on a narrow screen, under one legend."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from choices import draw

from lab.panels import legend, panels, said


def draw_panels(figure: go.Figure, key: str, columns: int, table: pd.DataFrame | None = None) -> None:
    """Every panel with its own words for those who do not see it; `table`, the numbers behind them all."""
    found = panels(figure)
    if any(trace.showlegend is not False for trace in figure.data):
        draw(legend(figure), f"{key}-legend", "Legend: " + ", ".join(
            dict.fromkeys(str(trace.name) for trace in figure.data if trace.name)))
    for first in range(0, len(found), columns):
        for place, panel in zip(st.columns(columns), found[first : first + columns], strict=False):
            with place:
                draw(panel, f"{key}-{panel.layout.title.text.split('<br>')[0]}", said(panel))
    if table is not None:
        with st.expander("The numbers behind these pictures"):
            st.dataframe(table, key=f"{key}-numbers", hide_index=True, placeholder="n/a")
