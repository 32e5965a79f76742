"""What one replica does for all: nothing before it is the desk, and then also what came while nobody was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.alerts.house import above

from pairscope.engine.alert_prices import TradeView
from pairscope.engine.alerts import AlertBook
from pairscope.errors import StoreUnavailable
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import Pipeline
from pairscope.ports_alerts import FiringQuery
from pairscope.process import load_settings
from pairscope.storage.tick_storage import open_store
from pairscope.wiring.desk_parts import DeskParts, TradesBefore
from pairscope.wiring.embedded import Backend

S = 1_000_000_000


class NoFeed:
    """Stands where the feed stands: batches are put in by hand."""

    async def batches(self) -> AsyncIterator[TickBatch]:
        return
        yield

    async def close(self) -> None:
        return


class Candidate(Backend):
    """An instance whose rules may have to judge the past."""

    def make_rules(self) -> AlertBook:
        self.trades = TradesBefore(self.engine)
        return AlertBook(self.symbols, cast("TradeView", self.trades))


class House:
    """A replica's parts on a pipeline, over a store with one rule."""

    def __init__(self, backend: Candidate, ticks_of: Callable[..., TickBatch], noon_ns: int) -> None:
        self.backend, self._ticks_of, self._noon_ns = backend, ticks_of, noon_ns
        self.parts = DeskParts(backend, backend.trades)
        self.pipeline = Pipeline(
            NoFeed(),
            backend.engine,
            backend.writer,
            backend.publisher,
            backend.book,
            clock=backend.clock,
            screen=self.parts.screen,
            alerts=self.parts,
        )
        self._number = 0

    async def trade(self, price: str, *, at_s: int) -> None:
        self._number += 1
        at_ns = self._noon_ns + at_s * S
        row = ("BTCUSDT", self._number, at_ns, price, "1", False)
        await self.pipeline.step(self._ticks_of([row], symbols=self.backend.symbols, watermark_ns=at_ns))

    async def fired(self) -> list[float]:
        firings, _ = await self.backend.alerts.history(FiringQuery())
        return [float(dict(one)["value"]) for one in firings]


@pytest.fixture
async def house(tmp_path: Path, ticks_of: Callable[..., TickBatch], noon_ns: int) -> AsyncIterator[House]:
    settings = load_settings(data_dir=tmp_path, source="live", symbols=("BTCUSDT",))
    first = Backend(settings, await open_store(settings.store_url))
    await first.start()
    await first.alerts.create(above(101))
    await first.close()
    backend = Candidate(settings, await open_store(settings.store_url))
    await backend.writer.start()
    yield House(backend, ticks_of, noon_ns)
    await backend.close()


async def test_a_replica_that_is_not_the_desk_fires_nothing_and_judges_it_once_it_is(house: House) -> None:
    await house.trade("100.0", at_s=1)
    await house.trade("102.0", at_s=2)
    assert house.backend.writer.documents() == []
    await house.parts.restore()
    house.parts.open()
    await house.trade("102.5", at_s=3)
    assert await house.fired() == [102.0], "it had come true while no replica was the desk"


async def test_what_is_longer_ago_than_a_desk_is_away_is_judged_no_more(house: House) -> None:
    await house.trade("102.0", at_s=1)
    await house.trade("100.0", at_s=2)
    for second in range(40, 80, 10):
        await house.trade("100.5", at_s=second)
    await house.parts.restore()
    house.parts.open()
    await house.trade("100.2", at_s=80)
    assert await house.fired() == []


async def test_a_desk_that_has_retired_fires_no_more_and_needs_a_new_process_to_be_one_again(house: House) -> None:
    await house.parts.restore()
    house.parts.open()
    await house.trade("100.0", at_s=1)
    house.parts.shut()
    await house.trade("102.0", at_s=2)
    assert await house.fired() == []
    with pytest.raises(StoreUnavailable, match="start again"):
        await house.parts.restore()


async def test_all_that_works_in_one_replica_only_is_among_its_runs(house: House) -> None:
    runs: Any = house.parts.runs()
    assert set(runs) == {
        "alerts", "backtest kernels", "bulk history", "delivery", "journal", "paper positions", "screens",
        "store keeping",
    }  # fmt: skip
