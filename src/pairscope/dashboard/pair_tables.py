"""What stands under the verdict: hedge ratios with their uncertainty, tests with their nulls, measures explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pairscope.dashboard.pair_verdict import TIMEFRAME_S, johansen_of
from pairscope.dashboard.pair_words import (
    MISSING,
    base_of,
    duration,
    level_of,
    number,
    number_at,
    p_value,
    part_of,
    reason_of,
)

__all__ = ["Row", "hedge_rows", "measure_rows", "test_rows"]

Row = Mapping[str, str]
"""Heading -> text."""

_METHODS: Final = {
    "ols": ("OLS", "least squares over the lookback"),
    "huber": ("Huber", "least squares that outliers bend less"),
    "kalman": ("Kalman", "follows a ratio that drifts"),
    "tls": ("Total least squares", "errors in both legs: the same either way round"),
    "theil_sen": ("Theil–Sen", "median of slopes: the hardest to fool"),
}
_LEVELS: Final = ("1%", "5%", "10%")


def hedge_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return a row a hedge ratio that was computed, with its 95 % interval and what it means in money or units."""
    y, x = (base_of(str(document.get(leg, ""))) for leg in ("y", "x"))
    logs = document.get("price_space", "log") == "log"
    rows: list[Row] = []
    for method, (name, meaning) in _METHODS.items():
        found = part_of(document, "hedge_ratio", method)
        if found is None:
            continue
        beta = number_at(found, "beta")
        reason = str(part_of(found, "reason") or reason_of(document, f"hedge_ratio.{method}"))
        trade = f"{number(1000 * beta)} USDT of {x}" if beta is not None and logs else f"{number(beta)} {x}"
        rows.append(
            {
                "Method": name,
                "Hedge ratio (beta)": number(beta),
                "95 % interval": _interval(found, beta),
                "Alpha": number(number_at(found, "alpha")),
                f"Against {'1,000 USDT' if logs else '1'} of {y}": MISSING if beta is None else trade,
                "What it is": meaning if beta is not None else reason or MISSING,
            }
        )
    return rows


def _interval(found: Mapping[str, Any], beta: float | None) -> str:
    """Write a 95 % interval: the API's own where it gives one, else beta ± 1.96 standard errors."""
    given = part_of(found, "interval")
    ends = given if isinstance(given, list) and len(given) == 2 else [None, None]
    low, high = (number_at({"end": end}, "end") for end in ends)
    error = number_at(found, "stderr")
    if low is None and beta is not None and error is not None:
        low, high = beta - 1.96 * error, beta + 1.96 * error
    return f"{number(low)} to {number(high)}" if low is not None and high is not None else MISSING


def test_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return a row a test: its null hypothesis, its numbers, and what they say."""
    y, x = (base_of(str(document.get(leg, ""))) for leg in ("y", "x"))
    return [*_engle_granger(document, y, x), *_johansen(document), *_of_the_spread(document)]


def _engle_granger(document: Mapping[str, Any], y: str, x: str) -> Iterator[Row]:
    for way, (this, other) in {"y_on_x": (y, x), "x_on_y": (x, y)}.items():
        found = part_of(document, "cointegration", "engle_granger", way)
        level = level_of(number_at(found, "pvalue"))
        said = (
            f"rejects at {level:.0%}: what is left of {this} after {other} comes back"
            if level is not None
            else "does not reject: what is left may wander off"
        )
        yield _row(f"Engle-Granger, {this} on {other}", "no cointegration", found, said)


def _johansen(document: Mapping[str, Any]) -> Iterator[Row]:
    found = part_of(document, "cointegration", "johansen")
    for kind, name in (("trace", "Johansen, trace"), ("max_eigenvalue", "Johansen, max. eigenvalue")):
        statistic, values = johansen_of(document, kind)
        at_5 = number_at(values, "5%")
        finds = statistic is not None and at_5 is not None and statistic > at_5
        said = "above the 5 % value: one relation" if finds else "below the 5 % value: no relation found"
        part = {"statistic": statistic, "critical_values": values}
        part |= {name: part_of(found, name) for name in ("lags", "reason")}
        yield _row(name, "no relation between the two", part, said)


def _of_the_spread(document: Mapping[str, Any]) -> Iterator[Row]:
    found = document.get("adf")
    level = level_of(number_at(found, "pvalue"))
    said = (
        f"rejects at {level:.0%}: the spread comes back" if level else "does not reject: the spread may wander off"
    ) + ("; optimistic, as beta was fitted on the same bars")
    yield _row("ADF of the spread", "unit root: it never comes back", found, said)
    found = document.get("kpss")
    rejects = part_of(found, "stationary") is False
    said = "rejects at 5%: the mean wanders" if rejects else "does not reject: agrees with a steady mean"
    yield _row("KPSS of the spread", "stationary: it has a mean", found, said)


def _row(name: str, null: str, found: Any, said: str) -> Row:
    statistic = number_at(found, "statistic")
    reason = part_of(found, "reason")
    values = part_of(found, "critical_values")
    bounded = part_of(found, "is_bound") is True  # the published table of KPSS ends at 1 and 10 %
    bound = "" if not bounded else "≤ " if (number_at(found, "pvalue") or 0) < 0.05 else "≥ "
    lags = number_at(found, "lags")
    return {
        "Test": name,
        "Null hypothesis": null,
        "Statistic": MISSING if statistic is None else f"{statistic:.3f}",
        "p-value": bound + p_value(number_at(found, "pvalue")) if part_of(found, "pvalue") is not None else MISSING,
        "Lags": MISSING if lags is None else f"{lags:.0f}",
        "Critical 1 / 5 / 10 %": " / ".join(_two(number_at(values, level)) for level in _LEVELS),
        "What it says": said if statistic is not None else f"not computed{f': {reason}' if reason else ''}",
    }


def measure_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return half-life, Hurst exponent and variance ratio of the spread, each with its units and one line."""
    bar_s = TIMEFRAME_S.get(str(document.get("timeframe")), 60)
    return [*_times(document, bar_s), *_memory(document)]


def _times(document: Mapping[str, Any], bar_s: int) -> Iterator[Row]:
    path = ("spread", "half_life")
    bars = number_at(document, *path)
    low, high = (number_at(document, "spread", "half_life_interval", end) for end in ("low", "high"))
    about = "" if low is None else f"{number(low, 3)} to {'∞' if high is None else number(high, 3)} bars"
    yield {
        "Measure": "Half-life",
        "Value": MISSING if bars is None else f"{number(bars, 3)} bars = {_minutes(bars, bar_s)}",
        "95 % interval": about or MISSING,
        "What it says": "time after which half of a deviation is expected to be gone; hold for one or two of it"
        if bars is not None
        else _why(document, "spread.half_life", "a deviation is not expected to shrink"),
    }


def _memory(document: Mapping[str, Any]) -> Iterator[Row]:
    hurst = number_at(document, "spread", "hurst")
    yield {
        "Measure": "Hurst exponent",
        "Value": number(hurst, 3),
        "95 % interval": MISSING,
        "What it says": _why(document, "spread.hurst", "")
        if hurst is None
        else f"{'comes back' if hurst < 0.45 else 'trends' if hurst > 0.55 else 'near a random walk'}: "
        "0.5 is a random walk, below it moves are taken back, above it they go on",
    }
    found = part_of(document, "spread", "variance_ratio")
    ratio = number_at(found, "ratio")
    lags = part_of(found, "lags")
    over = f" over {lags[-1]} bars" if isinstance(lags, list) and lags else ""
    p = number_at(found, "pvalue")
    yield {
        "Measure": "Variance ratio",
        "Value": MISSING if ratio is None else f"{number(ratio, 3)}{over}",
        "95 % interval": MISSING if p is None else f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}",
        "What it says": str(part_of(found, "reason") or _why(document, "spread.variance_ratio", ""))
        if ratio is None
        else f"{_walk(ratio, p)}: 1 is a random walk, below it moves are taken back",
    }


def _walk(ratio: float, p: float | None) -> str:
    if level_of(p) is None:
        return "cannot be told from a random walk"
    return "reverts" if ratio < 1 else "trends"


def _minutes(bars: float, bar_s: int) -> str:
    """Write bars in minutes, in seconds where that is less, and in hours or days too where minutes are many."""
    minutes = bars * bar_s / 60
    if minutes < 2:
        return duration(bars, bar_s)
    long = f" ({duration(bars, bar_s)})" if minutes >= 120 else ""
    return f"{number(minutes, 3)} min{long}"


def _why(document: Mapping[str, Any], path: str, otherwise: str) -> str:
    why = reason_of(document, path) or otherwise
    return f"not computed: {why}" if why else "not computed"


def _two(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
