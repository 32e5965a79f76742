"""Monitoring: how the instance itself does, now in words and over the last hour in small charts."""

from __future__ import annotations

import streamlit as st

from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.price_monitor import palette_chosen

__all__ = ["show"]


def show(api: LiveApi) -> None:
    """Draw it; the view asks the API itself, so that nothing of the page is drawn again when a sample comes."""
    st.subheader("How Pairscope is doing", anchor=False)
    live_view("monitoring", api=api, key="monitoring", palette=palette_chosen())
