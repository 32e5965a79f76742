"""Firings in words: the sentence that tells one, and templates of people's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from string import Formatter
from types import MappingProxyType
from typing import Final

from pairscope.errors import InputError
from pairscope.market.alert_rules import AlertCondition

__all__ = [
    "FIELDS",
    "MOST_MESSAGE",
    "check_template",
    "decimals_of",
    "fields_of",
    "filled_in",
    "in_words",
    "sentence_of",
    "time_in_words",
    "value_in_words",
]

MOST_MESSAGE: Final = 500
"""Characters of a template."""

FIELDS: Final = ("symbol", "y", "x", "type", "condition", "value", "threshold", "time", "note")
"""What a template may name in braces."""

_PERCENT: Mapping[str, int] = MappingProxyType({"price_change": 2, "volatility": 1, "hedge_drift": 1, "funding": 4})
"""Types whose unit is a fraction, with the decimals of the percentage."""
_SIGNED: Final = frozenset({"price_change", "hedge_drift", "funding", "moves"})
_PLAIN: Mapping[str, int] = MappingProxyType({"zscore": 2, "correlation": 2})
_SENTINEL: Final = ("quiet", "warning", "broken")
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "price": "price",
        "price_change": "change",
        "volume": "volume",
        "volatility": "volatility",
        "zscore": "z-score",
        "spread": "spread",
        "correlation": "correlation",
        "hedge_drift": "drift of the hedge ratio",
        "half_life": "half-life",
        "sentinel": "sentinel",
        "funding": "funding rate",
        "staleness": "time since the last trade",
    }
)
_VERBS: Mapping[str, str] = MappingProxyType(
    {
        "above": "is above",
        "below": "is below",
        "crosses_above": "crossed above",
        "crosses_below": "crossed below",
        "enters": "came into",
        "leaves": "left",
    }
)
_MOST_DECIMALS: Final = 12
_PARTS: Final = 64
"""Fields that a template may have in all."""


def check_template(text: str) -> str:
    """Return a template that can be filled in; ``InputError`` names ``message`` and what is wrong with it.

    >>> check_template("{symbol} at {value}")
    '{symbol} at {value}'
    >>> check_template("{value:.2f}")
    Traceback (most recent call last):
    pairscope.errors.InputError: message: {value} takes no format of its own
    """
    if len(text) > MOST_MESSAGE:
        raise InputError(f"message: at most {MOST_MESSAGE} characters", loc="message")
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise InputError(
            f"message: {error}", loc="message", hint="write a brace that is meant as such twice: {{"
        ) from None
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    if len(names) > _PARTS:
        raise InputError(f"message: at most {_PARTS} fields", loc="message")
    for name, spec, conversion in names:
        if name not in FIELDS:
            raise InputError(
                f"message: there is no field {{{name[:40]}}}; there are {', '.join(FIELDS)}", loc="message"
            )
        if spec or conversion:
            raise InputError(f"message: {{{name}}} takes no format of its own", loc="message")
    return text


def filled_in(template: str, fields: Mapping[str, str]) -> str:
    """Return a checked template with its fields filled in.

    >>> filled_in("{symbol} {{at}} {value}", {"symbol": "BTCUSDT", "value": "65000.1"})
    'BTCUSDT {at} 65000.1'
    """
    return "".join(
        text + (fields.get(name, "") if name is not None else "") for text, name, _, _ in Formatter().parse(template)
    )


def fields_of(
    condition: AlertCondition, value: float | None, *, time_ns: int, note: str = "", decimals: int = 0
) -> dict[str, str]:
    """Return what the fields of a template stand for at a firing of a condition."""
    return {
        "symbol": condition.symbol or _pair(condition),
        "y": condition.y,
        "x": condition.x,
        "type": _NAMES.get(condition.type, condition.type),
        "condition": condition.condition.replace("_", " "),
        "value": value_in_words(condition, value, decimals=decimals),
        "threshold": threshold_in_words(condition, decimals=decimals),
        "time": time_in_words(time_ns),
        "note": note,
    }


def sentence_of(
    conditions: Sequence[AlertCondition],
    values: Sequence[float | None],
    join: str,
    fired: int,
    *,
    decimals: Sequence[int] = (),
) -> str:
    """Return a firing as a sentence: the condition that made it, and where all must hold also the others.

    ``decimals`` are, of each condition, those of its symbol's prices.
    """
    order = [fired, *(i for i in range(len(conditions)) if i != fired)] if join == "and" else [fired]
    said = zip_longest(conditions, values[: len(conditions)], decimals[: len(conditions)])
    words = [in_words(one, value, decimals=places or 0) for one, value, places in said]
    return " and ".join(words[i] for i in order)


def in_words(condition: AlertCondition, value: float | None, *, decimals: int = 0) -> str:
    """Return a condition that has come true, with its value.

    >>> from pairscope.market.alert_rules import AlertCondition
    >>> in_words(AlertCondition("price", "crosses_above", 65000.0, symbol="BTCUSDT"), 65000.1, decimals=1)
    'BTCUSDT: price 65000.1 crossed above 65000.0'
    """
    subject = condition.symbol or _pair(condition)
    kind, what = condition.type, condition.condition
    said = value_in_words(condition, value, decimals=decimals)
    against = threshold_in_words(condition, decimals=decimals)
    if kind == "cointegration":
        where = subject or "a pair"
        found = "is cointegrated now" if what == "found" else "is cointegrated no longer"
        return f"{where} {found}, says the screen"
    if what == "moves":
        return f"{subject}: price moved by {said} within {_bars(condition)} (alert at {against})"
    over = f" over {_bars(condition)}" if kind in {"price_change", "volume", "volatility"} else ""
    return f"{subject}: {_NAMES.get(kind, kind)}{over} {said} {_VERBS.get(what, what)} {against}"


def value_in_words(condition: AlertCondition, value: float | None, *, decimals: int = 0) -> str:
    """Return a value of a condition's type as a trader reads it: percent for fractions, two decimals for z.

    ``decimals`` are those of the symbol's prices. A value that is missing is a dash.

    >>> from pairscope.market.alert_rules import AlertCondition
    >>> rule = AlertCondition("zscore", "above", 2.0, y="ETHUSDT", x="BTCUSDT")
    >>> value_in_words(rule, 2.1349), value_in_words(rule, None)
    ('2.13', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    kind = "moves" if condition.condition == "moves" else condition.type
    if kind == "moves" or kind in _PERCENT:
        sign = "+" if kind in _SIGNED else ""
        least = 1 - math.floor(math.log10(abs(100 * value))) if value else 0  # two digits, however small
        return f"{100 * value:{sign}.{max(_PERCENT.get(kind, 2), min(least, _MOST_DECIMALS))}f} %"
    if kind == "price":
        return f"{value:.{max(decimals, decimals_of(value))}f}"
    if kind in _PLAIN:
        return f"{value:.{_PLAIN[kind]}f}"
    if kind == "sentinel":
        return _SENTINEL[int(value)] if value in (0.0, 1.0, 2.0) else f"{value:g}"
    if kind == "half_life":
        return f"{value:.1f} bars"
    if kind == "staleness":
        return f"{value:g} s"
    if kind == "volume":
        return f"{value:.2f} times the usual" if condition.baseline else _shortest(float(f"{value:.8g}"))
    return _shortest(float(f"{value:.6g}"))


def threshold_in_words(condition: AlertCondition, *, decimals: int = 0) -> str:
    """Return what a condition compares with: a threshold, a band, or nothing."""
    if condition.lower is not None and condition.upper is not None:
        low, high = (value_in_words(condition, edge, decimals=decimals) for edge in (condition.lower, condition.upper))
        return f"{low} to {high}"
    if condition.threshold is None:
        return ""
    if condition.type == "sentinel":
        return f"{condition.threshold:g}"
    return value_in_words(condition, condition.threshold, decimals=decimals)


def time_in_words(time_ns: int) -> str:
    """Return a time in UTC to the second.

    >>> time_in_words(1767225600_123_000_000)
    '2026-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def decimals_of(price: float) -> int:
    """Return how many decimals the shortest decimal has that names a float.

    >>> decimals_of(0.00001234), decimals_of(65000.1), decimals_of(65000.0)
    (8, 1, 0)
    """
    _, digits, exponent = Decimal(repr(price)).normalize().as_tuple()
    return max(0, -exponent) if isinstance(exponent, int) and digits else 0


def _pair(condition: AlertCondition) -> str:
    return f"{condition.y}/{condition.x}" if condition.y else ""


def _bars(condition: AlertCondition) -> str:
    return f"{condition.window} × {condition.timeframe}"


def _shortest(value: float) -> str:
    return f"{value:.{decimals_of(value)}f}"
