"""How old the legs of a pair are: an answer says what it stands on, and a stale leg says so."""

from __future__ import annotations

from typing import Any, Final

import orjson

from pairscope.api.legs import Leg
from pairscope.api.prices import current_price
from pairscope.market.bars import timeframe_ns
from pairscope.market.pairs import PairSettings, span_in_words
from pairscope.ports import Services

__all__ = ["LegAges"]

_MS: Final = 1_000_000


class LegAges:
    """Asks how long ago each leg traded."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def of(self, settings: PairSettings, legs: tuple[Leg, Leg], end_ns: int | None) -> dict[str, Any]:
        """Return ``legs``, ``age_ms`` of the staler, ``stale``, ``stale_leg`` and a warning in words.

        Now is the clock's; with ``end_ns`` it is that time, and a leg's last trade the end of its newest bar.
        """
        now_ns = self._services.clock() if end_ns is None else min(end_ns, self._services.clock())
        found: dict[str, Any] = {}
        for place, symbol, bars in (("y", settings.y, legs[0]), ("x", settings.x, legs[1])):
            seen_ms = (int(bars.ts_open_ns[-1]) + timeframe_ns(settings.timeframe)) // _MS
            price = float(bars.close[-1])
            if end_ns is None:
                price, seen_ms = await self._last(symbol, price, seen_ms)
            age_ms = max(0, now_ns // _MS - seen_ms)
            found[place] = {"symbol": symbol, "last": float(bars.close[-1]), "price": price, "age_ms": age_ms}
        oldest = max(found, key=lambda place: found[place]["age_ms"])
        age_ms = found[oldest]["age_ms"]
        stale = age_ms * _MS > settings.stale_ns
        warnings = []
        if stale:
            name = found[oldest]["symbol"]
            warnings = [f"{name} last traded {span_in_words(age_ms)} before: the spread stands on a stale price."]
        return {
            "legs": found,
            "age_ms": age_ms,
            "stale": stale,
            "stale_leg": oldest if stale else None,
            "warnings": warnings,
        }

    async def _last(self, symbol: str, price: float, seen_ms: int) -> tuple[float, int]:
        """Return a symbol's last price and when it was seen, as ``/api/price`` says; its newest bar's else."""
        document = await current_price(self._services, symbol)
        said = orjson.loads(document) if document is not None else {}
        if said.get("price") is None or said.get("timestamp") is None:
            return price, seen_ms
        return float(said["price"]), int(said["timestamp"] if said.get("received") is None else said["received"])
