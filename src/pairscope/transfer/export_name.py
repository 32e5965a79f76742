"""How an exported file is called: by what is in it, so that two of one folder can be told apart, and what that says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pairscope.market.bars import TIMEFRAMES

__all__ = ["ExportName", "file_name", "named_by_export"]

_NAMED: Final = 3
_FOREVER_NS: Final = 9_223_372_036_854 * 1_000_000
_TIME: Final = r"\d{8}T\d{6}Z"
_NAME: Final = re.compile(
    rf"(?P<symbols>[^/\\]+?)_(?P<kind>tick|{'|'.join(TIMEFRAMES)})"
    rf"(?:_to_(?P<until>{_TIME})|_{_TIME}(?:_(?P<end>{_TIME}))?)?(?: ?\(\d+\))?(?:\.[A-Za-z]+){{0,2}}"
)


class ExportName(NamedTuple):
    """What the name of an exported file says: whose rows, ticks or bars of which timeframe, and up to when.

    ``symbol`` is empty where it is of several, ``end_ns`` 0 where it names no end.
    """

    symbol: str
    kind: str
    end_ns: int


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


def named_by_export(name: str) -> ExportName | None:
    """Return what a name says that :func:`file_name` may have given, None of any other; symbols are in capitals.

    >>> named_by_export("BTCUSDT_tick_20260101T000000Z_20260102T000000Z.csv.gz")
    ExportName(symbol='BTCUSDT', kind='tick', end_ns=1767312000000000000)
    """
    found = _NAME.fullmatch(name)
    if found is None or found["symbols"] != found["symbols"].upper():
        return None
    try:
        end = datetime.strptime(found["until"] or found["end"] or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        end = datetime.fromtimestamp(0, UTC)
    return ExportName("" if "-" in found["symbols"] else found["symbols"], found["kind"], int(end.timestamp()) * 10**9)


def _written(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
