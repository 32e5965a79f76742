"""How a file leaves: in one piece where it is small, else page by page; whole, or the part that is asked for.

A part (``Range``, RFC 9110 § 14) is of the file as it would be written now; ``If-Range`` with the ETag of the part
before makes sure that both belong together, and gets the whole file where they do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pairscope.api.problems import problem
from pairscope.errors import Busy
from pairscope.transfer.export import Estimate, Export, KnownFiles

__all__ = ["Exports"]

_AT_ONCE: Final = 8
"""Files that leave at the same time; who comes beyond that is told to come again."""

_RANGE: Final = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{0,18})|-\s*(\d{1,18}))\s*", re.IGNORECASE)


class Exports:
    """Answers with files; rows are written in threads, in as many at once as there are cores to spare."""

    def __init__(self, source: Callable[[], str], *, at_once: int = _AT_ONCE) -> None:
        self._source = source
        self._known = KnownFiles()
        self._most = at_once
        self._threads = asyncio.Semaphore(max(1, min(at_once, (os.cpu_count() or 1) - 1)))
        self.under_way = 0

    async def answer(self, request: Request, export: Export, name: str) -> Response:
        """Return the file, or the part of it that is asked for; ``Busy`` where too many leave already."""
        if self.under_way >= self._most:
            raise Busy(f"{self.under_way} exports are under way already")
        self.under_way += 1
        response: Response | None = None
        try:
            response = await self._answer(request, export, self._headers(export, name))
        finally:
            if not isinstance(response, _Leaving):
                self._left()
        return response

    async def estimate(self, export: Export) -> Estimate:
        """Return about how large a file would be."""
        return await export.estimate(self._run)

    async def _answer(self, request: Request, export: Export, headers: dict[str, str]) -> Response:
        page = await export.source.page(None)
        if page.following is None:
            encoder = export.format.encoder()
            body = await self._run(lambda: encoder.first(page.table) + encoder.end())
            headers["ETag"] = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
            return _part_of(request, body, headers, export.format.media_type)
        fingerprint = await export.source.fingerprint()
        if fingerprint is None:
            headers["Accept-Ranges"] = "none"
            return self._leaving(export.pieces(page=page, run=self._run), 200, headers, export)
        headers["ETag"] = etag = export.etag(fingerprint)
        if _named(request.headers.get("if-none-match", ""), etag):
            return Response(None, 304, headers)
        layout = self._known.of(etag)
        asked = _asked(request, etag)
        if asked is not None and layout.length is None:
            await export.measure(layout, self._run)
            if await export.source.fingerprint() != fingerprint:  # what was measured is no more
                layout.length, asked = None, None
        if asked is None or layout.length is None:
            if layout.length is not None:
                headers["Content-Length"] = str(layout.length)
            return self._leaving(export.pieces(layout, page=page, run=self._run), 200, headers, export)
        found = _bounds(asked, layout.length)
        if found is None:
            return _unsatisfiable(layout.length)
        start, end = found
        headers |= {"Content-Range": f"bytes {start}-{end - 1}/{layout.length}", "Content-Length": str(end - start)}
        return self._leaving(
            _until(export.pieces(layout, start=start, run=self._run), end - start), 206, headers, export
        )

    def _headers(self, export: Export, name: str) -> dict[str, str]:
        plain = name.encode("ascii", "replace").decode().replace("?", "-")
        said = f'attachment; filename="{plain}"' + ("" if plain == name else f"; filename*=UTF-8''{quote(name)}")
        return {
            "Content-Disposition": said,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Vary": "Accept",
            "X-Source": self._source(),
        }

    def _leaving(
        self, pieces: AsyncGenerator[bytes, None], status: int, headers: dict[str, str], export: Export
    ) -> Response:
        return _Leaving(pieces, status, headers, export.format.media_type, self._left)

    def _left(self) -> None:
        self.under_way -= 1

    async def _run(self, work: Callable[[], bytes]) -> bytes:
        async with self._threads:
            return await asyncio.to_thread(work)


class _Leaving(StreamingResponse):
    """A file on its way; its pieces are closed as soon as nobody takes them any more."""

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        status: int,
        headers: dict[str, str],
        media_type: str,
        left: Callable[[], None],
    ) -> None:
        super().__init__(pieces, status, headers, media_type)
        self._pieces = pieces
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._pieces):
                await super().__call__(scope, receive, send)
        finally:
            self._left()


async def _until(pieces: AsyncGenerator[bytes, None], size: int) -> AsyncGenerator[bytes, None]:
    """Yield the first bytes of a file."""
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece[:size]
            size -= len(piece)
            if size <= 0:
                return


def _part_of(request: Request, body: bytes, headers: dict[str, Any], media_type: str) -> Response:
    """Return a body, or the part of it that is asked for."""
    if _named(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(None, 304, headers)
    asked = _asked(request, headers["ETag"])
    if asked is None:
        return Response(body, 200, headers, media_type)
    found = _bounds(asked, len(body))
    if found is None:
        return _unsatisfiable(len(body))
    start, end = found
    part = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
    return Response(body[start:end], 206, headers | part, media_type)


def _asked(request: Request, etag: str) -> tuple[str, str, str] | None:
    """Return the one range that is asked for; what cannot be read, or several, is no range (RFC 9110 § 14.2)."""
    condition = request.headers.get("if-range")
    if condition is not None and condition.strip() != etag:
        return None
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if found is None:
        return None
    first, last, suffix = (part or "" for part in found.groups())
    return None if first and last and int(last) < int(first) else (first, last, suffix)


def _bounds(asked: tuple[str, str, str], length: int) -> tuple[int, int] | None:
    """Return [start, end) of a range; None where the file has nothing there."""
    first, last, suffix = asked
    start = max(0, length - int(suffix)) if suffix else int(first)
    end = min(length, int(last) + 1) if last else length
    return (start, end) if start < end else None


def _unsatisfiable(length: int) -> Response:
    return problem(416, f"the file has {length} bytes", headers={"Content-Range": f"bytes */{length}"})


def _named(condition: str, etag: str) -> bool:
    """Whether If-None-Match names an ETag; it compares weakly."""
    return any(part.strip().removeprefix("W/") in {"*", etag} for part in condition.split(",") if part.strip())
