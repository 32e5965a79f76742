"""Examples of the alerts' answers for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["ALERT_EXAMPLES"]

_RULE: Mapping[str, Any] = MappingProxyType(
    {
        "id": "19b77400000-1",
        "type": "zscore",
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "condition": "crosses_above",
        "threshold": 2.0,
        "timeframe": "1m",
        "window": 60,
        "lookback": 1440,
        "method": "ols",
        "price_space": "log",
        "hysteresis": 0.2,
        "frequency": "every",
        "once": False,
        "cooldown_s": 60,
        "expires": None,
        "notify": [],
        "note": "short the spread",
        "message": "",
        "status": "active",
        "reason": "",
        "created": 1767225600000,
        "fired": 3,
        "last_fired": 1767229200123,
        "suppressed": 1,
        "values": [1.62],
        "distance": [0.38],
        "holds": [False],
    }
)
_FIRING: Mapping[str, Any] = MappingProxyType(
    {
        "id": "19b77400000-1-3",
        "alert_id": "19b77400000-1",
        "seq": 41,
        "timestamp": 1767229200123,
        "received": 1767229200165,
        "type": "zscore",
        "condition": "crosses_above",
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "value": 2.03,
        "threshold": 2.0,
        "values": [2.03],
        "message": "ETHUSDT/BTCUSDT: z-score 2.03 crossed above 2.00 — short the spread",
        "late": False,
        "storm": False,
        "test": False,
        "note": "short the spread",
    }
)
_DELIVERY: Mapping[str, Any] = MappingProxyType({"target": "hooks.example.com", "ok": True, "error": ""})
_DELIVERED: Mapping[str, Any] = MappingProxyType(
    {"target": "hooks.example.com", "status": "delivered", "attempts": 1, "at": 1767229200301, "error": ""}
)

ALERT_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/alerts": {"alerts": [dict(_RULE)]},
        "POST /api/alerts": {**_RULE, "fired": 0, "last_fired": None, "delivery": [dict(_DELIVERY)]},
        "/api/alerts/{id}": dict(_RULE),
        "PATCH /api/alerts/{id}": {**_RULE, "status": "paused", "reason": "paused by hand", "delivery": []},
        "POST /api/alerts/{id}/test": {
            **_FIRING,
            "id": "19b77400000-1-test-19b77500000",
            "test": True,
            "delivery": [dict(_DELIVERY)],
        },
        "/api/alerts/triggered": {"alerts": [{**_FIRING, "deliveries": [dict(_DELIVERED)]}], "next": "41"},
        "POST /api/alerts/preview": {
            "values": [1.62],
            "distance": [0.38],
            "holds": [False],
            "reason": "",
            "fired": 4,
            "suppressed": 0,
            "paused": None,
            "times": [1767229200000, 1767221700000],
            "marks": [{"timestamp": 1767229200000, "value": 2.03}],
            "from": 1767139200000,
            "to": 1767225600000,
            "complete": True,
            "basis": "closes of one-minute bars",
        },
    }
)
