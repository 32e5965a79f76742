"""Exact decimals as two integers, units and decimals: units / 10^decimals, read from float64 and summed without error.

A float64 ``x`` stands for the shortest decimal that rounds to it: the fewest ``d`` with ``rint(x 10^d) / 10^d == x``.
Bounds: that decimal is found where it has fewer than 2^52 units (15 to 16 significant digits) and at most 18 places,
and a sum is exact below 4e18 units. Beyond either, digits past the 17th, or the 22nd place, are rounded and the caller
is told. No scaled number exceeds int64, whatever comes in.
"""

from __future__ import annotations

import numpy as np

from pairscope.market.kernel import kernel

__all__ = ["EXACT", "plus", "quote_of", "units_of", "value_of"]

EXACT = 2.0**52
"""Units below this were read exactly."""
_WIDEST = 18
_LIMIT = 4_000_000_000_000_000_000
_POW10 = np.array([float(10**k) for k in range(23)])
_WHOLE10 = np.array([10**k for k in range(19)], np.int64)


@kernel
def _product_error(a: float, b: float) -> float:  # pragma: no cover - compiled
    """Return ``a b`` less its float64 rounding, exactly (Dekker 1971)."""
    x = 134217729.0 * a
    a_high = x - (x - a)
    a_low = a - a_high
    y = 134217729.0 * b
    b_high = y - (y - b)
    b_low = b - b_high
    return ((a_high * b_high - a * b) + a_high * b_low + a_low * b_high) + a_low * b_low


@kernel
def units_of(x: float, hint: int) -> tuple[int, int]:  # pragma: no cover - compiled
    """Return ``x >= 0`` as (units, decimals): exactly its shortest decimal, or its first 17 digits (units >= 2^52).

    ``hint`` is tried first; decimals wider than need be do no harm. What is not positive and finite counts as 0.

    >>> units_of(0.00001234, 0), units_of(67012.5, 2)
    ((1234, 8), (6701250, 2))
    """
    if not 0.0 < x < np.inf:
        return 0, 0
    units = np.rint(x * _POW10[hint])
    if units < EXACT and units / _POW10[hint] == x:
        return int(units), hint
    for decimals in range(_WIDEST + 1):
        units = np.rint(x * _POW10[decimals])
        if units >= EXACT:
            break
        if units / _POW10[decimals] == x:
            return int(units), decimals
    if x >= 1e17:
        x = min(x, 1e38)
        tens = 0
        while x >= 1e18 * _POW10[tens]:
            tens += 1
        return int(np.rint(x / _POW10[tens])), -tens
    decimals = 0
    while decimals < 22 and x * _POW10[decimals] < 1e16:
        decimals += 1
    scaled = x * _POW10[decimals]
    whole = np.rint(scaled)
    return int(whole) + int(np.rint((scaled - whole) + _product_error(x, _POW10[decimals]))), decimals


@kernel
def _rescaled(units: int, decimals: int, to: int) -> int:  # pragma: no cover - compiled
    """Return units at other decimals, half rounded up; -1 where they would pass the limit."""
    shift = to - decimals
    if shift >= 0:
        if units == 0:
            return 0
        if shift > 18 or units > _LIMIT // _WHOLE10[shift]:
            return -1
        return int(units * _WHOLE10[shift])
    if shift < -18:
        return 0
    power = _WHOLE10[-shift]
    return int((units + power // 2) // power)


@kernel
def plus(a: int, a_decimals: int, b: int, b_decimals: int) -> tuple[int, int, int]:  # pragma: no cover - compiled
    """Add two decimals; returns (units, decimals, 1 if digits were lost).

    >>> plus(15, 1, 25, 2)
    (175, 2, 0)
    """
    if a_decimals == b_decimals and a + b < _LIMIT:
        return a + b, a_decimals, 0
    widest = max(a_decimals, b_decimals)
    decimals = widest
    while True:
        x = _rescaled(a, a_decimals, decimals)
        y = _rescaled(b, b_decimals, decimals)
        if x >= 0 and y >= 0 and x + y < _LIMIT:
            return x + y, decimals, 0 if decimals == widest else 1
        decimals -= 1


@kernel
def value_of(units: int, decimals: int) -> float:  # pragma: no cover - compiled
    """Return a decimal as the nearest float64, divided once.

    >>> value_of(3, 1)
    0.3
    """
    if decimals < 0:
        return float(units * _POW10[-decimals])
    power = _POW10[decimals]
    high = float(units)
    if high < 2.0 * EXACT:
        return float(high / power)
    quotient = high / power
    rest = (high - quotient * power) - _product_error(quotient, power) + float(units - int(high))
    return float(quotient + rest / power)


@kernel
def quote_of(
    price: float, size: float, units: int, decimals: int, lots: int, lots_decimals: int
) -> tuple[int, int, int]:  # pragma: no cover - compiled
    """Return price times size as (units, decimals, 1 if digits were lost); exact where its units stay below 1e18.

    >>> quote_of(0.1, 0.3, 1, 1, 3, 1)
    (3, 2, 0)
    """
    if decimals + lots_decimals <= 22 and float(units) * float(lots) < 1e18:
        return units * lots, decimals + lots_decimals, 0
    product, places = units_of(price * size, 0)
    return product, places, 1
