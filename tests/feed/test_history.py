"""Closed bars from before our own ticks: which minutes are asked for, and what is made of the answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import numpy as np
import pytest

from pairscope.feed.history import HistoryLoader, bars_of_klines
from pairscope.feed.rest import ExchangeRest, Kline
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols

Simulate = Callable[[Awaitable[None]], None]
MINUTE_MS = 60_000
BEGIN_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS + 25_000
"""25 seconds into a minute."""


def candle(open_ms: int, *, close: str = "2", trades: int = 4) -> list[Any]:
    flat = ["2", "2", "2", "2", "0"] if trades == 0 else ["1.5", "2.5", "0.5", close, "10.125"]
    return [open_ms, *flat, open_ms + 59_999, "17.5" if trades else "0", trades, "6.5", "11.5", "0"]


class Store:
    """The one question that the loader asks of a store."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.held: dict[str, list[int]] = {}

    async def bars(self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int) -> BarBatch:
        assert timeframe == "1m"
        opens = [ms for ms in self.held.get(symbol, []) if start_ns <= ms * 10**6 < end_ns][:limit]
        rows = [Kline(ms, 1.0, 1.0, 1.0, 1.0, 1.0, ms + 59_999, 1.0, 1, 1.0) for ms in opens]
        return bars_of_klines(rows, self.symbols, symbol, before_ns=end_ns)


class Shop:
    """A loader, an exchange with candles up to now, and a store that holds what a test says."""

    def __init__(self, exchange: Any, names: list[str], *, minutes: int = 1500, **options: Any) -> None:
        self.exchange = exchange
        exchange.now_ms = lambda: BEGIN_MS + round((asyncio.get_running_loop().time() - 1000.0) * 1000)
        self.names = names
        self.symbols = Symbols()
        self.store = Store(self.symbols)
        self.first: dict[str, int] = {}
        self.rest = ExchangeRest(
            "http://exchange",
            clock=lambda: exchange.now_ms() * 10**6,
            transport=exchange.transport(),
            rng=random.Random(4),
        )
        self.loader = HistoryLoader(
            self.rest, self.symbols, store=self.store, minutes=minutes, clock=self.rest._clock, **options
        )  # type: ignore[arg-type]
        for name in names:
            self.print_until(name, BEGIN_MS)

    def print_until(self, name: str, now_ms: int, *, minutes: int = 3000) -> None:
        """Let the exchange have a candle of every minute up to the one that is running."""
        newest = now_ms // MINUTE_MS * MINUTE_MS
        self.exchange.klines[name] = [candle(newest - k * MINUTE_MS) for k in reversed(range(minutes))]

    async def history(self) -> list[BarBatch]:
        """Load until every symbol had its turn."""
        found: list[BarBatch] = []

        async def work() -> None:
            async for bars in self.loader.load(self.names, first_tick_ns=self.first.get):
                found.append(bars)  # noqa: PERF401 - what came before an end counts

        task = asyncio.create_task(work())
        while self.loader.loaded + len(self.loader.failed) < len(self.names):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    def asked(self) -> list[tuple[str, int, int]]:
        return [
            (p["symbol"], (int(p["endTime"]) + 1 - int(p["startTime"])) // MINUTE_MS, int(p["limit"]))
            for p in self.exchange.asked("klines")
        ]


def test_a_first_start_gets_every_closed_minute_of_the_window_and_not_the_running_one(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        (bars,) = await shop.history()
        newest_ms = BEGIN_MS // MINUTE_MS * MINUTE_MS - MINUTE_MS
        assert len(bars) == 1500
        assert bars.ts_open_ns.tolist() == [(newest_ms - k * MINUTE_MS) * 10**6 for k in reversed(range(1500))]
        assert shop.asked() == [("BTCUSDT", 499, 499)] * 3 + [("BTCUSDT", 3, 3)]

    simulate(main())


def test_a_bar_of_the_exchange_carries_what_the_candle_says_and_its_origin() -> None:
    bars = bars_of_klines(
        [Kline(60_000, 1.5, 2.5, 0.5, 2.0, 10.125, 119_999, 17.5, 4, 6.5)],
        Symbols(),
        "ETHUSDT",
        before_ns=120_000 * 10**6,
    )
    row = {name: getattr(bars, name).tolist() for name in bars.__slots__[2:]}
    assert bars.symbols[int(bars.symbol_id[0])] == "ETHUSDT"
    assert bars.timeframe == "1m"
    assert row == {
        "symbol_id": [0],
        "ts_open_ns": [60_000 * 10**6],
        "open": [1.5],
        "high": [2.5],
        "low": [0.5],
        "close": [2.0],
        "volume": [10.125],
        "quote_volume": [17.5],
        "buy_volume": [6.5],
        "trades": [0],
        "first_id": [-1],
        "last_id": [-1],
        "revision": [0],
        "origin": [int(Origin.EXCHANGE)],
    }


@pytest.mark.parametrize(
    "other",
    [
        {"trades": 0},
        {"close_ms": 180_000},
        {"close": float("nan")},
        {"volume": float("inf")},
        {"low": 0.0},
        {"low": 3.0},
        {"high": 1.0},
    ],
)
def test_minutes_without_a_trade_unfinished_ones_and_nonsense_are_left_out(other: dict[str, Any]) -> None:
    good = {
        "open_ms": 120_000, "open": 1.5, "high": 2.5, "low": 0.5, "close": 2.0, "volume": 10.0,
        "close_ms": 179_999, "quote_volume": 17.5, "trades": 4, "buy_volume": 6.5,
    }  # fmt: skip
    assert len(bars_of_klines([Kline(**good)], Symbols(), "X", before_ns=180_000 * 10**6)) == 1
    assert len(bars_of_klines([Kline(**(good | other))], Symbols(), "X", before_ns=180_000 * 10**6)) == 0


def test_candles_come_out_by_time_and_each_once() -> None:
    rows = [Kline(ms, 1.0, 1.0, 1.0, 1.0, 1.0, ms + 59_999, 1.0, 1, 1.0) for ms in (180_000, 60_000, 180_000, 120_000)]
    bars = bars_of_klines(rows, Symbols(), "X", before_ns=10**15)
    assert (bars.ts_open_ns // 10**6).tolist() == [60_000, 120_000, 180_000]


def test_only_what_the_store_lacks_is_asked_for_and_given(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        newest = BEGIN_MS // MINUTE_MS * MINUTE_MS - MINUTE_MS
        away = [newest - k * MINUTE_MS for k in range(30)]
        hole = [newest - k * MINUTE_MS for k in range(700, 710)]
        shop.store.held["BTCUSDT"] = [
            ms for k in range(2000) if (ms := newest - (1999 - k) * MINUTE_MS) not in {*away, *hole}
        ]
        (bars,) = await shop.history()
        assert (bars.ts_open_ns // 10**6).tolist() == sorted(away + hole)
        assert sorted(shop.asked()) == [("BTCUSDT", 10, 10), ("BTCUSDT", 30, 30)]

    simulate(main())


def test_minutes_near_each_other_are_asked_for_in_one_go_but_what_is_held_is_not_given_again(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["THINUSDT"], minutes=100)
        newest = BEGIN_MS // MINUTE_MS * MINUTE_MS - MINUTE_MS
        shop.store.held["THINUSDT"] = [newest - k * MINUTE_MS for k in range(0, 100, 3)]
        (bars,) = await shop.history()
        assert len(shop.asked()) == 1
        assert not set((bars.ts_open_ns // 10**6).tolist()) & set(shop.store.held["THINUSDT"])
        assert len(bars) == 100 - len(shop.store.held["THINUSDT"])

    simulate(main())


def test_a_store_that_lacks_nothing_asks_nothing(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        newest = BEGIN_MS // MINUTE_MS * MINUTE_MS - MINUTE_MS
        shop.store.held["BTCUSDT"] = [newest - (1999 - k) * MINUTE_MS for k in range(2000)]
        assert await shop.history() == []
        assert shop.asked() == []

    simulate(main())


def test_symbols_come_in_the_order_given_and_leave_room_in_the_budget_for_repairs(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        names = [f"S{k}USDT" for k in range(40)]
        shop = Shop(exchange, names, minutes=100)
        shop.rest.budget.limit = 60
        found = await shop.history()
        assert [bars.symbols[int(bars.symbol_id[0])] for bars in found] == names
        assert asyncio.get_running_loop().time() > 1000 + 60

    simulate(main())


def test_a_symbol_that_fails_is_tried_again_behind_the_others_and_named_when_it_stays_so(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["AUSDT", "BUSDT"], minutes=10, parallel=1)
        exchange.answers.extend([httpx2.Response(503)] * 3)
        found = await shop.history()
        assert [bars.symbols[int(bars.symbol_id[0])] for bars in found] == ["BUSDT", "AUSDT"]
        assert shop.loader.failed == []
        shop = Shop(exchange, ["AUSDT"], minutes=10)
        exchange.answers.extend([httpx2.Response(503)] * 9)
        assert await shop.history() == []
        assert shop.loader.failed == ["AUSDT"]

    simulate(main())


def test_the_minute_in_which_own_ticks_began_becomes_the_exchanges_with_those_since_the_history(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT", "THINUSDT"], minutes=100)
        begin_min = BEGIN_MS // MINUTE_MS * MINUTE_MS
        shop.first["BTCUSDT"] = (begin_min + 40_000) * 10**6
        found: list[tuple[float, BarBatch]] = []

        async def work() -> None:
            async for bars in shop.loader.load(shop.names, first_tick_ns=lambda name: shop.first.get(name, 0)):
                found.append((asyncio.get_running_loop().time() - 1000.0, bars))  # noqa: PERF401

        task = asyncio.create_task(work())
        await asyncio.sleep(50)
        assert len(found) == 2
        for name in shop.names:
            shop.print_until(name, BEGIN_MS + 600_000)
        await asyncio.sleep(100)
        at, bars = found[2]
        assert (bars.ts_open_ns // 10**6).tolist() == [begin_min]
        assert 65 <= at <= 75
        shop.first["THINUSDT"] = (begin_min + 4 * MINUTE_MS + 1) * 10**6
        async with asyncio.timeout(600):
            await task
        assert (found[3][1].ts_open_ns // 10**6).tolist() == [begin_min + k * MINUTE_MS for k in range(5)]
        assert shop.loader.corrected == 2

    simulate(main())


def test_an_exchange_that_is_away_delays_the_correction_and_does_not_prevent_it(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"], minutes=10)
        shop.first["BTCUSDT"] = BEGIN_MS * 10**6
        found = []

        async def work() -> None:
            async for bars in shop.loader.load(shop.names, first_tick_ns=shop.first.get):
                found.append(bars)  # noqa: PERF401 - what came before an end counts

        task = asyncio.create_task(work())
        await asyncio.sleep(4)
        exchange.answers.extend([httpx2.ConnectError("away")] * 60)
        async with asyncio.timeout(900):
            await task
        assert len(found) == 2
        assert np.all(found[1].origin == int(Origin.EXCHANGE))

    simulate(main())
