"""Store: how much of which symbol and day lies where, and the works that keep it small and sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_jobs import show_jobs
from pairscope.dashboard.data_keeping import limit_of, show_keeping
from pairscope.dashboard.data_source import stored
from pairscope.dashboard.data_words import count_words, share_words, size_words, table_height
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.pair_words import number_at, plain

__all__ = ["show_store", "size_figure", "size_rows", "where_words"]

_SPANS: Final[Mapping[str, int]] = {"7 days": 7, "30 days": 30, "90 days": 90, "1 year": 365}
_MOST_STACKED: Final = 6
_OTHERS: Final = "all others"
_WHERE: Final[Mapping[str, str]] = {"store": "store", "archive": "archive", "both": "store and archive"}
_COLOURS: Final = ("#F0B90B", "#3FB6FF", "#0ECB81", "#B659FF", "#FF8A3D", "#8FA3B8", "#5C6670")


def show_store(client: Client) -> None:
    """Draw the sizes, and below them what can be done about them."""
    span = st.segmented_control("Days shown", list(_SPANS), default="30 days", required=True, **kept("store_span"))
    since = (datetime.now(UTC) - timedelta(days=_SPANS[str(span)] - 1)).date()
    heard = stored(client, start=since.isoformat())
    if heard.document is None:
        waiting = "What is stored is told as soon as the API answers."
        st.caption(waiting if heard.passing else f":orange[▲ {plain(heard.problem)}]")
        return
    st.markdown(where_words(heard.document))
    rows: Sequence[Mapping[str, Any]] = heard.document.get("days") or ()
    if rows:
        _sizes(rows)
    else:
        st.info(f"Nothing is stored of the last {span}. Trades arrive while `pairscope run` follows the market.")
    show_keeping(client, heard.document)
    show_jobs(client, ("archive", "retention", "compact", "check"))


def where_words(document: Mapping[str, Any]) -> str:
    """Say where everything lies, as Markdown.

    >>> print(where_words({"kind": "duckdb", "location": "/d/x.duckdb", "bytes": 3_000_000, "free_bytes": 9e9,
    ...                    "ticks": 100, "archive": {"url": "/d/archive", "files": 0, "bytes": 0, "ticks": 0},
    ...                    "retention": {"days": 0, "gb": 0.0}, "archive_after_days": 0}))
    **3.0 MB** in the store (`/d/x.duckdb`), 9.0 GB free on its disk. **Nothing in the archive** (`/d/archive`).
    Days are kept for ever; none moves to the archive by itself.
    """
    archive = document.get("archive") or {}
    size, free = number_at(document, "bytes"), number_at(document, "free_bytes")
    room = f", {size_words(free)} free on its disk" if free is not None else ""
    first = f"**{size_words(size)}** in the store (`{_code(document.get('location'))}`){room}."
    files, archived = number_at(archive, "files"), number_at(archive, "bytes")
    held = f"{size_words(archived)}** in {count_words(files, 'file')}" if files else "Nothing in the archive**"
    second = f"**{held}{' of the archive' if files else ''} (`{_code(archive.get('url'))}`)."
    return f"{first} {second}\n{keeping_words(document)}"


def keeping_words(document: Mapping[str, Any]) -> str:
    """Say what happens to old days by itself.

    >>> keeping_words({"retention": {"days": 90, "gb": 5}, "archive_after_days": 7})
    'Days are deleted after 90 days, or when all take more than 5 GB; after 7 days they move to the archive.'
    """
    days, most = limit_of(document, "retention", "days"), limit_of(document, "retention", "gb")
    after = limit_of(document, "archive_after_days")
    limits = [
        f"after {count_words(days, 'day')}" if days is not None else "",
        f"when all take more than {most:g} GB" if most is not None else "",
    ]
    told = ", or ".join(part for part in limits if part)
    kept = f"Days are deleted {told}" if told else "Days are kept for ever"
    if after is not None:
        return f"{kept}; after {count_words(after, 'day')} they move to the archive."
    return f"{kept}; none moves to the archive by itself."


def _code(text: Any) -> str:
    return str(text or "").replace("`", "")


def _sizes(rows: Sequence[Mapping[str, Any]]) -> None:
    chart, table = st.columns([0.55, 0.45], gap="medium")
    with chart:
        tone = "light" if st.context.theme.type == "light" else "dark"
        st.plotly_chart(
            size_figure(rows, tone),
            key="store-sizes",
            config={"displayModeBar": False, "scrollZoom": False},
            alt="Size of each stored day, by symbol; the table beside it has the same in numbers",
        )
    with table:
        by = st.segmented_control(
            "Table by",
            ["Symbol", "Day", "Both"],
            default="Symbol",
            required=True,
            label_visibility="collapsed",
            **kept("store_by"),
        )
        found = size_rows(rows, str(by))
        st.dataframe(
            pd.DataFrame(found),
            hide_index=True,
            key="store-table",
            height=table_height(len(found), 330),
            column_config={
                "Trades": st.column_config.NumberColumn("Trades", format="localized"),
                "Bars": st.column_config.NumberColumn("Bars", format="localized"),
                "Size": st.column_config.NumberColumn("Size", format="bytes"),
                "Share": st.column_config.ProgressColumn("Share", format="percent", min_value=0, max_value=1),
            },
            alt=f"{len(found)} rows: what is stored",
        )


def size_rows(rows: Sequence[Mapping[str, Any]], by: str) -> list[dict[str, Any]]:
    """Return the sizes as a table: a row a symbol, a day, or both; the largest symbol or the newest day first.

    >>> rows = [{"date": "2024-01-01", "symbol": "A", "ticks": 1, "bars_1s": 1, "bars_1m": 1, "bytes": 10,
    ...          "where": "archive"},
    ...         {"date": "2024-01-02", "symbol": "A", "ticks": 3, "bars_1s": 2, "bars_1m": 1, "bytes": 30,
    ...          "where": "store"}]
    >>> size_rows(rows, "Symbol")
    [{'Symbol': 'A', 'Days': 2, 'Trades': 4, 'Bars': 5, 'Size': 40, 'Share': 1.0, 'Lies in': 'store and archive'}]
    """
    names = {"Symbol": ("symbol",), "Day": ("date",), "Both": ("date", "symbol")}[by]
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    total = sum(int(row.get("bytes") or 0) for row in rows)
    for row in rows:
        key = tuple(str(row.get(name)) for name in names)
        into = groups.setdefault(
            key, {"days": set(), "symbols": set(), "ticks": 0, "bars": 0, "bytes": 0, "where": set()}
        )
        into["days"].add(row.get("date"))
        into["symbols"].add(row.get("symbol"))
        into["ticks"] += int(row.get("ticks") or 0)
        into["bars"] += int(row.get("bars_1s") or 0) + int(row.get("bars_1m") or 0)
        into["bytes"] += int(row.get("bytes") or 0)
        into["where"].add(str(row.get("where")))
    found = []
    for key, sums in groups.items():
        named = dict(zip(("Day" if name == "date" else "Symbol" for name in names), key, strict=True))
        counted = {"Symbol": {"Days": len(sums["days"])}, "Day": {"Symbols": len(sums["symbols"])}, "Both": {}}[by]
        where = sums["where"]
        lies = _WHERE.get(next(iter(where)), "") if len(where) == 1 else _WHERE["both"]
        figures = {"Trades": sums["ticks"], "Bars": sums["bars"], "Size": sums["bytes"]}
        share = sums["bytes"] / total if total else 0.0
        found.append({**named, **counted, **figures, "Share": share, "Lies in": lies})
    if by == "Symbol":
        return sorted(found, key=lambda row: (-row["Size"], row["Symbol"]))
    return sorted(found, key=lambda row: (row["Day"], row["Size"]), reverse=True)


def size_figure(rows: Sequence[Mapping[str, Any]], tone: str) -> dict[str, Any]:
    """Return the sizes as a Plotly figure: a bar a day, stacked by symbol, the largest symbols by name."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[str(row["symbol"])] = sums.get(str(row["symbol"]), 0) + int(row.get("bytes") or 0)
    order = sorted(sums, key=lambda name: (-sums[name], name))
    named = order[:_MOST_STACKED]
    first, last = (datetime.fromisoformat(edge(str(row["date"]) for row in rows)) for edge in (min, max))
    days = [(first + timedelta(days=i)).date().isoformat() for i in range((last - first).days + 1)]
    stacks = {name: dict.fromkeys(days, 0) for name in [*named, *([_OTHERS] if len(order) > len(named) else [])]}
    for row in rows:
        name = str(row["symbol"])
        stacks[name if name in stacks else _OTHERS][str(row["date"])] += int(row.get("bytes") or 0)
    total = sum(sums.values())
    return {
        "data": [
            {
                "type": "bar",
                "name": name,
                "x": days,
                "y": list(sizes.values()),
                "customdata": [size_words(size) for size in sizes.values()],
                "marker": {"color": _COLOURS[i % len(_COLOURS)]},
                "hovertemplate": f"{name}, %{{x}}: %{{customdata}}<extra></extra>",
                "hoverlabel": {"namelength": -1},
            }
            for i, (name, sizes) in enumerate(stacks.items())
        ],
        "layout": {
            "barmode": "stack",
            "bargap": 0.25,
            "height": 330,
            "margin": {"l": 10, "r": 10, "t": 40, "b": 10},
            "title": {
                "text": f"Size a day; {named[0]} has {share_words(sums[named[0]], total)} of it" if named else "",
                "font": {"size": 13},
            },
            "showlegend": True,
            "legend": {"orientation": "h", "y": -0.2},
            "xaxis": {"type": "category", "automargin": True, "nticks": 12, "fixedrange": True},
            "yaxis": {
                "automargin": True,
                "fixedrange": True,
                "tickformat": "~s",
                "ticksuffix": "B",
                "rangemode": "tozero",
                "gridcolor": "#2B3139" if tone == "dark" else "#DDE1E6",
            },
        },
    }
