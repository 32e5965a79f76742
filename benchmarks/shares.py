"""Who uses the processors: the cores that each kind of process takes over a while."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

__all__ = ["Shares"]


class Shares:
    """Follows kinds of processes, each told by its first processes' ids; their children count as theirs."""

    def __init__(self, kinds: dict[str, list[int]]) -> None:
        self._kinds = kinds
        self._began = time.monotonic()
        self._before = self._look()
        psutil.cpu_percent()

    def used(self) -> str:
        """Return in words how many cores each kind has used since the beginning, and all of the machine together."""
        elapsed = time.monotonic() - self._began
        now = self._look()
        parts = []
        for kind, pids in self._kinds.items():
            used = sum(s - self._before.get(key, 0.0) for key, s in now.items() if key[0] == kind) / elapsed
            parts.append(f"{kind}{f' ×{len(pids)}' if len(pids) > 1 else ''} {used:.2f}")
        whole = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        return f"{', '.join(parts)}; together {whole:.2f} of {psutil.cpu_count()}"

    def _look(self) -> dict[tuple[str, int], float]:
        seconds = {}
        for kind, pids in self._kinds.items():
            for pid in pids:
                with suppress(psutil.NoSuchProcess):
                    first = psutil.Process(pid)
                    for process in (first, *first.children(recursive=True)):
                        with suppress(psutil.NoSuchProcess):
                            times = process.cpu_times()
                            seconds[kind, process.pid] = times.user + times.system
        return seconds
