"""Stored rows as files and tables: downloads that are taken up again where a connection broke."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx2

from pairscope.client.asking import Ask, Caller, Moment, Pause, Steps, call, read, segment, written
from pairscope.client.frames import FrameKind, frame_of
from pairscope.client.problems import error_of
from pairscope.errors import ApiRefused, ApiUnreachable, InputError

__all__ = ["ExportCalls"]

PATIENCE_S: Final = 60.0
"""So long is waited for the next part of a file."""

Progress = Callable[[int, int | None], object]
"""Told how many bytes there are, and how many there will be where that is known."""

_BREAKS: Final = 5
_FIRST_PAUSE_S: Final = 0.1
_FORMATS: Final = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
}
_PACKED: Final = {".gz": "gzip", ".zst": "zstd"}


class ExportCalls(Caller):
    """What leaves as a file or as one big table."""

    @call
    def export(
        self,
        symbol: str | Sequence[str],
        path: str | Path | None = None,
        *,
        timeframe: str = "1m",
        start: Moment | None = None,
        end: Moment | None = None,
        format: str | None = None,  # noqa: A002 - what the API calls it
        compression: str | None = None,
        columns: str | None = None,
        progress: Progress | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[Any]:
        """Write bars, or trades (``timeframe="tick"``), into a file and return its path; without one return a table.

        One request however long the range, in constant memory where there is a file. Its name says the format:
        ``.csv``, ``.jsonl``, ``.parquet``, ``.arrow``, with ``.gz`` or ``.zst`` behind a text. A download that broke
        goes on where it stood, at once or when it is asked for again, if the range has not changed meanwhile; until it
        is whole it is called ``….part``. With several symbols there is a column ``symbol``.
        """
        given = {"timeframe": timeframe, "start": start, "end": end, "columns": columns}
        address = f"/api/export/{segment(symbol)}"
        index = None if timeframe == "tick" else "timestamp"
        return (yield from _left(self.kind(frame), address, given, path, (format, compression), progress, index))

    @call
    def export_pair(
        self,
        /,
        y: str,
        x: str,
        path: str | Path | None = None,
        *,
        timeframe: str = "1m",
        format: str | None = None,  # noqa: A002
        compression: str | None = None,
        progress: Progress | None = None,
        frame: FrameKind | None = None,
        **params: Any,
    ) -> Steps[Any]:
        """Write a pair bar by bar, each value as it was known at its bar; as ``export`` otherwise.

        ``start``, ``end``, ``lookback``, ``window``, ``method`` and ``price_space`` as the API has them.
        """
        address = f"/api/export/pair/{segment(y, x)}"
        given = {"timeframe": timeframe, **params}
        return (yield from _left(self.kind(frame), address, given, path, (format, compression), progress, "timestamp"))

    @call
    def export_history(
        self,
        kind: str,
        path: str | Path | None = None,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        format: str | None = None,  # noqa: A002
        compression: str | None = None,
        progress: Progress | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[Any]:
        """Write what was told and traded: ``alerts``, the trades of kept ``backtests``, or ``paper``."""
        given = {"start": start, "end": end}
        address = f"/api/export/history/{segment(kind)}"
        return (yield from _left(self.kind(frame), address, given, path, (format, compression), progress, None))

    @call
    def export_estimate(
        self, /, symbol: str | Sequence[str], *, timeframe: str = "1m", **params: Any
    ) -> Steps[dict[str, Any]]:
        """Return how large an export would be: ``rows``, ``bytes`` (an estimate), its first and last moment."""
        address = f"/api/export/{segment(symbol)}/estimate"
        return dict((yield from read(address, timeframe=timeframe, **params)))


class _Body:
    """A file's content that may come in several answers, each going on where the one before broke."""

    def __init__(self, progress: Progress | None) -> None:
        self.have, self.etag = 0, ""
        self._progress = progress
        self._whole: int | None = None
        self._file: BinaryIO | None = None

    def headers(self) -> dict[str, str]:
        """Return what asks for the rest; a range of a body that is packed on its way would be of other bytes."""
        rest = {"Range": f"bytes={self.have}-", "If-Range": self.etag} if self.have and self.etag else {}
        return {"Accept": "*/*", "Accept-Encoding": "identity", **rest}

    def begin(self, answer: httpx2.Response) -> None:
        """Take an answer's head: the rest of what there is, or all of it anew."""
        length = answer.headers.get("Content-Length", "")
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {self.have}-"
        )
        if not goes_on:
            self.have = 0
        self.etag = answer.headers.get("ETag", "")
        self._whole = self.have + int(length) if length.isdigit() else None
        self.close()
        self._file = self.opened()

    def opened(self) -> BinaryIO:
        """Return the file at the place where the next byte goes."""
        raise TypeError(type(self))

    def write(self, part: bytes) -> None:
        """Take the next bytes."""
        if self._file is not None:
            self._file.write(part)
        self.have += len(part)
        if self._progress is not None:
            self._progress(self.have, self._whole)

    def forget(self) -> None:
        """Begin anew."""
        self.have, self.etag = 0, ""

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Gathered(_Body):
    """Content that is wanted in memory."""

    def __init__(self, progress: Progress | None) -> None:
        super().__init__(progress)
        self.content = io.BytesIO()

    def opened(self) -> BinaryIO:
        self.content.seek(self.have)
        self.content.truncate()
        return self.content

    def close(self) -> None:
        """Keep what came."""


class _Download(_Body):
    """Content that goes into a file, which has its name once it is whole; beside it stands what it is a part of."""

    def __init__(self, path: Path, address: str, progress: Progress | None) -> None:
        super().__init__(progress)
        self.path = path
        self._address = address
        self._part = path.with_name(f"{path.name}.part")
        self._origin = path.with_name(f"{path.name}.part.origin")
        if self._part.exists() and self._origin.exists():
            asked, _, etag = self._origin.read_text(encoding="utf-8").partition("\n")
            if asked == address and etag:
                self.have, self.etag = self._part.stat().st_size, etag

    def opened(self) -> BinaryIO:
        self._origin.write_text(f"{self._address}\n{self.etag}", encoding="utf-8")
        file = self._part.open("r+b" if self.have else "wb")
        file.seek(self.have)
        file.truncate()
        return file

    def finish(self) -> Path:
        """Give the file its name."""
        self.close()
        self._part.replace(self.path)
        self._origin.unlink(missing_ok=True)
        return self.path


def _left(
    kind: FrameKind,
    address: str,
    given: dict[str, Any],
    path: str | Path | None,
    forms: tuple[str | None, str | None],
    progress: Progress | None,
    index: str | None,
) -> Steps[Any]:
    """Download into a file or, through Arrow, into a table."""
    if path is None:
        gathered = _Gathered(progress)
        yield from _downloaded(Ask("GET", address, written({**given, "format": "arrow"})), gathered)
        import pyarrow as pa

        table = pa.ipc.open_stream(gathered.content.getbuffer()).read_all()
        return frame_of(kind, table, index=index)
    place = Path(path).expanduser()
    format_name, compression = _form_of(place, *forms)
    query = written({**given, "format": format_name, "compression": compression})
    with closing(_Download(place, f"{address}?{httpx2.QueryParams(query)}", progress)) as download:
        yield from _downloaded(Ask("GET", address, query), download)
        return download.finish()


def _downloaded(ask: Ask, body: _Body) -> Steps[None]:
    """Ask until all is there: one that breaks again and again without another byte is given up."""
    broken = 0
    while True:
        had = body.have
        try:
            answer = yield replace(ask, headers=body.headers(), sink=body, timeout=PATIENCE_S)
        except ApiUnreachable:
            broken = broken + 1 if body.have <= had else 1
            if broken >= _BREAKS:
                raise
            yield Pause(_FIRST_PAUSE_S * 2**broken)
            continue
        if answer.is_success:
            return
        error = error_of(answer)
        if answer.status_code == 416 and had:
            body.forget()
        elif isinstance(error, ApiRefused) and error.retry_after_s is not None and broken < _BREAKS:
            broken += 1  # the one that broke may still be on its way there
            yield Pause(error.retry_after_s)
        else:
            raise error


def _form_of(path: Path, format_name: str | None, compression: str | None) -> tuple[str, str | None]:
    """Return the format and packing that a file's name says, where the caller does not.

    >>> _form_of(Path("btc.csv.gz"), None, None), _form_of(Path("btc.parquet"), None, "zstd")
    (('csv', 'gzip'), ('parquet', 'zstd'))
    """
    endings = [ending.lower() for ending in path.suffixes]
    packed = _PACKED.get(endings[-1]) if endings else None
    named = _FORMATS.get(endings[-2] if packed and len(endings) > 1 else endings[-1]) if endings else None
    if format_name is None and named is None:
        known = ", ".join(_FORMATS)
        raise InputError(f"no format is known by the name {path.name}: end it with one of {known}", loc="path")
    return format_name or str(named), compression or packed
