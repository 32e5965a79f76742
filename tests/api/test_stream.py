"""The stream over a real socket: snapshots, sequences, conflation, and what a bad or slow client costs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
import uvicorn
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pairscope import schemas
from pairscope.api.app import ApiOptions, create_app
from pairscope.api.server import make_server
from pairscope.api.stream import MAX_MESSAGE, MOST_NAMED, READ_AT_MOST
from pairscope.market.pairs import PairSettings
from pairscope.storage.memory_cache import MemoryBus

from .conftest import exact
from .market import HOURS, START_MS, Market

END_MS = START_MS + HOURS * 3_600_000


@asynccontextmanager
async def served(market: Market, options: ApiOptions | None = None) -> AsyncIterator[str]:
    """The address of a server of its own, closed with all its connections afterwards."""
    async with running(market, options) as (url, _):
        yield url


@asynccontextmanager
async def running(market: Market, options: ApiOptions | None = None) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    app = create_app(market.services(), options=options or ApiOptions(stats_period_s=0.1))
    server = make_server(app, host="127.0.0.1", port=0)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/ws/updates", server
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 60)


async def until(holds: Callable[[], bool], deadline_s: float = 60) -> None:
    limit = monotonic() + deadline_s
    while not holds():
        assert monotonic() < limit, "did not come about in time"
        await asyncio.sleep(0.005)


async def connected(url: str) -> ClientConnection:
    return await connect(url)


async def hear(client: ClientConnection) -> dict[str, Any]:
    text = str(await asyncio.wait_for(client.recv(), 60))
    return dict(exact(text) if len(text) < 10_000 else json.loads(text))


async def subscribe(client: ClientConnection, *topics: object) -> None:
    await client.send(json.dumps({"op": "subscribe", "topics": topics}))


def price_of(market: Market, symbol: str = "BTCUSDT") -> bytes:
    return schemas.encode_price(market.engine.price(symbol) or {})


async def test_each_topic_begins_with_where_it_stands(market: Market) -> None:
    market.bus.publish("price:BTCUSDT", b"{}")
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "price:btcusdt", "bar:PEPEUSDT:1m", "stats", "alerts")
        price, bar, stats = [await hear(client) for _ in range(3)]
        assert (price["topic"], price["seq"]) == ("price:BTCUSDT", 1)
        assert price["data"]["price"] == market.sent["BTCUSDT"][-1].price
        assert bar["topic"] == "bar:PEPEUSDT:1m"
        assert (bar["data"]["symbol"], bar["data"]["timeframe"]) == ("PEPEUSDT", "1m")
        assert (bar["data"]["timestamp"], bar["data"]["closed"], bar["data"]["revised"]) == (
            END_MS - 60_000,
            False,
            False,
        )
        assert stats["topic"] == "stats"
        assert stats["data"]["source"] == "synthetic"


async def test_every_update_comes_in_order_with_its_seq(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "price:BTCUSDT")
        first = await hear(client)
        for n in range(50):
            market.bus.publish("price:BTCUSDT", b'{"n":%d}' % n)
            assert await hear(client) == {"topic": "price:BTCUSDT", "seq": first["seq"] + n + 1, "data": {"n": n}}


async def test_what_is_published_while_a_snapshot_is_made_is_neither_lost_nor_sent_before_it(market: Market) -> None:
    """The cache answers late, and meanwhile the topic moves on twice."""
    bus, answer = market.bus, price_of(market)

    class Late:
        async def get(self, key: str) -> bytes:
            bus.publish("price:BTCUSDT", b'{"n":1}')
            await asyncio.sleep(0.05)
            bus.publish("price:BTCUSDT", b'{"n":2}')
            return answer

    market.cache = Late()  # type: ignore[assignment]
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "price:BTCUSDT")
        seqs = [(await hear(client))["seq"]]
        while seqs[-1] < 2:
            seqs.append((await hear(client))["seq"])
        assert seqs in ([0, 1, 2], [0, 2])


async def test_what_the_snapshot_says_already_is_not_said_again(market: Market) -> None:
    class Moving(MemoryBus):
        """Moves on just before somebody asks where it stands."""

        def seq(self, topic: str) -> int:
            self.publish(topic, b"{}")
            return super().seq(topic)

    market.bus = Moving()
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "price:BTCUSDT", "price:BTCUSDT")
        seqs = [(await hear(client))["seq"] for _ in range(2)]
        market.bus.publish("price:BTCUSDT", b"{}")
        assert [*seqs, (await hear(client))["seq"]] == [1, 2, 3]


async def test_a_client_that_falls_behind_gets_the_newest_and_a_hole_in_seq_and_costs_nobody_else(
    market: Market,
) -> None:
    value = b'{"x":"' + b"x" * 900_000 + b'"}'
    patient = ApiOptions(stats_period_s=0.1, stall_s=600.0)  # on a busy machine the others may take long over theirs
    async with served(market, patient) as url, connect(url, max_queue=1) as slow, connect(url) as quick:
        for client in (slow, quick):
            await subscribe(client, "price:BTCUSDT")
        await hear(quick)
        for _ in range(20):
            seq = market.bus.publish("price:BTCUSDT", value)
            assert (await hear(quick))["seq"] == seq  # while the other one has not taken its first
        seqs = []
        while not seqs or seqs[-1] < seq:
            seqs.append((await hear(slow))["seq"])
        assert seqs == sorted(set(seqs))
        assert len(seqs) < 21, "a hole tells of conflation"


async def test_a_client_that_never_reads_is_closed_with_1013_after_a_while(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.api.server._GRACE_S", 60.0)  # a slow machine reads late what was sent before the end
    value = b'{"x":"' + b"x" * 1_000_000 + b'"}'
    options = ApiOptions(stall_s=0.3, stats_period_s=0.1)
    async with served(market, options) as url:
        stuck = await connect(url, max_queue=1, max_size=None)
        await subscribe(stuck, "price:BTCUSDT")
        await until(lambda: "price:BTCUSDT" in market.bus.wanted())
        while "price:BTCUSDT" in market.bus.wanted():
            market.bus.publish("price:BTCUSDT", value)
            await asyncio.sleep(0.02)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(stuck.recv(), 60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


async def test_a_client_whose_machine_is_gone_holds_no_buffer_for_long(market: Market) -> None:
    """It takes nothing more at all, not even the close: the connection is cut."""
    value = b'{"x":"' + b"x" * 1_000_000 + b'"}'
    async with running(market, ApiOptions(stall_s=0.3)) as (url, server):
        port = int(url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(
                b"GET /ws/updates HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            raw.setblocking(False)
            assert b" 101 " in await asyncio.get_running_loop().sock_recv(raw, 4096)
            wish = b'{"op":"subscribe","topics":["price:BTCUSDT"]}'
            raw.sendall(bytes([0x81, 0x80 | len(wish), 0, 0, 0, 0]) + wish)
            await until(lambda: "price:BTCUSDT" in market.bus.wanted())
            while market.bus.wanted():
                market.bus.publish("price:BTCUSDT", value)
                await asyncio.sleep(0.02)
            await until(lambda: not server.server_state.connections)


BAD_MESSAGES = (
    "{",
    "[]",
    "1",
    "null",
    '"subscribe"',
    "{}",
    '{"op":"subscribe"}',
    '{"op":"subscribe","topics":"price:BTCUSDT"}',
    '{"op":"dance","topics":[]}',
    '{"op":["subscribe"],"topics":[]}',
    b"\xff\xfe",
    "[" * 4000,
    "",
)


async def test_a_bad_message_gets_an_error_and_the_connection_stays(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        for bad in BAD_MESSAGES:
            await client.send(bad)
            assert list(await hear(client)) == ["error"], bad
        await subscribe(client, "price:BTCUSDT")
        assert (await hear(client))["topic"] == "price:BTCUSDT"


BAD_TOPICS: tuple[tuple[object, str], ...] = (
    ("price:NOPE", "unknown symbol"),
    ("price:BTCUSD", "BTCUSDT"),
    ("price", "no such topic"),
    ("price:", "symbol"),
    ("price:BTCUSDT:1m", "no such topic"),
    ("bar:BTCUSDT", "no such topic"),
    ("bar:BTCUSDT:2m", "no such timeframe"),
    ("pair:BTCUSDT:btcusdt", "two different symbols"),
    ("pair:BTCUSDT", "no such topic"),
    ("pair:BTCUSDT:NOSUCHUSDT", "unknown symbol"),
    ("everything", "no such topic"),
    ("price:\x00", "symbol"),
    ("price:" + "x" * 3000, "symbol"),
    (5, "string"),
    (None, "string"),
    ({"a": 1}, "string"),
)


async def test_a_topic_that_is_not_there_gets_its_own_error_beside_those_that_are(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        for topic, said in BAD_TOPICS:
            await subscribe(client, topic, "price:PEPEUSDT")
            refused, heard = await hear(client), await hear(client)
            assert said in refused["error"], topic
            assert refused.get("topic") == (topic[:200] if isinstance(topic, str) else None)
            assert heard["topic"] == "price:PEPEUSDT"


async def test_unsubscribing_ends_a_topic_and_only_that_one(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "price:BTCUSDT", "price:PEPEUSDT")
        await hear(client), await hear(client)
        await client.send('{"op":"unsubscribe","topics":["price:btcusdt"]}')
        await until(lambda: market.bus.wanted() == {"price:PEPEUSDT"})
        market.bus.publish("price:BTCUSDT", b"{}")
        market.bus.publish("price:PEPEUSDT", b"{}")
        assert (await hear(client))["topic"] == "price:PEPEUSDT"


async def test_the_topics_of_a_whole_market_fit_into_one_message(market: Market) -> None:
    topics = [f"pair:ANOTHER{n}USDT:BTCUSDT" for n in range(ApiOptions().max_topics - 1)]
    async with served(market) as url, connect(url, max_queue=None) as client:
        await subscribe(client, *topics, "price:BTCUSDT")
        heard = [await hear(client) for _ in range(ApiOptions().max_topics)]
        assert [message["topic"] for message in heard] == [*topics, "price:BTCUSDT"]


async def test_a_message_that_is_too_long_is_refused_and_the_connection_stays(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        for topics in (["x" * MAX_MESSAGE], ["x"] * (MOST_NAMED + 1)):
            await client.send(json.dumps({"op": "subscribe", "topics": topics}))
            assert "at most" in (await hear(client))["error"]
        await subscribe(client, "price:BTCUSDT")
        assert (await hear(client))["topic"] == "price:BTCUSDT"


async def test_a_message_that_is_not_even_read_closes_with_1009(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        await client.send("x" * (READ_AT_MOST + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await hear(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_stats_come_at_once_and_then_by_themselves(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "stats")
        seqs = [(await hear(client))["seq"] for _ in range(4)]
        assert seqs == [seqs[0] + n for n in range(4)]
    assert ApiOptions().stats_period_s < 2.0, "at least every 2 s"


async def test_stats_go_on_while_the_store_is_down(fresh_market: Market) -> None:
    async with served(fresh_market) as url, connect(url) as client:
        await subscribe(client, "stats")
        kind = (await fresh_market.store.stats()).kind
        assert (await hear(client))["data"]["store"]["kind"] == kind
        await fresh_market.store.close()
        fresh_market.now_ns += 1_000_000_000
        deadline = monotonic() + 60
        while (said := (await hear(client))["data"])["store"].get("status") != "down":
            assert monotonic() < deadline
        assert said["ticks"] > 1000, "what was last known"


async def test_at_most_so_many_topics_a_connection(market: Market) -> None:
    async with served(market, ApiOptions(max_topics=2)) as url, connect(url) as client:
        await subscribe(client, "price:BTCUSDT", "bar:BTCUSDT:1m", "price:PEPEUSDT", "price:BTCUSDT")
        heard = [await hear(client) for _ in range(4)]
        assert ["error" in message for message in heard] == [False, False, True, False]


async def test_one_connection_too_many_is_told_to_try_later(market: Market) -> None:
    async with served(market, ApiOptions(max_clients=1)) as url, connect(url) as first:
        await subscribe(first, "price:BTCUSDT")
        await hear(first)
        assert await deny(url) == 503


async def test_who_is_still_being_let_in_counts_and_is_sent_elsewhere_like_the_others(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, let_in, arrived = WebSocket.accept, asyncio.Event(), 0

    async def slow(*given: Any) -> None:
        nonlocal arrived
        arrived += 1
        await let_in.wait()
        await accept(*given)

    monkeypatch.setattr(WebSocket, "accept", slow)
    async with running(market, ApiOptions(max_clients=1)) as (url, server):
        first = asyncio.create_task(connected(url))
        await until(lambda: arrived == 1)
        second = asyncio.create_task(deny(url))
        await until(lambda: arrived == 2 or second.done())
        app: Any = server.config.app
        parting = asyncio.create_task(app.state.part())
        await asyncio.sleep(0)
        let_in.set()
        assert await second == 503
        async with await first as client:
            with pytest.raises(ConnectionClosed) as closed:
                await hear(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await parting
    assert not market.bus.wanted()


async def test_who_is_sent_elsewhere_gets_first_what_it_is_owed_and_nobody_else_comes_in(market: Market) -> None:
    async with running(market) as (url, server):
        async with connect(url) as client:
            await client.send(json.dumps({"op": "subscribe", "topics": ["alerts"]}))
            await until(lambda: "alerts" in market.bus.wanted())
            for number in range(100):
                market.bus.publish("alerts", b'{"number":%d}' % number)
            app: Any = server.config.app
            await app.state.part()
            heard = [(await hear(client))["data"]["number"] for _ in range(100)]
            with pytest.raises(ConnectionClosed) as closed:
                await hear(client)
            assert (heard, closed.value.rcvd and closed.value.rcvd.code) == (list(range(100)), 1012)
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 503


async def test_a_shutdown_tells_every_client_with_1012(market: Market) -> None:
    async with running(market) as (url, server):
        clients = [await connect(url) for _ in range(3)]
        for client in clients:
            await subscribe(client, "price:BTCUSDT")
            await hear(client)
        server.should_exit = True
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await hear(client)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
    assert not market.bus.wanted(), "nobody listens any more"


async def test_a_client_that_leaves_is_forgotten(market: Market) -> None:
    async with running(market) as (url, server):
        for leave in ("close", "abort"):
            client = await connect(url)
            await subscribe(client, "price:BTCUSDT", "stats")
            await hear(client)
            if leave == "close":
                await client.close()
            else:
                client.transport.abort()
            await until(lambda: not market.bus.wanted() and not server.server_state.connections)


async def deny(url: str, **extra: Any) -> int:
    """Try to connect; return the status of the refusal, 101 where there is none."""
    from websockets.exceptions import InvalidStatus

    try:
        async with connect(url, **extra):
            return 101
    except InvalidStatus as refused:
        assert refused.response.headers["Content-Type"] == "application/problem+json"
        return refused.response.status_code


async def test_a_page_of_a_foreign_origin_is_refused_before_it_is_let_in(market: Market) -> None:
    options = ApiOptions(cors_origins=("http://localhost:8501",))
    async with served(market, options) as url:
        host = url.removeprefix("ws://").partition("/")[0]
        assert await deny(url, origin="http://evil.example") == 403
        assert await deny(url, origin="null") == 403
        assert await deny(url, origin="http://localhost:8501.evil.example") == 403
        assert await deny(url, origin="http://localhost:8501") == 101
        assert await deny(url, origin=f"http://{host}") == 101
        assert await deny(url) == 101


async def test_a_host_name_that_is_not_ours_is_refused(market: Market) -> None:
    options = ApiOptions(hosts=("127.0.0.1", "localhost"))
    async with served(market, options) as url:
        assert await deny(url) == 101
        assert await deny(url, additional_headers={"Host": "evil.example"}) == 403


async def test_a_pair_is_heard_by_its_settings_on_the_watch_list_and_else_by_the_defaults(market: Market) -> None:
    await market.pairs.put(PairSettings("PEPEUSDT", "BTCUSDT", lookback=100, window=20))
    await market.pairs.catch_up()
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "pair:pepeusdt:btcusdt", "pair:BTCUSDT:PEPEUSDT")
        listed, default = [await hear(client) for _ in range(2)]
        assert (listed["topic"], listed["data"]["lookback"]) == ("pair:PEPEUSDT:BTCUSDT", 100)
        assert listed["data"]["spread"]["zscore"] is not None
        assert (default["topic"], default["data"]["lookback"]) == ("pair:BTCUSDT:PEPEUSDT", 1440)
        assert (default["data"]["on_watchlist"], default["data"]["spread"]["zscore"]) == (False, None)
        assert default["data"]["reason"].startswith("history is being read")
        await market.pairs.catch_up()
        view = market.pairs.current("BTCUSDT", "PEPEUSDT")
        assert view is not None
        seq = market.bus.publish("pair:BTCUSDT:PEPEUSDT", schemas.encode_pair(view))
        told = await hear(client)
        assert (told["seq"], told["data"]["reason"]) == (seq, None)
