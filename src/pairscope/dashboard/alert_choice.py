"""What a person wants to be told of, under the API's names: made by the form, and read back from a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pairscope.dashboard.alert_kinds import KINDS, fields_of
from pairscope.dashboard.pair_words import base_of

__all__ = ["AlertChoice", "ConditionChoice", "changes", "conditions_of", "scale_of", "unit_of"]

_CONDITION_FIELDS: Final = (
    "type", "symbol", "y", "x", "condition", "threshold", "lower", "upper", "timeframe", "window", "baseline",
    "lookback", "method", "price_space", "hysteresis",
)  # fmt: skip
_RULE_FIELDS: Final = ("frequency", "cooldown_s", "expires", "notify", "note", "message")


@dataclass(frozen=True, slots=True)
class ConditionChoice:
    """One condition; numbers as they stand on screen, so a percentage as 1.2 and not as 0.012."""

    type: str = "price"
    symbol: str = ""
    y: str = ""
    x: str = ""
    condition: str = "above"
    threshold: float | None = None
    lower: float | None = None
    upper: float | None = None
    timeframe: str = "1m"
    window: int = 60
    baseline: int | None = None
    lookback: int = 1440
    method: str = "ols"
    price_space: str = "log"
    hysteresis: float = 0.0

    def body(self, frequency: str = "every") -> dict[str, Any]:
        """Return what the API is asked for: only what means something for the type, in the API's units.

        >>> ConditionChoice("price_change", "BTCUSDT", threshold=1.2, window=5).body()  # doctest: +ELLIPSIS
        {'type': 'price_change', 'symbol': 'BTCUSDT', 'condition': 'above', 'threshold': 0.012, 'timeframe': ...
        """
        fields = fields_of(self.type, self.condition, frequency)
        scale = scale_of(self.type, self.condition)
        found: dict[str, Any] = {"type": self.type}
        if KINDS[self.type].subject == "symbol":
            found["symbol"] = self.symbol
        elif self.y or self.x:
            found |= {"y": self.y, "x": self.x}
        found["condition"] = self.condition
        for name in ("threshold", "lower", "upper"):
            value: float | None = getattr(self, name)
            if name in fields and value is not None:
                found[name] = round(value / scale, 12)
        if "screen" in fields:
            found |= {"timeframe": self.timeframe, "lookback": self.lookback}
        found |= {name: getattr(self, name) for name in ("timeframe", "window") if name in fields}
        if "baseline" in fields and self.baseline:
            found["baseline"] = self.baseline
        found |= {name: getattr(self, name) for name in ("lookback", "method", "price_space") if name in fields}
        if "hysteresis" in fields and self.hysteresis:
            found["hysteresis"] = round(self.hysteresis / scale, 12)
        return found

    @property
    def complete(self) -> bool:
        """Whether all that the API needs is there."""
        fields = fields_of(self.type, self.condition)
        named = self.symbol if KINDS[self.type].subject == "symbol" else self.y and self.x
        if not named and KINDS[self.type].subject != "pair or any":
            return False
        return all(getattr(self, name) is not None for name in ("threshold", "lower", "upper") if name in fields)


@dataclass(frozen=True, slots=True)
class AlertChoice:
    """A whole alert: its conditions, how they are joined, how often it tells, and whom."""

    conditions: tuple[ConditionChoice, ...]
    join: str = "and"
    frequency: str = "every"
    cooldown_s: int = 60
    expires: int | None = None
    notify: tuple[str, ...] = ()
    note: str = ""
    message: str = ""

    def body(self) -> dict[str, Any]:
        """Return what the API is asked for.

        >>> AlertChoice((ConditionChoice("price", "BTCUSDT", threshold=67000.0),), note="top").body()
        ... # doctest: +NORMALIZE_WHITESPACE
        {'type': 'price', 'symbol': 'BTCUSDT', 'condition': 'above', 'threshold': 67000.0, 'frequency': 'every',
         'cooldown_s': 60, 'note': 'top'}
        """
        parts = [condition.body(self.frequency) for condition in self.conditions]
        found: dict[str, Any] = dict(parts[0]) if len(parts) == 1 else {"conditions": parts, "join": self.join}
        found |= {"frequency": self.frequency, "cooldown_s": self.cooldown_s}
        optional = {"expires": self.expires, "notify": list(self.notify), "note": self.note, "message": self.message}
        return found | {name: value for name, value in optional.items() if value}

    def watched(self) -> dict[str, Any]:
        """Return the part that decides when it fires: what a preview depends on."""
        body = self.body()
        return {name: value for name, value in body.items() if name not in {"expires", "notify", "note"}}

    @property
    def complete(self) -> bool:
        """Whether all that the API needs is there."""
        return all(condition.complete for condition in self.conditions)


def scale_of(kind: str, condition: str) -> float:
    """Return what the API's number is multiplied by for the screen: 100 where it is a share.

    >>> scale_of("price", "above"), scale_of("price", "moves"), scale_of("volatility", "above")
    (1.0, 100.0, 100.0)
    """
    return 100.0 if condition == "moves" else KINDS[kind].scale


def unit_of(kind: str, condition: str, symbol: str, baseline: int | None = None) -> str:
    """Return what a threshold is counted in on screen.

    >>> unit_of("price", "above", "BTCUSDT"), unit_of("price", "moves", "BTCUSDT")
    ('USDT', '%')
    >>> unit_of("volume", "above", "BTCUSDT"), unit_of("staleness", "above", "BTCUSDT")
    ('BTC', 's')
    """
    if baseline:
        return "× the usual"
    if condition == "moves":
        return "%"
    base, unit = base_of(symbol), KINDS[kind].unit
    return {"quote": symbol.removeprefix(base), "base": base}.get(unit, unit)


def conditions_of(rule: Mapping[str, Any]) -> tuple[ConditionChoice, ...]:
    """Return a rule's conditions as the form has them.

    >>> conditions_of({"type": "volatility", "symbol": "BTCUSDT", "condition": "above", "threshold": 0.6})[0].threshold
    60.0
    """
    several = rule.get("conditions")
    parts: Sequence[Mapping[str, Any]] = several if isinstance(several, Sequence) and several else [rule]
    return tuple(_condition_of(part) for part in parts)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a changed form asks of a rule, as the bodies of both have it; what is gone becomes null.

    A changed condition is sent whole, as the API begins to watch it anew.

    >>> changes({"type": "price", "threshold": 1.0, "note": "a"}, {"type": "price", "threshold": 1.0, "note": "b"})
    {'note': 'b'}
    >>> changes({"type": "price", "lower": 1.0, "upper": 2.0}, {"type": "price", "threshold": 3.0})
    {'type': 'price', 'threshold': 3.0, 'lower': None, 'upper': None}
    """
    watched = ("conditions", "join", *_CONDITION_FIELDS)
    found: dict[str, Any] = {}
    if any(before.get(name) != after.get(name) for name in watched):
        found |= {name: after[name] for name in watched if name in after}
        if "conditions" not in before and "conditions" not in after:
            found |= {name: None for name in watched if name in before and name not in after}
    for name in _RULE_FIELDS:
        if before.get(name) != after.get(name):
            found[name] = after.get(name)
    return found


def _condition_of(part: Mapping[str, Any]) -> ConditionChoice:
    kind, condition = str(part.get("type", "price")), str(part.get("condition", "above"))
    scale = scale_of(kind, condition) if kind in KINDS else 1.0
    found: dict[str, Any] = {
        name: part[name] for name in _CONDITION_FIELDS if part.get(name) is not None and name not in {"once"}
    }
    for name in ("threshold", "lower", "upper", "hysteresis"):
        if name in found:
            found[name] = round(float(found[name]) * scale, 10)
    return ConditionChoice(**found)
