"""REST as documented: parameters, errors, weights, and nothing that was not printed yet."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from pairscope.feed.replay_rest import RestApi
from pairscope.feed.replay_source import SyntheticSource
from pairscope.feed.replay_weight import WeightPool
from pairscope.feed.synthetic import SyntheticMarket

NOON_MS = 1_790_510_400_000


class Exchange:
    """The REST side of a small synthetic market at noon, 12.345 s into the minute."""

    def __init__(self, *, limit: int = 1_000_000) -> None:
        self.now_ms = NOON_MS + 12_345
        self.source = SyntheticSource(SyntheticMarket(seed=7, symbols=20, ticks_per_second=100.0))
        self.weights = WeightPool(lambda: NOON_MS, limit=limit)
        self.api = RestApi(self.source, lambda: self.now_ms, weights=self.weights)

    def get(self, target: str, status: int = 200) -> Any:
        answer = self.api.answer("GET", target)
        assert answer.status == status, answer.body
        return json.loads(answer.body)


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return Exchange()


def test_ping_and_time(exchange: Exchange):
    assert exchange.get("/fapi/v1/ping") == {}
    assert exchange.get("/fapi/v1/time") == {"serverTime": exchange.now_ms}


def test_exchange_info_has_full_records(exchange: Exchange):
    info = exchange.get("/fapi/v1/exchangeInfo")
    assert len(info["symbols"]) == 20
    btc = info["symbols"][0]
    assert {k: btc[k] for k in ("symbol", "pair", "baseAsset", "quoteAsset", "contractType", "status")} == {
        "symbol": "BTCUSDT", "pair": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "contractType": "PERPETUAL",
        "status": "TRADING",
    }  # fmt: skip
    filters = {f["filterType"]: f for f in btc["filters"]}
    assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("0.10", "0.001")
    assert {limit["rateLimitType"] for limit in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}
    assert info["symbols"][16]["symbol"] == "币安人生USDT"


def test_agg_trades_from_an_id_on_inclusive(exchange: Exchange):
    newest = exchange.get("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=5")
    assert len(newest) == 5
    assert all(row["T"] < exchange.now_ms for row in newest)
    again = exchange.get(f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={newest[2]['a']}&limit=1000")
    assert again == newest[2:]
    assert exchange.get(f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={newest[-1]['a'] + 1}") == []
    assert set(newest[0]) == {"a", "p", "q", "nq", "f", "l", "T", "m"}


def test_agg_trades_of_a_time_have_both_ends_inclusive(exchange: Exchange):
    some = exchange.get("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=200")
    first, last = some[50]["T"], some[150]["T"]
    got = exchange.get(f"/fapi/v1/aggTrades?symbol=BTCUSDT&startTime={first}&endTime={last}&limit=1000")
    assert got == [row for row in some if first <= row["T"] <= last]


def test_a_window_of_an_hour_is_refused_and_a_millisecond_less_is_not(exchange: Exchange):
    start = NOON_MS - 7_200_000
    query = f"/fapi/v1/aggTrades?symbol=BTCUSDT&startTime={start}&endTime="
    assert exchange.get(query + str(start + 3_600_000), 400)["code"] == -1127
    assert len(exchange.get(query + str(start + 3_599_999))) == 500
    assert exchange.get(query + str(start - 1), 400)["code"] == -1023


def test_agg_trades_reach_back_48_hours_and_no_further(exchange: Exchange):
    old = exchange.get(f"/fapi/v1/aggTrades?symbol=BTCUSDT&startTime={NOON_MS - 50 * 3_600_000}")
    assert old == []
    first_id = exchange.source.by_time(0, NOON_MS - 50 * 3_600_000, NOON_MS, 1, NOON_MS).agg_id[0]
    rows = exchange.get(f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={first_id}&limit=10")
    assert rows[0]["a"] > first_id
    assert rows[0]["T"] >= exchange.now_ms - 48 * 3_600_000


def test_klines_end_with_the_unfinished_one_and_agree_with_the_trades(exchange: Exchange):
    rows = exchange.get("/fapi/v1/klines?symbol=ETHUSDT&interval=1m&limit=1500")
    assert len(rows) == 1500
    assert [b[0] - a[0] for a, b in pairwise(rows)] == [60_000] * 1499
    assert rows[-1][0] == NOON_MS
    assert rows[-1][6] == NOON_MS + 59_999
    trades = exchange.get(f"/fapi/v1/aggTrades?symbol=ETHUSDT&startTime={NOON_MS}&limit=1000")
    assert rows[-1][1] == trades[0]["p"]
    assert rows[-1][4] == trades[-1]["p"]
    assert rows[-1][8] == trades[-1]["l"] - trades[0]["f"] + 1
    assert float(rows[-1][5]) == pytest.approx(sum(float(row["q"]) for row in trades))


def test_klines_of_a_range_begin_at_its_start_and_include_its_end(exchange: Exchange):
    start, end = NOON_MS - 600_000, NOON_MS - 300_000
    rows = exchange.get(f"/fapi/v1/klines?symbol=ETHUSDT&interval=1m&startTime={start}&endTime={end}")
    assert [row[0] for row in rows] == list(range(start, end + 1, 60_000))
    inside = exchange.get(f"/fapi/v1/klines?symbol=ETHUSDT&interval=1m&startTime={start + 1}&endTime={end - 1}")
    assert inside == rows[1:-1]
    assert exchange.get(f"/fapi/v1/klines?symbol=ETHUSDT&interval=1m&startTime={start}&limit=3") == rows[:3]
    assert exchange.get(f"/fapi/v1/klines?symbol=ETHUSDT&interval=1m&endTime={end}&limit=2") == rows[-2:]
    hour = exchange.get("/fapi/v1/klines?symbol=ETHUSDT&interval=1h&limit=2")
    assert [row[0] for row in hour] == [NOON_MS - 3_600_000, NOON_MS]


def test_the_ticker_has_the_last_trade_and_the_ids_of_what_was_printed(exchange: Exchange):
    day = exchange.get("/fapi/v1/ticker/24hr?symbol=BTCUSDT")
    last = exchange.get("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1")[0]
    assert (day["lastPrice"], day["lastQty"], day["lastId"]) == (last["p"], last["q"], last["l"])
    assert day["count"] == day["lastId"] - day["firstId"] + 1
    assert float(day["lowPrice"]) <= float(day["weightedAvgPrice"]) <= float(day["highPrice"])
    assert float(day["priceChange"]) == pytest.approx(float(day["lastPrice"]) - float(day["openPrice"]))
    every = {row["symbol"]: row for row in exchange.get("/fapi/v1/ticker/24hr")}
    assert len(every) == 20
    assert every["BTCUSDT"]["lastId"] == day["lastId"]
    assert float(every["BTCUSDT"]["quoteVolume"]) == pytest.approx(float(day["quoteVolume"]), rel=0.03)


def test_prices_marks_quotes_and_funding(exchange: Exchange):
    last = exchange.get("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1")[0]
    assert exchange.get("/fapi/v1/ticker/price?symbol=BTCUSDT")["price"] == last["p"]
    assert len(exchange.get("/fapi/v2/ticker/price")) == 20
    quote = exchange.get("/fapi/v1/ticker/bookTicker?symbol=BTCUSDT")
    assert float(quote["bidPrice"]) < float(quote["askPrice"])
    mark = exchange.get("/fapi/v1/premiumIndex?symbol=BTCUSDT")
    assert float(mark["markPrice"]) == float(last["p"])
    assert mark["nextFundingTime"] % 28_800_000 == 0
    assert len(exchange.get("/fapi/v1/premiumIndex")) == 20
    funding = exchange.get("/fapi/v1/fundingRate?symbol=BTCUSDT&limit=3")
    assert [row["fundingTime"] for row in funding] == [NOON_MS - 4 * 3_600_000 - k * 28_800_000 for k in (2, 1, 0)]
    since = exchange.get(f"/fapi/v1/fundingRate?symbol=BTCUSDT&startTime={funding[1]['fundingTime']}")
    assert since == funding[1:]


def test_recent_trades_carry_their_ids(exchange: Exchange):
    rows = exchange.get("/fapi/v1/trades?symbol=BTCUSDT&limit=2")
    aggs = exchange.get("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=2")
    assert [(row["id"], row["price"], row["qty"], row["isBuyerMaker"]) for row in rows] == [
        (agg["l"], agg["p"], agg["q"], agg["m"]) for agg in aggs
    ]


def test_a_name_outside_ascii_is_asked_for_in_percent_encoding(exchange: Exchange):
    rows = exchange.get("/fapi/v1/aggTrades?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=1")
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("target", "code", "status"),
    [
        ("/fapi/v1/aggTrades", -1102, 400),
        ("/fapi/v1/aggTrades?symbol=NOPE", -1121, 400),
        ("/fapi/v1/aggTrades?symbol=btcusdt", -1121, 400),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=x", -1100, 400),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=-1", -1100, 400),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=0", -1130, 400),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1001", -1130, 400),
        ("/fapi/v1/klines?symbol=BTCUSDT", -1102, 400),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=7m", -1120, 400),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1501", -1130, 400),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=2&endTime=1", -1023, 400),
        ("/fapi/v1/nothing", -5000, 404),
        ("/", -5000, 404),
    ],
)
def test_wrong_requests_get_the_exchanges_codes(exchange: Exchange, target: str, code: int, status: int):
    assert exchange.get(target, status)["code"] == code


def test_only_reading_is_possible(exchange: Exchange):
    assert exchange.api.answer("POST", "/fapi/v1/ping").status == 404


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        ("/fapi/v1/ping", 1),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1", 20),
        ("/fapi/v1/trades?symbol=BTCUSDT&limit=1", 5),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=99", 1),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=100", 2),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m", 5),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1001", 10),
        ("/fapi/v1/ticker/24hr?symbol=BTCUSDT", 1),
        ("/fapi/v1/ticker/24hr", 40),
        ("/fapi/v1/premiumIndex", 10),
    ],
)
def test_a_request_costs_its_weight(exchange: Exchange, target: str, weight: int):
    before = int(exchange.weights.headers()["X-MBX-USED-WEIGHT-1M"])
    answer = exchange.api.answer("GET", target)
    assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) == before + weight


def test_over_the_limit_is_429_with_the_time_to_wait():
    exchange = Exchange(limit=45)
    target = "/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1"
    exchange.get(target)
    exchange.get(target)
    answer = exchange.api.answer("GET", target)
    assert (answer.status, json.loads(answer.body)["code"]) == (429, -1003)
    assert answer.headers["Retry-After"] == "60"
