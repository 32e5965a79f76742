"""An export: rows written into a file that leaves piece by piece, and can be taken up again at any byte.

The same rows make the same bytes. What was learnt of a file while it was written, its length and where its pages begin,
is kept, so that a later part need not be written from the beginning; nothing else is held.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Final, TypeVar

from pairscope.transfer.export_format import Format
from pairscope.transfer.export_source import Mark, Page, Size, Source

__all__ = ["Estimate", "Export", "KnownFiles", "Layout", "Run", "in_thread"]

T = TypeVar("T")
Run = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Does work beside the event loop."""

_KEPT: Final = 64
_SAMPLE: Final = 10_000


async def in_thread(work: Callable[[], bytes]) -> bytes:
    """Do work in a thread of the loop's own."""
    return await asyncio.to_thread(work)


@dataclass(slots=True)
class Layout:
    """What is known of a file: its length in bytes once it was written whole, and which page begins at which byte."""

    length: int | None = None
    offsets: list[tuple[int, Mark | None]] = field(default_factory=lambda: [(0, None)])

    def before(self, offset: int) -> tuple[int, Mark | None]:
        """Return where the last page begins that is known to begin at or before a byte."""
        return next(known for known in reversed(self.offsets) if known[0] <= offset)

    def note(self, offset: int, mark: Mark) -> None:
        """Remember that a page begins at a byte."""
        if offset > self.offsets[-1][0]:
            self.offsets.append((offset, mark))


class KnownFiles:
    """Layouts by ETag, of the files asked for last."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._known: OrderedDict[str, Layout] = OrderedDict()

    def of(self, etag: str) -> Layout:
        """Return what is known of a file."""
        layout = self._known.setdefault(etag, Layout())
        self._known.move_to_end(etag)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return layout


@dataclass(frozen=True, slots=True)
class Estimate:
    """About how large a file will be; ``exact``: it was written to see."""

    size: Size
    bytes: int
    exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A source in a format."""

    source: Source
    format: Format

    def etag(self, fingerprint: str) -> str:
        """Return the strong ETag of the file that rows of a fingerprint make."""
        said = repr((fingerprint, self.source.asked, self.format.name, self.format.compression, _writers()))
        return f'"{hashlib.blake2b(said.encode(), digest_size=16).hexdigest()}"'

    async def pieces(
        self, layout: Layout | None = None, *, start: int = 0, page: Page | None = None, run: Run = in_thread
    ) -> AsyncGenerator[bytes, None]:
        """Yield the file from a byte on, a page at a time; ``page`` is its first page where that was read already.

        While a page is written and sent the next one is read: at most two are held. Whoever stops listening leaves
        nothing behind but the read under way, which ends by itself.
        """
        layout = Layout() if layout is None else layout
        encoder = self.format.encoder()
        offset, mark = layout.before(start) if encoder.independent else (0, None)
        opening = mark is None
        ahead: asyncio.Task[Page] | None = None
        try:
            current = page if opening and page is not None else await self.source.page(mark)
            while True:
                if current.following is not None:
                    ahead = asyncio.ensure_future(self.source.page(current.following))
                write, table = (encoder.first if opening else encoder.more), current.table
                opening = False
                piece = await run(lambda write=write, table=table: write(table))  # type: ignore[misc]
                for part in _behind(piece, start - offset):
                    yield part
                offset += len(piece)
                if ahead is None or current.following is None:
                    break
                if encoder.independent:
                    layout.note(offset, current.following)
                current, ahead = await ahead, None
            last = encoder.end()
            for part in _behind(last, start - offset):
                yield part
            layout.length = offset + len(last)
        finally:
            if ahead is not None:
                ahead.cancel()

    async def measure(self, layout: Layout, run: Run = in_thread) -> int:
        """Return the length of the file in bytes; where it is not known yet, what is not known of it is written."""
        if layout.length is None:
            async with aclosing(self.pieces(layout, start=layout.offsets[-1][0], run=run)) as pieces:
                async for _ in pieces:
                    pass
        if layout.length is None:
            raise RuntimeError("a file that was written whole has a length")
        return layout.length

    async def estimate(self, run: Run = in_thread) -> Estimate:
        """Return about how large the file will be, by its first rows."""
        size = await self.source.size()
        page = await self.source.page(None, most=_SAMPLE)
        encoder = self.format.encoder()
        whole = await run(lambda: encoder.first(page.table) + encoder.end())
        if page.following is None:
            return Estimate(replace(size, rows=len(page.table), exact=True), len(whole), exact=True)
        empty = self.format.encoder()
        bare = await run(lambda: empty.first(page.table.head(0)) + empty.end())
        return Estimate(size, len(bare) + round((len(whole) - len(bare)) * size.rows / len(page.table)), exact=False)


def _behind(piece: bytes, skip: int) -> tuple[bytes, ...]:
    """Return what of a piece lies behind so many bytes, if anything."""
    rest = piece[skip:] if skip > 0 else piece
    return (rest,) if rest else ()


def _writers() -> tuple[str, str]:
    """Return what else the bytes depend on."""
    return version("pairscope"), version("pyarrow")
