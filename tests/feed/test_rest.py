"""The exchange's REST: what is asked, how answers are read, and what its refusals do to us."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from pairscope.errors import ConfigError, ConnectionLost, ExchangeRefused, MalformedFrame
from pairscope.feed.rest import ExchangeRest, Kline

T0 = 1_700_000_040 * 1_000_000_000  # a full minute


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = T0
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
async def rest(exchange: Any, clock: Time) -> AsyncIterator[ExchangeRest]:
    exchange.now_ms = lambda: clock() // 1_000_000
    rest = ExchangeRest(
        "http://exchange/", clock=clock, sleep=clock.sleep, rng=random.Random(1), transport=exchange.transport()
    )
    yield rest
    await rest.close()


def refusal(status: int, code: int = 0, message: str = "", **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json={"code": code, "msg": message}, headers=headers)


async def test_time_is_given_in_ns(rest: ExchangeRest) -> None:
    await rest.ping()
    assert await rest.time() == T0


async def test_a_symbol_outside_ascii_is_quoted(rest: ExchangeRest, exchange: Any) -> None:
    exchange.record("币安人生USDT")
    rows = await rest.agg_trades("币安人生USDT", from_id=1)
    assert [row.a for row in rows] == [1]
    assert exchange.asked("aggTrades") == [{"symbol": "币安人生USDT", "limit": "1000", "fromId": "1"}]


async def test_ranges_are_written_in_inclusive_milliseconds(rest: ExchangeRest, exchange: Any) -> None:
    await rest.agg_trades("BTCUSDT", start_ns=T0, end_ns=T0 + 60_000_000_000, limit=10)
    asked = exchange.asked("aggTrades")[0]
    assert (int(asked["startTime"]), int(asked["endTime"])) == (T0 // 10**6, T0 // 10**6 + 59_999)


async def test_candles_are_read_by_place(rest: ExchangeRest, exchange: Any) -> None:
    ms = T0 // 10**6
    exchange.klines["BTCUSDT"] = [[ms, "1.5", "2.5", "0.5", "2", "10", ms + 59_999, "17.5", 4, "6", "11.5", "0"]]
    rows = await rest.klines("BTCUSDT", "1m", start_ns=T0, end_ns=T0 + 60_000_000_000, limit=5)
    assert rows == [Kline(ms, 1.5, 2.5, 0.5, 2.0, 10.0, ms + 59_999, 17.5, 4, 6.0)]


async def test_the_busiest_are_traded_perpetuals_margined_in_dollars_by_quote_volume(
    rest: ExchangeRest, exchange: Any
) -> None:
    def listed(symbol: str, **other: Any) -> dict[str, Any]:
        return {"symbol": symbol, "status": "TRADING", "contractType": "PERPETUAL", "quoteAsset": "USDT"} | other

    exchange.instruments = [
        listed("AUSDT"),
        listed("BUSDT"),
        listed("CUSDC", quoteAsset="USDC"),
        listed("DUSDT", status="SETTLING"),
        listed("EUSDT", status="A_NEW_STATE"),
        listed("BTCUSDT_261225", contractType="CURRENT_QUARTER"),
        listed("BTCUSD_PERP", quoteAsset="USD"),
        listed("FUSDT", st=2),
        listed("币安人生USDT"),
        {"symbol": "ODD"},
    ]
    exchange.tickers = [
        {"symbol": "AUSDT", "quoteVolume": "5.0", "lastId": 1},
        {"symbol": "CUSDC", "quoteVolume": "7000000000.25", "lastId": 1},
        {"symbol": "DUSDT", "quoteVolume": "9e12", "lastId": 1},
        {"symbol": "币安人生USDT", "quoteVolume": "6.0", "lastId": 1, "st": 1},
    ]
    assert await rest.busiest(10) == ["CUSDC", "币安人生USDT", "AUSDT", "BUSDT"]
    assert await rest.busiest(2) == ["CUSDC", "币安人生USDT"]


@pytest.mark.parametrize(("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1500, 10)])
async def test_candles_cost_what_the_exchange_says(rest: ExchangeRest, limit: int, weight: int) -> None:
    await rest.klines("BTCUSDT", "1m", start_ns=T0, end_ns=T0 + 1, limit=limit)
    assert rest.budget.used == weight


async def test_the_other_calls_cost_what_the_exchange_says(rest: ExchangeRest) -> None:
    for call, weight in [(rest.ping, 1), (rest.time, 1), (rest.exchange_info, 1), (rest.ticker_24h, 40)]:
        before = rest.budget.used
        await call()
        assert rest.budget.used - before == weight
    before = rest.budget.used
    await rest.agg_trades("BTCUSDT", from_id=1, limit=1)
    assert rest.budget.used - before == 20


async def test_our_share_of_the_weight_is_kept_in_every_minute(rest: ExchangeRest, exchange: Any, clock: Time) -> None:
    minutes: dict[int, int] = {}
    for _ in range(300):
        await rest.agg_trades("BTCUSDT", from_id=1)
        minute = clock() // 60_000_000_000
        minutes[minute] = minutes.get(minute, 0) + 20
    assert max(minutes.values()) <= 0.8 * 2400
    assert len(minutes) == 4


async def test_the_weight_header_counts_in_any_case_and_odd_ones_do_not(rest: ExchangeRest, exchange: Any) -> None:
    for name, value in [("x-mbx-used-weight-1m", "1234"), ("X-MBX-USED-WEIGHT-1M", "1300")]:
        exchange.answers.append(httpx2.Response(200, json={}, headers={name: value}))
        await rest.ping()
        assert rest.budget.used == int(value)
    for odd in ("-1", "many", ""):
        exchange.answers.append(httpx2.Response(200, json={}, headers={"X-MBX-USED-WEIGHT-1M": odd}))
        await rest.ping()
    assert rest.budget.used == 1303


@pytest.mark.parametrize(
    "failure", [httpx2.ConnectError("x"), httpx2.ReadTimeout("x"), refusal(500), refusal(503, -1008), refusal(408)]
)
async def test_a_passing_failure_is_retried(rest: ExchangeRest, exchange: Any, clock: Time, failure: Any) -> None:
    exchange.answers.append(failure)
    assert await rest.time() == clock() // 10**6 * 10**6
    assert len(exchange.requests) == 2


async def test_patience_ends(rest: ExchangeRest, exchange: Any) -> None:
    exchange.answers.extend(httpx2.ConnectError("no route") for _ in range(5))
    with pytest.raises(ConnectionLost, match="no route"):
        await rest.time()
    assert len(exchange.requests) == 3


async def test_a_sign_of_life_is_asked_for_once(rest: ExchangeRest, exchange: Any) -> None:
    exchange.answers.append(httpx2.ConnectError("no route"))
    with pytest.raises(ConnectionLost):
        await rest.ping(timeout_s=3)
    assert len(exchange.requests) == 1


async def test_an_unknown_symbol_is_refused_with_the_exchanges_code_and_not_asked_again(
    rest: ExchangeRest, exchange: Any
) -> None:
    exchange.answers.append(refusal(400, -1121, "Invalid symbol."))
    with pytest.raises(ExchangeRefused, match=r"Invalid symbol\.") as caught:
        await rest.agg_trades("NOSUCH", from_id=1)
    assert (caught.value.code, caught.value.http_status) == (-1121, 400)
    assert len(exchange.requests) == 1


async def test_429_silences_every_request_for_as_long_as_it_says(
    rest: ExchangeRest, exchange: Any, clock: Time
) -> None:
    exchange.answers.append(refusal(429, -1003, "Too many requests", **{"Retry-After": "7"}))
    await rest.time()
    assert clock() - T0 >= 7 * 10**9
    assert rest.refused == 1


async def test_429_without_a_time_waits_for_the_next_minute(rest: ExchangeRest, exchange: Any, clock: Time) -> None:
    clock.now_ns += 50 * 10**9
    exchange.answers.append(refusal(429, -1003, "Too many requests; current limit is 2400 requests per minute"))
    await rest.time()
    assert 10 * 10**9 <= clock() - T0 - 50 * 10**9 < 12 * 10**9


async def test_a_ban_is_obeyed_until_the_time_in_its_text_without_another_request(
    rest: ExchangeRest, exchange: Any, clock: Time
) -> None:
    until_ms = T0 // 10**6 + 600_000
    exchange.answers.append(refusal(418, -1003, f"Way too many requests; IP banned until {until_ms}. Please use"))
    with pytest.raises(ExchangeRefused) as caught:
        await rest.time()
    assert caught.value.retry_after_s == pytest.approx(600, abs=20)
    asked, used = len(exchange.requests), rest.budget.used
    with pytest.raises(ExchangeRefused):
        await rest.agg_trades("BTCUSDT", from_id=1)
    assert (len(exchange.requests), rest.budget.used) == (asked, used)
    clock.now_ns = (until_ms + 1) * 10**6
    await rest.time()
    assert len(exchange.requests) == asked + 1


@pytest.mark.parametrize(("status", "least_s"), [(418, 120), (403, 300)])
async def test_a_ban_or_a_wall_without_a_time_is_left_alone_for_minutes(
    rest: ExchangeRest, exchange: Any, status: int, least_s: float
) -> None:
    exchange.answers.append(httpx2.Response(status, text="<html>forbidden</html>"))
    with pytest.raises(ExchangeRefused):
        await rest.time()
    assert rest.blocked_s > least_s - 20
    assert len(exchange.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1,2", b'{"serverTime":"soon"}', b"[]"])
async def test_an_answer_of_another_shape_is_malformed(rest: ExchangeRest, exchange: Any, body: bytes) -> None:
    exchange.answers.append(httpx2.Response(200, content=body))
    with pytest.raises(MalformedFrame):
        await rest.time()


@pytest.mark.parametrize("address", ["", "exchange", "ftp://exchange", "http://[::1"])
async def test_an_address_that_is_none_names_its_setting(clock: Time, address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await ExchangeRest(address, clock=clock, sleep=clock.sleep).ping()
    assert caught.value.loc == "PAIRSCOPE_EXCHANGE_REST_URL"
