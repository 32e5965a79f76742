"""Who stands by fills its holes from what the active one stored, and asks again for what is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairscope.feed.stored_trades import StoredTrades
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

SYMBOLS = Symbols(["ETHUSDT", "BTCUSDT"])


class Standing:
    """A store that somebody else writes, a ledger with holes, and what looks one up for the other."""

    def __init__(self, store: DuckDBStore, ticks_of: Callable[..., TickBatch], noon_ns: int) -> None:
        self.store = store
        self.ledger = Continuity()
        self.delivered: list[int] = []
        self.now_s = 0.0
        self._ticks_of = ticks_of
        self._noon_ns = noon_ns
        options: dict[str, Any] = {"monotonic": lambda: self.now_s}
        self.holes = StoredTrades(store, SYMBOLS, self.ledger, self._deliver, **options)

    async def _deliver(self, batch: TickBatch) -> None:
        assert batch.symbols is SYMBOLS
        self.delivered += batch.trade_id.tolist()
        self.ledger.admit(batch)

    def batch(self, ids: Sequence[int], *, symbols: Symbols | None = None, void: Sequence[int] = ()) -> TickBatch:
        rows = [("BTCUSDT", i, self._noon_ns + i * 10_000_000, "1", "1", False) for i in ids]
        made = self._ticks_of(rows, symbols=symbols or Symbols(), watermark_ns=self._noon_ns)
        return replace(made, void=tuple((made.symbols.id_of("BTCUSDT"), i) for i in void))

    def came(self, *ids: int) -> None:
        self.ledger.admit(self.batch(ids, symbols=SYMBOLS))

    def missing(self) -> list[tuple[int, int]]:
        return [span for _, ranges in self.ledger.open_gaps() for span in ranges]


@pytest.fixture
async def standing(tmp_path: Path, ticks_of: Callable[..., TickBatch], noon_ns: int) -> Any:
    store = await DuckDBStore.open(tmp_path / "other.duckdb")
    yield Standing(store, ticks_of, noon_ns)
    await store.close()


async def test_a_hole_is_filled_with_the_very_trades_that_are_missing(standing: Standing) -> None:
    await standing.store.append(standing.batch(range(1, 31)))
    standing.came(1, 2, 11, 12, 20)
    await standing.holes.fill()
    assert standing.delivered == [*range(3, 11), *range(13, 20)]
    assert standing.missing() == []


async def test_what_is_not_stored_yet_stays_a_hole_and_is_looked_up_again(standing: Standing) -> None:
    await standing.store.append(standing.batch(range(1, 6)))
    standing.came(1, 10)
    await standing.holes.fill()
    assert standing.missing() == [(6, 9)]
    await standing.store.append(standing.batch(range(6, 10)))
    standing.now_s = 60.0
    await standing.holes.fill()
    assert standing.missing() == []
    assert standing.delivered == list(range(2, 10))


async def test_what_is_no_trade_closes_its_hole_too(standing: Standing) -> None:
    await standing.store.append(standing.batch([1, 2, 5, 6], void=[3, 4]))
    standing.came(1, 6)
    await standing.holes.fill()
    assert standing.missing() == []
    assert standing.delivered == [2, 5]


async def test_a_large_hole_comes_page_by_page(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairscope.feed.stored_trades.PAGE", 7)
    await standing.store.append(standing.batch(range(1, 101)))
    standing.came(1, 100)
    await standing.holes.fill()
    assert standing.delivered == list(range(2, 100))
