"""A store that refuses on command, a writer before it, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pairscope.errors import StoreUnavailable
from pairscope.market.symbols import Symbols
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

S = 1_000_000_000


class MoodyStore:
    """A real store behind a switch: ``refusing`` makes every write fail; ``hold`` makes appends wait."""

    def __init__(self, store: DuckDBStore) -> None:
        self._store = store
        self.refusing: Exception | None = None
        self.appended: list[int] = []
        self.gate: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, batch: Any, bars: Any = (), documents: Any = ()) -> Any:
        if self.gate is not None:
            await self.gate.wait()
        self._check()
        admission = await self._store.append(batch, bars, documents)
        self.appended.append(len(batch))
        return admission

    async def rebuild_bars(self, *args: Any) -> Any:
        self._check()
        return await self._store.rebuild_bars(*args)

    async def put(self, *args: Any, **keywords: Any) -> bool:
        self._check()
        return await self._store.put(*args, **keywords)

    def _check(self) -> None:
        if self.refusing is not None:
            raise self.refusing

    def refuse(self) -> None:
        self.refusing = StoreUnavailable("the store is away")

    def relent(self) -> None:
        self.refusing = None


class HandClock:
    """Nanoseconds that pass when told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def moody(tmp_path: Path) -> AsyncIterator[MoodyStore]:
    store = await DuckDBStore.open(tmp_path / "store.duckdb")
    yield MoodyStore(store)
    await store.close()


@pytest.fixture
def one_symbol():
    return Symbols(["BTCUSDT"])


@pytest.fixture
def some(ticks_of, noon_ns, one_symbol):
    """Make a batch of consecutive ids, a second apart."""

    def make(ids, *, watermark_ns=0):
        rows = [("BTCUSDT", i, noon_ns + i * S, "10.5", "0.25", i % 2 == 0) for i in ids]
        return ticks_of(rows, symbols=one_symbol, watermark_ns=watermark_ns)

    return make


@pytest.fixture
async def make_writer(moody, tmp_path):
    made = []

    async def make(**keywords):
        spool = Spool(tmp_path / "spool", max_bytes=keywords.pop("spool_bytes", 1 << 20))
        writer = StoreWriter(moody, spool=spool, **keywords)
        await writer.start()
        made.append(writer)
        return writer

    yield make
    moody.relent()
    if moody.gate is not None:
        moody.gate.set()
    for writer in made:
        if writer.status().get("reason") != "the writer ended":
            await writer.close()
