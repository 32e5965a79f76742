"""The arithmetic of the synthetic market: when trades happen, where prices are, and the trades themselves.

Everything is a pure function of (key, position), drawn with splitmix64 used as a counter-based generator (Steele,
Lea, Flood 2014). Trade counts come from a cascade: a day's count is closed-form, and each hour, minute and second
takes its share of it by integer weights, so the id at any moment costs a few hundred draws. Prices come from midpoint
displacement (Lévy-Ciesielski): a path's value at a second is refined from blocks of 2^22 s, with the conditional mean
and variance of a Brownian motion or, for the spread of a planted pair, of an Ornstein-Uhlenbeck process.
"""

from __future__ import annotations

from math import exp, floor, sqrt

import numpy as np
from numpy.typing import NDArray

from pairscope.market.kernel import kernel
from pairscope.market.ticks import B1, F8, I4, I8

__all__ = [
    "BLOCK_BITS",
    "DAY_S",
    "FLOATS",
    "INTS",
    "KEYS",
    "TOP_BITS",
    "arrange",
    "count_before",
    "count_trades",
    "counts_before",
    "draw",
    "fill_trades",
    "sample_prices",
]

U8 = NDArray[np.uint64]
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
_DICE = 2.0**-48


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
    return (int(np.int64(total)) - 131_070) * (_SQRT3 / 65_536.0)


@kernel
def _before_day(keys: U8, per_day: int, day: int) -> int:  # pragma: no cover - compiled
    """Return the trades before a day: an even flow, with each midnight moved by up to a quarter of a day's count."""
    wiggle = int(np.int64(draw(keys[_DAY], day) >> _S48))
    return per_day * day + ((per_day // 4) * wiggle >> 16)


@kernel
def _split(
    start: int, n: int, at: int, rhythm: I8, own_key: np.uint64, own: I8, common_key: np.uint64, common: I8,
    dice: np.uint64, out: I8,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Fill the counts before each of the parts of a time with ``n`` trades, and, last, before what follows it.

    A part's share is the product of its rhythm, noise of its own and noise that all symbols have in common. Boundaries
    are rounded by one dice, so that a lone trade may come anywhere.
    """
    parts = rhythm.size
    out[0] = 0
    for i in range(parts):
        noise = own[int(np.int64(draw(own_key, at + i) & _XFF))]
        out[i + 1] = out[i] + rhythm[i] * noise * common[int(np.int64(draw(common_key, at + i) & _XFF))]
    share = n / out[parts]
    rest = int(np.int64(dice >> _S16)) * _DICE
    for i in range(parts):
        out[i] = start + int(share * out[i] + rest)
    out[parts] = start + n


@kernel
def _refine(
    keys: U8, common: U8, weights: I8, per_day: int, minute: int, before: int, work: I8,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Bring the counts before each hour, minute and second (rows of ``work``) from minute ``before`` to ``minute``."""
    hours, minutes, seconds, rhythm = work[0], work[1], work[2], work[3, :60]
    hour, day = minute // 60, minute // 1440
    if day != before // 1440:
        start = _before_day(keys, per_day, day)
        n = _before_day(keys, per_day, day + 1) - start
        dice = draw(keys[_DAY], -1 - day)
        _split(start, n, day * 24, weights[4, :24], keys[_HOUR], weights[0], common[_HOUR], weights[6], dice, hours)
    if hour != before // 60:
        for i in range(60):
            rhythm[i] = weights[1, int(np.int64(draw(keys[_FIVE], hour * 12 + i // 5) & _XFF))]
        start, n = hours[hour % 24], hours[hour % 24 + 1] - hours[hour % 24]
        dice = draw(keys[_HOUR], -1 - hour)
        _split(start, n, hour * 60, rhythm, keys[_MINUTE], weights[2], common[_MINUTE], weights[7], dice, minutes)
    start, n = minutes[minute % 60], minutes[minute % 60 + 1] - minutes[minute % 60]
    dice = draw(keys[_MINUTE], -1 - minute)
    if n == 0:
        seconds[:] = start
    else:
        _split(
            start,
            n,
            minute * 60,
            weights[5, :60],
            keys[_SECOND],
            weights[3],
            common[_SECOND],
            weights[8],
            dice,
            seconds,
        )


@kernel
def count_before(keys: U8, common: U8, weights: I8, per_day: int, second: int) -> int:  # pragma: no cover - compiled
    """Return how many trades a symbol had before a second since the origin."""
    work = np.empty((4, 61), np.int64)
    _refine(keys, common, weights, per_day, second // 60, second // 60 - DAY_S, work)
    return int(work[2, second % 60])


@kernel
def counts_before(
    rows: I8, second: int, keys: U8, common: U8, weights: I8, ints: I8,
) -> I8:  # fmt: skip  # pragma: no cover - compiled
    """Return how many trades each of the given symbols had before a second."""
    out = np.empty(rows.size, np.int64)
    for i in range(rows.size):
        s = rows[i]
        out[i] = count_before(keys[s], common, weights, ints[s, _PER_DAY], second)
    return out


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
def _factor(
    factor: int, at: int, block: int, keys: U8, shapes: F8, scales: F8, ready: B1, known: F8,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Fill a common path's values in a block (number ``at`` of this call) unless they are there."""
    if not ready[factor, at]:
        _path(keys[factor], shapes[factor], scales[factor], block, known[factor, at])
        ready[factor, at] = True


@kernel
def _prices(
    s: int, block: int, keys: U8, ints: I8, floats: F8, shapes: F8, scales: F8, market: F8, group: F8, work: F8,
    out: F8,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Fill a symbol's middle price, in ticks, at the 65 seconds of a block, given the common paths."""
    x = ints[s, _LEG_X]
    walker = s if x < 0 else x
    own = shapes.shape[0] - keys.shape[0]
    _path(keys[walker, _PATH], shapes[own + walker], scales[own + walker], block, work)
    base, market_beta, group_beta = (
        floats[walker, _LOG_PRICE],
        floats[walker, _MARKET_BETA],
        floats[walker, _SECTOR_BETA],
    )
    for i in range(65):
        out[i] = base + market_beta * market[i] + group_beta * group[i] + work[i]
    if x >= 0:
        _path(keys[s, _PATH], shapes[own + s], scales[own + s], block, work)
        for i in range(65):
            out[i] = floats[s, _ALPHA] + floats[s, _BETA] * out[i] + work[i]
    start = out[0]
    level = exp(start) / floats[s, _UNIT]
    for i in range(65):
        d = out[i] - start
        out[i] = level * (1.0 + d * (1.0 + d * (0.5 + d * (1.0 / 6.0 + d / 24.0))))


@kernel
def last_trade_id(keys: U8, raw_offset: int, number: int) -> int:  # pragma: no cover - compiled
    """Return the last trade id of the aggregate with that number: one to three trades each, without a hole."""
    return int(raw_offset + 2 * number + int(np.int64(draw(keys[_RAW], number) & _ONE)))


@kernel
def _second(
    s: int, first: int, n: int, before: float, after: float, keys: U8, ints: I8, floats: F8, sizes: I8,
    second_bits: np.uint64, second_ms: int, at: int, row_of: I4, number: I8, trade_ms: I8, price: I8, size: I8,
    maker: B1,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Write the trades of one second: clustered in time, bouncing between bid and ask, with long-tailed sizes.

    A cluster: the share ``a`` of the trades falls into the share ``b`` of the second. A sale is at the highest tick
    not above the bid, a purchase at the lowest not below the ask.
    """
    a = 0.15 + 0.7 / 256.0 * int(np.int64(second_bits & _XFF))
    b = 0.15 + 0.7 / 256.0 * int(np.int64((second_bits >> _S8) & _XFF))
    early, late = b / a, (1.0 - b) / (1.0 - a)
    slope = after - before
    half = floats[s, _HALF_SPREAD] * before
    sold = np.uint64(128 - (24 if slope > 0.0 else -24))
    tick, scale = ints[s, _TICK], ints[s, _SCALE]
    step = 1.0 / n
    key = keys[_TRADE]
    for k in range(n):
        bits = draw(key, first + k)
        x = (k + int(np.int64(bits & _XFFFF)) / 65_536.0) * step
        x = x * early if x < a else b + (x - a) * late
        is_maker = ((bits >> _S16) & _XFF) < sold
        sign = 1.0 if is_maker else -1.0
        ticks = sign * floor(sign * (before + slope * x) - half)
        row_of[at + k] = s
        number[at + k] = first + k
        trade_ms[at + k] = second_ms + int(np.int64(x * 1000.0))
        price[at + k] = max(1, int(np.int64(ticks))) * tick
        lots = sizes[int(np.int64(bits >> _S48)) & 1023] * scale * (192 + int(np.int64((bits >> _S32) & _X7F)))
        size[at + k] = max(1, lots >> 16)
        maker[at + k] = is_maker


@kernel
def fill_trades(
    rows: I8, start_s: int, end_s: int, keys: U8, common: U8, factor_keys: U8, ints: I8, floats: F8,
    weights: I8, sizes: I8, shapes: F8, scales: F8, row_of: I4, number: I8, trade_ms: I8, price: I8, size: I8,
    maker: B1,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Write the trades of the seconds [start_s, end_s) since the origin, one symbol after the other."""
    counts = np.empty((4, 61), np.int64)
    work, prices = np.empty(65), np.empty(65)
    first_block, factors = start_s >> BLOCK_BITS, factor_keys.size
    blocks = (end_s >> BLOCK_BITS) - first_block + 1
    ready, known = np.zeros((factors, blocks), np.bool_), np.empty((factors, blocks, 65))
    at = rows.size - rows.size
    for s in rows:
        own = keys[s]
        group = 1 + ints[s if ints[s, _LEG_X] < 0 else ints[s, _LEG_X], _SECTOR]
        block, before = -1, start_s // 60 - DAY_S
        for minute in range(start_s // 60, (end_s + 59) // 60):
            _refine(own, common, weights, ints[s, _PER_DAY], minute, before, counts)
            before = minute
            seconds = counts[2]
            if seconds[60] == seconds[0]:
                continue
            for second in range(max(start_s, minute * 60), min(end_s, minute * 60 + 60)):
                i = second - minute * 60
                n = seconds[i + 1] - seconds[i]
                if n == 0:
                    continue
                if second >> BLOCK_BITS != block:
                    block = second >> BLOCK_BITS
                    f = block - first_block
                    _factor(at - at, f, block, factor_keys, shapes, scales, ready, known)
                    _factor(group, f, block, factor_keys, shapes, scales, ready, known)
                    market, sector = known[0, f], known[group, f]
                    _prices(s, block, keys, ints, floats, shapes, scales, market, sector, work, prices)
                j = second & 63
                bits = draw(own[_SECOND], -1 - second)
                _second(
                    s, seconds[i], n, prices[j], prices[j + 1], own, ints, floats, sizes, bits, second * 1000,
                    at, row_of, number, trade_ms, price, size, maker,
                )  # fmt: skip
                at += n


@kernel
def sample_prices(
    seconds: I8, keys: U8, factor_keys: U8, ints: I8, floats: F8, shapes: F8, scales: F8,
) -> F8:  # fmt: skip  # pragma: no cover - compiled
    """Return every symbol's middle price, in ticks, at the given seconds since the origin (one row a symbol)."""
    out = np.empty((ints.shape[0], seconds.size))
    work, prices = np.empty(65), np.empty(65)
    ready, known = np.zeros((factor_keys.size, seconds.size), np.bool_), np.empty((factor_keys.size, seconds.size, 65))
    for s in range(ints.shape[0]):
        group = 1 + ints[s if ints[s, _LEG_X] < 0 else ints[s, _LEG_X], _SECTOR]
        for i in range(seconds.size):
            block = seconds[i] >> BLOCK_BITS
            _factor(i - i, i, block, factor_keys, shapes, scales, ready, known)
            _factor(group, i, block, factor_keys, shapes, scales, ready, known)
            _prices(s, block, keys, ints, floats, shapes, scales, known[0, i], known[group, i], work, prices)
            out[s, i] = prices[seconds[i] & 63]
    return out


@kernel
def arrange(
    start_ms: int, end_ms: int, origin_ms: int, keys: U8, ints: I8, row_of: I4, number: I8, trade_ms: I8,
    price: I8, size: I8, maker: B1, out_row: I4, out: I8, out_maker: B1,
) -> int:  # fmt: skip  # pragma: no cover - compiled
    """Write the trades of [start_ms, end_ms) by time, in their order within a millisecond; return how many.

    Rows of ``out``: time since the epoch, aggregate id, first and last trade id, price, size.
    """
    places = np.zeros(end_ms - start_ms + 1, np.int64)
    for t in trade_ms:
        if start_ms <= t < end_ms:
            places[t - start_ms + 1] += 1
    for i in range(1, places.size):
        places[i] += places[i - 1]
    total = int(places[-1])
    for i in range(trade_ms.size):
        t = trade_ms[i]
        if t < start_ms or t >= end_ms:
            continue
        place = places[t - start_ms]
        places[t - start_ms] += 1
        s = row_of[i]
        out_row[place] = s
        out[0, place] = t + origin_ms
        out[1, place] = ints[s, _AGG] + number[i]
        out[2, place] = last_trade_id(keys[s], ints[s, _RAW_OFFSET], number[i] - 1) + 1
        out[3, place] = last_trade_id(keys[s], ints[s, _RAW_OFFSET], number[i])
        out[4, place] = price[i]
        out[5, place] = size[i]
        out_maker[place] = maker[i]
    return total


@kernel
def count_trades(klines: I8, keys: U8, raw_offset: int) -> None:  # pragma: no cover - compiled
    """Replace the numbers of each kline's first and last aggregate by trade ids, and their count by that of trades."""
    for row in klines:
        if row[9] > 0:
            row[10] = last_trade_id(keys, raw_offset, row[10] - 1) + 1
            row[11] = last_trade_id(keys, raw_offset, row[11])
            row[9] = row[11] - row[10] + 1
