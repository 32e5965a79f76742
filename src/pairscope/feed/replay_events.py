"""The slower streams of the /market route: klines, tickers and mark prices, computed from the source when due."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from pairscope.feed.agg_trades import decimal_text
from pairscope.feed.market_source import MarketSource, interval_ms, kline_open_ms
from pairscope.feed.replay_rest import ticker_values, tickers
from pairscope.feed.wire_encode import kline_payload, stream_symbol

__all__ = ["Events"]

_KLINE_MS = 250
_FUNDING_MS = 8 * 3_600_000
_EVERY_MS = {
    "ticker": 2000, "miniTicker": 2000, "markPrice": 3000, "markPrice@1s": 1000,
    "!ticker@arr": 1000, "!miniTicker@arr": 1000, "!markPrice@arr": 3000, "!markPrice@arr@1s": 1000,
}  # fmt: skip


class Events:
    """Says what the slow streams print between two market times.

    Keeps, per kline stream, which kline was sent last with how many trades, and which streams have news to send.
    """

    def __init__(self, source: MarketSource) -> None:
        self._source = source
        self._rows = {stream_symbol(listing.symbol): i for i, listing in enumerate(source.listings)}
        self._klines: dict[str, tuple[int, int]] = {}
        self._changed: set[int] = set()

    def due(
        self, streams: Iterable[str], changed: Iterable[int], since_ms: int, now_ms: int
    ) -> list[tuple[str, bytes]]:
        """Return (stream, payload) of everything due in (since_ms, now_ms], given the rows that traded since."""
        found: list[tuple[str, bytes]] = []
        self._changed.update(changed)
        klines_due = _crossed(_KLINE_MS, since_ms, now_ms)
        for stream in streams:
            symbol, _, kind = stream.partition("@")
            row = self._rows.get(symbol)
            if stream.startswith("!"):
                if _crossed(_EVERY_MS.get(stream), since_ms, now_ms):
                    found.append((stream, orjson.dumps(self._array(stream, now_ms))))
            elif row is None:
                continue
            elif kind.startswith("kline_"):
                if klines_due and self._has_news(stream, row, kind[6:], now_ms):
                    found += [(stream, orjson.dumps(event)) for event in self._kline(stream, row, kind[6:], now_ms)]
            elif _crossed(_EVERY_MS.get(kind), since_ms, now_ms):
                event = self._event(kind.partition("@")[0], row, now_ms)
                found += [] if event is None else [(stream, orjson.dumps(event))]
        if klines_due:
            self._changed.clear()
        return found

    def _has_news(self, stream: str, row: int, interval: str, now_ms: int) -> bool:
        """Return whether a kline may have changed, closed, or was never sent."""
        step_ms, sent = interval_ms(interval), self._klines.get(stream)
        return step_ms is not None and (sent is None or row in self._changed or now_ms >= sent[0] + step_ms)

    def forget(self, streams: Iterable[str]) -> None:
        """Drop the state of kline streams that nobody listens to any more."""
        for stream in self._klines.keys() - set(streams):
            del self._klines[stream]

    def _kline(self, stream: str, row: int, interval: str, now_ms: int) -> list[dict[str, Any]]:
        """Return the klines that changed or closed since the last push."""
        step_ms = interval_ms(interval)
        if step_ms is None:
            return []
        opened_ms, trades = self._klines.get(stream, (kline_open_ms(now_ms - 1, step_ms), -1))
        klines = self._source.klines(row, step_ms, opened_ms, now_ms, now_ms)
        events = []
        for i in range(len(klines)):
            open_ms, n = int(klines.open_ms[i]), int(klines.trades[i])
            closed = open_ms + step_ms <= now_ms
            if n > 0 and (closed or (open_ms, n) != (opened_ms, trades)):
                events.append(
                    kline_payload(
                        klines,
                        i,
                        self._source.listings[row],
                        interval=interval,
                        step_ms=step_ms,
                        event_ms=now_ms,
                        closed=closed,
                    )
                )
            opened_ms, trades = (open_ms + step_ms, -1) if closed else (open_ms, n)
        self._klines[stream] = opened_ms, trades
        return events

    def _array(self, stream: str, now_ms: int) -> list[dict[str, Any]]:
        kind = stream[1:].partition("@")[0]
        if kind == "markPrice":
            events = (self._mark_price(row, now_ms) for row in range(len(self._source.listings)))
            return [event for event in events if event is not None]
        days = tickers(self._source, now_ms)
        return [_ticker(kind, day, now_ms) for day in days if day["count"]]

    def _event(self, kind: str, row: int, now_ms: int) -> dict[str, Any] | None:
        """Return a ticker, mini ticker or mark price; None before the first trade."""
        if kind == "markPrice":
            return self._mark_price(row, now_ms)
        source, listing = self._source, self._source.listings[row]
        day = ticker_values(source.day(row, now_ms), source.newest(row, 1, now_ms), listing, now_ms)
        return _ticker(kind, day, now_ms) if day["count"] else None

    def _mark_price(self, row: int, now_ms: int) -> dict[str, Any] | None:
        """Return the last price as the mark price; None before the first trade."""
        listing = self._source.listings[row]
        last = self._source.newest(row, 1, now_ms)
        if len(last) == 0:
            return None
        decimals = max(8, listing.price_decimals)
        price = decimal_text(int(last.price[0]) * 10 ** (decimals - listing.price_decimals), decimals)
        event = {"e": "markPriceUpdate", "E": now_ms, "s": listing.symbol, "p": price, "ap": price, "i": price}
        return event | {"P": price, "r": "0.00010000", "T": (now_ms // _FUNDING_MS + 1) * _FUNDING_MS, "st": 1}


def _ticker(kind: str, day: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """Return the ``24hrTicker`` or, for ``miniTicker``, the ``24hrMiniTicker`` event of a day's statistics."""
    short = {"E": now_ms, "s": day["symbol"], "c": day["lastPrice"], "o": day["openPrice"], "h": day["highPrice"]}
    short |= {"l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"]}
    if kind == "miniTicker":
        return {"e": "24hrMiniTicker"} | short | {"ps": day["symbol"], "st": 1}
    return {
        "e": "24hrTicker",
        **short,
        "p": day["priceChange"],
        "P": day["priceChangePercent"],
        "w": day["weightedAvgPrice"],
        "Q": day["lastQty"],
        "O": day["openTime"],
        "C": day["closeTime"],
        "F": day["firstId"],
        "L": day["lastId"],
        "n": day["count"],
        "ps": day["symbol"],
        "st": 1,
    }


def _crossed(every_ms: int | None, since_ms: int, now_ms: int) -> bool:
    """Return whether a multiple of the interval lies in (since_ms, now_ms]; never for None."""
    return every_ms is not None and now_ms // every_ms > since_ms // every_ms
