"""How far a store has said that ticks are safe, kept beside its file, so that a cut log does not go unnoticed."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

import structlog

__all__ = ["Acknowledged"]

_log = structlog.get_logger(__name__)

_STATE: Final = struct.Struct("<qq")


class Acknowledged:
    """The number of the last commit and the count of ticks after it, in 16 bytes of a file of their own.

    DuckDB takes a log that ends too early for one that was being written when the process died, which is right after
    a crash and wrong after somebody cut it. This file tells the two apart. Written after each commit, not synced: what
    it says is never more than what the log holds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self) -> tuple[int, int]:
        """Return (commit, ticks); zeros where nothing was said yet."""
        held = os.pread(self._file, _STATE.size, 0)
        if len(held) < _STATE.size:
            return 0, 0
        commit, ticks = _STATE.unpack(held)
        return commit, ticks

    def compare(self, commit: int, ticks: int) -> None:
        """Tell of commits that were said to be safe and are not in the file any more, and go on from what is there."""
        said, said_ticks = self.read()
        if commit < said:
            _log.error(
                "the store has lost ticks that were safe: its log was cut, or an older copy put in its place",
                path=str(self._path.with_suffix("")),
                lost_ticks=said_ticks - ticks,
                lost_commits=said - commit,
                next="the feed asks for them again by their ids",
            )
        self.write(commit, ticks)

    def write(self, commit: int, ticks: int) -> None:
        """Say that a commit is safe. Raises ``OSError`` where the disk refuses."""
        os.pwrite(self._file, _STATE.pack(commit, ticks), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
