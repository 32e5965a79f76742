"""Look at one pair: is it one, how far has it strayed, and how long does the way back usually take?

    python examples/01_first_pair.py [http://127.0.0.1:8000]

needs a running instance (`make run` starts one; without the exchange it plays a synthetic market).
"""

from __future__ import annotations

import sys

import numpy as np

import pairscope
from pairscope import Client

Y, X, BARS = "ETHUSDT", "BTCUSDT", 1200

with Client(*sys.argv[1:], timeout=60) as api:
    # Where are we? The source says whether this is the exchange, a recording or a made market.
    print(f"source: {api.health()['source']}; {Y} at {api.price(Y)['price']}, {X} at {api.price(X)['price']}")

    # Everything that the instance knows about a pair is one call.
    pair = api.pair(Y, X, "1m", lookback=BARS)
    hedge, spread = pair["hedge_ratio"]["ols"], pair["spread"]
    test = pair["cointegration"]["engle_granger"]["y_on_x"]
    print(f"sell {hedge['beta']:.3f} of {X} for each {Y} that you buy, in logs of prices")
    print(f"Engle-Granger p = {test['pvalue']:.4f}: {'a pair' if test['cointegrated'] else 'not shown to be a pair'}")
    print(f"z-score {spread['zscore']:+.2f}, half of a deviation is gone after {spread['half_life']:.0f} bars")

    # Bars are a table, so the same number can be had from the functions that the instance itself uses.
    closes = {symbol: api.ohlc(symbol, "1m", limit=BARS + 1).close.iloc[:-1] for symbol in (Y, X)}
    y, x = (np.log(closes[symbol].to_numpy()) for symbol in (Y, X))
    own = pairscope.engle_granger(y, x)
    print(f"the same by hand: p = {own.pvalue:.4f}, beta = {pairscope.ols_hedge(y, x).beta:.3f}")

    # And bar by bar, each value as it was known then: what a chart or a model is fed with.
    series = api.pair_series(Y, X, "1m", lookback=BARS)
    print(series[["spread", "zscore"]].tail(3).round(4).to_string())
