"""Pairscope: real-time pairs analytics for crypto futures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairscope.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

_HOME = {"Client": "pairscope.client"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import pairscope`` stays light."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'pairscope' has no attribute {name!r}")
    return getattr(import_module(home), name)
