"""What a command shows on a terminal: its progress, on one line that is taken away, and addresses without secrets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Meter", "spoken"]


class Meter:
    """Progress on one line of a terminal; nothing at all where standard error is none."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = bool(self._stream.isatty())
        self._width = 0

    def of(self, what: str) -> Callable[[int, int], None]:
        """Return what is told of progress: how many of how many."""

        def told(done: int, total: int) -> None:
            share = done / total if total else 1.0
            bar = ("█" * round(24 * share)).ljust(24, "░")
            self._write(f"{what} {bar} {done:,} of {total:,}")

        return told if self._shown else lambda _done, _total: None

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        # The width is known before anything is written: an interrupt in between leaves a line that can be cleared.
        padded = text.ljust(self._width)
        self._width = len(padded)
        self._stream.write(f"\r{padded}")
        self._stream.flush()


def spoken(url: str) -> str:
    """Return the address of a store as people may see it: the file, or the server without user, password and options.

    >>> spoken("duckdb:////srv/pairscope.duckdb"), spoken("postgresql://me:secret@db:5432/pairscope?password=secret")
    ('/srv/pairscope.duckdb', 'postgresql://db:5432/pairscope')
    """
    if url.startswith("duckdb:///"):
        return url.removeprefix("duckdb:///")
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
    return f"{scheme}://{host}{slash}{path}"
