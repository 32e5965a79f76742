"""Where an export comes from: the store, or the API of the Pairscope that holds it; the same bytes either way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from pairscope.errors import ApiRefused, ApiUnreachable, ConfigError, InputError, PairscopeError
from pairscope.market.pairs import HedgeMethod, PairSettings, PriceSpace
from pairscope.transfer.export import Export, Layout
from pairscope.transfer.export_format import Compression, Format, FormatName
from pairscope.transfer.export_history import History, HistorySource
from pairscope.transfer.export_pair import PairSource
from pairscope.transfer.export_source import BarSource, Source, TickSource

__all__ = ["FromApi", "FromStore", "Origin", "Wish"]

_MS: Final = 1_000_000
_PATIENCE_S: Final = 600.0
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """An export as it is asked of a store or of an API; with what a file that broke off was begun."""

    symbols: tuple[str, ...]
    timeframe: str
    start_ns: int
    end_ns: int
    format: FormatName
    compression: Compression
    columns: str
    pair: tuple[str, str] | None
    lookback: int
    window: int
    method: HedgeMethod
    price_space: PriceSpace
    history: History | None

    @property
    def kind(self) -> str:
        """What is in the file, for its name."""
        if self.history is not None:
            return self.history
        return self.timeframe if self.pair is None else f"pair_{self.timeframe}_{self.method}"

    def pair_settings(self) -> PairSettings:
        """Return how the pair is computed; ``InputError`` names the field that cannot be."""
        y, x = self.pair or ("", "")
        return PairSettings(
            y, x, timeframe=self.timeframe, lookback=self.lookback, window=self.window, method=self.method,
            price_space=self.price_space,
        )  # fmt: skip


class Origin(Protocol):
    """Where rows come from: a store, or a Pairscope that holds one."""

    async def symbols(self) -> list[str]:
        """Every symbol of which something is stored."""
        ...

    def file(
        self, wish: Wish, start: int, etag: str
    ) -> AbstractAsyncContextManager[tuple[int, str, AsyncGenerator[bytes, None]]]:
        """The file from a byte on, where it is still the one with that ETag, else from its beginning.

        Returns the byte that it begins with, its ETag (empty: it cannot be taken up again) and its pieces.
        """
        ...


class FromStore:
    """A store that is also its records."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def symbols(self) -> list[str]:
        """Every symbol of which something is stored."""
        return [summary.symbol for summary in await self._store.symbols()]

    @asynccontextmanager
    async def file(
        self, wish: Wish, start: int, etag: str
    ) -> AsyncGenerator[tuple[int, str, AsyncGenerator[bytes, None]], None]:
        made = Export(self._source(wish), Format(wish.format, wish.compression))
        fingerprint = await made.source.fingerprint()
        named = "" if fingerprint is None else made.etag(fingerprint)
        begin = start if named and named == etag else 0
        async with aclosing(made.pieces(Layout(), start=begin)) as pieces:
            yield begin, named, pieces

    def _source(self, wish: Wish) -> Source:
        store, everything = self._store, wish.columns == "all"
        if wish.history is not None:
            return HistorySource(store, wish.history, wish.start_ns, wish.end_ns)
        if wish.pair is not None:
            return PairSource(store, wish.pair_settings(), wish.start_ns, wish.end_ns)
        if wish.timeframe == "tick":
            return TickSource(store, wish.symbols, wish.start_ns, wish.end_ns, everything=everything)
        return BarSource(store, wish.symbols, wish.timeframe, wish.start_ns, wish.end_ns, everything=everything)


class FromApi:
    """A Pairscope that runs, over HTTP; ``ApiUnreachable`` where the connection breaks."""

    def __init__(self, address: str, api_key: str) -> None:
        self._address = address
        self._headers = {"User-Agent": "pairscope-export", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["X-API-Key"] = api_key

    async def symbols(self) -> list[str]:
        """Every symbol of which something is stored."""
        async with self._asking("/api/symbols", {}, {}) as answer:
            await answer.aread()
            return [row["symbol"] for row in answer.json() if row["tick_count"] or row["last_timestamp"]]

    @asynccontextmanager
    async def file(
        self, wish: Wish, start: int, etag: str
    ) -> AsyncGenerator[tuple[int, str, AsyncGenerator[bytes, None]], None]:
        headers = {"Range": f"bytes={start}-", "If-Range": etag} if start else {}
        async with self._asking(*_address_of(wish), headers) as answer:
            begin = start if answer.status_code in {206, 416} else 0
            async with aclosing(self._pieces(answer)) as pieces:
                yield begin, answer.headers.get("etag", "") or (etag if begin else ""), pieces

    @asynccontextmanager
    async def _asking(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncGenerator[Any, None]:
        import httpx2

        try:
            async with (
                httpx2.AsyncClient(
                    base_url=self._address, headers=self._headers, timeout=_PATIENCE_S, trust_env=False
                ) as http,
                http.stream("GET", path, params=query, headers=headers) as answer,
            ):
                whole = answer.status_code == 416 and headers and _ends_at(answer, headers)
                if not answer.is_success and not whole:
                    await answer.aread()
                    raise _refusal(answer)
                yield answer
        except httpx2.TransportError as error:
            raise ApiUnreachable(
                f"the Pairscope at {self._address} stopped answering: {error}", hint="go on with --resume"
            ) from error

    async def _pieces(self, answer: Any) -> AsyncGenerator[bytes, None]:
        if answer.status_code != 416:
            async for piece in answer.aiter_bytes(_PIECE):
                yield piece


def _ends_at(answer: Any, headers: Mapping[str, str]) -> bool:
    """Whether nothing is left of a file: it ends where its next byte was asked for."""
    said = str(answer.headers.get("content-range", ""))
    return said.rpartition("/")[2] == headers["Range"].removeprefix("bytes=").rstrip("-")


def _refusal(answer: Any) -> PairscopeError:
    try:
        said = answer.json()
        detail = str(said.get("detail", ""))
    except ValueError:
        detail = ""
    if answer.status_code == 401:
        return ConfigError.key_wanted()
    if answer.status_code in {404, 422}:
        return InputError(detail or "the Pairscope that runs here cannot do that")
    return ApiRefused(
        f"the Pairscope that runs here answered {answer.status_code}: {detail}", http_status=answer.status_code
    )


def _address_of(wish: Wish) -> tuple[str, dict[str, Any]]:
    query: dict[str, Any] = {"format": wish.format, "compression": wish.compression, "end": wish.end_ns // _MS}
    if wish.start_ns:
        query["start"] = wish.start_ns // _MS
    if wish.history is not None:
        return f"/api/export/history/{wish.history}", query
    query["timeframe"] = wish.timeframe
    if wish.pair is not None:
        query |= {name: getattr(wish, name) for name in ("lookback", "window", "method", "price_space")}
        return f"/api/export/pair/{quote(wish.pair[0], safe='')}/{quote(wish.pair[1], safe='')}", query
    return f"/api/export/{quote(','.join(wish.symbols), safe=',')}", query | {"columns": wish.columns}
