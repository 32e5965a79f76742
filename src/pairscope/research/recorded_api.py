"""A running instance as what it has recorded: the reads of its store, over its API."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Self

import httpx2

from pairscope.errors import ApiRefused, ApiUnreachable, ConfigError
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import SymbolSummary
from pairscope.schemas.recorded import unframed, unpack_bars, unpack_document, unpack_ticks

__all__ = ["RecordedApi"]

_PATIENCE_S: Final = 120.0
_SETTLED_NS: Final = 60_000_000_000
"""How far behind its newest time a running instance is taken as settled: late ticks still correct what is newer."""


class RecordedApi:
    """``Recorded`` over HTTP; what has happened in the last minute is left to the next time."""

    def __init__(self, base_url: str, api_key: str = "", *, client: httpx2.AsyncClient | None = None) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": "pairscope-verify"}
        if api_key:
            headers["X-API-Key"] = api_key
        self._http = client or httpx2.AsyncClient(
            base_url=base_url, headers=headers, timeout=_PATIENCE_S, trust_env=False
        )
        self._symbols = Symbols()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars."""
        return [SymbolSummary(**row) for row in (await self._summary())["symbols"]]

    async def watermark_ns(self) -> int:
        """Up to when what is stored has settled."""
        return max(0, int((await self._summary())["watermark_ns"]) - _SETTLED_NS)

    async def ticks_since(self, start_ns: int) -> AsyncGenerator[TickBatch, None]:
        """Every symbol's ticks from an event time on, in batches."""
        async with aclosing(self._stream("/api/recorded/ticks", start_ns=start_ns)) as documents:
            async for document in documents:
                yield unpack_ticks(document, self._symbols)

    async def ticks_received(self, start_ns: int, end_ns: int) -> AsyncGenerator[TickBatch, None]:
        """Every symbol's ticks that were received in a range, in batches."""
        query = {"by": "received", "start_ns": start_ns, "end_ns": end_ns}
        async with aclosing(self._stream("/api/recorded/ticks", **query)) as documents:
            async for document in documents:
                yield unpack_ticks(document, self._symbols)

    async def ticks(self, symbol: str, start_ns: int, end_ns: int, *, limit: int) -> TickBatch:
        """Ticks of one symbol by event time."""
        query = {"symbol": symbol, "start_ns": start_ns, "end_ns": end_ns}
        found = [unpack_ticks(d, self._symbols) async for d in self._stream("/api/recorded/ticks", **query)]
        return found[0].take(slice(limit))

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Closed base bars of every symbol in a range."""
        return await self._bars(timeframe=timeframe, start_ns=start_ns, end_ns=end_ns)

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch:
        """Closed bars of any timeframe, oldest first."""
        found = await self._bars(symbol=symbol, timeframe=timeframe, start_ns=start_ns, end_ns=end_ns)
        return found.take(slice(max(len(found) - limit, 0), None) if newest else slice(limit))

    async def scan(self, collection: str, after: str = "") -> AsyncGenerator[tuple[str, bytes], None]:
        """Every (key, document) of a collection with a key greater than ``after``, by key."""
        async with aclosing(self._stream("/api/recorded/documents", collection=collection, after=after)) as documents:
            async for document in documents:
                yield unpack_document(document)

    async def _summary(self) -> Any:
        answer = await self._http.get("/api/recorded")
        _demand_success(answer)
        return answer.json()

    async def _bars(self, **query: Any) -> BarBatch:
        found = [unpack_bars(document, self._symbols) async for document in self._stream("/api/recorded/bars", **query)]
        return found[0]

    async def _stream(self, path: str, **query: Any) -> AsyncGenerator[bytes, None]:
        asked = {name: max(value, 0) if isinstance(value, int) else value for name, value in query.items()}
        try:
            async with self._http.stream("GET", path, params=asked) as answer:
                _demand_success(answer)
                async with aclosing(answer.aiter_bytes()) as pieces, aclosing(unframed(pieces)) as documents:
                    async for document in documents:
                        yield document
        except httpx2.TransportError as error:
            raise ApiUnreachable(f"the Pairscope at {self._http.base_url} stopped answering: {error}") from error


def _demand_success(answer: httpx2.Response) -> None:
    if answer.status_code == 401:
        raise ConfigError.key_wanted()
    if not answer.is_success:
        raise ApiRefused(f"the Pairscope that runs here answered {answer.status_code}", http_status=answer.status_code)
