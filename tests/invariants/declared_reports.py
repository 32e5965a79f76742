"""No look-ahead: the declarations of the reports and of the series that they are the last row of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pairscope.analytics import pair_recursions, pair_report, pair_series, symbol_report

from .declaring import MINUTE, Declaration, PerBar, Whole

_REPORT = Whole("a report says what the bars it is given say now; its series are checked in pair_series")


def _anchored(y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    slots = np.arange(y.size) * 3 // 2  # every third slot has no bar
    return list(pair_recursions.anchored_kalman(y, x, slots, lookback=12, offset=5, least=4))


def _columns(columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return list(columns.values())


REPORTS: Mapping[str, Declaration] = {
    "pairscope.analytics.correlation_report.correlation_report": _REPORT,
    "pairscope.analytics.hedge_report.hedge_parts": _REPORT,
    "pairscope.analytics.pair_recursions.anchored_kalman": PerBar(lambda s: _anchored(s.y, s.x), 3),
    "pairscope.analytics.pair_recursions.anchored_sentinel": Whole(
        "says what the last row says; break_sentinel, which it runs, is checked bar by bar"
    ),
    "pairscope.analytics.pair_recursions.sentinel_verdict": Whole("names what a sentinel's state holds"),
    "pairscope.analytics.pair_recursions.why_untrained": Whole("words for an error"),
    "pairscope.analytics.pair_report.pair_report": _REPORT,
    "pairscope.analytics.pair_report.pair_rows": PerBar(lambda s: pair_report.pair_rows(s.y, s.x, "log"), 3),
    "pairscope.analytics.pair_series.hedge_series": PerBar(
        lambda s: list(pair_series.hedge_series(s.y, s.x, 12, least=5)), 5
    ),
    "pairscope.analytics.pair_series.huber_series": PerBar(
        lambda s: list(pair_series.huber_series(s.y, s.x, 12, least=5)), 5
    ),
    "pairscope.analytics.pair_series.least_bars": Whole("one number"),
    "pairscope.analytics.pair_series.pair_columns": PerBar(
        lambda s: _columns(pair_series.pair_columns(s.y, s.x, lookback=12, window=7)), 12
    ),
    "pairscope.analytics.reversion_report.reversion_parts": _REPORT,
    "pairscope.analytics.reversion_report.stationarity_parts": _REPORT,
    "pairscope.analytics.symbol_report.symbol_columns": PerBar(
        lambda s: _columns(symbol_report.symbol_columns(s.x, s.volume, window=7, step_ns=MINUTE)), 1
    ),
    "pairscope.analytics.symbol_report.symbol_report": _REPORT,
}
