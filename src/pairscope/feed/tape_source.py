"""Recordings and stored ticks as a source, once or over and over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pairscope.feed.agg_trades import AggTrades, Klines, klines_of, merged_kline
from pairscope.feed.market_source import DAY_MS, MINUTE_MS, kline_open_ms
from pairscope.feed.tape import PublicFrame, Tape
from pairscope.market.ticks import I8

__all__ = ["TapeSource"]


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

    def klines(self, row: int, step_ms: int, start_ms: int, end_ms: int, until_ms: int) -> Klines:
        series = self._own[row]
        start_ms = max(kline_open_ms(start_ms + step_ms - 1, step_ms), kline_open_ms(self.start_ms, step_ms))
        end_ms = min(kline_open_ms(end_ms + step_ms - 1, step_ms), kline_open_ms(until_ms - 1, step_ms) + step_ms)
        printed = series.printed(until_ms - self._shift_ms)
        first = min(series.traded(start_ms - self._shift_ms), printed)
        last = min(series.traded(end_ms - self._shift_ms), printed)
        before = series.rows(first - 1, first) if first else AggTrades.empty()
        return klines_of(
            self._shifted(series.rows(first, last)),
            step_ms=step_ms,
            start_ms=start_ms,
            end_ms=max(start_ms, end_ms),
            before=int(before.price[0]) if len(before) else 0,
        )

    def day(self, row: int, until_ms: int) -> Klines:
        start_ms = (until_ms - DAY_MS) // MINUTE_MS * MINUTE_MS
        return merged_kline(self.klines(row, MINUTE_MS, start_ms, until_ms, until_ms))

    def days(self, until_ms: int) -> Klines:
        rows = [self.day(row, until_ms).table() for row in range(len(self.listings))]
        nothing = np.zeros((1, 12), np.int64)
        return Klines.of_table(np.concatenate([row if len(row) else nothing for row in rows]))


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
