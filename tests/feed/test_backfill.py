"""Repairs in virtual time: what is asked for, in which order, how often, and when it is given up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from pairscope.feed.backfill import Backfill, Repairs
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.wire import AggTradeRow, agg_trades_batch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

Simulate = Callable[[Awaitable[None]], None]
HOUR_MS = 3_600_000


class Shop:
    """A ledger with holes, an exchange that knows the truth, and a backfill between them."""

    def __init__(self, exchange: Any, **options: Any) -> None:
        self.exchange = exchange
        exchange.now_ms = lambda: 1_700_000_000_000 + round(asyncio.get_running_loop().time() * 1000)
        self.ledger = Continuity()
        self.symbols = Symbols()
        self.verdicts: list[Gap] = []
        self.delivered: list[TickBatch] = []
        clock = lambda: exchange.now_ms() * 1_000_000  # noqa: E731
        self.rest = ExchangeRest("http://exchange", clock=clock, transport=exchange.transport(), rng=random.Random(2))
        monotonic = lambda: round(asyncio.get_running_loop().time() * 1e9)  # noqa: E731
        via = Repairs(
            self.rest, self.ledger, self.symbols, self._deliver, self.verdicts.append, clock, monotonic, asyncio.sleep
        )
        self.backfill = Backfill(via, time_ns=clock, rng=random.Random(1), **options)
        self.task = asyncio.create_task(self.backfill.run())

    async def _deliver(self, batch: TickBatch) -> None:
        self.delivered.append(batch)
        self.backfill.notice(self.ledger.admit(batch).changed)

    def trades(self, symbol: str, count: int, *, age_ms: int = 0, step_ms: int = 1000) -> None:
        """Let trades have happened, the last one ``age_ms`` ago."""
        newest = self.exchange.now_ms() - age_ms
        for k in range(count):
            self.exchange.record(symbol, T=newest - (count - 1 - k) * step_ms)

    def came(self, symbol: str, *numbers: int) -> None:
        """Let trades have come over the socket."""
        known = {row["a"]: row for row in self.exchange.trades[symbol]}
        rows = [AggTradeRow(known[n]["a"], 1.0, 1.0, known[n]["l"], known[n]["T"], False) for n in numbers]
        batch = agg_trades_batch(rows, self.symbols, symbol, self.exchange.now_ms() * 1_000_000)
        self.backfill.notice(self.ledger.admit(batch).changed)

    def asked(self) -> list[tuple[str, int, int]]:
        return [
            (params["symbol"], int(params.get("fromId", -1)), int(params["limit"]))
            for params in self.exchange.asked("aggTrades")
        ]

    def missing(self) -> list[tuple[int, int]]:
        return [span for _, ranges in self.ledger.open_gaps() for span in ranges]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_a_hole_is_asked_for_once_after_its_grace(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 10)
        shop.came("BTCUSDT", 1, 2, 6)
        await asyncio.sleep(0.45)
        assert shop.asked() == []
        await asyncio.sleep(0.1)
        assert shop.asked() == [("BTCUSDT", 3, 3)]
        assert shop.ledger.open_gaps() == []
        assert [int(i) for batch in shop.delivered for i in batch.trade_id] == [3, 4, 5]
        assert shop.backfill.pending == 0
        await shop.stop()

    simulate(main())


def test_a_hole_that_fills_by_itself_is_not_asked_for(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 10)
        shop.came("BTCUSDT", 1, 3)
        await asyncio.sleep(0.4)
        shop.came("BTCUSDT", 2)
        await asyncio.sleep(5)
        assert shop.asked() == []
        await shop.stop()

    simulate(main())


def test_a_large_hole_is_asked_for_in_pages_the_newest_first(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 2600, step_ms=10)
        shop.came("BTCUSDT", 1, 2600)
        await asyncio.sleep(2)
        assert shop.asked() == [("BTCUSDT", 1600, 1000), ("BTCUSDT", 600, 1000), ("BTCUSDT", 2, 598)]
        assert shop.missing() == []
        await shop.stop()

    simulate(main())


def test_small_holes_near_each_other_are_asked_for_together(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 900, step_ms=10)
        shop.came("BTCUSDT", *(k for k in range(1, 901) if k % 100))
        assert len(shop.ledger.open_gaps()) == 8
        await asyncio.sleep(2)
        assert len(shop.asked()) == 1
        assert shop.missing() == []
        await shop.stop()

    simulate(main())


def test_symbols_take_turns_so_that_a_large_hole_does_not_keep_the_small_ones_waiting(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange, parallel=1)
        for name in ("AUSDT", "BUSDT", "CUSDT"):
            shop.trades(name, 5000, step_ms=10)
        shop.came("AUSDT", 1, 5000)
        shop.came("BUSDT", 1, 5000)
        shop.came("CUSDT", 1, 3)
        await asyncio.sleep(3)
        assert [symbol for symbol, _, _ in shop.asked()] == ["CUSDT", *["AUSDT", "BUSDT"] * 5]
        assert shop.missing() == []
        await shop.stop()

    simulate(main())


def test_several_symbols_are_asked_for_at_once_but_never_one_symbol_twice(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        running: dict[str, int] = {}
        most: list[int] = []
        shop = Shop(exchange, parallel=3)
        plain = shop.rest.agg_trades

        async def slow(symbol: str, **options: Any) -> list[AggTradeRow]:
            running[symbol] = running.get(symbol, 0) + 1
            most.append(len(running))
            assert running[symbol] == 1
            await asyncio.sleep(0.2)
            running.pop(symbol)
            return await plain(symbol, **options)

        shop.rest.agg_trades = slow  # type: ignore[method-assign]
        for k in range(8):
            shop.trades(f"S{k}USDT", 2500, step_ms=10)
            shop.came(f"S{k}USDT", 1, 2500)
        await asyncio.sleep(10)
        assert shop.missing() == []
        assert max(most) == 3
        await shop.stop()

    simulate(main())


def test_the_budget_of_the_minute_is_kept_however_much_is_missing(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.rest.budget.limit = 240
        shop.trades("BTCUSDT", 30_000, step_ms=1)
        shop.came("BTCUSDT", 1, 30_000)
        minutes: dict[int, int] = {}
        for _ in range(180):
            before = len(shop.asked())
            await asyncio.sleep(1)
            minute = (exchange.now_ms() - 1) // 60_000
            minutes[minute] = minutes.get(minute, 0) + 20 * (len(shop.asked()) - before)
        assert max(minutes.values()) == 240
        assert shop.missing() == []
        await shop.stop()

    simulate(main())


def test_ids_that_the_exchange_answers_nothing_for_are_given_up_after_some_tries_and_the_others_repaired(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 20)
        exchange.hidden = {("BTCUSDT", 5), ("BTCUSDT", 6)}
        shop.came("BTCUSDT", 1, 10)
        await asyncio.sleep(60)
        assert [(g.from_id, g.to_id, g.status, g.missing) for g in shop.verdicts] == [(5, 6, "unrepairable", 2)]
        assert len(shop.asked()) == 5
        assert shop.missing() == []
        assert shop.backfill.pending == 0
        assert sorted(int(i) for batch in shop.delivered for i in batch.trade_id) == [2, 3, 4, 7, 8, 9]
        await shop.stop()

    simulate(main())


@pytest.mark.parametrize(
    "failure", [httpx2.ConnectError("x"), httpx2.Response(503), httpx2.Response(200, text="<html>")]
)
def test_a_failure_is_no_verdict(exchange: Any, simulate: Simulate, failure: Any) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 5)
        exchange.answers.extend([failure] * 3)
        shop.came("BTCUSDT", 1, 5)
        await asyncio.sleep(60)
        assert shop.missing() == []
        assert shop.verdicts == []
        await shop.stop()

    simulate(main())


def test_an_exchange_that_is_away_for_an_hour_is_asked_now_and_then_and_then_all_is_repaired(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 5)
        exchange.answers.extend([httpx2.ConnectError("away")] * 100_000)
        shop.came("BTCUSDT", 1, 5)
        await asyncio.sleep(3600)
        assert 200 < len(shop.asked()) < 1500
        exchange.answers.clear()
        await asyncio.sleep(60)
        assert shop.missing() == []
        assert shop.verdicts == []
        await shop.stop()

    simulate(main())


def test_a_symbol_that_the_exchange_does_not_know_is_given_up(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("GONEUSDT", 5)
        refusal = httpx2.Response(400, json={"code": -1121, "msg": "Invalid symbol."})
        exchange.answers.extend([refusal] * 4)
        shop.came("GONEUSDT", 1, 5)
        await asyncio.sleep(60)
        assert [(g.from_id, g.to_id, g.status) for g in shop.verdicts] == [(2, 4, "unrepairable")]
        await shop.stop()

    simulate(main())


def test_what_is_older_than_48_hours_is_given_up_at_once_without_a_question_for_it(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 10, age_ms=50 * HOUR_MS)
        shop.came("BTCUSDT", 1, 10)
        await asyncio.sleep(2)
        assert shop.asked() == []
        assert [(g.from_id, g.to_id, g.status, g.missing) for g in shop.verdicts] == [(2, 9, "unrepairable", 8)]
        assert shop.verdicts[0].ended_ns > 0
        await shop.stop()

    simulate(main())


def test_of_a_hole_that_reaches_beyond_48_hours_the_newer_part_is_repaired(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 100, step_ms=HOUR_MS)
        exchange.hidden = {("BTCUSDT", k) for k in range(1, 53)}
        shop.came("BTCUSDT", 1, 100)
        await asyncio.sleep(5)
        assert [(g.from_id, g.to_id, g.status) for g in shop.verdicts] == [(2, 52, "unrepairable")]
        assert sorted(int(i) for batch in shop.delivered for i in batch.trade_id) == list(range(53, 100))
        assert shop.missing() == []
        await shop.stop()

    simulate(main())


def test_unusable_numbers_from_the_exchange_itself_close_the_hole_as_void(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 2)
        exchange.record("BTCUSDT", size="0.000")
        shop.trades("BTCUSDT", 2)
        shop.came("BTCUSDT", 1, 5)
        await asyncio.sleep(2)
        assert shop.missing() == []
        assert shop.verdicts == []
        assert [batch.void for batch in shop.delivered] == [((0, 3),)]
        await shop.stop()

    simulate(main())


def test_holes_that_a_store_left_open_are_taken_up_at_the_start(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 10)
        gap = Gap("BTCUSDT", 3, 6, "open", 3)
        shop.ledger.resume("BTCUSDT", next_id=9, gaps=[(gap, [(3, 4), (6, 6)])])
        await asyncio.sleep(1)
        assert shop.missing() == []
        assert sorted(int(i) for batch in shop.delivered for i in batch.trade_id if i not in {5}) == [3, 4, 6]
        await shop.stop()

    simulate(main())


def test_who_stands_by_asks_for_nothing_and_takes_it_all_up_at_once_afterwards(
    exchange: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        shop = Shop(exchange)
        shop.trades("BTCUSDT", 10)
        shop.backfill.stand_by(waits=True)
        shop.came("BTCUSDT", 1, 2, 6)
        await asyncio.sleep(600)
        assert shop.asked() == []
        shop.backfill.stand_by(waits=False)
        await asyncio.sleep(0.1)
        assert shop.asked() == [("BTCUSDT", 3, 3)]
        assert shop.missing() == []
        await shop.stop()

    simulate(main())
