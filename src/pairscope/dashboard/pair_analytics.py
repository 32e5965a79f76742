"""Pair Analytics: which pairs hold together, and how far each has strayed."""

from __future__ import annotations

import streamlit as st

__all__ = ["show"]


def show() -> None:
    """Draw the tab."""
    st.caption(
        "Pair Analytics will show how two symbols hold together: hedge ratio, spread, z-score, correlation, and the "
        "tests for stationarity and cointegration."
    )
