"""A grid in a request's own names, for a sweep: whose hedge ratio is ``method`` and ``beta`` there, one value here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pairscope.errors import InputError
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.sweep_checks import check_term

__all__ = ["AskedGrid", "asked_grid", "longest_warmup"]


class AskedGrid(dict[str, tuple[Any, ...]]):
    """The axes as ``backtest_pair`` names them; ``shown`` are the names and values under which they were asked for."""

    shown: dict[str, tuple[str, tuple[Any, ...]]]

    def shown_as(self, name: str) -> tuple[str, tuple[Any, ...]]:
        """Return name and values of an axis as they were asked for."""
        return self.shown.get(name, (name, self[name]))

    def shown_value(self, name: str, value: Any) -> Any:
        """Return a value of an axis as it was asked for."""
        return self.shown_as(name)[1][self[name].index(value)]


def asked_grid(request: BacktestRequest, grid: Mapping[str, Sequence[Any]]) -> AskedGrid:
    """Return a request's grid as a sweep's; ``InputError`` names what cannot be.

    ``method`` and ``beta`` become one axis ``hedge``: a method each, and of ``fixed`` every ``beta``, or the request's.

    >>> request = BacktestRequest("ETHUSDT", "BTCUSDT")
    >>> asked = asked_grid(request, {"entry": [1.5, 2.0], "method": ["ols", "fixed"], "beta": [0.8, 1.2]})
    >>> asked["hedge"], asked.shown["hedge"][0]
    (('ols', 0.8, 1.2), 'hedge')
    """
    made = AskedGrid()
    made.shown = {}
    for name, values in grid.items():
        if name not in ("method", "beta"):
            made[name] = tuple(_listed(name, values))
        elif "hedge" not in made:
            made["hedge"], made.shown["hedge"] = _hedges(request, grid)
    return made


def longest_warmup(request: BacktestRequest, grid: Mapping[str, Sequence[Any]]) -> BacktestRequest:
    """Return the request as its combination with the longest warm-up."""
    asked = asked_grid(request, grid)
    hedges = asked.get("hedge", (request.hedge,))
    modelled = any(isinstance(hedge, str) for hedge in hedges)
    for name in ("lookback", "window"):
        for value in asked.get(name, ()):
            check_term(name, value)
    return replace(
        request,
        method="ols" if modelled else "fixed",
        beta=None if modelled else 1.0,
        lookback=int(max(asked.get("lookback", (request.lookback,)))),
        window=int(max(asked.get("window", (request.window,)))),
    )


def _hedges(
    request: BacktestRequest, grid: Mapping[str, Sequence[Any]]
) -> tuple[tuple[Any, ...], tuple[str, tuple[Any, ...]]]:
    """Return the hedge axis, and what it is called and reads like in the table."""
    methods = _listed("method", grid["method"]) if "method" in grid else ["fixed"]
    betas = _listed("beta", grid["beta"]) if "beta" in grid else [request.beta]
    made: list[Any] = []
    for method in methods:
        if method != "fixed":
            made.append(method)
        elif None in betas:
            raise InputError("beta: the hedge ratio of the method fixed is missing", loc="beta")
        else:
            made += betas
    name = "hedge" if "method" in grid and "beta" in grid else "method" if "method" in grid else "beta"
    return tuple(made), (name, tuple(methods) if name == "method" else tuple(made))


def _listed(name: str, values: Any) -> list[Any]:
    """Return the values of an axis; a single one is a list of one."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        return [values]
    made = list(values)
    if not made:
        raise InputError(f"{name}: must be a list of values", loc=name)
    return made
