"""Which screen is looked at, through which filters and at which cost: what a person chooses, held in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from pairscope.dashboard.pair_choice import open_pair

__all__ = ["MOST_ROWS", "PRESETS", "ScanChoice", "choose_scan", "choose_view", "open_from_scan"]

PRESETS: Final[Mapping[str, tuple[str, int]]] = {
    "1m × 1,440": ("1m", 1440),
    "5m × 2,016": ("5m", 2016),
    "1h × 1,000": ("1h", 1000),
}
"""Words of the choice -> timeframe and lookback; each is screened at every close of its bars."""

MOST_ROWS: Final = 500
"""Rows that the table shows: the best by q-value."""

_VIEWS: Final = ("Pair", "Scanner")
_CONTROLS: Final[Mapping[str, str]] = {"BH": "bh", "BY": "by"}
_ANY: Final = "Any symbol"

# A pair's settings: their keys in the address, and the values that it does not tell.
_IN_ADDRESS: Final[Mapping[str, tuple[str, Any]]] = {
    "y": ("y", None),
    "x": ("x", None),
    "timeframe": ("pair_timeframe", "1m"),
    "lookback": ("lookback", 1440),
    "exit": ("exit", 0.5),
}


@dataclass(frozen=True, slots=True)
class ScanChoice:
    """A screen and how it is looked at; ``cost_bps`` is what one fill costs, ``exit`` the z where a trade ends."""

    timeframe: str = "1m"
    lookback: int = 1440
    fdr: float = 0.05
    control: str = "bh"
    symbol: str | None = None
    min_half_life: float | None = None
    max_half_life: float | None = None
    min_correlation: float | None = None
    only: bool = False
    best: bool = False
    cost_bps: float = 6.0
    exit: float = 0.5

    @property
    def bars(self) -> str:
        """Timeframe and lookback in words."""
        return f"{self.timeframe} × {self.lookback:,} bars"

    def screen(self) -> dict[str, Any]:
        """Return what names the screen, by the API's names."""
        return {"timeframe": self.timeframe, "lookback": self.lookback, "fdr": self.fdr, "control": self.control}

    def asked(self) -> dict[str, Any]:
        """Return what is asked of the API: the screen and the filters."""
        filters = {
            "symbol": self.symbol,
            "min_half_life": self.min_half_life,
            "max_half_life": self.max_half_life,
            "min_correlation": self.min_correlation,
            "only": "discoveries" if self.only else None,
            "direction": "best" if self.best else None,
        }
        return {**self.screen(), **{name: value for name, value in filters.items() if value is not None}}

    def filters(self) -> str:
        """Say which filters are on; empty where none is.

        >>> ScanChoice(symbol="ETHUSDT", max_half_life=60).filters()
        'with ETHUSDT, half-life at most 60 bars'
        """
        told = [
            f"with {self.symbol}" if self.symbol else "",
            "" if self.min_half_life is None else f"half-life at least {self.min_half_life:g} bars",
            "" if self.max_half_life is None else f"half-life at most {self.max_half_life:g} bars",
            "" if self.min_correlation is None else f"correlation at least {self.min_correlation:g}",
            "discoveries only" if self.only else "",
            "the better way round of each pair" if self.best else "",
        ]
        return ", ".join(part for part in told if part)

    def problem(self) -> str:
        """Say what no test can pass and what to do; empty where all is well.

        >>> ScanChoice(min_half_life=90, max_half_life=60).problem()
        'No half-life is at least 90 and at most 60 bars: widen the filter.'
        """
        low, high = self.min_half_life, self.max_half_life
        if low is not None and high is not None and low > high:
            return f"No half-life is at least {low:g} and at most {high:g} bars: widen the filter."
        return ""


def choose_view() -> str:
    """Draw the switch between one pair and the whole market; return which is chosen."""
    state = st.session_state
    wanted = state.pop("_opened_from_scan", None)
    if wanted is not None:
        state["view"] = _VIEWS[0]
        open_pair(wanted)
        for name, (key, usual) in _IN_ADDRESS.items():
            if wanted[name] != usual:
                st.query_params[key] = str(wanted[name])  # a widget alone would write it at its first change
    view = st.segmented_control(
        "View",
        _VIEWS,
        default=_VIEWS[0],
        required=True,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    return str(view)


def open_from_scan(key: str, choice: ScanChoice) -> None:
    """Let the next drawing of the page show a pair by the bars of the screen that found it, and its exit."""
    y, _, x = key.partition(":")
    st.session_state["_opened_from_scan"] = {
        "y": y,
        "x": x,
        "timeframe": choice.timeframe,
        "lookback": choice.lookback,
        "method": "ols",
        "price_space": "log",
        "exit": choice.exit,
    }


def choose_scan(known: Sequence[str]) -> ScanChoice:
    """Draw the settings of the screen; return what is chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="scan-choice"):
        bars = st.segmented_control(
            "Bars and lookback",
            list(PRESETS),
            default=next(iter(PRESETS)),
            required=True,
            key="scan",
            bind="query-params",
            help="A day of minutes, a week of five minutes, six weeks of hours; tested anew at each close.",
        )
        fdr = st.number_input(
            "False discovery rate (%)",
            0.1,
            50.0,
            5.0,
            1.0,
            key="fdr",
            bind="query-params",
            format="%.1f",
            width=190,
            help="Of the pairs called discoveries, the share that may be false. At p < 0.05 instead, one test in "
            "twenty of a market without a single true pair would look good.",
        )
        control = st.segmented_control(
            "Control",
            list(_CONTROLS),
            default="BH",
            required=True,
            key="control",
            bind="query-params",
            help="BH, Benjamini and Hochberg: for tests that are independent or move together. BY, Benjamini and "
            "Yekutieli: stricter, holds however the tests depend on each other.",
        )
        with st.popover("Filters", icon=":material/filter_list:"):
            filters = _filters(known)
        with st.popover("Costs", icon=":material/payments:"):
            costs = _costs()
    timeframe, lookback = PRESETS[str(bars)]
    return ScanChoice(timeframe, lookback, float(fdr or 5.0) / 100.0, _CONTROLS[str(control)], **filters, **costs)


def _filters(known: Sequence[str]) -> dict[str, Any]:
    symbol = st.selectbox("Symbol in the pair", [_ANY, *sorted(known)], key="scan_symbol", bind="query-params")
    with st.grid(2, min_column_width=130):
        low = st.number_input(
            "Half-life from (bars)",
            0.0,
            None,
            None,
            1.0,
            key="min_half_life",
            bind="query-params",
            placeholder="any",
            format="%.0f",
        )
        high = st.number_input(
            "Half-life to (bars)",
            0.0,
            None,
            None,
            1.0,
            key="max_half_life",
            bind="query-params",
            placeholder="any",
            format="%.0f",
        )
        correlation = st.number_input(
            "Correlation from",
            -1.0,
            1.0,
            None,
            0.1,
            key="min_correlation",
            bind="query-params",
            placeholder="any",
            help="Of the two legs' returns.",
        )
    only = st.toggle("Discoveries only", key="only_discoveries", bind="query-params")
    best = st.toggle(
        "One row a pair",
        key="better_way",
        bind="query-params",
        help="Y on X or X on Y, whichever has the smaller p-value; both are counted as tests all the same.",
    )
    return {
        "symbol": None if symbol == _ANY else symbol,
        "min_half_life": low or None,
        "max_half_life": high or None,
        "min_correlation": correlation,
        "only": bool(only),
        "best": bool(best),
    }


def _costs() -> dict[str, Any]:
    cost = st.number_input(
        "Cost of a fill (bps)",
        0.0,
        500.0,
        6.0,
        0.5,
        key="cost_bps",
        bind="query-params",
        help="Fee and slippage of one leg, one way: 5 + 1 at first. A round trip has four fills.",
    )
    leave = st.number_input(
        "Exit z", 0.0, 20.0, 0.5, 0.25, key="scan_exit", bind="query-params", help="Where the trade is closed."
    )
    return {"cost_bps": float(cost if cost is not None else 6.0), "exit": float(leave if leave is not None else 0.5)}
