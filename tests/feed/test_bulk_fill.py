"""Long ranges over REST: all that is missing and nothing that is there, behind everybody else, in pieces that stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.feed.replayed import MINUTE_MS, NOON_MS, ReplayedExchange

from pairscope.errors import ConnectionLost, UnknownSymbol
from pairscope.feed import bulk_fill
from pairscope.feed.bulk_fill import BulkFill
from pairscope.feed.bulk_history import checked
from pairscope.feed.older_ticks import Shelf
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.weight import Priority
from pairscope.market.bars import BarBatch
from pairscope.ports_bulk import BulkRequest
from pairscope.storage.duckdb_store import DuckDBStore

HOUR_MS = 60 * MINUTE_MS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    opened = await DuckDBStore.open(tmp_path / "s.duckdb")
    yield opened
    await opened.close()


class Desk:
    """A replayed exchange, a store, and what was told of bars."""

    def __init__(self, store: DuckDBStore) -> None:
        self.exchange = ReplayedExchange()
        self.rest: ExchangeRest = self.exchange.rest()
        self.store = store
        self.told: list[BarBatch] = []
        self.steps: list[tuple[int, int]] = []

    def fill(self, *symbols: str, hours: float, kind: Any = "bars", until_ms: int | None = None) -> BulkFill:
        request = BulkRequest(
            symbols,
            int(NOON_MS - hours * HOUR_MS) * 10**6,
            None if until_ms is None else until_ms * 10**6,
            kind,
        )
        return BulkFill(
            request,
            Shelf(self.store, self.store, self.told.append),
            self.rest,
            clock=self.exchange.clock,
            progress=lambda done, total: self.steps.append((done, total)),
        )

    async def minutes(self, symbol: str) -> list[int]:
        bars = await self.store.bars(symbol, "1m", 0, self.exchange.clock(), limit=100_000)
        return (bars.ts_open_ns // 10**6).tolist()

    def traded(self, symbol: str, hours: float) -> list[int]:
        """The closed minutes in which the exchange printed something, from its own klines."""
        row = [listing.symbol for listing in self.exchange.source.listings].index(symbol)
        low = int(NOON_MS - hours * HOUR_MS)
        klines = self.exchange.source.klines(row, MINUTE_MS, low, NOON_MS, NOON_MS)
        return klines.open_ms[klines.trades > 0].tolist()


@pytest.fixture
def desk(store: DuckDBStore) -> Desk:
    return Desk(store)


async def test_minutes_are_fetched_once_and_told_of(desk: Desk) -> None:
    found = await desk.fill("BTCUSDT", "ETHUSDT", hours=20).run()
    assert await desk.minutes("BTCUSDT") == desk.traded("BTCUSDT", 20)
    assert await desk.minutes("ETHUSDT") == desk.traded("ETHUSDT", 20)
    assert (
        found["stored"]
        == sum(len(bars) for bars in desk.told)
        == len(desk.traded("BTCUSDT", 20)) + len(desk.traded("ETHUSDT", 20))
    )
    assert desk.steps[-1] == (2400, 2400)
    assert len(desk.exchange.pages("klines")) == 6
    again = await desk.fill("BTCUSDT", "ETHUSDT", hours=20).run()
    assert (again["stored"], len(desk.exchange.pages("klines"))) == (0, 6)


async def test_only_the_minutes_that_lack_are_asked_for(desk: Desk) -> None:
    await desk.fill("BTCUSDT", hours=10, until_ms=NOON_MS - 5 * HOUR_MS).run()
    desk.exchange.asked.clear()
    await desk.fill("BTCUSDT", hours=20).run()
    asked = [(int(q["startTime"]), int(q["endTime"])) for q in desk.exchange.pages("klines")]
    assert sorted(asked) == [
        (NOON_MS - 20 * HOUR_MS, NOON_MS - 20 * HOUR_MS + 499 * MINUTE_MS - 1),
        (NOON_MS - 20 * HOUR_MS + 499 * MINUTE_MS, NOON_MS - 10 * HOUR_MS - 1),
        (NOON_MS - 5 * HOUR_MS, NOON_MS - 1),
    ]
    assert await desk.minutes("BTCUSDT") == desk.traded("BTCUSDT", 20)


async def test_trades_are_fetched_without_a_hole_and_only_those_that_are_not_held(desk: Desk) -> None:
    half = NOON_MS - HOUR_MS // 2
    await desk.fill("BTCUSDT", hours=0.75, kind="trades", until_ms=half).run()
    (first,) = await desk.store.held("BTCUSDT")
    asked = len(desk.exchange.pages("aggTrades"))
    found = await desk.fill("BTCUSDT", hours=1, kind="trades").run()
    (span,) = await desk.store.held("BTCUSDT")
    assert span.from_id < first.from_id < first.to_id < span.to_id
    ticks = await desk.store.ticks("BTCUSDT", 0, desk.exchange.clock(), limit=1_000_000)
    assert len(ticks) == span.to_id - span.from_id + 1
    assert int(ticks.ts_event_ns[0]) // 10**6 >= NOON_MS - HOUR_MS
    assert desk.exchange.now_ms - 2 * MINUTE_MS < int(ticks.ts_event_ns[-1]) // 10**6 < desk.exchange.now_ms - MINUTE_MS
    row = [listing.symbol for listing in desk.exchange.source.listings].index("BTCUSDT")
    printed = desk.exchange.source.by_time(
        row, NOON_MS - HOUR_MS, desk.exchange.now_ms - MINUTE_MS, 10**6, desk.exchange.now_ms
    )
    assert np.array_equal(np.sort(printed.agg_id), ticks.trade_id)
    assert found["stored"] == len(ticks) - (first.to_id - first.from_id + 1)
    pages = desk.exchange.pages("aggTrades")[asked:]
    assert all(not first.from_id < int(q["fromId"]) <= first.to_id for q in pages if "fromId" in q)
    assert await desk.store.gaps("BTCUSDT") == []
    minutes = await desk.store.bars("BTCUSDT", "1m", 0, NOON_MS * 10**6, limit=100)
    klines = desk.exchange.source.klines(row, MINUTE_MS, NOON_MS - HOUR_MS, NOON_MS - 2 * MINUTE_MS, NOON_MS)
    scale = 10.0 ** desk.exchange.source.listings[row].price_decimals
    assert (minutes.close[: len(klines)] * scale).round().astype(np.int64).tolist() == klines.close.tolist()


async def test_trades_from_before_the_last_two_days_are_named_by_their_files(desk: Desk) -> None:
    found = await desk.fill("BTCUSDT", hours=72, until_ms=NOON_MS - 47 * HOUR_MS, kind="trades").run()
    assert found["stored"] > 0
    assert found["too_old"]["until"] == desk.exchange.now_ms - 48 * HOUR_MS + MINUTE_MS
    assert [file.rpartition("/")[2] for file in found["too_old"]["files"]] == [
        "BTCUSDT-aggTrades-2026-09-24.zip", "BTCUSDT-aggTrades-2026-09-25.zip",
    ]  # fmt: skip


async def test_a_symbol_that_the_exchange_lacks_stops_no_other(desk: Desk) -> None:
    found = await desk.fill("BTCUSDTT", "ETHUSDT", hours=1).run()
    assert "BTCUSDT" in found["failed"]["BTCUSDTT"]
    assert await desk.minutes("ETHUSDT") == desk.traded("ETHUSDT", 1)
    with pytest.raises(UnknownSymbol, match="BTCUSDTT"):
        await desk.fill("BTCUSDTT", hours=1).run()


async def test_what_is_stored_when_it_is_broken_off_stays_and_the_next_goes_on_from_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_fill, "PAGES", 1)
    fill = desk.fill("BTCUSDT", hours=40)
    task = asyncio.create_task(fill.run())
    while not desk.told:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    there = len(await desk.minutes("BTCUSDT"))
    assert 0 < there < len(desk.traded("BTCUSDT", 40))
    before = len(desk.exchange.pages("klines"))
    found = await desk.fill("BTCUSDT", hours=40).run()
    assert found["stored"] == len(desk.traded("BTCUSDT", 40)) - there
    assert len(desk.exchange.pages("klines")) - before < 5
    assert await desk.minutes("BTCUSDT") == desk.traded("BTCUSDT", 40)


async def test_every_request_for_rows_stands_behind_repairs_and_a_failure_is_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[tuple[int, Priority]] = []
    spend = desk.rest.budget.spend

    async def noted(weight: int, priority: Priority) -> None:
        spent.append((weight, priority))
        await spend(weight, priority)

    monkeypatch.setattr(desk.rest.budget, "spend", noted)
    agg_trades, failures = desk.rest.agg_trades, [ConnectionLost("cut"), ConnectionLost("cut")]

    async def sometimes(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await agg_trades(*args, **options)

    monkeypatch.setattr(desk.rest, "agg_trades", sometimes)
    fill = desk.fill("BTCUSDT", hours=0.2, kind="trades")
    fill._sleep = lambda _seconds: asyncio.sleep(0)
    found = await fill.run()
    await desk.fill("BTCUSDT", hours=2).run()
    assert found["stored"] > 0
    assert not failures
    assert {priority for weight, priority in spent if weight in {2, 20}} == {Priority.HISTORY}


@pytest.mark.parametrize(
    ("request_", "loc"),
    [
        (BulkRequest((), 0), "symbols"),
        (BulkRequest(("BTCUSDT",), 0, top=5), "symbols"),
        (BulkRequest(("BTCUSDT",), 2 * NOON_MS * 10**6), "since"),
        (BulkRequest(("BTCUSDT",), NOON_MS * 10**6 - 10, NOON_MS * 10**6 - 20), "until"),
        (BulkRequest(("BTCUSDT",), 0, (NOON_MS - 49 * HOUR_MS) * 10**6, "trades"), "since"),
    ],
)
def test_what_cannot_be_asked_names_the_parameter(request_: BulkRequest, loc: str) -> None:
    with pytest.raises(ValueError) as refused:
        checked(request_, NOON_MS * 10**6)
    assert refused.value.loc == loc  # type: ignore[attr-defined]
