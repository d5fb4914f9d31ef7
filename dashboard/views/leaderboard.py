"""Table 1 of the chosen runs."""

import streamlit as st
from choices import chosen, draw, plain

from lab import figures, tables

of = chosen()
st.title("Leaderboard")
for block in tables.blocks(of.runs):
    st.caption(plain(block.made_from))
    for note in block.notes:
        st.caption(f":material/info: {plain(note)}")
    draw(figures.leaderboard(of.runs), "board", "Scores of every recipe on all of dev, a point a seed")
    table = tables.cells(block.dev)
    table.columns = [" ".join(filter(None, column)) for column in table.columns]
    st.dataframe(table, hide_index=True)
    st.write(plain(block.said))
