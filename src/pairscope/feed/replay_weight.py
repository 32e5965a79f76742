"""The request weight of an address: so much a clock minute, then 429, then a ban."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Overweight", "WeightPool"]

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Overweight:
    """Why a request is refused: HTTP status, text and headers."""

    status: int
    text: str
    headers: dict[str, str]


class WeightPool:
    """Counts weights in fixed windows of a clock minute.

    Beyond ``limit`` the answer is 429; after ``patience`` such answers in one minute it is 418 for ``ban_s`` seconds.
    ``clock_ms`` is wall time.
    """

    def __init__(
        self, clock_ms: Callable[[], int], *, limit: int = 2400, patience: int = 10, ban_s: float = 120.0
    ) -> None:
        self.limit = limit
        self.refused = 0
        self._clock_ms = clock_ms
        self._patience = patience
        self._ban_ms = int(ban_s * 1000)
        self._minute = 0
        self._used = 0
        self._strikes = 0
        self._banned_until_ms = 0

    def take(self, weight: int) -> Overweight | None:
        """Count a request; None where it may be answered."""
        now_ms = self._clock_ms()
        if now_ms < self._banned_until_ms:
            self.refused += 1
            return self._ban(now_ms)
        if now_ms // _MINUTE_MS != self._minute:
            self._minute, self._used, self._strikes = now_ms // _MINUTE_MS, 0, 0
        self._used += weight
        if self._used <= self.limit:
            return None
        self.refused += 1
        self._strikes += 1
        if self._strikes > self._patience:
            self._banned_until_ms = now_ms + self._ban_ms
            return self._ban(now_ms)
        wait_s = (_MINUTE_MS - now_ms % _MINUTE_MS + 999) // 1000
        text = f"Too many requests; current limit is {self.limit} requests per minute."
        return Overweight(429, text, {"Retry-After": str(wait_s)})

    def _ban(self, now_ms: int) -> Overweight:
        wait_s = (self._banned_until_ms - now_ms + 999) // 1000
        text = f"Way too many requests; IP banned until {self._banned_until_ms}."
        return Overweight(418, text, {"Retry-After": str(wait_s)})

    def headers(self) -> dict[str, str]:
        """Return the header that tells what this minute has used."""
        return {"X-MBX-USED-WEIGHT-1M": str(self._used)}
