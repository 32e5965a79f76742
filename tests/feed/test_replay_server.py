"""The replay server on a real socket: routes, subscriptions, pace, limits, and REST that agrees with the stream."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pairscope.errors import ConfigError, InputError
from pairscope.feed.agg_trades import AggTrades, Listing
from pairscope.feed.replay_faults import parse_fault
from pairscope.feed.replay_server import ReplayServer, serve
from pairscope.feed.replay_source import SyntheticSource, TapeSource
from pairscope.feed.replay_streams import Limits
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.feed.tape import PublicFrame, Tape

NOON_MS = 1_790_510_400_000
DEADLINE_S = 60.0
STREAMS = ["ausdt@aggTrade", "币usdt@aggTrade"]


def tape(trades: int = 400) -> Tape:
    """Two symbols, a trade every 10 ms in turn, and the raw trades and quotes of the first on /public."""
    n = np.arange(trades)
    t = NOON_MS + 10 * n
    symbol, ids = (n % 2).astype(np.int32), 1000 + n // 2
    columns = AggTrades(
        symbol, t, t, ids, 2 * ids, 2 * ids + 1, 500 + n % 7, 1 + n % 5, np.full(trades, -1), n % 3 == 0
    )
    public = [
        PublicFrame(int(t[i]), "AUSDT", kind, json.dumps({"e": kind, "E": int(t[i]), "s": "AUSDT", "t": i}).encode())
        for i in range(0, trades, 2)
        for kind in ("trade", "bookTicker")
    ]
    return Tape(
        (Listing("AUSDT", 2, 0), Listing("币USDT", 1, 1)), columns, tuple(public), stamped=False, truncated=False
    )


Serve = Callable[..., Awaitable[ReplayServer]]


@pytest.fixture
async def play() -> AsyncIterator[Serve]:
    """Serve a small tape (or another source) with the options given; closed at the end."""
    servers = []

    async def begin(source: Any = None, **options: Any) -> ReplayServer:
        server = await serve(source or TapeSource(tape()), **({"speed": None, "settle_s": 0.05} | options))
        servers.append(server)
        return server

    yield begin
    for server in servers:
        await server.close()


def listen(server: ReplayServer, path: str, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{server.port}{path}", **({"ping_interval": None, "max_queue": None} | options))


async def take(ws: ClientConnection, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(DEADLINE_S):
        return [json.loads(await ws.recv()) for _ in range(count)]


async def silent(ws: ClientConnection, seconds: float = 0.3) -> bool:
    try:
        await asyncio.wait_for(ws.recv(), seconds)
    except TimeoutError:
        return True
    return False


async def closed(ws: ClientConnection) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as end:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await ws.recv()
    return end.value


async def rest(server: ReplayServer, target: str) -> Any:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        return (await client.get(target)).json()


def all_streams(server: ReplayServer) -> str:
    return "/".join(f"{listing.symbol.lower()}@aggTrade" for listing in server.source.listings)


async def test_every_trade_of_a_recording_comes_once_and_in_order(play: Serve):
    server = await play()
    async with listen(server, f"/market/stream?streams={'/'.join(STREAMS)}") as ws:
        frames = await take(ws, 400)
        assert await silent(ws), "open and silent after the end"
    truth = server.truth()
    assert [frame["data"]["a"] for frame in frames] == truth.agg_id.tolist()
    assert [frame["data"]["T"] for frame in frames] == truth.trade_ms.tolist()
    assert frames[1] == {
        "stream": "币usdt@aggTrade",
        "data": {
            "e": "aggTrade", "E": NOON_MS + 10, "s": "币USDT", "a": 1000, "p": "50.1", "q": "0.2", "f": 2000, "l": 2001,
            "T": NOON_MS + 10, "m": False,
        },
    }  # fmt: skip
    assert server.finished.is_set()


async def test_rest_equals_the_stream_at_every_moment(play: Serve):
    server = await play(speed=1.0)
    seen = 0
    async with listen(server, f"/market/ws/{STREAMS[0]}") as ws:
        for _ in range(10):
            last = (await take(ws, 10))[-1]
            rows = await rest(server, f"/fapi/v1/aggTrades?symbol=AUSDT&fromId={1000 + seen}&limit=1000")
            printed = server.truth()
            own = printed.agg_id[printed.symbol_id == 0]
            assert [row["a"] for row in rows][: last["a"] - 999 - seen] == list(range(1000 + seen, last["a"] + 1))
            assert rows[-1]["a"] <= own[-1], "nothing that was not printed"
            assert next(row for row in rows if row["a"] == last["a"]) == {
                k: last[k] for k in ("a", "p", "q", "f", "l", "T", "m")
            }
            seen = last["a"] - 999


async def test_a_recording_waits_for_its_first_subscriber_on_market(play: Serve):
    server = await play()
    async with listen(server, "/public/ws/ausdt@trade") as public, listen(server, "/market/ws") as market:
        assert await silent(public)
        assert await rest(server, "/fapi/v1/time") == {"serverTime": NOON_MS}
        assert await rest(server, "/fapi/v1/aggTrades?symbol=AUSDT") == []
        assert len((await rest(server, "/fapi/v1/exchangeInfo"))["symbols"]) == 2
        assert (await rest(server, "/fapi/v1/ticker/24hr?symbol=AUSDT"))["count"] == 0
        assert not server.started.is_set()
        await market.send(json.dumps({"method": "SUBSCRIBE", "params": STREAMS, "id": 1}))
        assert (await take(market, 401))[0] == {"result": None, "id": 1}
        assert [frame["t"] for frame in await take(public, 200)] == list(range(0, 400, 2))


async def test_subscribing_in_pieces_misses_nothing_at_any_speed(play: Serve):
    server = await play(settle_s=2.0)
    async with listen(server, "/market/stream") as one, listen(server, "/market/stream") as two:
        for ws, stream in ((one, STREAMS[0]), (two, STREAMS[1])):
            await ws.send(json.dumps({"method": "SUBSCRIBE", "params": [stream], "id": 1}))
            await asyncio.sleep(0.1)
        for ws in (one, two):
            assert [frame["data"]["a"] for frame in (await take(ws, 201))[1:]] == list(range(1000, 1200))


async def test_a_recording_begins_at_once_where_asked(play: Serve):
    server = await play(wait=False, speed=1.0)
    async with asyncio.timeout(DEADLINE_S):
        while not len(await rest(server, "/fapi/v1/aggTrades?symbol=AUSDT")):
            await asyncio.sleep(0.02)


async def test_a_start_in_the_middle_makes_what_was_before_history(play: Serve):
    server = await play(start_ms=NOON_MS + 2000)
    assert len(await rest(server, "/fapi/v1/aggTrades?symbol=AUSDT")) == 100
    async with listen(server, f"/market/ws/{STREAMS[0]}") as ws:
        assert [frame["a"] for frame in await take(ws, 100)] == list(range(1100, 1200))
    with pytest.raises(InputError, match="start"):
        await play(start_ms=NOON_MS + 10**9)


async def test_a_shifted_recording_happens_now_under_its_own_ids(play: Serve):
    server = await play(shift_to_now=True)
    before_ms = time.time_ns() // 1_000_000
    async with listen(server, f"/market/ws/{STREAMS[0]}") as ws:
        frames = await take(ws, 200)
    assert 0 <= frames[0]["T"] - before_ms < 60_000
    assert [frame["a"] for frame in frames] == list(range(1000, 1200))
    assert frames[-1]["T"] - frames[0]["T"] == 3980
    rows = await rest(server, "/fapi/v1/aggTrades?symbol=AUSDT&limit=1")
    assert rows[0]["T"] == frames[-1]["T"]


async def test_a_looped_recording_goes_on(play: Serve):
    server = await play(TapeSource(tape(), loop=True))
    async with listen(server, f"/market/ws/{STREAMS[0]}") as ws:
        assert [frame["a"] for frame in await take(ws, 700)] == list(range(1000, 1700))


async def test_at_ten_times_the_speed_ten_seconds_take_one(play: Serve):
    server = await play(TapeSource(tape(4000)), speed=10.0)

    def moment() -> tuple[float, int, float]:
        """The market's time between two readings of ours: however long this process had to wait, it lies there."""
        return time.monotonic(), server._clock.target_ms(), time.monotonic()

    async with listen(server, f"/market/ws/{STREAMS[0]}") as ws:
        await take(ws, 1)
        begins, from_ms, begun = moment()
        last = (await take(ws, 499))[-1]
        ends, until_ms, ended = moment()
    assert last["T"] - NOON_MS == 9_980
    assert last["T"] <= until_ms, "nothing is printed before its time"
    assert (ends - begun) * 10_000 - 10 <= until_ms - from_ms <= (ended - begins) * 10_000 + 10


async def test_several_clients_each_get_everything_from_where_time_stands(play: Serve):
    server = await play(TapeSource(tape(4000)), speed=1.0)
    async with listen(server, f"/market/ws/{STREAMS[0]}") as early:
        first = await take(early, 30)
        async with listen(server, f"/market/stream?streams={STREAMS[0]}") as late:
            follow, second = await asyncio.gather(take(early, 60), take(late, 40))
    ids = [frame["data"]["a"] for frame in second]
    assert ids == list(range(ids[0], ids[0] + 40))
    assert ids[0] > first[-1]["a"] - 5
    assert [frame["a"] for frame in first + follow] == list(range(1000, 1090))


async def test_an_unrouted_address_acknowledges_and_then_delivers_what_is_public_only(play: Serve):
    server = await play(wait=False, speed=1.0)
    async with listen(server, "/ws") as ws:
        await ws.send(json.dumps({"method": "SUBSCRIBE", "params": [STREAMS[0]], "id": 7}))
        assert await take(ws, 1) == [{"result": None, "id": 7}]
        assert await silent(ws), "aggTrade is not public"
        await ws.send(json.dumps({"method": "SUBSCRIBE", "params": ["ausdt@bookTicker"], "id": 8}))
        assert [frame.get("e") for frame in await take(ws, 3)] == [None, "bookTicker", "bookTicker"]


@pytest.mark.parametrize("path", ["/market/ws/AUSDT@aggTrade", "/market/ws/ausdt@trade", "/public/ws/ausdt@aggTrade"])
async def test_a_stream_on_the_wrong_route_or_in_capitals_is_silence(play: Serve, path: str):
    server = await play(wait=False)
    async with listen(server, f"/market/ws/{STREAMS[1]}") as other, listen(server, path) as ws:
        await take(other, 100)
        assert await silent(ws)


async def test_a_dummy_segment_and_the_private_route_are_tolerated(play: Serve):
    server = await play()
    async with listen(server, "/private/ws") as private, listen(server, "/market/ws/0") as ws:
        await ws.send(json.dumps({"method": "SUBSCRIBE", "params": [STREAMS[0]], "id": 1}))
        assert (await take(ws, 2))[1]["a"] == 1000
        assert await silent(private)


async def test_unsubscribing_ends_a_stream_and_framing_can_be_switched(play: Serve):
    server = await play(TapeSource(tape(4000)), speed=1.0)
    async with listen(server, "/market/stream?streams=" + "/".join(STREAMS)) as ws:
        assert "stream" in (await take(ws, 5))[-1]
        await ws.send(json.dumps({"method": "SET_PROPERTY", "params": ["combined", False], "id": 1}))
        await ws.send(json.dumps({"method": "UNSUBSCRIBE", "params": STREAMS[1:], "id": 2}))
        while (await take(ws, 1))[0] != {"result": None, "id": 2}:
            continue
        after = await take(ws, 20)
        assert {frame["s"] for frame in after} == {"AUSDT"}


async def test_klines_are_pushed_as_they_change_and_once_they_close(play: Serve):
    market = SyntheticMarket(seed=7, symbols=3, ticks_per_second=30.0)
    start_ms = NOON_MS + 30_000
    server = await play(SyntheticSource(market), speed=20.0, start_ms=start_ms)
    async with listen(server, "/market/ws/btcusdt@kline_1m/btcusdt@aggTrade") as ws:
        frames = []
        while not any(frame["e"] == "kline" and frame["k"]["x"] for frame in frames):
            frames += await take(ws, 1)
    klines = [frame["k"] for frame in frames if frame["e"] == "kline"]
    assert len(klines) > 3
    assert not klines[0]["x"]
    closed_one = klines[-1]
    rows = await rest(server, f"/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={NOON_MS}&limit=1")
    assert [closed_one[k] for k in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")] == rows[0]


async def test_tickers_and_mark_prices_come_at_their_pace(play: Serve):
    server = await play(SyntheticSource(SyntheticMarket(seed=7, symbols=3)), speed=10.0)
    streams = ["!ticker@arr", "btcusdt@miniTicker", "btcusdt@markPrice@1s", "!markPrice@arr", "btcusdt@ticker"]
    async with listen(server, "/market/stream?streams=" + "/".join(streams)) as ws:
        got: dict[str, Any] = {}
        while set(got) != set(streams):
            frame = (await take(ws, 1))[0]
            got[frame["stream"]] = frame["data"]
    assert {row["s"] for row in got["!ticker@arr"]} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert got["btcusdt@ticker"]["e"] == "24hrTicker"
    assert got["btcusdt@miniTicker"]["e"] == "24hrMiniTicker"
    assert got["btcusdt@markPrice@1s"]["e"] == "markPriceUpdate"
    assert len(got["!markPrice@arr"]) == 3


async def test_the_synthetic_market_goes_on_by_itself_and_is_the_same_for_a_second_server(play: Serve):
    market = SyntheticMarket(seed=7, symbols=5)
    one = await play(SyntheticSource(market), speed=1.0)
    two = await play(SyntheticSource(SyntheticMarket(seed=7, symbols=5)), speed=1.0)
    async with listen(one, f"/market/stream?streams={all_streams(one)}") as a:
        frames = [frame["data"] for frame in await take(a, 300)]
        async with listen(two, f"/market/stream?streams={all_streams(two)}") as b:
            more = [frame["data"] for frame in await take(b, 100)]
        while frames[-1]["T"] <= more[-1]["T"]:
            frames += [frame["data"] for frame in await take(a, 100)]
    known = {(frame["s"], frame["a"]): frame for frame in frames}
    common = [frame for frame in more if (frame["s"], frame["a"]) in known]
    assert len(common) > 20
    assert all(known[frame["s"], frame["a"]] == frame for frame in common)
    assert abs(frames[0]["T"] - time.time() * 1000) < 60_000


async def raw(server: ReplayServer, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket by hand, with a small window, so that only what is read makes room."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=32_768)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".encode())
    writer.write(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def test_max_speed_waits_for_the_slowest_reader_and_loses_nothing(play: Serve):
    server = await play(TapeSource(tape(160_000)))

    async def ids_of(reader: asyncio.StreamReader) -> list[int]:
        text = b""
        async with asyncio.timeout(DEADLINE_S):
            while b'"a":80999,' not in text[-600:]:
                text += await reader.read(1 << 16)
        return [int(number) for number in re.findall(rb'"a":(\d+),', text)]

    fast, slow = await raw(server, f"/market/ws/{STREAMS[0]}"), await raw(server, f"/market/ws/{STREAMS[0]}")
    reading = asyncio.create_task(ids_of(fast[0]))
    async with asyncio.timeout(DEADLINE_S):
        while max((connection.unsent for connection in server.connections), default=0) < 1 << 20:
            await asyncio.sleep(0.02)
    stands_ms = server.now_ms
    await asyncio.sleep(0.2)
    assert server.now_ms == stands_ms, "the market waits"
    assert not server.finished.is_set()
    assert max(connection.unsent for connection in server.connections) < 4 << 20
    expected = list(range(1000, 81_000))
    assert await ids_of(slow[0]) == expected
    assert await reading == expected
    for _, writer in (fast, slow):
        writer.close()


async def test_a_reader_that_does_not_keep_up_with_the_clock_is_cut_off(play: Serve):
    server = await play(TapeSource(tape(200_000)), speed=1e5, max_unsent=100_000)
    async with listen(server, f"/market/ws/{STREAMS[0]}", max_queue=1) as ws:
        async with asyncio.timeout(DEADLINE_S):
            while not server.counters["slow_readers_cut"]:
                await asyncio.sleep(0.02)
        await closed(ws)


async def test_too_many_streams_or_messages_or_bytes_end_the_connection(play: Serve):
    server = await play(limits=Limits(streams=3))
    async with listen(server, "/market/ws") as ws:
        await ws.send(json.dumps({"method": "SUBSCRIBE", "params": [f"x{i}usdt@aggTrade" for i in range(4)], "id": 1}))
        assert (await take(ws, 1))[0]["error"]["code"] == 4
        assert (await closed(ws)).rcvd.code == 1008
    async with listen(server, "/market/ws/" + "/".join(f"x{i}usdt@aggTrade" for i in range(4))) as ws:
        assert (await closed(ws)).rcvd.code == 1008
    async with listen(server, "/market/ws") as ws:
        for number in range(12):
            await ws.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        end = await closed(ws)
        assert (end.rcvd.code, end.rcvd.reason) == (1008, "Too many requests")
    async with listen(server, "/market/ws") as ws:
        await ws.send(json.dumps({"method": "SUBSCRIBE", "params": ["x" * 5000 + "@aggTrade"], "id": 1}))
        assert (await closed(ws)).rcvd.code == 3001


async def test_the_server_pings_and_drops_who_does_not_answer_or_has_lived_long_enough(play: Serve):
    server = await play(limits=Limits(ping_every_s=0.1, pong_within_s=2.5, life_s=5.0))
    began = time.monotonic()
    async with listen(server, "/market/ws") as ws:
        end = await closed(ws)
        assert end.rcvd.code == 1001, "pongs kept it alive until its end"
        assert time.monotonic() - began > 4.9
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /market/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    async with asyncio.timeout(DEADLINE_S):
        received = await reader.read()
    assert received.startswith(b"HTTP/1.1 101")
    assert b"\x89" in received, "a ping"
    assert b"Pong timeout" in received
    writer.close()


@pytest.mark.parametrize("fault", ["drop:0.1", "duplicate:0.1", "reorder:0.1", "malformed:0.1"])
async def test_a_fault_befalls_the_stream_and_not_rest(play: Serve, fault: str):
    server = await play(faults=[parse_fault(fault)], seed=3)
    ids, broken = [], 0
    async with listen(server, f"/market/ws/{STREAMS[0]}") as ws:
        async with asyncio.timeout(DEADLINE_S):
            await server.finished.wait()
        await ws.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 9}))  # its answer comes behind all frames
        async with asyncio.timeout(DEADLINE_S):
            async for text in ws:
                try:
                    frame = json.loads(text)
                except json.JSONDecodeError:
                    broken += 1
                    continue
                if frame.get("id") == 9:
                    break
                ids.append(frame["a"])
    rows = await rest(server, "/fapi/v1/aggTrades?symbol=AUSDT&fromId=1000&limit=1000")
    assert [row["a"] for row in rows] == list(range(1000, 1200))
    kind = fault.partition(":")[0]
    assert len(ids) == {"drop": len(set(ids)), "duplicate": len(ids), "reorder": 200, "malformed": 200 - broken}[kind]
    assert (len(set(ids)) < 200) == (kind in {"drop", "malformed"})
    assert (len(ids) > len(set(ids))) == (kind == "duplicate")
    assert (ids != sorted(ids)) == (kind == "reorder")


async def test_a_connection_is_cut_or_falls_silent_at_the_age_asked_for(play: Serve):
    market = SyntheticMarket(seed=7, symbols=2, ticks_per_second=200.0)
    server = await play(SyntheticSource(market), speed=1.0, faults=[parse_fault("disconnect:700ms")])
    began = time.monotonic()
    async with listen(server, f"/market/stream?streams={all_streams(server)}") as ws:
        end = await closed(ws)
        assert end.rcvd is None, "without a word"
        assert time.monotonic() - began > 0.69
    server = await play(SyntheticSource(market), speed=1.0, faults=[parse_fault("stall:600ms/700ms")])
    async with listen(server, f"/market/stream?streams={all_streams(server)}") as ws:
        newest: dict[str, int] = {}
        jump = 0
        async with asyncio.timeout(DEADLINE_S):
            while jump <= 5:  # what was printed in between is lost on this connection
                frame = (await take(ws, 1))[0]["data"]
                jump = frame["a"] - newest.get(frame["s"], frame["a"])
                newest[frame["s"]] = frame["a"]


async def test_what_is_neither_websocket_nor_a_known_path_is_answered_and_the_port_stays_up(play: Serve):
    server = await play()
    for request, status in (
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"BLAH\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /elsewhere HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"404"),
        (b"GET /market/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"400"),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        async with asyncio.timeout(DEADLINE_S):
            assert (await reader.readline()).split()[1] == status
        writer.close()
    assert await rest(server, "/fapi/v1/ping") == {}


@pytest.mark.parametrize(("name", "status"), [(b"%E5%B8%81USDT", b"200"), ("币USDT".encode(), b"400")])
async def test_a_name_outside_ascii_comes_percent_encoded(play: Serve, name: bytes, status: bytes):
    server = await play()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /fapi/v1/ticker/24hr?symbol=" + name + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert ("币USDT" in body.decode()) == (status == b"200")
    writer.close()


async def test_requests_on_one_connection_are_answered_in_their_order(play: Serve):
    server = await play()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /fapi/v1/time HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write(b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        answers = (await reader.read()).split(b"\r\n\r\n")
    assert answers[1].startswith(b'{"serverTime":1790510400000}HTTP/1.1 200')
    assert answers[2] == b"{}"
    writer.close()


async def test_over_the_weight_limit_requests_are_refused_with_the_headers_of_the_exchange(play: Serve):
    server = await play(weight_limit=50)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        answers = [
            await client.get("/fapi/v1/aggTrades?symbol=AUSDT") for _ in range(8)
        ]  # a minute may begin among them
    assert 429 in {answer.status_code for answer in answers}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) <= 60
    assert refused.json()["code"] == -1003
    assert server.counters["requests_refused"] >= 1


async def test_a_taken_port_is_said_in_one_line(play: Serve):
    server = await play()
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        await play(port=server.port)


async def test_closing_says_goodbye_and_frees_the_port(play: Serve):
    server = await play()
    async with listen(server, "/market/ws") as ws:
        await server.close()
        assert (await closed(ws)).rcvd.code == 1001
    again = await play(port=server.port)
    assert again.port == server.port


@pytest.mark.parametrize("fault", ["disconnect:200ms", "stall:200ms/100s"])
async def test_faults_by_the_clock_wait_for_the_market_to_begin(play: Serve, fault: str):
    """A client that is slow to subscribe, so that the recording begins late, does not miss its head by them."""
    server = await play(settle_s=0.5, faults=[parse_fault(fault)])
    async with listen(server, f"/market/stream?streams={'/'.join(STREAMS)}") as ws:
        heard = [frame["data"] for frame in await take(ws, 2)]
    assert [(frame["s"], frame["a"]) for frame in heard] == [("AUSDT", 1000), ("币USDT", 1000)]
