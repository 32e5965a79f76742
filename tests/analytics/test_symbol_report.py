"""The report of one symbol: moments as scipy has them, reasons where there are none, nothing for nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from tests.invariants.declaring import sample

from pairscope.analytics.symbol_report import REPORTED_INDICATORS, symbol_columns, symbol_report
from pairscope.errors import InputError, NotEnoughData


def test_the_moments_of_returns_are_those_of_scipy() -> None:
    bars = sample(400, 5).bars
    document = symbol_report(bars, lookback=300, window=50).document
    returns = np.diff(np.log(bars.close[-300:]))
    found = document["returns"]
    assert found["mean"] == pytest.approx(returns.mean(), rel=1e-9)
    assert found["std"] == pytest.approx(stats.tstd(returns), rel=1e-12)
    assert found["skew"] == pytest.approx(stats.skew(returns), rel=1e-9)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(returns), rel=1e-9)
    assert document["n"] == 300
    minutes = (bars.ts_open_ns[-1] - bars.ts_open_ns[-300]) / 60e9
    assert document["realized_volatility"] == pytest.approx(np.sqrt((returns**2).sum() * 525_600 / minutes), rel=1e-12)
    assert document["zscore"] == pytest.approx(stats.zscore(bars.close[-50:], ddof=1)[-1], rel=1e-9)
    rows = slice(-50, None)
    assert document["vwap"] == pytest.approx(np.average(bars.vwap[rows], weights=bars.volume[rows]), rel=1e-12)
    assert {name.split(".")[0] for name in document["indicators"]} == set(REPORTED_INDICATORS)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 30])
def test_a_short_history_gives_what_it_can_and_reasons_for_the_rest(n: int) -> None:
    report = symbol_report(sample(n, 1).bars, lookback=1440, window=60)
    json.dumps(report.document, allow_nan=False)
    assert report.document["last"] > 0
    assert report.document["mean"] is None
    assert report.reasons["mean"] == f"needs 60 bars, has {n}"
    assert report.document["adf"]["statistic"] is not None or report.document["adf"]["reason"]


def test_a_price_that_stands_still_has_a_level_and_no_more() -> None:
    bars = sample(100, 1).bars
    bars.close[:] = 7.0
    report = symbol_report(bars, lookback=100, window=20)
    json.dumps(report.document, allow_nan=False)
    assert (report.document["last"], report.document["std"], report.document["zscore"]) == (7.0, 0.0, None)
    assert report.document["returns"]["reason"] == "symbol: is constant"
    assert report.reasons["hurst"]


def test_no_bars_and_bad_closes_are_refused() -> None:
    bars = sample(10, 1).bars
    with pytest.raises(NotEnoughData, match="symbol"):
        symbol_report(bars.take(slice(0, 0)), lookback=10, window=5)
    for bad in (np.nan, np.inf, -1.0):
        close = np.array([1.0, bad, 2.0])
        with pytest.raises(InputError, match="close"):
            symbol_columns(close, np.ones(3), window=2, step_ns=60_000_000_000)
