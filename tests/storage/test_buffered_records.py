"""Records through the writer: what waits is seen as if it were stored, and changes keep their order."""

from __future__ import annotations

import asyncio

import pytest

from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.buffered_records import BufferedRecords
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

NOTHING = TickBatch.empty(Symbols(), 0)


@pytest.fixture
async def parts(moody, tmp_path, hand_clock):
    """A store, a writer that flushes only when somebody is in a hurry, and the records over both."""
    writer = StoreWriter(moody, spool=Spool(tmp_path / "spool", max_bytes=1 << 20), clock=hand_clock)
    await writer.start()
    yield moody, writer, BufferedRecords(moody, writer)
    moody.relent()
    await writer.close()


async def entries(records, after=""):
    return [entry async for entry in records.scan("c", after)]


async def test_what_waits_is_seen_over_what_is_stored_and_looks_the_same_when_it_is(parts):
    moody, writer, records = parts
    for key in "bdfh":
        await moody.put("c", key, b"stored")
    await writer.put(NOTHING, documents=[Document("c", key, b"older") for key in "adh"])
    waiting = [("c", "a", b"new"), ("c", "d", None), ("c", "e", b"new"), ("c", "f", b"new"), ("c", "z", b"new")]
    await writer.put(NOTHING, documents=[Document(*each) for each in [*waiting, ("other", "b", None)]])
    expected = [("a", b"new"), ("b", b"stored"), ("e", b"new"), ("f", b"new"), ("h", b"older"), ("z", b"new")]
    for stored in (False, True):
        if stored:
            await writer.drain()
        assert await entries(records) == expected
        assert await entries(records, "e") == expected[3:]
        assert await entries(records, "z") == []
        assert [await records.get("c", key) for key in "abdx"] == [b"new", b"stored", None, None]
    assert await entries(moody) == expected


async def test_a_change_is_durable_when_the_call_returns_and_says_whether_the_key_was_new(parts):
    moody, _, records = parts
    assert await records.put("c", "k", b"1")
    assert not await records.put("c", "k", b"2")
    assert not await records.put("c", "k", b"3", replace=False)
    assert await records.put("c", "m", b"4", replace=False)
    assert await entries(moody) == [("k", b"2"), ("m", b"4")]
    assert await records.delete("c", "k")
    assert not await records.delete("c", "k")
    await records.put_many([Document("c", "m", None), Document("c", "n", b"5")])
    assert await entries(moody) == [("n", b"5")]


async def test_a_change_is_not_overtaken_by_an_older_document_that_waits(parts):
    moody, writer, records = parts
    await writer.put(NOTHING, documents=[Document("c", "k", b"older"), Document("c", "gone", b"older")])
    assert not await records.put("c", "k", b"newer")
    assert await records.delete("c", "gone")
    await writer.drain()
    assert await entries(moody) == [("k", b"newer")]


async def test_a_change_is_not_overtaken_by_an_older_document_in_the_spool(parts, hand_clock):
    moody, writer, records = parts
    moody.refuse()
    await writer.put(NOTHING, documents=[Document("c", "sent", b"waits"), Document("c", "k", b"older")], hurry=True)
    await writer.drain()
    assert writer.counters()["spool_bytes"] > 0
    assert await entries(records) == [("k", b"older"), ("sent", b"waits")]
    assert await records.delete("c", "sent")
    assert not await records.put("c", "k", b"newer")
    assert await entries(records) == [("k", b"newer")]
    moody.relent()
    hand_clock.pass_s(60)
    await records.put("c", "last", b"")
    async with asyncio.timeout(120):
        while writer.counters()["spool_bytes"]:
            await asyncio.sleep(0.002)
    assert await entries(moody) == [("k", b"newer"), ("last", b"")]


async def test_what_an_earlier_run_spooled_is_seen_at_a_start_at_which_the_store_still_refuses(parts, tmp_path):
    moody, writer, _ = parts
    moody.refuse()
    await writer.put(NOTHING, documents=[Document("c", "1", b"first"), Document("c", "2", b"second")], hurry=True)
    await writer.put(NOTHING, documents=[Document("c", "1", None)], hurry=True)
    await writer.close()
    later = StoreWriter(moody, spool=Spool(tmp_path / "spool", max_bytes=1 << 20))
    await later.start()
    records = BufferedRecords(moody, later)
    assert await entries(records) == [("2", b"second")]
    await records.put("c", "3", b"third")
    assert await entries(records) == [("2", b"second"), ("3", b"third")]
    assert await entries(moody) == []
    moody.relent()
    await later.keep([], hurry=True)
    async with asyncio.timeout(60):
        while later.counters()["spool_bytes"]:
            await asyncio.sleep(0.01)
    assert later.documents() == []
    assert await entries(moody) == await entries(records) == [("2", b"second"), ("3", b"third")]
    await later.close()
