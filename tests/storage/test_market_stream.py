"""What a shard says reaches every reader in order, once, and what was lost on the way is told."""

from __future__ import annotations

import asyncio

import pytest
import redis

from pairscope.storage import market_stream
from pairscope.storage.market_stream import MarketStreamReader, MarketStreamWriter, StreamEntry, StreamLoss
from pairscope.storage.redis_client import RedisClient


@pytest.fixture
async def client(redis_server):
    made = RedisClient(redis_server.url)
    yield made
    await made.close()


async def read(reader, count):
    found = []
    async with asyncio.timeout(60):
        async for each in reader.entries():
            found.append(each)
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


async def sent(writer):
    """Wait until nothing waits for Redis: closing waits no longer than a second."""
    async with asyncio.timeout(60):
        while writer.counters()["waiting"]:
            await asyncio.sleep(0.01)


def told(entries):
    return [(e.shard, e.payload) if isinstance(e, StreamEntry) else ("lost", e.shard) for e in entries]


async def test_several_shards_are_heard_in_the_order_of_each(client):
    writers = [MarketStreamWriter(client, shard, clock=lambda: 5_000_000) for shard in (0, 1)]
    for n in range(300):
        await writers[n % 2].put("batch", b"%d" % n)
    await writers[0].put("bars", b"300", "history")
    found = await read(MarketStreamReader(client, [0, 1]), 301)
    assert [p for s, p in told(found) if s == 0] == [b"%d" % n for n in range(0, 301, 2)]
    assert [p for s, p in told(found) if s == 1] == [b"%d" % n for n in range(1, 300, 2)]
    (bars,) = [e for e in found if e.kind == "bars"]
    assert (bars.word, bars.ts_ns) == ("history", 5_000_000)
    for writer in writers:
        await writer.close()


async def test_a_hole_is_told_where_it_is_and_a_repeat_is_left_out(client, redis_server):
    writer = MarketStreamWriter(client, 0, clock=lambda: 7)
    for n in range(6):
        await writer.put("batch", b"%d" % n)
    reader = MarketStreamReader(client, [0])
    assert len(await read(reader, 6)) == 6
    with redis.Redis.from_url(redis_server.url) as other:
        _, fields = other.xrange("market:0")[-1]
        for seq in (6, 7, 9, 9, 10):  # 6 again, 8 never, 9 twice
            other.xadd("market:0", {**fields, b"n": seq, b"p": b"n%d" % seq})
    assert told(await read(reader, 4)) == [(0, b"n7"), ("lost", 0), (0, b"n9"), (0, b"n10")]
    assert reader.counters()["repeats_total"] == 2
    await writer.close()


async def test_another_writer_goes_on_without_a_loss(client):
    first, second = MarketStreamWriter(client, 0), MarketStreamWriter(client, 0)
    await first.put("batch", b"a")
    reader = MarketStreamReader(client, [0])
    assert told(await read(reader, 1)) == [(0, b"a")]
    await second.put("batch", b"b")
    await second.put("batch", b"c")
    assert told(await read(reader, 2)) == [(0, b"b"), (0, b"c")]
    await first.close()
    await second.close()


async def test_behind_a_redis_that_forgot_everything_the_reader_finds_the_stream_and_says_what_it_lacks(
    client, redis_server
):
    writer = MarketStreamWriter(client, 0, clock=lambda: 9)
    reader = MarketStreamReader(client, [0], sleep=lambda _: asyncio.sleep(0.01))
    await writer.put("batch", b"1")
    assert told(await read(reader, 1)) == [(0, b"1")]
    await writer.put("batch", b"2")  # gets there, and is forgotten before it is read
    async with asyncio.timeout(60):
        while writer.counters()["sent_total"] < 2:
            await asyncio.sleep(0.01)
    redis_server.stop(kill=True)
    await writer.put("batch", b"3")  # waits until the server is back
    redis_server.start()
    lost, third = await read(reader, 2)
    assert (lost, third.payload) == (StreamLoss(0, 9), b"3")
    await writer.close()


async def test_what_waits_for_redis_has_a_bound(redis_server):
    redis_server.stop(kill=True)
    client = RedisClient(redis_server.url)
    writer = MarketStreamWriter(client, 0, waiting_bytes=1000)
    for _ in range(10):
        await writer.put("batch", b"x" * 200)
    assert writer.counters()["dropped_total"] == 7
    assert writer.counters()["waiting"] == 3
    await writer.close()
    await client.close()
    redis_server.start()


async def test_a_reader_begins_at_a_time(client, redis_server):
    writer = MarketStreamWriter(client, 0)
    await writer.put("batch", b"old")
    await sent(writer)
    await writer.close()
    with redis.Redis.from_url(redis_server.url) as other:
        newest_ms = int(other.xrevrange("market:0", count=1)[0][0].partition(b"-")[0])
        other.xadd("market:0", {"w": "z", "n": 5, "k": "batch", "d": "", "t": 1, "p": b"new"}, id=f"{newest_ms + 10}-0")
    reader = MarketStreamReader(client, [0], since_ns=(newest_ms + 5) * 1_000_000)
    assert told(await read(reader, 1)) == [(0, b"new")], "what was said before is no loss"
    early = MarketStreamReader(client, [0], since_ns=(newest_ms - 5) * 1_000_000)
    assert told(await read(early, 1)) == [(0, b"old")], "who began to speak then lacks nothing"
    with redis.Redis.from_url(redis_server.url) as other:
        other.xtrim("market:0", maxlen=1, approximate=False)
    late = MarketStreamReader(client, [0], since_ns=(newest_ms - 5) * 1_000_000)
    assert await read(late, 1) == [StreamLoss(0, (newest_ms - 5) * 1_000_000)], "what was trimmed is told"


async def test_what_redis_keeps_has_a_bound_in_bytes(client, redis_server, monkeypatch):
    monkeypatch.setattr(market_stream, "KEPT_BYTES", 200_000)
    writer = MarketStreamWriter(client, 0)
    for _ in range(400):
        await writer.put("batch", b"x" * 9_900)
    await sent(writer)
    await writer.close()
    with redis.Redis.from_url(redis_server.url) as other:
        kept = other.xlen("market:0")
    assert 20 <= kept < 150, "twenty make so much; the driver sends 64 at once, and Redis trims by nodes"
