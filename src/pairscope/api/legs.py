"""The closed bars that analytics are computed from: of one symbol, and of two at common times."""

from __future__ import annotations

import asyncio
from typing import Final

from pairscope.api.bars import newest_bars
from pairscope.api.catalog import Catalog
from pairscope.api.parameters import MAX_NS
from pairscope.errors import InputError, UnknownSymbol
from pairscope.market.align import common_bars
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.ticks import TickBatch
from pairscope.ports import Services

__all__ = ["Leg", "closed_bars", "closed_before", "common_closed_bars", "newest_ticks", "resolve_all", "resolve_leg"]

Leg = BarBatch
"""Closed bars of one symbol, oldest first."""

MOST_SYMBOLS: Final = 100
"""Symbols that one question may name."""

_OPEN: Final = 2
"""Bars that may be open: one, or two while the watermark lags behind a newer one."""
_SPARE: Final = 60
_DEEPER: Final = 2
_DEEPEST: Final = 4


async def resolve_leg(catalog: Catalog, text: str, loc: str) -> str:
    """Return a known symbol; an error names the parameter ``loc`` that it came in."""
    try:
        return await catalog.resolve(text)
    except UnknownSymbol as error:
        error.loc = loc
        raise
    except InputError as error:
        raise InputError(f"{loc}: {error}", loc=loc) from error


async def resolve_all(catalog: Catalog, text: str) -> list[str]:
    """Return the symbols of a list; ``InputError`` where they are too few, too many, or one is there twice."""
    given = [part.strip() for part in text.split(",") if part.strip()]
    if not 2 <= len(given) <= MOST_SYMBOLS:
        raise InputError(f"symbols: name 2 to {MOST_SYMBOLS}, there are {len(given)}", loc="symbols")
    names = [await resolve_leg(catalog, part, "symbols") for part in given]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"symbols: {name} is there twice", loc="symbols")
    return names


def closed_before(timeframe: str, end_ns: int | None) -> int:
    """Return the time before which a bar opens that has closed by ``end_ns``."""
    if end_ns is None:
        return MAX_NS
    return end_ns // timeframe_ns(timeframe) * timeframe_ns(timeframe)


async def closed_bars(services: Services, symbol: str, timeframe: str, count: int, end_ns: int = MAX_NS) -> Leg:
    """Return the newest ``count`` closed bars that open before ``end_ns``."""
    page = await newest_bars(services, symbol, timeframe, count + _OPEN, end_ns)
    bars = page.bars.take(page.closed)
    return bars.take(slice(max(0, len(bars) - count), None))


async def common_closed_bars(
    services: Services, y: str, x: str, timeframe: str, count: int, end_ns: int = MAX_NS
) -> tuple[Leg, Leg]:
    """Return the newest ``count`` closed bars that both symbols have, rows of both at the same times.

    Where a leg trades seldom more bars are read, up to four times as many as are wanted; what is older stays unread.
    """
    limit, most = count + _SPARE, _DEEPEST * (count + _SPARE)
    while True:
        legs = await asyncio.gather(
            closed_bars(services, y, timeframe, limit, end_ns), closed_bars(services, x, timeframe, limit, end_ns)
        )
        both = common_bars(*legs)
        if len(both[0]) >= count or limit >= most or not _more_in_common(legs[0], legs[1], limit):
            rows = slice(max(0, len(both[0]) - count), None)
            return both[0].take(rows), both[1].take(rows)
        limit = min(most, limit * _DEEPER)


async def newest_ticks(services: Services, symbol: str, start_ns: int, end_ns: int, most: int) -> TickBatch:
    """Return the newest ``most`` trades in [start, end)."""
    return await services.store.ticks(symbol, start_ns, end_ns, limit=most, newest=True)


def _more_in_common(a: Leg, b: Leg, limit: int) -> bool:
    """Whether older bars of both may be there: a leg that has no more ends what can be common."""
    if not (len(a) and len(b)):
        return False
    oldest = (int(a.ts_open_ns[0]), int(b.ts_open_ns[0]))
    whole = (len(a) < limit, len(b) < limit)
    if all(whole):
        return False
    return not ((whole[0] and oldest[0] >= oldest[1]) or (whole[1] and oldest[1] >= oldest[0]))
