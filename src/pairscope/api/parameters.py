"""Parameters of requests: times in either form, ranges, limits, cursors."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES

__all__ = ["MAX_LIMIT", "MAX_NS", "PageQuery", "RangeQuery", "Time", "Timeframe", "check_range", "parse_time_ns"]

MAX_LIMIT = 10_000
MAX_NS = 9_223_372_036_854 * 1_000_000
"""The last whole millisecond that 64 bits of nanoseconds hold: 2262-04-11."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SPACED_OFFSET = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")
_EXPECTED = "milliseconds since the epoch or ISO 8601, like 2026-01-31T12:00:00Z (without an offset: UTC)"


def parse_time_ns(value: Any) -> int:
    """Return a time as nanoseconds since the epoch; milliseconds or ISO 8601, naive times are UTC.

    Raises ``ValueError`` outside 1970 to 2262. An offset's ``+`` that a query string turned into a space is mended.

    >>> parse_time_ns("1700000000000"), parse_time_ns("1970-01-01T01:00:00.001+01:00")
    (1700000000000000000, 1000000)
    """
    text = str(value).strip()
    if len(text) > 64:
        raise ValueError(f"must be {_EXPECTED}")
    if re.fullmatch(r"[+-]?[0-9]+", text):
        ns = int(text) * 1_000_000
    else:
        try:
            moment = datetime.fromisoformat(_SPACED_OFFSET.sub(r"\1+\2", text))
        except ValueError:
            raise ValueError(f"must be {_EXPECTED}") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        ns = ((moment - _EPOCH) // _MICROSECOND) * 1000
    if not 0 <= ns <= MAX_NS:
        raise ValueError("must lie between 1970-01-01 and 2262-04-11")
    return ns


Time = Annotated[
    int,
    BeforeValidator(parse_time_ns),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "date-time"}]}),
]
"""A time parameter: nanoseconds inside, milliseconds or ISO 8601 outside."""


def _timeframe(value: Any) -> str:
    if not isinstance(value, str) or value not in TIMEFRAMES:
        raise ValueError(f"must be one of {', '.join(TIMEFRAMES)}")
    return value


Timeframe = Annotated[str, BeforeValidator(_timeframe), WithJsonSchema({"type": "string", "enum": list(TIMEFRAMES)})]


class RangeQuery(BaseModel):
    """A half-open range of time; a parameter that nobody knows is refused."""

    model_config = ConfigDict(extra="forbid")

    start: Time | None = Field(None, description=f"Included. {_EXPECTED[0].upper()}{_EXPECTED[1:]}.")
    end: Time | None = Field(None, description="Excluded. The same forms.")


class PageQuery(RangeQuery):
    """A range in pages."""

    limit: int = Field(500, ge=1, le=MAX_LIMIT, description="Rows of a page.")
    cursor: str | None = Field(None, max_length=64, description="`next` of the page before.")

    @property
    def newest(self) -> bool:
        """Whether no range was asked for, which means the newest rows."""
        return self.start is None and self.end is None and self.cursor is None


def check_range(query: RangeQuery) -> tuple[int, int]:
    """Return [start_ns, end_ns) with defaults for what is open; ``InputError`` where it is empty."""
    start_ns = 0 if query.start is None else query.start
    end_ns = MAX_NS if query.end is None else query.end
    if start_ns >= end_ns:
        raise InputError("end must be later than start", loc="end")
    return start_ns, end_ns
