"""Back-fills and archive files as jobs beside a running feed: one of each kind at a time, cancelled within a moment."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from pairscope.errors import InputError, UnknownJob
from pairscope.feed.archive_names import archive_addresses, is_exchange_name, named
from pairscope.feed.backfill import KEPT_NS
from pairscope.feed.bulk_fill import BulkFill
from pairscope.feed.exchange_import import import_file
from pairscope.feed.older_ticks import Again, Imported, Noted, Shelf, never_again, unnoted
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.tick_import import TradeFile, import_ticks
from pairscope.market.symbols import normalize_symbol
from pairscope.ports import Clock, Records, TickStore
from pairscope.ports_bulk import BulkRequest
from pairscope.ports_research import JobHandle, Jobs, JobView

__all__ = ["BulkLoader", "checked"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

Exported = Callable[[Path, str, str | None], TradeFile | None]
"""Opens a file of trades that an export wrote, by path, name and whose it is said to be; None of any other."""

BACKFILL: Final = "backfill"
EXCHANGE: Final = "exchange"
MOST_SYMBOLS: Final = 1000
_LOOK_S: Final = 0.2
_FIRST_NS: Final = 1_483_228_800 * 10**9


class BulkLoader:
    """``BulkHistory`` in one event loop. ``directory`` holds files until they are read, and nothing else."""

    def __init__(
        self,
        *,
        rest: ExchangeRest,
        store: TickStore,
        records: Records,
        jobs: Jobs,
        imported: Imported,
        clock: Clock,
        directory: Path,
        note: Noted = unnoted,
        again: Again = never_again,
        exported: Exported = lambda _path, _name, _symbol: None,
    ) -> None:
        self._rest = rest
        self._shelf = Shelf(store, records, imported, note, again)
        self._jobs = jobs
        self._clock = clock
        self._directory = directory
        self._exported = exported
        self._fill: BulkFill | None = None
        self._counts: Counter[str] = Counter()
        self._cleaning: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take up what an earlier run was ended in: bars of trades that it stored; files that nobody reads any more."""
        if self._directory.is_dir():
            for path in self._directory.iterdir():
                path.unlink(missing_ok=True)
        await self._shelf.finish()

    def backfill(self, request: BulkRequest) -> JobView:
        """Begin to fetch what is not stored of a range; ``InputError`` of what cannot be asked."""
        request = checked(request, self._clock())
        loop = asyncio.get_running_loop()

        async def fill(handle: JobHandle) -> Mapping[str, Any]:
            own = BulkFill(request, self._shelf, self._rest, clock=self._clock, progress=handle.progress)
            self._fill = own
            try:
                return await own.run()
            finally:
                self._counts["requests"] += own.requests
                self._counts[request.kind] += own.stored
                if self._fill is own:  # one that was cancelled may end behind the beginning of the next
                    self._fill = None

        return self._start(BACKFILL, _title(request), lambda handle: _in_loop(loop, fill(handle), handle))

    async def take_file(self, name: str, pieces: AsyncIterator[bytes], *, symbol: str | None = None) -> JobView:
        """Take in a file of the exchange's archive, or of trades that an export wrote, and begin to read it.

        ``ForeignFile`` where it is neither, by its name or else by what is in it.
        """
        whose = named(name, symbol=symbol).symbol if is_exchange_name(name) else ""
        loop = asyncio.get_running_loop()
        path = self._directory / f"{secrets.token_hex(8)}.part"
        try:
            await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
            with await asyncio.to_thread(path.open, "wb") as file:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)

            own = None if whose else await asyncio.to_thread(self._exported, path, name, symbol)
            if own is None:
                whose = whose or named(name, symbol=symbol).symbol

            async def read(handle: JobHandle) -> Mapping[str, Any]:
                beside: Any = {"clock": self._clock, "progress": handle.progress}
                if own is not None:
                    found = await import_ticks(own, self._shelf, **beside)
                else:
                    found = await import_file(path, self._shelf, name=name, symbol=symbol, **beside)
                self._counts["files"] += 1
                self._counts[found["kind"]] += found["stored"]
                return found

            title = Path(name).name[:80] + (f" of {whose}" if whose else "")
            view = self._start(EXCHANGE, title, lambda handle: _in_loop(loop, read(handle), handle))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        cleaning = asyncio.create_task(self._forget(view.id, path), name="archive file")
        self._cleaning.add(cleaning)
        cleaning.add_done_callback(self._cleaning.discard)
        return view

    async def result(self, id: str) -> Mapping[str, Any]:  # noqa: A002 - what everybody calls it
        """Return what a job came to; waits for it. ``UnknownJob`` where it is not known, or none of these."""
        view = self._jobs.view(id)
        if view is None or view.kind not in {BACKFILL, EXCHANGE}:
            raise UnknownJob(id)
        found: Mapping[str, Any] = await self._jobs.wait(id)
        return found

    def counters(self) -> Mapping[str, Any]:
        """Return what was fetched and read, and how far the back-fill is that runs."""
        fill = self._fill
        running = None
        if fill is not None:
            running = {
                "kind": fill.request.kind,
                "symbols_done": fill.symbols_done,
                "done": fill.done,
                "total": fill.total,
                "stored": fill.stored,
                "requests": fill.requests,
                "weight_left": fill.weight_left,
                "eta_s": round(fill.eta_s, 1),
            }
        names = ("requests", "bars", "trades", "files")
        return {**{name: self._counts[name] for name in names}, "running": running}

    def _start(self, kind: str, title: str, work: Callable[[JobHandle], Any]) -> JobView:
        name = secrets.token_hex(8)
        return self._jobs.start(kind, title, work, id=name, result=f"/api/bulk/{name}")

    async def _forget(self, id: str, path: Path) -> None:  # noqa: A002
        """Remove a file once its job has ended, however that was."""
        over = asyncio.ensure_future(self._jobs.wait(id))
        await asyncio.wait({over})
        over.exception()  # looked at: whoever asks for the answer hears of it
        await asyncio.to_thread(path.unlink, missing_ok=True)


def checked(request: BulkRequest, now_ns: int) -> BulkRequest:
    """Return a request as it is carried out; ``InputError`` names what cannot be asked."""
    symbols = tuple(dict.fromkeys(normalize_symbol(name) for name in request.symbols if name.strip()))
    ways = bool(symbols) + (request.top is not None) + request.every
    if ways != 1:
        raise InputError("say which symbols: by name, the busiest, or all", loc="symbols")
    if len(symbols) > MOST_SYMBOLS:
        raise InputError(f"at most {MOST_SYMBOLS} symbols at once", loc="symbols")
    since_ns = max(request.since_ns, _FIRST_NS)
    until_ns = now_ns if request.until_ns is None else request.until_ns
    if since_ns >= now_ns:
        raise InputError("since must lie in the past", loc="since")
    if until_ns <= since_ns:
        raise InputError("until must be later than since", loc="until")
    if request.kind == "trades" and until_ns <= now_ns - KEPT_NS:
        first = archive_addresses(symbols[0] if symbols else "BTCUSDT", since_ns, until_ns)
        more = f" and {len(first) - 1} more" if len(first) > 1 else ""
        raise InputError(
            "the exchange answers for trades of the last 48 hours only",
            loc="since",
            hint=f"fetch {first[0]}{more}, then read them with `pairscope import`",
        )
    return replace(request, symbols=symbols, since_ns=since_ns)


def _title(request: BulkRequest) -> str:
    """Say in a few words what is fetched."""
    names = request.symbols
    if request.every:
        whose = "all symbols"
    elif request.top is not None:
        whose = f"the {request.top} busiest"
    else:
        whose = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{'minutes' if request.kind == 'bars' else 'trades'} of {whose}"


def _in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], handle: JobHandle) -> T:
    """Do in the event loop what a job is about, while its own thread looks whether it should end."""
    future = asyncio.run_coroutine_threadsafe(work, loop)
    while True:
        try:
            return future.result(_LOOK_S)
        except TimeoutError:
            if future.done():
                raise
        if handle.cancelled():
            future.cancel()
            raise CancelledError
