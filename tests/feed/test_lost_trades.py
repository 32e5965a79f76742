"""What the store lacks and the stream believes stored is fetched again, once it is sure to be lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pairscope.feed.lost_trades import LostTrades
from pairscope.feed.wire import AggTradeRow
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

SYMBOLS = Symbols(["BTCUSDT"])


class Losing:
    """A store that lacks some of what the stream has brought, and an exchange that has it all."""

    def __init__(self, store: DuckDBStore, batch: Callable[..., TickBatch], noon_ns: int) -> None:
        self.store = store
        self.ledger = Continuity()
        self.asked: list[tuple[int, int]] = []
        self.rebuilt: list[tuple[str, int, int]] = []
        self.gone: range | None = None
        self._noon_ns = noon_ns
        self.batch = batch
        self.lost = LostTrades(store, self, SYMBOLS, self.ledger, self._hand_on, clock=lambda: noon_ns)

    async def agg_trades(self, _: str, *, from_id: int, limit: int, **__: Any) -> list[AggTradeRow]:
        self.asked.append((from_id, limit))
        ms = self._noon_ns // 1_000_000
        kept = [i for i in range(from_id, from_id + limit) if self.gone is None or i not in self.gone]
        return [AggTradeRow(i, 1.0, 1.0, i, ms + i, False) for i in kept]

    async def time(self) -> int:
        raise NotImplementedError

    async def ticker_24h(self) -> Any:
        raise NotImplementedError

    async def _hand_on(self, batch: TickBatch, rebuild: tuple[tuple[str, int, int], ...]) -> None:
        await self.store.append(batch)
        self.rebuilt += rebuild


@pytest.fixture
async def losing(tmp_path: Path, ticks_of: Callable[..., TickBatch], noon_ns: int) -> Any:
    def batch(*ids: int) -> TickBatch:
        rows = [("BTCUSDT", i, noon_ns + i * 1_000_000, "1", "1", False) for i in ids]
        return ticks_of(rows, symbols=SYMBOLS, watermark_ns=noon_ns)

    store = await DuckDBStore.open(tmp_path / "lacking.duckdb")
    yield Losing(store, batch, noon_ns)
    await store.close()


async def test_a_hole_of_the_store_alone_is_fetched_and_its_bars_are_made_anew(losing: Losing, noon_ns: int) -> None:
    losing.ledger.admit(losing.batch(*range(1, 11)))
    await losing.store.append(losing.batch(1, 2, 7, 8, 9, 10))
    assert await losing.lost.look() == 0
    assert await losing.lost.look() == 4
    assert losing.asked == [(3, 4)]
    assert losing.rebuilt == [("BTCUSDT", noon_ns + 3_000_000, noon_ns + 6_000_001)]
    assert [gap.status for gap in await losing.store.gaps()] == ["repaired"]


async def test_a_hole_that_the_stream_knows_of_is_left_to_its_own_repair(losing: Losing) -> None:
    losing.ledger.admit(losing.batch(1, 2, 7))
    await losing.store.append(losing.batch(1, 2, 7))
    await losing.lost.look()
    assert await losing.lost.look() == 0
    assert losing.asked == []


async def test_what_was_only_on_its_way_is_not_asked_for(losing: Losing) -> None:
    losing.ledger.admit(losing.batch(*range(1, 11)))
    await losing.store.append(losing.batch(1, 2, 7))
    await losing.lost.look()
    await losing.store.append(losing.batch(3, 4, 5, 6))
    await losing.lost.look()
    assert losing.asked == []


async def test_ids_that_the_exchange_does_not_have_are_given_up_and_asked_for_no_more(losing: Losing) -> None:
    losing.ledger.admit(losing.batch(*range(1, 21)))
    await losing.store.append(losing.batch(1, 2, 7, 8, 12, 13, 20))
    losing.gone = range(3, 7)
    for _ in range(9):
        await losing.lost.look()
    asked = losing.asked.count((3, 4))
    assert 2 <= asked <= 6
    verdicts = {(gap.from_id, gap.to_id): gap.status for gap in await losing.store.gaps()}
    assert verdicts == {(3, 6): "unrepairable", (9, 11): "repaired", (14, 19): "repaired"}
    assert (losing.lost.given_up, losing.lost.fetched) == (4, 9)
    await losing.lost.look()
    assert losing.asked.count((3, 4)) == asked
