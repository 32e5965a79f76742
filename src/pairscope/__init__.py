"""Pairscope: real-time pairs analytics for crypto futures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairscope.analytics.price_stats import realized_volatility, rolling_stats
    from pairscope.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__", "realized_volatility", "rolling_stats"]

_HOME = {
    "Client": "pairscope.client",
    "realized_volatility": "pairscope.analytics.price_stats",
    "rolling_stats": "pairscope.analytics.price_stats",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import pairscope`` stays light."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'pairscope' has no attribute {name!r}")
    return getattr(import_module(home), name)
