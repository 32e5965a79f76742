"""The client: tables in the right types, pages joined, errors in the server's words, retries only where they help."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import httpx2
import pandas as pd
import pytest

import pairscope
from pairscope.client import Client
from pairscope.errors import ApiRefused, ApiUnreachable, InputError, StoreUnavailable, UnknownSymbol

Answer = Callable[[httpx2.Request], httpx2.Response]


def client_of(answer: Answer, **options: Any) -> Client:
    client = Client("http://api.test", **options)
    client._http = httpx2.Client(
        base_url=client.base_url, headers=client._http.headers, transport=httpx2.MockTransport(answer)
    )
    return client


def problem(
    status: int, detail: str, *, kind: str = "", loc: list[str] | None = None, **headers: str
) -> httpx2.Response:
    body = {
        "type": f"urn:pairscope:problem:{kind}",
        "title": "No",
        "status": status,
        "detail": detail,
        "errors": [{"loc": loc, "msg": detail}] if loc else [],
    }
    return httpx2.Response(status, json=body, headers=headers)


def bar(timestamp: int, close: float = 1.0) -> dict[str, Any]:
    fields = {"open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": 3.0, "trades": 4, "vwap": 1.1}
    return {"timestamp": timestamp, **fields, "closed": True}


def test_it_imports_from_the_package_itself() -> None:
    assert pairscope.Client is Client


def test_bars_are_indexed_by_their_open_in_utc() -> None:
    client = client_of(
        lambda _: httpx2.Response(200, json={"bars": [bar(1_700_000_000_000, 0.00001234)], "next": None})
    )
    table = client.ohlc("PEPEUSDT", "1m")
    assert table.index[0] == pd.Timestamp("2023-11-14T22:13:20Z")
    assert table.close.iloc[0] == 0.00001234
    assert table.closed.dtype == bool


def test_an_empty_answer_is_an_empty_table_with_the_same_columns() -> None:
    client = client_of(lambda _: httpx2.Response(200, json={"bars": [], "ticks": [], "next": None}))
    bars, ticks = client.ohlc("BTCUSDT"), client.ticks("BTCUSDT")
    assert list(bars.columns) == ["open", "high", "low", "close", "volume", "trades", "vwap", "closed"]
    assert str(bars.index.dtype).startswith("datetime64")
    assert list(ticks.columns) == ["id", "timestamp", "price", "size", "buyer_is_maker"]


def test_a_range_is_followed_to_its_last_page_and_no_range_asks_once() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        at = int(request.url.params.get("cursor") or 0)
        return httpx2.Response(200, json={"bars": [bar(at), bar(at + 1)], "next": str(at + 2) if at < 4 else None})

    client = client_of(answer)
    assert len(client.ohlc("BTCUSDT", "1s", start=0, end=6)) == 6
    assert [page.get("cursor") for page in asked] == [None, "2", "4"]
    assert all(page["start"] == "0" and page["end"] == "6" for page in asked)
    assert len(client.ohlc("BTCUSDT", "1s", start=0, limit=3)) == 3
    asked.clear()
    assert len(client.ohlc("BTCUSDT", "1s", limit=2)) == 2
    assert asked == [{"timeframe": "1s", "limit": "2"}]


def test_times_are_taken_in_every_form() -> None:
    asked: list[httpx2.QueryParams] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params)
        return httpx2.Response(200, json={"ticks": [], "next": None})

    client = client_of(answer)
    east = timezone(timedelta(hours=2))
    for moment in (1700000000000, "2023-11-14T22:13:20Z", datetime(2023, 11, 15, 0, 13, 20, tzinfo=east)):
        client.ticks("BTCUSDT", start=moment)
    client.ticks("BTCUSDT", start=datetime(2023, 11, 14, 22, 13, 20))
    client.ticks("BTCUSDT", start=pd.Timestamp("2023-11-14T22:13:20", tz=UTC))
    written = [params["start"] for params in asked]
    assert written == ["1700000000000", "2023-11-14T22:13:20Z", *["2023-11-14T22:13:20.000Z"] * 3]


def test_a_symbol_outside_ascii_and_with_a_slash_stays_one_segment() -> None:
    paths: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.raw_path)
        return httpx2.Response(200, json={"symbol": "x"})

    client = client_of(answer)
    client.price("币安人生USDT")
    client.price("A/B")
    assert paths == [b"/api/price/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT", b"/api/price/A%2FB"]


def test_errors_carry_the_servers_words_and_place() -> None:
    answers = iter(
        [
            problem(
                404, "unknown symbol 'BTCUSD'; did you mean BTCUSDT?", kind="unknown-symbol", loc=["path", "symbol"]
            ),
            problem(422, "limit: must be at most 10000", kind="bad-parameter", loc=["query", "limit"]),
            problem(503, "the store does not answer", kind="store-unavailable"),
            problem(429, "too many requests", **{"Retry-After": "7"}),
            httpx2.Response(500, text="<html>"),
        ]
    )
    client = client_of(lambda _: next(answers))
    with pytest.raises(UnknownSymbol, match="did you mean BTCUSDT"):
        client.price("BTCUSD")
    with pytest.raises(InputError, match="at most 10000") as bad:
        client.ohlc("BTCUSDT", limit=10**9)
    assert bad.value.loc == "limit"
    with pytest.raises(StoreUnavailable, match="does not answer"):
        client.stats()
    with pytest.raises(ApiRefused) as many:
        client.stats()
    assert (many.value.http_status, many.value.retry_after_s) == (429, 7.0)
    with pytest.raises(ApiRefused, match="Internal Server Error"):
        client.stats()


def test_health_is_told_also_when_it_is_down() -> None:
    body = {"status": "down", "source": "live", "checks": {"store": {"status": "down"}}}
    client = client_of(lambda _: httpx2.Response(503, json=body))
    assert client.health() == body


def test_a_broken_connection_is_tried_again_and_a_slow_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pairscope.client.clients.time", SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic)
    )
    tries: list[str] = []

    def broken(request: httpx2.Request) -> httpx2.Response:
        tries.append(request.method)
        if len(tries) < 3:
            raise httpx2.ReadError("gone")
        return httpx2.Response(200, json={"ticks": 1})

    assert client_of(broken).stats() == {"ticks": 1}
    assert tries == ["GET"] * 3

    def slow(_: httpx2.Request) -> httpx2.Response:
        tries.append("slow")
        raise httpx2.ReadTimeout("slow")

    with pytest.raises(ApiUnreachable, match="in time"):
        client_of(slow).stats()
    assert tries.count("slow") == 1

    def never(_: httpx2.Request) -> httpx2.Response:
        tries.append("never")
        raise httpx2.ConnectError("refused")

    with pytest.raises(ApiUnreachable, match=r"no API answers at http://api\.test") as away:
        client_of(never).stats()
    assert tries.count("never") == 3
    assert "pairscope run" in away.value.line()
    tries.clear()
    with pytest.raises(ApiUnreachable):
        client_of(never).ws_ticket()
    assert tries == ["never"]


def test_the_key_is_sent() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"key": request.headers.get("X-API-Key")})

    assert client_of(answer, api_key="k").stats() == {"key": "k"}
    assert client_of(answer).stats() == {"key": None}


def test_symbols_are_a_table_by_name_also_before_their_first_tick() -> None:
    rows = [
        {"symbol": "BTCUSDT", "status": "live", "last_timestamp": 1_700_000_000_000, "tick_count": 5},
        {"symbol": "NEWUSDT", "status": "quiet", "last_timestamp": None, "tick_count": 0},
    ]
    table = client_of(lambda _: httpx2.Response(200, json=rows)).symbols()
    assert table.loc["BTCUSDT", "tick_count"] == 5
    assert table.last_timestamp.isna().to_list() == [False, True]


def test_the_last_hour_is_a_table_by_time_with_what_is_said_of_its_columns() -> None:
    said: dict[str, Any] = {
        "timestamp": [1_700_000_000_000, 1_700_000_005_000],
        "columns": {"ticks_per_second": [812.4, 797], "alert_rules": [None, None]},
        "units": {"ticks_per_second": "ticks/s"},
        "now": {"ticks_per_second": {"value": 797, "status": None}},
    }
    table = client_of(lambda _: httpx2.Response(200, json=said)).monitoring(minutes=10)
    assert table.index[1] == pd.Timestamp("2023-11-14T22:13:25Z")
    assert table.ticks_per_second.tolist() == [812.4, 797.0]
    assert table.alert_rules.isna().all() and table.dtypes.eq("float64").all()
    assert table.attrs["units"] == {"ticks_per_second": "ticks/s"}
    empty = client_of(lambda _: httpx2.Response(200, json={"timestamp": [], "columns": {"clients": []}})).monitoring()
    assert len(empty) == 0
    assert list(empty.columns) == ["clients"]


def test_indicators_are_columns_by_bar() -> None:
    body = {"timestamp": [0, 60_000], "closed": [True, False], "values": {"sma:2": [None, 1.5], "rsi:14": [None, None]}}
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params["names"])
        return httpx2.Response(200, json=body)

    table = client_of(answer).indicators("BTCUSDT", ["sma:2", "rsi:14"])
    assert asked == ["sma:2,rsi:14"]
    assert table["sma:2"].iloc[1] == 1.5
    assert list(table.columns) == ["sma:2", "rsi:14"]


def test_a_pair_s_series_is_a_table_by_time_and_its_holes_are_nan() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        series = {"timestamp": [0, 60_000], "spread": [None, 0.5], "zscore": [None, 2.0]}
        return httpx2.Response(200, json={"y": "A", "x": "B", "series": series})

    client = client_of(answer)
    table = client.pair_series("A", "B", lookback=60, end=datetime(2026, 1, 1))
    assert table.zscore.isna().to_list() == [True, False]
    assert str(table.index[1]) == "1970-01-01 00:01:00+00:00"
    assert asked[0]["series"] == "true"
    assert asked[0]["end"] == "2026-01-01T00:00:00.000Z"
    assert client.pair("A", "B")["y"] == "A"
    assert "series" not in asked[1]
    assert client.symbol_analytics("A", window=30)["x"] == "B"
    assert asked[2] == {"symbol": "A", "timeframe": "1m", "window": "30"}


def test_correlations_are_a_matrix_by_symbol() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.params["symbols"] == "A,B"
        return httpx2.Response(200, json={"symbols": ["A", "B"], "matrix": [[1.0, None], [None, None]]})

    table = client_of(answer).correlation(["A", "B"])
    assert table.loc["A", "A"] == 1.0
    assert table.isna().sum().sum() == 3
    assert (table.dtypes == "float64").all()


def test_statistics_follow_a_range_to_its_end_and_stop_at_the_limit() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        at = int(request.url.params.get("cursor") or 0)
        series = {"timestamp": [at, at + 1], "price": [1.0, None]}
        return httpx2.Response(200, json={"series": series, "next": str(at + 2) if at < 4 else None})

    client = client_of(answer)
    whole = client.statistics(y="A", x="B", start=0, end=6)
    assert len(whole) == 6
    assert [page.get("cursor") for page in asked] == [None, "2", "4"]
    assert "symbol" not in asked[0]
    assert len(client.statistics("A", start=0, limit=3)) == 3
    asked.clear()
    assert len(client.statistics("A", limit=2)) == 2
    assert len(asked) == 1


def test_the_watch_list_is_read_changed_and_left() -> None:
    asked: list[tuple[str, str, bytes]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, request.content))
        match request.method:
            case "GET":
                return httpx2.Response(200, json={"pairs": [{"y": "A", "x": "B", "live": None}]})
            case "POST":
                return httpx2.Response(201, json={"y": "A", "x": "B", "lookback": 60})
            case _:
                return httpx2.Response(204) if request.url.path.endswith("/B") else problem(404, "not on the list")

    client = client_of(answer)
    assert client.watchlist() == [{"y": "A", "x": "B", "live": None}]
    assert client.watch("A", "B", lookback=60)["lookback"] == 60
    client.unwatch("A", "B")
    with pytest.raises(ApiRefused, match="not on the list"):
        client.unwatch("A", "C")
    assert [verb for verb, _, _ in asked] == ["GET", "POST", "DELETE", "DELETE"]
    assert asked[2][1] == "/api/watchlist/A/B"


def test_one_who_is_told_to_come_again_knows_when() -> None:
    busy = problem(503, "18 heavy answers are being computed already", kind="busy", **{"Retry-After": "1"})
    with pytest.raises(ApiRefused, match="heavy") as error:
        client_of(lambda _: busy).pair("A", "B")
    assert (error.value.http_status, error.value.retry_after_s) == (503, 1.0)


def test_a_screen_is_read_whole_and_begun_again_where_a_newer_one_came_between_two_pages() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        at = int(asked[-1].get("cursor", 0))
        page = {"screen": 1 if len(asked) == 1 else 2, "tests": 4, "excluded": {"C": "late"}}
        rows = [{"y": "A", "x": "B", "qvalue": q / 10} for q in range(at, at + 2)]
        return httpx2.Response(200, json={**page, "pairs": rows, "next": "2" if at == 0 else None})

    table = client_of(answer).screen("5m", 2016, fdr=0.1)
    assert [page.get("cursor") for page in asked] == [None, "2", None, "2"]
    assert {page["fdr"] for page in asked} == {"0.1"}
    assert table.qvalue.tolist() == [0.0, 0.1, 0.2, 0.3]
    assert (table.attrs["screen"], table.attrs["excluded"]) == (2, {"C": "late"})
    asked.clear()
    assert len(client_of(answer).screen(limit=1)) == 1
    assert [page["limit"] for page in asked] == ["1"]


def test_a_screen_without_rows_has_its_columns_and_one_that_never_stands_still_says_so() -> None:
    empty = httpx2.Response(200, json={"screen": 1, "pairs": [], "next": None})
    assert list(client_of(lambda _: empty).screen(only="discoveries").columns[:2]) == ["y", "x"]
    numbers = iter(range(100))
    with pytest.raises(ApiRefused, match="a newer screen"):
        client_of(lambda _: httpx2.Response(200, json={"screen": next(numbers), "pairs": [], "next": "1"})).screen()


def test_a_patient_client_asks_a_busy_instance_again_and_no_longer_than_it_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    clock = iter(range(0, 1000, 4))
    told = SimpleNamespace(sleep=slept.append, monotonic=lambda: float(next(clock)))
    monkeypatch.setattr("pairscope.client.clients.time", told)
    busy = problem(503, "still being compiled", kind="busy", **{"Retry-After": "3"})
    answers = iter([busy, busy, httpx2.Response(200, json={"tests": 2})])
    assert client_of(lambda _: next(answers), patience_s=60.0).discoveries() == {"tests": 2}
    assert slept == [3.0, 3.0]
    slept.clear()
    with pytest.raises(ApiRefused, match="compiled"):
        client_of(lambda _: busy, patience_s=10.0).discoveries()
    assert slept == [3.0, 2.0]
    limited = problem(429, "too many", **{"Retry-After": "7"})
    with pytest.raises(ApiRefused, match="too many"):
        client_of(lambda _: limited).stats()
    assert len(slept) == 2
