"""Data Management: what is stored, what is missing, and the way in and out."""

from __future__ import annotations

import streamlit as st

__all__ = ["show"]


def show() -> None:
    """Draw the tab."""
    st.caption(
        "Data Management will show what is stored for each symbol and which trades are missing, and let you download "
        "and upload bars."
    )
