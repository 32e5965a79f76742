"""The watch-list: kept over a restart, read from the store without hurry, let go of when nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook
from pairscope.errors import InputError, StoreUnavailable
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus
from pairscope.watchlist import COLLECTION, MOST_DEMANDED, MOST_PAIRS, UNHEARD_S, Watchlist

MINUTE = 60_000_000_000
NOW = 1_760_000_040_000_000_000 // MINUTE * MINUTE
NAMES = ("ETHUSDT", "BTCUSDT", "SOLUSDT")


def minutes(symbols: Symbols, symbol: str, n: int) -> BarBatch:
    close = 100 + np.cumsum(np.random.default_rng(symbols.id_of(symbol)).standard_normal(n)).round(2) / 10
    one, none = np.ones(n), np.full(n, -1)
    return BarBatch(
        symbols,
        "1m",
        np.full(n, symbols.id_of(symbol), np.int32),
        NOW - MINUTE * np.arange(n, 0, -1),
        *(close,) * 4,
        volume=one,
        quote_volume=close,
        buy_volume=one / 2,
        trades=np.full(n, 3),
        first_id=none,
        last_id=none,
        revision=np.zeros(n, np.int32),
        origin=np.full(n, Origin.EXCHANGE, np.int8),
    )


class House:
    """A watch-list over a real store, with a clock to turn."""

    def __init__(self, store: DuckDBStore) -> None:
        self.store, self.now_s = store, 100.0
        self.symbols = Symbols(NAMES)
        self.engine = DataProcessor(self.symbols)
        self.engine.on_batch(TickBatch.empty(self.symbols, NOW))
        self.bus = MemoryBus()
        self.book = PairBook(self.symbols, self.engine)
        self.list = self.over(store)

    def over(self, store: Any) -> Watchlist:
        return Watchlist(
            self.book, store=store, records=self.store, bus=self.bus, live=self.engine, now_s=lambda: self.now_s
        )

    def zscore(self, y: str, x: str) -> float | None:
        view = self.list.current(y, x)
        return None if view is None else view["spread"]["zscore"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await DuckDBStore.open(tmp_path / "pairs.duckdb", threads=1)
    symbols = Symbols(NAMES)
    for name in NAMES:
        await store.put_bars(minutes(symbols, name, 300))
    yield House(store)
    await store.close()


async def test_a_pair_that_is_put_on_the_list_is_computed_from_stored_bars(house: House) -> None:
    assert await house.list.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=200))
    assert house.zscore("ETHUSDT", "BTCUSDT") is None
    await house.list.catch_up()
    view = house.list.current("ETHUSDT", "BTCUSDT")
    assert view is not None
    assert (view["n"], view["on_watchlist"], view["timestamp"]) == (200, True, (NOW - MINUTE) // 1_000_000)
    assert view["spread"]["zscore"] is not None
    assert house.list.counters()["loading"] == 0


async def test_the_list_is_the_same_after_a_restart(house: House) -> None:
    pairs = [PairSettings("SOLUSDT", "BTCUSDT", "5m", 300, 12, "kalman", "linear", 3.0, 0.0), PairSettings(*NAMES[:2])]
    for pair in pairs:
        assert await house.list.put(pair)
    assert not await house.list.put(pairs[0])
    assert await house.list.remove("ETHUSDT", "BTCUSDT")
    again = House(house.store)
    await again.list.restore()
    assert again.list.entries() == [pairs[0]]
    assert not await again.list.remove("ETHUSDT", "BTCUSDT")


async def test_pairs_of_the_settings_are_added_to_what_was_kept_and_change_nothing_of_it(house: House) -> None:
    await house.list.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=77))
    again = House(house.store)
    await again.list.restore(["ETHUSDT:BTCUSDT", " SOLUSDT : ETHUSDT "])
    assert [(p.y, p.x, p.lookback) for p in again.list.entries()] == [
        ("ETHUSDT", "BTCUSDT", 77),
        ("SOLUSDT", "ETHUSDT", 1440),
    ]
    assert orjson.loads(await house.store.get(COLLECTION, "SOLUSDT:ETHUSDT") or b"") == asdict(again.list.entries()[1])


async def test_what_cannot_be_read_of_the_list_costs_nothing_else(house: House) -> None:
    await house.store.put(COLLECTION, "A:A", b'{"y":"A","x":"A"}')
    await house.store.put(COLLECTION, "B:C", b'{"y":"B","x":"C","later":1}')
    await house.store.put(COLLECTION, "C:D", b"not json")
    await house.list.restore(["ETHUSDT:BTCUSDT"])
    assert [p.key for p in house.list.entries()] == ["ETHUSDT:BTCUSDT"]


async def test_a_full_list_says_so(house: House) -> None:
    for i in range(MOST_PAIRS):
        house.book.put(PairSettings(f"S{i}USDT", "BTCUSDT"))
    with pytest.raises(InputError, match="at most 2000 pairs") as told:
        await house.list.put(PairSettings("ETHUSDT", "BTCUSDT"))
    assert told.value.loc == "y"
    assert not await house.list.put(PairSettings("S5USDT", "BTCUSDT", lookback=100))


async def test_of_two_that_come_at_once_for_the_last_place_one_gets_it_and_of_two_alike_one_is_new(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.watchlist.MOST_PAIRS", 2)
    alike = [house.list.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=lookback)) for lookback in (70, 80)]
    assert await asyncio.gather(*alike) == [True, False]
    others = [house.list.put(PairSettings("SOLUSDT", x)) for x in ("BTCUSDT", "ETHUSDT")]
    first, second = await asyncio.gather(*others, return_exceptions=True)
    assert first is True
    assert isinstance(second, InputError)
    assert [(p.key, p.lookback) for p in house.list.entries()] == [("ETHUSDT:BTCUSDT", 80), ("SOLUSDT:BTCUSDT", 1440)]


async def test_a_pair_that_is_listened_to_is_computed_by_the_defaults_until_nobody_has_listened_for_a_minute(
    house: House,
) -> None:
    listener = house.bus.subscribe()
    listener.add(["pair:ETHUSDT:SOLUSDT"])
    house.list.demand("ETHUSDT", "SOLUSDT")
    await house.list.catch_up()
    view = house.list.current("ETHUSDT", "SOLUSDT")
    assert view is not None
    assert (view["lookback"], view["window"], view["on_watchlist"]) == (1440, 60, False)
    assert house.zscore("ETHUSDT", "SOLUSDT") is not None
    assert house.list.entries() == []
    for heard, there in ((True, True), (False, True), (False, False)):
        if not heard:
            listener.close()
        house.now_s += UNHEARD_S - 1
        house.list.let_go()
        assert (house.list.current("ETHUSDT", "SOLUSDT") is not None) == there


async def test_only_so_many_pairs_are_computed_for_listeners_alone(house: House) -> None:
    for i in range(MOST_DEMANDED):
        house.list.demand(f"S{i}USDT", "BTCUSDT")
    with pytest.raises(InputError, match="at most 256 pairs"):
        house.list.demand("ETHUSDT", "BTCUSDT")
    house.list.demand("S7USDT", "BTCUSDT")


async def test_who_listens_to_a_pair_that_is_taken_off_the_list_goes_on_hearing_it(house: House) -> None:
    await house.list.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=60))
    house.bus.subscribe().add(["pair:ETHUSDT:BTCUSDT"])
    await house.list.remove("ETHUSDT", "BTCUSDT")
    view = house.list.current("ETHUSDT", "BTCUSDT")
    assert view is not None
    assert (view["on_watchlist"], view["lookback"]) == (False, 1440)
    await house.list.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=60))
    assert [p.lookback for p in house.list.entries()] == [60]


async def test_a_store_that_refuses_delays_a_pair_and_no_more(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr("pairscope.lacking_history.RETRY_S", 0.0)

    class Refusing:
        refused = 0

        async def bars(self, *args: Any, **kwargs: Any) -> BarBatch:
            if self.refused < 3:
                self.refused += 1
                raise StoreUnavailable("not now")
            return await house.store.bars(*args, **kwargs)

    house.list = house.over(Refusing())
    running = asyncio.create_task(house.list.run())
    await house.list.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=100))
    async with asyncio.timeout(240):
        while house.zscore("ETHUSDT", "BTCUSDT") is None:
            assert not running.done()
            await asyncio.sleep(0.01)
    assert house.list.counters()["refused_reads"] == 3
    running.cancel()


async def test_history_that_comes_later_is_read_again(house: House) -> None:
    symbols = Symbols(["LATEUSDT"])
    house.book.put(PairSettings("LATEUSDT", "BTCUSDT", lookback=100))
    await house.list.catch_up()
    view = house.list.current("LATEUSDT", "BTCUSDT")
    assert view is not None
    assert view["reason"].startswith("no bar in common within the last 100 bars")
    await house.store.put_bars(minutes(symbols, "LATEUSDT", 200))
    house.list.history_came(["LATEUSDT"])
    await house.list.catch_up()
    assert house.zscore("LATEUSDT", "BTCUSDT") is not None


async def test_what_one_process_changes_every_other_takes_up(house: House) -> None:
    """Two processes over one store, the words of the one handed to the other."""
    other = House(house.store)
    told: list[str] = []
    one = house.list = Watchlist(
        house.book, store=house.store, records=house.store, bus=house.bus, live=house.engine, told=told.append
    )
    for settings in (PairSettings("ETHUSDT", "BTCUSDT"), PairSettings("SOLUSDT", "BTCUSDT", lookback=77)):
        await one.put(settings)
    other.list.changed()
    await other.list.read_again()
    assert other.list.entries() == one.entries()
    await one.put(PairSettings("ETHUSDT", "BTCUSDT", lookback=88))
    await one.remove("SOLUSDT", "BTCUSDT")
    await other.list.read_again()
    assert other.list.entries() == one.entries() == [PairSettings("ETHUSDT", "BTCUSDT", lookback=88)]
    assert told == ["ETHUSDT:BTCUSDT", "SOLUSDT:BTCUSDT", "ETHUSDT:BTCUSDT", "SOLUSDT:BTCUSDT"]


async def test_a_list_that_is_changed_here_while_it_is_read_again_keeps_the_change(house: House) -> None:
    class Slow:
        """A store that is changed here after it has answered."""

        async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
            found = [each async for each in house.store.scan(collection, after)]
            await house.list.put(PairSettings("ETHUSDT", "BTCUSDT"))
            for each in found:
                yield each

        def __getattr__(self, name: str) -> Any:
            return getattr(house.store, name)

    slow: Any = Slow()
    house.list = Watchlist(house.book, store=house.store, records=slow, bus=house.bus, live=house.engine)
    await house.list.read_again()
    assert [settings.key for settings in house.list.entries()] == ["ETHUSDT:BTCUSDT"]


async def test_a_list_is_read_again_every_so_often_where_others_change_it(house: House) -> None:
    other = House(house.store)
    other.list = Watchlist(
        other.book, store=house.store, records=house.store, bus=other.bus, live=other.engine, read_again_s=0.0
    )
    running = asyncio.create_task(other.list.run())
    await house.list.put(PairSettings("ETHUSDT", "BTCUSDT"))
    async with asyncio.timeout(240):
        while not other.list.entries():
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
