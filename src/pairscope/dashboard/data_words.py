"""Stored days, sizes, holes and jobs in the words of somebody who trades on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from pairscope.dashboard.pair_words import MISSING, duration

__all__ = [
    "RANGES",
    "ROWS",
    "count_words",
    "first_of_range",
    "moment_ms",
    "names_words",
    "share_words",
    "size_words",
    "span_words",
    "table_height",
]

ROWS: Final[Mapping[str, str]] = {
    "tick": "Trades, one by one",
    "1s": "1 s bars",
    "5s": "5 s bars",
    "15s": "15 s bars",
    "1m": "1 min bars",
    "3m": "3 min bars",
    "5m": "5 min bars",
    "15m": "15 min bars",
    "30m": "30 min bars",
    "1h": "1 h bars",
    "4h": "4 h bars",
    "1d": "1 day bars",
}
"""What stored rows may leave as -> its words."""

_DAY_MS: Final = 86_400_000
RANGES: Final[Mapping[str, int | None]] = {
    "All that is stored": None,
    "Last hour": 3_600_000,
    "Last day": _DAY_MS,
    "Last week": 7 * _DAY_MS,
    "Last 30 days": 30 * _DAY_MS,
    "From … to …": None,
}
"""Words of the choice -> milliseconds back from now."""

_NAMED: Final = 3
_FEW_ROWS: Final = 9


def size_words(size: float | None) -> str:
    """Write a number of bytes, in thousands as disks are sold.

    >>> size_words(512), size_words(68_400_000), size_words(None)
    ('512 B', '68.4 MB', '–')
    """
    if size is None:
        return MISSING
    for most, unit, length in ((1e3, "B", 1.0), (1e6, "kB", 1e3), (1e9, "MB", 1e6), (1e12, "GB", 1e9)):
        if abs(size) < most:
            value = size / length
            return f"{value:.0f} {unit}" if value >= 99.95 or unit == "B" else f"{value:.1f} {unit}"
    return f"{size / 1e12:.1f} TB"


def count_words(count: float | None, one: str, many: str = "") -> str:
    """Write how many of a thing there are.

    >>> count_words(1, "trade"), count_words(12_000, "trade"), count_words(0, "day"), count_words(None, "day")
    ('1 trade', '12,000 trades', 'no days', '– days')
    """
    several = many or f"{one}s"
    if count is None:
        return f"{MISSING} {several}"
    return f"1 {one}" if count == 1 else f"{count:,.0f} {several}" if count else f"no {several}"


def share_words(part: float, whole: float) -> str:
    """Write a part of a whole in per cent.

    >>> share_words(1, 3), share_words(1, 0)
    ('33 %', '–')
    """
    return f"{part / whole * 100:.0f} %" if whole else MISSING


def names_words(names: Sequence[str]) -> str:
    """Name the first few of several symbols, and say how many more there are.

    >>> names_words(["A", "B"]), names_words(["A", "B", "C", "D", "E"])
    ('A and B', 'A, B, C and 2 more')
    """
    first, more = list(names[:_NAMED]), len(names) - _NAMED
    if more > 0:
        return f"{', '.join(first)} and {more:,} more"
    return " and ".join(filter(None, (", ".join(first[:-1]), *first[-1:])))


def span_words(first_ms: float | None, last_ms: float | None) -> str:
    """Write a stretch of time with both its ends, in UTC.

    >>> span_words(1_700_000_000_000, 1_700_003_600_000)
    '2023-11-14 22:13 to 23:13 UTC (60 min)'
    >>> span_words(None, None)
    ''
    """
    if first_ms is None or last_ms is None:
        return ""
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (first_ms, last_ms))
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC ({duration((last_ms - first_ms) / 1000, 1)})"


def moment_ms(day: Any, *, after: bool = False) -> int | None:
    """Return the milliseconds of a day's 00:00 UTC, of the next day's where ``after``; of a time, its own.

    >>> moment_ms(date(2024, 1, 1)), moment_ms(date(2024, 1, 1), after=True), moment_ms(None)
    (1704067200000, 1704153600000, None)
    """
    if isinstance(day, datetime):
        return int(day.replace(tzinfo=day.tzinfo or UTC).timestamp() * 1000)
    if isinstance(day, date):
        start = datetime.combine(day, time(), UTC) + timedelta(days=1 if after else 0)
        return int(start.timestamp() * 1000)
    return None


def first_of_range(word: str, now_ms: int) -> int | None:
    """Return where one of ``RANGES`` begins, on a whole minute; None where it has no beginning of its own.

    >>> first_of_range("Last hour", 1_700_003_630_000), first_of_range("All that is stored", 0)
    (1699999980000, None)
    """
    back = RANGES.get(word)
    return None if back is None else (now_ms - back) // 60_000 * 60_000


def table_height(rows: int, most_height: int) -> Any:
    """Return how high a table stands: as high as its rows where they are few, else at most so many pixels.

    >>> table_height(3, 200), table_height(100, 200)
    ('content', 200)
    """
    return "content" if rows <= _FEW_ROWS else most_height
