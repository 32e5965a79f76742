"""Times between here and PostgreSQL: nanoseconds since 1970 in int64, and its microseconds since 2000."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["at", "microseconds", "nanoseconds", "split"]

_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01, where PostgreSQL's time begins."""

I8 = NDArray[np.int64]


def split(ns: I8) -> tuple[I8, NDArray[np.int16]]:
    """Return the microseconds since 2000 of times, and the nanoseconds that are left of each.

    >>> split(np.array([946_684_800_000_001_234]))
    (array([1]), array([234], dtype=int16))
    """
    return ns // 1000 - _EPOCH_US, (ns % 1000).astype(np.int16)


def nanoseconds(microseconds_: I8, rest: NDArray[np.int16] | int = 0) -> I8:
    """Return what ``split`` took apart."""
    found: I8 = (microseconds_ + _EPOCH_US) * 1000 + rest
    return found


def microseconds(ns: int) -> int:
    """Return the microseconds since 1970 of a time, cut off, in the range that PostgreSQL has.

    >>> microseconds(1_999)
    1
    """
    return min(max(ns // 1000, -62_135_596_800_000_000), 253_402_300_799_000_000)


def at(parameter: str) -> str:
    """Return the SQL of a time whose microseconds since 1970 are a parameter.

    Nothing in it depends on a session's time zone, so that the planner knows its value and leaves other days alone.

    >>> at("$1")
    "((timestamp 'epoch' + $1::bigint * interval '1 microsecond') AT TIME ZONE 'UTC')"
    """
    return f"((timestamp 'epoch' + {parameter}::bigint * interval '1 microsecond') AT TIME ZONE 'UTC')"
