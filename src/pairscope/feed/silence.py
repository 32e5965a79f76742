"""Which symbols have fallen silent, judged by their own usual rate."""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.market.ticks import F8, I4, I8

__all__ = ["SymbolSilence"]

MEMORY_S: Final = 300.0
CERTAIN: Final = 20.0
"""Ticks that should have come when a silence is no accident."""


class SymbolSilence:
    """The usual rate of ticks of each symbol id, and how long each has been silent against it.

    ``note`` counts ticks, ``step`` is called about once a second. A thin symbol is silent for minutes without a word
    being lost; a busy one is not. Times are monotonic ns.
    """

    def __init__(self) -> None:
        self._count: I8 = np.zeros(0, np.int64)
        self._rate: F8 = np.zeros(0)
        self._last_ns: I8 = np.zeros(0, np.int64)
        self._stepped_ns = 0

    def note(self, symbol_id: I4, now_ns: int) -> None:
        """Count the ticks of a batch."""
        if symbol_id.size == 0:
            return
        counts = np.bincount(symbol_id, minlength=self._count.size)
        more = counts.size - self._count.size
        if more > 0:
            self._count = np.concatenate([self._count, np.zeros(more, np.int64)])
            self._rate = np.concatenate([self._rate, np.zeros(more)])
            self._last_ns = np.concatenate([self._last_ns, np.zeros(more, np.int64)])
        self._count += counts
        self._last_ns[counts > 0] = now_ns

    def step(self, now_ns: int) -> None:
        """Bring the usual rates up to now."""
        elapsed_s = (now_ns - self._stepped_ns) / 1e9
        if self._stepped_ns and elapsed_s > 0:
            weight = -np.expm1(-elapsed_s / MEMORY_S)
            self._rate += weight * (self._count / elapsed_s - self._rate)
        self._count[:] = 0
        self._stepped_ns = now_ns

    def suspicious(self, now_ns: int, *, stall_ns: int) -> list[int]:
        """Return the symbol ids silent for ``stall_ns`` and for ``CERTAIN`` ticks of their usual rate."""
        silence_ns = now_ns - self._last_ns
        found = (self._last_ns > 0) & (silence_ns >= stall_ns) & (self._rate * (silence_ns / 1e9) >= CERTAIN)
        return [int(i) for i in np.flatnonzero(found)]

    def verified(self, symbol_ids: list[int], now_ns: int) -> None:
        """Take symbols as heard of now: somebody asked, and nothing was missing."""
        self._last_ns[symbol_ids] = now_ns
