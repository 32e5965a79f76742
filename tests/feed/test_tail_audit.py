"""The loss that no later trade reveals: found by the exchange's newest ids, fetched, declared, and never invented."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from pairscope.feed.backfill import Repairs
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.tail_audit import MAX_ASKED, TailAudit
from pairscope.feed.wire import AggTradeRow, agg_trades_batch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

Simulate = Callable[[Awaitable[None]], None]


class Shop:
    """A ledger, what the sockets brought last, and an exchange that has printed more or not."""

    def __init__(self, exchange: Any, names: list[str]) -> None:
        self.exchange = exchange
        exchange.now_ms = lambda: 1_700_000_000_000 + round(asyncio.get_running_loop().time() * 1000)
        self.ledger = Continuity()
        self.symbols = Symbols(names)
        self.raw: dict[str, int] = {}
        self.verdicts: list[Gap] = []
        self.delivered: list[TickBatch] = []
        clock = lambda: exchange.now_ms() * 1_000_000  # noqa: E731
        monotonic = lambda: round(asyncio.get_running_loop().time() * 1e9)  # noqa: E731
        rest = ExchangeRest("http://exchange", clock=clock, transport=exchange.transport())
        via = Repairs(rest, self.ledger, self.symbols, self._deliver, self.verdicts.append, clock, monotonic)
        self.audit = TailAudit(via, names, lambda symbol: self.raw.get(symbol, -1))

    async def _deliver(self, batch: TickBatch) -> None:
        self.delivered.append(batch)
        self.ledger.admit(batch)

    def came(self, symbol: str, *rows: dict[str, Any]) -> None:
        """Let trades come over the socket."""
        made = [AggTradeRow(row["a"], 1.0, 1.0, row["l"], row["T"], False) for row in rows]
        self.ledger.admit(agg_trades_batch(made, self.symbols, symbol, 1))
        self.raw[symbol] = max(row["l"] for row in rows)

    def asked(self) -> list[tuple[str, str]]:
        return [(p["symbol"], p.get("fromId", "")) for p in self.exchange.asked("aggTrades")]


def test_a_tail_that_never_came_is_declared_and_delivered(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT", "ETHUSDT"])
        for name in ("BTCUSDT", "ETHUSDT"):
            shop.came(name, *[exchange.record(name) for _ in range(3)])
        for _ in range(2):
            exchange.record("ETHUSDT")
        assert await shop.audit.audit() == {"ETHUSDT"}
        assert [(g.symbol, g.from_id, g.to_id, g.status, g.missing) for g in shop.verdicts] == [
            ("ETHUSDT", 4, 5, "open", 2)
        ]
        assert shop.verdicts[0].after_ns == exchange.trades["ETHUSDT"][2]["T"] * 1_000_000
        assert [batch.trade_id.tolist() for batch in shop.delivered] == [[4, 5]]
        assert shop.ledger.open_gaps() == []
        assert await shop.audit.audit() == frozenset()
        assert shop.asked() == [("ETHUSDT", "4")]

    simulate(main())


def test_what_is_still_on_its_way_is_no_loss(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        shop.came("BTCUSDT", exchange.record("BTCUSDT"))
        row = exchange.record("BTCUSDT")
        asyncio.get_running_loop().call_later(1.0, lambda: shop.came("BTCUSDT", row))
        assert await shop.audit.audit() == frozenset()
        assert shop.asked() == []

    simulate(main())


def test_a_trade_newer_than_the_list_is_left_to_the_socket(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        row = exchange.record("BTCUSDT")
        shop.came("BTCUSDT", row)
        exchange.tickers = [{"symbol": "BTCUSDT", "lastId": row["l"] + 1}]
        exchange.record("BTCUSDT", l=row["l"] + 9)
        assert await shop.audit.audit() == frozenset()
        assert shop.asked() == [("BTCUSDT", "2")]
        assert shop.verdicts == []

    simulate(main())


def test_a_tail_of_several_pages_comes_whole(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        shop.came("BTCUSDT", exchange.record("BTCUSDT"))
        for _ in range(2300):
            exchange.record("BTCUSDT")
        assert await shop.audit.audit() == {"BTCUSDT"}
        assert [int(i) for batch in shop.delivered for i in batch.trade_id] == list(range(2, 2302))
        assert shop.ledger.open_gaps() == []

    simulate(main())


def test_a_symbol_that_has_not_begun_begins_with_what_is_printed_from_now_on(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["THINUSDT"])
        for _ in range(3):
            exchange.record("THINUSDT")
        assert await shop.audit.audit() == frozenset()
        assert shop.asked() == []
        exchange.record("THINUSDT")
        assert await shop.audit.audit() == {"THINUSDT"}
        assert [batch.trade_id.tolist() for batch in shop.delivered] == [[4]]
        assert shop.verdicts == []

    simulate(main())


def test_many_late_symbols_are_asked_for_in_turns(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        names = [f"S{k:03}USDT" for k in range(MAX_ASKED + 10)]
        shop = Shop(exchange, names)
        for name in names:
            shop.came(name, exchange.record(name))
            exchange.record(name)
        first = await shop.audit.audit()
        assert first is not None
        assert len(first) == MAX_ASKED
        second = await shop.audit.audit()
        assert second is not None
        assert first | second == set(names)

    simulate(main())


def test_no_answer_is_no_verdict(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        exchange.answers.extend([httpx2.ConnectError("x")] * 3)
        assert await shop.audit.audit() is None
        assert (shop.audit.audits, shop.audit.failures) == (1, 1)
        assert shop.audit.attempted_ns > 0

    simulate(main())


def test_it_is_made_every_minute_and_soon_when_asked(exchange: Any, simulate: Simulate) -> None:
    async def main() -> None:
        shop = Shop(exchange, ["BTCUSDT"])
        task = asyncio.create_task(shop.audit.run())
        await asyncio.sleep(630)
        assert shop.audit.audits == 10
        shop.audit.ask()
        await asyncio.sleep(3)
        assert shop.audit.audits == 11
        task.cancel()

    simulate(main())
