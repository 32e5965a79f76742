"""Values of a grid, each checked by itself: what no combination could have is refused by its name before any trades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import numpy as np

from pairscope.analytics.backtest import Method
from pairscope.analytics.backtest_terms import checked_count, legs_costs, traded_terms
from pairscope.analytics.signals import signal_rule
from pairscope.errors import InputError

__all__ = ["check_term"]

_RULE: Final = ("entry", "exit", "stop", "max_holding", "cooldown")
_TERMS: Final = (
    *("notional", "capital", "maintenance", "slippage_range", "step_y", "step_x"),
    *("fill", "price_space", "sizing", "rehedge"),
)
_NEEDED: Final = ("hedge", "lookback", "window", "entry", "exit", "notional")


def check_term(name: str, value: Any) -> None:
    """Raise ``ValueError`` naming the argument where no combination could have this value.

    >>> check_term("window", 60)
    >>> check_term("window", 1)
    Traceback (most recent call last):
    pairscope.errors.InputError: window: must be a whole number of at least 2
    """
    if value is None:
        if name in _NEEDED:
            raise InputError(f"{name}: must not be None", loc=name)
        return
    if name in _RULE:
        # The other thresholds leave room for this one.
        bounds: dict[str, Any] = {"entry": 1e-12 if name == "stop" else 1e12, "exit": 0.0}
        signal_rule(**{**bounds, name: _number(value, name)})
    elif name in ("lookback", "window"):
        checked_count(value, name, 3 if name == "lookback" else 2)
    elif name in ("fee_bps", "slippage_bps"):
        legs_costs(value, name)
    elif name == "hedge":
        _check_hedge(value)
    elif name in _TERMS:
        _check_money({name: value})


def _number(value: Any, name: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name}: must be a number", loc=name)
    return value


def _check_hedge(value: Any) -> None:
    if isinstance(value, str):
        if value not in get_args(Method):
            raise InputError(f"hedge: must be ols, huber, kalman or a number, is {value!r}", loc="hedge")
    elif isinstance(value, bool) or (isinstance(value, int | float) and not np.isfinite(value)):
        raise InputError("hedge: must be ols, huber, kalman or a finite number", loc="hedge")


def _check_money(own: Mapping[str, Any]) -> None:
    """Check one of the terms of trading beside harmless others."""
    harmless: dict[str, Any] = {
        "notional": 1.0,
        "capital": None,
        "maintenance": 0.0,
        "slippage_range": 0.0,
        "rehedge": None,
        "fill": "next",
        "price_space": "log",
        "sizing": "beta",
    }
    for name, value in own.items():
        if name not in ("fill", "price_space", "sizing"):
            _number(value, name)
    words = {**harmless, **{name: value for name, value in own.items() if name in harmless}}
    steps = own.get("step_y"), own.get("step_x")
    traded_terms(**words, fees=(0.0, 0.0), slippages=(0.0, 0.0), steps=steps)
