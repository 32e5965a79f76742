"""Price Monitor: several symbols at once, their figures, candlesticks, indicators and volume, all moving."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pairscope.dashboard.indicators import CHOICES, Chosen, chosen_names
from pairscope.dashboard.live_chart import LiveApi, live_view

__all__ = ["TIMEFRAMES", "palette_chosen", "show"]

TIMEFRAMES = ("1s", "5s", "15s", "1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d")
MOST_SYMBOLS = 8
_FIRST = 4


def palette_chosen() -> str:
    """Return the colours in use; the switch stands in the tab, its state also colours the header."""
    return "colour-blind" if st.session_state.get("colour_blind") else "classic"


def show(api: LiveApi, known: Sequence[str]) -> None:
    """Draw the tab."""
    if not known:
        st.info(
            "No symbol is followed yet. They appear here as soon as the first trades arrive; "
            "`pairscope run` starts the feed, `pairscope doctor` says what keeps it from starting."
        )
        return
    symbols, timeframe, chosen = _controls(known)
    if not symbols:
        st.info("Choose one or more symbols above to watch them here.")
        return
    live_view(
        "board",
        api=api,
        key="board",
        symbols=symbols,
        timeframe=timeframe,
        indicators=chosen_names(chosen),
        palette=palette_chosen(),
        volume=bool(st.session_state.get("volume", True)),
    )


def _controls(known: Sequence[str]) -> tuple[list[str], str, Chosen]:
    """Draw the settings, all of them part of the page's address."""
    first = st.session_state.setdefault("_first_symbols", list(known[:_FIRST]))
    with st.container(horizontal=True, vertical_alignment="top"):
        symbols = st.multiselect(
            "Symbols",
            sorted(known),
            default=first,
            max_selections=MOST_SYMBOLS,
            key="symbols",
            bind="query-params",
            placeholder="Choose symbols",
            help=f"Up to {MOST_SYMBOLS} at once; the busiest of the last 24 hours come first.",
            width=520,
        )
        timeframe = st.segmented_control(
            "Timeframe",
            TIMEFRAMES,
            default="1m",
            required=True,
            key="timeframe",
            bind="query-params",
            help="How long one candle lasts. Times are UTC; a candle is named by its open.",
            wrap=True,
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kinds = st.pills(
            "Indicators",
            list(CHOICES),
            selection_mode="multi",
            default=["EMA"],
            key="indicators",
            bind="query-params",
            help="SMA, EMA, Bollinger bands and VWAP (since 00:00 UTC) lie on the price, the others below it.",
            wrap=True,
        )
        with st.popover("Settings", icon=":material/tune:"):
            with st.grid(2, min_column_width=110):
                periods = {kind: choice.ask() for kind, choice in CHOICES.items()}
            st.toggle(
                "Volume analysis",
                value=True,
                key="volume",
                bind="query-params",
                help="Below the charts: today against the usual for the time of day, who bought, and at which prices.",
            )
            st.toggle(
                "Colour-blind safe colours",
                key="colour_blind",
                bind="query-params",
                help="Blue for up and orange for down in place of green and red.",
            )
    return list(symbols), str(timeframe), {kind: periods[kind] for kind in kinds}
