"""Two days of the synthetic market in a real store and engine, and the next minutes played as they would come."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from tests.api.market import Market

from pairscope.engine.data_processor import DataProcessor
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.storage.duckdb_store import DuckDBStore

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "AVAXUSDT", "LINKUSDT", "LTCUSDT")
"""Among them two planted pairs: ETH on BTC, AVAX on SOL."""

LISTED = 12
"""The busiest of the market; all of the above are among them."""

MINUTES = 2880
TRADED_MINUTES = 3
MS = 1_000_000
MINUTE_MS = 60_000
END_MS = 1_767_312_000_000  # 2026-01-02T00:00:00Z: the first trade that is played comes then
BEGIN_MS = END_MS - MINUTES * MINUTE_MS
STEP_MS = 500


async def open_synthetic_market(folder: Path) -> Market:
    """Store two days of minutes as the exchange's, and play the last of them trade by trade."""
    source = SyntheticMarket(symbols=LISTED)
    symbols = Symbols(SYMBOLS)
    store = await DuckDBStore.open(folder / "market.duckdb", threads=1)
    market = Market({}, symbols, DataProcessor(symbols), store, folder, now_ns=END_MS * MS)
    for symbol in SYMBOLS:
        bars = minutes(source, symbols, symbol, BEGIN_MS, END_MS - TRADED_MINUTES * MINUTE_MS)
        await store.put_bars(bars)
        market.engine.adopt_history(bars)
    await play(market, source, END_MS - TRADED_MINUTES * MINUTE_MS, END_MS, step_ms=MINUTE_MS)
    return market


async def play(market: Market, source: SyntheticMarket, start_ms: int, end_ms: int, *, step_ms: int = STEP_MS) -> None:
    """Play trades as the pipeline takes them, a batch a step; others have their turn between two."""
    for at in range(start_ms, end_ms, step_ms):
        until = min(at + step_ms, end_ms)
        trades = source.trades(at * MS, until * MS, SYMBOLS)
        market.now_ns = until * MS
        await market.take(trades.ticks(source.listings, market.symbols, watermark_ns=(until - 300) * MS))
        await asyncio.sleep(0.02)


def minutes(source: SyntheticMarket, symbols: Symbols, symbol: str, start_ms: int, end_ms: int) -> BarBatch:
    """Return a symbol's minutes in which it traded."""
    found = source.klines(symbol, "1m", start_ms * MS, end_ms * MS)
    listing = source.listings[source.row(symbol)]
    price, size = 10.0**listing.price_decimals, 10.0**listing.size_decimals
    traded = found.trades > 0
    n = int(traded.sum())
    none = np.full(n, -1, np.int64)
    return BarBatch(
        symbols,
        "1m",
        np.full(n, symbols.id_of(symbol), np.int32),
        found.open_ms[traded] * MS,
        *(column[traded] / price for column in (found.open, found.high, found.low, found.close)),
        found.volume[traded] / size,
        found.quote[traded] / (price * size),
        found.buy_volume[traded] / size,
        np.zeros(n, np.int64),
        none,
        none.copy(),
        np.zeros(n, np.int32),
        np.full(n, int(Origin.EXCHANGE), np.int8),
    )
