"""A firing as it is kept, told and sent: the document of one, in the API's field names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pairscope.alerts.kept import KeptAlert
from pairscope.alerts.words import decimals_of, fields_of, filled_in, sentence_of, time_in_words
from pairscope.market.alert_rules import AlertCondition, AlertFiring
from pairscope.ports import LiveView

__all__ = ["PriceDecimals", "cache_key", "firing_document", "trial_document"]

_MS: Final = 1_000_000
_SEEN: Final = 20
"""Bars whose closes say how many decimals a symbol's prices have."""


class PriceDecimals:
    """How many decimals the prices of each symbol have: the most among those that were seen."""

    def __init__(self, live: LiveView) -> None:
        self._live = live
        self._seen: dict[str, int] = {}

    def of(self, symbol: str, price: float | None) -> int:
        """Return the decimals of a symbol's prices, this one among them."""
        known = self._seen.get(symbol)
        if known is None:
            closes = self._live.recent_bars(symbol, "1m", _SEEN).close.tolist()
            known = max(map(decimals_of, closes), default=0)
        if price is not None:
            known = max(known, decimals_of(price))
        self._seen[symbol] = known
        return known


def firing_document(kept: KeptAlert, firing: AlertFiring, price_decimals: PriceDecimals) -> dict[str, Any]:
    """Return what is told of a firing; ``seq`` comes with its place in the history."""
    condition = kept.rule.conditions[firing.condition]
    if not condition.symbol and not condition.y and ":" in firing.symbol:
        y, _, x = firing.symbol.partition(":")  # the pair that the screen found, of a rule for any pair
        condition = replace(condition, y=y, x=x)
    values = [_finite(value) for value in firing.values]
    message = _message(kept, condition, firing.condition, values, firing.time_ns, price_decimals)
    if firing.late:
        message += f" (late: found at {time_in_words(firing.recv_ns)} in trades that came afterwards)"
    if firing.storm:
        message += " (this alert is paused now: it fired 15 times within 3 minutes)"
    return _document(kept, condition, firing.id, values, firing.condition, message, firing.time_ns, firing.recv_ns) | {
        "number": firing.number,
        "late": firing.late,
        "storm": firing.storm,
        "test": False,
    }


def trial_document(
    kept: KeptAlert,
    number: int,
    values: Sequence[float | None],
    now_ns: int,
    price_decimals: PriceDecimals,
    *,
    said: str,
) -> dict[str, Any]:
    """Return what is told where a rule is fired for a test; ``said`` goes before the words of a real firing."""
    condition = kept.rule.conditions[0]
    message = f"{said}: {_message(kept, condition, 0, values, now_ns, price_decimals)}"
    firing_id = f"{kept.id}-test-{now_ns // _MS:x}-{number}"
    told = _document(kept, condition, firing_id, values, 0, message, now_ns, now_ns)
    return told | {"number": 0, "late": False, "storm": False, "test": True}


def cache_key(firing: Mapping[str, Any]) -> str:
    """Return the cache's key of a firing: ``alert:{symbol}:{id}``, of a pair ``Y:X`` for the symbol."""
    subject = firing.get("symbol") or f"{firing.get('y')}:{firing.get('x')}"
    return f"alert:{subject}:{firing['id']}"


def _document(
    kept: KeptAlert,
    condition: AlertCondition,
    firing_id: str,
    values: Sequence[float | None],
    fired: int,
    message: str,
    time_ns: int,
    recv_ns: int,
) -> dict[str, Any]:
    subject = {"symbol": condition.symbol} if condition.symbol else {"y": condition.y or None, "x": condition.x or None}
    return {
        "id": firing_id,
        "alert_id": kept.id,
        "timestamp": time_ns // _MS,
        "received": recv_ns // _MS,
        "type": condition.type,
        "condition": condition.condition,
        **subject,
        "value": values[fired] if fired < len(values) else None,
        "threshold": condition.threshold,
        "lower": condition.lower,
        "upper": condition.upper,
        "timeframe": condition.timeframe,
        "window": condition.window,
        "values": list(values),
        "message": message,
        "note": kept.note,
        "targets": len(kept.notify),
    }


def _message(
    kept: KeptAlert,
    condition: AlertCondition,
    fired: int,
    values: Sequence[float | None],
    time_ns: int,
    price_decimals: PriceDecimals,
) -> str:
    """Return the rule's own words filled in, or the sentence that says what happened."""
    conditions = list(kept.rule.conditions)
    conditions[fired] = condition
    decimals = [
        price_decimals.of(one.symbol, value) if one.type == "price" and one.condition != "moves" else 0
        for one, value in zip(conditions, values, strict=False)
    ]
    if kept.message:
        value = values[fired] if fired < len(values) else None
        places = decimals[fired] if fired < len(decimals) else 0
        fields = fields_of(condition, value, time_ns=time_ns, note=kept.note, decimals=places)
        return filled_in(kept.message, fields)
    sentence = sentence_of(conditions, values, kept.rule.join, fired, decimals=decimals)
    return f"{sentence} — {kept.note}" if kept.note else sentence


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
