"""What a sweep is to compute: every combination of a grid, checked, and sorted by what combinations share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.backtest import backtest_pair
from pairscope.analytics.backtest_terms import (
    bar_times,
    checked_mask,
    checked_rates,
    fill_prices,
    leg_ranges,
    legs_costs,
)
from pairscope.analytics.pair_window import checked_pair
from pairscope.analytics.price_stats import checked
from pairscope.analytics.signals import signal_rule
from pairscope.analytics.sweep_moments import SweepLegs
from pairscope.analytics.sweep_paths import SweepRule
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8
from pairscope.research.sweep_checks import check_term

__all__ = ["BLOCKS", "MOST_COMBINATIONS", "SweepGroup", "SweepPlan", "plan_sweep"]

BLOCKS: Final = 16
"""Into how many stretches the bars are cut for cross-validation; half of them choose, the others judge."""
MOST_COMBINATIONS: Final = 1_000_000
"""Combinations that a grid may have."""

_PARAMETERS: Final = signature(backtest_pair).parameters
_SHARED: Final = ("price_space", "fill", "hedge", "lookback", "window")
_COLUMNS: Final = (
    *("funding_y", "funding_x", "timestamps", "gate"),
    *("open_y", "open_x", "high_y", "high_x", "low_y", "low_x", "fill_y", "fill_x", "fill_bar"),
)
_FAST: Final = (
    *_SHARED,
    *("entry", "exit", "stop", "max_holding", "cooldown", "fee_bps", "slippage_bps", "slippage_range", "notional"),
    *("capital", "maintenance", "step_y", "step_x", "sizing"),
)


@dataclass(frozen=True, slots=True, eq=False)
class SweepGroup:
    """Combinations that share legs, hedge ratio and window: their ``rules``, and their ``places`` in the table.

    ``slow`` ones ask for what the compiled pass does not know: ``backtest_pair`` itself trades them.
    """

    legs: SweepLegs
    hedge: Any
    lookback: int
    window: int
    rules: F8
    places: I8
    slow: bool


@dataclass(frozen=True, slots=True, eq=False)
class SweepPlan:
    """A grid made ready: its axes, ``codes`` (which value of each axis a combination takes), groups, and the rest.

    ``fixed`` are the keywords that do not vary; ``skipped`` counts the combinations
    that make no sense and are left out. ``edges`` are the bars at which blocks of returns begin.
    """

    y: F8
    x: F8
    axes: Mapping[str, tuple[Any, ...]]
    codes: Mapping[str, I8]
    groups: tuple[SweepGroup, ...]
    fixed: Mapping[str, Any]
    gate: NDArray[np.bool_]
    edges: I8
    first: int
    skipped: int
    bars_per_year: float

    def __len__(self) -> int:
        """Return how many combinations are traded."""
        return next(iter(self.codes.values())).size if self.codes else 1

    def keywords(self, place: int) -> dict[str, Any]:
        """Return what ``backtest_pair`` is called with for one combination."""
        return {**self.fixed, **{name: self.axes[name][code[place]] for name, code in self.codes.items()}}


def plan_sweep(
    y: F8, x: F8, grid: Mapping[str, Sequence[Any]], terms: Mapping[str, Any], *, first: int = 0
) -> SweepPlan:
    """Return the plan of a sweep; ``ValueError`` names what cannot be, as ``backtest_pair`` would.

    Combinations are those of ``itertools.product`` in the grid's order, less the ones that make no sense: ``entry``
    not above ``exit``, ``stop`` not above ``entry``, ``window`` above ``lookback``, ``rehedge`` of dollar-neutral legs.
    Nothing is entered or counted before bar ``first``. O(combinations).
    """
    axes = _axes(grid)
    given = _given(axes, terms)
    total = prod(len(values) for values in axes.values())
    if total > MOST_COMBINATIONS:
        raise InputError(f"grid: has {total:,} combinations, more than {MOST_COMBINATIONS:,}", loc="grid")
    counts = tuple(len(values) for values in axes.values())
    codes = dict(zip(axes, np.indices(counts).reshape(len(counts), total) if counts else (), strict=True))
    values = {name: axes.get(name, (value,)) for name, value in given.items()}
    for name, choices in values.items():
        for value in choices:
            check_term(name, value)
    sensible = _sensible(values, codes, total)
    if not sensible.any():
        _refuse(values)
    codes = {name: code[sensible] for name, code in codes.items()}
    prices = checked(y, "y", positive=True), checked(x, "x", positive=True)
    modelled = any(isinstance(hedge, str) for hedge in values["hedge"])
    ys, xs = checked_pair(*prices, need=max(*values["window"], *(values["lookback"] if modelled else (2,))))
    _, bars_per_year = bar_times(given["timestamps"], ys.size)
    gate = checked_mask(given["gate"], ys.size)
    warmup = max(*values["window"], *(values["lookback"] if modelled else (2,))) - 1
    fixed = {name: value for name, value in given.items() if name not in axes}
    if first > 0:
        fixed["gate"] = gate & (np.arange(gate.size) >= first)
    return SweepPlan(
        ys,
        xs,
        axes,
        codes,
        tuple(_groups(ys, xs, values, codes, given, first)),
        fixed,
        gate,
        _edges(max(first, warmup), ys.size),
        first,
        total - int(sensible.sum()),
        bars_per_year,
    )


def _axes(grid: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """Return the grid with Python's own numbers."""
    if not isinstance(grid, Mapping):
        raise InputError("grid: must be a mapping of names to lists of values", loc="grid")
    known = [name for name in _PARAMETERS if name not in ("y", "x", *_COLUMNS)]
    axes = {}
    for name, choices in grid.items():
        if name not in known:
            raise InputError(f"grid: {name} cannot be varied; there are {', '.join(known)}", loc="grid")
        if isinstance(choices, str) or not hasattr(choices, "__len__") or len(choices) == 0:
            raise InputError(f"grid: {name} must be a list of values", loc=name)
        axes[name] = tuple(value.item() if isinstance(value, np.generic) else value for value in choices)
    return axes


def _given(axes: Mapping[str, Any], terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return every keyword with its value, a varied one with None; ``TypeError`` as a call would raise it."""
    parameters = {name: p for name, p in _PARAMETERS.items() if name not in ("y", "x")}
    for name in terms:
        if name not in parameters:
            raise TypeError(f"sweep() got an unexpected keyword argument {name!r}")
    given: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in terms:
            given[name] = terms[name]
        elif parameter.default is not Parameter.empty:
            given[name] = parameter.default
        elif name not in axes:
            raise InputError(f"{name}: must be given, or stand in the grid", loc=name)
        else:
            given[name] = None
    return given


def _spread(
    name: str, values: Mapping[str, tuple[Any, ...]], codes: Mapping[str, I8], total: int, *, none: float = np.nan
) -> F8:
    """Return a number a combination, ``none`` where the value is None or no number."""
    found = np.array([_number(value, none) for value in values[name]])
    return found[codes[name]] if name in codes else np.full(total, found[0])


def _number(value: Any, none: float) -> float:
    return float(value) if isinstance(value, int | float) else none


def _sensible(values: Mapping[str, tuple[Any, ...]], codes: Mapping[str, I8], total: int) -> NDArray[np.bool_]:
    """Return which combinations make sense."""
    entry, exit_z = (_spread(name, values, codes, total) for name in ("entry", "exit"))
    modelled = np.array([isinstance(hedge, str) for hedge in values["hedge"]])
    window, lookback = (_spread(name, values, codes, total) for name in ("window", "lookback"))
    good: NDArray[np.bool_] = exit_z < entry
    good &= entry < _spread("stop", values, codes, total, none=np.inf)
    good &= ~(modelled[codes["hedge"]] if "hedge" in codes else modelled[0]) | (window <= lookback)
    dollar = np.array([value == "dollar" for value in values["sizing"]])
    rehedged = ~np.isnan(_spread("rehedge", values, codes, total))
    good &= ~(rehedged & (dollar[codes["sizing"]] if "sizing" in codes else dollar[0]))
    return good


def _refuse(values: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise what the first combination is refused for."""
    one = {name: choices[0] for name, choices in values.items()}
    signal_rule(**{name: one[name] for name in ("entry", "exit", "stop", "max_holding", "cooldown")})
    raise InputError("grid: no combination makes sense: window above lookback, or thresholds out of order", loc="grid")


def _slow_ones(values: Mapping[str, tuple[Any, ...]], codes: Mapping[str, I8], total: int) -> NDArray[np.bool_]:
    """Return which combinations ask for what the fast pass does not know."""
    slow = np.zeros(total, np.bool_)
    for name, choices in values.items():
        if name in _FAST and name != "hedge":
            continue
        if name == "hedge":
            strange = [not isinstance(value, str | int | float) for value in choices]
        elif name in _COLUMNS:
            strange = [name in ("fill_y", "fill_x", "fill_bar") and value is not None for value in choices]
        else:
            default = _PARAMETERS[name].default
            strange = [value != default for value in choices]
        slow |= np.array(strange)[codes[name]] if name in codes else strange[0]
    return slow


def _groups(
    y: F8,
    x: F8,
    values: Mapping[str, tuple[Any, ...]],
    codes: Mapping[str, I8],
    given: Mapping[str, Any],
    first: int,
) -> Iterator[SweepGroup]:
    """Yield the combinations that share everything but thresholds, costs and money."""
    total = next(iter(codes.values())).size if codes else 1
    rules, slow = _rules(values, codes, total), _slow_ones(values, codes, total)
    key = slow.astype(np.int64)
    for name in _SHARED:
        key = key * len(values[name]) + codes.get(name, 0)
    ranged = any(share for share in values["slippage_range"])
    made: dict[tuple[str, str], SweepLegs] = {}
    # By terms within a group, as rules of the same terms share what they trade; then by entry, as they enter together.
    varied = [column for column in rules[:, SweepRule._fields.index("fee_y") :].T if np.ptp(column) > 0.0]
    order = np.lexsort((rules[:, SweepRule._fields.index("entry")], *varied, key))
    for places in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        space, fill, hedge, lookback, window = (
            values[name][codes[name][places[0]] if name in codes else 0] for name in _SHARED
        )
        if (space, fill) not in made:
            made[space, fill] = _legs(y, x, space, fill, given, ranged=ranged, first=first)
        legs = made[space, fill]
        yield SweepGroup(legs, hedge, int(lookback), int(window), rules[places], places, bool(slow[places[0]]))


def _rules(values: Mapping[str, tuple[Any, ...]], codes: Mapping[str, I8], total: int) -> F8:
    """Return every combination's thresholds and terms, a row each, as the kernel reads them."""
    made = {name: _spread(name, values, codes, total, none=np.inf) for name in ("entry", "exit", "stop", "max_holding")}
    made["cooldown"] = _spread("cooldown", values, codes, total)
    for name, of_y, of_x in (("fee_bps", "fee_y", "fee_x"), ("slippage_bps", "slippage_y", "slippage_x")):
        costs = np.array([legs_costs(value, name) for value in values[name]]) * 1e-4
        legs = costs[codes[name]] if name in codes else np.broadcast_to(costs, (total, 2))
        made[of_y], made[of_x] = legs[:, 0], legs[:, 1]
    for name in ("slippage_range", "notional", "maintenance"):
        made[name] = _spread(name, values, codes, total)
    capital = _spread("capital", values, codes, total)
    made["capital"] = np.where(np.isnan(capital), made["notional"], capital)
    for name in ("step_y", "step_x"):
        made[name] = _spread(name, values, codes, total, none=0.0)
    dollar = np.array([float(value == "dollar") for value in values["sizing"]])
    made["dollar"] = dollar[codes["sizing"]] if "sizing" in codes else np.full(total, dollar[0])
    return np.ascontiguousarray(np.column_stack([made[name] for name in SweepRule._fields]))


def _legs(y: F8, x: F8, space: str, fill: Any, given: Mapping[str, Any], *, ranged: bool, first: int) -> SweepLegs:
    """Return the columns that one price space and one kind of fill trade on."""
    spaced_y, spaced_x = (np.log(y), np.log(x)) if space == "log" else (y, x)
    fill_y, fill_x = y, x
    if fill == "open":
        found = fill_prices(y, x, fill, (given["open_y"], given["open_x"]))
        fill_y, fill_x = np.append(y[:1], found.y[:-1]), np.append(x[:1], found.x[:-1])
    share = 1.0 if ranged else 0.0
    return SweepLegs(
        y,
        x,
        spaced_y,
        spaced_x,
        fill_y,
        fill_x,
        leg_ranges(given["high_y"], given["low_y"], ("high_y", "low_y"), y.size, share=share),
        leg_ranges(given["high_x"], given["low_x"], ("high_x", "low_x"), y.size, share=share),
        checked_rates(given["funding_y"], "funding_y", y.size),
        checked_rates(given["funding_x"], "funding_x", y.size),
        space == "log",
        fill == "open",
        fill == "same",
        first,
    )


def _edges(start: int, size: int) -> I8:
    """Return where blocks of returns of one length begin, and where the last ends; one alone where bars are too few.

    The first block begins when every combination could have begun to trade, and a few bars later where the bars do not
    divide evenly.
    """
    length = (size - 1 - start) // BLOCKS
    if length < 2:
        return np.array([size], np.int64)
    return size - length * np.arange(BLOCKS, -1, -1, dtype=np.int64)
