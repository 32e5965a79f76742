"""Where the recursions of live pairs stood a little while ago, so that a late tick costs few bars, not thousands."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.kalman import KALMAN_STATE
from pairscope.analytics.sentinel import SENTINEL_STATE
from pairscope.engine.pair_kernels import PAIR
from pairscope.market.ticks import F8, I8

__all__ = ["EVERY", "Checkpoints"]

EVERY: Final = 32
"""Bars from one copy of a pair's state to the next; the last two copies are kept."""
_NONE: Final = -1


class Checkpoints:
    """Copies of states by place; each says as of which slot it was made, itself not included."""

    def __init__(self) -> None:
        self._at: I8 = np.empty((2, 0), np.int64)
        self._pairs: NDArray[Any] = np.zeros((2, 0), PAIR)
        self._filters: F8 = np.zeros((2, 0, 2, KALMAN_STATE))
        self._sentinels: F8 = np.zeros((2, 0, SENTINEL_STATE))

    def grow(self, more: int) -> None:
        """Make room for more places."""
        self._at = np.concatenate([self._at, np.full((2, more), _NONE)], axis=1)
        self._pairs = np.concatenate([self._pairs, np.zeros((2, more), PAIR)], axis=1)
        self._filters = np.concatenate([self._filters, np.zeros((2, more, 2, KALMAN_STATE))], axis=1)
        self._sentinels = np.concatenate([self._sentinels, np.zeros((2, more, SENTINEL_STATE))], axis=1)

    def save(self, places: I8, slot: int, pairs: NDArray[Any], filters: F8, sentinels: F8) -> None:
        """Copy the states of places before a slot, over the older of their two copies."""
        older = np.argmin(self._at[:, places], axis=0)
        self._at[older, places] = slot
        self._pairs[older, places] = pairs[places]
        self._filters[older, places] = filters[places]
        self._sentinels[older, places] = sentinels[places]

    def restore(self, place: int, slot: int, pairs: NDArray[Any], filters: F8, sentinels: F8) -> int | None:
        """Put a pair where it stood before a slot whose bar has changed; copies that hold that bar are let go.

        Returns the first slot that is to be learned again, None where no copy reaches back so far.
        """
        at = self._at[:, place]
        at[at > slot] = _NONE
        newest = int(np.argmax(at))
        since = int(at[newest])
        if since == _NONE:
            return None
        revision = pairs["revision"][place]
        pairs[place] = self._pairs[newest, place]
        pairs["revision"][place] = revision
        filters[place] = self._filters[newest, place]
        sentinels[place] = self._sentinels[newest, place]
        return since
