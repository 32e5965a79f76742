"""How many ticks come a second, smoothed: a reading for people."""

from __future__ import annotations

__all__ = ["Rate"]


class Rate:
    """Ticks a second, over about ten seconds."""

    def __init__(self) -> None:
        self.value = 0.0
        self._count = 0
        self._at_ns = 0

    def step(self, count: int, now_ns: int) -> None:
        """Take note of a running total."""
        if self._at_ns:
            elapsed_s = (now_ns - self._at_ns) / 1e9
            self.value += min(1.0, elapsed_s / 10.0) * ((count - self._count) / elapsed_s - self.value)
        self._count, self._at_ns = count, now_ns
