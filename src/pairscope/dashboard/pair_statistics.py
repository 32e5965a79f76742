"""The table of a pair or a symbol, bar by bar: price, return, volume, volatility, spread, z-score, correlation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_choice import PairChoice
from pairscope.dashboard.pair_source import ask, hear
from pairscope.dashboard.pair_words import base_of

__all__ = ["headings_of", "show_statistics", "table_of"]

ROWS: Final = (120, 480, 1440, 5000)

_REFRESH_S: Final = 30
_PAIR: Final = "Pair"
_OF_A_PAIR: Final = ("y", "x", "lookback", "method", "price_space")
_ORDER: Final = ("timestamp", "price", "return", "volume", "volatility", "spread", "zscore", "correlation", "beta")
_WORDS: Final[Mapping[str, str]] = {
    "timestamp": "Time (UTC)",
    "price": "price",
    "return": "return",
    "volume": "volume",
    "volatility": "volatility",
    "spread": "Spread",
    "zscore": "z-score",
    "correlation": "Correlation",
    "beta": "Hedge ratio",
}
_FORMATS: Final[Mapping[str, str]] = {
    "return": "%.5f",
    "volume": "compact",
    "volatility": "percent",
    "zscore": "%.2f",
    "correlation": "%.3f",
    "beta": "%.4f",
}
_HELP: Final[Mapping[str, str]] = {
    "return": "Logarithm of the close over the close before",
    "volume": "Base units",
    "volatility": "Of the returns in the window, annualised over 365 days",
    "spread": "Under the hedge ratio that was known at the bar, by the method of the settings",
    "zscore": "Of that spread, over the window",
}


def show_statistics(client: Client, choice: PairChoice) -> None:
    """Draw what the table is of, and the table."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        of = st.segmented_control(
            "Table of",
            [_PAIR, choice.y, choice.x],
            default=_PAIR,
            required=True,
            key="table_of",
            bind="query-params",
        )
        rows = st.selectbox("Rows", ROWS, key="table_rows", bind="query-params", width=110)
    _table(client, choice, str(of or _PAIR), int(rows or ROWS[0]))


def _draw(client: Client, choice: PairChoice, of: str, rows: int) -> None:
    params: dict[str, Any] = {"timeframe": choice.timeframe, "window": choice.window, "limit": rows}
    params |= {name: choice.computed()[name] for name in _OF_A_PAIR} if of == _PAIR else {"symbol": of}
    heard = hear("statistics", str(params), lambda: ask(client, "/api/analytics/statistics", **params))
    if heard.problem:
        st.caption(f":orange[The table could not be read: {heard.problem}]")
    if heard.document is None:
        return
    table = table_of(heard.document)
    if table.empty:
        st.info("No closed bars yet: the first row comes with the first close.")
        return
    name = choice.key.replace(":", "-") if of == _PAIR else of
    st.dataframe(
        table,
        key="statistics",
        hide_index=True,
        height=420,
        column_config=_columns(table, headings_of(table.columns.tolist(), choice, of)),
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
    """Return the answer's columns as a table, newest first, the legs' like columns side by side.

    >>> table_of({"series": {"timestamp": [0, 60000], "price": [1.0, 2.0]}}).price.tolist()
    [2.0, 1.0]
    """
    table = pd.DataFrame(document.get("series", {}))
    if table.empty:
        return table
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="ms", utc=True)
    wanted = [name for first in _ORDER for name in (first, f"{first}_x") if name in table]
    return table[wanted].sort_values("timestamp", ascending=False, ignore_index=True)


def headings_of(names: Sequence[str], choice: PairChoice, of: str) -> dict[str, str]:
    """Return each column's heading; a leg's own columns begin with its name.

    >>> headings_of(["price", "price_x", "spread"], PairChoice("ETHUSDT", "BTCUSDT"), "Pair")
    {'price': 'ETH price', 'price_x': 'BTC price', 'spread': 'Spread'}
    """
    y, x = base_of(choice.y if of == _PAIR else of), base_of(choice.x)
    found = {}
    for name in names:
        word = _WORDS.get(name.removesuffix("_x"), name)
        found[name] = f"{x if name.endswith('_x') else y} {word}" if word[0].islower() and name != "zscore" else word
    return found


def _csv(table: pd.DataFrame) -> bytes:
    oldest_first = table.iloc[::-1].copy()
    moments = oldest_first["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str.slice(0, 23) + "Z"
    oldest_first["timestamp"] = moments
    return oldest_first.to_csv(index=False).encode()


def _columns(table: pd.DataFrame, headings: Mapping[str, str]) -> dict[str, Any]:
    """Say how each column is written: enough digits of each, no exponent."""
    made: dict[str, Any] = {}
    spread = f"%.{_decimals(table['spread'])}f" if "spread" in table else ""
    for name in table.columns.tolist():
        kind = name.removesuffix("_x")
        if name == "timestamp":
            made[name] = st.column_config.DatetimeColumn(headings[name], format="YYYY-MM-DD HH:mm:ss", pinned=True)
        else:
            made[name] = st.column_config.NumberColumn(
                headings[name],
                format=spread if kind == "spread" else _FORMATS.get(kind),
                help=_HELP.get(kind),
                width="small",
            )
    return made


def _decimals(values: pd.Series) -> int:
    """Return the decimals at which a column is seen to move: three digits of how far it reaches.

    >>> _decimals(pd.Series([0.0031, -0.0012])), _decimals(pd.Series([120.0, 80.0])), _decimals(pd.Series([None]))
    (5, 1, 5)
    """
    reach = pd.to_numeric(values).abs().max()
    return 5 if not reach > 0 else min(10, max(1, 2 - math.floor(math.log10(reach))))
