"""What an answer says of the bars that it stands on and that lack trades."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from pairscope.gap_flags import Touched, read_holes, touched_bars
from pairscope.market.bars import BarBatch
from pairscope.ports import TickStore

__all__ = ["gaps_told", "touched_symbols"]

_NAMED: Final = 3


async def touched_symbols(store: TickStore, used: Mapping[str, BarBatch]) -> dict[str, Touched]:
    """Return, of symbols with the bars used of each, those that lack trades in them: one look where none does."""
    holes = await read_holes(store, used)
    lacking = [name for name in used if name in holes]
    found = await asyncio.gather(*(touched_bars(store, name, used[name], holes[name]) for name in lacking))
    return {name: touched for name, touched in zip(lacking, found, strict=True) if touched.bars}


def gaps_told(found: Mapping[str, Touched]) -> dict[str, Any]:
    """Return ``gaps`` (how many bars lack how many trades, in all and by symbol) and ``warnings`` in words.

    >>> gaps_told({})
    {'gaps': {'bars': 0, 'missing': 0, 'symbols': {}}, 'warnings': []}
    """
    by_symbol = {name: {"bars": touched.bars, "missing": touched.missing} for name, touched in found.items()}
    bars, missing = (sum(part[what] for part in by_symbol.values()) for what in ("bars", "missing"))
    gaps = {"bars": bars, "missing": missing, "symbols": by_symbol}
    return {"gaps": gaps, "warnings": [_sentence(by_symbol, bars)] if by_symbol else []}


def _sentence(by_symbol: Mapping[str, Mapping[str, int]], bars: int) -> str:
    """Return the warning, the symbols that lack most first."""
    most = sorted(by_symbol, key=lambda name: (-by_symbol[name]["missing"], name))
    named = [f"{by_symbol[name]['missing']:,} of {name}" for name in most[:_NAMED]]
    more = f" and some of {len(most) - _NAMED} more" if len(most) > _NAMED else ""
    return f"Trades are missing, {', '.join(named)}{more}: {bars:,} of the bars used lack some and may be wrong."
