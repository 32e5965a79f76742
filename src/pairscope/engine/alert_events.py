"""The gauges of events: a funding rate as it is polled, and pairs that the screen finds cointegrated, or no longer."""

from __future__ import annotations

from typing import Final

from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment
from pairscope.market.symbols import Symbols
from pairscope.ports import LiveView

__all__ = ["EVENT_GAUGES", "EventGauges"]

EVENT_GAUGES: Final = ("funding", "cointegration")
_FOUND: Final = {"found": 1.0, "lost": 0.0}


class EventGauges(GaugeSource):
    """Feeds funding rates by symbol, and discoveries by pair: 1 where one was found, 0 where it was lost.

    A discovery belongs to a pair whichever of its legs is called y. A rule hears of it by the screen of its own
    timeframe and lookback; a rule on any pair hears of all pairs.

    >>> source, values = EventGauges(Symbols(), None), []
    >>> gauge = Gauge(GaugeKey("funding", "BTCUSDT"), lambda *step: None)
    >>> source.add(gauge)
    >>> source.on_event("funding", "BTCUSDT", 0.0001, Moment(0, 0, 0))
    >>> gauge.value
    0.0001
    """

    def __init__(self, symbols: Symbols, live: LiveView | None) -> None:
        self._gauges: dict[GaugeKey, Gauge] = {}

    def handles(self, key: GaugeKey) -> bool:
        """Return whether it is something that is told by events."""
        return key.type in EVENT_GAUGES

    def add(self, gauge: Gauge) -> None:
        """Feed a gauge from now on."""
        self._gauges[gauge.key] = gauge
        words = (
            "its funding rate has not been asked for yet" if gauge.key.type == "funding" else "no screen has run yet"
        )
        gauge.reason = words

    def remove(self, gauge: Gauge) -> None:
        """Feed a gauge no longer."""
        del self._gauges[gauge.key]

    def on_event(
        self, kind: str, name: str, value: float, moment: Moment, *, timeframe: str = "", lookback: int = 0
    ) -> None:
        """Feed what an event moves."""
        for key, gauge in list(self._gauges.items()):
            if kind == "funding" and key.type == "funding" and key.symbol == name:
                gauge.feed(value, moment)
            elif kind in _FOUND and key.type == "cointegration" and self._hears(key, name, timeframe, lookback):
                gauge.feed(_FOUND[kind], moment)

    @staticmethod
    def _hears(key: GaugeKey, name: str, timeframe: str, lookback: int) -> bool:
        """Return whether a discovery is one that a gauge is about."""
        if timeframe and (key.timeframe, key.lookback) != (timeframe, lookback):
            return False
        y, _, x = name.partition(":")
        return not key.y or {key.y, key.x} == {y, x}
