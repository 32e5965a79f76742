"""What the replay server can play: recordings, stored ticks and the synthetic market, behind one interface.

Times are exchange milliseconds. A trade is *printed* at its event time; every method that takes ``until_ms`` sees what
was printed before it and nothing later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from pairscope.errors import InputError
from pairscope.feed.agg_trades import AggTrades, Candles, Listing, candles_of, concat_trades, regroup_candles
from pairscope.feed.synthetic import ORIGIN_S, SyntheticMarket
from pairscope.feed.tape import PublicFrame, Tape, load_tape
from pairscope.market.ticks import I8, TickBatch

__all__ = ["MarketSource", "SyntheticSource", "TapeSource", "interval_ms", "open_source", "tape_of_ticks"]

_MS = 1_000_000
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000
_WEEK_SHIFT_MS = 4 * _DAY_MS
_INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480,
    "12h": 720, "1d": 1440, "3d": 4320, "1w": 10080,
}  # fmt: skip


def interval_ms(interval: str) -> int | None:
    """Return the length of a kline interval, None where the exchange has no such one.

    >>> interval_ms("5m"), interval_ms("7m")
    (300000, None)
    """
    minutes = _INTERVALS.get(interval)
    return None if minutes is None else minutes * _MINUTE_MS


def kline_open_ms(time_ms: int, step_ms: int) -> int:
    """Return when the candle around a moment opened; weeks begin on Monday."""
    shift = _WEEK_SHIFT_MS if step_ms == 7 * _DAY_MS else 0
    return (time_ms - shift) // step_ms * step_ms + shift


class MarketSource(Protocol):
    """Trades by the moment of their printing."""

    kind: str
    listings: tuple[Listing, ...]
    stamped: bool
    waits: bool
    """Whether playing begins with the first subscriber; a market that trades anyway does not wait."""

    @property
    def start_ms(self) -> int:
        """When the first trade is printed."""
        ...

    @property
    def end_ms(self) -> int | None:
        """One past the last print; None where there is no end."""
        ...

    def shift_to(self, start_ms: int) -> None:
        """Move every time by a constant, so that the first trade is printed at ``start_ms``."""
        ...

    def between(self, start_ms: int, end_ms: int) -> AggTrades:
        """Return what is printed in [start_ms, end_ms), in order."""
        ...

    def chunk_end(self, start_ms: int, trades: int) -> int:
        """Return a moment up to which about that many trades are printed after ``start_ms``."""
        ...

    def public_between(self, start_ms: int, end_ms: int) -> Sequence[PublicFrame]:
        """Return the recorded frames of the /public route of [start_ms, end_ms)."""
        ...

    def by_id(self, row: int, from_id: int, limit: int, until_ms: int) -> AggTrades:
        """Return a symbol's trades from an id on, inclusive."""
        ...

    def by_time(self, row: int, start_ms: int, end_ms: int, limit: int, until_ms: int) -> AggTrades:
        """Return a symbol's first trades with a trade time in [start_ms, end_ms)."""
        ...

    def newest(self, row: int, limit: int, until_ms: int) -> AggTrades:
        """Return a symbol's last trades."""
        ...

    def candles(self, row: int, step_ms: int, start_ms: int, end_ms: int, until_ms: int) -> Candles:
        """Return a symbol's candles that open in [start_ms, end_ms), the unfinished last one included."""
        ...

    def day(self, row: int, until_ms: int) -> Candles:
        """Return the 24 hours up to a moment as one candle (its start on a whole minute); none without a price."""
        ...

    def days(self, until_ms: int) -> Candles:
        """Return the same of every symbol, one row each (0 without a trade), where need be as an estimate."""
        ...


class _Series:
    """Columns of trades that repeat in rounds: place ``v`` is place ``v % n`` of round ``v // n``."""

    def __init__(self, trades: AggTrades, *, rounds: int, length_ms: int, agg_span: I8, raw_span: I8) -> None:
        self.trades = trades
        self.n = len(trades)
        self.total = self.n * rounds
        self._length_ms = length_ms
        self._agg_span = agg_span
        self._raw_span = raw_span
        self._event_ms = np.maximum.accumulate(trades.event_ms)
        self._trade_ms = np.maximum.accumulate(trades.trade_ms)

    def _place(self, column: I8, value: int, length: int) -> int:
        """Return the first place whose value is not below the given one."""
        turn, rest = divmod(value - int(column[0]), length)
        place = turn * self.n + int(np.searchsorted(column, int(column[0]) + rest))
        return min(max(place, 0), self.total)

    def printed(self, until_ms: int) -> int:
        return self._place(self._event_ms, until_ms, self._length_ms)

    def traded(self, time_ms: int) -> int:
        return self._place(self._trade_ms, time_ms, self._length_ms)

    def of_id(self, agg_id: int) -> int:
        return self._place(self.trades.agg_id, agg_id, int(self._agg_span[0]))

    def rows(self, start: int, end: int) -> AggTrades:
        """Return the places [start, end)."""
        if end <= start:
            return AggTrades.empty()
        if end <= self.n:
            return self.trades.take(slice(start, end))
        places = np.arange(start, end)
        turn, found = places // self.n, self.trades.take(places % self.n)
        later, symbol = turn * self._length_ms, found.symbol_id if self._agg_span.size > 1 else 0
        agg, raw = turn * self._agg_span[symbol], turn * self._raw_span[symbol]
        return replace(
            found,
            event_ms=found.event_ms + later,
            trade_ms=found.trade_ms + later,
            agg_id=found.agg_id + agg,
            first_id=found.first_id + raw,
            last_id=found.last_id + raw,
        )


class TapeSource:
    """A tape, once or over and over.

    With ``loop`` every round comes one second after the last trade of the one before, under ids that go on.
    """

    kind = "replay"
    waits = True
    _ROUNDS = 1 << 20
    _PAUSE_MS = 1000

    def __init__(self, tape: Tape, *, loop: bool = False) -> None:
        self.listings = tape.listings
        self.stamped = tape.stamped
        self._public = tape.public
        self._public_ms = np.array([frame.event_ms for frame in tape.public], np.int64)
        self._shift_ms = 0
        trades = tape.trades
        self._begin_ms = int(trades.event_ms[0])
        self._length_ms = int(trades.event_ms.max()) + 1 - self._begin_ms + (self._PAUSE_MS if loop else 0)
        self._rounds = self._ROUNDS if loop else 1
        own = [trades.take(np.flatnonzero(trades.symbol_id == row)) for row in range(len(self.listings))]
        own = [part.take(np.argsort(part.agg_id, kind="stable")) for part in own]
        agg_span = np.array([part.agg_id[-1] + 1 - part.agg_id[0] for part in own])
        raw_span = np.array([part.last_id[-1] + 1 - part.first_id[0] for part in own])
        self._all = self._series(trades, agg_span, raw_span)
        self._own = [self._series(part, agg_span[i : i + 1], raw_span[i : i + 1]) for i, part in enumerate(own)]

    def _series(self, trades: AggTrades, agg_span: I8, raw_span: I8) -> _Series:
        return _Series(trades, rounds=self._rounds, length_ms=self._length_ms, agg_span=agg_span, raw_span=raw_span)

    @property
    def start_ms(self) -> int:
        return self._begin_ms + self._shift_ms

    @property
    def end_ms(self) -> int | None:
        return None if self._rounds > 1 else self.start_ms + self._length_ms

    def shift_to(self, start_ms: int) -> None:
        self._shift_ms = start_ms - self._begin_ms

    def between(self, start_ms: int, end_ms: int) -> AggTrades:
        series = self._all
        first, last = (series.printed(ms - self._shift_ms) for ms in (start_ms, end_ms))
        return self._shifted(series.rows(first, last))

    def chunk_end(self, start_ms: int, trades: int) -> int:
        series = self._all
        first = series.printed(start_ms - self._shift_ms)
        ahead = series.rows(min(first + trades, series.total - 1), min(first + trades + 1, series.total))
        return max(int(ahead.event_ms[0]) + self._shift_ms, start_ms) + 1

    def public_between(self, start_ms: int, end_ms: int) -> Sequence[PublicFrame]:
        if not self._public or self._rounds > 1:
            return ()
        first, last = np.searchsorted(self._public_ms, [start_ms - self._shift_ms, end_ms - self._shift_ms])
        return [self._moved(frame) for frame in self._public[first:last]]

    def _moved(self, frame: PublicFrame) -> PublicFrame:
        """Return a recorded frame at its shifted time."""
        if self._shift_ms == 0:
            return frame
        payload = frame.payload
        for key in (b'"E":', b'"T":'):
            head, found, rest = payload.partition(key)
            if found:
                digits = len(rest) - len(rest.lstrip(b"0123456789"))
                payload = head + key + str(int(rest[:digits]) + self._shift_ms).encode() + rest[digits:]
        return replace(frame, event_ms=frame.event_ms + self._shift_ms, payload=payload)

    def by_id(self, row: int, from_id: int, limit: int, until_ms: int) -> AggTrades:
        series = self._own[row]
        first = series.of_id(from_id)
        return self._shifted(series.rows(first, min(first + limit, series.printed(until_ms - self._shift_ms))))

    def by_time(self, row: int, start_ms: int, end_ms: int, limit: int, until_ms: int) -> AggTrades:
        series = self._own[row]
        first, last = series.traded(start_ms - self._shift_ms), series.traded(end_ms - self._shift_ms)
        last = min(first + limit, last, series.printed(until_ms - self._shift_ms))
        return self._shifted(series.rows(first, last))

    def newest(self, row: int, limit: int, until_ms: int) -> AggTrades:
        series = self._own[row]
        last = series.printed(until_ms - self._shift_ms)
        return self._shifted(series.rows(max(0, last - limit), last))

    def _shifted(self, trades: AggTrades) -> AggTrades:
        return trades.shifted(self._shift_ms) if self._shift_ms and len(trades) else trades

    def candles(self, row: int, step_ms: int, start_ms: int, end_ms: int, until_ms: int) -> Candles:
        series = self._own[row]
        start_ms = max(kline_open_ms(start_ms + step_ms - 1, step_ms), kline_open_ms(self.start_ms, step_ms))
        end_ms = min(kline_open_ms(end_ms + step_ms - 1, step_ms), kline_open_ms(until_ms - 1, step_ms) + step_ms)
        printed = series.printed(until_ms - self._shift_ms)
        first = min(series.traded(start_ms - self._shift_ms), printed)
        last = min(series.traded(end_ms - self._shift_ms), printed)
        before = series.rows(first - 1, first) if first else AggTrades.empty()
        return candles_of(
            self._shifted(series.rows(first, last)),
            step_ms=step_ms,
            start_ms=start_ms,
            end_ms=max(start_ms, end_ms),
            before=int(before.price[0]) if len(before) else 0,
        )

    def day(self, row: int, until_ms: int) -> Candles:
        start_ms = (until_ms - _DAY_MS) // _MINUTE_MS * _MINUTE_MS
        return _merged(self.candles(row, _MINUTE_MS, start_ms, until_ms, until_ms))

    def days(self, until_ms: int) -> Candles:
        rows = [self.day(row, until_ms).table() for row in range(len(self.listings))]
        nothing = np.zeros((1, 12), np.int64)
        return Candles.of_table(np.concatenate([row if len(row) else nothing for row in rows]))


def _merged(minutes: Candles) -> Candles:
    """Return candles as a single one that opens when the first does."""
    if len(minutes) == 0:
        return minutes
    table = minutes.table()
    opened = int(table[0, 0])
    table[:, 0] = 0
    whole = regroup_candles(Candles.of_table(table), _DAY_MS * 365)
    return replace(whole, open_ms=np.array([opened]))


class SyntheticSource:
    """The synthetic market as a source; it trades whether anybody listens or not."""

    kind = "synthetic"
    stamped = True
    waits = False
    end_ms: int | None = None

    def __init__(self, market: SyntheticMarket) -> None:
        self.market = market
        self.listings = market.listings
        self.start_ms = (ORIGIN_S + 86_400) * 1000
        self._ahead = AggTrades.empty()
        self._ahead_ms = (0, 0)
        self._hours: dict[tuple[int, int], Candles] = {}

    def shift_to(self, start_ms: int) -> None:
        raise InputError("the synthetic market has its own time and cannot be shifted", loc="shift")

    def between(self, start_ms: int, end_ms: int) -> AggTrades:
        """Return what is printed in [start_ms, end_ms); whole seconds are made ahead and kept."""
        low, high = self._ahead_ms
        if not low <= start_ms <= end_ms <= high:
            low, high = start_ms, -(-end_ms // 1000) * 1000
            self._ahead = self.market.trades(low * _MS, high * _MS)
            self._ahead_ms = low, high
        first, last = np.searchsorted(self._ahead.event_ms, [start_ms, end_ms])
        return self._ahead.take(slice(first, last))

    def chunk_end(self, start_ms: int, trades: int) -> int:
        return (start_ms // 1000 + 1) * 1000

    def public_between(self, start_ms: int, end_ms: int) -> Sequence[PublicFrame]:
        return ()

    def by_id(self, row: int, from_id: int, limit: int, until_ms: int) -> AggTrades:
        return self.market.by_id(self.market.symbols[row], from_id, limit, until_ms * _MS)

    def by_time(self, row: int, start_ms: int, end_ms: int, limit: int, until_ms: int) -> AggTrades:
        return self.market.by_time(self.market.symbols[row], start_ms * _MS, min(end_ms, until_ms) * _MS, limit)

    def newest(self, row: int, limit: int, until_ms: int) -> AggTrades:
        symbol = self.market.symbols[row]
        last = self.market.last_id(symbol, until_ms * _MS)
        return self.market.by_id(symbol, last - limit + 1, limit, until_ms * _MS)

    def candles(self, row: int, step_ms: int, start_ms: int, end_ms: int, until_ms: int) -> Candles:
        start_ms = kline_open_ms(start_ms + step_ms - 1, step_ms)
        end_ms = min(kline_open_ms(end_ms + step_ms - 1, step_ms), kline_open_ms(until_ms - 1, step_ms) + step_ms)
        minutes = self._minutes(row, start_ms, end_ms, until_ms)
        return minutes if step_ms == _MINUTE_MS else _longer(minutes, step_ms)

    def _minutes(self, row: int, start_ms: int, end_ms: int, until_ms: int) -> Candles:
        """Return one-minute candles of what was printed before ``until_ms``."""
        symbol = self.market.symbols[row]
        whole_ms = max(start_ms, min(end_ms, until_ms // _MINUTE_MS * _MINUTE_MS))
        closed = self.market.klines(symbol, "1m", start_ms * _MS, whole_ms * _MS)
        if whole_ms >= min(end_ms, until_ms):
            return closed
        before = self.newest(row, 1, whole_ms)
        open_minute = candles_of(
            self.market.by_time(symbol, whole_ms * _MS, until_ms * _MS, 1 << 40),
            step_ms=_MINUTE_MS,
            start_ms=whole_ms,
            end_ms=whole_ms + _MINUTE_MS,
            before=int(before.price[0]) if len(before) else 0,
        )
        return Candles.of_table(np.concatenate([closed.table(), open_minute.table()]))

    def day(self, row: int, until_ms: int) -> Candles:
        start_ms = (until_ms - _DAY_MS) // _MINUTE_MS * _MINUTE_MS
        first, last = -(-start_ms // _HOUR_MS), until_ms // _HOUR_MS
        parts = [self._minutes(row, start_ms, first * _HOUR_MS, until_ms)]
        parts += [self._hour(row, hour) for hour in range(first, last)]
        parts.append(self._minutes(row, last * _HOUR_MS, until_ms, until_ms))
        return _merged(Candles.of_table(np.concatenate([part.table() for part in parts])))

    def days(self, until_ms: int) -> Candles:
        return self.market.ticker_24h(until_ms * _MS)

    def _hour(self, row: int, hour: int) -> Candles:
        """Return an hour that is over as one candle, kept for a day."""
        known = self._hours.get((row, hour))
        if known is None:
            symbol, start = self.market.symbols[row], hour * _HOUR_MS * _MS
            known = self._hours[row, hour] = self.market.klines(symbol, "1h", start, start + _HOUR_MS * _MS)
            self._hours.pop((row, hour - 25), None)
        return known


def _longer(minutes: Candles, step_ms: int) -> Candles:
    """Merge minutes into longer candles; weeks begin on Monday."""
    shift = _WEEK_SHIFT_MS if step_ms == 7 * _DAY_MS else 0
    merged = regroup_candles(replace(minutes, open_ms=minutes.open_ms - shift), step_ms)
    return replace(merged, open_ms=merged.open_ms + shift)


def tape_of_ticks(batches: Iterable[TickBatch]) -> Tape:
    """Return stored ticks as a tape, in order of event time; an aggregate's own id stands for its trade ids."""
    listings: dict[str, list[AggTrades]] = {}
    grids: dict[str, tuple[int, int]] = {}
    kept = list(batches)
    for batch in kept:
        for symbol_id in np.unique(batch.symbol_id).tolist():
            symbol = batch.symbols[symbol_id]
            own = batch.take(batch.symbol_id == symbol_id)
            old = grids.get(symbol, (0, 0))
            grids[symbol] = max(old[0], _decimals(own.price)), max(old[1], _decimals(own.size))
            listings.setdefault(symbol, [])
    rows = {symbol: i for i, symbol in enumerate(sorted(listings))}
    for batch in kept:
        for symbol_id in np.unique(batch.symbol_id).tolist():
            symbol = batch.symbols[symbol_id]
            listings[symbol].append(_of_ticks(batch.take(batch.symbol_id == symbol_id), rows[symbol], *grids[symbol]))
    trades = concat_trades([part for symbol in sorted(listings) for part in listings[symbol]])
    if len(trades) == 0:
        raise InputError("nothing to play: no tick in the range", loc="path")
    order = np.lexsort((trades.agg_id, trades.event_ms))
    return Tape(
        tuple(Listing(s, *grids[s]) for s in sorted(grids)), trades.take(order), (), stamped=False, truncated=False
    )


def _decimals(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """Return how many decimals the values need, at most 12."""
    for decimals in range(12):
        scaled = values * 10.0**decimals
        if bool(np.all(np.rint(scaled) / 10.0**decimals == values)):
            return decimals
    return 12


def _of_ticks(batch: TickBatch, row: int, price_decimals: int, size_decimals: int) -> AggTrades:
    """Return the ticks of one symbol as aggregate trades."""
    n = len(batch)
    t = batch.ts_event_ns // _MS
    price = np.rint(batch.price * 10.0**price_decimals).astype(np.int64)
    size = np.rint(batch.size * 10.0**size_decimals).astype(np.int64)
    net = np.full(n, -1, np.int64)
    ids = batch.trade_id
    return AggTrades(np.full(n, row, np.int32), t, t, ids, ids, ids, price, size, net, batch.buyer_is_maker)


def open_source(words: Sequence[str], *, loop: bool = False) -> MarketSource:
    """Return what a command line names: recordings, or ``synthetic[:seed=7,symbols=600,rate=6000]``.

    Raises ``InputError`` that says what is wrong with which word.
    """
    if not words:
        raise InputError("nothing to play", loc="path", hint="name recordings, or `synthetic`")
    if any(word == "synthetic" or word.startswith("synthetic:") for word in words):
        if len(words) > 1:
            raise InputError("the synthetic market cannot be mixed with recordings", loc="path")
        return SyntheticSource(_market_of(words[0]))
    return TapeSource(load_tape([Path(word) for word in words]), loop=loop)


def _market_of(word: str) -> SyntheticMarket:
    """Return the market that ``synthetic:key=value,…`` describes."""
    options: dict[str, float] = {}
    for part in filter(None, word.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        try:
            if key not in {"seed", "symbols", "rate"}:
                raise ValueError
            options[key] = float(value) if key == "rate" else int(value)
        except ValueError:
            raise InputError(
                f"synthetic market: cannot read {part!r}", loc="path", hint="use synthetic:seed=7,symbols=600,rate=6000"
            ) from None
    seed, symbols = int(options.get("seed", 7)), int(options.get("symbols", 600))
    return SyntheticMarket(seed=seed, symbols=symbols, ticks_per_second=options.get("rate"))
