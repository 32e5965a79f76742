"""What tests of the engine share: one trade at a time, the exchange's bars, all that closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.market.bars import BarBatch, Origin, concat_bars
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

SECOND, MINUTE, HOUR, DAY = 1_000_000_000, 60_000_000_000, 3_600_000_000_000, 86_400_000_000_000

Make = Callable[..., TickBatch]


def exchange_bars(symbols: Symbols, symbol: str, first_ns: int, closes: list[float], size: float = 10.0) -> BarBatch:
    """Bars as the exchange's klines give them."""
    n, close = len(closes), np.array(closes)
    return BarBatch(
        symbols,
        "1m",
        symbol_id=np.full(n, symbols.id_of(symbol), np.int32),
        ts_open_ns=first_ns + MINUTE * np.arange(n),
        open=close - 1,
        high=close + 2,
        low=close - 2,
        close=close,
        volume=np.full(n, size),
        quote_volume=close * size,
        buy_volume=np.full(n, size / 2),
        trades=np.full(n, 7),
        first_id=np.full(n, -1),
        last_id=np.full(n, -1),
        revision=np.zeros(n, np.int32),
        origin=np.full(n, Origin.EXCHANGE, np.int8),
    )


def play(engine: DataProcessor, batches: Iterable[TickBatch]) -> list[Updates]:
    return [engine.on_batch(batch) for batch in batches]


def closed(updates: Iterable[Updates], timeframe: str) -> BarBatch:
    """Every bar that closed, by (symbol, time)."""
    found = [bars for update in updates for bars in update.closed if bars.timeframe == timeframe]
    bars = concat_bars(found) if found else BarBatch.empty(Symbols(), timeframe)
    return bars.take(np.lexsort((bars.ts_open_ns, bars.symbol_id)))


def timeframes(batches: tuple[BarBatch, ...]) -> list[str]:
    return [bars.timeframe for bars in batches]


@pytest.fixture
def tick(ticks_of: Make, noon_ns: int) -> Callable[..., TickBatch]:
    """One trade of BTCUSDT so many seconds after noon, with the watermark so many after it."""
    symbols = Symbols(["BTCUSDT"])

    def make(number: int, at_s: float, price: str = "100", size: str = "1", *, watermark_s: float = 0) -> TickBatch:
        row = ("BTCUSDT", number, noon_ns + round(at_s * SECOND), price, size, False)
        return ticks_of([row], symbols=symbols, watermark_ns=noon_ns + round(watermark_s * SECOND))

    make.symbols = symbols  # type: ignore[attr-defined]
    return make
