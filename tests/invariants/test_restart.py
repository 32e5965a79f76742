"""An engine that was restored from what a store holds equals one that never stopped, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.market.bars import TIMEFRAMES, BarBatch, Origin, bars_of, concat_bars
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

MINUTE = TIMEFRAMES["1m"]
NAMES = ("BTCUSDT", "THINUSDT", "币安人生USDT")


class Shelf:
    """A store in a few lines: ticks as they came, base bars as they closed, were corrected or were rebuilt."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.ticks: list[TickBatch] = []
        self.bars: dict[tuple[str, int, int], BarBatch] = {}

    def put(self, bars: BarBatch) -> None:
        for i in range(len(bars)):
            key = (bars.timeframe, int(bars.symbol_id[i]), int(bars.ts_open_ns[i]))
            self.bars[key] = bars.take(slice(i, i + 1))

    def append(self, batch: TickBatch, updates: Updates) -> list[BarBatch]:
        """Store a batch; return the bars that were rebuilt for it."""
        self.ticks.append(batch)
        for bars in (*updates.closed, *updates.revised):
            if bars.timeframe in {"1s", "1m"}:
                self.put(bars)
        rebuilt = []
        for symbol, start_ns, end_ns in updates.rebuild:
            own = concat_ticks(self.ticks).of_symbol(symbol)
            first_minute = int(own.ts_event_ns.min()) // MINUTE
            own = own.take((own.ts_event_ns >= start_ns) & (own.ts_event_ns < end_ns))
            for bars in (bars_of(own, "1s"), bars_of(own, "1m")):
                covered = (bars.timeframe == "1s") | (bars.ts_open_ns // MINUTE > first_minute)
                rebuilt.append(self.put_rebuilt(bars, covered))
        return rebuilt

    def put_rebuilt(self, bars: BarBatch, covered: NDArray[np.bool_]) -> BarBatch:
        """Store bars where they are news: of more ticks than there were, or in place of the exchange's."""
        news = np.zeros(len(bars), np.bool_)
        for i in range(len(bars)):
            old = self.bars.get((bars.timeframe, int(bars.symbol_id[i]), int(bars.ts_open_ns[i])))
            foreign = old is not None and old.origin[0] != Origin.OWN
            news[i] = old is None or (covered[i] if foreign else bars.trades[i] > old.trades[0])
            bars.revision[i] = 1 if old is None else old.revision[0] + 1
        self.put(bars.take(news))
        return bars.take(news)

    def base(self, timeframe: str) -> BarBatch:
        held = [bars for key, bars in sorted(self.bars.items(), key=lambda item: item[0]) if key[0] == timeframe]
        return concat_bars([BarBatch.empty(self.symbols, timeframe), *held])

    def restore(self, watermark_ns: int, windows: tuple[int, ...]) -> DataProcessor:
        engine = DataProcessor(self.symbols, windows=windows)
        ticks = concat_ticks(self.ticks)
        ticks = ticks.take(np.lexsort((ticks.trade_id, ticks.ts_event_ns)))
        newest = [ticks.of_symbol(name).take(slice(-1, None)) for name in self.symbols]
        since = ticks.take(ticks.ts_event_ns >= watermark_ns // MINUTE * MINUTE)
        traded = (ticks.of_symbol(name) for name in self.symbols)
        first = {own.symbols[int(own.symbol_id[0])]: int(own.ts_event_ns.min()) for own in traded if len(own)}
        halves = [since.take(slice(None, len(since) // 2)), since.take(slice(len(since) // 2, None))]
        engine.restore(
            self.base("1m"),
            self.base("1s"),
            halves,
            watermark_ns=watermark_ns,
            first_own_ns=first,
            last_ticks=newest,
        )
        return engine


def history(symbols: Symbols, until_ns: int, minutes: int) -> BarBatch:
    """The exchange's bars of every symbol up to a time."""
    n = minutes * len(symbols)
    close = 60_000 + np.random.default_rng(n).standard_normal(n).round(2)
    size = np.full(n, 1.5)
    return BarBatch(
        symbols,
        "1m",
        symbol_id=np.repeat(np.arange(len(symbols), dtype=np.int32), minutes),
        ts_open_ns=np.tile(until_ns // MINUTE * MINUTE - MINUTE * np.arange(minutes, 0, -1), len(symbols)),
        open=close,
        high=close + 3,
        low=close - 3,
        close=close + 1,
        volume=size,
        quote_volume=(close * 1.5).round(3),
        buy_volume=size / 2,
        trades=np.full(n, 9),
        first_id=np.full(n, -1),
        last_id=np.full(n, -1),
        revision=np.zeros(n, np.int32),
        origin=np.full(n, Origin.EXCHANGE, np.int8),
    )


@settings(max_examples=20, phases=[Phase.generate])
@given(
    seed=st.integers(0, 2**32), where=st.floats(0.02, 0.98), span_s=st.sampled_from([40, 900, 9000]), late=st.booleans()
)
def test_a_restored_engine_goes_on_as_if_it_had_never_stopped(
    market_rows: Any,
    ticks_of: Callable[..., TickBatch],
    in_batches: Any,
    assert_same_updates: Callable[[Updates, Updates], None],
    assert_same_state: Callable[[DataProcessor, DataProcessor], None],
    seed: int,
    where: float,
    span_s: int,
    late: bool,
) -> None:
    rng, windows = np.random.default_rng(seed), (3, 40)
    ticks = ticks_of(market_rows(seed=seed, trades=700, span_s=span_s, names=NAMES))
    thin = (ticks.symbol_id != ticks.symbols.find("THINUSDT")) | (rng.random(len(ticks)) < 0.05)
    ticks = ticks.take(thin)
    if late:
        delay = np.where(rng.random(len(ticks)) < 0.1, rng.integers(0, span_s * 500_000_000, len(ticks)), 0)
        ticks = ticks.take(np.argsort(ticks.ts_event_ns + delay, kind="stable"))
    batches = in_batches(ticks, rng.integers(1, 40, 60))
    cut = max(1, int(where * len(batches)))
    lasting, shelf = DataProcessor(ticks.symbols, windows=windows), Shelf(ticks.symbols)
    for i, batch in enumerate(batches[:cut]):
        updates = lasting.on_batch(batch)
        for rebuilt in shelf.append(batch, updates):
            lasting.adopt_bars(rebuilt)
        if i == 0:
            past = history(ticks.symbols, int(ticks.ts_event_ns.min()), 100)
            assert lasting.adopt_history(past) == len(past)
            shelf.put(past)
            lasting.on_batch(TickBatch.empty(ticks.symbols, 0))
    if lasting.watermark_ns() // MINUTE > 0:
        lasting.on_batch(TickBatch.empty(ticks.symbols, 0))
    restored = shelf.restore(lasting.watermark_ns(), windows)
    assert_same_state(lasting, restored)
    for batch in batches[cut:]:
        assert_same_updates(lasting.on_batch(batch), restored.on_batch(batch))
    assert_same_state(lasting, restored)


def test_a_restored_engine_knows_the_price_of_a_symbol_that_has_not_traded_for_hours(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    symbols = Symbols(["THINUSDT", "BTCUSDT"])
    thin = ticks_of([("THINUSDT", 7, noon_ns, "0.00001234", "1000", True)], symbols=symbols)
    busy = ticks_of([("BTCUSDT", 9, noon_ns + 200 * MINUTE, "60000.1", "0.001", True)], symbols=symbols)
    lasting, shelf = DataProcessor(symbols), Shelf(symbols)
    for batch in (thin, busy.with_watermark(noon_ns + 200 * MINUTE)):
        shelf.append(batch, lasting.on_batch(batch))
    view = shelf.restore(lasting.watermark_ns(), (20,)).price("THINUSDT")
    assert view == lasting.price("THINUSDT")
    assert view is not None
    assert (view["price"], view["size"], view["timestamp"]) == (0.00001234, 1000.0, noon_ns // 1_000_000)


def test_without_its_newest_tick_a_silent_symbol_s_price_is_its_last_close(noon_ns: int) -> None:
    symbols = Symbols(NAMES)
    engine, past = DataProcessor(symbols), history(Symbols(NAMES), noon_ns, 5)
    nothing = BarBatch.empty(symbols, "1s")
    engine.restore(past, nothing, [], watermark_ns=noon_ns + MINUTE, first_own_ns={})
    view = engine.price("THINUSDT")
    assert view is not None
    assert view["price"] == pytest.approx(past.of_symbol("THINUSDT").close[-1])
    assert (view["size"], view["timestamp"]) == (None, noon_ns // 1_000_000)
