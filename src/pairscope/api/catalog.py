"""Which symbols there are: those the engine follows and those the store holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from difflib import get_close_matches

from pairscope.errors import InputError, StorageError, UnknownSymbol
from pairscope.market.symbols import normalize_symbol
from pairscope.ports import Services, SymbolSummary

__all__ = ["Catalog", "clean_symbol"]

MAX_SYMBOL = 40
_FRESH_NS = 1_000_000_000
_UPLOADED_FRESH_NS = 10_000_000_000


def clean_symbol(text: str, loc: str = "symbol") -> str:
    """Return a symbol as the exchange spells it; ``InputError`` names the parameter ``loc`` where no exchange could."""
    if len(text) > MAX_SYMBOL:
        raise InputError(f"a symbol has at most {MAX_SYMBOL} characters", loc=loc)
    name = normalize_symbol(text)
    if not name or not name.isprintable() or any(c.isspace() for c in name):
        raise InputError("a symbol has letters and digits only", loc=loc)
    return name


class Catalog:
    """Names, and what the store holds of each; the store is asked at most once a second, by one at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stored: Mapping[str, SymbolSummary] = {}
        self._read_ns: int | None = None
        self._asking = asyncio.Lock()
        self._uploaded: frozenset[str] = frozenset()
        self._uploaded_ns: int | None = None
        self._forgotten = 0

    async def resolve(self, text: str) -> str:
        """Return a known symbol; ``UnknownSymbol`` lists names like it."""
        name = clean_symbol(text)
        if name in self._services.live.symbols() or name in await self.stored():
            return name
        raise UnknownSymbol(name, await self.close_to(name))

    async def close_to(self, name: str) -> tuple[str, ...]:
        """Return up to three known names like this one."""
        known = {*self._services.live.symbols(), *await self.stored()}
        return tuple(get_close_matches(name, sorted(known), n=3, cutoff=0.6))

    async def stored(self) -> Mapping[str, SymbolSummary]:
        """Return what the store holds by symbol, not older than a second; what was last heard where it is down."""
        if not self._fresh():
            async with self._asking:
                if not self._fresh():
                    await self._ask()
        return self._stored

    def _fresh(self) -> bool:
        return self._read_ns is not None and 0 <= self._services.clock() - self._read_ns < _FRESH_NS

    async def _ask(self) -> None:
        now_ns, forgotten = self._services.clock(), self._forgotten
        try:
            self._stored = {summary.symbol: summary for summary in await self._services.store.symbols()}
        except StorageError:
            if not self._services.live.symbols():
                raise
        self._read_ns = now_ns if forgotten == self._forgotten else None

    async def uploaded(self) -> frozenset[str]:
        """Return the symbols that people brought bars of, not older than ten seconds; the last known while it is down.

        What this process stores itself is known at once: see ``forget``.
        """
        now_ns, forgotten = self._services.clock(), self._forgotten
        if self._uploaded_ns is None or not 0 <= now_ns - self._uploaded_ns < _UPLOADED_FRESH_NS:
            try:
                self._uploaded = frozenset(span.symbol for span in await self._services.store.uploaded())
            except StorageError:
                if not self._services.live.symbols():
                    raise
            self._uploaded_ns = now_ns if forgotten == self._forgotten else None
        return self._uploaded

    def forget(self) -> None:
        """Ask the store again next time, also if it is just answering: something was brought or taken away."""
        self._forgotten += 1
        self._read_ns = self._uploaded_ns = None
