"""A seeded market whose trades are a pure function of (seed, time), with known hedge ratios and half-lives.

Any process at any moment generates the same trades for the same interval, so a restart, a second process or a shard
sees the same market, ids run on, and time away can be back-filled as from an exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError, UnknownSymbol
from pairscope.feed.agg_trades import (
    AggTrades,
    Klines,
    Listing,
    concat_trades,
    flatten,
    fold_klines,
    klines_of,
    regroup_klines,
)
from pairscope.feed.synthetic_kernels import (
    DAY_S,
    FLOATS,
    INTS,
    KEYS,
    TOP_BITS,
    arrange,
    count_before,
    count_trades,
    counts_before,
    draw,
    fill_trades,
    sample_prices,
)
from pairscope.feed.synthetic_universe import MAX_SYMBOLS, SECTORS, PlantedPair, Universe, make_universe
from pairscope.market.bars import timeframe_ns
from pairscope.market.symbols import normalize_symbol
from pairscope.market.ticks import B1, F8, I4, I8

__all__ = ["ORIGIN_S", "PlantedPair", "SyntheticMarket"]

ORIGIN_S = 1_577_836_800
"""2020-01-01 UTC, in seconds: when the synthetic market was listed."""

_MS = 1_000_000
_ORIGIN_MS = ORIGIN_S * 1000
_HOUR_MS, _MINUTE_MS = 3_600_000, 60_000
_MARKET_VOLATILITY, _SECTOR_VOLATILITY = 0.022, 0.013
_CHUNK_S = 60
_HOURS_KEPT = 2048
_JITTERS = np.arange(196, 320, 16)


class SyntheticMarket:
    """A market of up to 1,000 symbols that has been trading since 2020 and never stops.

    ``symbols`` counts them, busiest first. ``ticks_per_second`` sets the total rate of aggregate trades and keeps it
    all day (None: about 1,900 for 600 symbols, more by day than by night). Prices follow a market factor, eight
    sectors and a part of their own; ``pairs`` lists the planted cointegrated pairs. The market is that of
    (seed, rate): where a rate is stated it also depends on ``symbols``. About 100 ns a trade, 20 ns within klines.
    """

    def __init__(self, *, seed: int = 7, symbols: int = 600, ticks_per_second: float | None = None) -> None:
        if not 1 <= symbols <= MAX_SYMBOLS:
            raise InputError(f"symbols: must be 1 to {MAX_SYMBOLS}, is {symbols}", loc="symbols")
        if ticks_per_second is not None and not 0 < ticks_per_second <= 1e6:
            raise InputError(f"rate: must be above 0 and at most 1,000,000, is {ticks_per_second}", loc="rate")
        if not 0 <= seed < 1 << 63:
            raise InputError(f"seed: must be from 0 to 2^63 - 1, is {seed}", loc="seed")
        universe = make_universe(symbols, seed, ticks_per_second)
        self.seed = seed
        self.listings: tuple[Listing, ...] = universe.listings
        self.symbols: tuple[str, ...] = tuple(listing.symbol for listing in universe.listings)
        self.pairs: tuple[PlantedPair, ...] = universe.pairs
        self._row = {name: i for i, name in enumerate(self.symbols)}
        root = _key(np.uint64(seed), 0)
        self._keys = _key_table(root, range(symbols))
        self._common = _key_table(root, [-1])[0]
        self._factor_keys = np.array([_key(root, -100 - k) for k in range(1 + SECTORS)], np.uint64)
        self._ints, self._floats = _parameters(universe, self._keys)
        self._weights, self._sizes = _weight_tables(steady=ticks_per_second is not None), _size_table()
        self._shapes, self._scales = _path_tables(universe)
        scale = self._ints[:, INTS.index("size_scale")].tolist()
        self._mean_size = np.array([np.maximum(1, np.outer(self._sizes, _JITTERS * k) >> 16).mean() for k in scale])
        self._hours: dict[tuple[int, int], I8] = {}

    def row(self, symbol: str) -> int:
        """Return a symbol's rank; raises ``UnknownSymbol``."""
        row = self._row.get(normalize_symbol(symbol))
        if row is None:
            raise UnknownSymbol(symbol)
        return row

    def trades(self, start_ns: int, end_ns: int, symbols: Sequence[str] | None = None) -> AggTrades:
        """Return every trade with an event time in [start_ns, end_ns), by (time, rank, id); of all symbols by default.

        The same whatever the interval it is asked for in. O(trades).
        """
        rows = range(len(self.symbols)) if symbols is None else sorted(self.row(symbol) for symbol in symbols)
        start_ms, end_ms = (max(-(-ns // _MS) - _ORIGIN_MS, 0) for ns in (start_ns, end_ns))
        parts = []
        at = start_ms
        while at < end_ms:
            upto = min(end_ms, (at // 1000 // _CHUNK_S + 1) * _CHUNK_S * 1000)
            parts.append(self._interval(np.array(rows, np.int64), at, upto))
            at = upto
        return concat_trades(parts)

    def _interval(self, rows: I8, start_ms: int, end_ms: int) -> AggTrades:
        """Return the trades of [start_ms, end_ms) since the origin, in the order of the tape."""
        columns = self._filled(rows, start_ms // 1000, _ceil(end_ms, 1000))
        n = columns[0].size
        row, rest, maker = np.empty(n, np.int32), np.empty((6, n), np.int64), np.empty(n, np.bool_)
        n = arrange(start_ms, end_ms, _ORIGIN_MS, self._keys, self._ints, *columns, row, rest, maker)
        t, agg_id, first_id, last_id, price, size = rest[:, :n]
        return AggTrades(row[:n], t, t, agg_id, first_id, last_id, price, size, size, maker[:n])

    def _filled(self, rows: I8, start_s: int, end_s: int) -> tuple[I4, I8, I8, I8, I8, B1]:
        """Return row, number, time, price, size and side of the trades of whole seconds, symbol by symbol."""
        start_s = max(start_s, DAY_S)
        end_s = max(start_s, end_s)
        total = int((self._counts(rows, end_s) - self._counts(rows, start_s)).sum())
        number, trade_ms, price, size = np.empty((4, total), np.int64)
        columns = np.empty(total, np.int32), number, trade_ms, price, size, np.empty(total, np.bool_)
        fill_trades(
            rows,
            start_s,
            end_s,
            self._keys,
            self._common,
            self._factor_keys,
            self._ints,
            self._floats,
            self._weights,
            self._sizes,
            self._shapes,
            self._scales,
            *columns,
        )
        return columns

    def _counts(self, rows: I8, second: int) -> I8:
        return counts_before(rows, max(second, DAY_S), self._keys, self._common, self._weights, self._ints)

    def _of_symbol(self, row: int, start_s: int, end_s: int) -> AggTrades:
        """Return one symbol's trades of whole seconds since the origin."""
        if end_s <= start_s:
            return AggTrades.empty()
        return self._interval(np.array([row]), start_s * 1000, end_s * 1000)

    def _count(self, row: int, second: int) -> int:
        return int(
            count_before(self._keys[row], self._common, self._weights, int(self._ints[row, 0]), max(second, DAY_S))
        )

    def last_id(self, symbol: str, time_ns: int) -> int:
        """Return the id of a symbol's last aggregate trade before a moment. O(1)."""
        row = self.row(symbol)
        ms = -(-time_ns // _MS) - _ORIGIN_MS
        second = ms // 1000
        number = self._count(row, second)
        if ms % 1000:
            inside = self._of_symbol(row, second, second + 1)
            number += int(np.count_nonzero(inside.trade_ms - _ORIGIN_MS < ms))
        return int(self._ints[row, INTS.index("agg_offset")]) + number - 1

    def by_id(self, symbol: str, from_id: int, limit: int, until_ns: int) -> AggTrades:
        """Return up to ``limit`` trades from an id on (inclusive), earlier than ``until_ns``."""
        row = self.row(symbol)
        offset = int(self._ints[row, INTS.index("agg_offset")])
        until_ms = -(-until_ns // _MS)
        number = max(from_id - offset, self._count(row, DAY_S))
        if number > self.last_id(symbol, until_ns) - offset:
            return AggTrades.empty()
        start = self._second_of(row, number)
        end = self._second_of(row, number + limit - 1) + 1
        found = self._of_symbol(row, start, min(end, -(-(until_ms - _ORIGIN_MS) // 1000)))
        return found.take((found.agg_id >= offset + number) & (found.trade_ms < until_ms)).take(slice(limit))

    def by_time(self, symbol: str, start_ns: int, end_ns: int, limit: int) -> AggTrades:
        """Return the first ``limit`` trades of a symbol in [start_ns, end_ns)."""
        row = self.row(symbol)
        start_ms, end_ms = -(-start_ns // _MS), -(-end_ns // _MS)
        start_s = max((start_ms - _ORIGIN_MS) // 1000, DAY_S)
        end = self._second_of(row, self._count(row, start_s + 1) + limit) + 1
        found = self._of_symbol(row, start_s, min(end, -(-(end_ms - _ORIGIN_MS) // 1000)))
        return found.take((found.trade_ms >= start_ms) & (found.trade_ms < end_ms)).take(slice(limit))

    def _second_of(self, row: int, number: int) -> int:
        """Return the second in which the trade with that number (0 the first ever) happens. O(log seconds of a day)."""
        day = max(1, number // int(self._ints[row, 0]))
        low, high = (day - 1) * DAY_S, (day + 2) * DAY_S
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._count(row, middle) > number else (middle, high)
        return low

    def klines(self, symbol: str, timeframe: str, start_ns: int, end_ns: int) -> Klines:
        """Return the klines that open in [start_ns, end_ns), exactly those of the trades; flat where none happened.

        Cached by hour; about 10 ns a trade where it is not.
        """
        row, step_ms = self.row(symbol), timeframe_ns(timeframe) // _MS
        listed_ms = _ORIGIN_MS + DAY_S * 1000
        start_ms = max(_ceil(start_ns, step_ms * _MS) * step_ms, _ceil(listed_ms, step_ms) * step_ms)
        end_ms = _ceil(end_ns, step_ms * _MS) * step_ms
        if end_ms <= start_ms:
            return Klines.of_table(np.empty((0, 12), np.int64))
        before = self._last_price(row, symbol, start_ms)
        if step_ms < _MINUTE_MS:
            trades = self._of_symbol(row, (start_ms - _ORIGIN_MS) // 1000, (end_ms - _ORIGIN_MS) // 1000)
            return klines_of(trades, step_ms=step_ms, start_ms=start_ms, end_ms=end_ms, before=before)
        first, last = start_ms // _HOUR_MS, (end_ms - 1) // _HOUR_MS
        table = np.concatenate([self._hour(row, hour) for hour in range(first, last + 1)])
        table = table[(start_ms - first * _HOUR_MS) // _MINUTE_MS : (end_ms - first * _HOUR_MS) // _MINUTE_MS].copy()
        flatten(table, start_ms, _MINUTE_MS, before)
        minutes = Klines.of_table(table)
        return minutes if step_ms == _MINUTE_MS else regroup_klines(minutes, step_ms)

    def ticker_24h(self, time_ns: int) -> Klines:
        """Return, one row a symbol, the 24 hours up to a moment: what a whole market's ticker needs, in 0.1 s.

        Counts and trade ids are exact. Prices are the middle's at full hours, volumes follow from the hours' counts
        and the mean size of a trade: within 1 % for all but thin symbols; :meth:`klines` has the exact ones.
        """
        end_s = time_ns // 1_000_000_000 - ORIGIN_S
        hours = np.maximum(end_s - 3600 * np.arange(24, -1, -1), DAY_S)
        rows = np.arange(len(self.symbols))
        counts = np.column_stack([self._counts(rows, second) for second in hours.tolist()])
        tick = self._ints[:, INTS.index("tick")]
        price = sample_prices(
            hours, self._keys, self._factor_keys, self._ints, self._floats, self._shapes, self._scales
        )
        units = np.maximum(1, np.rint(price)).astype(np.int64) * tick[:, None]
        traded = np.diff(counts, axis=1)
        sizes = traded * self._mean_size[:, None]
        quote = sizes * (units[:, 1:] + units[:, :-1]) / 2
        table = np.zeros((rows.size, 12), np.int64)
        table[:, 0] = time_ns // _MS - DAY_S * 1000
        table[:, 1], table[:, 4] = units[:, 0], units[:, -1]
        table[:, 2], table[:, 3] = units.max(axis=1), units.min(axis=1)
        table[:, 5], table[:, 6] = np.rint(sizes.sum(axis=1)), np.rint(quote.sum(axis=1))
        table[:, 7:9] = table[:, 5:7] // 2
        table[:, 9] = traded.sum(axis=1)
        table[:, 10], table[:, 11] = counts[:, 0], counts[:, -1] - 1
        for row in rows.tolist():
            count_trades(table[row : row + 1], self._keys[row], int(self._ints[row, 2]))
        return Klines.of_table(table)

    def _last_price(self, row: int, symbol: str, before_ms: int) -> int:
        """Return the price of the last trade before a moment, 0 where there is none."""
        last = self.last_id(symbol, before_ms * _MS)
        found = self.by_id(symbol, last, 1, before_ms * _MS)
        return int(found.price[0]) if len(found) else 0

    def _hour(self, row: int, hour: int) -> I8:
        """Return the 60 minutes of an hour since the epoch; minutes without a trade are rows of 0."""
        known = self._hours.pop((row, hour), None)
        if known is None:
            known = np.zeros((60, 12), np.int64)
            start_s = hour * 3600 - ORIGIN_S
            _, number, trade_ms, price, size, maker = self._filled(np.array([row]), start_s, start_s + 3600)
            fold_klines(start_s * 1000, _MINUTE_MS, trade_ms, price, size, maker, number, number, known)
            count_trades(known, self._keys[row], int(self._ints[row, 2]))
            while len(self._hours) >= _HOURS_KEPT:
                self._hours.pop(next(iter(self._hours)), None)
        self._hours[row, hour] = known
        return known


def _ceil(value: int, unit: int) -> int:
    """Return how many units it takes to reach a value."""
    return -(-value // unit)


def _key(key: np.uint64, position: int) -> np.uint64:
    """Return a key made of a key; typed anew, because a kernel hands out plain integers."""
    return np.uint64(draw(key, position))


def _key_table(root: np.uint64, rows: Sequence[int]) -> NDArray[np.uint64]:
    """Return the keys of every process of the given symbols (-1: what all share)."""
    return np.array([[_key(_key(root, 1 + row), 1 + k) for k in range(len(KEYS))] for row in rows], np.uint64)


def _parameters(universe: Universe, keys: NDArray[np.uint64]) -> tuple[I8, F8]:
    """Return the integer and the float parameters of the kernels, one row a symbol."""
    n = len(universe.listings)
    ints, floats = np.zeros((n, len(INTS)), np.int64), np.zeros((n, len(FLOATS)))
    bits = np.array([_key(key, 0) for key in keys[:, KEYS.index("raw")]], np.uint64)
    for i, listing in enumerate(universe.listings):
        per_day = max(40, round(float(universe.rate[i]) * DAY_S))
        unit = 10.0**-listing.price_decimals * listing.tick
        offset = int(bits[i] % np.uint64(1_000_000))
        scale = max(1, round(float(universe.typical_size[i]) * 256))
        ints[i] = per_day, offset, 2 * offset, listing.tick, scale, universe.sector[i], universe.leg_x[i]
        floats[i] = (
            universe.log_price[i],
            universe.market_beta[i],
            universe.sector_beta[i],
            universe.alpha[i],
            universe.beta[i],
            universe.half_spread[i],
            unit,
        )
    return ints, floats


def _weight_tables(*, steady: bool) -> I8:
    """Return the integer shares by which a count is split, rows of 256.

    Rows 0 to 3: noise of a symbol's own by hour, five minutes, minute and second; 4: the hours of a day; 5: no rhythm;
    6 to 8: noise that all symbols have in common by hour, minute and second. ``steady`` leaves out what moves the whole
    market's rate for longer than a second.
    """
    tables = np.full((9, 256), 64, np.int64)
    middle = _normal_quantiles(256)
    sigmas = {0: 0.20, 1: 0.30, 2: 0.45, 3: 0.85} | ({8: 0.2} if steady else {6: 0.12, 7: 0.25, 8: 0.45})
    for row, sigma in sigmas.items():
        tables[row] = np.maximum(1, np.rint(64.0 * np.exp(sigma * middle - sigma * sigma / 2)))
    if not steady:
        hours = np.arange(24)
        tables[4, :24] = np.rint(64.0 * (1.0 + 0.25 * np.cos((hours - 14.5) / 24.0 * 2.0 * np.pi)))
    return tables


def _size_table() -> I8:
    """Return 1,024 quantiles of the size of a trade: lognormal, its median 8."""
    return np.maximum(1, np.rint(8.0 * np.exp(1.5 * _normal_quantiles(1024)))).astype(np.int64)


def _normal_quantiles(n: int) -> F8:
    """Return the normal distribution's quantiles at the middles of ``n`` equal shares."""
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])


def _path_tables(universe: Universe) -> tuple[F8, F8]:
    """Return the displacement weights and deviations of every path: the market, the sectors, then each symbol."""
    paths = [_brownian(_MARKET_VOLATILITY)] + [_brownian(_SECTOR_VOLATILITY)] * SECTORS
    for i in range(len(universe.listings)):
        if universe.leg_x[i] < 0:
            paths.append(_brownian(float(universe.volatility[i])))
        else:
            paths.append(_reverting(float(universe.half_life_s[i]), float(universe.spread_std[i])))
    shapes, scales = zip(*paths, strict=True)
    return np.array(shapes), np.array(scales)


def _brownian(volatility: float) -> tuple[list[float], list[float]]:
    """Return a Brownian motion's bridge: the middle of 2h seconds has variance sigma^2 h / 2 around the mean."""
    per_second = volatility / sqrt(DAY_S)
    halves = [2.0 ** (TOP_BITS - 1 - level) for level in range(TOP_BITS)]
    return [0.5] * TOP_BITS, [per_second * sqrt(half / 2.0) for half in halves] + [volatility * 3.0]


def _reverting(half_life_s: float, deviation: float) -> tuple[list[float], list[float]]:
    """Return an Ornstein-Uhlenbeck bridge: with rho = 2^(-h / half-life) over h, mean rho (l + r) / (1 + rho^2)."""
    shapes, scales = [], []
    for level in range(TOP_BITS):
        rho = 2.0 ** -(2.0 ** (TOP_BITS - 1 - level) / half_life_s)
        shapes.append(rho / (1.0 + rho * rho))
        scales.append(deviation * sqrt((1.0 - rho * rho) / (1.0 + rho * rho)))
    return shapes, [*scales, deviation]
