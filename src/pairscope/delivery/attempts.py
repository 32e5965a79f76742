"""What came of sending once, and when it is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final

__all__ = ["GIVE_UP_S", "MOST_WAIT_S", "Outcome", "again_in_s", "fault_of", "of_status", "retry_after_s"]

FIRST_WAIT_S: Final = 1.0
MOST_WAIT_S: Final = 300.0
MOST_ASKED_S: Final = 3600.0
"""A receiver that asks for a longer pause is asked again after this one."""
GIVE_UP_S: Final = 86_400.0

_FINAL: Final = {400, 410, 413, 415, 422}
"""The receiver says that it will not take this message, however often it comes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: ``status`` of the answer where there was one, ``error`` in words where it failed.

    ``final``: trying again changes nothing. ``refused``: not sent, or not followed, by our own rule.
    ``retry_after_s``: the pause that the receiver asked for.
    """

    ok: bool
    error: str = ""
    status: int | None = None
    final: bool = False
    refused: bool = False
    retry_after_s: float | None = None

    def document(self, at_ms: int, ms: float) -> dict[str, Any]:
        """Return the attempt as the outbox records it."""
        made: dict[str, Any] = {
            "at": at_ms,
            "ok": self.ok,
            "error": self.error,
            "status": self.status,
            "ms": round(ms, 1),
        }
        return made | {"refused": True} if self.refused else made


def of_status(status: int, *, location: str = "", pause_s: float | None = None) -> Outcome:
    """Judge an HTTP status: 2xx is success; a redirect is refused; 400, 410, 413, 415 and 422 are final.

    Everything else may be otherwise in a moment: servers answer 404 or 401 while they are put in place.

    >>> of_status(204).ok, of_status(500).final, of_status(410).final, of_status(404).final
    (True, False, True, False)
    """
    if 200 <= status < 300:
        return Outcome(ok=True, status=status)
    if 300 <= status < 400:
        where = f" to {location}" if location else ""
        error = f"answered {status}, a redirect{where}, which is not followed: give the final address"
        return Outcome(ok=False, error=error, status=status, refused=True)
    error = f"answered {status}" + (", gone" if status == 410 else "")
    return Outcome(ok=False, error=error, status=status, final=status in _FINAL, retry_after_s=pause_s)


def again_in_s(failures: int, rng: random.Random, asked_s: float | None = None) -> float:
    """Return the pause after a number of failures: 1 s doubled each time, up to 300 s, less up to half at random.

    ``asked_s`` is what the receiver asked for; it is kept to, up to an hour.

    >>> sure = random.Random(1)
    >>> [round(again_in_s(n, sure)) for n in (1, 2, 5, 40)], again_in_s(1, sure, 60.0)
    ([1, 1, 10, 262], 60.0)
    """
    pause = min(MOST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(max(failures, 1) - 1, 20))
    return max(pause * (1.0 - rng.random() / 2.0), min(asked_s or 0.0, MOST_ASKED_S))


def retry_after_s(header: str, now_s: float) -> float | None:
    """Read a Retry-After header, seconds or a date; None where it is neither.

    >>> retry_after_s("120", 0.0), retry_after_s("Thu, 01 Jan 1970 00:00:30 GMT", 10.0), retry_after_s("soon", 0.0)
    (120.0, 20.0, None)
    """
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (TypeError, ValueError, OverflowError):
        return None


def fault_of(error: BaseException) -> str:
    """Return what kind of fault an error is and where it arose; its words and values may hold a target's secrets."""
    frames = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    return " < ".join([type(error).__name__, *reversed(frames)])
