"""Which pair is looked at, and by which settings: one value that the engine, the API and the records share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES, timeframe_ns

__all__ = ["MOST_LOOKBACK", "HedgeMethod", "PairSettings", "PriceSpace", "Recursion", "span_in_words"]

_STALE_NS: Final = 60_000_000_000

HedgeMethod = Literal["ols", "huber", "kalman"]
PriceSpace = Literal["log", "linear"]
Recursion = Literal["lookback", "live"]

MOST_LOOKBACK: Final = 10_000
"""Bars that a hedge ratio may be fitted on."""


@dataclass(frozen=True, slots=True)
class PairSettings:
    """A pair (y, x) and how it is computed.

    ``lookback`` bars to fit the hedge ratio on, ``window`` bars for z-score and correlation, ``method`` whose hedge
    ratio makes the spread, ``entry`` and ``exit`` the z-scores that a trader looks at (lines on a chart, no orders).
    ``InputError`` names the field that cannot be.

    >>> PairSettings("ETHUSDT", "BTCUSDT").key
    'ETHUSDT:BTCUSDT'
    >>> PairSettings("ETHUSDT", "ETHUSDT")
    Traceback (most recent call last):
    pairscope.errors.InputError: x: a pair needs two different symbols, both are ETHUSDT
    """

    y: str
    x: str
    timeframe: str = "1m"
    lookback: int = 1440
    window: int = 60
    method: HedgeMethod = "ols"
    price_space: PriceSpace = "log"
    entry: float = 2.0
    exit: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.y == self.x:
            raise InputError(f"x: a pair needs two different symbols, both are {self.y}", loc="x")
        if self.timeframe not in TIMEFRAMES:
            raise InputError(f"timeframe: must be one of {', '.join(TIMEFRAMES)}", loc="timeframe")
        for name, value, least in (("lookback", self.lookback, 3), ("window", self.window, 2)):
            if not least <= value <= MOST_LOOKBACK:
                raise InputError(f"{name}: must be {least} to {MOST_LOOKBACK}", loc=name)
        if self.window > self.lookback:
            raise InputError(f"window: must not exceed lookback ({self.lookback})", loc="window")
        if self.method not in get_args(HedgeMethod):
            raise InputError(f"method: must be one of {', '.join(get_args(HedgeMethod))}", loc="method")
        if self.price_space not in get_args(PriceSpace):
            raise InputError("price_space: must be log or linear", loc="price_space")
        if not 0.0 <= self.exit < self.entry <= 100.0:
            raise InputError("exit: must be below entry, both from 0 to 100", loc="exit")

    @property
    def stale_ns(self) -> int:
        """How old a leg's last trade may be before it says nothing any more: a minute, or two bars where that is more.

        >>> PairSettings("ETHUSDT", "BTCUSDT", timeframe="5m").stale_ns
        600000000000
        """
        return max(_STALE_NS, 2 * timeframe_ns(self.timeframe))

    @property
    def key(self) -> str:
        """The pair's name on the stream and in the records: ``Y:X``."""
        return f"{self.y}:{self.x}"


def span_in_words(ms: int) -> str:
    """Return a span of time as a person says it, for sentences about the age of a leg.

    >>> [span_in_words(ms) for ms in (90_000, 7_000_000, 90_000_000, 900_000_000)]
    ['90 s', '117 min', '25 h', '10 d']
    """
    for most_s, unit, length_s in ((600, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if ms < most_s * 1000:
            return f"{ms / 1000 / length_s:.0f} {unit}"
    return f"{ms / 86_400_000:.0f} d"
