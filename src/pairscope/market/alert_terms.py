"""The words of an alert rule: which types there are, which conditions fit them, and what each field may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.symbols import normalize_symbol

__all__ = [
    "BANDS",
    "CONDITIONS",
    "CROSSINGS",
    "EVENTS",
    "FREQUENCIES",
    "PAIR_TYPES",
    "SYMBOL_TYPES",
    "TYPES",
    "conditions_of",
    "default_window",
    "plain_count",
    "plain_number",
    "plain_symbol",
    "plain_time_ns",
    "plain_timeframe",
    "plain_word",
]

SYMBOL_TYPES: Final = ("price", "price_change", "volume", "volatility", "funding", "staleness")
PAIR_TYPES: Final = (
    "zscore", "spread", "correlation", "hedge_drift", "half_life", "sentinel", "cointegration",
)  # fmt: skip
TYPES: Final = (*SYMBOL_TYPES, *PAIR_TYPES)

LEVELS: Final = ("above", "below", "moves")
BANDS: Final = ("enters", "leaves")
EVENTS: Final = ("found", "lost")
CROSSINGS: Final = ("crosses_above", "crosses_below", *BANDS, *EVENTS)
"""Conditions that are momentary: they come true at a value, and are not true afterwards."""
CONDITIONS: Final = (*LEVELS, *CROSSINGS)
FREQUENCIES: Final = ("every", "once", "once_per_bar", "once_per_bar_close")

_COMPARED: Final = ("above", "below", "crosses_above", "crosses_below", *BANDS)
_WINDOWS: Final = MappingProxyType({"volume": 1})
_MS: Final = 1_000_000
_LAST_MS: Final = 9_000_000_000_000
_ISO: Final = re.compile(r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?)(Z|[+-]\d\d:?\d\d)?")


def conditions_of(type_: str) -> tuple[str, ...]:
    """Return the conditions that fit a type.

    >>> conditions_of("price")[-1], conditions_of("cointegration")
    ('moves', ('found', 'lost'))
    """
    if type_ == "cointegration":
        return EVENTS
    return (*_COMPARED, "moves") if type_ == "price" else _COMPARED


def default_window(type_: str) -> int:
    """Return how many bars a type looks at where a rule does not say it.

    >>> default_window("volume"), default_window("volatility")
    (1, 60)
    """
    return _WINDOWS.get(type_, 60)


def plain_word(document: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """Return a field that holds one of some words; ``InputError`` names the field.

    >>> plain_word({"join": "or"}, "join", ("and", "or")), plain_word({}, "join", ("and", "or"), "and")
    ('or', 'and')
    """
    value = document.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or value not in allowed:
        said = "is missing, it" if value is None else f"{str(value)[:64]!r} is unknown, it"
        raise InputError(f"{name}: {said} must be one of {', '.join(allowed)}", loc=name)
    return value


def plain_number(document: Mapping[str, Any], name: str) -> float | None:
    """Return a field that holds a finite number, None where it is left out; ``InputError`` names the field.

    >>> plain_number({"threshold": 3}, "threshold")
    3.0
    >>> plain_number({"threshold": "3"}, "threshold")
    Traceback (most recent call last):
    pairscope.errors.InputError: threshold: must be a finite number
    """
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InputError(f"{name}: must be a finite number", loc=name)


def plain_count(document: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    """Return a field that holds a whole number within bounds; ``InputError`` names the field.

    >>> plain_count({"window": 20}, "window", 1, 100, 60), plain_count({}, "window", 1, 100, 60)
    (20, 60)
    """
    value = document.get(name)
    if value is None:
        return default
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise InputError(f"{name}: must be a whole number from {least} to {most}", loc=name)
    return int(value)


def plain_symbol(document: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    """Return a field that holds a symbol, in the exchange's spelling; ``InputError`` names the field.

    >>> plain_symbol({"y": " ethusdt"}, "y")
    'ETHUSDT'
    """
    value = document.get(name)
    if value is None or value == "":
        if needed:
            raise InputError(f"{name}: is missing", loc=name)
        return ""
    if not isinstance(value, str) or len(value) > 64:
        raise InputError(f"{name}: must be the name of a symbol", loc=name)
    return normalize_symbol(value)


def plain_time_ns(document: Mapping[str, Any], name: str) -> int | None:
    """Return a field that holds a time: milliseconds or ISO 8601 (UTC where it names no zone), None where left out.

    >>> plain_time_ns({"expires": "2026-01-01T01:00:00.5+01:00"}, "expires") == plain_time_ns(
    ...     {"expires": 1767225600500}, "expires")
    True
    """
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_MS:
        return value * _MS
    found = _ISO.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise InputError(f"{name}: must be milliseconds since the epoch or ISO 8601", loc=name)
    try:
        time_ns = int(np.datetime64(found[1].replace(" ", "T"), "ms").astype(np.int64)) * _MS
    except ValueError:
        raise InputError(f"{name}: there is no such time", loc=name) from None
    zone = found[2] or "Z"
    if zone != "Z":
        away_s = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        time_ns -= away_s * (1 if zone[0] == "+" else -1) * 1_000_000_000
    return time_ns


def plain_timeframe(document: Mapping[str, Any]) -> str:
    """Return the field ``timeframe``, one minute where it is left out.

    >>> plain_timeframe({"timeframe": "1h"}), plain_timeframe({})
    ('1h', '1m')
    """
    return plain_word(document, "timeframe", tuple(TIMEFRAMES), "1m")
