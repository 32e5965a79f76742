"""The pause between two tries at what refuses: twice as long each time, up to a bound."""

from __future__ import annotations

from pairscope.ports import Clock

__all__ = ["Pause"]


class Pause:
    """Says when the next try is due; none is waited for before the first refusal. ``clock`` is monotonic."""

    def __init__(self, *, clock: Clock, shortest_s: float, longest_s: float) -> None:
        self._clock = clock
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._length_s = 0.0
        self.ends_ns = 0

    @property
    def is_over(self) -> bool:
        """Whether a try is due."""
        return self._clock() >= self.ends_ns

    def lengthen(self) -> None:
        """Begin a pause, twice as long as the one before."""
        self._length_s = min(max(2 * self._length_s, self._shortest_s), self._longest_s)
        self.ends_ns = self._clock() + int(self._length_s * 1e9)

    def end(self) -> None:
        """Forget all refusals: a try is due at once."""
        self._length_s = 0.0
        self.ends_ns = 0
