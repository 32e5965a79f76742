"""The exchange's archive files into a store: checked whole, then stored block by block; a kill loses nothing.

To read a file again changes nothing; one that was broken off is simply read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeVar

from pairscope.errors import PairscopeError
from pairscope.feed.exchange_archive import ExchangeFile
from pairscope.feed.older_ticks import OlderTicks, Shelf
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock

__all__ = ["Progress", "each", "import_file", "import_files", "runner"]

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Told of rows read and of rows in the file; 0 of 0 while it is checked."""

_MS: Final = 1_000_000


async def import_files(
    paths: Sequence[Path],
    shelf: Shelf,
    *,
    clock: Clock,
    progress: Callable[[Path, int, int], None] = lambda _path, _done, _total: None,
    symbol: str | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """Read files one after the other and yield what came of each; one that is broken has ``error`` and stores nothing.

    Files below a folder are put in order by :func:`pairscope.feed.archive_names.exchange_files`.
    """
    for path in paths:
        try:
            yield await import_file(
                path,
                shelf,
                clock=clock,
                symbol=symbol,
                progress=lambda done, total, path=path: progress(path, done, total),  # type: ignore[misc]
            )
        except PairscopeError as error:
            if error.retry:
                raise
            yield {"file": path.name, "error": error.line()}


async def import_file(
    path: Path,
    shelf: Shelf,
    *,
    clock: Clock,
    name: str | None = None,
    symbol: str | None = None,
    progress: Progress = lambda _done, _total: None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Read one file into a store and return what came of it; ``ForeignFile`` where it is broken or none of these.

    ``name`` is what the file was called where it came from. Parsing goes on in a thread of ``executor``.
    """
    file = ExchangeFile(path, name=name, symbol=symbol)
    run = runner(executor)
    progress(0, 0)
    await run(file.check)
    now_ns = clock()
    counts = {"stored": 0, "repeats": 0, "healed": 0, "bars": 0}
    async with aclosing(each(file.batches(Symbols(), ts_recv_ns=now_ns), run)) as batches:
        if file.report.kind == "trades":
            ticks = OlderTicks(file.named.symbol, shelf)
            async for batch in batches:
                if isinstance(batch, TickBatch):
                    await ticks.take(batch)
                progress(file.report.rows, max(file.lines, file.report.rows))
            counts["healed"] = await ticks.finish(watermark_ns=min(file.named.end_ns, now_ns))
            counts |= {"stored": ticks.stored, "repeats": ticks.repeats, "bars": ticks.bars}
        else:
            async for batch in batches:
                if isinstance(batch, BarBatch) and len(batch):
                    changed = await shelf.put_bars(batch)
                    counts["stored"] += changed
                    counts["repeats"] += len(batch) - changed
                progress(file.report.rows, max(file.lines, file.report.rows))
    return _document(file, counts)


def _document(file: ExchangeFile, counts: dict[str, int]) -> dict[str, Any]:
    report = file.report
    return {
        "file": Path(report.name).name,
        "symbol": report.symbol,
        "kind": report.kind,
        "timeframe": report.timeframe or None,
        "rows": report.rows,
        **counts,
        "rejected": report.rejected,
        "void": report.void,
        "without_trades": report.empty,
        "reasons": dict(report.reasons),
        "examples": [row._asdict() for row in report.examples],
        "notes": list(report.notes),
        "first_timestamp": report.first_ns // _MS if report.first_ns else None,
        "last_timestamp": report.last_ns // _MS if report.last_ns else None,
    }


def runner(executor: Executor | None) -> Callable[[Callable[[], T]], Awaitable[T]]:
    """Return what does work in a thread."""
    loop = asyncio.get_running_loop()
    return lambda work: loop.run_in_executor(executor, work)


async def each(items: Iterator[T], run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> AsyncGenerator[T, None]:
    """Give what an iterator gives, which is worked out in a thread."""
    end = object()
    try:
        while (item := await run(lambda: next(items, end))) is not end:
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
