"""Pairscope: real-time pairs analytics for crypto futures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairscope.analytics.backtest import backtest_pair
    from pairscope.analytics.mean_reversion import half_life, hurst_exponent, spread, zscore
    from pairscope.analytics.price_stats import realized_volatility, rolling_stats
    from pairscope.analytics.regression import huber_hedge, kalman_hedge, ols_hedge, rolling_ols_hedge
    from pairscope.analytics.statistical_tests import adf_test, benjamini_hochberg, engle_granger, johansen
    from pairscope.client import AsyncClient, Client
    from pairscope.research.screen import screen_pairs
    from pairscope.research.sweep import sweep

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "__version__",
    "adf_test",
    "backtest_pair",
    "benjamini_hochberg",
    "engle_granger",
    "half_life",
    "huber_hedge",
    "hurst_exponent",
    "johansen",
    "kalman_hedge",
    "ols_hedge",
    "realized_volatility",
    "rolling_ols_hedge",
    "rolling_stats",
    "screen_pairs",
    "spread",
    "sweep",
    "zscore",
]

_PUBLIC = {
    "pairscope.analytics.backtest": ("backtest_pair",),
    "pairscope.analytics.mean_reversion": ("half_life", "hurst_exponent", "spread", "zscore"),
    "pairscope.analytics.price_stats": ("realized_volatility", "rolling_stats"),
    "pairscope.analytics.regression": ("huber_hedge", "kalman_hedge", "ols_hedge", "rolling_ols_hedge"),
    "pairscope.analytics.statistical_tests": ("adf_test", "benjamini_hochberg", "engle_granger", "johansen"),
    "pairscope.client": ("AsyncClient", "Client"),
    "pairscope.research.screen": ("screen_pairs",),
    "pairscope.research.sweep": ("sweep",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import pairscope`` stays light."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'pairscope' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    """Name what can be imported, also what has not been used yet."""
    return sorted({*globals(), *__all__})
