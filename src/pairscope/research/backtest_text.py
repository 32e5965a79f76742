"""A backtest's document as lines of plain text: the verdict first, then figures with their units, then trades."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from pairscope.research.closes import iso

__all__ = [
    "LEVELS",
    "METRICS",
    "TRADE_COLUMNS",
    "WIDTH",
    "backtest_lines",
    "believed_of",
    "figure",
    "figures",
    "label_of",
    "minute",
    "money_line",
    "rows_lines",
    "source_words",
    "split_of",
    "table_lines",
    "trade_cells",
    "two_columns",
    "verdict_lines",
    "written",
]

WIDTH: Final = 100
"""Columns that a terminal is taken to have."""

LEVELS: Final = MappingProxyType({"good": "GOOD", "weak": "WEAK", "bad": "BAD", "unknown": "NOT JUDGED"})
"""How a verdict's level is said."""

METRICS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "total_return": ("return", "share"),
        "annual_return": ("return a year", "share"),
        "sharpe": ("Sharpe, a year", "ratio"),
        "sortino": ("Sortino, a year", "ratio"),
        "max_drawdown": ("deepest drawdown", "share"),
        "calmar": ("Calmar", "ratio"),
        "trades": ("trades", "count"),
        "win_rate": ("trades won", "part"),
        "profit_factor": ("won over lost", "ratio"),
        "average_holding": ("average holding", "bars"),
        "turnover": ("turnover, of capital", "times"),
        "exposure": ("time in the market", "part"),
        "longest_drawdown": ("longest drawdown", "bars"),
        "tail_ratio": ("tail ratio", "ratio"),
        "probabilistic_sharpe": ("chance that Sharpe > 0", "part"),
        "deflated_sharpe": ("chance after all trials", "part"),
        "trials": ("rules tried on this pair", "count"),
        "expected_best": ("Sharpe of the luckiest of so many", "ratio"),
        "null_pvalue": ("p-value against chance", "chance"),
        "nulls_run": ("random pairs tried", "count"),
        "null_score": ("score, to compare with them", "ratio"),
        "null_median": ("their median score", "ratio"),
        "edge_bps": ("edge a round trip", "bps"),
        "cost_bps": ("cost a round trip", "bps"),
        "funding_bps": ("funding a round trip", "bps"),
        "break_even_bps": ("break-even cost a fill", "bps"),
        "skipped": ("entries too small to make", "count"),
        "rehedges": ("re-hedges", "count"),
        "sharpe_stderr": ("Sharpe's standard error", "ratio"),
        "spread_pnl": ("spread", "money"),
        "fees": ("fees", "money"),
        "slippage": ("slippage", "money"),
        "funding": ("funding", "money"),
        "pnl": ("P&L", "money"),
        "pbo": ("probability of overfitting", "part"),
    }
)
"""What a figure is called and how it is written."""

TRADE_COLUMNS: Final = (
    "entry (UTC)", "exit (UTC)", "side", "z in", "z out", "beta", "P&L", "return", "bars", "reason",
)  # fmt: skip
"""The heads of a table of trades."""

_MONEY: Final = ("spread_pnl", "fees", "slippage", "funding")
_SPLIT: Final = frozenset({*_MONEY, "pnl"})
_UNSAID: Final = frozenset({"nulls_asked", "returns", "effective_returns"})


def written(kind: str, value: Any) -> str:
    """Return a figure as it is written; ``none`` where there is none.

    >>> [written(*it) for it in (("share", 0.0123), ("bps", 14.04), ("money", -1234.5), ("ratio", None))]
    ['+1.23 %', '14.0 bps', '-1,234.50', 'none']
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "none"
    if isinstance(value, (list, tuple)):
        return "/".join(written(kind, part) for part in value)
    if not isinstance(value, (int, float)):
        return str(value)
    value += 0.0  # no negative zero
    forms = {
        "share": f"{100 * value:+,.2f} %",
        "part": f"{100 * value:.1f} %",
        "chance": f"{value:.3f}",
        "bps": f"{value:,.1f} bps",
        "money": f"{value:,.2f}",
        "count": f"{value:,.0f}",
        "bars": f"{value:,.1f} bars" if value % 1 else f"{value:,.0f} bars",
        "times": f"{value:,.1f} ×",
        "ratio": f"{value:,.2f}",
    }
    return forms.get(kind, f"{value:,.5g}")


def label_of(name: str) -> str:
    """Return what a metric or a parameter is called, by its name in the document.

    >>> label_of("win_rate"), label_of("max_holding")
    ('trades won', 'max holding')
    """
    return METRICS[name][0] if name in METRICS else name.replace("_", " ").replace(".", " ")


def figure(name: str, value: Any) -> str:
    """Return a metric as it is written, by its name.

    >>> figure("win_rate", 0.5), figure("entry", 2.0), figure("pnl", 3.0)
    ('50.0 %', '2', '3.00')
    """
    return written(METRICS[name][1] if name in METRICS else "", value)


def backtest_lines(document: Mapping[str, Any], *, limit: int) -> list[str]:
    """Return a backtest as lines: the verdict, the figures, the P&L's parts, and the last ``limit`` trades (0: all)."""
    metrics = document["metrics"]
    lines = [*verdict_lines(document.get("verdict", {})), ""]
    lines += two_columns(list(figures(metrics)))
    believed = two_columns(list(figures(believed_of(document))))
    lines += ["", *(["can it be believed?", *believed, ""] if believed else []), money_line(document["pnl"]), ""]
    trades = document["trades"]
    if not trades:
        return [*lines, "no trade"]
    shown = trades[-limit:] if limit else trades
    lines.append(f"the last {len(shown):,} of {len(trades):,} trades" if len(shown) < len(trades) else "all trades")
    return [*lines, *_trade_lines(shown)]


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """Return the verdict: its level in capitals, its title, its sentences."""
    head = f"{LEVELS.get(verdict.get('level', ''), LEVELS['unknown'])}: {verdict.get('title', 'no verdict')}"
    body = [textwrap.wrap(sentence, WIDTH - 2) for sentence in verdict.get("sentences", [])]
    return [*textwrap.wrap(head, WIDTH), *(f"  {line}" for part in body for line in part)]


def rows_lines(rows: Sequence[Mapping[str, Any]], grid: Sequence[str]) -> list[str]:
    """Return rows of a sweep as a table, the parameters that vary first, then as many metrics as there is room for."""
    names = [*grid, "sharpe", "total_return", "max_drawdown", "trades", "win_rate", "pnl"]
    heads = [*(label_of(name) for name in grid), "Sharpe", "return", "drawdown", "trades", "won", "P&L"]
    shown = [(name, head) for name, head in zip(names, heads, strict=True) if not rows or name in rows[0]]
    while True:
        cells = [[figure(name, row[name]) for name, _ in shown] for row in rows]
        lines = table_lines([head for _, head in shown], cells)
        if len(shown) <= len(grid) + 1 or max(map(len, lines)) <= WIDTH:
            return lines
        del shown[-1]


def _trade_lines(trades: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return trades as a table; what is least missed goes where it would be too wide."""
    columns = [*zip(TRADE_COLUMNS, *map(trade_cells, trades), strict=True)]
    for name in (None, "bars", "beta", "z out"):
        columns = [column for column in columns if column[0] != name]
        heads, *rows = zip(*columns, strict=True)
        left = [i for i, head in enumerate(heads) if head in ("entry (UTC)", "exit (UTC)", "side", "reason")]
        lines = table_lines(heads, rows, left)
        if max(map(len, lines)) <= WIDTH:
            break
    return lines


def trade_cells(trade: Mapping[str, Any]) -> list[str]:
    """Return a trade as cells under ``TRADE_COLUMNS``."""
    held = trade["exit_bar"] - trade["entry_bar"] if "exit_bar" in trade else None
    return [
        minute(trade["entry_timestamp"]),
        minute(trade["exit_timestamp"]),
        str(trade["side"]),
        *("none" if trade[name] is None else f"{trade[name]:+.2f}" for name in ("entry_zscore", "exit_zscore")),
        written("", trade["beta"]),
        written("money", trade["pnl"]),
        written("share", trade["return"]),
        written("count", held),
        str(trade["reason"]).replace("_", " "),
    ]


def minute(timestamp_ms: int) -> str:
    """Return a time down to the minute, or to the second where it is not a whole one.

    >>> minute(1_748_964_660_000), minute(1_748_964_661_000)
    ('2025-06-03 15:31', '2025-06-03 15:31:01')
    """
    text = iso(timestamp_ms * 1_000_000).replace("T", " ")
    return text[:16] if timestamp_ms % 60_000 == 0 else text[:19]


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> list[str]:
    """Return a table as lines, columns at the right but for those of ``left``.

    >>> table_lines(["a", "b"], [["1", "x"], ["10", "y"]])
    [' a  b', ' 1  x', '10  y']
    """
    table = [list(heads), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    return [
        "  ".join(cell.ljust(widths[i]) if i in left else cell.rjust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in table
    ]


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def two_columns(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and figures in two columns, read down."""
    half = -(-len(pairs) // 2)
    sides = []
    for part in (pairs[:half], pairs[half:]):
        name_width = max((len(name) for name, _ in part), default=0)
        width = max((len(text) for _, text in part), default=0)
        sides.append([f"{name.ljust(name_width)}  {text.rjust(width)}" for name, text in part])
    left, right = sides
    width = max(map(len, left), default=0)
    return [f"{line.ljust(width)}    {right[i] if i < len(right) else ''}".rstrip() for i, line in enumerate(left)]


def money_line(pnl: Mapping[str, Any]) -> str:
    """Return the P&L as the sum that it is."""
    *parts, (_, total) = split_of(pnl)
    return f"P&L {written('money', total)} = " + "  ".join(f"{name} {written('money', value)}" for name, value in parts)


def source_words(source: str) -> str:
    """Return in words whose prices they are, so that nobody takes a made market for a real one.

    >>> source_words("live")
    'the live market, as recorded here'
    >>> source_words("synthetic-1f2e3d4c")
    'a synthetic market: made prices, at which nobody traded'
    """
    if source.startswith("synthetic"):
        return "a synthetic market: made prices, at which nobody traded"
    if source.startswith("replay"):
        return "a recording of the market, replayed"
    if source == "live":
        return "the live market, as recorded here"
    return f"the {source}" if source.startswith(("file ", "store ")) else f"source {source or 'unknown'}"


def figures(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and figures in the order in which they are read, standard errors beside their figures.

    >>> list(figures({"trades": 7, "sharpe": 1.5, "sharpe_stderr": 0.5, "fees": 3.0, "mood": 0.1, "why": "so"}))
    [('Sharpe, a year', '1.50 ± 0.50'), ('trades', '7'), ('mood', '0.1')]
    """
    errors = {name: name.removesuffix("_bps") + "_stderr" + "_bps" * name.endswith("_bps") for name in told}
    hidden = {*_SPLIT, *_UNSAID, *errors.values()}
    for name in [*(name for name in METRICS if name in told), *(name for name in told if name not in METRICS)]:
        value = told[name]
        if name in hidden or not (value is None or _plain(value)):
            continue
        text, error = figure(name, value), told.get(errors[name])
        yield label_of(name), text if error is None or value is None else f"{text} ± {figure(name, error).lstrip('+')}"


def believed_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a document's ``honesty`` what its metrics do not say."""
    honesty, metrics = document.get("honesty", {}), document["metrics"]
    return {name: value for name, value in honesty.items() if name not in metrics}


def split_of(pnl: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the parts of the P&L, what was paid with its sign, then their sum.

    >>> split_of({"spread_pnl": 5.0, "fees": 2.0, "pnl": 3.0})
    [('spread', 5.0), ('fees', -2.0), ('P&L', 3.0)]
    """
    parts = [(label_of(name), pnl[name] if name == "spread_pnl" else -pnl[name]) for name in _MONEY if name in pnl]
    return [*parts, (label_of("pnl"), pnl["pnl"])]
