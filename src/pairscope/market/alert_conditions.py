"""One comparison that a rule watches: whose value, which value, and when it has come true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from pairscope.errors import InputError
from pairscope.market.alert_terms import (
    BANDS,
    CROSSINGS,
    EVENTS,
    PAIR_TYPES,
    TYPES,
    conditions_of,
    default_window,
    plain_count,
    plain_number,
    plain_symbol,
    plain_timeframe,
    plain_word,
)
from pairscope.market.pairs import MOST_LOOKBACK, HedgeMethod, PairSettings, PriceSpace

__all__ = ["CONDITION_FIELDS", "AlertCondition", "refuse_unknown"]

CONDITION_FIELDS: Final = (
    "type", "condition", "threshold", "lower", "upper", "symbol", "y", "x", "timeframe", "window", "baseline",
    "lookback", "method", "price_space", "hysteresis",
)  # fmt: skip
"""The fields of a condition, as the API names them."""
_BOUNDED: Final = ("price", "staleness")


@dataclass(frozen=True, slots=True)
class AlertCondition:
    """One comparison of a value that moves: ``type`` says which value, of a symbol or of a pair (y, x).

    ``threshold`` is in the value's own unit (a fraction where it is one: 0.01 is 1 %); bands have ``lower`` and
    ``upper`` instead, ``found`` and ``lost`` none. ``hysteresis``, in the same unit, is how far beyond the threshold a
    value has to come back before the condition may come true again. ``baseline`` is a volume's: how many bars before
    its window are the usual. Fields that a type does not use stay at their defaults. ``from_document`` checks them.

    >>> fields = {"type": "price", "symbol": "btcusdt", "condition": "above", "threshold": 5}
    >>> AlertCondition.from_document(fields).symbol
    'BTCUSDT'
    """

    type: str
    condition: str
    threshold: float | None = None
    lower: float | None = None
    upper: float | None = None
    symbol: str = ""
    y: str = ""
    x: str = ""
    timeframe: str = "1m"
    window: int = 60
    baseline: int | None = None
    lookback: int = 1440
    method: str = "ols"
    price_space: str = "log"
    hysteresis: float = 0.0

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> AlertCondition:
        """Return the condition that the API's fields describe; ``InputError`` names the field that cannot be."""
        refuse_unknown(document, CONDITION_FIELDS)
        type_ = plain_word(document, "type", TYPES)
        condition = document.get("condition")
        if condition not in conditions_of(type_):
            said = "is missing" if condition is None else f"{str(condition)[:64]!r} does not fit"
            fit = ", ".join(conditions_of(type_))
            raise InputError(f"condition: {said}; of {type_} it must be one of {fit}", loc="condition")
        made = cls(
            type_,
            str(condition),
            plain_number(document, "threshold"),
            plain_number(document, "lower"),
            plain_number(document, "upper"),
            **_subject(document, type_),
            timeframe=plain_timeframe(document),
            window=plain_count(document, "window", 1, MOST_LOOKBACK, default_window(type_)),
            baseline=plain_count(document, "baseline", 1, MOST_LOOKBACK, 0) or None,
            lookback=plain_count(document, "lookback", 3, MOST_LOOKBACK, 1440),
            method=plain_word(document, "method", get_args(HedgeMethod), "ols"),
            price_space=plain_word(document, "price_space", get_args(PriceSpace), "log"),
            hysteresis=plain_number(document, "hysteresis") or 0.0,
        )
        return made._checked()

    def document(self) -> dict[str, Any]:
        """Return the fields that this type uses, as the API names them."""
        made: dict[str, Any] = {"type": self.type}
        made |= {"y": self.y or None, "x": self.x or None} if self.type in PAIR_TYPES else {"symbol": self.symbol}
        made["condition"] = self.condition
        if self.condition in BANDS:
            made |= {"lower": self.lower, "upper": self.upper}
        elif self.condition not in EVENTS:
            made["threshold"] = self.threshold
        made |= {"timeframe": self.timeframe, "window": self.window}
        if self.type == "volume":
            made["baseline"] = self.baseline
        if self.type in PAIR_TYPES:
            made |= {"lookback": self.lookback, "method": self.method, "price_space": self.price_space}
        made["hysteresis"] = self.hysteresis
        return made

    @property
    def crossing(self) -> bool:
        """Whether it comes true at a moment only, not for as long as something holds."""
        return self.condition in CROSSINGS

    @property
    def level(self) -> float:
        """The number that a firing names as its threshold: of a band its lower edge, NaN where there is none."""
        found = self.lower if self.condition in BANDS else self.threshold
        return float("nan") if found is None else found

    def _checked(self) -> AlertCondition:
        """Return the condition with the threshold that its type knows by itself; refuse what cannot be."""
        made = self
        if self.type == "sentinel" and self.threshold is None and self.condition not in BANDS:
            made = replace(self, threshold=1.5)
        band, event = made.condition in BANDS, made.condition in EVENTS
        for name, value, wanted in (
            ("threshold", made.threshold, not band and not event),
            ("lower", made.lower, band),
            ("upper", made.upper, band),
        ):
            if wanted and value is None:
                raise InputError(f"{name}: is missing", loc=name)
            if not wanted and value is not None:
                raise InputError(f"{name}: has no meaning with {made.condition}", loc=name)
            if value is not None and value < 0.0 and made.type in _BOUNDED:
                raise InputError(f"{name}: of {made.type} must not be negative", loc=name)
        if made.condition == "moves" and not (made.threshold or 0.0) > 0.0:
            raise InputError("threshold: must be above 0, 0.01 is 1 %", loc="threshold")
        if band and not (made.lower or 0.0) < (made.upper or 0.0):
            raise InputError("upper: must be above lower", loc="upper")
        made._check_hysteresis()
        if made.type in PAIR_TYPES and made.y:
            PairSettings(
                made.y,
                made.x,
                made.timeframe,
                made.lookback,
                min(max(made.window, 2), made.lookback) if made.type in {"half_life", "hedge_drift"} else made.window,
                made.method,  # type: ignore[arg-type]  # checked to be one of them
                made.price_space,  # type: ignore[arg-type]  # as above
            )
        if made.baseline is not None and made.type != "volume":
            raise InputError(f"baseline: has no meaning with {made.type}", loc="baseline")
        if made.type == "volatility" and made.window < 2:
            raise InputError("window: must be 2 at least, a volatility is of several returns", loc="window")
        return made

    def _check_hysteresis(self) -> None:
        """Refuse a way back that is none, or that no value can go."""
        if self.hysteresis < 0.0:
            raise InputError("hysteresis: must not be negative", loc="hysteresis")
        if self.hysteresis and self.condition in EVENTS:
            raise InputError(f"hysteresis: has no meaning with {self.condition}", loc="hysteresis")
        if self.condition == "moves" and self.hysteresis >= (self.threshold or 0.0):
            raise InputError("hysteresis: must be less than the threshold", loc="hysteresis")
        if self.condition == "leaves" and 2.0 * self.hysteresis >= (self.upper or 0.0) - (self.lower or 0.0):
            raise InputError("hysteresis: must be less than half the band's width", loc="hysteresis")


def refuse_unknown(document: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse a field that is none; ``InputError`` names it.

    >>> refuse_unknown({"treshold": 3}, ("threshold",))
    Traceback (most recent call last):
    pairscope.errors.InputError: treshold: is unknown
    """
    for name in document:
        if name not in known:
            raise InputError(f"{str(name)[:64]}: is unknown", loc=str(name)[:64])


def _subject(document: Mapping[str, Any], type_: str) -> dict[str, str]:
    """Return whose value it is: a symbol's or a pair's."""
    others = ("symbol",) if type_ in PAIR_TYPES else ("y", "x")
    for name in others:
        if document.get(name):
            of = "of a pair, y and x" if type_ in PAIR_TYPES else "of a symbol"
            raise InputError(f"{name}: {type_} is {of}", loc=name)
    if type_ not in PAIR_TYPES:
        return {"symbol": plain_symbol(document, "symbol")}
    any_pair = type_ == "cointegration" and not document.get("y") and not document.get("x")
    made = {name: plain_symbol(document, name, needed=not any_pair) for name in ("y", "x")}
    if made["y"] and made["y"] == made["x"]:
        raise InputError(f"x: a pair needs two different symbols, both are {made['y']}", loc="x")
    return made
