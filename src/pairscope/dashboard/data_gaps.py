"""Gaps: on which days trades are missing, of which symbols, and what that does to what is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_source import gaps_calendar, gaps_listed
from pairscope.dashboard.data_words import count_words, names_words, table_height
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.pair_words import MISSING, duration, number_at, plain

__all__ = ["STATES", "calendar_figure", "day_state", "gap_rows", "show_gaps", "summary_words"]

MOST_SYMBOLS: Final = 30
_SPANS: Final[Mapping[str, int]] = {"14 days": 14, "30 days": 30, "90 days": 90, "1 year": 365}
_LISTED: Final = 200
_MOST_TICKS: Final = 16

STATES: Final[Mapping[str, tuple[str, str, str]]] = {
    "whole": ("✓", "Whole", "every trade of the day is here"),
    "repaired": ("↻", "Repaired", "trades were missing and have been fetched since: nothing is lacking"),
    "open": ("…", "Being fetched", "trades are missing and are asked for: bars of these minutes will be corrected"),
    "unrepairable": (
        "✗",
        "Lost",
        "the exchange does not give these trades any more: highs, lows and volumes of the bars they belong to may be "
        "wrong, and what is computed from them carries a flag. An archive file of the day can still fill it",
    ),
}
"""State of a day -> sign, word and what it means; from the best to the worst."""

_COLOURS: Final[Mapping[str, Sequence[str]]] = {
    "dark": ("#1C2229", "#1F78B4", "#7A5F00", "#B5610A"),
    "light": ("#EEF1F4", "#7DB8E0", "#F0D060", "#F0A05A"),
}
_TEXT: Final[Mapping[str, str]] = {"dark": "#EAECEF", "light": "#1B2128"}


def show_gaps(client: Client, known: Sequence[str]) -> None:
    """Draw the choice, the calendar and the list."""
    with st.container(horizontal=True, vertical_alignment="top"):
        span = st.segmented_control("Days back", list(_SPANS), default="14 days", required=True, **kept("gap_span"))
        only = st.selectbox(
            "Only of",
            sorted(known),
            index=None,
            placeholder="All symbols",
            width=220,
            **kept("gap_symbol"),
        )
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in reversed(range(_SPANS[str(span)]))]
    heard = gaps_calendar(client, start=days[0].isoformat(), symbol=only)
    if heard.document is None:
        waiting = "The calendar comes as soon as the API answers."
        st.caption(waiting if heard.passing else f":orange[▲ {plain(heard.problem)}]")
        return
    rows: Sequence[Mapping[str, Any]] = heard.document.get("days") or ()
    st.markdown(summary_words(rows, str(span)))
    if not rows:
        return
    _calendar(rows, days)
    with st.expander("What the signs mean", expanded=True):
        st.markdown("  \n".join(f"**{sign} {word}**: {plain(why)}." for sign, word, why in STATES.values()))
    _list(client, days[0].isoformat(), only)


def _calendar(rows: Sequence[Mapping[str, Any]], days: Sequence[date]) -> None:
    tone = "light" if st.context.theme.type == "light" else "dark"
    figure, left_out = calendar_figure(rows, days, tone)
    st.plotly_chart(
        figure,
        key="gap-calendar",
        config={"displayModeBar": False, "scrollZoom": False},
        alt="Calendar of missing trades: a row a symbol, a column a day; the table below has the same in words",
    )
    if left_out:
        st.caption(f"{count_words(left_out, 'more symbol')} with fewer missing trades: choose one above to see it.")


def day_state(row: Mapping[str, Any]) -> str:
    """Return the worst that is true of a day.

    >>> day_state({"open": 0, "unrepairable": 1, "repaired": 3}), day_state({"repaired": 1}), day_state({})
    ('unrepairable', 'repaired', 'whole')
    """
    return next((state for state in reversed(list(STATES)) if row.get(state)), "whole")


def summary_words(rows: Sequence[Mapping[str, Any]], span: str) -> str:
    """Say in a sentence how whole the data are, as Markdown.

    >>> print(summary_words([], "14 days"))
    :green[✓] No trade is missing in the last 14 days, and none was.
    >>> print(summary_words([{"symbol": "A", "date": "2024-01-01", "missing": 5, "unrepairable": 1, "seconds": 60}],
    ...                     "14 days"))
    :orange[▲] **5 trades** are missing in the last 14 days, of A, on 1 day: 60 s of the market in all.
    """
    lacking = [row for row in rows if day_state(row) in {"open", "unrepairable"}]
    if not rows:
        return f":green[✓] No trade is missing in the last {span}, and none was."
    if not lacking:
        return f":green[✓] No trade is missing in the last {span}; what was missing has been fetched since."
    missing = sum(int(row.get("missing") or 0) for row in lacking)
    seconds = sum(float(row.get("seconds") or 0) for row in lacking)
    worst = sorted({str(row["symbol"]) for row in lacking})
    days = count_words(len({row["date"] for row in lacking}), "day")
    return (
        f":orange[▲] **{count_words(missing, 'trade')}** {'is' if missing == 1 else 'are'} missing in the last {span}, "
        f"of {plain(names_words(worst))}, on {days}: {duration(seconds, 1)} of the market in all."
    )


def calendar_figure(rows: Sequence[Mapping[str, Any]], days: Sequence[date], tone: str) -> tuple[dict[str, Any], int]:
    """Return the calendar as a Plotly figure, worst symbols first, and how many symbols it has no room for."""
    weights: dict[str, tuple[int, int]] = {}
    cells = {(str(row["symbol"]), str(row["date"])): row for row in rows}
    for (symbol, _), row in cells.items():
        worst, missing = weights.get(symbol, (0, 0))
        state = list(STATES).index(day_state(row))
        weights[symbol] = (max(worst, state), missing + int(row.get("missing") or 0))
    order = sorted(weights, key=lambda name: (-weights[name][0], -weights[name][1], name))
    symbols, dates = order[:MOST_SYMBOLS], [day.isoformat() for day in days]
    levels, texts, hovers = [], [], []
    for symbol in symbols:
        found = [cells.get((symbol, day), {}) for day in dates]
        levels.append([list(STATES).index(day_state(row)) for row in found])
        texts.append([_cell_text(row) for row in found])
        hovers.append([_cell_words(row) for row in found])
    steps = len(STATES)
    scale = [[(i + edge) / steps, colour] for i, colour in enumerate(_COLOURS[tone]) for edge in (0, 1)]
    few = len(dates) <= 31
    ticks = dates[:: -(-len(dates) // _MOST_TICKS)]
    figure = {
        "data": [
            {
                "type": "heatmap",
                "z": levels,
                "x": dates,
                "y": symbols,
                "text": texts,
                "customdata": hovers,
                "texttemplate": "%{text}" if few else "",
                "textfont": {"color": _TEXT[tone], "size": 11 if len(dates) <= 14 else 9},
                "zmin": 0,
                "zmax": steps - 1,
                "colorscale": scale,
                "showscale": False,
                "xgap": 1,
                "ygap": 1,
                "hovertemplate": "%{y}, %{x}<br>%{customdata}<extra></extra>",
            }
        ],
        "layout": {
            "height": max(150, 90 + 30 * len(symbols)),
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": {
                "type": "category",
                "automargin": True,
                "tickangle": -45,
                "tickvals": ticks,
                "ticktext": [day[5:] for day in ticks],
                "fixedrange": True,
            },
            "yaxis": {"type": "category", "autorange": "reversed", "automargin": True, "fixedrange": True},
        },
    }
    return figure, len(order) - len(symbols)


def _cell_text(row: Mapping[str, Any]) -> str:
    """Write a cell: its sign, and how many trades are missing where any are.

    >>> _cell_text({"unrepairable": 1, "missing": 12_345}), _cell_text({})
    ('✗ 12k', '')
    """
    state = day_state(row)
    if state == "whole":
        return ""
    missing = int(row.get("missing") or 0)
    short = f"{missing / 1e6:.1f}M" if missing >= 1e6 else f"{missing / 1e3:.0f}k" if missing >= 1e4 else f"{missing:,}"
    return f"{STATES[state][0]} {short}" if state != "repaired" else STATES[state][0]


def _cell_words(row: Mapping[str, Any]) -> str:
    sign, word, why = STATES[day_state(row)]
    if day_state(row) == "whole":
        return f"{sign} {word}: {why}"
    parts = [
        f"{count_words(int(row.get('missing') or 0), 'trade')} missing, {duration(row.get('seconds') or 0, 1)} touched"
        if row.get("missing")
        else "",
        *(f"{row[state]:,} {told[1].lower()}" for state, told in reversed(list(STATES.items())) if row.get(state)),
    ]
    return f"{sign} {word}<br>{'<br>'.join(part for part in parts if part)}"


def _list(client: Client, start: str, symbol: str | None) -> None:
    st.subheader("The holes", anchor=False)
    heard = gaps_listed(client, start=start, symbol=symbol, limit=_LISTED)
    if heard.document is None:
        st.caption("The holes are listed as soon as the API answers." if heard.passing else plain(heard.problem))
        return
    rows = gap_rows(heard.document.get("gaps") or ())
    if not rows:
        return
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="gap-list",
        height=table_height(len(rows), 380),
        column_config={
            "After": st.column_config.DatetimeColumn("After (UTC)", format="YYYY-MM-DD HH:mm:ss"),
            "Symbol": st.column_config.TextColumn("Symbol", pinned=True),
            "Trades": st.column_config.NumberColumn("Trades", format="localized"),
            "Still missing": st.column_config.NumberColumn("Still missing", format="localized"),
        },
        alt=f"{len(rows)} holes in the trade ids, the newest first",
    )
    if heard.document.get("next"):
        st.caption(f"The newest {_LISTED}; all of them under `/api/gaps`.")


def gap_rows(gaps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return holes as rows of a table.

    >>> rows = gap_rows([{"symbol": "A", "from_id": 5, "to_id": 9, "status": "open", "missing": 5, "after": 0,
    ...                   "before": 60_000}])
    >>> rows[0]["State"], rows[0]["For"], rows[0]["Ids"]
    ('… Being fetched', '60 s', '5 to 9')
    """
    rows = []
    for gap in gaps:
        sign, word, _ = STATES.get(str(gap.get("status")), ("", str(gap.get("status")), ""))
        after, before = number_at(gap, "after"), number_at(gap, "before")
        length = None if after is None or before is None else max(0.0, before - after) / 1000
        rows.append(
            {
                "Symbol": str(gap.get("symbol")),
                "State": f"{sign} {word}",
                "Trades": int(gap["to_id"]) - int(gap["from_id"]) + 1,
                "Still missing": gap.get("missing"),
                "After": None if after is None else pd.to_datetime(after, unit="ms", utc=True),
                "For": MISSING if length is None else duration(length, 1),
                "Ids": f"{gap.get('from_id')} to {gap.get('to_id')}",
            }
        )
    return rows
