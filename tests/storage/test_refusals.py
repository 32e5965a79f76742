"""One batch that the store will never take: the rest of it and all behind it get through, and it is not forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import structlog

from pairscope.errors import StoreRefused, StoreUnavailable
from pairscope.market.continuity import Gap
from pairscope.ports import Document
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.refusals import TRIES, Refusals
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

FOREVER = 1 << 62
S = 1_000_000_000


async def ids_of(store, symbol):
    return (await store.ticks(symbol, 0, FOREVER, limit=1000)).trade_id.tolist()


@pytest.fixture
def picky(postgres_server, postgres_url):
    """The address of a server that somebody gave a rule of his own, and how to take it back."""

    def sql(statement):
        postgres_server.sql(statement, database="pairscope")

    sql("ALTER TABLE tick_data ADD CONSTRAINT theirs CHECK (symbol <> 'BAD')")
    yield postgres_url, lambda: sql("ALTER TABLE tick_data DROP CONSTRAINT theirs")
    sql("ALTER TABLE tick_data DROP CONSTRAINT IF EXISTS theirs")


async def test_what_postgresql_will_never_take_lies_aside_and_goes_in_when_it_does(picky, tmp_path, ticks_of, noon_ns):
    url, relent = picky
    store = await PostgresStore.open(url, pool=2)
    writer = StoreWriter(store, spool=Spool(tmp_path, max_bytes=1 << 20), flush_seconds=0.01)
    await writer.start()

    def rows(symbol, ids):
        return [(symbol, i, noon_ns + i * S, "10.5", "0.25", False) for i in ids]

    documents = [Document("c", "good", b"1"), Document("c", "with\0", b"2")]
    await writer.put(ticks_of(rows("GOOD", range(5)) + rows("BAD", range(5))), documents=documents)
    await writer.drain()
    await writer.put(ticks_of(rows("GOOD", range(5, 9)), watermark_ns=noon_ns + 9 * S))
    async with asyncio.timeout(60):
        while len(await ids_of(store, "GOOD")) < 9 or writer.counters()["spool_bytes"]:
            await asyncio.sleep(0.02)
    assert await store.watermark_ns() == noon_ns + 9 * S
    assert (await store.get("c", "good"), await ids_of(store, "BAD")) == (b"1", [])
    counters, status = writer.counters(), writer.status()
    assert (counters["refused_parcels"], counters["refused_rows"], counters["refused_lost"]) == (2, 5, 0)
    assert status["status"] == "degraded"
    assert str(tmp_path / "refused") in status["reason"]
    await writer.close()

    relent()
    [ticks, _] = sorted((tmp_path / "refused").iterdir())
    ticks.rename(tmp_path / ticks.name)
    again = StoreWriter(store, spool=Spool(tmp_path, max_bytes=1 << 20))
    await again.start()
    assert await ids_of(store, "BAD") == list(range(5))
    await again.close()
    await store.close()


async def refused(door, batch, documents=()):
    for _ in range(TRIES - 1):
        with pytest.raises(StoreRefused):
            await door.append(batch, (), documents)


async def test_what_is_taken_at_another_try_lies_nowhere(moody, some, tmp_path):
    door = Refusals(moody, tmp_path / "refused")
    for ids in ([1, 2], [3]):
        moody.refusing = StoreRefused("two at once")
        await refused(door, some(ids))
        moody.relent()
        assert (await door.append(some(ids), (), ())).new.all()
    assert door.status() == {"status": "ok"}
    assert not (tmp_path / "refused").exists()


async def test_a_store_that_goes_away_meanwhile_is_asked_for_all_of_it_again(moody, some, tmp_path):
    door = Refusals(moody, tmp_path / "refused")
    moody.refusing = StoreRefused("never")
    await refused(door, some([1, 2]))
    asked = []

    async def leave(*_):
        asked.append(1)
        raise StoreRefused("never") if len(asked) == 1 else StoreUnavailable("away")

    moody.append, append = leave, moody.append
    with pytest.raises(StoreUnavailable):
        await door.append(some([1, 2]), (), ())
    moody.append = append
    moody.relent()
    assert (await door.append(some([1, 2]), (), ())).new.all()
    assert door.counters()["refused_parcels"] == 0


async def test_what_there_is_no_room_for_is_counted_and_named(moody, some, tmp_path):
    door = Refusals(moody, tmp_path / "refused", max_bytes=2000)
    moody.refusing = StoreRefused("never")
    with structlog.testing.capture_logs() as said:
        for k in range(30):
            with suppress(StoreRefused):
                await door.append(some(range(k * 10, k * 10 + 10)), (), ())
    counters = door.counters()
    assert 0 < counters["refused_lost"] < counters["refused_parcels"]
    assert sum(path.stat().st_size for path in (tmp_path / "refused").iterdir()) <= 2000
    assert sum("lost" in line["event"] for line in said) == counters["refused_lost"]
    assert any(line["symbols"] == ["BTCUSDT"] for line in said)


async def test_a_verdict_that_is_refused_lies_aside_too(moody, tmp_path):
    door = Refusals(moody, tmp_path)

    async def never(_):
        raise StoreRefused("never")

    moody.settle_gap = never
    gap = Gap("BTCUSDT", 1, 2, "unrepairable", 2, ended_ns=9)
    for _ in range(TRIES - 1):
        with pytest.raises(StoreRefused):
            await door.settle_gap(gap)
    await door.settle_gap(gap)
    assert Spool(tmp_path, max_bytes=1 << 20).first().verdicts == (gap,)
