"""The documents of the gap ledger as OpenAPI shows them, and what an answer says of the gaps that it touches."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pairscope.market.gaps import Gap
from pairscope.schemas.documents import GapOut

__all__ = ["GapCalendarOut", "GapDay", "GapLine", "GapsOut", "HeldIdsOut", "HeldOut", "TouchedOut", "gap_fields"]


class _Document(BaseModel):
    """A document of the API; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class GapLine(GapOut):
    """A hole in the trade ids of a symbol, both ends inclusive, and where in time it lies; times in ms."""

    after: int | None = Field(description="Event time of the trade before it; null where none is known.")
    before: int | None = Field(description="Event time of the trade behind it; null where none is known.")
    seen: int | None = Field(description="When it was found.")
    ended: int | None = Field(description="When its last trade came, or when it was given up.")


class GapsOut(_Document):
    """A page of the ledger, the newest hole first."""

    gaps: list[GapLine]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class HeldIdsOut(_Document):
    """An interval of consecutive trade ids that is stored, both ends inclusive."""

    symbol: str
    from_id: int
    to_id: int
    count: int


class HeldOut(_Document):
    """A page of what is stored, by (symbol, id)."""

    held: list[HeldIdsOut]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class GapDay(_Document):
    """One symbol's holes on one day, UTC; one that goes over midnight counts on each of its days."""

    date: str
    symbol: str
    missing: int = Field(description="Ids that still lack; a hole's are spread over its days by its time in each.")
    open: int = Field(description="Holes that are being fetched …")
    unrepairable: int = Field(description="… that nothing can fill …")
    repaired: int = Field(description="… and that were filled.")
    seconds: float = Field(description="Of the day, in which trades still lack.")


class GapCalendarOut(_Document):
    """Days with a hole, oldest first."""

    days: list[GapDay]


class TouchedOut(_Document):
    """How far an answer stands on bars that lack trades."""

    bars: int = Field(description="Bars that lack trades, of those that were used.")
    missing: int = Field(description="Ids that lack in the holes which touch them.")
    symbols: dict[str, dict[str, Any]] = Field(description="Both by symbol, of those that lack any.")


def gap_fields(gap: Gap) -> dict[str, Any]:
    """Return what every answer that names a gap says of it.

    >>> gap_fields(Gap("BTCUSDT", 5, 7, "open", 2))
    {'symbol': 'BTCUSDT', 'from_id': 5, 'to_id': 7, 'status': 'open', 'missing': 2}
    """
    return {
        "symbol": gap.symbol,
        "from_id": gap.from_id,
        "to_id": gap.to_id,
        "status": gap.status,
        "missing": gap.missing,
    }
