"""A closer look at the row that was chosen: its q-value over time, and what a second look says of it, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_verdict import TIMEFRAME_S
from pairscope.dashboard.pair_words import base_of, part_of, plain
from pairscope.dashboard.scanner_choice import ScanChoice, open_from_scan
from pairscope.dashboard.scanner_detail_words import both_ways, facts_of, history_words, q_text
from pairscope.dashboard.scanner_source import closer_look, pair_history

__all__ = ["history_figure", "look_closer", "looked_at", "show_detail"]

_INK: Final[Mapping[str, tuple[str, str, str]]] = {
    "dark": ("#929AA5", "#3FB6FF", "#F0B90B"), "light": ("#5E6673", "#0B6FB8", "#8A6400"),
}  # fmt: skip
_LEAST_Q: Final = 1e-6
_LEVELS: Final = ((0.05, "enters, 5 %"), (0.1, "leaves, 10 %"))


def look_closer(key: str) -> None:
    """Have the page look closer at a pair, written Y:X; at none where it is looked at already."""
    if st.query_params.get("looked") == key:
        del st.query_params["looked"]
    elif ":" in key:
        st.query_params["looked"] = key


def looked_at() -> str:
    """Return the pair that is looked at, written Y:X; empty where there is none."""
    return str(st.query_params.get("looked", ""))


def show_detail(client: Client, choice: ScanChoice) -> None:
    """Draw the closer look, where a pair was chosen."""
    key = looked_at()
    y, colon, x = key.partition(":")
    if not colon:
        return
    heard = closer_look(client, choice, y, x)
    row, other = both_ways((heard.document or {}).get("pairs", ()), y, x)
    with st.container(border=True, gap="small", key="scan-detail"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(base_of(y))}** on {plain(base_of(x))}, closer", width="stretch")
            st.button(
                "Open pair", icon=":material/open_in_full:", key="detail-open", on_click=open_from_scan,
                args=(key, choice),
            )  # fmt: skip
            st.button("Close", type="tertiary", key="detail-close", on_click=look_closer, args=(key,))
        if row is None:
            st.markdown(plain(heard.problem) or "This pair is not among the tests of this screen.")
            return
        chart, facts = st.columns([0.45, 0.55], gap="medium")
        with facts:
            found = part_of(heard.document, "null", "surrogates")
            surrogates = int(found) if isinstance(found, int) else None
            for fact in facts_of(row, other, choice, surrogates=surrogates):
                st.markdown(plain(fact))
        with chart:
            _history(client, choice, y, x)


def _history(client: Client, choice: ScanChoice, y: str, x: str) -> None:
    heard = pair_history(client, choice, y, x)
    if heard.document is None:
        st.caption(plain(f"No history: {heard.problem}"))
        return
    times, q = heard.document.get("timestamp") or [], heard.document.get("qvalue") or []
    told = history_words(heard.document, TIMEFRAME_S[choice.timeframe])
    if len(times) > 1:
        tone = "light" if st.context.theme.type == "light" else "dark"
        st.plotly_chart(
            history_figure(times, q, tone),
            key="q-history",
            config={"displayModeBar": False, "scrollZoom": False},
            alt=f"q-value of {base_of(y)} on {base_of(x)} over time. {told}",
        )
    st.caption(plain(told))


def history_figure(times: list[int], qvalue: list[float | None], tone: str) -> dict[str, Any]:
    """Return q-values over time as a Plotly figure: on a logarithmic scale, with the levels of entering and leaving."""
    grey, line, level = _INK[tone]
    at = [datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None) for ms in times]
    shown = [None if q is None else max(q, _LEAST_Q) for q in qvalue]
    known = [q for q in shown if q is not None]
    low = min([0.01, *known])
    rules = [
        {
            "type": "scatter", "mode": "lines", "x": [at[0], at[-1]], "y": [value, value], "hoverinfo": "skip",
            "line": {"width": 1, "color": level, "dash": "dot"}, "name": name,
        }
        for value, name in _LEVELS
    ]  # fmt: skip
    marks = [
        {
            "x": 0, "xref": "paper", "xanchor": "left", "y": _log10(value), "yanchor": anchor, "text": name,
            "showarrow": False, "font": {"size": 11, "color": level},
        }
        for (value, name), anchor in zip(_LEVELS, ("top", "bottom"), strict=True)
    ]  # fmt: skip
    path = {
        "type": "scatter", "mode": "lines" if len(known) > 30 else "lines+markers", "x": at, "y": shown,
        "text": [q_text(q) for q in qvalue], "hovertemplate": "%{x|%Y-%m-%d %H:%M} UTC<br>q %{text}<extra></extra>",
        "line": {"width": 2, "color": line}, "marker": {"size": 4, "color": line}, "connectgaps": False,
    }  # fmt: skip
    ticks = [value for value in (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0) if value >= low / 3]
    font = {"size": 11, "color": grey}
    return {
        "data": [*rules, path],
        "layout": {
            "height": 210,
            "margin": {"l": 52, "r": 8, "t": 8, "b": 28},
            "showlegend": False,
            "hovermode": "closest",
            "annotations": marks,
            "xaxis": {"fixedrange": True, "showgrid": False, "tickfont": font, "nticks": 4},
            "yaxis": {
                "type": "log", "fixedrange": True, "range": [_log10(low) - 0.15, 0.1], "tickvals": ticks,
                "ticktext": [q_text(value) if value >= 1e-4 else f"1 in {1 / value:,.0f}" for value in ticks],
                "tickfont": font, "gridcolor": "rgba(128,128,128,0.18)", "title": {"text": "q-value", "font": font},
            },
        },
    }  # fmt: skip


def _log10(value: float) -> float:
    return math.log10(value)
