"""The market's time of a replay: a multiple of elapsed time, or as fast as clients read."""

from __future__ import annotations

from collections.abc import Callable

from pairscope.errors import InputError

__all__ = ["ReplayClock", "parse_speed"]


def parse_speed(text: str) -> float | None:
    """Read a speed: a positive factor, or ``max`` (None).

    >>> parse_speed("10"), parse_speed("max")
    (10.0, None)
    """
    if text.strip().lower() == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed <= 1e6:
        raise InputError(f"speed: cannot use {text!r}", loc="speed", hint="give a factor such as 1 or 10, or max")
    return speed


class ReplayClock:
    """Market time in milliseconds; stands still until ``begin``.

    With a speed it follows ``monotonic_s`` (seconds); without one it goes where ``advance`` sets it.
    """

    def __init__(self, start_ms: int, *, speed: float | None, monotonic_s: Callable[[], float]) -> None:
        self.speed = speed
        self._monotonic_s = monotonic_s
        self._start_ms = start_ms
        self._began_s: float | None = None

    @property
    def running(self) -> bool:
        """Whether the market's time has begun to go."""
        return self._began_s is not None

    def begin(self, start_ms: int) -> None:
        """Let time go, from ``start_ms`` on."""
        self._start_ms = start_ms
        self._began_s = self._monotonic_s()

    def target_ms(self) -> int:
        """Return what time it is by the speed."""
        if self._began_s is None or self.speed is None:
            return self._start_ms
        return self._start_ms + int((self._monotonic_s() - self._began_s) * 1000.0 * self.speed)
