"""Raw frames to disk and back: gzip-compressed lines of ``<receive time, ns> <JSON>``.

The first line of an own recording is a comment that names the format and the address. Every flush writes a gzip
member of its own, so that a kill costs what was not flushed yet and nothing before it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from pairscope.errors import ForeignFile, InputError

__all__ = ["FrameReader", "FrameRecorder", "read_frames"]

_MAGIC = b"# pairscope recording 1 "
_EXPECTED = (
    "expected lines `<receive time, ns> <JSON>` or cryptofeed's `<seconds>: <JSON>`, gzip-compressed or plain text"
)
_LINE = re.compile(rb"(\d{15,20}) (?=[\[{])|(\d{9,11})(?:\.(\d{1,9}))?: (?=[\[{])")
_BLOCK = 1 << 20
_LONGEST_LINE = 64 << 20

_log = structlog.get_logger()


class FrameRecorder:
    """Appends frames to a file from a thread of its own; ``write`` never waits.

    At most ``max_bytes`` wait to be written; what comes on top is left out and counted in ``dropped``. A flush
    happens every ``flush_s`` seconds. An existing recording is continued. Raises ``InputError`` where the path cannot
    be written and ``ForeignFile`` where another kind of file is there. A disk that fails later stops the recording:
    ``failure`` holds the reason, and all further frames count as dropped.
    """

    def __init__(self, path: Path | str, *, url: str = "", flush_s: float = 0.5, max_bytes: int = 64 << 20) -> None:
        self.path = Path(path)
        self.written = 0
        self.dropped = 0
        self.failure: OSError | None = None
        self._flush_s = flush_s
        self._max_bytes = max_bytes
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        if self.path.is_file() and self.path.stat().st_size:
            _mend(self.path)
        try:
            self._file = self.path.open("ab", buffering=0)
            self._file.write(gzip.compress(_MAGIC + json.dumps({"url": url}).encode() + b"\n"))
        except OSError as error:
            raise InputError(
                f"cannot record to {self.path}: {error.strerror}", loc="path", hint="choose a writable file"
            ) from error
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def write(self, ts_recv_ns: int, frame: bytes | str) -> None:
        """Take one frame; line breaks in it become spaces, which JSON does not mind."""
        body = frame.encode() if isinstance(frame, str) else frame
        if b"\n" in body:
            body = body.replace(b"\n", b" ")
        line = b"%d %b\n" % (ts_recv_ns, body)
        with self._lock:
            if self._closing or self.failure is not None or self._bytes + len(line) > self._max_bytes:
                self.dropped += 1
                return
            self._waiting.append(line)
            self._bytes += len(line)

    def close(self) -> None:
        """Write what waits and close the file."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._flush_s)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """Write what waits as one gzip member."""
        with self._lock:
            lines, self._waiting = self._waiting, []
            self._bytes = 0
        if not lines:
            return
        try:
            block = memoryview(gzip.compress(b"".join(lines), 3))
            while block:
                block = block[self._file.write(block) :]
            self.written += len(lines)
        except OSError as error:
            with self._lock:
                self.failure = error
                self.dropped += len(lines)
            _log.error("recording stopped", path=str(self.path), reason=error.strerror, dropped=len(lines))


def read_frames(path: Path | str) -> FrameReader:
    """Open a recording of any known kind; raises ``InputError`` where there is no such file.

    Iterating yields ``(ts_recv_ns, frame)`` in order and raises ``ForeignFile`` where the file is none of them.
    """
    return FrameReader(path)


class FrameReader:
    """The frames of a recording. Iterate once, then ask.

    ``truncated`` is true when the file ended inside a frame or is damaged: everything whole before that was given out.
    ``skipped`` counts lines that are no frames; ``header`` is what an own recording says of itself.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.header: dict[str, Any] = {}
        self.truncated = False
        self.skipped = 0
        if not self.path.is_file():
            raise InputError(f"no recording at {self.path}", loc="path", hint="check the path")

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for line in self._lines():
            match = _LINE.match(line)
            if match is None:
                self._other(line)
                continue
            ns, seconds, fraction = match.groups()
            ts_recv_ns = int(ns) if ns else int(seconds) * 1_000_000_000 + int((fraction or b"").ljust(9, b"0"))
            yield ts_recv_ns, line[match.end() :]
        if self.truncated:
            _log.warning("recording ends early, using what is whole", path=str(self.path))

    def _lines(self) -> Iterator[bytes]:
        """Yield whole lines; the first must be of a known kind."""
        rest = b""
        first = True
        for block in self._blocks():
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > _LONGEST_LINE:
                raise ForeignFile(f"{self.path} is no recording: {_EXPECTED}", loc="path")
            if first and lines:
                self._check(lines[0])
                first = False
            yield from lines
        if first:
            self._check(rest)
        if rest and not self.truncated and _whole(rest):
            yield rest
        elif rest:
            self.truncated = True

    def _check(self, line: bytes) -> None:
        """Refuse a file whose first line is of no known kind."""
        known = line.startswith((b"#", b"wss://", b"ws://", b"https://", b"configuration:"))
        if not (known or _LINE.match(line) or (self.truncated and not line)):
            start = line[:40].decode("utf-8", "replace")
            raise ForeignFile(f"{self.path} is no recording: {_EXPECTED}; it begins with {start!r}", loc="path")

    def _other(self, line: bytes) -> None:
        """Take note of a line that is no frame."""
        if line.startswith(_MAGIC):
            try:
                self.header = json.loads(line[len(_MAGIC) :])
            except ValueError:
                self.skipped += 1
        elif line.strip():
            self.skipped += 1

    def _blocks(self) -> Iterator[bytes]:
        """Yield the text in blocks; a damaged or cut gzip stream ends it and sets ``truncated``."""
        with self.path.open("rb") as file:
            block = file.read(_BLOCK)
            if not block.startswith(b"\x1f\x8b"):
                while block:
                    yield block
                    block = file.read(_BLOCK)
                return
            inflate, inside = zlib.decompressobj(31), False
            while block:
                try:
                    yield inflate.decompress(block)
                except zlib.error:
                    self.truncated = True
                    return
                inside = not inflate.eof
                block = b""
                if inflate.eof:
                    block = inflate.unused_data
                    inflate = zlib.decompressobj(31)
                block = block or file.read(_BLOCK)
            self.truncated = inside


def _mend(path: Path) -> None:
    """Cut off what a kill left half-written at the end of a recording, so that it can be continued.

    Raises ``ForeignFile`` where the file is no gzip-compressed recording.
    """
    next(iter(read_frames(path)), None)
    whole = 0
    with path.open("rb") as file:
        inflate = zlib.decompressobj(31)
        while block := file.read(_BLOCK):
            while block:
                try:
                    inflate.decompress(block)
                except zlib.error:
                    block = b""
                    break
                block = inflate.unused_data
                if inflate.eof:
                    whole = file.tell() - len(block)
                    inflate = zlib.decompressobj(31)
    if whole == 0:
        raise ForeignFile(f"{path} is no recording that can be continued", loc="path", hint="choose another file")
    if whole < path.stat().st_size:
        _log.warning("cut off the torn end of a recording", path=str(path), bytes=path.stat().st_size - whole)
        os.truncate(path, whole)


def _whole(line: bytes) -> bool:
    """Return whether a last line without its line break is a complete frame."""
    match = _LINE.match(line)
    if match is None:
        return False
    try:
        json.loads(line[match.end() :])
    except ValueError:
        return False
    return True
