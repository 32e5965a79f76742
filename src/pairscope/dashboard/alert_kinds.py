"""What can be watched: for each type of alert its words, its unit on screen, and which fields of the form it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pairscope.dashboard.scanner_choice import PRESETS

__all__ = [
    "CONDITIONS",
    "FREQUENCIES",
    "KINDS",
    "SENTINEL_LEVELS",
    "Kind",
    "fields_of",
    "frequencies_of",
    "kinds_for_views",
]

_LEVELS: Final = ("above", "below", "crosses_above", "crosses_below", "enters", "leaves")

CONDITIONS: Final[Mapping[str, str]] = {
    "above": "Above",
    "below": "Below",
    "crosses_above": "Crosses above",
    "crosses_below": "Crosses below",
    "enters": "Enters a band",
    "leaves": "Leaves a band",
    "moves": "Moves by",
    "found": "Found",
    "lost": "Lost",
}
"""The API's word -> the form's."""

FREQUENCIES: Final[Mapping[str, str]] = {
    "every": "Each time",
    "once": "Once, then never again",
    "once_per_bar": "At most once a bar",
    "once_per_bar_close": "At a bar's close only",
}

SENTINEL_LEVELS: Final[Mapping[float, str]] = {0.5: "Warning", 1.5: "Broken"}
"""The sentinel says 0 quiet, 1 warning, 2 broken; a threshold lies between two of them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of alert.

    ``unit`` is what a number on screen is counted in (``quote`` and ``base``: the symbol's own), ``scale`` what the
    API's number is multiplied by for it; ``means`` says what is watched, ``{window}`` and ``{timeframe}`` filled in.
    """

    label: str
    subject: str
    means: str
    unit: str = ""
    scale: float = 1.0
    decimals: int = 2
    conditions: tuple[str, ...] = _LEVELS
    first: float | None = None
    window: int | None = None
    timeframe: bool = False
    fitted: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "price": Kind("Price", "symbol", "The price of the last trade.", "quote", conditions=(*_LEVELS, "moves")),
    "price_change": Kind(
        "Price change",
        "symbol",
        "The price against the close {window} bars of {timeframe} ago; a fall is negative.",
        "%", 100.0, 2, first=2.0, window=60, timeframe=True,
    ),
    "volume": Kind(
        "Volume",
        "symbol",
        "What was traded in the newest {window} bars of {timeframe}, the open one included.",
        "base", 1.0, 4, window=1, timeframe=True,
    ),
    "volatility": Kind(
        "Volatility",
        "symbol",
        "Realised volatility of the last {window} closed bars of {timeframe}, as for a year.",
        "% a year", 100.0, 1, first=100.0, window=60, timeframe=True,
    ),
    "zscore": Kind(
        "z-score",
        "pair",
        "How many standard deviations the spread is from its mean of {window} bars of {timeframe}.",
        "σ", 1.0, 2, first=2.0, window=60, timeframe=True, fitted=True,
    ),
    "spread": Kind(
        "Spread",
        "pair",
        "Y less its hedge: in logs, 0.01 is about 1 % of Y's price.",
        "", 1.0, 5, first=0.01, window=60, timeframe=True, fitted=True,
    ),
    "correlation": Kind(
        "Correlation",
        "pair",
        "Of the legs' returns over {window} closed bars of {timeframe}, from −1 to 1.",
        "", 1.0, 2, first=0.5, window=60, timeframe=True, fitted=True,
    ),
    "hedge_drift": Kind(
        "Hedge-ratio drift",
        "pair",
        "The hedge ratio against what it was {window} bars of {timeframe} ago; a fall is negative.",
        "%", 100.0, 2, first=5.0, window=60, timeframe=True, fitted=True,
    ),
    "half_life": Kind(
        "Half-life",
        "pair",
        "Bars of {timeframe} after which half of a deviation of the spread is expected to be gone.",
        "bars", 1.0, 1, first=60.0, window=60, timeframe=True, fitted=True,
    ),
    "cointegration": Kind(
        "Cointegration",
        "pair or any",
        "The continuous screen of the market finds the pair to be cointegrated, or no longer does.",
        conditions=("found", "lost"),
    ),
    "sentinel": Kind(
        "Break sentinel",
        "pair",
        "What the sentinel says of the spread: quiet, warning, or that it has stopped reverting.",
        "", 1.0, 0, ("above", "below", "crosses_above", "crosses_below"), 1.5, 60, True, True,
    ),
    "funding": Kind("Funding rate", "symbol", "The last funding rate: 0.01 % is usual.", "%", 100.0, 4, first=0.03),
    "staleness": Kind(
        "Staleness of a feed", "symbol", "How long no trade of the symbol has come.", "s", 1.0, 0, first=30.0
    ),
}  # fmt: skip
"""The API's type -> what the form and the tables know of it."""

_OF_BARS: Final = ("once_per_bar", "once_per_bar_close")


def fields_of(kind: str, condition: str, frequency: str = "every") -> frozenset[str]:
    """Return which fields of the form mean something for a type, a condition and a frequency.

    >>> sorted(fields_of("price", "above"))
    ['hysteresis', 'threshold']
    >>> sorted(fields_of("price", "moves"))
    ['hysteresis', 'threshold', 'timeframe', 'window']
    >>> sorted(fields_of("zscore", "enters"))
    ['hysteresis', 'lookback', 'lower', 'method', 'price_space', 'timeframe', 'upper', 'window']
    >>> sorted(fields_of("cointegration", "found"))
    ['screen']
    """
    known = KINDS[kind]
    fields = {"timeframe"} if known.timeframe or condition == "moves" or frequency in _OF_BARS else set[str]()
    if known.window is not None or condition == "moves":
        fields.add("window")
    if known.fitted:
        fields |= {"lookback", "method", "price_space"}
    if kind == "cointegration":
        fields |= {"screen"}
    if kind == "volume":
        fields.add("baseline")
    if condition in {"enters", "leaves"}:
        fields |= {"lower", "upper", "hysteresis"}
    elif condition not in {"found", "lost"}:
        fields |= {"threshold"} if kind == "sentinel" else {"threshold", "hysteresis"}
    return frozenset(fields)


def frequencies_of(kinds: Iterable[str]) -> Mapping[str, str]:
    """Return how often an alert of these types may tell: at bars' closes only what bars are known of.

    >>> "once_per_bar_close" in frequencies_of(["price"]), "once_per_bar_close" in frequencies_of(["funding"])
    (True, False)
    """
    closing = not set(kinds) & {"cointegration", "funding", "staleness"}
    return {name: words for name, words in FREQUENCIES.items() if closing or name != "once_per_bar_close"}


def screens_of(held: str | None = None) -> Mapping[str, str]:
    """Return the continuous screens that a pair may be found by, as ``timeframe:lookback``, and the one that is held.

    >>> screens_of()["5m:2016"]
    '5m × 2,016'
    """
    known = {f"{timeframe}:{lookback}": words for words, (timeframe, lookback) in PRESETS.items()}
    return known if held is None else {**known, held: known.get(held, held.replace(":", " × "))}


def kinds_for_views() -> dict[str, Any]:
    """Return what the live views need in order to write a value of a type."""
    return {
        name: {"label": kind.label, "unit": kind.unit, "scale": kind.scale, "decimals": kind.decimals}
        for name, kind in KINDS.items()
    }
