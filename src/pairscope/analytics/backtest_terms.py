"""What a backtest is asked for, checked: every argument that makes no sense is refused by its name before it trades."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_terms import PairTerms
from pairscope.analytics.price_stats import checked, is_number
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8

__all__ = [
    "MAINTENANCE",
    "Fill",
    "Fills",
    "Sizing",
    "Space",
    "bar_numbers",
    "bar_times",
    "checked_count",
    "checked_mask",
    "checked_rates",
    "fill_prices",
    "leg_ranges",
    "legs_costs",
    "traded_terms",
]

MAINTENANCE: Final = 0.005
"""A position is liquidated when equity is no more than this share of what its legs are worth."""

Fill = Literal["next", "open", "same"]
"""Where a decision is filled: at the close of the next bar, at its open, or at the deciding close itself."""
Space = Literal["log", "linear"]
"""What the hedge ratio relates: logs of prices, or prices."""
Sizing = Literal["beta", "dollar"]
"""In which proportion the legs are bought: that of the hedge ratio, or half of the notional each."""

_WHOLE_BPS: Final = 10_000.0
_MOST: Final = 1e30
_MOST_PRICE: Final = 1e75
_YEAR_NS: Final = 365 * 86_400 * 1_000_000_000
_MINUTE_NS: Final = 60 * 1_000_000_000
_MONTH_NS: Final = 32 * 86_400 * 1_000_000_000
_UNITS_NS: Final = (1_000_000_000, 1_000_000, 1_000, 1)
_LEAST_BAR_NS: Final = 1_000_000


class Fills(NamedTuple):
    """At which prices, and in which bar, what each bar decides is filled; NaN and a bar beyond the last: not at all."""

    y: F8
    x: F8
    bar: I8


def checked_count(value: int, name: str, least: int) -> int:
    """Return a count of bars; ``ValueError`` where it is not a whole number from ``least`` on. O(1).

    >>> checked_count(3.0, "window", 2)
    3
    """
    if not is_number(value) or not np.isfinite(value) or int(value) != value or value < least:
        raise InputError(f"{name}: must be a whole number of at least {least}", loc=name)
    return int(value)


def checked_rates(funding: float | F8 | None, name: str, size: int) -> F8:
    """Return a funding rate a bar; NaN, infinities and rates beyond 1 raise ``ValueError`` naming it. O(n).

    >>> checked_rates(1e-4, "funding_y", 2).tolist(), checked_rates(None, "funding_x", 2).tolist()
    ([0.0001, 0.0001], [0.0, 0.0])
    """
    rates = np.array(0.0 if funding is None else funding, np.float64)
    if rates.ndim > 1 or (rates.ndim == 1 and rates.size != size):
        raise InputError(f"{name}: must be a number or have {size} values", loc=name)
    if not np.isfinite(rates).all():
        raise InputError(f"{name}: has values that are not finite", loc=name)
    if np.abs(rates).max() > 1.0:
        raise InputError(f"{name}: has rates beyond 1, which is 100 % a bar", loc=name)
    return np.ascontiguousarray(np.broadcast_to(rates, (size,)))


def checked_mask(gate: Any, size: int) -> NDArray[np.bool_]:
    """Return where entries are allowed: everywhere without a gate. Anything but truth values raises ``ValueError``.

    >>> checked_mask(None, 2).tolist()
    [True, True]
    """
    if gate is None:
        return np.ones(size, np.bool_)
    mask = np.array(gate)
    if mask.dtype != np.bool_ or mask.shape != (size,):
        raise InputError(f"gate: must be {size} truth values", loc="gate")
    return mask


def bar_times(timestamps: Any, size: int) -> tuple[NDArray[Any], float]:
    """Return the bars' times as they were given, their numbers where none were, and how many bars a year has. O(n).

    Dates that grow, UTC where they name no zone, or integers: the s, ms, us or ns since the epoch that make the first a
    date between 1973 and 5138 and bars of at most 32 days, else ns, or mere numbers (``bar_numbers``). Anything else,
    NaT included, raises ``ValueError``. Without times, and of numbers, a bar lasts a minute.

    >>> bar_times(None, 2), bar_times(np.array([0, 86_400_000_000_000]), 2)[1]
    ((array([0, 1]), 525600.0), 365.0)
    >>> bar_times([1746057600000, 1746061200000], 2)[1]
    8760.0
    """
    if timestamps is None:
        return np.arange(size), _YEAR_NS / _MINUTE_NS
    times = np.asarray(timestamps)
    if times.shape != (size,):
        raise InputError(f"timestamps: must have {size} values", loc="timestamps")
    stamps, unit_ns = _instants(times), 1
    if (np.diff(stamps) <= 0).any():
        raise InputError("timestamps: must grow from bar to bar", loc="timestamps")
    if bar_numbers(times):
        return times, _YEAR_NS / _MINUTE_NS
    if times.dtype.kind in "iu":
        unit_ns = _unit_ns(stamps)
    return times, _YEAR_NS * (size - 1) / (float(stamps[-1] - stamps[0]) * unit_ns)


def bar_numbers(times: NDArray[Any]) -> bool:
    """Return whether integers that grow only number their bars: nearer together than a ms, and of no date. O(1).

    >>> bar_numbers(np.arange(3)), bar_numbers(np.arange(3) * 60_000_000_000)
    (True, False)
    """
    if times.dtype.kind not in "iu" or times.size < 2:
        return bool(times.dtype.kind in "iu")
    span = float(times[-1]) - float(times[0])
    return span < _LEAST_BAR_NS * (times.size - 1) and _unit_ns(times) == 1 and float(times[0]) < 1e17


def _unit_ns(stamps: NDArray[Any]) -> int:
    """Return of how many ns the integers are that tell the bars' times."""
    first, bar = float(stamps[0]), (float(stamps[-1]) - float(stamps[0])) / max(1, stamps.size - 1)
    for unit in _UNITS_NS:
        if 1e8 <= first * unit * 1e-9 < 1e11 and bar * unit <= _MONTH_NS:
            return unit
    return 1


def _instants(times: NDArray[Any]) -> I8:
    """Return times as integers: dates in ns since the epoch, integers as they are."""
    if times.dtype.kind in "iu":
        return times.astype(np.int64)
    if times.dtype.kind == "O" and all(hasattr(time, "timestamp") for time in times):
        try:
            return np.array([_instant_us(time) * 1000 for time in times], np.int64)
        except (TypeError, ValueError, OverflowError):
            raise InputError("timestamps: has values that are not times", loc="timestamps") from None
    if times.dtype.kind != "M":
        raise InputError("timestamps: must be dates, or integers in s, ms, us or ns", loc="timestamps")
    if np.isnat(times).any():
        raise InputError("timestamps: has values that are not times", loc="timestamps")
    return times.astype("M8[ns]").astype(np.int64)


def _instant_us(time: Any) -> int:
    """Return one of Python's dates in us since the epoch, read as UTC where it names no zone."""
    if time.tzinfo is None:
        return int(np.datetime64(time, "us").astype(np.int64))
    seconds: float = time.timestamp()
    return round(seconds * 1e6)


def legs_costs(cost: float | tuple[float, float], name: str) -> tuple[float, float]:
    """Return a cost in basis points of each leg, y before x, from one for both or a pair of them. O(1).

    NaN, costs below 0 or beyond all of the value and anything but one or two numbers raise ``ValueError`` naming it.

    >>> legs_costs(4, "fee_bps"), legs_costs((2, 5), "fee_bps")
    ((4.0, 4.0), (2.0, 5.0))
    """
    try:
        costs = np.array(cost, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: must be a number, or one for y and one for x", loc=name) from None
    if costs.ndim > 1 or (costs.ndim == 1 and costs.size != 2):
        raise InputError(f"{name}: must be a number, or one for y and one for x", loc=name)
    if not ((costs >= 0.0) & (costs <= _WHOLE_BPS)).all():
        raise InputError(f"{name}: must be between 0 and {_WHOLE_BPS:g}", loc=name)
    of_y, of_x = np.broadcast_to(costs, (2,)).tolist()
    return of_y, of_x


def traded_terms(
    *,
    notional: float,
    capital: float | None,
    maintenance: float,
    fees: tuple[float, float],
    slippages: tuple[float, float],
    slippage_range: float,
    steps: tuple[float | None, float | None],
    rehedge: float | None,
    fill: Fill,
    price_space: Space,
    sizing: Sizing,
) -> PairTerms:
    """Return the terms of a pair's trading, costs in basis points made shares; NaN raises ``ValueError``. O(1).

    >>> costs = {"fees": (4.0, 4.0), "slippages": (0.0, 0.0), "slippage_range": 0.0, "steps": (0.1, None)}
    >>> words = {"fill": "open", "price_space": "log", "sizing": "beta"}
    >>> made = traded_terms(notional=1e4, capital=None, maintenance=0.0, rehedge=None, **costs, **words)
    >>> made.capital, made.fee_y, made.step_y, made.step_x, made.opens, made.rehedge
    (10000.0, 0.0004, 0.1, 0.0, True, inf)
    """
    for name, word, known in (("fill", fill, Fill), ("price_space", price_space, Space), ("sizing", sizing, Sizing)):
        if word not in get_args(known):
            raise InputError(f"{name}: must be {' or '.join(get_args(known))}", loc=name)
    money = {"notional": notional, "capital": notional if capital is None else capital}
    for name, amount in money.items():
        if not is_number(amount) or not 0.0 < amount <= _MOST:
            raise InputError(f"{name}: must be positive and at most {_MOST:g}", loc=name)
    for name, share in (("maintenance", maintenance), ("slippage_range", slippage_range)):
        if not 0.0 <= share <= 1.0:
            raise InputError(f"{name}: must be a share between 0 and 1", loc=name)
    for name, step in zip(("step_y", "step_x"), steps, strict=True):
        if step is not None and not 0.0 < step <= _MOST:
            raise InputError(f"{name}: must be positive and at most {_MOST:g}", loc=name)
    if rehedge is not None and not 0.0 < rehedge < np.inf:
        raise InputError("rehedge: must be a positive share of the hedge ratio", loc="rehedge")
    if rehedge is not None and sizing == "dollar":
        raise InputError("rehedge: dollar-neutral legs follow no hedge ratio", loc="rehedge")
    return PairTerms(
        notional=float(notional),
        capital=float(money["capital"]),
        maintenance=float(maintenance),
        fee_y=fees[0] * 1e-4,
        fee_x=fees[1] * 1e-4,
        slippage_y=slippages[0] * 1e-4,
        slippage_x=slippages[1] * 1e-4,
        slippage_range=float(slippage_range),
        step_y=float(steps[0] or 0.0),
        step_x=float(steps[1] or 0.0),
        rehedge=np.inf if rehedge is None else float(rehedge),
        same=fill == "same",
        opens=fill == "open",
        log=price_space == "log",
        dollar=sizing == "dollar",
    )


def fill_prices(
    y: F8, x: F8, fill: Fill, opens: tuple[Any, Any] = (None, None), given: tuple[Any, Any, Any] = (None, None, None)
) -> Fills:
    """Return where each bar's decision is filled: at closes ``y``, ``x``, at ``opens``, or as ``given``. O(n).

    ``given`` are prices and bars of fills found elsewhere, all three; NaN in a price is no fill, and so is a bar that
    never comes; a bar that is not after its decision's raises ``ValueError``, as do infinities, prices that are not
    positive and unequal lengths.

    >>> y, x = np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 7.0])
    >>> [column.tolist() for column in fill_prices(y, x, "next")]
    [[2.0, 3.0, nan], [6.0, 7.0, nan], [1, 2, 3]]
    """
    after = np.arange(1, y.size + 1)
    if any(part is not None for part in given):
        if fill != "next":
            raise InputError(f"fill: {fill} leaves no room for fills that are given", loc="fill")
        return _given_fills(given, after)
    if fill == "open":
        if opens[0] is None or opens[1] is None:
            raise InputError("fill: open needs open_y and open_x", loc="fill")
        y, x = (_prices(leg, name, y.size) for leg, name in zip(opens, ("open_y", "open_x"), strict=True))
    return Fills(np.append(y[1:], np.nan), np.append(x[1:], np.nan), after)


def _given_fills(given: tuple[Any, Any, Any], after: I8) -> Fills:
    """Return fills found elsewhere, checked."""
    if any(part is None for part in given):
        raise InputError("fill_bar: fill_y, fill_x and fill_bar belong together", loc="fill_bar")
    found = []
    for part, name in zip(given[:2], ("fill_y", "fill_x"), strict=True):
        prices = np.array(part, np.float64)
        if prices.shape != after.shape:
            raise InputError(f"{name}: must have {after.size} values", loc=name)
        if (prices <= 0.0).any() or np.isinf(prices).any():
            raise InputError(f"{name}: must be positive and finite, or NaN where nothing is filled", loc=name)
        if (prices > _MOST_PRICE).any():
            raise InputError(f"{name}: has values beyond {_MOST_PRICE:g}", loc=name)
        found.append(prices)
    bars = np.array(given[2])
    if bars.dtype.kind not in "iu" or bars.shape != after.shape:
        raise InputError(f"fill_bar: must be {after.size} whole numbers", loc="fill_bar")
    nowhere = np.isnan(found[0]) | np.isnan(found[1])
    if ((bars < after) & ~nowhere).any():
        raise InputError("fill_bar: has a bar that is not after the one that decides", loc="fill_bar")
    return Fills(found[0], found[1], np.where(nowhere, after.size, bars).astype(np.int64))


def leg_ranges(high: Any, low: Any, names: tuple[str, str], size: int, *, share: float) -> F8:
    """Return high less low of each bar, 0 where no ``share`` of it is charged. O(n).

    NaN, infinities, prices that are not positive, a high below its low, unequal lengths, and a range that is asked for
    and not given raise ``ValueError`` naming the argument.

    >>> leg_ranges(np.array([2.0, 3.0]), np.array([1.0, 3.0]), ("high_y", "low_y"), 2, share=0.1).tolist()
    [1.0, 0.0]
    """
    if share == 0.0 and (high is None or low is None):
        return np.zeros(size)
    if high is None or low is None:
        raise InputError(f"slippage_range: needs {names[0]} and {names[1]}", loc="slippage_range")
    top, bottom = _prices(high, names[0], size), _prices(low, names[1], size)
    if (top < bottom).any():
        raise InputError(f"{names[0]}: lies below {names[1]}", loc=names[0])
    return top - bottom


def _prices(values: Any, name: str, size: int) -> F8:
    """Return a column of prices beside the closes."""
    prices = checked(values, name, positive=True, constant=True)
    if prices.size != size:
        raise InputError(f"{name}: has {prices.size} values, y has {size}", loc=name)
    if prices.max() > _MOST_PRICE:
        raise InputError(f"{name}: has values beyond {_MOST_PRICE:g}", loc=name)
    return prices
