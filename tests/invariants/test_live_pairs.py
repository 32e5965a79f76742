"""A live pair is a function of stored bars: however they came, and whenever one begins to listen, it says the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pairscope.analytics.pair_window import spread_windows
from pairscope.analytics.regression import huber_hedge, kalman_hedge, rolling_ols_hedge
from pairscope.analytics.sentinel import break_sentinel
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook
from pairscope.market.align import common_bars
from pairscope.market.bars import TIMEFRAMES, BarBatch, resample
from pairscope.market.pairs import PairSettings
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import Publisher
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.watchlist import Watchlist

from .test_restart import NAMES, Shelf, history

BTC, THIN, WIDE = NAMES
PAIRS = (
    PairSettings(WIDE, BTC, "1s", lookback=120, window=20),
    PairSettings(BTC, WIDE, "1s", lookback=70, window=9, method="kalman", price_space="linear"),
    PairSettings(THIN, BTC, "1s", lookback=90, window=3, method="huber"),
    PairSettings(BTC, THIN, "5s", lookback=40, window=40, method="ols", price_space="linear"),
    PairSettings(WIDE, THIN, "1m", lookback=60, window=4),
)


class Bars:
    """The part of a store that the watch-list reads, over a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool
    ) -> BarBatch:
        base = "1s" if TIMEFRAMES[timeframe] < TIMEFRAMES["1m"] else "1m"
        own = self.shelf.base(base).of_symbol(symbol)
        ended = self.watermark_ns // TIMEFRAMES[timeframe] * TIMEFRAMES[timeframe]
        bars = resample(own, timeframe)
        bars = bars.take((bars.ts_open_ns >= start_ns) & (bars.ts_open_ns < min(end_ns, ended)))
        return bars.take(slice(max(0, len(bars) - limit), None))

    watermark_ns = 0


class House:
    """Engine, pairs and what is stored, joined as the pipeline joins them."""

    def __init__(self, shelf: Shelf, engine: DataProcessor) -> None:
        self.shelf, self.engine = shelf, engine
        self.store = Bars(shelf)
        self.store.watermark_ns = engine.watermark_ns()
        self.book = PairBook(shelf.symbols, engine)
        bus = MemoryBus()
        self.publisher = Publisher(engine, MemoryCache(), bus, self.book)
        self.watchlist = Watchlist(self.book, store=self.store, records=None, bus=bus, live=engine)  # type: ignore[arg-type]

    async def watch(self, pairs: Iterable[PairSettings] = PAIRS) -> None:
        for pair in pairs:
            self.book.put(pair)
        await self.watchlist.catch_up()

    async def step(self, batch: TickBatch) -> None:
        updates = self.engine.on_batch(batch)
        self.book.take(updates)
        self.store.watermark_ns = updates.watermark_ns
        self.publisher.adopt(self.shelf.append(batch, updates))

    async def says(self, *, closed: bool) -> list[Mapping[str, Any] | None]:
        await self.watchlist.catch_up()
        return [self.book.view(pair.y, pair.x, closed=closed) for pair in PAIRS]


@pytest.fixture(scope="module")
def market(market_rows: Any, ticks_of: Callable[..., TickBatch]) -> Callable[..., TickBatch]:
    """A market of three symbols, one of them thin, and some ticks that come late."""

    def make(seed: int, *, late: bool) -> TickBatch:
        rng = np.random.default_rng(seed)
        ticks = ticks_of(market_rows(seed=seed, trades=3000, span_s=400, names=NAMES))
        ticks = ticks.take((ticks.symbol_id != ticks.symbols.find(THIN)) | (rng.random(len(ticks)) < 0.6))
        delay = np.where(rng.random(len(ticks)) < 0.02 * late, rng.integers(0, 40_000_000_000, len(ticks)), 0)
        return ticks.take(np.argsort(ticks.ts_event_ns + delay, kind="stable"))

    return make


@settings(max_examples=4, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32), late=st.booleans())
async def test_however_ticks_are_cut_into_batches_a_pair_says_the_same(
    market: Any, in_batches: Any, seed: int, late: bool
) -> None:
    rng = np.random.default_rng(seed)
    ticks = market(seed, late=late)
    houses = [House(Shelf(ticks.symbols), DataProcessor(ticks.symbols)) for _ in range(2)]
    one, other = houses
    await one.watch()
    await other.watch()
    batches = in_batches(ticks, rng.integers(20, 200, 60))[:-1]
    for batch in batches:
        before_ns = one.engine.watermark_ns()
        await one.step(batch)
        cut = int(rng.integers(0, len(batch) + 1))
        await other.step(batch.take(slice(0, cut)).with_watermark(before_ns))
        await other.step(batch.take(slice(cut, None)))
    for closed in (True, False):
        said = await one.says(closed=closed)
        assert said == await other.says(closed=closed)
    assert any(view is not None and view["spread"]["zscore"] is not None for view in said)


@settings(max_examples=5, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32), where=st.floats(0.1, 0.98), late=st.booleans())
async def test_a_pair_that_is_taken_up_after_a_restart_goes_on_as_if_it_had_never_stopped(
    market: Any, in_batches: Any, seed: int, where: float, late: bool
) -> None:
    rng = np.random.default_rng(seed)
    ticks = market(seed, late=late)
    batches = in_batches(ticks, rng.integers(5, 60, 60))[:-1]
    cut = max(1, int(where * len(batches)))
    lasting = House(Shelf(ticks.symbols), DataProcessor(ticks.symbols))
    await lasting.watch()
    for i, batch in enumerate(batches[:cut]):
        await lasting.step(batch)
        if i == 0:
            past = history(ticks.symbols, int(ticks.ts_event_ns.min()), 300)
            lasting.shelf.put(past)
            lasting.engine.adopt_history(past)
            lasting.watchlist.history_came(NAMES)
            await lasting.watchlist.catch_up()
    before = await lasting.says(closed=True)
    engine = lasting.shelf.restore(lasting.engine.watermark_ns(), (20,))
    restored = House(lasting.shelf, engine)
    await restored.watch()
    assert before == await restored.says(closed=True)
    shelf, restored.shelf = lasting.shelf, Shelf(ticks.symbols)
    restored.shelf.ticks, restored.shelf.bars = list(shelf.ticks), dict(shelf.bars)
    restored.store.shelf = restored.shelf
    for batch in batches[cut:]:
        await lasting.step(batch)
        await restored.step(batch)
    for closed in (True, False):
        assert await lasting.says(closed=closed) == await restored.says(closed=closed)


async def test_closed_values_are_those_of_the_batch_kernels_over_the_stored_bars(market: Any, in_batches: Any) -> None:
    ticks = market(7, late=True)
    house = House(Shelf(ticks.symbols), DataProcessor(ticks.symbols))
    await house.watch()
    for batch in in_batches(ticks, [41] * 500)[:-1]:
        await house.step(batch)
    for pair, view in zip(PAIRS[:4], await house.says(closed=True), strict=False):
        assert view is not None
        step = TIMEFRAMES[pair.timeframe]
        legs = [
            await house.store.bars(name, pair.timeframe, 0, 2**62, limit=10**6, newest=True)
            for name in (pair.y, pair.x)
        ]
        bars_y, bars_x = common_bars(*legs)
        times = bars_y.ts_open_ns // step
        assert view["timestamp"] == times[-1] * step // 1_000_000
        y, x = bars_y.close, bars_x.close
        if pair.price_space == "log":
            y, x = np.log(y), np.log(x)
        inside = times > times[-1] - 2 * pair.lookback
        n = min(int(inside.sum()), pair.lookback)
        assert view["n"] == n
        ratios = view["hedge_ratio"]
        ols = rolling_ols_hedge(y, x, n)
        assert (ratios["ols"]["alpha"], ratios["ols"]["beta"]) == (ols.alpha[-1], ols.beta[-1])
        assert (ratios["ols"]["stderr"], ratios["ols"]["r_squared"]) == (ols.stderr[-1], ols.r_squared[-1])
        robust = bars_y.ts_open_ns <= ratios["huber"]["timestamp"] * 1_000_000
        inside = times[robust] > times[robust][-1] - 2 * pair.lookback
        n = min(int(inside.sum()), pair.lookback)
        huber = huber_hedge(y[robust][-n:], x[robust][-n:])
        assert (ratios["huber"]["alpha"], ratios["huber"]["beta"]) == (huber.alpha, huber.beta)
        since = bars_y.ts_open_ns >= ratios["kalman"]["since"] * 1_000_000
        assert pair.lookback * 0.3 < since.sum() == ratios["kalman"]["n"] <= 2 * pair.lookback
        kalman = kalman_hedge(y[since], x[since])
        assert (ratios["kalman"]["alpha"], ratios["kalman"]["beta"]) == (kalman.alpha, kalman.beta)
        used = ratios[pair.method]
        spread = spread_windows(y, x, pair.window, alpha=used["alpha"], beta=used["beta"])
        assert view["spread"]["zscore"] == spread.zscore[-1]
        watched = view["sentinel"]
        if watched["threshold"] is not None:
            first = watched["since"] * 1_000_000 // step
            trained = (times >= first - pair.lookback) & (times < first)
            judged = times >= first - pair.lookback
            told = break_sentinel(y[judged], x[judged], train=int(trained.sum()))
            assert told.threshold[-1] == watched["threshold"]
            np.testing.assert_equal(
                told.statistic[-1], np.nan if watched["statistic"] is None else watched["statistic"]
            )
