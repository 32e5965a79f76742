"""The charts of a backtest's document: equity, z-score with its trades, each trade, by time, over two parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.ticks import F8, I8
from pairscope.research.backtest_text import figure, label_of, minute, written
from pairscope.research.svg_charts import Curve, Marks, Panel, bar_chart, heat_map, time_chart

__all__ = ["equity_chart", "heat_maps", "period_chart", "signal_chart", "trade_chart"]

_MOST_BARS: Final = 300
_MOST_MARKS: Final = 600
_MOST_DAYS: Final = 92
_CLASSES: Final = 41


def equity_chart(document: Mapping[str, Any]) -> str:
    """Return equity with its drawdown under it."""
    times, equity = _times(document), _column(document["equity"]["equity"])
    falls = 100.0 * _column(document["equity"]["drawdown"])
    said = f"Equity from {equity[0]:,.2f} to {equity[-1]:,.2f}, deepest drawdown {falls.min():.2f} %"
    return time_chart(
        times,
        [
            Panel("equity, in quote", 220, [Curve(equity, "main")], "{:,.10g}".format),
            Panel("drawdown, %", 90, [Curve(falls, "bad", filled=True)], "{:,.10g}".format),
        ],
        said=said,
    )


def signal_chart(document: Mapping[str, Any]) -> str:
    """Return the z-score with entries and exits marked, the spread under it; nothing where the series are not there."""
    series = document.get("series") or {}
    if not series.get("zscore"):
        return ""
    times, zscore = _times(document), _column(series["zscore"])
    request, trades = document["request"], document["trades"][-_MOST_MARKS:]
    levels: list[tuple[float, str]] = []
    for name in ("entry", "exit"):
        size = float(request[name])
        levels += [(size, f"{name} {size:g}")] + ([(-size, "")] if size else [])
    panels = [
        Panel(
            "z-score" if len(trades) == len(document["trades"]) else f"z-score, the last {len(trades):,} trades marked",
            240,
            [Curve(zscore, "second")],
            "{:,.10g}".format,
            marks=_marks(times, zscore, trades),
            levels=levels,
        )
    ]
    if series.get("spread"):
        panels.append(Panel("spread", 110, [Curve(_column(series["spread"]), "main")], "{:,.6g}".format))
    return time_chart(times, panels, said=f"The z-score of each bar, and {len(trades):,} trades on it")


def trade_chart(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the P&L of each trade in order, or how often which where they are many, and what is to be seen."""
    trades = document["trades"]
    pnl = _column([trade["pnl"] for trade in trades])
    if pnl.size <= _MOST_BARS:
        names = [f"{minute(trade['entry_timestamp'])}, {trade['side']}, {trade['reason']}" for trade in trades]
        chart = bar_chart(
            pnl, names, written=lambda value: written("money", value), said=f"P&L of {pnl.size} trades in order"
        )
        return chart, "In order of entry, in quote, net of all costs."
    counts, edges = np.histogram(pnl, bins=_CLASSES)
    middle = (edges[:-1] + edges[1:]) / 2
    looks = ["bad" if value < 0.0 else "good" for value in middle]
    names = [f"{low:,.2f} to {high:,.2f}" for low, high in pairwise(edges.tolist())]
    chart = bar_chart(
        counts.astype(np.float64), names, written="{:,.0f}".format, said="How many trades had which P&L", looks=looks
    )
    return chart, f"How many of the {pnl.size:,} trades won or lost how much, in quote, from the worst to the best."


def period_chart(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the returns of days, or of months where days are many, and a caption; nothing of less than two."""
    found = document.get("returns") or {}
    days = found.get("daily") or []
    rows, unit = (days, "day") if len(days) <= _MOST_DAYS else (found["monthly"], "month")
    if len(rows) < 2:
        return "", ""
    names, returns = [row["period"] for row in rows], 100.0 * _column([row["return"] for row in rows])
    chart = bar_chart(returns, names, written="{:+,.2f} %".format, said=f"Returns by {unit}")
    return chart, f"By {unit} (UTC), in % of the capital."


def heat_maps(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a title and a map of the Sharpe ratio for each two parameters that follow each other."""
    grid: Mapping[str, Sequence[Any]] = document["grid"]
    rows, best = document["rows"], document.get("best") or {}
    names = [name for name, values in grid.items() if len(values) > 1]
    for down, across in pairwise(names):
        table = np.full((len(grid[down]), len(grid[across])), np.nan)
        at = [{_key(value): i for i, value in enumerate(grid[name])} for name in (down, across)]
        for row in rows:
            place = at[0].get(_key(row[down])), at[1].get(_key(row[across]))
            if None not in place and row.get("sharpe") is not None:
                table[place] = np.fmax(table[place], row["sharpe"])
        framed = (at[0].get(_key(best.get(down)), -1), at[1].get(_key(best.get(across)), -1)) if best else None
        others = len(names) > 2
        yield (
            f"Sharpe over {label_of(down)} and {label_of(across)}" + (", the best of the others" if others else ""),
            heat_map(
                table,
                [figure(down, value) for value in grid[down]],
                [figure(across, value) for value in grid[across]],
                names=(label_of(down), label_of(across)),
                written="{:.2f}".format,
                said=f"Sharpe ratio over {label_of(down)} and {label_of(across)}",
                best=framed,
            ),
        )


def _marks(times: I8, zscore: F8, trades: Sequence[Mapping[str, Any]]) -> list[Marks]:
    """Return where entries and exits were decided: entries by side, exits at the z-score of the spread held."""
    made = []
    for side, sign, look in (("long", "up", "good"), ("short", "down", "bad")):
        some = [trade for trade in trades if trade["side"] == side]
        said = [f"{side} from {minute(trade['entry_timestamp'])}, z {_z(trade['entry_zscore'])}" for trade in some]
        places = _decided(times, some, "entry")
        made.append(Marks(places, zscore[places], sign, look, said))
    said = [
        f"closed {minute(trade['exit_timestamp'])}: {trade['reason']}, P&L {written('money', trade['pnl'])}"
        for trade in trades
    ]
    values = _column([trade["exit_zscore"] for trade in trades])
    return [*made, Marks(_decided(times, trades, "exit"), values, "dot", "quiet", said)]


def _decided(times: I8, trades: Sequence[Mapping[str, Any]], what: str) -> NDArray[np.int64]:
    """Return at which rows trades were decided; those of their fills where that is not known."""
    filled = np.searchsorted(times, np.array([trade[f"{what}_timestamp"] for trade in trades], np.int64))
    ahead = [trade[f"{what}_bar"] - trade.get(f"{what}_decided", trade[f"{what}_bar"]) for trade in trades]
    return np.clip(filled - np.array(ahead, np.int64), 0, times.size - 1)


def _z(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2f}"


def _key(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _times(document: Mapping[str, Any]) -> I8:
    return np.asarray(document["equity"]["timestamp"], np.int64)


def _column(values: Sequence[float | None]) -> F8:
    """Return a column of a document, what is null as NaN."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
