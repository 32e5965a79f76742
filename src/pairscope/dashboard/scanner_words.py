"""What a screen says, in words and figures: how much was tested, what was found, what a reversion would leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pairscope.dashboard.pair_verdict import FEW_BARS, TIMEFRAME_S
from pairscope.dashboard.pair_words import base_of, number, number_at, p_value, when
from pairscope.dashboard.scanner_choice import ScanChoice

__all__ = [
    "EDGE_FORMULA",
    "Row",
    "account_of",
    "csv_of",
    "edge_of",
    "event_rows",
    "headline",
    "lacking",
    "left_out",
    "paying",
    "rows_of",
    "too_short",
]

Row = Mapping[str, Any]
"""A directed test, as the table has it."""

EDGE_FORMULA: Final = (
    "Edge = (|z| − exit) · σ − 2 · (1 + |beta|) · cost, in basis points of Y's value: the way back from here to the "
    "exit, less four fills, those of the hedge leg |beta| times as large."
)

_NAMED: Final = 3
_CONTROLS: Final[Mapping[str, str]] = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli"}
_CSV: Final = (
    "y", "x", "alpha", "beta", "statistic", "pvalue", "qvalue", "lags", "half_life", "zscore", "spread_std",
    "correlation", "discovery", "spread_bps", "cost_bps", "edge_bps",
)  # fmt: skip


def edge_of(pair: Row, cost_bps: float, exit: float) -> tuple[float | None, float | None]:  # noqa: A002
    """Return a round trip's cost, and what the way back from the present z-score to the exit leaves after it, in bps.

    The edge is below zero where the way back does not pay for the trade; None where a number is missing.

    >>> edge_of({"zscore": -3.0, "spread_std": 0.004, "beta": 1.0}, 6.0, 0.5)
    (24.0, 76.0)
    """
    z, std, beta = (number_at(pair, name) for name in ("zscore", "spread_std", "beta"))
    if z is None or std is None or beta is None:
        return None, None
    cost = 2.0 * (1.0 + abs(beta)) * cost_bps
    return cost, max(abs(z) - exit, 0.0) * std * 1e4 - cost


def rows_of(document: Mapping[str, Any], choice: ScanChoice) -> list[dict[str, Any]]:
    """Return the table's rows: the API's columns and ``discovery``, ``spread_bps``, ``cost_bps``, ``edge_bps``."""
    rows = []
    for pair in document.get("pairs", ()):
        q, std = number_at(pair, "qvalue"), number_at(pair, "spread_std")
        cost, edge = edge_of(pair, choice.cost_bps, choice.exit)
        found = pair.get("discovery", q is not None and q <= choice.fdr)
        added = {"discovery": bool(found), "cost_bps": cost, "edge_bps": edge}
        rows.append({**pair, **added, "spread_bps": None if std is None else std * 1e4})
    return rows


def headline(document: Mapping[str, Any], choice: ScanChoice) -> tuple[int, str]:
    """Return how many discoveries there are, and the screen in one sentence."""
    found = int(number_at(document, "discoveries") or 0)
    tests, universe = (int(number_at(document, name) or 0) for name in ("tests", "universe"))
    took = number_at(document, "elapsed_ms")
    parts = [
        f"{universe:,} symbols, {tests:,} tests at {choice.bars}: "
        f"{_count(found, 'discovery', 'discoveries')} at {_percent(choice.fdr)} false discovery rate",
        _short_of(document, choice),
        f"as of the bar of {when(number_at(document, 'as_of'), TIMEFRAME_S.get(choice.timeframe, 60))}",
        f"took {_took(took)}" if took is not None else "",
        left_out(document.get("excluded") or {}),
        lacking(document.get("gaps") or {}),
    ]
    return found, "; ".join(part for part in parts if part) + "."


def _short_of(document: Mapping[str, Any], choice: ScanChoice) -> str:
    """Say how many bars there are where they are fewer than asked for."""
    bars = number_at(document, "bars")
    return f"only {bars:,.0f} bars are there yet" if bars is not None and bars < choice.lookback else ""


def paying(rows: Sequence[Row]) -> str:
    """Say which of the discoveries are far enough from their mean now to pay for a trade, the best first.

    >>> paying([{"y": "AUSDT", "x": "BUSDT", "discovery": True, "zscore": -2.5, "edge_bps": 97.1}])
    'Far enough from its mean to pay for a round trip now: A on B (z −2.50, edge 97 bps).'
    """
    found = [row for row in rows if row.get("discovery")]
    if not found:
        return "The filters let none of them through."
    now = [row for row in found if (number_at(row, "edge_bps") or 0.0) > 0.0]
    if not now:
        return "None of those shown is far enough from its mean now to pay for a round trip."
    now.sort(key=lambda row: -float(row["edge_bps"]))
    told = ", ".join(
        f"{_named(row)} (z {row['zscore']:+.2f}, edge {row['edge_bps']:.0f} bps)".replace("z -", "z −")
        for row in now[:_NAMED]
    )
    more = f" and {len(now) - _NAMED:,} more" if len(now) > _NAMED else ""
    return (
        f"Far enough from {'its mean' if len(now) == 1 else 'their means'} to pay for a round trip now: {told}{more}."
    )


def too_short(document: Mapping[str, Any]) -> str:
    """Warn of a screen on so few bars that it says little; empty where they are enough."""
    bars = number_at(document, "bars")
    if bars is None or bars >= FEW_BARS:
        return ""
    return (
        f"{bars:,.0f} bars are few: with fewer than {FEW_BARS}, tests miss much of what is there, and what they find "
        "may not last. Look at shorter bars, or wait."
    )


def lacking(gaps: Mapping[str, Any]) -> str:
    """Say which symbols' bars lack trades; nothing where none do.

    >>> lacking({"bars": 3, "symbols": {"AUSDT": {"bars": 1}, "BUSDT": {"bars": 2}}})
    'trades are missing in bars of AUSDT, BUSDT: their tests may be wrong'
    """
    names = sorted(gaps.get("symbols") or {})
    if not names:
        return ""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"trades are missing in bars of {', '.join(names[:_NAMED])}{more}: their tests may be wrong"


def left_out(excluded: Mapping[str, str]) -> str:
    """Say how many symbols were left out, the first of them with the reason; empty where none was.

    >>> left_out({"AUSDT": "did not move", "BUSDT": "12 of 1440 bars missing"})
    '2 symbols left out: AUSDT (did not move), BUSDT (12 of 1440 bars missing)'
    """
    if not excluded:
        return ""
    names = sorted(excluded)
    told = ", ".join(f"{name} ({excluded[name]})" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{_count(len(names), 'symbol', 'symbols')} left out: {told}{more}"


def account_of(document: Mapping[str, Any], choice: ScanChoice) -> list[str]:
    """Say what was tested, against what, and how errors were counted: a paragraph a line."""
    universe, tests = (int(number_at(document, name) or 0) for name in ("universe", "tests"))
    family = str(document.get("family") or f"all {tests:,} tests of this screen").rstrip(".")
    control = _CONTROLS[choice.control]
    return [
        f"Every pair of {universe:,} symbols, each leg hedged by the other: {tests:,} Engle-Granger tests on the last "
        f"{choice.lookback:,} closed bars of {choice.timeframe}, on logarithms of closes, a constant, lags by AIC.",
        "Null hypothesis of each: no cointegration, that is, what is left of Y after its hedge may wander off for "
        "good. The p-value (MacKinnon) is how often a pair without a relation would look this good.",
        f"So many tests find something by luck alone: about {max(1, round(tests * 0.05)):,} of {tests:,} would have "
        f"p < 0.05 in a market without one true pair. The q-value ({control}) answers for it: of the rows with q up to "
        f"{_percent(choice.fdr)}, at most {_percent(choice.fdr)} are expected to be false. Family: {family}.",
        "The z-score is the spread's last value over its deviation σ, both over the whole lookback; "
        "the Pair view's is over its window of fewer bars. " + EDGE_FORMULA,
    ]


def event_rows(document: Mapping[str, Any], bar_s: int) -> list[dict[str, str]]:
    """Return a row a discovery that came or went, newest first."""
    rows = []
    for event in document.get("discoveries", ()):
        entered = event.get("event") == "entered"
        rows.append(
            {
                "When": when(number_at(event, "timestamp"), bar_s),
                "What": "▲ entered" if entered else "▽ left",
                "Pair": _named(event),
                "q-value": p_value(number_at(event, "qvalue")),
            }
        )
    return rows


def csv_of(rows: Sequence[Row]) -> str:
    """Return rows as CSV, by the API's names; nothing where nothing is known.

    >>> csv_of([{"y": "AUSDT", "x": "BUSDT", "qvalue": 0.01, "discovery": True}]).splitlines()[1]
    'AUSDT,BUSDT,,,,,0.01,,,,,,true,,,'
    """
    lines = [",".join(_written(row.get(name)) for name in _CSV) for row in rows]
    return "\r\n".join([",".join(_CSV), *lines, ""])


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return str(value)


def _named(pair: Row) -> str:
    return f"{base_of(str(pair.get('y', '')))} on {base_of(str(pair.get('x', '')))}"


def _percent(share: float) -> str:
    return f"{number(share * 100, 3)} %"


def _took(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 1 else "under 1 ms"


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
