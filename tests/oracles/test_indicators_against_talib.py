"""Chart indicators against TA-Lib, on real minutes and on random walks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib
from numpy.lib.stride_tricks import sliding_window_view

from pairscope.analytics.indicators import indicators
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols

MINUTES = Path(__file__).resolve().parents[2] / "../shared/data/bars/um_1m_2025-05.parquet"


def batch_of(o: Any, h: Any, l: Any, c: Any, v: Any, start_ns: int = 1_700_006_400_000_000_000) -> BarBatch:  # noqa: E741
    n = len(c)
    none, time = np.full(n, -1), start_ns + np.arange(n) * 60_000_000_000
    return BarBatch(
        Symbols(["BTCUSDT"]), "1m", np.zeros(n, np.int32), time, o, h, l, c, v, v * c, v / 2, np.ones(n, np.int64),
        none, none, np.zeros(n, np.int32), np.zeros(n, np.int8),
    )  # fmt: skip


@pytest.fixture(params=["walk", "tiny", "real"])
def bars(request: pytest.FixtureRequest) -> BarBatch:
    if request.param == "real":
        if not MINUTES.is_file():
            pytest.skip(reason="no recorded bars beside the repository: ../shared/data/bars")
        frame = pd.read_parquet(MINUTES, filters=[("symbol", "==", "BTCUSDT")]).head(5000)
        return batch_of(*(frame[name].to_numpy(float) for name in ("open", "high", "low", "close", "volume")))
    rng = np.random.default_rng(7)
    close = (1e-5 if request.param == "tiny" else 100.0) * np.exp(np.cumsum(rng.standard_normal(3000) * 0.01))
    before = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(before, close) * (1 + rng.random(3000) * 0.01)
    low = np.minimum(before, close) * (1 - rng.random(3000) * 0.01)
    return batch_of(before, high, low, close, rng.random(3000))


@pytest.mark.parametrize("period", [2, 3, 20, 200])
def test_single_line_indicators_equal_talib_s(bars: BarBatch, period: int) -> None:
    ours = indicators(bars, [f"sma:{period}", f"ema:{period}", f"rsi:{period}", f"atr:{period}"])
    theirs = {
        "sma": talib.SMA(bars.close, period),
        "ema": talib.EMA(bars.close, period),
        "rsi": talib.RSI(bars.close, period),
        "atr": talib.ATR(bars.high, bars.low, bars.close, period),
    }
    for name, truth in theirs.items():
        np.testing.assert_allclose(ours[f"{name}:{period}"], truth, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("period", [5, 20])
@pytest.mark.parametrize("deviations", [1, 2.5])
def test_bollinger_bands_equal_talib_s_and_those_worked_out_window_by_window(
    bars: BarBatch, period: int, deviations: float
) -> None:
    name = f"bb:{period}:{deviations:g}"
    ours = indicators(bars, [name])
    windows = sliding_window_view(bars.close - bars.close[0], period)
    warm = np.full(period - 1, np.nan)
    width = deviations * np.concatenate([warm, windows.std(axis=1)])
    middle = np.concatenate([warm, windows.mean(axis=1)]) + bars.close[0]
    np.testing.assert_allclose(ours[f"{name}.middle"], middle, rtol=1e-10)
    np.testing.assert_allclose(ours[f"{name}.upper"], middle + width, rtol=1e-9)
    np.testing.assert_allclose(ours[f"{name}.lower"], middle - width, rtol=1e-9)
    upper, _, lower = talib.BBANDS(bars.close, period, deviations, deviations)
    np.testing.assert_allclose(ours[f"{name}.upper"], upper, rtol=1e-9)
    np.testing.assert_allclose(ours[f"{name}.lower"], lower, rtol=1e-9)


@pytest.mark.parametrize("periods", [(12, 26, 9), (3, 10, 4)])
def test_macd_equals_talib_s(bars: BarBatch, periods: tuple[int, int, int]) -> None:
    name = "macd:" + ":".join(map(str, periods))
    ours = indicators(bars, [name])
    for suffix, truth in zip(("macd", "signal", "histogram"), talib.MACD(bars.close, *periods), strict=True):
        np.testing.assert_allclose(ours[f"{name}.{suffix}"], truth, rtol=1e-8, atol=1e-10 * bars.close[0])
