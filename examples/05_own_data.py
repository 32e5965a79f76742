"""Bring your own bars: look at how they are read, store them, and treat them as any pair.

    python examples/05_own_data.py [http://127.0.0.1:8000]

needs a running instance. What is stored is taken out again at the end.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from pairscope import Client
from pairscope.errors import InputError

# Two hundred hours of two symbols that belong together; yours come from a file: api.upload("bars.csv", …).
random, times = np.random.default_rng(11), pd.date_range("2024-03-01", periods=2400, freq="5min", tz="UTC")
common = np.cumsum(random.normal(0, 0.002, times.size))
stray = np.zeros(times.size)
for t in range(1, times.size):
    stray[t] = 0.95 * stray[t - 1] + random.normal(0, 0.001)
paths = {"OWNXUSDT": common, "OWNYUSDT": 1.2 * common + stray}
bars = []
for symbol, path in paths.items():
    close = np.round(100 * np.exp(path), 4)
    opened = np.concatenate([close[:1], close[:-1]])
    table = {"symbol": symbol, "timestamp": times, "open": opened, "high": np.maximum(opened, close)}
    bars.append(pd.DataFrame({**table, "low": np.minimum(opened, close), "close": close, "volume": 10.0}))
good = pd.concat(bars, ignore_index=True)

with Client(*sys.argv[1:], timeout=120) as api:
    # A typing error: nothing is stored, and every fault is named by row and column.
    bad = good.copy()
    bad.loc[41, "high"] = bad.loc[41, "low"] / 2
    try:
        api.upload(bad, timeframe="5m")
    except InputError as error:
        fault = (error.problem or {})["rejected"][0]
        print(f"refused: row {fault['row']}, column {fault['column']}: {fault['reason']}")

    print("preview:", api.upload(good, timeframe="5m", preview=True)["columns"])
    done = api.upload(good, timeframe="5m")
    print(f"stored {done['inserted']} bars of {', '.join(done['symbols'])}")

    # From here on they are symbols like others: charts, longer timeframes, pairs, screens, backtests.
    print(api.ohlc("OWNYUSDT", "1h", start=times[0], limit=2)[["open", "high", "low", "close"]].to_string())
    pair = api.pair("OWNYUSDT", "OWNXUSDT", "5m", lookback=2000, end=times[-1] + pd.Timedelta("5min"))
    print(f"beta {pair['hedge_ratio']['ols']['beta']:.2f}, half-life {pair['spread']['half_life']:.0f} bars")
    span = {"start": times[0], "end": times[-1], "hedge": {"method": "ols", "lookback": 500}, "window": 60}
    print(api.backtest("OWNYUSDT", "OWNXUSDT", "5m", **span, fee_bps=1).verdict)
    for symbol in paths:
        api.remove_upload(symbol)
