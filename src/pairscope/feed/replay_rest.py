"""The exchange's REST answers from a source, with its parameters, errors and request weights; sans-I/O."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from pairscope.feed.agg_trades import AggTrades, Klines, Listing, decimal_text
from pairscope.feed.exchange_listing import exchange_info
from pairscope.feed.market_source import MarketSource, interval_ms
from pairscope.feed.replay_weight import WeightPool
from pairscope.feed.wire_encode import agg_trade_rows, kline_rows

__all__ = ["Answer", "RestApi", "ticker_values", "tickers"]

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_FUNDING_MS = 8 * _HOUR_MS
_AGG_TRADES_MS = 48 * _HOUR_MS
_JSON = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, body and the headers beside content type and length."""

    status: int
    body: bytes
    headers: dict[str, str]
    content_type: str = _JSON


class _Refused(Exception):
    """The request is answered with one of the exchange's error codes."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class RestApi:
    """Answers GET requests with what was printed before ``now_ms()``, the market's time.

    Stateless but for the weight pool. A call costs what the source needs to find its trades; safe to run in a thread
    while the market goes on.
    """

    def __init__(self, source: MarketSource, now_ms: Callable[[], int], *, weights: WeightPool) -> None:
        self._source = source
        self._now_ms = now_ms
        self._weights = weights
        self._rows = {listing.symbol: i for i, listing in enumerate(source.listings)}
        self._routes: dict[str, Callable[[_Query], Any]] = {
            "ping": lambda query: {},
            "time": lambda query: {"serverTime": query.now_ms},
            "exchangeInfo": self._exchange_info,
            "aggTrades": self._agg_trades,
            "trades": self._trades,
            "klines": self._klines,
            "ticker/24hr": self._ticker,
            "ticker/price": self._price,
            "ticker/bookTicker": self._book_ticker,
            "premiumIndex": self._premium_index,
            "fundingRate": self._funding_rate,
        }

    def answer(self, method: str, target: str) -> Answer:
        """Return the response to a request."""
        parts = urlsplit(target)
        name = _name_of(parts.path)
        handler = self._routes.get(name or "")
        query = _Query(dict(parse_qsl(parts.query, keep_blank_values=True)), self._now_ms())
        refused = self._weights.take(_weight(name or "", query.values))
        if refused is not None:
            return self._respond(refused.status, {"code": -1003, "msg": refused.text}, refused.headers)
        try:
            if handler is None or method != "GET":
                raise _Refused(-5000, f"Path {parts.path}, Method {method} is invalid", 404)
            return self._respond(200, handler(query), {})
        except _Refused as error:
            return self._respond(error.status, {"code": error.code, "msg": str(error)}, {})

    def _respond(self, status: int, body: Any, headers: dict[str, str]) -> Answer:
        return Answer(status, orjson.dumps(body), headers | self._weights.headers())

    def _listed(self, query: _Query) -> tuple[int, Listing]:
        """Return the row and listing of the mandatory symbol."""
        symbol = query.text("symbol")
        row = self._rows.get(symbol)
        if row is None:
            raise _Refused(-1121, "Invalid symbol.")
        return row, self._source.listings[row]

    def _asked(self, query: _Query) -> tuple[list[tuple[int, Listing]], bool]:
        """Return the rows of the optional symbol, or of all, and whether it was all."""
        if "symbol" in query.values:
            return [self._listed(query)], False
        return list(enumerate(self._source.listings)), True

    def _exchange_info(self, query: _Query) -> Any:
        return exchange_info(self._source.listings, query.now_ms, weight_limit=self._weights.limit)

    def _agg_trades(self, query: _Query) -> Any:
        row, listing = self._listed(query)
        limit = query.limit(500, 1000)
        from_id, start_ms, end_ms = (query.integer(name) for name in ("fromId", "startTime", "endTime"))
        now_ms = query.now_ms
        oldest_ms = now_ms - _AGG_TRADES_MS
        if from_id is not None:
            found = self._source.by_id(row, from_id, limit, now_ms)
            if len(found) and int(found.trade_ms[0]) < oldest_ms:
                found = self._source.by_time(row, oldest_ms, now_ms, limit, now_ms)
        elif start_ms is not None:
            end_ms = start_ms + _HOUR_MS - 1 if end_ms is None else end_ms
            if end_ms < start_ms:
                raise _Refused(-1023, "Start time is greater than end time.")
            if end_ms - start_ms >= _HOUR_MS:
                raise _Refused(-1127, "More than 1 hours between startTime and endTime.")
            found = self._source.by_time(row, max(start_ms, oldest_ms), end_ms + 1, limit, now_ms)
        else:
            until_ms = now_ms if end_ms is None else min(now_ms, end_ms + 1)
            found = self._source.newest(row, limit, until_ms)
            found = found.take(found.trade_ms >= oldest_ms)
        return agg_trade_rows(found, listing)

    def _trades(self, query: _Query) -> Any:
        row, listing = self._listed(query)
        found = self._source.newest(row, query.limit(500, 1000), query.now_ms)
        scale = listing.price_decimals + listing.size_decimals
        return [
            {
                "id": int(found.last_id[i]),
                "price": decimal_text(int(found.price[i]), listing.price_decimals),
                "qty": decimal_text(int(found.size[i]), listing.size_decimals),
                "quoteQty": decimal_text(int(found.price[i]) * int(found.size[i]), scale),
                "time": int(found.trade_ms[i]),
                "isBuyerMaker": bool(found.buyer_is_maker[i]),
                "isRPITrade": False,
            }
            for i in range(len(found))
        ]

    def _klines(self, query: _Query) -> Any:
        row, listing = self._listed(query)
        step_ms = interval_ms(query.text("interval"))
        if step_ms is None:
            raise _Refused(-1120, "Invalid interval.")
        limit = query.limit(500, 1500)
        start_ms, end_ms = query.integer("startTime"), query.integer("endTime")
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise _Refused(-1023, "Start time is greater than end time.")
        until_ms = query.now_ms
        last_ms = until_ms if end_ms is None else min(until_ms, end_ms + 1)
        if start_ms is None:
            start_ms = last_ms - (limit + 1) * step_ms
            found = self._source.klines(row, step_ms, start_ms, last_ms, until_ms)
            found = found.take(slice(max(0, len(found) - limit), None))
        else:
            last_ms = min(last_ms, start_ms + (limit + 1) * step_ms)
            found = self._source.klines(row, step_ms, start_ms, last_ms, until_ms).take(slice(limit))
        return kline_rows(found, listing, step_ms)

    def _ticker(self, query: _Query) -> Any:
        if "symbol" not in query.values:
            return tickers(self._source, query.now_ms)
        row, listing = self._listed(query)
        last = self._source.newest(row, 1, query.now_ms)
        return ticker_values(self._source.day(row, query.now_ms), last, listing, query.now_ms)

    def _price(self, query: _Query) -> Any:
        asked, every = self._asked(query)
        rows = []
        for row, listing in asked:
            last = self._source.newest(row, 1, query.now_ms)
            if len(last):
                price = decimal_text(int(last.price[0]), listing.price_decimals)
                rows.append({"symbol": listing.symbol, "price": price, "time": int(last.trade_ms[0])})
        return self._one_or_all(rows, every=every)

    def _book_ticker(self, query: _Query) -> Any:
        asked, every = self._asked(query)
        rows = []
        for row, listing in asked:
            last = self._source.newest(row, 1, query.now_ms)
            if len(last):
                price, maker = int(last.price[0]), bool(last.buyer_is_maker[0])
                bid, ask = (price, price + listing.tick) if maker else (price - listing.tick, price)
                size = decimal_text(int(last.size[0]), listing.size_decimals)
                row_values = {"symbol": listing.symbol, "bidPrice": decimal_text(bid, listing.price_decimals)}
                row_values |= {"bidQty": size, "askPrice": decimal_text(ask, listing.price_decimals), "askQty": size}
                rows.append(row_values | {"time": int(last.trade_ms[0]), "lastUpdateId": int(last.last_id[0])})
        return self._one_or_all(rows, every=every)

    def _premium_index(self, query: _Query) -> Any:
        asked, every = self._asked(query)
        rows = []
        for row, listing in asked:
            last = self._source.newest(row, 1, query.now_ms)
            if len(last):
                price = _eight(int(last.price[0]), listing)
                funded_ms = query.now_ms // _FUNDING_MS * _FUNDING_MS
                rows.append(
                    {
                        "symbol": listing.symbol,
                        "markPrice": price,
                        "indexPrice": price,
                        "estimatedSettlePrice": price,
                        "lastFundingRate": _funding(listing.symbol, funded_ms),
                        "interestRate": "0.00010000",
                        "nextFundingTime": funded_ms + _FUNDING_MS,
                        "time": query.now_ms,
                    }
                )
        return self._one_or_all(rows, every=every)

    def _funding_rate(self, query: _Query) -> Any:
        row, listing = self._listed(query)
        limit = query.limit(100, 1000)
        start_ms, end_ms = query.integer("startTime"), query.integer("endTime")
        last_ms = min(query.now_ms, query.now_ms if end_ms is None else end_ms) // _FUNDING_MS * _FUNDING_MS
        if start_ms is None:
            first_ms = last_ms - (limit - 1) * _FUNDING_MS
        else:
            first_ms = -(-start_ms // _FUNDING_MS) * _FUNDING_MS
            last_ms = min(last_ms, first_ms + (limit - 1) * _FUNDING_MS)
        rows = []
        for at_ms in range(first_ms, last_ms + 1, _FUNDING_MS):
            last = self._source.newest(row, 1, at_ms)
            if len(last):
                values = {
                    "symbol": listing.symbol,
                    "fundingTime": at_ms,
                    "fundingRate": _funding(listing.symbol, at_ms),
                }
                rows.append(values | {"markPrice": _eight(int(last.price[0]), listing)})
        return rows

    @staticmethod
    def _one_or_all(rows: list[dict[str, Any]], *, every: bool) -> Any:
        return rows if every else (rows[0] if rows else {})


class _Query:
    """The parameters of a request and the market's time when it came."""

    def __init__(self, values: dict[str, str], now_ms: int) -> None:
        self.values = values
        self.now_ms = now_ms

    def text(self, name: str) -> str:
        """Return a mandatory parameter."""
        value = self.values.get(name)
        if not value:
            raise _Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def integer(self, name: str) -> int | None:
        """Return an optional whole number."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise _Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
        return int(value)

    def limit(self, default: int, most: int) -> int:
        """Return how many rows are wanted."""
        limit = self.integer("limit")
        if limit is None:
            return default
        if not 1 <= limit <= most:
            raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return limit


def _name_of(path: str) -> str | None:
    """Return what comes after ``/fapi/v1/`` (v2 and v3 likewise).

    Some clients ask the spot market for its time before anything else, so ``/api/v3/ping`` and ``time`` are there too.
    """
    for prefix in ("/fapi/v1/", "/fapi/v2/", "/fapi/v3/"):
        if path.startswith(prefix):
            return path.removeprefix(prefix)
    return path.removeprefix("/api/v3/") if path in {"/api/v3/ping", "/api/v3/time"} else None


def _weight(name: str, values: dict[str, str]) -> int:
    """Return what a request costs of the weight per minute."""
    one = "symbol" in values
    if name == "klines":
        limit = int(values["limit"]) if values.get("limit", "").isdecimal() else 500
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    return {
        "aggTrades": 20,
        "trades": 5,
        "ticker/24hr": 1 if one else 40,
        "ticker/price": 1 if one else 2,
        "ticker/bookTicker": 2 if one else 5,
        "premiumIndex": 1 if one else 10,
        "fundingRate": 0,
    }.get(name, 1)


def tickers(source: MarketSource, now_ms: int) -> list[dict[str, Any]]:
    """Return the 24 h statistics of every symbol."""
    days = source.days(now_ms)
    return [
        ticker_values(days.take(slice(row, row + 1)), source.newest(row, 1, now_ms), listing, now_ms)
        for row, listing in enumerate(source.listings)
    ]


def ticker_values(day: Klines, last: AggTrades, listing: Listing, now_ms: int) -> dict[str, Any]:
    """Return the 24 h statistics of a symbol from its day and its last trade; zeros where nothing was printed yet."""
    p, q = listing.price_decimals, listing.size_decimals
    o, h, low, c, volume, quote, n, first_id, last_id = (0, 0, 0, 0, 0, 0, 0, -1, -1)
    opened_ms = now_ms - _DAY_MS
    if len(day) and int(day.trades[0]):
        table = day.table()[0].tolist()
        opened_ms, o, h, low, c, volume, quote = table[:7]
        n, first_id, last_id = table[9:]
        if len(last):
            n += int(last.last_id[0]) - last_id
            c, last_id = int(last.price[0]), int(last.last_id[0])
        h, low = max(h, c), min(low, c)
    change = c - o
    return {
        "symbol": listing.symbol,
        "priceChange": decimal_text(change, p),
        "priceChangePercent": f"{100.0 * change / o:.3f}" if o else "0.000",
        "weightedAvgPrice": decimal_text(round(quote / volume) if volume else 0, p),
        "lastPrice": decimal_text(c, p),
        "lastQty": decimal_text(int(last.size[0]) if len(last) else 0, q),
        "openPrice": decimal_text(o, p),
        "highPrice": decimal_text(h, p),
        "lowPrice": decimal_text(low, p),
        "volume": decimal_text(volume, q),
        "quoteVolume": decimal_text(quote, p + q),
        "openTime": opened_ms,
        "closeTime": now_ms,
        "firstId": first_id,
        "lastId": last_id,
        "count": n,
    }


def _eight(units: int, listing: Listing) -> str:
    """Return a price with eight decimals, as mark prices are written."""
    return decimal_text(units * 10 ** max(0, 8 - listing.price_decimals), max(8, listing.price_decimals))


def _funding(symbol: str, at_ms: int) -> str:
    """Return a funding rate around 0.01 %, always the same for a symbol and a time."""
    noise = zlib.crc32(f"{symbol} {at_ms}".encode()) % 20_001 - 10_000
    return decimal_text(10_000 + noise, 8)
