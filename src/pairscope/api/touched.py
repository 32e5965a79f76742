"""What an answer says of the bars that it stands on and that lack trades."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any, Final

from pairscope.gap_flags import Touched, read_holes, touched_bars, touched_market
from pairscope.market.bars import BarBatch
from pairscope.ports import TickStore
from pairscope.ports_research import ScreenTable

__all__ = ["ScreenGaps", "gaps_told", "marked", "touched_symbols"]

_NAMED: Final = 3
_KEPT: Final = 8


async def touched_symbols(store: TickStore, used: Mapping[str, BarBatch]) -> dict[str, Touched]:
    """Return, of symbols with the bars used of each, those that lack trades in them: one look where none does."""
    holes = await read_holes(store, used)
    lacking = [name for name in used if name in holes]
    found = await asyncio.gather(*(touched_bars(store, name, used[name], holes[name]) for name in lacking))
    return {name: touched for name, touched in zip(lacking, found, strict=True) if touched.bars}


class ScreenGaps:
    """Says which symbols of a screen lack trades in the bars that it tested; looks again when the ledger changes."""

    def __init__(self, store: TickStore) -> None:
        self._store = store
        self._known: dict[Hashable, dict[str, Touched]] = {}

    async def of(self, table: ScreenTable) -> dict[str, Touched]:
        """Return those that lack any, by name."""
        timeframe, symbols, times_ns = table.stands_on
        holes = await read_holes(self._store, symbols)
        if not holes:
            return {}
        key = table.key, *((name, one.after_ns.tobytes(), one.missing.tobytes()) for name, one in holes.items())
        found = self._known.get(key)
        if found is None:
            found = await touched_market(self._store, timeframe, times_ns, holes)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = found
        return found


def marked(page: Mapping[str, Any], told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a screen's page with what ``gaps_told`` says, and ``gap`` on the rows of which a leg lacks trades."""
    lacking = told["gaps"]["symbols"]
    rows = [{**row, "gap": True} if row["y"] in lacking or row["x"] in lacking else row for row in page["pairs"]]
    return {**page, "pairs": rows, **told}


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
