import streamlit as st
from choices import chosen

chosen()
st.title("overfitting")
