"""How an exported file is called: by what is in it, so that two of one folder can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

__all__ = ["file_name"]

_NAMED: Final = 3
_FOREVER_NS: Final = 9_223_372_036_854 * 1_000_000


def file_name(what: Sequence[str], kind: str, start_ns: int, end_ns: int, ending: str) -> str:
    """Return a file's name: symbols (of many how many), timeframe or kind, and the range where there is one.

    >>> file_name(["BTCUSDT", "ETHUSDT"], "1m", 0, 1_767_225_600_000_000_000, ".csv.gz")
    'BTCUSDT-ETHUSDT_1m_to_20260101T000000Z.csv.gz'
    """
    names = "-".join(what) if len(what) <= _NAMED else f"{len(what)}-symbols"
    parts = [*([names] if names else []), kind]
    if start_ns > 0:
        parts.append(_written(start_ns))
    if end_ns < _FOREVER_NS:
        parts += [_written(end_ns)] if start_ns > 0 else ["to", _written(end_ns)]
    safe = "_".join(parts)
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in safe) + ending


def _written(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
