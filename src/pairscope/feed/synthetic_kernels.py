"""The arithmetic of the synthetic market: when trades happen, where prices are, and the trades themselves.

Everything is a pure function of (key, position), drawn with splitmix64 used as a counter-based generator (Steele,
Lea, Flood 2014). Trade counts come from a cascade: a day's count is closed-form, and each hour, minute and second
takes its share of it by integer weights, so the id at any moment costs a few hundred draws. Prices come from midpoint
displacement (Lévy-Ciesielski): a path's value at a second is refined from blocks of 2^22 s, with the conditional mean
and variance of a Brownian motion or, for the spread of a planted pair, of an Ornstein-Uhlenbeck process.
"""

from __future__ import annotations

from math import ceil, exp, floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairscope.market.kernel import kernel
from pairscope.market.ticks import B1, F8, I8

__all__ = [
    "BLOCK_BITS",
    "DAY_S",
    "FLOATS",
    "INTS",
    "KEYS",
    "TOP_BITS",
    "bars_of_minutes",
    "count_before",
    "draw",
    "fill_trades",
    "last_trade_id",
    "second_of",
]

U8 = NDArray[np.uint64]
Int = int | np.signedinteger[Any]
TOP_BITS = 22
BLOCK_BITS = 6
DAY_S = 86_400

# Columns of the parameter tables.
KEYS = ("day", "hour", "five", "minute", "second", "trade", "path", "raw")
_DAY, _HOUR, _FIVE, _MINUTE, _SECOND, _TRADE, _PATH, _RAW = range(8)
INTS = ("per_day", "agg_offset", "raw_offset", "tick", "size_scale", "sector", "leg_x")
_PER_DAY, _AGG, _RAW_OFFSET, _TICK, _SCALE, _SECTOR, _LEG_X = range(7)
FLOATS = ("log_price", "market_beta", "sector_beta", "alpha", "beta", "half_spread", "unit")
_LOG_PRICE, _MARKET_BETA, _SECTOR_BETA, _ALPHA, _BETA, _HALF_SPREAD, _UNIT = range(7)

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_ONE, _S8, _S16, _S32, _S48 = np.uint64(1), np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(48)
_X7F, _XFF, _X3FF, _XFFFF, _XFFFFFFFF = (np.uint64(2**bits - 1) for bits in (7, 8, 10, 16, 32))
_SQRT3 = sqrt(3.0)


@kernel
def draw(key: np.uint64, position: int) -> np.uint64:  # pragma: no cover - compiled
    """Return 64 random bits that depend on nothing but the key and the position."""
    z = key + np.uint64(position) * _GAMMA
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@kernel
def _normal(bits: np.uint64) -> float:  # pragma: no cover - compiled
    """Turn 64 bits into a variate of mean 0 and variance 1: the sum of four uniforms, near enough to normal."""
    total = (bits & _XFFFF) + ((bits >> _S16) & _XFFFF) + ((bits >> _S32) & _XFFFF) + (bits >> _S48)
    return (np.int64(total) - 131_070) * (_SQRT3 / 65_536.0)


@kernel
def _share(n: Int, part: Int, total: Int, dice: np.uint64) -> Int:  # pragma: no cover - compiled
    """Return how many of ``n`` fall before the share ``part / total``, rounded by a dice that is the same for all."""
    return (n * part + np.int64(dice >> _ONE) % total) // total


@kernel
def _before_day(keys: U8, per_day: Int, day: Int) -> Int:  # pragma: no cover - compiled
    """Return the trades before a day: an even flow, with each midnight moved by up to a quarter of a day's count."""
    wiggle = np.int64(draw(keys[_DAY], day) >> _S48)
    return per_day * day + ((per_day // 4) * wiggle >> 16)


@kernel
def _hours(keys: U8, common: U8, weights: I8, day: int, per_day: int, out: I8) -> None:  # pragma: no cover - compiled
    """Fill the counts before each hour of a day (25 values)."""
    start = _before_day(keys, per_day, day)
    n = _before_day(keys, per_day, day + 1) - start
    out[0] = 0
    for h in range(24):
        at = day * 24 + h
        own = weights[0, np.int64(draw(keys[_HOUR], at) & _XFF)]
        out[h + 1] = out[h] + weights[4, h] * own * weights[1, np.int64(draw(common[_HOUR], at) & _XFF)]
    total = out[24]
    dice = draw(keys[_DAY], -1 - day)
    for h in range(25):
        out[h] = start + _share(n, out[h], total, dice)


@kernel
def _minutes(
    keys: U8, common: U8, weights: I8, hour: Int, start: Int, n: Int, out: I8
) -> None:  # pragma: no cover - compiled
    """Fill the counts before each minute of an hour (61 values)."""
    out[0] = 0
    for m in range(60):
        at = hour * 60 + m
        own = weights[2, np.int64(draw(keys[_MINUTE], at) & _XFF)]
        slow = weights[1, np.int64(draw(keys[_FIVE], at // 5) & _XFF)]
        out[m + 1] = out[m] + own * slow * weights[2, np.int64(draw(common[_MINUTE], at) & _XFF)]
    total = out[60]
    dice = draw(keys[_HOUR], -1 - hour)
    for m in range(61):
        out[m] = start + _share(n, out[m], total, dice)


@kernel
def _seconds(
    keys: U8, common: U8, weights: I8, minute: Int, start: Int, n: Int, out: I8
) -> None:  # pragma: no cover - compiled
    """Fill the counts before each second of a minute (61 values)."""
    out[0] = 0
    for s in range(60):
        at = minute * 60 + s
        own = weights[3, np.int64(draw(keys[_SECOND], at) & _XFF)]
        out[s + 1] = out[s] + own * weights[2, np.int64(draw(common[_SECOND], at) & _XFF)]
    total = out[60]
    dice = draw(keys[_MINUTE], -1 - minute)
    for s in range(61):
        out[s] = start + _share(n, out[s], total, dice)


@kernel
def count_before(keys: U8, common: U8, weights: I8, per_day: int, second: int) -> int:  # pragma: no cover - compiled
    """Return how many trades a symbol had before a second since the origin."""
    if second <= 0:
        return 0
    hours, parts = np.empty(25, np.int64), np.empty(61, np.int64)
    _hours(keys, common, weights, second // DAY_S, per_day, hours)
    h = second % DAY_S // 3600
    if second % 3600 == 0:
        return int(hours[h])
    _minutes(keys, common, weights, second // 3600, hours[h], hours[h + 1] - hours[h], parts)
    m = second % 3600 // 60
    if second % 60 == 0:
        return int(parts[m])
    start, n = parts[m], parts[m + 1] - parts[m]
    _seconds(keys, common, weights, second // 60, start, n, parts)
    return int(parts[second % 60])


@kernel
def second_of(keys: U8, common: U8, weights: I8, per_day: int, number: int) -> int:  # pragma: no cover - compiled
    """Return the second in which the trade with that number (0 the first) happens."""
    hours, parts = np.empty(25, np.int64), np.empty(61, np.int64)
    day = max(0, number // per_day - 1)
    while _before_day(keys, per_day, day + 1) <= number:
        day += 1
    _hours(keys, common, weights, day, per_day, hours)
    h = np.searchsorted(hours[1:25], number, side="right")
    _minutes(keys, common, weights, day * 24 + h, hours[h], hours[h + 1] - hours[h], parts)
    m = np.searchsorted(parts[1:61], number, side="right")
    minute = (day * 24 + h) * 60 + m
    start, n = parts[m], parts[m + 1] - parts[m]
    _seconds(keys, common, weights, minute, start, n, parts)
    return int(minute * 60 + np.searchsorted(parts[1:61], number, side="right"))


@kernel
def _path(key: np.uint64, shape: F8, scale: F8, block: int, out: F8) -> None:  # pragma: no cover - compiled
    """Fill a path's values at the 65 seconds from a block's first to the next block's first.

    ``shape`` holds the weight of both neighbours at each level, ``scale`` the deviation at each level and, last, that
    of the values where the blocks of 2^22 s meet.
    """
    low = (block << BLOCK_BITS) >> TOP_BITS << TOP_BITS
    target = block << BLOCK_BITS
    size = 1 << TOP_BITS
    left = scale[TOP_BITS] * _normal(draw(key, low))
    right = scale[TOP_BITS] * _normal(draw(key, low + size))
    for level in range(TOP_BITS - BLOCK_BITS):
        size >>= 1
        middle = shape[level] * (left + right) + scale[level] * _normal(draw(key, low + size))
        if target < low + size:
            right = middle
        else:
            left = middle
            low += size
    out[0], out[64] = left, right
    level = TOP_BITS - BLOCK_BITS
    while size > 1:
        size >>= 1
        for i in range(size, 64, 2 * size):
            noise = scale[level] * _normal(draw(key, target + i))
            out[i] = shape[level] * (out[i - size] + out[i + size]) + noise
        level += 1


@kernel
def _prices(
    s: int,
    block: int,
    keys: U8,
    factor_keys: U8,
    ints: I8,
    floats: F8,
    shapes: F8,
    scales: F8,
    work: F8,
    out: F8,
) -> None:  # pragma: no cover - compiled
    """Fill a symbol's middle price, in ticks, at the 65 seconds of a block."""
    x = ints[s, _LEG_X]
    walker = s if x < 0 else x
    sectors = factor_keys.size - 1
    sector = 1 + ints[walker, _SECTOR]
    own = 1 + sectors + walker
    _path(factor_keys[0], shapes[0], scales[0], block, work[0])
    _path(factor_keys[sector], shapes[sector], scales[sector], block, work[1])
    _path(keys[walker, _PATH], shapes[own], scales[own], block, work[2])
    base, market, group = floats[walker, _LOG_PRICE], floats[walker, _MARKET_BETA], floats[walker, _SECTOR_BETA]
    for i in range(65):
        out[i] = base + market * work[0, i] + group * work[1, i] + work[2, i]
    if x >= 0:
        own = 1 + sectors + s
        _path(keys[s, _PATH], shapes[own], scales[own], block, work[2])
        for i in range(65):
            out[i] = floats[s, _ALPHA] + floats[s, _BETA] * out[i] + work[2, i]
    for i in range(65):
        out[i] = exp(out[i]) / floats[s, _UNIT]


@kernel
def last_trade_id(keys: U8, raw_offset: int, number: int) -> int:  # pragma: no cover - compiled
    """Return the last trade id of the aggregate with that number: one to three trades each, without a hole."""
    return int(raw_offset + 2 * number + np.int64(draw(keys[_RAW], number) & _ONE))


@kernel
def _second(
    s: int,
    number: int,
    n: int,
    before: float,
    after: float,
    keys: U8,
    ints: I8,
    floats: F8,
    sizes: I8,
    second_bits: np.uint64,
    at: int,
    second_ms: int,
    trade_ms: I8,
    price: I8,
    size: I8,
    maker: B1,
) -> None:  # pragma: no cover - compiled
    """Write the trades of one second: clustered in time, bouncing between bid and ask, with long-tailed sizes.

    A cluster: the share ``a`` of the trades falls into the share ``b`` of the second.
    """
    a = 0.15 + 0.7 / 256.0 * np.int64(second_bits & _XFF)
    b = 0.15 + 0.7 / 256.0 * np.int64((second_bits >> _S8) & _XFF)
    first, second = b / a, (1.0 - b) / (1.0 - a)
    slope = after - before
    half = floats[s, _HALF_SPREAD] * before
    sold = np.uint64(128 - (24 if slope > 0.0 else -24))
    tick, scale = ints[s, _TICK], ints[s, _SCALE]
    step = 1.0 / n
    for k in range(n):
        bits = draw(keys[_TRADE], number + k)
        x = (k + np.int64(bits & _XFFFF) / 65_536.0) * step
        x = x * first if x < a else b + (x - a) * second
        middle = before + slope * x
        is_maker = ((bits >> _S16) & _XFF) < sold
        ticks = floor(middle - half) if is_maker else ceil(middle + half)
        trade_ms[at + k] = second_ms + np.int64(x * 1000.0)
        price[at + k] = max(1, np.int64(ticks)) * tick
        lots = sizes[np.int64(bits >> _S48) & 1023] * scale * (192 + np.int64((bits >> _S32) & _X7F))
        size[at + k] = max(1, lots >> 16)
        maker[at + k] = is_maker


@kernel
def fill_trades(
    s: int,
    start_s: int,
    end_s: int,
    keys: U8,
    common: U8,
    factor_keys: U8,
    ints: I8,
    floats: F8,
    weights: I8,
    sizes: I8,
    shapes: F8,
    scales: F8,
    at: int,
    number_out: I8,
    trade_ms: I8,
    price: I8,
    size: I8,
    maker: B1,
) -> int:  # pragma: no cover - compiled
    """Write a symbol's trades of the seconds [start_s, end_s) since the origin from ``at`` on; return the end."""
    hours, minutes, seconds = np.empty(25, np.int64), np.empty(61, np.int64), np.empty(61, np.int64)
    work, prices = np.empty((3, 65)), np.empty(65)
    own = keys[s]
    block_now = -1
    hour_now = -1
    day_now = -1
    for minute in range(start_s // 60, (end_s + 59) // 60):
        hour = minute // 60
        if hour != hour_now:
            if hour // 24 != day_now:
                day_now = hour // 24
                _hours(own, common, weights, day_now, ints[s, _PER_DAY], hours)
            h = hour % 24
            hour_now = hour
            _minutes(own, common, weights, hour, hours[h], hours[h + 1] - hours[h], minutes)
        m = minute % 60
        if minutes[m + 1] == minutes[m]:
            continue
        _seconds(own, common, weights, minute, minutes[m], minutes[m + 1] - minutes[m], seconds)
        for second in range(max(start_s, minute * 60), min(end_s, minute * 60 + 60)):
            i = second % 60
            n = seconds[i + 1] - seconds[i]
            if n == 0:
                continue
            if second >> BLOCK_BITS != block_now:
                block_now = second >> BLOCK_BITS
                _prices(s, block_now, keys, factor_keys, ints, floats, shapes, scales, work, prices)
            j = second & 63
            bits = draw(own[_SECOND], -1 - second)
            _second(
                s, seconds[i], n, prices[j], prices[j + 1], own, ints, floats, sizes, bits,
                at, second * 1000, trade_ms, price, size, maker,
            )  # fmt: skip
            for k in range(n):
                number_out[at + k] = seconds[i] + k
            at += n
    return at


@kernel
def bars_of_minutes(
    s: int,
    start_s: int,
    minutes: int,
    keys: U8,
    common: U8,
    factor_keys: U8,
    ints: I8,
    floats: F8,
    weights: I8,
    sizes: I8,
    shapes: F8,
    scales: F8,
    chunk: int,
    capacity: int,
    out: I8,
) -> None:  # pragma: no cover - compiled
    """Fold a symbol's trades into one row of ``out`` a minute (columns as in Candles; rows without a trade stay 0).

    ``chunk`` minutes are made at a time, in a buffer for ``capacity`` trades.
    """
    number, trade_ms = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    price, size, maker = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity, np.bool_)
    raw_offset = ints[s, _RAW_OFFSET]
    for c in range(0, minutes, chunk):
        begin, end = start_s + 60 * c, start_s + 60 * min(minutes, c + chunk)
        n = fill_trades(
            s, begin, end, keys, common, factor_keys, ints, floats, weights, sizes, shapes, scales,
            0, number, trade_ms, price, size, maker,
        )  # fmt: skip
        for k in range(n):
            row = out[(trade_ms[k] // 1000 - start_s) // 60]
            p, q = price[k], size[k]
            if row[11] == 0:
                row[1], row[2], row[3] = p, p, p
                row[10] = last_trade_id(keys[s], raw_offset, number[k] - 1) + 1
                row[11] = 1
            row[2] = max(row[2], p)
            row[3] = min(row[3], p)
            row[4] = p
            row[5] += q
            row[6] += p * q
            if not maker[k]:
                row[7] += q
                row[8] += p * q
            row[9] = number[k]
        for i in range(c, min(minutes, c + chunk)):
            row = out[i]
            if row[11] == 1:
                row[11] = last_trade_id(keys[s], raw_offset, row[9])
                row[9] = row[11] - row[10] + 1
