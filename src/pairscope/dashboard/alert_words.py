"""Values of alerts as a trader reads them: in the unit of their type, and how far from firing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pairscope.dashboard.alert_choice import ConditionChoice, scale_of, unit_of
from pairscope.dashboard.alert_kinds import CONDITIONS, KINDS, SENTINEL_LEVELS
from pairscope.dashboard.pair_words import MISSING, base_of, duration, number, plain, when

__all__ = ["condition_words", "distance_words", "fired_words", "span_words", "times_words", "value_words"]

_SENTINEL: Final = ("quiet", "warning", "broken")


def value_words(kind: str, condition: str, value: float | None, symbol: str = "", baseline: int | None = None) -> str:
    """Write a value of the API's as it stands on screen.

    >>> value_words("price", "above", 67012.4, "BTCUSDT"), value_words("price_change", "above", 0.0123)
    ('67,012.40 USDT', '1.23 %')
    >>> value_words("zscore", "above", -2.345), value_words("sentinel", "above", 2.0)
    ('−2.35 σ', 'broken')
    """
    if value is None:
        return MISSING
    if kind == "sentinel":
        return _SENTINEL[min(2, max(0, round(value)))]
    if baseline:
        return f"{value:,.2f} {unit_of(kind, condition, symbol, baseline)}"
    unit = unit_of(kind, condition, symbol)
    shown = value * scale_of(kind, condition)
    decimals = 2 if condition == "moves" else KINDS[kind].decimals
    if kind in {"price", "volume"} and condition != "moves":
        text = number(shown, 8) if kind == "price" else number(shown, 4)
        whole, _, part = text.partition(".")
        text = f"{whole}.{part.ljust(2, '0')}" if kind == "price" else text
    else:
        text = f"{shown:,.{decimals}f}"
    return f"{text.replace('-', '−')}{f' {unit}' if unit else ''}"


def distance_words(choice: ConditionChoice, value: float | None, distance: float | None, *, holds: bool) -> str:
    """Say how far a value is from where the condition fires.

    >>> price = ConditionChoice("price", "BTCUSDT", threshold=101.0)
    >>> distance_words(price, 100.0, 1.0, holds=False), distance_words(price, 102.0, None, holds=True)
    ('1.00 USDT (1.00 %)', 'holds now')
    >>> distance_words(ConditionChoice("zscore", condition="crosses_above", threshold=2.0), 2.5, 0.5, holds=False)
    'back 0.50 σ first'
    """
    back = _must_come_back(choice, value, holds=holds)
    if holds and not back:
        return "holds now"
    if distance is None:
        return "back first" if back else MISSING
    words = value_words(choice.type, choice.condition, abs(distance), choice.symbol, choice.baseline)
    if choice.type == "sentinel":
        words = f"{abs(distance):g}"
    elif choice.type == "price" and choice.condition != "moves" and value:
        words = f"{words} ({100 * abs(distance / value):.2f} %)"
    return f"back {words} first" if back else words


def _must_come_back(choice: ConditionChoice, value: float | None, *, holds: bool) -> bool:
    """Return whether a crossing lies on its far side, so that the value has to come back before it can fire."""
    if choice.condition not in {"crosses_above", "crosses_below", "enters", "leaves"} or value is None:
        return False
    level = None if choice.threshold is None else choice.threshold / scale_of(choice.type, choice.condition)
    above = choice.condition == "crosses_above" and level is not None and value > level
    return holds or above or (choice.condition == "crosses_below" and level is not None and value < level)


def condition_words(choice: ConditionChoice) -> str:
    """Say what a condition watches.

    >>> condition_words(ConditionChoice("zscore", y="ETHUSDT", x="BTCUSDT", threshold=2.0))
    'z-score of ETH on BTC above 2.00 σ'
    """
    named = choice.symbol or (f"{base_of(choice.y)} on {base_of(choice.x)}" if choice.y else "any pair")
    scale = scale_of(choice.type, choice.condition)
    word = CONDITIONS[choice.condition].lower()
    levels = [value for value in (choice.threshold, choice.lower, choice.upper) if value is not None]
    if choice.type == "sentinel":
        level = SENTINEL_LEVELS.get(choice.threshold or 0.0, "").lower()
    else:
        level = " to ".join(
            value_words(choice.type, choice.condition, one / scale, choice.symbol, choice.baseline) for one in levels
        )
    return f"{KINDS[choice.type].label} of {named} {word} {level}".strip()


def fired_words(document: Mapping[str, Any]) -> str:
    """Say how often a rule would have fired over the stored past.

    >>> fired_words({"fired": 1}), fired_words({"fired": 0}), fired_words({"fired": None})
    ('once', 'not once', '–')
    """
    fired = document.get("fired")
    if fired is None:
        return MISSING
    return {0: "not once", 1: "once", 2: "twice"}.get(int(fired), f"{int(fired):,} times")


def span_words(document: Mapping[str, Any]) -> str:
    """Say how far back was looked.

    >>> span_words({"from": 0, "to": 86_400_000}), span_words({"from": None, "to": None})
    ('24 h', 'the stored past')
    """
    start, end = document.get("from"), document.get("to")
    if not isinstance(start, int) or not isinstance(end, int) or end <= start:
        return "the stored past"
    return duration((end - start) / 1000, 1)


def times_words(document: Mapping[str, Any]) -> str:
    """Say when it would have fired, on which bars or trades that rests, and what was left out, as Markdown.

    >>> times_words({"basis": "from one-minute bars", "times": [], "suppressed": 2})
    'From one-minute bars. 2 more fell into the cooldown.'
    """
    parts = [str(document.get("basis") or "").rstrip(".")]
    times: Sequence[Any] = document.get("times") or ()
    if times:
        parts.append(f"the last at {when(times[0], 1)}")
    if document.get("suppressed"):
        parts.append(f"{document['suppressed']:,} more fell into the cooldown")
    if document.get("paused"):
        parts.append(f"the storm guard would have paused it at {when(document['paused'], 1)}")
    told = [plain(part[:1].upper() + part[1:]) for part in parts if part]
    return ". ".join(told) + ("." if told else "")
