"""The answers that OpenAPI shows for the analytics routes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = ["ANALYTICS_EXAMPLES"]

_AT = 1767225600000
_ADF: Mapping[str, Any] = {
    "statistic": -4.21,
    "pvalue": 0.0006,
    "lags": 2,
    "nobs": 1437,
    "critical_values": {"1%": -3.4349, "5%": -2.8635, "10%": -2.5679},
    "stationary": True,
    "null": "x has a unit root: it does not revert around a level",
}
_KPSS: Mapping[str, Any] = {
    "statistic": 0.21,
    "pvalue": 0.1,
    "is_bound": True,
    "lags": 21,
    "nobs": 1440,
    "critical_values": {"10%": 0.347, "5%": 0.463, "2.5%": 0.574, "1%": 0.739},
    "stationary": True,
    "null": "x is stationary around a level",
}
_TEST: Mapping[str, Any] = {
    "statistic": -4.2,
    "pvalue": 0.0036,
    "lags": 2,
    "nobs": 1437,
    "critical_values": {"1%": -3.904, "5%": -3.3394, "10%": -3.0466},
    "cointegrated": True,
}
_NO_GAPS: Mapping[str, Any] = {"bars": 0, "missing": 0, "symbols": {}}
_GAPS: Mapping[str, Any] = {"bars": 2, "missing": 9, "symbols": {"BTCUSDT": {"bars": 2, "missing": 9}}}
_LACKING: Final = "Trades are missing, 9 of BTCUSDT: 2 of the bars used lack some and may be wrong."
_INTERVAL: Mapping[str, Any] = {"low": 21.3, "high": 38.9, "level": 0.95, "unbiased": 28.6, "unbounded": False}


def _hedge(alpha: float, beta: float, stderr: float, **more: Any) -> dict[str, Any]:
    low, high = round(beta - 1.96 * stderr, 4), round(beta + 1.96 * stderr, 4)
    return {"alpha": alpha, "beta": beta, "stderr": stderr, "interval": [low, high], **more}


ANALYTICS_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/analytics/symbol": {
            "symbol": "BTCUSDT",
            "timeframe": "1m",
            "as_of": _AT,
            "n": 1440,
            "window": 60,
            "lookback": 1440,
            "last": 65003.2,
            "mean": 64990.4,
            "std": 21.7,
            "min": 64950.0,
            "max": 65031.9,
            "zscore": 0.59,
            "vwap": 64992.1,
            "returns": {"mean": 0.0000012, "std": 0.0006, "skew": -0.2, "kurtosis": 5.1, "n": 1439},
            "realized_volatility": 0.43,
            "realized_volatility_bar": 0.0006,
            "indicators": {"sma:20": 64998.4, "ema:20": 64999.1, "rsi:14": 55.2},
            "adf": {**_ADF, "statistic": -1.31, "pvalue": 0.62, "stationary": False},
            "kpss": {**_KPSS, "statistic": 2.9, "pvalue": 0.01, "stationary": False},
            "half_life": None,
            "half_life_interval": {**_INTERVAL, "low": 160.2, "high": None, "unbounded": True},
            "hurst": 0.51,
            "variance_ratio": {"ratio": 1.03, "statistic": 0.4, "pvalue": 0.69},
            "reasons": {"half_life": "does not revert: a deviation is not expected to shrink"},
            "gaps": dict(_GAPS),
            "warnings": [_LACKING],
        },
        "/api/analytics/pair": {
            "y": "ETHUSDT",
            "x": "BTCUSDT",
            "timeframe": "1m",
            "lookback": 1440,
            "window": 60,
            "price_space": "log",
            "as_of": _AT,
            "n": 1440,
            "hedge_ratio": {
                "ols": _hedge(-4.61, 1.12, 0.004, r_squared=0.98),
                "huber": _hedge(-4.58, 1.117, 0.0041),
                "kalman": _hedge(-4.66, 1.124, 0.012, since=_AT - 86_340_000, n=1440),
                "tls": _hedge(-4.7, 1.128, 0.0042),
                "theil_sen": {"alpha": -4.57, "beta": 1.116, "stderr": None, "interval": [1.108, 1.124]},
            },
            "spread": {
                "method": "ols",
                "window": 60,
                "last": 0.0031,
                "mean": 0.0009,
                "std": 0.0011,
                "zscore": 2.0,
                "half_life": 27.4,
                "half_life_interval": dict(_INTERVAL),
                "hurst": 0.31,
                "variance_ratio": {"ratio": 0.62, "statistic": -4.1, "pvalue": 0.00004},
                "ou": {"theta": 0.025, "mu": 0.0002, "sigma": 0.0004, "stationary_std": 0.0018, "half_life": 27.9},
            },
            "correlation": {
                "pearson": 0.83,
                "spearman": 0.81,
                "rolling": 0.79,
                "window": 60,
                "lead_lag": {"lag": 0, "correlation": 0.83, "band": 0.052},
                "hayashi_yoshida": {"correlation": 0.77, "n_y": 812, "n_x": 1403},
            },
            "adf": dict(_ADF),
            "kpss": dict(_KPSS),
            "cointegration": {
                "engle_granger": {"y_on_x": dict(_TEST), "x_on_y": {**_TEST, "statistic": -3.95, "pvalue": 0.0089}},
                "johansen": {
                    "trace": [{"statistic": 19.2, "critical_values": {"10%": 13.4, "5%": 15.5, "1%": 19.9}}],
                    "max_eigenvalue": [{"statistic": 17.8, "critical_values": {"10%": 12.3, "5%": 14.3, "1%": 18.5}}],
                    "rank": 1,
                },
            },
            "sentinel": {
                "status": "ok",
                "statistic": 1.2,
                "threshold": 6.4,
                "warn_threshold": 4.9,
                "n": 701,
                "since": _AT - 42_000_000,
                "tripped": None,
                "rate": 0.01,
                "train": 1440,
            },
            "reasons": {},
            "legs": {
                "y": {"symbol": "ETHUSDT", "last": 3401.2, "price": 3401.5, "age_ms": 120},
                "x": {"symbol": "BTCUSDT", "last": 65003.2, "price": 65003.1, "age_ms": 42},
            },
            "age_ms": 120,
            "stale": False,
            "stale_leg": None,
            "gaps": dict(_NO_GAPS),
            "warnings": [],
        },
        "/api/analytics/correlation": {
            "symbols": ["BTCUSDT", "ETHUSDT", "NEWUSDT"],
            "timeframe": "1m",
            "window": 60,
            "kind": "pearson",
            "n": 60,
            "as_of": _AT,
            "order": [0, 1, 2],
            "matrix": [[1.0, 0.83, None], [0.83, 1.0, None], [None, None, None]],
            "counts": [[60, 60, 0], [60, 60, 0], [0, 0, 1]],
            "reasons": {"NEWUSDT": "needs 3 common returns, has 1"},
            "gaps": dict(_NO_GAPS),
            "warnings": [],
        },
        "/api/analytics/statistics": {
            "y": "ETHUSDT",
            "x": "BTCUSDT",
            "timeframe": "1m",
            "window": 60,
            "lookback": 1440,
            "method": "ols",
            "price_space": "log",
            "series": {
                "timestamp": [_AT],
                "price": [3401.2],
                "return": [0.0004],
                "volume": [210.5],
                "volatility": [0.51],
                "price_x": [65003.2],
                "return_x": [0.0003],
                "volume_x": [12.345],
                "volatility_x": [0.43],
                "spread": [0.0031],
                "zscore": [2.0],
                "correlation": [0.79],
                "beta": [1.12],
            },
            "next": str(_AT + 60_000),
            "gaps": dict(_NO_GAPS),
            "warnings": [],
        },
    }
)
"""By path."""
