"""Rows as text, compiled: numbers as the shortest decimals that name them, never with an exponent.

A decimal whose digits two integers hold (``market.exact``) is written from them; that is every price and size that an
exchange sends. The few others (a z-score has seventeen digits) come in as words, written beforehand.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.exact import EXACT, units_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = ["WIDEST", "hard_decimals", "write_rows"]

U1 = NDArray[np.uint8]

WIDEST: Final = 26
"""Bytes that a number or a time takes at most."""

_INTEGER, _DECIMAL, _WORD = 0, 1, 3
_MISSING = np.iinfo(np.int64).min
_ZERO, _POINT, _MINUS = np.uint8(48), np.uint8(46), np.uint8(45)
_TEN = np.uint64(10)
_DAY_MS = 86_400_000


@kernel
def hard_decimals(values: F8, hard: NDArray[np.bool_]) -> int:  # pragma: no cover - compiled
    """Mark the numbers that ``write_rows`` cannot write from units and decimals; returns how many there are.

    >>> hard = np.zeros(3, np.bool_)
    >>> hard_decimals(np.array([0.00001234, -65000.0, 2.0 / 3.0]), hard), hard.tolist()
    (1, [False, False, True])
    """
    found, hint = 0, 0
    for i in range(values.size):
        x = values[i]
        if x == 0.0:
            hard[i] = np.signbit(x)
        elif np.isfinite(x):
            units, decimals = units_of(abs(x), hint)
            hard[i] = units >= EXACT or decimals < 0 or decimals > 18
            hint = hint if hard[i] else decimals
        else:
            hard[i] = True
        found += hard[i]
    return found


@kernel
def _put_integer(value: int, out: U1, at: int) -> int:  # pragma: no cover - compiled
    if value < 0:
        out[at] = _MINUS
        at += 1
        value = -value
    digits, power = 1, 10
    while digits < 19 and value >= power:
        digits += 1
        power *= 10
    return _put_padded(value, digits, out, at)


@kernel
def _put_padded(value: int, digits: int, out: U1, at: int) -> int:  # pragma: no cover - compiled
    # Unsigned: a signed division costs twice as much, for it has to round down below zero.
    rest = np.uint64(value)
    for place in range(at + digits - 1, at - 1, -1):
        tens = rest // _TEN
        out[place] = _ZERO + np.uint8(rest - tens * _TEN)
        rest = tens
    return at + digits


@kernel
def _put_decimal(x: float, hint: int, out: U1, at: int) -> tuple[int, int]:  # pragma: no cover - compiled
    """Write a number that is not hard; returns where it ends, and the decimals to try first on the next one."""
    if x < 0.0:
        out[at] = _MINUS
        at += 1
        x = -x
    units, decimals = units_of(x, hint)
    hint = decimals
    while decimals > 0 and units % 10 == 0:
        units //= 10
        decimals -= 1
    power = 1
    for _ in range(decimals):
        power *= 10
    whole = units // power
    at = _put_integer(whole, out, at)
    out[at] = _POINT
    at = _put_padded(units - whole * power, max(decimals, 1), out, at + 1)
    return at, hint


@kernel
def _put_time(ms: int, out: U1, at: int) -> int:  # pragma: no cover - compiled
    """Write ``2026-01-31T12:00:00.000Z``; days to a date after Howard Hinnant's ``civil_from_days``."""
    days = ms // _DAY_MS
    rest = ms - days * _DAY_MS
    shifted = days + 719468
    era = shifted // 146097
    of_era = shifted - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year += era * 400 + (1 if month <= 2 else 0)
    at = _put_padded(year, 4, out, at)
    out[at] = _MINUS
    at = _put_padded(month, 2, out, at + 1)
    out[at] = _MINUS
    at = _put_padded(day, 2, out, at + 1)
    out[at] = 84  # T
    at = _put_padded(rest // 3_600_000, 2, out, at + 1)
    out[at] = 58  # :
    at = _put_padded(rest // 60_000 % 60, 2, out, at + 1)
    out[at] = 58
    at = _put_padded(rest // 1000 % 60, 2, out, at + 1)
    out[at] = _POINT
    at = _put_padded(rest % 1000, 3, out, at + 1)
    out[at] = 90  # Z
    return at + 1


@kernel
def write_rows(
    plan: NDArray[np.int64], whole: NDArray[np.int64], decimal: NDArray[np.float64], between: U1, ends: I8, words: U1,
    word_ends: I8, out: U1,
) -> int:  # fmt: skip  # pragma: no cover - compiled
    """Write every row into ``out``, which has room; returns how many bytes it took.

    A row of ``plan`` is a column: its kind, its row in ``whole`` or ``decimal``, and for a decimal the row in ``whole``
    that says which word stands for a hard one (-1: no such row, or not hard). Before column k comes what ``between``
    holds up to ``ends[k]``, after the last column what is left of it. Word 0 stands for what is missing.
    """
    columns, rows, at = plan.shape[0], out.size and whole.shape[1], 0
    hints = np.zeros(columns, np.int64)
    for i in range(rows):
        literal = 0
        for k in range(columns):
            for place in range(literal, ends[k]):
                out[at] = between[place]
                at += 1
            literal = ends[k]
            kind, index, words_of = plan[k, 0], plan[k, 1], plan[k, 2]
            word = -1
            if kind == _DECIMAL:
                word = whole[words_of, i] if words_of >= 0 else -1
                if word < 0:
                    at, hints[k] = _put_decimal(decimal[index, i], hints[k], out, at)
            elif kind != _WORD:
                value = whole[index, i]
                if value == _MISSING:
                    word = 0
                elif kind == _INTEGER:
                    at = _put_integer(value, out, at)
                else:
                    at = _put_time(value, out, at)
            else:
                word = max(whole[index, i], 0)
            if word >= 0:
                for place in range(word_ends[word - 1] if word else 0, word_ends[word]):
                    out[at] = words[place]
                    at += 1
        for place in range(literal, between.size):
            out[at] = between[place]
            at += 1
    return at
