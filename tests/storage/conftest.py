"""A store that refuses on command, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pairscope.errors import StoreUnavailable
from pairscope.storage.duckdb_store import DuckDBStore


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
