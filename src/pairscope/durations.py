"""How long something took, time and again: counts by upper bound, for whoever draws quantiles of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["Durations"]

_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """Durations in seconds, counted by the first bound that they do not pass. O(log bounds) a duration.

    >>> took = Durations(bounds_s=(0.1, 1.0))
    >>> for seconds in (0.05, 0.1, 3.0):
    ...     took.add(seconds)
    >>> took.view()
    {'bounds_s': [0.1, 1.0], 'counts': [2, 0, 1], 'sum_s': 3.15}
    """

    def __init__(self, *, bounds_s: Sequence[float] = _BOUNDS_S) -> None:
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds_s) + 1)
        self._sum_s = 0.0
        self.last_s = 0.0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one; a negative one, of clocks that disagree, counts as none at all."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds
        self.last_s = seconds
        self.longest_s = max(self.longest_s, seconds)

    def view(self) -> Mapping[str, Any]:
        """Return the bounds, the counts (one more than bounds: what passed them all) and the sum."""
        return {"bounds_s": list(self._bounds_s), "counts": list(self._counts), "sum_s": self._sum_s}
