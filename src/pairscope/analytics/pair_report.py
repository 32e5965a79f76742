"""All that is said of one pair: hedge ratios with their uncertainty, the spread, correlation, tests, the sentinel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pairscope.analytics.correlation import correlation_matrix, hayashi_yoshida, lead_lag
from pairscope.analytics.hedge_report import hedge_parts
from pairscope.analytics.kalman import kalman_hedge
from pairscope.analytics.pair_recursions import AnchoredKalman, anchored_kalman, anchored_sentinel
from pairscope.analytics.pair_series import HedgeSeries, hedge_series, huber_series, least_bars, pair_columns
from pairscope.analytics.pair_window import checked_pair, correlation_window, spread_windows, zscore_window
from pairscope.analytics.report_parts import Parts, Report
from pairscope.analytics.reversion_report import reversion_parts, stationarity_parts
from pairscope.analytics.statistical_tests import engle_granger, johansen
from pairscope.errors import DegenerateSeries, NotEnoughData
from pairscope.market.anchors import even_slots, offset_of
from pairscope.market.bars import timeframe_ns
from pairscope.market.pairs import PairSettings, Recursion
from pairscope.market.ticks import F8, I8, TickBatch

__all__ = ["RawTrades", "pair_report", "pair_rows"]

_MOST_LAG: Final = 10
_APART_NS: Final = 500_000_000
"""How far apart ticks must lie to be used: sooner, the bid-ask bounce and the time a leg takes to follow weigh in."""
_LEVELS: Final = ("10%", "5%", "1%")
_TEST: Final = ("statistic", "pvalue", "lags", "critical_values")
_ADF_NOTE: Final = (
    "the hedge ratio was fitted so as to make this spread small: its p-value is too low, that of Engle-Granger is not"
)


@dataclass(frozen=True, slots=True, eq=False)
class RawTrades:
    """The trades of both legs over one recent stretch of time, for the correlation that needs no bars."""

    y: TickBatch
    x: TickBatch


def pair_rows(prices_y: F8, prices_x: F8, price_space: str) -> tuple[F8, F8]:
    """Return both legs as a pair is computed on them: logs of the prices, or with ``linear`` the prices. O(n).

    NaN, infinities, prices that are not positive, constant legs, unequal lengths and fewer than 3 rows raise
    ``ValueError`` naming the leg.

    >>> [leg.round(3).tolist() for leg in pair_rows(np.array([1.0, np.e, 1.0]), np.array([1.0, 2.0, 4.0]), "log")]
    [[0.0, 1.0, 0.0], [0.0, 0.693, 1.386]]
    """
    for name, prices in (("y", prices_y), ("x", prices_x)):
        if prices.size and not prices.min() > 0.0:
            raise DegenerateSeries(f"{name}: has prices that are not positive", loc=name)
    if price_space == "log":
        prices_y, prices_x = np.log(prices_y), np.log(prices_x)
    return checked_pair(prices_y, prices_x)


def pair_report(
    y: F8,
    x: F8,
    settings: PairSettings,
    *,
    slots: I8 | None = None,
    recursion: Recursion = "lookback",
    series: bool = False,
    trades: RawTrades | None = None,
) -> Report:
    r"""Return everything that the closed bars of two legs say of the pair.

    ``y`` and ``x`` are the rows of ``pair_rows``, oldest first, up to twice ``settings.lookback`` of them, three times
    where recursions are live: what is said, is said of the newest ``lookback``; those before give each bar of the
    series a lookback of its own. ``spread`` stands under the hedge ratio of ``settings.method``, over the last
    ``settings.window`` rows for mean, deviation and z-score and over the whole lookback for the tests.

    ``slots`` are the rows' open times over the timeframe; where they are left out the rows have no holes. The sentinel
    begins where the live pair's does (``anchored_sentinel``), with ``recursion="live"`` the Kalman filter too
    (``anchored_kalman``); else the filter begins with the lookback.

    With ``series`` a column a figure, a row a bar of the lookback, each value known at its bar; ``spread_now`` alone is
    the newest hedge ratio's, hindsight. The last row has the bits of the document. What has no answer is None, with
    its reason; NaN, a constant leg, unequal lengths and fewer than 3 rows raise ``ValueError`` naming the leg.
    O(lookback) and what the tests cost; with ``series`` O(lookback²).

    >>> steps = np.random.default_rng(1).standard_normal((2, 400)) / 100
    >>> x = 5.0 + np.cumsum(steps[0])
    >>> report = pair_report(1.0 + 0.5 * x + steps[1] / 10, x, PairSettings("AUSDT", "BUSDT", lookback=200))
    >>> report.document["n"], round(report.document["hedge_ratio"]["ols"]["beta"], 2)
    (200, 0.5)
    >>> report.document["cointegration"]["engle_granger"]["y_on_x"]["cointegrated"]
    True
    """
    rows = checked_pair(y, x)
    offset = offset_of(settings.key, settings.lookback)
    at = even_slots(rows[0].size, settings.lookback, offset) if slots is None else slots
    every = rows[0][-2 * settings.lookback :], rows[1][-2 * settings.lookback :]
    n = min(settings.lookback, every[0].size)
    legs = every[0][-n:], every[1][-n:]
    checked_pair(*legs)
    parts = Parts()
    kalman = parts.result("hedge_ratio.kalman", lambda: _filtered(rows, at, n, settings, recursion))
    step_ms = timeframe_ns(settings.timeframe) // 1_000_000
    ratios = hedge_parts(parts, legs, kalman, settings, step_ms)
    chosen = ratios[settings.method]
    document: dict[str, Any] = {
        "n": n,
        "hedge_ratio": ratios,
        "spread": _spread(parts, every, legs, chosen, settings),
        "correlation": _correlation(parts, every, legs, settings.window, trades),
    }
    residual = np.zeros(0) if chosen["beta"] is None else legs[0] - (chosen["alpha"] + chosen["beta"] * legs[1])
    document |= stationarity_parts(parts, residual)
    document["adf"]["note"] = _ADF_NOTE
    document["cointegration"] = _cointegration(parts, legs)
    document["sentinel"] = _sentinel(parts, rows, at, settings.lookback, offset, step_ms)
    columns = _columns(parts, every, n, kalman, chosen, settings) if series else {}
    return Report(document, parts.reasons, columns)


def _filtered(rows: tuple[F8, F8], slots: I8, n: int, settings: PairSettings, recursion: Recursion) -> AnchoredKalman:
    """Return what the Kalman filter says at each of the newest ``n`` rows."""
    if recursion == "live":
        lookback, least = settings.lookback, least_bars(settings.lookback, settings.window)
        offset = offset_of(settings.key, lookback)
        whole = anchored_kalman(*rows, slots, lookback=lookback, offset=offset, least=least)
        return AnchoredKalman(*(column[-n:] for column in whole))  # type: ignore[arg-type]
    found = kalman_hedge(rows[0][-n:], rows[1][-n:])
    readings = found.alphas, found.betas, found.stderrs, found.innovations, found.innovation_stds
    return AnchoredKalman(*readings, np.arange(1, n + 1), np.full(n, slots[-n]))


def _spread(
    parts: Parts, every: tuple[F8, F8], legs: tuple[F8, F8], chosen: Mapping[str, Any], settings: PairSettings
) -> dict[str, Any]:
    """Return the spread under one hedge ratio: its place in the window, and how it comes back over the lookback."""
    alpha, beta, n, window = chosen["alpha"], chosen["beta"], legs[0].size, settings.window
    said: dict[str, Any] = {"method": settings.method, "window": window}
    if beta is None:
        reason = f"there is no hedge ratio: {chosen['reason']}"
        parts.reasons |= {f"spread.{name}": reason for name in ("last", "mean", "std", "zscore", "half_life", "hurst")}
        return {**said, **dict.fromkeys(("last", "mean", "std", "zscore", "half_life", "hurst")), "reason": reason}
    found = zscore_window(*every, every[0].size, window, alpha, beta)
    said["last"] = parts.number("spread.last", lambda: legs[0][-1] - (alpha + beta * legs[1][-1]))
    short = f"needs {window} bars, has {every[0].size}"
    for name in ("mean", "std"):
        said[name] = parts.number(f"spread.{name}", lambda name=name: getattr(found, name), short)  # type: ignore[misc]
    still = short if every[0].size < window else f"the spread has not moved in the last {window} bars"
    said["zscore"] = parts.number("spread.zscore", lambda: found.zscore, still)
    return said | {"n": n} | reversion_parts(parts, "spread.", legs[0] - (alpha + beta * legs[1]))


def _correlation(
    parts: Parts, every: tuple[F8, F8], legs: tuple[F8, F8], window: int, trades: RawTrades | None
) -> dict[str, Any]:
    """Return how the legs' returns move together: over the lookback, lately, at which lag, and on raw trades."""
    changes = np.diff(legs[0]), np.diff(legs[1])
    still = "a leg has not moved"

    def matrix(kind: str) -> float:
        return float(correlation_matrix(np.column_stack(changes), kind=kind)[0, 1])  # type: ignore[arg-type]

    def leads() -> Mapping[str, Any]:
        most = max(1, min(_MOST_LAG, changes[0].size // 4))
        found = lead_lag(*changes, most)
        return {
            "lag": found.best_lag,
            "correlation": found.best,
            "lags": found.lags,
            "correlations": found.correlations,
            "band": found.band,
            "band_of_best": found.band_of_best,
        }

    def asynchronous() -> Mapping[str, Any]:
        if trades is None or not (len(trades.y) and len(trades.x)):
            raise NotEnoughData("trades:", need=3, have=0 if trades is None else min(len(trades.y), len(trades.x)))
        y, x = trades.y, trades.x
        logs = np.log(y.price), np.log(x.price)
        found = hayashi_yoshida(y.ts_event_ns, logs[0], x.ts_event_ns, logs[1], apart_ns=_APART_NS)
        return {
            "correlation": found.correlation,
            "covariance": found.covariance,
            "apart_ms": _APART_NS // 1_000_000,
            "n_y": found.moves_y,
            "n_x": found.moves_x,
        }

    n = every[0].size
    rolling = correlation_window(*every, n, window)
    short = f"needs {window + 1} bars, has {n}" if n <= window else still
    return {
        "pearson": parts.number("correlation.pearson", lambda: matrix("pearson"), still),
        "spearman": parts.number("correlation.spearman", lambda: matrix("spearman"), still),
        "rolling": parts.number("correlation.rolling", lambda: rolling, short),
        "window": window,
        "n": changes[0].size,
        "lead_lag": parts.group("correlation.lead_lag", ("lag", "correlation"), leads),
        "hayashi_yoshida": parts.group("correlation.hayashi_yoshida", ("correlation", "n_y", "n_x"), asynchronous),
    }


def _cointegration(parts: Parts, legs: tuple[F8, F8]) -> dict[str, Any]:
    """Return whether anything ties the legs together: Engle-Granger in both directions, Johansen."""

    def directed(left: F8, right: F8) -> Mapping[str, Any]:
        test = engle_granger(left, right)
        return {
            "statistic": test.statistic,
            "pvalue": test.pvalue,
            "lags": test.lags,
            "nobs": test.nobs,
            "critical_values": test.critical_values,
            "alpha": test.alpha,
            "beta": test.beta,
            "cointegrated": test.rejects(0.05),
            "null": test.null,
        }

    def together() -> Mapping[str, Any]:
        test = johansen(np.column_stack(legs))
        return {
            "trace": _ranked(test.trace, test.trace_critical_values),
            "max_eigenvalue": _ranked(test.max_eigenvalue, test.max_eigenvalue_critical_values),
            "eigenvalues": test.eigenvalues,
            "beta": -test.eigenvectors[1, 0] / test.eigenvectors[0, 0] if test.eigenvectors[0, 0] else None,
            "rank": test.rank(0.05),
            "lags": test.lags,
            "nobs": test.nobs,
            "null": "at most r relations, r = 0, 1 in turn",
        }

    path = "cointegration.engle_granger"
    return {
        "engle_granger": {
            "y_on_x": parts.group(f"{path}.y_on_x", _TEST, lambda: directed(*legs)),
            "x_on_y": parts.group(f"{path}.x_on_y", _TEST, lambda: directed(legs[1], legs[0])),
        },
        "johansen": parts.group("cointegration.johansen", ("trace", "max_eigenvalue", "rank"), together),
    }


def _sentinel(parts: Parts, rows: tuple[F8, F8], slots: I8, lookback: int, offset: int, step_ms: int) -> dict[str, Any]:
    """Return what the live pair's sentinel says of the same bars, and what it was trained on."""
    found = anchored_sentinel(*rows, slots, lookback=lookback, offset=offset)
    if "reason" in found.verdict:
        parts.reasons["sentinel"] = found.verdict["reason"]
    since, tripped = (None if slot is None else slot * step_ms for slot in (found.since, found.tripped))
    return {**found.verdict, "since": since, "tripped": tripped, "rate": 0.01, "train": found.train}


def _columns(
    parts: Parts,
    every: tuple[F8, F8],
    n: int,
    kalman: AnchoredKalman | None,
    chosen: Mapping[str, Any],
    settings: PairSettings,
) -> dict[str, F8]:
    """Return the series: a row a bar of the lookback, each value as it was known there."""
    total, lookback = every[0].size, min(settings.lookback, every[0].size)
    least = least_bars(lookback, settings.window)
    none = np.full(total, np.nan)
    ols = parts.result("series.beta_ols", lambda: hedge_series(*every, lookback, least=least, first=total - n))
    by_kalman = HedgeSeries(none.copy(), none.copy(), np.zeros(total, np.int64))
    if kalman is not None:
        by_kalman.alpha[-n:], by_kalman.beta[-n:] = kalman.alphas, kalman.betas
        by_kalman.n[-n:] = np.where(np.isfinite(kalman.betas), kalman.n, 0)
    columns: dict[str, F8] = {}
    ratio = by_kalman if settings.method == "kalman" else ols
    if settings.method == "huber":
        ratio = parts.result("series.beta_huber", lambda: huber_series(*every, lookback, least=least, first=total - n))
        columns["beta_huber"] = none if ratio is None else ratio.beta
        if ratio is not None and not np.isfinite(ratio.beta[-n]):
            known = int(np.isfinite(ratio.beta[-n:]).sum())
            parts.reasons["series.spread"] = f"a Huber fit a bar is computed for the newest bars only, here {known}"
    found = None
    if ratio is not None:
        found = parts.result(
            "series.spread",
            lambda: pair_columns(*every, lookback=lookback, window=settings.window, hedge=ratio),
        )
    for name in ("spread", "mean", "std", "zscore", "correlation", "n"):
        columns[name] = none if found is None else found[name]
    columns["alpha_ols"], columns["beta_ols"] = (none, none) if ols is None else (ols.alpha, ols.beta)
    columns["alpha_kalman"], columns["beta_kalman"] = by_kalman.alpha, by_kalman.beta
    stderr = none.copy()
    if kalman is not None:
        stderr[-n:] = kalman.stderrs
    columns["stderr_kalman"] = stderr
    now = None
    if chosen["beta"] is not None:
        now = parts.result(
            "series.spread_now",
            lambda: spread_windows(*every, settings.window, alpha=chosen["alpha"], beta=chosen["beta"]),
        )
    columns["spread_now"] = none if now is None else now.last
    columns["zscore_now"] = none if now is None else now.zscore
    return {name: column[-n:] for name, column in columns.items()}


def _ranked(statistics: F8, critical_values: F8) -> list[dict[str, Any]]:
    """Return a statistic with its critical values for each null, "at most r relations", r = 0, 1."""
    return [
        {"statistic": statistic, "critical_values": dict(zip(_LEVELS, row, strict=True))}
        for statistic, row in zip(statistics.tolist(), critical_values.tolist(), strict=True)
    ]
