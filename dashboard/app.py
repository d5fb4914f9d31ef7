"""The dashboard: `streamlit run dashboard/app.py`. Each page has a line here and a file in views/."""

import streamlit as st
from choices import sidebar
from pickers import plain

from lab import LabError

# An emoji as the page icon: a material icon would be fetched from another host.
st.set_page_config(page_title="minBERT lab", page_icon="🧪", layout="wide")
# Streamlit has no settings for these: white on the light blue of the dark theme has too little contrast; each choice
# that has a first value is labelled "(required)"; the box under the pointer hides the lines below it.
st.html("<style>[data-tag] *, button[kind=primary] p, button[kind=primary] span { color: light-dark(#fff, #111) "
        "!important } [data-testid=stWidgetLabelRequired] { display: none } "
        ".js-plotly-plot .hoverlayer .legend .bg { fill-opacity: .75 !important }</style>")
page = st.navigation([
    st.Page("views/home.py", title="Home", icon=":material/home:", default=True),
    st.Page("views/runs.py", title="Runs", icon=":material/list:"),
    st.Page("views/train.py", title="Train", icon=":material/model_training:"),
    st.Page("views/leaderboard.py", title="Leaderboard", icon=":material/leaderboard:"),
    st.Page("views/curves.py", title="Curves", icon=":material/show_chart:"),
    st.Page("views/overfitting.py", title="Overfitting", icon=":material/call_split:"),
    st.Page("views/gradients.py", title="Gradients", icon=":material/compare_arrows:"),
    st.Page("views/predictions.py", title="Live predictions", icon=":material/chat:"),
    st.Page("views/mistakes.py", title="Mistakes", icon=":material/rule:"),
    st.Page("views/compare.py", title="Compare", icon=":material/difference:"),
])
sidebar()
try:
    page.run()
except LabError as error:
    st.error(plain(error))
