"""The answers that OpenAPI shows for the screen's routes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["SCREEN_EXAMPLES"]

_AT = 1767225600000
_ROW: Mapping[str, Any] = MappingProxyType(
    {
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "alpha": -4.1021,
        "beta": 1.0912,
        "statistic": -6.21,
        "pvalue": 0.0000004,
        "qvalue": 0.00015,
        "lags": 2,
        "half_life": 27.4,
        "zscore": 2.305,
        "spread_std": 0.00141,
        "correlation": 0.812,
    }
)
_HEAD: Mapping[str, Any] = MappingProxyType({"timeframe": "1m", "lookback": 1440})

SCREEN_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/analytics/screen": {
            "as_of": _AT,
            **_HEAD,
            "bars": 1440,
            "universe": 3,
            "tests": 6,
            "untested": 0,
            "elapsed_ms": 1.9,
            "continuous": True,
            "screen": 1812,
            "family": "6 Engle-Granger tests, every ordered pair, y on x and x on y, of 3 symbols; "
            "Benjamini-Hochberg q-values over all of them; 1 symbols left out",
            "control": "bh",
            "fdr": 0.05,
            "discoveries": 1,
            "matching": 6,
            "null": {
                "surrogates": 20,
                "as_of": _AT - 3_600_000,
                "tests": 6,
                "pvalue": 0.0000004,
                "discoveries": 1,
                "fdr_promised": 0.05,
                "false_promised": 0.05,
                "fdr_empirical": 0.15,
                "false_expected": 0.15,
                "false_least": 0.0,
                "false_most": 1.0,
            },
            "symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"],
            "excluded": {"NEWUSDT": "begins only at 2025-12-31T18:00:00.000Z"},
            "pairs": [{**_ROW, "discovery": True, "gap": True}],
            "next": "1",
            "gaps": {"bars": 2, "missing": 9, "symbols": {"BTCUSDT": {"bars": 2, "missing": 9}}},
            "warnings": ["Trades are missing, 9 of BTCUSDT: 2 of the bars used lack some and may be wrong."],
        },
        "/api/analytics/screen/history": {
            "y": "ETHUSDT",
            "x": "BTCUSDT",
            **_HEAD,
            "fdr": 0.05,
            "timestamp": [_AT - 60_000, _AT],
            "qvalue": [0.00021, 0.00015],
            "discovered": True,
            "since": _AT - 7_200_000,
            "now": dict(_ROW),
        },
        "/api/analytics/screen/discoveries": {
            "discoveries": [
                {
                    "timestamp": _AT - 7_200_000,
                    "event": "entered",
                    **_HEAD,
                    "y": "ETHUSDT",
                    "x": "BTCUSDT",
                    "qvalue": 0.03,
                    "pvalue": 0.00008,
                    "half_life": 30.1,
                    "zscore": -1.2,
                    "beta": 1.0908,
                    "correlation": 0.81,
                }
            ],
            "screens": [{**_HEAD, "as_of": _AT, "universe": 3, "tests": 6, "elapsed_ms": 1.9, "discovered": 1}],
            "next": None,
        },
    }
)
"""By path."""
