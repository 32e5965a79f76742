"""A run as it is read: the verdict on top, the figures, the chart, every trade, and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.backtest_choice import rule_words
from pairscope.dashboard.backtest_jobs import run_shown
from pairscope.dashboard.backtest_series import chart_data
from pairscope.dashboard.backtest_source import kept_run
from pairscope.dashboard.backtest_words import (
    Headline,
    assumption_lines,
    headline_figures,
    metric_text,
    money_rows,
    span_words,
    sure_rows,
    trade_rows,
    verdict_of,
)
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_words import base_of, part_of, plain, when
from pairscope.dashboard.price_monitor import palette_chosen

__all__ = [
    "csv_of_trades",
    "document_of",
    "draw_table",
    "period_rows",
    "show_figures",
    "show_report",
    "show_trades",
    "show_verdict",
    "trade_table",
]

_REASONS: Final[Mapping[str, str]] = {
    "exit": "● exit", "stop": "■ stop", "max_holding": "◷ held too long", "end": "○ open at the end",
    "liquidation": "▼ liquidated",
}  # fmt: skip


def document_of(client: Client, kind: str) -> Mapping[str, Any] | None:
    """Return the run of this kind that the address names; say why where there is none."""
    run_id = run_shown(kind)
    if not run_id:
        return None
    heard = kept_run(client, run_id)
    if heard.document is None:
        if heard.passing:
            st.caption("The run comes as soon as the API answers.")
        else:
            st.warning("This run is not kept any more: run it again.")
        return None
    found: Mapping[str, Any] = heard.document
    return found


def show_report(api: LiveApi, document: Mapping[str, Any]) -> None:
    """Draw one backtest."""
    show_verdict(document)
    show_figures(headline_figures(document))
    live_view(
        "backtest_chart",
        api=api,
        key="backtest_chart",
        version=str(document.get("id")),
        palette=palette_chosen(),
        **chart_data(document),
    )
    show_trades(document)
    draw_table("Where the money came from", money_rows(document), "Profit and loss split into spread and costs")
    draw_table("How sure is that?", sure_rows(document), "Measures of how far chance explains the result")
    draw_table("How it traded", trade_rows(document), "Further figures of the backtest")
    draw_table("Month by month" if _months(document) else "Day by day", period_rows(document), "Returns by period")
    _assumed(document)


def _months(document: Mapping[str, Any]) -> bool:
    return len(part_of(document, "returns", "monthly") or ()) > 2


def period_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the returns of each month, or of each day where there are no three months; none of a single day.

    >>> days = [{"period": "2023-11-14", "return": 0.0}, {"period": "2023-11-15", "return": 0.0061}]
    >>> period_rows({"returns": {"monthly": [], "daily": days}})[1]
    {'Period': '2023-11-15', 'Return': '+0.61 %'}
    """
    periods = part_of(document, "returns", "monthly" if _months(document) else "daily") or ()
    if len(periods) < 2:
        return []
    return [
        {"Period": str(one.get("period")), "Return": metric_text("total_return", one.get("return"))} for one in periods
    ]


def show_verdict(document: Mapping[str, Any]) -> None:
    """Draw the verdict, and below it which rule on which bars it is of."""
    colour, badge, title, sentences = verdict_of(document)
    with st.container(border=True, gap="small", key="backtest-verdict"):
        st.markdown(f":{colour}-badge[{badge}] **{plain(title)}**" if title else f":{colour}-badge[{badge}]")
        if sentences:
            st.markdown(plain(" ".join(sentences)))
        created = document.get("created")
        told = f" Run {when(created)}." if isinstance(created, int) else ""
        st.caption(plain(f"{rule_words(document.get('request') or {})}. {span_words(document)}.{told}"))


def show_figures(figures: Sequence[Headline]) -> None:
    """Draw figures side by side, as many as fit."""
    with st.grid("auto", min_column_width=140):
        for label, value, under, meaning in figures:
            st.metric(
                label,
                value,
                under or None,
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
                help=meaning,
            )


def show_trades(document: Mapping[str, Any]) -> None:
    """Draw the table of trades, with the file to take along."""
    trades: Sequence[Mapping[str, Any]] = document.get("trades") or ()
    request = document.get("request") or {}
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="trades-head"
    ):
        st.subheader(f"{len(trades):,} trade{'' if len(trades) == 1 else 's'}", anchor=False)
        if trades:
            st.download_button(
                "Download CSV",
                lambda: csv_of_trades(trades).encode(),
                f"{request.get('y', '')}-{request.get('x', '')}-trades.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
                key="download-trades",
            )
    if not trades:
        st.caption(
            "The spread never strayed to the entry while trading was allowed: lower the entry, or take a longer range."
        )
        return
    table = trade_table(trades)
    st.dataframe(
        table,
        key="trades",
        hide_index=True,
        height=min(420, 38 + 35 * len(table)),
        column_config=_columns(request),
        alt=f"{len(trades)} trades, the oldest first; a heading sorts",
    )


def trade_table(trades: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the trades as a table for the eye, the oldest first.

    >>> trade_table([{"entry_timestamp": 0, "exit_timestamp": 60000, "side": "long", "reason": "stop", "pnl": 1.0}])[
    ...     ["Side", "Why"]].values.tolist()
    [['▲ long', '■ stop']]
    """
    rows = pd.DataFrame(list(trades))
    made = pd.DataFrame({"#": range(1, len(rows) + 1)})
    for name, label in (("entry_timestamp", "Entry"), ("exit_timestamp", "Exit")):
        made[label] = pd.to_datetime(rows[name], unit="ms", utc=True)
    made["Side"] = rows["side"].map({"long": "▲ long", "short": "▼ short"})
    made["Why"] = rows["reason"].map(_REASONS).fillna(rows["reason"])
    plain_columns = {
        "entry_zscore": "Entry z", "exit_zscore": "Exit z", "pnl": "P&L", "return": "Return", "fees": "Fees",
        "slippage": "Slippage", "funding": "Funding", "beta": "Hedge", "quantity_y": "Y", "quantity_x": "X",
    }  # fmt: skip
    for name, label in plain_columns.items():
        if name in rows:
            made[label] = pd.to_numeric(rows[name])
    return made


def csv_of_trades(trades: Sequence[Mapping[str, Any]]) -> str:
    """Return the trades as CSV under the API's names, times as ISO 8601.

    >>> csv_of_trades([{"entry_timestamp": 0, "exit_timestamp": 60000, "side": "long", "pnl": None}]).splitlines()
    ['entry_timestamp,exit_timestamp,side,pnl', '1970-01-01T00:00:00.000Z,1970-01-01T00:01:00.000Z,long,']
    """
    table = pd.DataFrame(list(trades))
    for name in ("entry_timestamp", "exit_timestamp"):
        moments = pd.to_datetime(table[name], unit="ms", utc=True)
        table[name] = moments.dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str.slice(0, 23) + "Z"
    return str(table.to_csv(index=False))


def _columns(request: Mapping[str, Any]) -> dict[str, Any]:
    number, moment = st.column_config.NumberColumn, st.column_config.DatetimeColumn
    y, x = base_of(str(request.get("y", ""))), base_of(str(request.get("x", "")))
    times = "YYYY-MM-DD HH:mm:ss"
    return {
        "#": number("#", width=50),
        "Entry": moment("Entry (UTC)", format=times, help="The bar in which it was filled"),
        "Exit": moment("Exit (UTC)", format=times),
        "Why": st.column_config.TextColumn("Ended by"),
        "Entry z": number("Entry z", format="%.2f", help="Of the bar that decided", width="small"),
        "Exit z": number("Exit z", format="%.2f", width="small"),
        "P&L": number("P&L (USDT)", format="%.2f", help="Net of fees, slippage and funding", width="small"),
        "Return": number("Return", format="percent", help="P&L over the notional", width="small"),
        "Fees": number("Fees", format="%.2f", width="small"),
        "Slippage": number("Slippage", format="%.2f", width="small"),
        "Funding": number("Funding", format="%.2f", width="small"),
        "Hedge": number("Hedge", format="%.4f", help="Hedge ratio of the bar that decided", width="small"),
        "Y": number(
            f"{y or 'Y'} held", format="%.6g", help="Bought where positive, sold where negative", width="small"
        ),
        "X": number(f"{x or 'X'} held", format="%.6g", width="small"),
    }


def draw_table(title: str, rows: Sequence[Mapping[str, str]], alt: str) -> None:
    """Draw rows of words under a heading."""
    if not rows:
        return
    st.subheader(title, anchor=False)
    columns = {name: [plain(row[name]) for row in rows] for name in rows[0]}
    st.table(columns, border="horizontal", hide_index=True, alt=alt)


def _assumed(document: Mapping[str, Any]) -> None:
    lines = assumption_lines(document)
    if lines:
        draw_table(
            "What was assumed", [{"What": name, "How": text} for name, text in lines], "Assumptions of the backtest"
        )
