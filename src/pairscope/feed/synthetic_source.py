"""The synthetic market as a source; it trades whether anybody listens or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pairscope.errors import InputError
from pairscope.feed.agg_trades import AggTrades, Klines, decimal_text, klines_of, merged_kline, regroup_klines
from pairscope.feed.market_source import DAY_MS, MINUTE_MS, WEEK_SHIFT_MS, kline_open_ms
from pairscope.feed.synthetic import ORIGIN_S, SyntheticMarket
from pairscope.feed.tape import PublicFrame

__all__ = ["SyntheticSource"]

_MS = 1_000_000
_HOUR_MS = 3_600_000


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
        self._hours: dict[int, dict[int, Klines]] = {}

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
        """Return the single trades of what is printed in [start_ms, end_ms); there are no quotes."""
        frames = []
        trades = self.between(start_ms, end_ms)
        for i, row in enumerate(trades.symbol_id.tolist()):
            listing, at_ms = self.listings[row], int(trades.trade_ms[i])
            price = decimal_text(int(trades.price[i]), listing.price_decimals)
            maker = "true" if trades.buyer_is_maker[i] else "false"
            first_id, sizes = int(trades.first_id[i]), _split(int(trades.size[i]), trades.trade_count(i))
            for k, size in enumerate(sizes):
                shown = (price, decimal_text(size, listing.size_decimals), "MARKET") if size else ("0", "0", "NA")
                payload = (
                    f'{{"e":"trade","E":{at_ms},"T":{at_ms},"s":"{listing.symbol}","t":{first_id + k},'
                    f'"p":"{shown[0]}","q":"{shown[1]}","X":"{shown[2]}","m":{maker},"st":1}}'
                )
                frames.append(PublicFrame(at_ms, listing.symbol, "trade", payload.encode()))
        return frames

    def by_id(self, row: int, from_id: int, limit: int, until_ms: int) -> AggTrades:
        return self.market.by_id(self.market.symbols[row], from_id, limit, until_ms * _MS)

    def by_time(self, row: int, start_ms: int, end_ms: int, limit: int, until_ms: int) -> AggTrades:
        return self.market.by_time(self.market.symbols[row], start_ms * _MS, min(end_ms, until_ms) * _MS, limit)

    def newest(self, row: int, limit: int, until_ms: int) -> AggTrades:
        symbol = self.market.symbols[row]
        last = self.market.last_id(symbol, until_ms * _MS)
        return self.market.by_id(symbol, last - limit + 1, limit, until_ms * _MS)

    def klines(self, row: int, step_ms: int, start_ms: int, end_ms: int, until_ms: int) -> Klines:
        start_ms = kline_open_ms(start_ms + step_ms - 1, step_ms)
        end_ms = min(kline_open_ms(end_ms + step_ms - 1, step_ms), kline_open_ms(until_ms - 1, step_ms) + step_ms)
        minutes = self._minutes(row, start_ms, end_ms, until_ms)
        return minutes if step_ms == MINUTE_MS else _longer(minutes, step_ms)

    def _minutes(self, row: int, start_ms: int, end_ms: int, until_ms: int) -> Klines:
        """Return one-minute klines of what was printed before ``until_ms``."""
        symbol = self.market.symbols[row]
        whole_ms = max(start_ms, min(end_ms, until_ms // MINUTE_MS * MINUTE_MS))
        closed = self.market.klines(symbol, "1m", start_ms * _MS, whole_ms * _MS)
        if whole_ms >= min(end_ms, until_ms):
            return closed
        before = self.newest(row, 1, whole_ms)
        open_minute = klines_of(
            self.market.by_time(symbol, whole_ms * _MS, until_ms * _MS, 1 << 40),
            step_ms=MINUTE_MS,
            start_ms=whole_ms,
            end_ms=whole_ms + MINUTE_MS,
            before=int(before.price[0]) if len(before) else 0,
        )
        return Klines.of_table(np.concatenate([closed.table(), open_minute.table()]))

    def day(self, row: int, until_ms: int) -> Klines:
        start_ms = (until_ms - DAY_MS) // MINUTE_MS * MINUTE_MS
        first, last = -(-start_ms // _HOUR_MS), until_ms // _HOUR_MS
        parts = [self._minutes(row, start_ms, first * _HOUR_MS, until_ms)]
        parts += self._whole_hours(row, first, last)
        parts.append(self._minutes(row, last * _HOUR_MS, until_ms, until_ms))
        return merged_kline(Klines.of_table(np.concatenate([part.table() for part in parts])))

    def days(self, until_ms: int) -> Klines:
        return self.market.ticker_24h(until_ms * _MS)

    def _whole_hours(self, row: int, first: int, last: int) -> list[Klines]:
        """Return hours that are over as one kline each; those of the last call are kept."""
        known, symbol = self._hours.get(row, {}), self.market.symbols[row]
        kept = {}
        for hour in range(first, last):
            start, end = hour * _HOUR_MS * _MS, (hour + 1) * _HOUR_MS * _MS
            kept[hour] = known[hour] if hour in known else self.market.klines(symbol, "1h", start, end)
        self._hours[row] = kept
        return list(kept.values())


def _longer(minutes: Klines, step_ms: int) -> Klines:
    """Merge minutes into longer klines; weeks begin on Monday."""
    shift = WEEK_SHIFT_MS if step_ms == 7 * DAY_MS else 0
    merged = regroup_klines(replace(minutes, open_ms=minutes.open_ms - shift), step_ms)
    return replace(merged, open_ms=merged.open_ms + shift)


def _split(size: int, trades: int) -> list[int]:
    """Share a size among trades; the last has what is left, and a trade without a share is a placeholder."""
    share = size // trades
    return [share] * (trades - 1) + [size - share * (trades - 1)]
