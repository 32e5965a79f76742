"""Two replicas over real sockets, one of them the desk: whoever is asked, the desk answers what is its own."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from pairscope.api.app import ApiOptions, create_app
from pairscope.api.forwarding import TOPIC_PATH, whose
from pairscope.api.passes import HANDED_ON, PASS_S, Passes
from pairscope.api.security import FREE_PATHS
from pairscope.api.server import make_server
from pairscope.storage.memory_cache import MemoryBus, MemoryCache

from .market import Market
from .test_stream import hear, subscribe, until

KEY = "a-long-random-key"
LOCKED = ApiOptions(
    api_keys=(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}",),
    jwt_secret="s" * 32,
    stats_period_s=0.1,
    desk_wait_s=0.0,
)
OPEN = ApiOptions(stats_period_s=0.1, desk_wait_s=0.0)
PATIENT = ApiOptions(stats_period_s=0.1, desk_wait_s=300.0)
ALERT = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 10_000_000}


@dataclasses.dataclass
class Seat:
    """Who is the desk, as a test has it."""

    here: bool = False
    known: str = ""
    found: str | None = None
    asked: int = 0

    async def address(self, *, fresh: bool = False) -> str:
        self.asked += fresh
        return self.found if fresh and self.found is not None else self.known


@dataclasses.dataclass
class Replica:
    """One replica: its parts, what it takes for the desk, where it listens."""

    market: Market
    seat: Seat
    url: str
    server: uvicorn.Server

    def asks(self, **extra: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=60, **extra)


@asynccontextmanager
async def replica(market: Market, seat: Seat, options: ApiOptions = OPEN) -> AsyncIterator[Replica]:
    services = dataclasses.replace(market.services(), desk=seat)
    server = make_server(create_app(services, options=options), host="127.0.0.1", port=0)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    try:
        yield Replica(market, seat, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", server)
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 60)


@asynccontextmanager
async def two(market: Market, options: ApiOptions = OPEN) -> AsyncIterator[tuple[Replica, Replica]]:
    """The desk, and a replica that knows where it is."""
    async with (
        replica(own(market), Seat(here=True), options) as desk,
        replica(own(market), Seat(known=desk.url), options) as other,
    ):
        yield desk, other


def own(market: Market) -> Market:
    """The same store and engine with alerts, jobs, cache and bus of one's own."""
    return dataclasses.replace(market, cache=MemoryCache(), bus=MemoryBus())


def test_every_route_is_declared_to_be_the_desks_or_everybodys(market: Market) -> None:
    app = create_app(dataclasses.replace(market.services(), desk=Seat()))
    hidden = [("GET", getattr(route, "path", "")) for route in app.routes if not getattr(route, "include_in_schema", 1)]
    paths = app.openapi()["paths"]
    known = {(verb.upper(), path): whose(verb.upper(), path) for path, verbs in paths.items() for verb in verbs}
    assert [route for route, who in known.items() if who is None] == []
    assert [path for verb, path in hidden if whose(verb, path) is None] == []
    assert ("GET", TOPIC_PATH) in hidden
    desk = {f"{verb} {path}" for (verb, path), who in known.items() if who == "desk"}
    assert len(desk) > 30
    assert {"POST /api/alerts", "GET /api/jobs", "POST /api/watchlist", "POST /api/upload/ohlc"} <= desk
    here = {f"{verb} {path}" for (verb, path), who in known.items() if who == "here"}
    assert {
        "GET /api/watchlist",
        "GET /api/uploads",
        "GET /api/price/{symbol}",
        "GET /api/health",
        "GET /metrics",
    } <= here


async def test_what_the_desk_owns_is_made_changed_and_read_through_any_replica(market: Market) -> None:
    async with two(market) as (desk, other), other.asks() as there, desk.asks() as here:
        made = await there.post("/api/alerts", json={**ALERT, "note": "é"})
        assert made.status_code == 201, made.text
        assert desk.market.alerts.ids() == [made.json()["id"]]
        assert list(other.market.alerts.ids()) == []
        seen = await there.get(f"/api/alerts/{made.json()['id']}")
        assert seen.json() == (await here.get(f"/api/alerts/{made.json()['id']}")).json()
        assert seen.json()["note"] == "é"
        bad = await there.post("/api/alerts", json={**ALERT, "threshold": "high"})
        assert (bad.status_code, bad.headers["content-type"]) == (422, "application/problem+json")
        gone = await there.delete(f"/api/alerts/{made.json()['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert desk.market.alerts.ids() == []


async def test_each_header_comes_once_as_if_the_desk_had_been_asked(market: Market) -> None:
    async with two(market) as (desk, other), other.asks() as there, desk.asks() as here:
        headers = {"X-Request-ID": "one-two", "Origin": "http://127.0.0.1:8501", "Accept-Encoding": "gzip"}
        for path in ("/api/jobs", "/api/paper/none", "/api/alerts?limit=no", "/api/alerts/triggered"):
            answers = [await client.get(path, headers=headers) for client in (here, there)]
            direct, through = [
                sorted((name, value) for name, value in answer.headers.multi_items() if name != "date")
                for answer in answers
            ]
            assert through == direct, path
            assert answers[0].content == answers[1].content
            assert answers[1].headers["X-Request-ID"] == "one-two"


async def test_a_large_body_and_a_large_answer_flow_through(market: Market) -> None:
    rows = "timestamp,open,high,low,close,volume\n" + "".join(
        f"2020-01-{1 + i // 1440:02d}T{i // 60 % 24:02d}:{i % 60:02d}:00Z,1,2,0.5,1.5,10\n" for i in range(5_000)
    )
    async with two(market) as (_, other), other.asks() as there:
        form = {"symbol": "NEWUSDT", "timeframe": "1m", "preview": "true"}
        answer = await there.post("/api/upload/ohlc", data=form, files={"file": ("a.csv", rows.encode(), "text/csv")})
        assert answer.status_code == 200, answer.text
        assert answer.json()["inserted"] == 5_000


async def test_a_body_that_is_too_large_is_413_through_a_replica_whether_it_says_so_or_not(market: Market) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1000

    options = dataclasses.replace(OPEN, max_json_bytes=10_000)
    async with two(market, options) as (_, other), other.asks() as there:
        for body in (b" " * 20_000, pieces()):
            answer = await there.post("/api/alerts", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413


async def test_while_nobody_is_the_desk_the_answer_is_503_and_everything_else_goes_on(market: Market) -> None:
    async with replica(market, Seat()) as alone, alone.asks() as api:
        for method, path in (("GET", "/api/alerts"), ("POST", "/api/alerts"), ("DELETE", "/api/jobs/x")):
            answer = await api.request(method, path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
            assert answer.json()["type"] == "urn:pairscope:problem:desk-away"
        assert (await api.get("/api/price/BTCUSDT")).status_code == 200
        assert (await api.get("/api/watchlist")).status_code == 200


async def test_a_desk_that_has_moved_is_found_again(market: Market) -> None:
    """The replica's knowledge is old: at that address is nobody, or a replica that is not the desk any more."""
    async with two(market) as (desk, other), replica(own(market), Seat()) as was, other.asks() as api:
        for old in ("http://127.0.0.1:9", was.url):
            other.seat.known, other.seat.found = old, desk.url
            assert (await api.get("/api/jobs")).status_code == 200
        for old in ("http://127.0.0.1:9", was.url):
            other.seat.known = old
            assert (await api.post("/api/alerts", json=ALERT)).status_code == 201
        other.seat.found = "http://127.0.0.1:9"
        assert (await api.get("/api/jobs")).status_code == 503


async def test_what_is_asked_while_the_desk_is_dead_waits_for_the_next_one(market: Market) -> None:
    """Whoever is the next, even the replica that was asked, and whatever was asked for."""
    async with two(market, PATIENT) as (desk, other), other.asks() as api:
        for next_one in (desk, other):
            other.seat.known, other.seat.found, other.seat.asked = "http://127.0.0.1:9", None, 0
            asked = [
                asyncio.create_task(api.get("/api/jobs")),
                asyncio.create_task(api.post("/api/alerts", json=ALERT)),
            ]
            await until(lambda: other.seat.asked >= 4)
            assert not any(task.done() for task in asked)
            other.seat.here, other.seat.found = next_one is other, next_one.url
            assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 201]
        assert len((await api.get("/api/alerts")).json()["alerts"]) == 1, "each replica of this test has its own"


async def test_a_desk_that_dies_over_a_question_is_asked_no_more_and_the_next_one_is(market: Market) -> None:
    """Also where the question says that its body has no bytes; what may have been changed is not changed again."""
    dying = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with dying, two(market, PATIENT) as (desk, other), other.asks() as api:
        other.seat.known = f"http://127.0.0.1:{dying.sockets[0].getsockname()[1]}"
        other.seat.found = desk.url
        for headers in ({}, {"Content-Length": "0"}):
            answer = await asyncio.wait_for(api.get("/api/jobs", headers=headers), 60)
            assert answer.status_code == 200
        assert (await api.post("/api/alerts", json=ALERT)).status_code == 503
        assert (await api.delete("/api/jobs/x")).status_code == 503


async def test_who_waits_for_a_desk_is_let_go_when_the_replica_stops(market: Market) -> None:
    async with replica(market, Seat(known="http://127.0.0.1:9"), PATIENT) as alone, alone.asks() as api:
        asked = asyncio.create_task(api.get("/api/jobs"))
        await until(lambda: alone.seat.asked >= 2)
        await alone.server.config.app.state.part()
        assert (await asyncio.wait_for(asked, 60)).status_code == 503


async def test_two_replicas_that_each_take_the_other_for_the_desk_refuse_and_do_not_go_in_circles(
    market: Market,
) -> None:
    async with two(market) as (one, other), other.asks() as api:
        one.seat.here, one.seat.known = False, other.url
        assert (await api.get("/api/jobs")).status_code == 503


async def test_the_key_is_asked_for_at_the_first_door_and_not_handed_on(market: Market) -> None:
    async with two(market, LOCKED) as (desk, other), other.asks() as api, desk.asks() as straight:
        assert (await api.get("/api/jobs")).status_code == 401
        assert (await api.get("/api/jobs", headers={"X-API-Key": "wrong"})).status_code == 401
        assert (await api.get("/api/jobs", headers={"X-API-Key": KEY})).status_code == 200
        ticket = (await api.post("/api/ws-ticket", headers={"X-API-Key": KEY})).json()["ticket"]
        assert (await api.get("/api/jobs", headers={"Authorization": f"Bearer {ticket}"})).status_code == 200
        assert (await straight.get("/api/jobs", headers={HANDED_ON: "1.2.3"})).status_code == 401
        assert (
            await straight.get("/api/price/BTCUSDT", headers=[(HANDED_ON.encode(), b"\xe9.a.b")])
        ).status_code == 401


async def test_a_call_is_counted_once_however_many_replicas_it_goes_through(market: Market) -> None:
    """The desk alone would refuse the third."""
    limited = dataclasses.replace(LOCKED, rate_limit="2/hour")
    async with (
        replica(own(market), Seat(here=True), limited) as desk,
        replica(own(market), Seat(known=desk.url), LOCKED) as other,
        other.asks(headers={"X-API-Key": KEY}) as api,
        desk.asks(headers={"X-API-Key": KEY}) as straight,
    ):
        assert [(await api.get("/api/jobs")).status_code for _ in range(5)] == [200] * 5
        assert [(await straight.get("/api/jobs")).status_code for _ in range(3)] == [200, 200, 429]


async def test_what_only_the_desk_computes_can_be_listened_to_on_any_replica(market: Market) -> None:
    async with two(market) as (desk, other):
        job = desk.market.jobs.start("screen", "a screen", lambda handle: None)
        desk.market.bus.resume("jobs", 41)
        async with connect(f"{other.url.replace('http', 'ws')}/ws/updates") as client:
            await subscribe(client, f"job:{job.id}", "jobs", "discoveries", "job:none", "paper:none", "price:BTCUSDT")
            heard = [await hear(client) for _ in range(6)]
            by_topic = {message.get("topic"): message for message in heard}
            assert by_topic[f"job:{job.id}"]["data"]["id"] == job.id
            assert by_topic["jobs"]["seq"] >= 41
            assert [entry["id"] for entry in by_topic["jobs"]["data"]["jobs"]] == [job.id]
            assert by_topic["discoveries"]["data"]
            assert "none" in by_topic["job:none"]["error"] and "none" in by_topic["paper:none"]["error"]
            other.market.bus.publish("jobs", b'{"jobs":[]}')
            assert (await hear(client))["seq"] == other.market.bus.seq("jobs") > 41


async def test_a_client_that_hangs_up_ends_what_its_replica_had_to_do_with_it(market: Market) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> dict[str, Any]:
        began.set()
        await release.wait()
        return {}

    async with two(market) as (desk, other), other.asks() as api:
        desk.market.keeping.overview = slow  # type: ignore[method-assign,assignment]
        asking = asyncio.create_task(api.get("/api/storage"))
        await asyncio.wait_for(began.wait(), 60)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: len(other.server.server_state.tasks) == 0)
        release.set()


def test_a_pass_is_good_for_one_request_of_one_holder_for_half_a_minute() -> None:
    now = [1_000_000_000_000_000_000]
    passes = Passes("s" * 32, lambda: now[0])
    made = passes.issue("GET", "/api/jobs", "a.holder")
    assert passes.holder(made, "GET", "/api/jobs") == "a.holder"
    assert passes.holder(made, "POST", "/api/jobs") is None
    assert passes.holder(made.replace("a.holder", "dashboard"), "GET", "/api/jobs") is None
    assert Passes("another", lambda: now[0]).holder(made, "GET", "/api/jobs") is None
    assert Passes("", lambda: now[0]).holder(Passes("", lambda: now[0]).issue("GET", "/", ""), "GET", "/") is None
    now[0] += (PASS_S + 1) * 1_000_000_000
    assert passes.holder(made, "GET", "/api/jobs") is None


@pytest.mark.parametrize("junk", ["", ".", "..", "1", "é.é.é", "1" * 5000, "9.é.x", "-1..", "1e9.ab.c"])
def test_junk_is_no_pass(junk: str) -> None:
    assert Passes("s", lambda: 0).holder(junk, "GET", "/api/jobs") is None


async def test_the_door_of_a_replica_asks_for_a_key_on_every_route_and_lets_in_who_has_it(market: Market) -> None:
    """Every operation of the OpenAPI document, also what another replica would answer."""
    app = create_app(dataclasses.replace(market.services(), desk=Seat()), options=LOCKED)
    known = [(verb.upper(), path) for path, verbs in app.openapi()["paths"].items() for verb in verbs]
    known += [("GET", path) for path in ("/docs", "/openapi.json", TOPIC_PATH, "/api/recorded")]
    assert len(known) > 60
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as api:
        for verb, path in known:
            wrong = [await api.request(verb, path, headers=headers) for headers in ({}, {"X-API-Key": "wrong"})]
            right = await api.request(verb, path, headers={"X-API-Key": KEY})
            free = path in FREE_PATHS
            assert [answer.status_code for answer in wrong] == ([200, 200] if free else [401, 401]), path
            away = whose(verb, path) == "desk"
            assert right.status_code == 503 if away else right.status_code not in {401, 403, 500, 503}, path


async def test_the_stream_of_every_replica_asks_for_a_key_and_looks_at_the_origin(market: Market) -> None:
    async with two(market, dataclasses.replace(LOCKED, cors_origins=("https://ours.example",))) as replicas:
        for each in replicas:
            url = f"{each.url.replace('http', 'ws')}/ws/updates"
            for headers in ({}, {"X-API-Key": "wrong"}):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url, additional_headers=headers)
                assert refused.value.response.status_code == 401
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers={"X-API-Key": KEY}, origin=Origin("https://theirs.example"))
            assert refused.value.response.status_code == 403
            for origin in (None, Origin("https://ours.example")):
                async with connect(url, additional_headers={"X-API-Key": KEY}, origin=origin) as client:
                    await subscribe(client, "price:BTCUSDT")
                    assert (await hear(client))["topic"] == "price:BTCUSDT"
