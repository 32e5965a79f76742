"""The answers that OpenAPI shows for the routes of backtests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["BACKTEST_EXAMPLES", "TRADES_EXAMPLE"]

_AT = 1767225600000
_REQUEST: Mapping[str, Any] = MappingProxyType(
    {
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "timeframe": "1m",
        "start": _AT,
        "end": None,
        "hedge": {"method": "ols", "lookback": 1440},
        "window": 60,
        "entry": 2.0,
        "exit": 0.5,
        "stop": 4.0,
        "max_holding": None,
        "notional": 10_000.0,
        "fee_bps": 4.0,
        "slippage_bps": 1.0,
        "funding": False,
    }
)
_METRICS: Mapping[str, Any] = MappingProxyType(
    {
        "total_return": -0.0042,
        "annual_return": -0.64,
        "sharpe": -3.1,
        "sortino": -4.2,
        "max_drawdown": -0.0051,
        "calmar": -125.5,
        "trades": 21,
        "win_rate": 0.38,
        "profit_factor": 0.52,
        "average_holding": 18.4,
        "turnover": 42.0,
        "fees": 168.0,
        "exposure": 0.27,
    }
)
_VERDICT: Mapping[str, Any] = MappingProxyType(
    {
        "level": "bad",
        "title": "Costs eat the edge",
        "sentences": ["Costs of 10 bps a round trip exceed the edge of 8 bps."],
    }
)
_HEAD: Mapping[str, Any] = MappingProxyType(
    {
        "id": "1767261600000-0000",
        "kind": "backtest",
        "created": 1767261600000,
        "source": "live",
        "request": dict(_REQUEST),
        "gaps": 0,
    }
)
_BACKTEST: Mapping[str, Any] = MappingProxyType(
    {
        **_HEAD,
        "verdict": dict(_VERDICT),
        "honesty": {"trials": 1, "null_pvalue": 0.61, "nulls_run": 199, "deflated_sharpe": 0.02},
        "metrics": dict(_METRICS),
        "pnl": {"pnl": -42.0, "spread_pnl": 168.0, "fees": 168.0, "slippage": 42.0, "funding": 0.0},
        "equity": {
            "timestamp": [_AT, _AT + 60_000],
            "equity": [10_000.0, 9_990.0],
            "drawdown": [0.0, -0.001],
        },
        "trades": [
            {
                "entry_timestamp": _AT + 60_000,
                "exit_timestamp": _AT + 1_140_000,
                "side": "short",
                "entry_zscore": 2.104,
                "exit_zscore": 0.48,
                "beta": 1.0912,
                "pnl": 2.31,
                "return": 0.000231,
                "fees": 8.0,
                "reason": "exit",
                "quantity_y": -1.31,
                "quantity_x": 0.0751,
            }
        ],
        "assumptions": {"fill": "at the close of the bar after the decision's", "capital": "the notional"},
    }
)

_ROW: Mapping[str, Any] = MappingProxyType({"window": 60, "entry": 2.0, "exit": 0.5, **_METRICS})
_SWEEP: Mapping[str, Any] = MappingProxyType(
    {
        **_HEAD,
        "kind": "sweep",
        "grid": {"window": [60], "entry": [2.0], "exit": [0.5]},
        "rows": [dict(_ROW)],
        "best": dict(_ROW),
        "combinations": 1,
        "skipped": 0,
        "trials": 2,
        "deflated_sharpe": 0.02,
        "pbo": 0.61,
    }
)

TRADES_EXAMPLE = (
    "entry_timestamp,exit_timestamp,side,entry_zscore,exit_zscore,beta,pnl,return,fees,reason\r\n"
    "2026-01-01T00:01:00.000Z,2026-01-01T00:19:00.000Z,short,2.104,0.48,1.0912,2.31,0.000231,8.0,exit\r\n"
)

BACKTEST_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/backtest": dict(_BACKTEST),
        "/api/backtest/sweep": dict(_SWEEP),
        "/api/backtest/walk_forward": {
            **{
                name: value
                for name, value in _BACKTEST.items()
                if name in {"id", "created", "source", "request", "gaps"}
            },
            **{name: _BACKTEST[name] for name in ("equity", "trades", "metrics")},
            "kind": "walk_forward",
            "grid": {"entry": [1.5, 2.0], "exit": [0.0, 0.5]},
            "metric": "sharpe",
            "purge": 1440,
            "combinations": 4,
            "trials": 6,
            "folds": [
                {
                    "train_start": _AT - 86_400_000,
                    "train_end": _AT - 43_200_000,
                    "test_start": _AT,
                    "test_end": _AT + 21_600_000,
                    "entry": 2.0,
                    "exit": 0.5,
                    "in_sample": dict(_METRICS),
                    "out_of_sample": dict(_METRICS),
                }
            ],
        },
        "/api/backtests/{id}/heatmap": {
            "metric": "sharpe",
            "a": {"name": "entry", "values": [1.5, 2.0]},
            "b": {"name": "exit", "values": [0.0, 0.5]},
            "values": [[-4.2, -3.9], [-2.8, -3.1]],
            "others": "the mean over window",
        },
        "/api/backtests": {
            "backtests": [
                {
                    **_HEAD,
                    "y": "ETHUSDT",
                    "x": "BTCUSDT",
                    "timeframe": "1m",
                    "metrics": dict(_METRICS),
                    "verdict": dict(_VERDICT),
                    "bytes": 18_211,
                }
            ],
            "next": None,
        },
        "/api/backtests/{id}": dict(_BACKTEST),
    }
)
"""By path."""
