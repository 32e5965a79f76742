"""What the watch-list's operations answer, as the OpenAPI document and the page for people show it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["PAIR_EXAMPLES"]

_SETTINGS = MappingProxyType(
    {
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "timeframe": "1m",
        "lookback": 1440,
        "window": 60,
        "method": "ols",
        "price_space": "log",
        "entry": 2.0,
        "exit": 0.5,
    }
)
_LIVE = MappingProxyType(
    {
        **_SETTINGS,
        "timestamp": 1767225600000,
        "closed": False,
        "n": 1440,
        "hedge_ratio": {
            "ols": {"alpha": -4.1021, "beta": 1.0912, "stderr": 0.0061, "r_squared": 0.9571},
            "huber": {"alpha": -4.0987, "beta": 1.0909, "stderr": 0.0059, "timestamp": 1767225540000},
            "kalman": {"alpha": -4.0411, "beta": 1.0858, "stderr": 0.0212, "since": 1767093600000, "n": 2201},
        },
        "spread": {"method": "ols", "last": 0.00412, "mean": 0.00087, "std": 0.00141, "zscore": 2.305},
        "correlation": {"rolling": 0.812, "window": 60},
        "prices": {"y": 3421.55, "x": 65003.2},
        "ages_ms": {"y": 120, "x": 42},
        "age_ms": 120,
        "stale": False,
        "stale_leg": None,
        "sentinel": {
            "status": "ok",
            "statistic": 1.32,
            "threshold": 5.91,
            "warn_threshold": 4.42,
            "n": 760,
            "since": 1767180000000,
            "tripped": None,
        },
        "on_watchlist": True,
        "reason": None,
    }
)
_WATCHED = MappingProxyType({**_SETTINGS, "live": dict(_LIVE)})

PAIR_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "GET /api/watchlist": {"pairs": [dict(_WATCHED)]},
        "POST /api/watchlist": dict(_WATCHED),
        "/api/watchlist/{y}/{x}": dict(_WATCHED),
    }
)
"""By verb and path, or by path where all verbs answer the same."""
