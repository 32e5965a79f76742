"""What is read to verify what was recorded: a store's reads, or those of a running instance that holds one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from pairscope.market.bars import BarBatch
from pairscope.market.ticks import TickBatch
from pairscope.ports import SymbolSummary

__all__ = ["Recorded", "ended"]

T = TypeVar("T")


class Recorded(Protocol):
    """What is read to verify: a store, or a running instance that holds one."""

    async def symbols(self) -> list[SymbolSummary]: ...

    async def watermark_ns(self) -> int: ...

    def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]: ...

    def ticks_received(self, start_ns: int, end_ns: int) -> AsyncIterator[TickBatch]: ...

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch: ...

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch: ...

    async def ticks(self, symbol: str, start_ns: int, end_ns: int, *, limit: int) -> TickBatch: ...

    def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]: ...


@asynccontextmanager
async def ended(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Lend an iterator and end it, also where it was not read to its end: it may hold a connection."""
    try:
        yield items
    finally:
        close: Any = getattr(items, "aclose", None)
        if close is not None:
            await close()
