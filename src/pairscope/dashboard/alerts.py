"""Alerts & Monitoring: be told when a level is reached, and see how the system is doing."""

from __future__ import annotations

import streamlit as st

__all__ = ["show"]


def show() -> None:
    """Draw the tab."""
    st.caption(
        "Alerts & Monitoring will tell you when a price, z-score, spread, volume or volatility reaches a level that "
        "you set, and show how the system itself is doing."
    )
