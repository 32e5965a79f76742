"""Test every pair of the market, and see how many "discoveries" chance alone would have made.

    python examples/02_screen_the_market.py [http://127.0.0.1:8000]

With an instance its whole market is screened; without one, a market of random walks with one true pair in it.
"""

from __future__ import annotations

import sys

import numpy as np

from pairscope import Client, screen_pairs
from pairscope.errors import ApiUnreachable

try:
    with Client(*sys.argv[1:], timeout=120, patience_s=120) as api:
        table = api.screen("1m", 1200, fdr=0.05)
        about = table.attrs
        print(f"{about['universe']} symbols, {about['tests']} tests, {about['discoveries']} discoveries")
        print(table[["y", "x", "qvalue", "half_life", "zscore", "discovery"]].head(5).round(4).to_string(index=False))
        for symbol, reason in list(about["excluded"].items())[:3]:
            print(f"left out: {symbol}, {reason}")
except ApiUnreachable as error:
    print(f"{error}; a made market instead")

# The same screen is a function of a matrix of prices, a row a bar and a column a symbol.
random = np.random.default_rng(7)
walks = np.cumsum(random.normal(0, 0.001, (1200, 12)), axis=0)
symbols = [f"WALK{i}" for i in range(12)]
noise = screen_pairs(100 * np.exp(walks), symbols)
hits, found = ((noise[name] < 0.05).sum() for name in ("pvalue", "qvalue"))
print(f"12 random walks, {len(noise)} tests: p < 0.05 calls {hits} of them pairs, q < 0.05 calls {found}")

# Make the last walk follow the first one: now there is something to find.
stray = np.zeros(1200)
for t in range(1, 1200):
    stray[t] = 0.9 * stray[t - 1] + random.normal(0, 0.001)
walks[:, 11] = 0.8 * walks[:, 0] + stray
best = min(screen_pairs(100 * np.exp(walks), symbols), key=lambda row: row.qvalue)
print(f"one planted pair: {best.y} on {best.x}, q = {best.qvalue:.1e}, beta = {best.beta:.2f}")
