"""Backtesting: what trading a pair would have earned after costs."""

from __future__ import annotations

import streamlit as st

__all__ = ["show"]


def show() -> None:
    """Draw the tab."""
    st.caption(
        "Backtesting will show what trading a pair by its z-score would have earned after fees, slippage and funding: "
        "equity, drawdown and every trade."
    )
