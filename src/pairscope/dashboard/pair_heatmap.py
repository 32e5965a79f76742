"""The heatmap of correlations: a chosen set of symbols, those that move together side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_source import ask, hear

__all__ = ["csv_of", "figure_of", "show_heatmap"]

MOST_SYMBOLS: Final = 40
_FEW: Final = 14
_FIRST: Final = 12

# Blue and orange stay apart in every common colour-vision deficiency; one colour of text can be read on all of each.
_SCALES: Final[Mapping[str, Sequence[tuple[float, str]]]] = {
    "dark": ((0.0, "#B5610A"), (0.5, "#161A1E"), (1.0, "#1F78B4")),
    "light": ((0.0, "#F0A05A"), (0.5, "#F8F9FA"), (1.0, "#7DB8E0")),
}


_TEXT: Final[Mapping[str, str]] = {"dark": "#EAECEF", "light": "#1B2128"}


def show_heatmap(client: Client, known: Sequence[str], watched: Sequence[str], timeframe: str, window: int) -> None:
    """Draw the choice of symbols and the map; a set of their own for each visit, the watch-list's at first."""
    first = st.session_state.setdefault("_first_heat", list((watched or known)[:_FIRST]))
    chosen = st.multiselect(
        "Symbols of the heatmap",
        sorted({*known, *first}),
        default=first,
        max_selections=MOST_SYMBOLS,
        key="heat",
        bind="query-params",
        placeholder="Choose symbols",
        help=f"The watch-list's symbols at first; up to {MOST_SYMBOLS}. Neighbours in the map move together.",
        label_visibility="collapsed",
    )
    if len(chosen) < 2:
        st.info("Choose two or more symbols to see how they move together.")
        return
    _heatmap(client, tuple(sorted(chosen)), timeframe, window)


def _draw(client: Client, symbols: Sequence[str], timeframe: str, window: int) -> None:
    key = f"{symbols} {timeframe} {window}"
    params = {"symbols": ",".join(symbols), "timeframe": timeframe, "window": window}
    heard = hear("heatmap", key, lambda: ask(client, "/api/analytics/correlation", **params))
    if heard.problem:
        st.caption(f":orange[The correlations could not be read: {heard.problem}]")
    if heard.document is None:
        return
    st.caption(f"Correlation of {timeframe} returns over the last {window} bars that two symbols have in common.")
    tone = "light" if st.context.theme.type == "light" else "dark"
    st.plotly_chart(
        figure_of(heard.document, tone),
        key="heatmap",
        config={"displayModeBar": False, "scrollZoom": False},
        alt=f"Heatmap of correlations of {', '.join(symbols)}, {timeframe} returns",
    )
    st.download_button(
        "Download correlations",
        csv_of(heard.document),
        f"correlations-{timeframe}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="download-heat",
    )


_heatmap = st.fragment(_draw)


def ordered(document: Mapping[str, Any]) -> tuple[list[str], list[list[float | None]]]:
    """Return symbols and matrix in the order in which like stands beside like; as they came where none is given.

    >>> ordered({"symbols": ["A", "B"], "matrix": [[1, 0.5], [0.5, 1]], "order": ["B", "A"]})
    (['B', 'A'], [[1, 0.5], [0.5, 1]])
    """
    symbols = [str(symbol) for symbol in document["symbols"]]
    order = document.get("order") or symbols
    places = [symbols.index(item) if isinstance(item, str) else int(item) for item in order]
    matrix = document["matrix"]
    return [symbols[i] for i in places], [[matrix[i][j] for j in places] for i in places]


def figure_of(document: Mapping[str, Any], tone: str) -> dict[str, Any]:
    """Return the map as a Plotly figure: -1 to 1 whatever the numbers, written into the cells where they are few."""
    symbols, matrix = ordered(document)
    few = len(symbols) <= _FEW
    text = [["" if value is None else f"{value:.2f}" for value in row] for row in matrix]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": matrix,
                "x": symbols,
                "y": symbols,
                "text": text,
                "textfont": {"color": _TEXT[tone], "size": 12 if len(symbols) <= 8 else 10},
                "texttemplate": "%{text}" if few else "",
                "zmin": -1,
                "zmax": 1,
                "colorscale": [list(stop) for stop in _SCALES[tone]],
                "xgap": 1,
                "ygap": 1,
                "hoverongaps": False,
                "hovertemplate": "%{y} and %{x}: <b>%{z:.3f}</b><extra></extra>",
                "colorbar": {"thickness": 8, "tickvals": [-1, -0.5, 0, 0.5, 1], "outlinewidth": 0, "xpad": 4},
            }
        ],
        "layout": {
            "height": max(280, 110 + (34 if few else 20) * len(symbols)),
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": {"type": "category", "automargin": True, "tickangle": -45 if len(symbols) > 3 else 0},
            "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
        },
    }


def csv_of(document: Mapping[str, Any]) -> str:
    """Return the matrix as CSV, in the order of the map.

    >>> csv_of({"symbols": ["A", "B"], "matrix": [[1, None], [None, 1]]}).splitlines()
    ['symbol,A,B', 'A,1,', 'B,,1']
    """
    symbols, matrix = ordered(document)
    lines = [",".join(["symbol", *symbols])]
    for symbol, row in zip(symbols, matrix, strict=True):
        lines.append(",".join([symbol, *("" if value is None else str(value) for value in row)]))
    return "\r\n".join([*lines, ""])
