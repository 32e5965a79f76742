"""The table of a pair or a symbol, bar by bar: price, return, volume, volatility, spread, z-score, correlation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_choice import PairChoice
from pairscope.dashboard.pair_source import ask, hear

__all__ = ["show_statistics", "table_of"]

ROWS: Final = (120, 480, 1440, 5000)

_REFRESH_S: Final = 30

_HEADINGS: Final[Mapping[str, str]] = {
    "timestamp": "Time (UTC)",
    "price": "Price",
    "return": "Return",
    "volume": "Volume",
    "volatility": "Volatility, a year",
    "spread": "Spread",
    "zscore": "z-score",
    "correlation": "Correlation",
}
_HELP: Final[Mapping[str, str]] = {
    "return": "Logarithm of the close over the close before",
    "volume": "Base units",
    "volatility": "Of the returns in the window, annualised over 365 days",
    "spread": "Under the hedge ratio that was known at the bar",
}


def show_statistics(client: Client, choice: PairChoice) -> None:
    """Draw what the table is of, and the table."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        of = st.segmented_control(
            "Table of", ["Pair", choice.y, choice.x], default="Pair", required=True, key="table_of", bind="query-params"
        )
        rows = st.selectbox("Rows", ROWS, key="table_rows", bind="query-params", width=110)
    _table(client, choice, str(of or "Pair"), int(rows or ROWS[0]))


def _draw(client: Client, choice: PairChoice, of: str, rows: int) -> None:
    params: dict[str, Any] = {"timeframe": choice.timeframe, "window": choice.window, "limit": rows}
    params |= {"y": choice.y, "x": choice.x} if of == "Pair" else {"symbol": of}
    if of == "Pair":
        params |= {"lookback": choice.lookback, "method": choice.method, "price_space": choice.price_space}
    heard = hear("statistics", str(params), lambda: ask(client, "/api/analytics/statistics", **params))
    if heard.problem:
        st.caption(f":orange[The table could not be read: {heard.problem}]")
    if heard.document is None:
        return
    table = table_of(heard.document)
    if table.empty:
        st.info("No closed bars yet: the first row comes with the first close.")
        return
    name = choice.key.replace(":", "-") if of == "Pair" else of
    st.dataframe(
        table.rename(columns=dict(_HEADINGS)),
        key="statistics",
        hide_index=True,
        height=420,
        column_config=_columns(list(table.columns)),
        alt=f"Statistics of {name}, bar by bar, newest first",
    )
    st.download_button(
        "Download statistics",
        lambda: _csv(table),
        f"{name}-{choice.timeframe}-statistics.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="download-statistics",
    )


_table = st.fragment(run_every=_REFRESH_S)(_draw)


def table_of(document: Mapping[str, Any]) -> pd.DataFrame:
    """Return the answer's columns as a table, newest first.

    >>> table_of({"series": {"timestamp": [0, 60000], "price": [1.0, 2.0]}}).price.tolist()
    [2.0, 1.0]
    """
    table = pd.DataFrame(document.get("series", {}))
    if table.empty:
        return table
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="ms", utc=True)
    return table.sort_values("timestamp", ascending=False, ignore_index=True)


def _csv(table: pd.DataFrame) -> bytes:
    oldest_first = table.iloc[::-1].copy()
    moments = oldest_first["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str.slice(0, 23) + "Z"
    oldest_first["timestamp"] = moments
    return oldest_first.to_csv(index=False).encode()


def _columns(names: list[str]) -> dict[str, Any]:
    """Say how each column is written: enough digits of each, no exponent."""
    formats = {"return": "%.5f", "volume": "compact", "volatility": "percent", "zscore": "%.2f", "correlation": "%.3f"}
    made: dict[str, Any] = {
        _HEADINGS[name]: st.column_config.NumberColumn(_HEADINGS[name], format=formats.get(name), help=_HELP.get(name))
        for name in names
        if name in _HEADINGS and name != "timestamp"
    }
    made[_HEADINGS["timestamp"]] = st.column_config.DatetimeColumn(
        _HEADINGS["timestamp"], format="YYYY-MM-DD HH:mm:ss", pinned=True
    )
    return made
