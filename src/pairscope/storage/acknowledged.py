"""How far a store has said that ticks are safe, kept beside its file, so that a cut log does not go unnoticed."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

__all__ = ["Acknowledged"]

_STATE: Final = struct.Struct("<qq")


class Acknowledged:
    """The number of the last commit and the count of ticks after it, in 16 bytes of a file of their own.

    DuckDB takes a log that ends too early for one that was being written when the process died, which is right after
    a crash and wrong after somebody cut it. This file tells the two apart. Written after each commit, not synced: what
    it says is never more than what the log holds.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self) -> tuple[int, int]:
        """Return (commit, ticks); zeros where nothing was said yet."""
        held = os.pread(self._file, _STATE.size, 0)
        if len(held) < _STATE.size:
            return 0, 0
        commit, ticks = _STATE.unpack(held)
        return commit, ticks

    def write(self, commit: int, ticks: int) -> None:
        """Say that a commit is safe. Raises ``OSError`` where the disk refuses."""
        os.pwrite(self._file, _STATE.pack(commit, ticks), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
