"""Who may call: keys before anything else, tickets for browsers, limits per key, origins by list."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from pairscope.api.app import ApiOptions, create_app
from pairscope.api.security import FREE_PATHS, Keys, Tickets
from pairscope.errors import ConfigError

from .conftest import client_of
from .market import Market
from .test_stream import hear, served, subscribe

KEY, OTHER, DASHBOARD = "a-long-random-key", "another-key", "the-dashboards-key"


def hashed(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


LOCKED = ApiOptions(api_keys=(hashed(KEY), hashed(OTHER)), dashboard_key=hashed(DASHBOARD), jwt_secret="s" * 32)


def every_route(market: Market) -> list[tuple[str, str]]:
    """Every (method, path) of the application, found in it."""
    app = create_app(market.services())
    found = [
        (method, path.replace("{symbol}", "BTCUSDT"))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    ]
    hidden = [
        ("get", route.path) for route in app.routes if isinstance(route, APIRoute) and not route.include_in_schema
    ]
    assert len(found) > 8
    return [*found, *hidden, ("get", "/docs"), ("get", "/openapi.json"), ("get", "/nothing/here")]


async def test_without_a_key_every_route_but_health_is_401_before_anything_is_looked_at(market: Market) -> None:
    async with client_of(market, LOCKED) as api:
        for method, path in every_route(market):
            for query in ("", "?limit=-5&start=x"):
                answer = await api.request(method, path + query)
                if path in FREE_PATHS:
                    assert answer.status_code == 200
                    continue
                assert answer.status_code == 401, path
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert "limit" not in answer.text
        assert (await api.get("/api/price/%00")).status_code == 401
        assert (await api.put("/api/price/BTCUSDT")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"X-API-Key": OTHER},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"X-API-Key": DASHBOARD},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
async def test_a_key_is_taken_in_either_header(market: Market, headers: dict[str, str]) -> None:
    async with client_of(market, LOCKED) as api:
        assert (await api.get("/api/price/BTCUSDT", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY + " x"},
        {"X-API-Key": hashed(KEY)},
        {"X-API-Key": ""},
        {"X-API-Key": b"\xff\xfe"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer " + "." * 5000},
    ],
)
async def test_what_is_no_key_is_refused(market: Market, headers: dict[str, Any]) -> None:
    async with client_of(market, LOCKED) as api:
        assert (await api.get("/api/price/BTCUSDT", headers=headers)).status_code == 401


@pytest.mark.parametrize("key", ["secret", "sha256:", "sha256:xyz", "md5:" + "0" * 64, "sha256:" + "g" * 64])
def test_a_key_that_is_not_written_as_its_hash_is_refused_at_the_start_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Keys(ApiOptions(api_keys=(key,)))
    assert "sha256:<" in str(refused.value)
    assert key == "sha256:" or key not in refused.value.line()


async def test_no_secret_is_in_anything_that_is_answered_or_shown(market: Market) -> None:
    secrets = [KEY, DASHBOARD, LOCKED.jwt_secret, *LOCKED.api_keys, LOCKED.dashboard_key]
    async with client_of(market, LOCKED, headers={"X-API-Key": KEY}) as api:
        for method, path in every_route(market):
            text = (await api.request(method, path)).text
            assert not any(secret in text for secret in secrets), path


async def test_a_ticket_opens_one_websocket_and_serves_reads_while_it_lives(market: Market) -> None:
    async with client_of(market, LOCKED, headers={"X-API-Key": KEY}) as api:
        issued = await api.post("/api/ws-ticket")
        assert issued.status_code == 201
        assert issued.headers["cache-control"] == "no-store"
        ticket = issued.json()["ticket"]
        assert issued.json()["expires_in_s"] == 30
    app = create_app(market.services(), options=LOCKED)
    assert app is not None
    bearer = {"Authorization": f"Bearer {ticket}"}
    async with client_of(market, LOCKED, headers=bearer) as api:
        assert (await api.get("/api/price/BTCUSDT")).status_code == 200
        assert (await api.post("/api/ws-ticket")).status_code == 401, "a ticket makes no tickets"
        market.now_ns += 31_000_000_000
        assert (await api.get("/api/price/BTCUSDT")).status_code == 401
        market.now_ns -= 31_000_000_000
        assert (
            await api.get("/api/price/BTCUSDT", headers={"Authorization": bearer["Authorization"] + "x"})
        ).status_code == 401
    async with served(market, LOCKED) as url:
        protocols = ["pairscope.v1", f"ticket.{ticket}"]
        async with connect(url, subprotocols=protocols) as client:  # type: ignore[arg-type]
            assert client.subprotocol == "pairscope.v1"
            await subscribe(client, "price:BTCUSDT")
            assert (await hear(client))["topic"] == "price:BTCUSDT"
        for extra in ({"subprotocols": protocols}, {}, {"subprotocols": ["ticket.x.y.z"]}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, **extra)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body or b"{}")["status"] == 401
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {OTHER}"}):
            async with connect(url, additional_headers=headers):
                pass


async def test_a_ticket_is_good_once_in_time_and_from_here_only(market: Market) -> None:
    now = [1_000_000_000_000_000_000]
    tickets = Tickets("k" * 32, lambda: now[0])
    ticket = tickets.issue("me")
    assert await tickets.holder(ticket, spend=False) == "me"
    assert await tickets.holder(ticket, spend=True) == "me"
    assert await tickets.holder(ticket, spend=True) is None
    late = tickets.issue("me")
    now[0] += 31_000_000_000
    assert await tickets.holder(late, spend=True) is None
    assert await Tickets("another" * 8, lambda: now[0]).holder(tickets.issue("me"), spend=True) is None
    head, body, sign = tickets.issue("me").split(".")
    assert await tickets.holder(f"{head}.{body}.{sign[::-1]}", spend=True) is None
    unsigned = "eyJhbGciOiJub25lIn0." + body + "."
    assert await tickets.holder(unsigned, spend=True) is None


@pytest.mark.parametrize("junk", ["", ".", "..", "a.b.c", "é.é.é", "e30.e30.e30", "x" * 10_000])
async def test_junk_is_no_ticket(junk: str) -> None:
    assert await Tickets("", lambda: 0).holder(junk, spend=True) is None


async def test_too_many_calls_are_429_and_say_when_to_ask_again(market: Market) -> None:
    async with client_of(market, ApiOptions(rate_limit="5/minute")) as api:
        statuses = [(await api.get("/api/price/BTCUSDT")).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        refused = await api.get("/api/price/BTCUSDT")
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await api.get("/api/health")).status_code == 200, "health is never counted"


async def test_each_key_has_a_limit_of_its_own_and_the_dashboards_none(market: Market) -> None:
    options = ApiOptions(
        api_keys=LOCKED.api_keys, dashboard_key=LOCKED.dashboard_key, jwt_secret="s" * 32, rate_limit="3/minute"
    )
    async with client_of(market, options) as api:
        for key, allowed in ((KEY, 3), (OTHER, 3), (DASHBOARD, 10)):
            statuses = [
                (await api.get("/api/price/BTCUSDT", headers={"X-API-Key": key})).status_code for _ in range(10)
            ]
            assert statuses == [200] * allowed + [429] * (10 - allowed)
        wrong = [(await api.get("/api/price/BTCUSDT", headers={"X-API-Key": "guess"})).status_code for _ in range(5)]
        assert wrong == [401] * 3 + [429] * 2, "guessing is limited by address"


async def test_websockets_are_limited_too(market: Market) -> None:
    async with served(market, ApiOptions(rate_limit="2/minute")) as url:
        for _ in range(2):
            async with connect(url):
                pass
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 429
        assert "Retry-After" in refused.value.response.headers


def test_a_limit_that_cannot_be_read_is_refused_at_the_start(market: Market) -> None:
    with pytest.raises(ConfigError, match="RATE_LIMIT"):
        create_app(market.services(), options=ApiOptions(rate_limit="often"))


async def test_only_listed_origins_may_read_from_a_browser(market: Market) -> None:
    origin = "http://localhost:8501"
    async with client_of(market, ApiOptions(cors_origins=(origin,), api_keys=(hashed(KEY),))) as api:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "x-api-key",
        }
        preflight = await api.options("/api/price/BTCUSDT", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        refused = await api.get("/api/price/BTCUSDT", headers={"Origin": origin})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == origin, "a page must be able to read its errors"
        foreign = await api.get("/api/price/BTCUSDT", headers={"Origin": "http://evil.example", "X-API-Key": KEY})
        assert "access-control-allow-origin" not in foreign.headers
        assert (
            await api.options("/api/price/BTCUSDT", headers=asked | {"Origin": "http://evil.example"})
        ).status_code == 400


async def test_a_host_name_that_is_not_ours_is_403(market: Market) -> None:
    async with client_of(market, ApiOptions(hosts=("localhost", "127.0.0.1", "::1"))) as api:
        for host, status in (
            ("localhost", 200),
            ("LOCALHOST:8000", 200),
            ("127.0.0.1:8000", 200),
            ("[::1]:8000", 200),
            ("evil.example", 403),
            ("localhost.evil.example", 403),
            ("[", 403),
            ("", 403),
        ):
            assert (await api.get("/api/stats", headers={"Host": host})).status_code == status, host
        assert (await api.get("/api/health", headers={"Host": "evil.example"})).status_code == 200


async def test_every_answer_tells_browsers_to_take_it_for_what_it_is(api: httpx2.AsyncClient) -> None:
    for path in ("/api/health", "/api/price/BTCUSDT", "/nothing", "/docs"):
        headers = (await api.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert len(headers.get_list("content-security-policy")) == 1
