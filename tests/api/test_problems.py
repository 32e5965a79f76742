"""Every error of every route has one shape: RFC 9457, with type, title, status, detail and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from structlog.testing import capture_logs

from pairscope import errors
from pairscope.api.app import ApiOptions, create_app
from pairscope.errors import PairscopeError

from .conftest import client_of
from .market import Market
from .test_security import every_route

FIELDS = {"type", "title", "status", "detail", "errors"}


def assert_problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert set(document) - {"hint", "instance"} == FIELDS
    assert document["status"] == status
    assert document["type"].startswith("urn:pairscope:problem:")
    assert document["title"]
    assert document["detail"]
    assert all(set(item) == {"loc", "msg"} and isinstance(item["loc"], list) for item in document["errors"])
    return document


async def test_every_route_refuses_other_methods_in_this_shape(api: httpx2.AsyncClient, market: Market) -> None:
    for method, path in every_route(market):
        if path == "/nothing/here":
            assert_problem(await api.request(method, path), 404)
            continue
        answer = await api.put(path)
        assert_problem(answer, 405)
        assert method.upper() in answer.headers["allow"].split(", "), path


async def test_every_route_with_a_symbol_refuses_one_that_is_not_there(api: httpx2.AsyncClient, market: Market) -> None:
    routes = [(method, path) for method, path in every_route(market) if "BTCUSDT" in path]
    assert len(routes) >= 5
    for method, path in routes:
        query = {"indicators": "sma:5"} if "indicators" in path else {}
        answer = await api.request(method, path.replace("BTCUSDT", "NOPEUSD"), params=query)
        document = assert_problem(answer, 404)
        assert document["errors"][0]["loc"] == ["path", "symbol"]


async def test_every_route_with_parameters_refuses_one_that_it_does_not_know(
    api: httpx2.AsyncClient, market: Market
) -> None:
    for path in ("ohlc", "ticks", "indicators", "volume"):
        document = assert_problem(await api.get(f"/api/{path}/BTCUSDT?colour=red"), 422)
        assert document["errors"] == [{"loc": ["query", "colour"], "msg": "there is no such parameter"}]


NOWHERE = (
    "/",
    "/api",
    "/api/",
    "/api/price",
    "/api/price/",
    "/api/price/A/B",
    "/api/health/",
    "//",
    "/%2e%2e/etc/passwd",
    "/ws/updates",
)


@pytest.mark.parametrize("path", NOWHERE)
async def test_a_path_that_is_not_there_is_a_404(api: httpx2.AsyncClient, path: str) -> None:
    assert_problem(await api.get(path), 404)


async def test_a_store_that_is_down_is_a_503_that_says_when_to_try_again(fresh_market: Market) -> None:
    await fresh_market.store.close()
    async with client_of(fresh_market) as api:
        for path in ("ohlc", "ticks", "volume", "indicators"):
            query = {"indicators": "sma:5"} if path == "indicators" else {}
            answer = await api.get(f"/api/{path}/BTCUSDT", params=query)
            assert int(answer.headers["retry-after"]) >= 1
            assert "market.duckdb" not in answer.text or "is closed" in answer.text
            assert_problem(answer, 503)
        assert (await api.get("/api/price/BTCUSDT")).status_code == 200, "now is known without the store"
        assert (await api.get("/api/symbols")).status_code == 200


def every_error() -> list[PairscopeError]:
    found: list[PairscopeError] = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        ways = (("message",), {}), (("m",), {"need": 2, "have": 1}), (("m",), {"http_status": 418}), (("y", "x"), {})
        for arguments in ways:
            try:
                found.append(kind(*arguments[0], **arguments[1]))
                break
            except TypeError:
                continue
        else:
            raise AssertionError(f"no way to make a {name}")
    return found


@pytest.mark.parametrize("error", every_error(), ids=lambda e: type(e).__name__)
async def test_each_error_of_the_tree_leaves_with_its_own_status_and_hint(
    market: Market, error: PairscopeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise error

    monkeypatch.setattr(market, "services", _with_failing_health(market, fail))
    async with client_of(market) as api:
        answer = await api.get("/api/health")
        document = assert_problem(answer, error.status)
        assert document.get("hint", "") == error.hint
        assert ("retry-after" in answer.headers) == (error.status == 503 or error.retry)


def _with_failing_health(market: Market, fail: Any) -> Any:
    import dataclasses

    services = dataclasses.replace(market.services(), health=fail)
    return lambda: services


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing_and_is_logged(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise ZeroDivisionError("secret inside at /home/x")

    monkeypatch.setattr(market, "services", _with_failing_health(market, fail))
    async with client_of(market) as api:
        with capture_logs() as logs:
            answer = await api.get("/api/health")
        document = assert_problem(answer, 500)
        assert "secret" not in answer.text
        assert "ZeroDivision" not in answer.text
        assert "Traceback" not in answer.text
        assert document["hint"]
        (fault,) = [entry for entry in logs if entry["event"] == "request failed"]
        assert (fault["log_level"], fault["path"]) == ("error", "/api/health")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_body_that_is_too_large_is_a_413_said_or_not(market: Market) -> None:
    async def in_parts(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 100

    async def length_of(request: Request) -> int:
        return len(await request.body())

    app = create_app(market.services(), options=ApiOptions(max_body_bytes=1000))
    app.add_api_route("/length", length_of, methods=["POST"])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as api:
        for body in (b"x" * 1001, in_parts(11)):
            assert_problem(await api.post("/length", content=body), 413)
        for body in (b"x" * 1000, in_parts(10)):
            assert (await api.post("/length", content=body)).text == "1000"
        for said in ("-1", "x", "٣", "9" * 100):
            answer = await api.post("/length", content=b"", headers={"Content-Length": said.encode()})
            assert answer.status_code in {200, 413}


async def test_a_body_of_json_that_nobody_needs_so_large_is_a_413(api: httpx2.AsyncClient) -> None:
    body = b'{"y": "' + b"a" * (1 << 20) + b'"}'
    assert_problem(await api.post("/api/backtest", content=body, headers={"content-type": "application/json"}), 413)


@pytest.mark.parametrize(
    ("path", "body", "loc", "words"),
    [
        ("/api/backtest", {"fee_bps": -1}, ["body", "fee_bps"], "fee_bps: "),
        ("/api/backtest", {"slippage_bps": [1, 2, 3]}, ["body", "slippage_bps"], "slippage_bps: "),
        ("/api/backtest", {"hedge": {"lookback": "a"}}, ["body", "hedge", "lookback"], "lookback: "),
        ("/api/backtest", {"float": 1}, ["body", "float"], "float: "),
        ("/api/backtest/sweep", {"entry": [1, "a"]}, ["body", "entry", 1], "entry[1]: "),
    ],
)
async def test_a_wrong_value_is_named_as_it_was_sent(
    api: httpx2.AsyncClient, path: str, body: dict[str, Any], loc: list[str | int], words: str
) -> None:
    answer = await api.post(path, json={"y": "ETHUSDT", "x": "BTCUSDT", **body})
    document = assert_problem(answer, 422)
    assert document["errors"][0]["loc"] == loc
    assert all(part.startswith(words) for part in document["detail"].split("; "))


async def test_a_body_that_is_no_json_is_said_to_be_none(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/backtest", content=b'{"y": ', headers={"content-type": "application/json"})
    document = assert_problem(answer, 422)
    assert document["detail"].startswith("body: not JSON")
    assert document["errors"][0]["loc"] == ["body"]
