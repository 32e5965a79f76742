"""Paper positions as a service: kept over a restart and a crash, recorded once, bounded, deleted with all they did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.paper import PaperBook
from pairscope.errors import InputError, StoreUnavailable
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.paper import EVENTS, MOST_RULES, RULES, STATES, PaperTrader
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus

SECOND = 1_000_000_000
START = 1_760_000_000 * SECOND
NAMES = ("YUSDT", "XUSDT")
RULE = {
    "y": "YUSDT", "x": "XUSDT", "timeframe": "1s", "hedge": {"method": "ols", "lookback": 40}, "window": 15,
    "entry": 1.0, "exit": 0.1,
}  # fmt: skip


class House:
    """An engine, a book and a trader; the engine's own bars are what its store would give."""

    def __init__(self, records: DuckDBStore) -> None:
        self.records = records
        self.symbols = Symbols(NAMES)
        self.engine = DataProcessor(self.symbols)
        rng = np.random.default_rng(3)
        self.x = np.round(100.0 + np.cumsum(rng.standard_normal(400)) * 0.05, 3)
        self.y = np.round(self.x * 0.5 + np.sin(np.arange(400) / 6.0) * 0.1 + rng.standard_normal(400) * 0.02, 3)
        self.refuses = False
        self.start()

    def start(self) -> None:
        """Begin as a process does: the bars are there, nothing else is."""
        self.bus = MemoryBus()
        self.book = PaperBook(self.symbols)
        self.trader = PaperTrader(
            self.book, store=self, records=self.records, bus=self.bus, live=self.engine, clock=lambda: START  # type: ignore[arg-type]
        )  # fmt: skip

    async def bars(self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int) -> BarBatch:
        if self.refuses:
            raise StoreUnavailable("not now")
        found = self.engine.recent_bars(symbol, timeframe, limit)
        return found.take((found.ts_open_ns >= start_ns) & (found.ts_open_ns < end_ns))

    def run(self, start: int, end: int) -> None:
        for second in range(start, end):
            times = np.full(2, START + second * SECOND + 1)
            batch = TickBatch(
                self.symbols, np.array([0, 1], np.int32), times, times, np.full(2, second + 1),
                np.array([self.y[second], self.x[second]]), np.ones(2), np.zeros(2, np.bool_), START + second * SECOND,
            )  # fmt: skip
            self.book.take(self.engine.on_batch(batch))

    async def events(self) -> list[Any]:
        return [orjson.loads(document) async for _, document in self.records.scan(EVENTS)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await DuckDBStore.open(tmp_path / "paper.duckdb", threads=1)
    yield House(store)
    await store.close()


async def followed(house: House) -> str:
    house.run(0, 100)
    made = await house.trader.create(RULE)
    await house.trader.catch_up()
    return str(made["id"])


async def test_a_rule_makes_the_backtest_s_trades_and_records_each_decision_and_fill(house: House) -> None:
    rule = await followed(house)
    house.run(100, 250)
    await house.trader.catch_up()
    view, check = house.trader.view(rule), await house.trader.check(rule)
    assert view is not None
    assert check is not None
    assert (check["equal"], check["differences"], check["bars"]) == (True, [], 150)
    assert view["trades_closed"] == len(view["trades"]) == check["trades"] >= 3
    events = await house.events()
    kinds = [(event["kind"], event["order"]) for event in events]
    assert kinds[:4] == [("decision", "enter"), ("fill", "enter"), ("decision", "exit"), ("fill", "exit")]
    assert events[1]["time_ns"] == events[0]["time_ns"] + SECOND
    assert {"zscore", "beta", "close_y", "close_x"} <= set(events[0]["fields"])
    assert view["trades"][0]["entry_timestamp"] == events[1]["time_ns"] // 10**6
    assert view["events"] == len(events)


@pytest.mark.parametrize("crash", [False, True])
async def test_a_restart_and_a_crash_change_nothing(house: House, crash: bool) -> None:
    rule = await followed(house)
    house.run(100, 180)
    await house.trader.catch_up()
    house.run(180, 230)
    if not crash:
        await house.trader.close()
    house.start()
    await house.trader.restore()
    await house.trader.catch_up()
    house.run(230, 320)
    await house.trader.catch_up()
    check = await house.trader.check(rule)
    assert check is not None
    assert (check["equal"], check["differences"]) == (True, [])
    events = await house.events()
    assert len({(event["time_ns"], event["number"]) for event in events}) == len(events)
    [listed] = house.trader.views()
    assert (listed["id"], listed["events"]) == (rule, len(events))


async def test_rules_come_and_go_while_where_others_stand_is_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = await followed(house)
    house.run(100, 250)
    put, made = house.records.put, []

    async def slow(collection: str, key: str, document: bytes, **more: Any) -> bool:
        if collection == STATES and not made:
            made.append(await house.trader.create(RULE))
        return await put(collection, key, document, **more)

    monkeypatch.setattr(house.records, "put", slow)
    await house.trader.catch_up()
    assert {view["id"] for view in house.trader.views()} == {rule, made[0]["id"]}


async def test_what_was_recorded_as_decided_is_never_written_over(house: House) -> None:
    rule = await followed(house)
    house.run(100, 200)
    await house.trader.catch_up()
    before = await house.events()
    await house.records.delete(STATES, rule)
    house.start()
    async for key, document in house.records.scan(EVENTS):
        if orjson.loads(document)["time_ns"] > before[3]["time_ns"]:
            await house.records.delete(EVENTS, key)
    await house.trader.restore()
    await house.trader.catch_up()
    assert await house.events() == before


async def test_a_store_that_refuses_delays_a_rule_and_no_more(house: House) -> None:
    house.run(0, 100)
    house.refuses = True
    made = await house.trader.create(RULE)
    with pytest.raises(StoreUnavailable):
        await house.trader.catch_up()
    house.run(100, 150)
    house.refuses = False
    await house.trader.catch_up()
    check = await house.trader.check(made["id"])
    assert check is not None
    assert (check["equal"], check["bars"]) == (True, 50)


async def test_who_listens_hears_of_each_bar_and_a_deleted_rule_leaves_nothing(house: House) -> None:
    rule = await followed(house)
    heard = house.bus.subscribe()
    heard.add([f"paper:{rule}"])
    house.run(100, 130)
    await house.trader.catch_up()
    house.trader.tell()
    [message] = await heard.next()
    assert orjson.loads(message.value)["id"] == rule
    assert await house.trader.delete(rule)
    assert not await house.trader.delete(rule)
    for collection in (RULES, EVENTS, STATES):
        assert [key async for key, _ in house.records.scan(collection)] == []
    assert (house.trader.view(rule), await house.trader.check(rule), house.trader.views()) == (None, None, [])


async def test_a_rule_too_many_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairscope.paper.MOST_RULES", 1)
    await followed(house)
    with pytest.raises(InputError, match="at most 1 rules"):
        await house.trader.create(RULE)
    assert MOST_RULES == 1000
    await house.records.put(RULES, "broken", b"{}")
    house.start()
    await house.trader.restore()
    assert len(house.trader.views()) == 1


async def test_of_two_that_come_at_once_for_the_last_place_one_is_followed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.paper.MOST_RULES", 1)
    first, second = await asyncio.gather(*(house.trader.create(RULE) for _ in range(2)), return_exceptions=True)
    assert isinstance(second, InputError)
    assert [view["id"] for view in house.trader.views()] == [dict(first)["id"]]  # type: ignore[arg-type]
    assert [key async for key, _ in house.records.scan(RULES)] == [dict(first)["id"]]  # type: ignore[arg-type]
