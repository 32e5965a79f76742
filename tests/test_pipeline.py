"""The pipeline: engine, writer, cache and bus get a batch in this order, and only what is wanted is encoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import orjson
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook
from pairscope.market.bars import BarBatch, bars_of
from pairscope.market.continuity import Continuity
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import LiveJournal, Pipeline, Publisher, TickRate
from pairscope.storage.journal import read_journal
from pairscope.storage.memory_cache import MemoryBus, MemoryCache

START = 1_760_000_040_000_000_000
S = 1_000_000_000


def batch(symbols: Symbols, prices: Sequence[float], *, at_s: float, first_id: int, until_s: float | None = None):
    n = len(prices)
    ts = START + int(at_s * S) + np.arange(n, dtype=np.int64) * 1_000_000
    return TickBatch(
        symbols,
        np.zeros(n, np.int32),
        ts,
        ts + 5_000_000,
        np.arange(first_id, first_id + n, dtype=np.int64),
        np.array(prices, np.float64),
        np.ones(n),
        np.zeros(n, np.bool_),
        START + int((at_s if until_s is None else until_s) * S),
    )


class Journal:
    """Stands where the store's writer stands and keeps what it is given, with what the cache held at that moment."""

    def __init__(self, cache: MemoryCache) -> None:
        self.cache = cache
        self.taken: list[tuple[TickBatch, Sequence[BarBatch], bytes | None]] = []

    async def put(self, ticks, bars=(), rebuild=(), **_):
        self.taken.append((ticks, bars, await self.cache.get("price:BTCUSDT")))


class Full(Journal):
    """A writer that has no room, for ever."""

    def __init__(self, cache: MemoryCache) -> None:
        super().__init__(cache)
        self.asked = asyncio.Event()

    async def put(self, *_given, **_named):
        self.asked.set()
        await asyncio.Event().wait()


class Documents(dict):
    """Records, of one collection, beside a store that has everything."""

    async def put(self, _collection, key, document):
        self[key] = document

    async def scan(self, *_asked):
        for entry in sorted(self.items()):
            yield entry

    async def watermark_ns(self) -> int:
        return START + 60 * S


class Script:
    """A feed of given batches."""

    def __init__(self, batches: Sequence[TickBatch]) -> None:
        self._batches = batches

    async def batches(self) -> AsyncIterator[TickBatch]:
        for one in self._batches:
            yield one

    async def close(self) -> None:
        return


@pytest.fixture
def symbols():
    return Symbols(["BTCUSDT"])


@pytest.fixture
def house(symbols):
    engine, cache, bus = DataProcessor(symbols), MemoryCache(), MemoryBus()
    return engine, cache, bus, Journal(cache)


def pipeline(house, batches) -> Pipeline:
    engine, cache, bus, journal = house
    book = PairBook(engine.symbols_table, engine)
    return Pipeline(Script(batches), engine, journal, Publisher(engine, cache, bus, book), book, clock=lambda: START)


async def heard(subscription) -> list[tuple[str, int, Mapping]]:
    return [(m.topic, m.seq, orjson.loads(m.value)) for m in await subscription.next()]


async def test_the_writer_is_given_a_batch_before_the_cache_tells_of_it(house, symbols):
    await pipeline(house, [batch(symbols, [100.5], at_s=0, first_id=1)]).run()
    _, cache, _, journal = house
    assert journal.taken[0][2] is None
    assert orjson.loads(await cache.get("price:BTCUSDT"))["price"] == 100.5


async def test_the_value_is_in_the_cache_when_the_bus_tells_of_it(house, symbols):
    _, cache, bus, _ = house
    listener = bus.subscribe()
    listener.add(["price:BTCUSDT"])
    await pipeline(house, [batch(symbols, [100.5, 101.25], at_s=0, first_id=1)]).run()
    [(topic, seq, data)] = await heard(listener)
    assert (topic, seq, data["price"]) == ("price:BTCUSDT", 1, 101.25)
    assert orjson.loads(await cache.get(topic)) == data
    assert data["received"] == data["timestamp"] + 5


async def test_closed_base_bars_go_to_the_writer_and_longer_ones_do_not(house, symbols):
    await pipeline(
        house,
        [
            batch(symbols, [100.0, 103.0, 99.0, 101.0], at_s=0, first_id=1),
            batch(symbols, [102.0], at_s=310, first_id=5),
        ],
    ).run()
    stored = [bars for _, parts, _ in house[3].taken for bars in parts]
    assert {bars.timeframe for bars in stored} == {"1s", "1m"}
    minute = next(bars for bars in stored if bars.timeframe == "1m")
    assert (minute.open[0], minute.high[0], minute.low[0], minute.close[0]) == (100.0, 103.0, 99.0, 101.0)


async def test_who_listens_to_a_bar_hears_it_open_and_closed(house, symbols):
    bus = house[2]
    listener = bus.subscribe()
    listener.add(["bar:BTCUSDT:1s"])
    line = pipeline(house, [])
    await line.step(batch(symbols, [100.0], at_s=0, first_id=1))
    [(_, _, opened)] = await heard(listener)
    assert (opened["closed"], opened["close"]) == (False, 100.0)
    await line.step(batch(symbols, [], at_s=2, first_id=2))
    [(_, _, closed)] = await heard(listener)
    assert (closed["closed"], closed["revised"], closed["timestamp"]) == (True, False, opened["timestamp"])


async def test_a_late_tick_revises_the_bar_that_it_belongs_to(house, symbols):
    bus = house[2]
    line = pipeline(house, [])
    await line.step(batch(symbols, [100.0], at_s=0, first_id=1))
    await line.step(batch(symbols, [101.0], at_s=5, first_id=3))
    listener = bus.subscribe()
    listener.add(["bar:BTCUSDT:1s"])
    await line.step(batch(symbols, [99.0], at_s=0.5, first_id=2, until_s=5))
    messages = [data for _, _, data in await heard(listener)]
    revised = next(data for data in messages if data["revised"])
    assert (revised["low"], revised["close"], revised["trades"]) == (99.0, 99.0, 2)
    assert line.late == 1


async def test_a_close_is_not_hidden_by_the_next_open_bar(house, symbols):
    bus = house[2]
    line = pipeline(house, [])
    listener = bus.subscribe()
    listener.add(["bar:BTCUSDT:1s"])
    await line.step(batch(symbols, [100.0], at_s=0, first_id=1))
    await heard(listener)
    await line.step(batch(symbols, [105.0], at_s=1.5, first_id=2))
    [(_, _, closed)] = await heard(listener)
    await line.step(batch(symbols, [], at_s=1.6, first_id=3))
    [(_, _, opened)] = await heard(listener)
    assert (closed["closed"], closed["close"]) == (True, 100.0)
    assert (opened["closed"], opened["close"]) == (False, 105.0)


async def test_live_indicators_follow_the_open_bar(house, symbols):
    bus = house[2]
    listener = bus.subscribe()
    listener.add(["indicators:BTCUSDT:1s:sma:3"])
    line = pipeline(house, [])
    for i, price in enumerate((10.0, 20.0, 60.0)):
        await line.step(batch(symbols, [price], at_s=float(i), first_id=i))
    (_, _, data) = (await heard(listener))[-1]
    assert data["values"]["sma:3"] == pytest.approx(30.0)
    assert data["timestamp"] == (START + 2 * S) // 1_000_000


async def test_who_listens_to_a_pair_hears_it_close_and_move_in_between(house, symbols):
    engine, cache, bus, journal = house
    symbols.id_of("ETHUSDT")
    book = PairBook(symbols, engine)
    listener = bus.subscribe()
    listener.add(["pair:ETHUSDT:BTCUSDT"])
    line = Pipeline(Script([]), engine, journal, Publisher(engine, cache, bus, book), book, clock=lambda: START)
    await line.step(batch(symbols, [100.0], at_s=0, first_id=1))
    book.put(PairSettings("ETHUSDT", "BTCUSDT", "1s", lookback=40, window=5))
    for wanted in book.lacking():
        _, slots = book.begin(wanted)
        book.fill(wanted, slots, BarBatch.empty(symbols, "1s"))
    rng = np.random.default_rng(1)
    for i in range(1, 60):
        both = batch(symbols, (100 + rng.standard_normal(2)).round(2), at_s=float(i), first_id=10 * i)
        await line.step(replace(both, symbol_id=np.array([0, 1], np.int32)))
    (_, _, first) = (await heard(listener))[-1]
    assert (first["closed"], first["timestamp"]) == (True, (START + 58 * S) // 1_000_000)
    await line.step(batch(symbols, [123.0], at_s=59.1, first_id=900))
    assert not listener._waiting
    await line.step(batch(symbols, [124.0], at_s=59.3, first_id=901))
    [(_, _, moved)] = await heard(listener)
    assert (moved["closed"], moved["prices"]["x"], moved["n"]) == (False, 124.0, 40)
    assert moved["spread"]["zscore"] != first["spread"]["zscore"]


async def test_many_pairs_that_move_at_once_are_told_a_few_with_each_batch_and_none_is_forgotten(
    house, symbols, monkeypatch
):
    monkeypatch.setattr("pairscope.pipeline.TOLD_A_BATCH", 1)
    engine, cache, bus, journal = house
    book = PairBook(symbols, engine)
    line = Pipeline(Script([]), engine, journal, Publisher(engine, cache, bus, book), book, clock=lambda: START)
    await line.step(batch(symbols, [100.0], at_s=0, first_id=1))
    listener = bus.subscribe()
    for other in ("ETHUSDT", "SOLUSDT", "XRPUSDT"):
        symbols.id_of(other)
        book.put(PairSettings(other, "BTCUSDT", "1s"))
        listener.add([f"pair:{other}:BTCUSDT"])
    told = []
    for i in range(5):
        await line.step(batch(symbols, [101.0] if i == 0 else [], at_s=0.1 + 0.01 * i, first_id=2 + i))
        told += [message.topic for message in listener._waiting.values()]
        listener._waiting.clear()
    assert sorted(told) == [f"pair:{other}:BTCUSDT" for other in ("ETHUSDT", "SOLUSDT", "XRPUSDT")]


async def test_pairs_read_again_what_the_store_rebuilt_beyond_the_engine_s_reach(house, symbols):
    engine, cache, bus, _ = house
    symbols.id_of("ETHUSDT")
    book = PairBook(symbols, engine)
    publisher = Publisher(engine, cache, bus, book)
    engine.on_batch(batch(symbols, [100.0], at_s=0, first_id=1))
    book.put(PairSettings("ETHUSDT", "BTCUSDT", "1s", lookback=40, window=5))
    for wanted in book.lacking():
        _, slots = book.begin(wanted)
        book.fill(wanted, slots, BarBatch.empty(symbols, "1s"))
    rebuilt = replace(bars_of(batch(symbols, [101.0], at_s=0, first_id=2), "1s"), revision=np.array([1], np.int32))
    engine.on_batch(batch(symbols, [], at_s=5, first_id=9))
    publisher.adopt([rebuilt])
    assert book.lacking() == []
    engine.on_batch(batch(symbols, [], at_s=700, first_id=9))
    publisher.adopt([rebuilt])
    assert [wanted.symbol for wanted in book.lacking()] == ["BTCUSDT"]


async def test_a_bar_that_lacks_trades_says_so_until_they_have_come(house, symbols):
    engine, cache, bus, journal = house
    book, ids = PairBook(symbols, engine), Continuity(symbols)
    publisher = Publisher(engine, cache, bus, book)
    publisher.flag_by(ids)
    listener = bus.subscribe()
    listener.add(["bar:BTCUSDT:1s", "bar:BTCUSDT:1m"])
    line = Pipeline(Script([]), engine, journal, publisher, book, clock=lambda: START)

    async def tell(ticks):
        ids.admit(ticks)
        await line.step(ticks)
        return {topic: data.get("gap") for topic, _, data in await heard(listener)}

    assert await tell(batch(symbols, [1.0], at_s=0, first_id=1)) == {"bar:BTCUSDT:1s": None, "bar:BTCUSDT:1m": None}
    assert (await tell(batch(symbols, [1.0], at_s=3, first_id=5)))["bar:BTCUSDT:1m"] is True
    assert (await tell(batch(symbols, [1.0], at_s=9, first_id=6)))["bar:BTCUSDT:1m"] is True
    ids.admit(batch(symbols, [1.0, 1.0, 1.0], at_s=2, first_id=2))
    assert (await tell(batch(symbols, [1.0], at_s=12, first_id=7)))["bar:BTCUSDT:1m"] is None


async def test_a_batch_that_the_writer_never_got_is_not_in_the_journal_either(house, symbols):
    engine, cache, bus, writer = house
    book, full, documents = PairBook(symbols, engine), Full(cache), Documents()
    journal = LiveJournal(symbols, [], documents, started_ns=START)
    first, last = (
        Pipeline(
            Script([]), engine, given, Publisher(engine, cache, bus, book), book,
            clock=lambda: START, journal=journal.take,
        )
        for given in (writer, full)
    )  # fmt: skip
    await first.step(batch(symbols, [1.0], at_s=0, first_id=1))
    step = asyncio.create_task(last.step(batch(symbols, [1.0], at_s=10, first_id=2)))
    await full.asked.wait()
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    await journal.close()
    [(_, entries)] = [chunk async for chunk in read_journal(documents)]
    assert [entry.watermark_ns for entry in entries] == [START]


async def test_nothing_is_encoded_for_nobody(house, symbols, monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("a bar was encoded that nobody asked for")

    monkeypatch.setattr("pairscope.schemas.encode_bar", fail)
    await pipeline(house, [batch(symbols, [1.0], at_s=float(i), first_id=i) for i in range(5)]).run()


def test_the_rate_is_that_of_the_last_ten_seconds():
    rate = TickRate()
    for second in range(60):
        rate.add(second * S, 100 if second < 50 else 30)
    assert rate.per_second(60 * S) == pytest.approx(30, rel=0.15)
    assert rate.per_second(80 * S) == 0
    assert rate.total == 50 * 100 + 10 * 30


async def test_the_lag_is_that_of_the_newest_tick_and_not_of_one_that_was_fetched_again(house, symbols):
    live = batch(symbols, [1.0, 2.0], at_s=10, first_id=5)
    late = replace(live, ts_recv_ns=live.ts_event_ns + np.array([9 * S, 40_000_000]))  # the first tick came long after
    fetched = batch(symbols, [3.0], at_s=1, first_id=1)
    fetched = replace(fetched, ts_recv_ns=fetched.ts_event_ns + 60 * S)
    way = pipeline(house, [])
    assert way.lag_ns is None
    await way.step(live)
    assert way.lag_ns == 5_000_000
    await way.step(late)
    assert way.lag_ns == 40_000_000
    await way.step(fetched)
    assert way.lag_ns == 40_000_000


async def test_the_time_that_the_engine_takes_is_added_up(house, symbols):
    engine, cache, bus, journal = house
    book = PairBook(engine.symbols_table, engine)
    ticking = iter(range(0, 1000, 7))
    way = Pipeline(
        Script([]), engine, journal, Publisher(engine, cache, bus, book), book,
        clock=lambda: START, timer=lambda: next(ticking),
    )  # fmt: skip
    for second in (1, 2, 3):
        await way.step(batch(symbols, [1.0], at_s=second, first_id=second))
    assert (way.batches, way.busy_ns) == (3, 21)
