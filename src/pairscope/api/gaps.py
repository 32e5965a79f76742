"""The gap ledger over HTTP: which trade ids are missing, which are held, and on which days."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

import numpy as np
import orjson
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.catalog import Catalog
from pairscope.api.legs import resolve_leg
from pairscope.api.parameters import MAX_LIMIT, RangeQuery, Time, check_range
from pairscope.errors import InputError
from pairscope.market.continuity import Gap, GapStatus, HeldIds
from pairscope.market.holes import DAY_NS, Holes, days_of, span_of
from pairscope.ports import Services
from pairscope.schemas.gaps import gap_fields

__all__ = ["GAP_EXAMPLES", "add_gaps"]

_MS: Final = 1_000_000
_YEAR_NS: Final = 366 * DAY_NS

SymbolName = Annotated[str | None, Field(max_length=200, description="Only of this symbol; in any case.")]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Rows of a page.")]
Cursor = Annotated[str | None, Field(max_length=160, description="`next` of the page before.")]

_AT: Final = 1767225600123
_GAP: Mapping[str, Any] = MappingProxyType(
    {
        "symbol": "BTCUSDT",
        "from_id": 100,
        "to_id": 104,
        "status": "unrepairable",
        "missing": 5,
        "after": _AT,
        "before": _AT + 60_000,
        "seen": _AT + 60_042,
        "ended": _AT + 90_000,
    }
)
_DAY: Mapping[str, Any] = MappingProxyType(
    {
        "date": "2026-01-01",
        "symbol": "BTCUSDT",
        "missing": 5,
        "open": 0,
        "unrepairable": 1,
        "repaired": 2,
        "seconds": 60.0,
    }
)
GAP_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/gaps": {"gaps": [dict(_GAP)], "next": None},
        "/api/gaps/held": {
            "held": [{"symbol": "BTCUSDT", "from_id": 1, "to_id": 99, "count": 99}],
            "next": "99-BTCUSDT",
        },
        "/api/gaps/calendar": {"days": [dict(_DAY)]},
    }
)


class GapsQuery(RangeQuery):
    """Which holes: of a symbol, of a status, of those that reach into a range of time."""

    symbol: SymbolName = None
    status: GapStatus | None = Field(
        None, description="`open`: being fetched; `repaired`: all has come; `unrepairable`: nothing can fill it."
    )
    limit: Limit = 500
    cursor: Cursor = None


class HeldQuery(BaseModel):
    """Whose ids."""

    model_config = ConfigDict(extra="forbid")

    symbol: SymbolName = None
    limit: Limit = 500
    cursor: Cursor = None


class CalendarQuery(BaseModel):
    """Which days; a day that begins in [start, end) is among them."""

    model_config = ConfigDict(extra="forbid")

    symbol: SymbolName = None
    start: Time | None = Field(None, description="Included: the day in which it lies. By default a year ago.")
    end: Time | None = Field(None, description="Excluded, but for the day in which it lies. By default now.")


def add_gaps(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes of the ledger."""
    store = services.store

    async def named(symbol: str | None) -> str | None:
        return None if symbol is None else await resolve_leg(catalog, symbol, "symbol")

    @app.get("/api/gaps", response_model=schemas.GapsOut, summary="Holes in the trade ids, the newest first")
    async def gaps(query: Annotated[GapsQuery, Query()]) -> Response:
        """A hole is found when the trade behind it comes, fetched again, and given up where nobody has it."""
        start_ns, end_ns = check_range(query)
        behind = None if query.cursor is None else _gap_key(query.cursor)
        found = await store.gaps(await named(query.symbol))

        def page() -> bytes:
            chosen = [gap for gap in found if query.status in {None, gap.status} and _within(gap, start_ns, end_ns)]
            chosen.sort(key=_newest_first)
            begin = 0 if behind is None else bisect_right(chosen, behind, key=_newest_first)
            rows, more = chosen[begin : begin + query.limit], len(chosen) > begin + query.limit
            cursor = f"{span_of(rows[-1])[0]}-{rows[-1].from_id}-{rows[-1].symbol}" if more else None
            return orjson.dumps({"gaps": [_line(gap) for gap in rows], "next": cursor})

        return _answer(await asyncio.to_thread(page))

    @app.get("/api/gaps/held", response_model=schemas.HeldOut, summary="Intervals of consecutive ids that are stored")
    async def held(query: Annotated[HeldQuery, Query()]) -> Response:
        """What lies between two intervals of a symbol is a hole; ids that the exchange never prints count as stored."""
        behind = None if query.cursor is None else _held_key(query.cursor)
        found = sorted(await store.held(await named(query.symbol)), key=_by_symbol)
        begin = 0 if behind is None else bisect_right(found, behind, key=_by_symbol)
        rows, more = found[begin : begin + query.limit], len(found) > begin + query.limit
        lines = [
            {"symbol": it.symbol, "from_id": it.from_id, "to_id": it.to_id, "count": it.to_id - it.from_id + 1}
            for it in rows
        ]
        return _answer(orjson.dumps({"held": lines, "next": f"{rows[-1].from_id}-{rows[-1].symbol}" if more else None}))

    @app.get("/api/gaps/calendar", response_model=schemas.GapCalendarOut, summary="Holes by symbol and day, UTC")
    async def calendar(query: Annotated[CalendarQuery, Query()]) -> Response:
        """Days with a hole only; one that goes over midnight is split, and counts on each of its days."""
        end_ns = services.clock() if query.end is None else query.end
        start_ns = max(0, end_ns - _YEAR_NS) if query.start is None else query.start
        if start_ns > end_ns:
            raise InputError("end must not be earlier than start", loc="end")
        found = await store.gaps(await named(query.symbol))
        days = await asyncio.to_thread(_calendar, found, start_ns // DAY_NS, -(-end_ns // DAY_NS))
        return _answer(orjson.dumps({"days": days}))


def _answer(body: bytes) -> Response:
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")


def _within(gap: Gap, start_ns: int, end_ns: int) -> bool:
    after_ns, before_ns = span_of(gap)
    return after_ns < end_ns and before_ns >= start_ns


def _newest_first(gap: Gap) -> tuple[int, int, str]:
    return -span_of(gap)[0], gap.from_id, gap.symbol


def _by_symbol(held: HeldIds) -> tuple[str, int]:
    return held.symbol, held.from_id


def _gap_key(cursor: str) -> tuple[int, int, str]:
    after, _, rest = cursor.partition("-")
    number, _, symbol = rest.partition("-")
    return -_whole(after), _whole(number), symbol


def _held_key(cursor: str) -> tuple[str, int]:
    number, _, symbol = cursor.partition("-")
    return symbol, _whole(number)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InputError("not a cursor of this listing; send `next` of the page before", loc="cursor")
    return int(text)


def _line(gap: Gap) -> dict[str, Any]:
    """Return a hole as a row."""
    times = {"after": gap.after_ns, "before": gap.before_ns, "seen": gap.seen_ns, "ended": gap.ended_ns}
    return {**gap_fields(gap), **{name: at_ns // _MS or None for name, at_ns in times.items()}}


def _calendar(gaps: Sequence[Gap], first_day: int, end_day: int) -> list[dict[str, Any]]:
    """Return the days in [first, end) that have a hole, by (day, symbol)."""
    spans = np.array([(*span_of(gap), gap.missing) for gap in gaps], np.int64).reshape(-1, 3)
    cut = days_of(Holes(spans[:, 0], spans[:, 1], spans[:, 2]))
    found: dict[tuple[int, str], dict[str, Any]] = {}
    lacking: dict[tuple[int, str], list[tuple[int, int]]] = {}
    rows = np.flatnonzero((cut.day >= first_day) & (cut.day < end_day))
    for row, day, missing in zip(
        cut.row[rows].tolist(), cut.day[rows].tolist(), cut.missing[rows].tolist(), strict=True
    ):
        gap = gaps[row]
        key = day, gap.symbol
        line = found.setdefault(key, {"missing": 0, "open": 0, "unrepairable": 0, "repaired": 0})
        line["missing"] += missing
        line[gap.status] += 1
        if gap.missing:
            after_ns, before_ns = span_of(gap)
            lacking.setdefault(key, []).append((max(after_ns, day * DAY_NS), min(before_ns, (day + 1) * DAY_NS)))
    return [
        {
            "date": str(np.datetime64(day, "D")),
            "symbol": symbol,
            **found[day, symbol],
            "seconds": _length(lacking.get((day, symbol), [])) / 1e9,
        }
        for day, symbol in sorted(found)
    ]


def _length(spans: Iterable[tuple[int, int]]) -> int:
    """Return how much time spans cover together: two parts of one hole lie in the same time."""
    total, reached = 0, 0
    for low, high in sorted(spans):
        total += max(0, high - max(low, reached))
        reached = max(reached, high)
    return total
