"""Documents beside ticks in the writer: one transaction, at once where it hurries, told when durable, never dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pairscope.errors import StoreUnavailable
from pairscope.ports import Document
from pairscope.storage.spool import Spool

FOREVER = 2**62
S = 1_000_000_000


async def until(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Let others run until something holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "waited in vain"
        await asyncio.sleep(0.002)


def firing(k: int, body: bytes | None = b"fired") -> Document:
    return Document("firings", f"{k:03d}", body)


async def keys_of(records, collection="firings"):
    return [key async for key, _ in records.scan(collection)]


async def stored_ids(moody):
    return (await moody.ticks("BTCUSDT", 0, FOREVER, limit=10**6)).trade_id.tolist()


async def test_who_hurries_is_stored_at_once_with_all_that_waits_before_it(make_writer, moody, some, hand_clock):
    told = []
    writer = await make_writer(clock=hand_clock, on_kept=told.append)
    await writer.put(some([0, 1]))
    await writer.put(some([2]), documents=[firing(2)])
    await asyncio.sleep(0.02)
    assert (moody.appended, told) == ([], [])
    await writer.put(some([3]), documents=[firing(3), firing(2, b"again")], hurry=True)
    await until(lambda: told)
    assert moody.appended == [4], "one transaction"
    assert told == [(firing(2, b"again"), firing(3))]
    assert await keys_of(moody) == ["002", "003"]
    assert await moody.get("firings", "002") == b"again"
    await writer.put(some([4]))
    await asyncio.sleep(0.02)
    assert moody.appended == [4], "the hurry is over"


async def test_who_hurries_while_a_flush_is_on_its_way_comes_with_the_next(make_writer, moody, some, hand_clock):
    told = []
    moody.gate = asyncio.Event()
    writer = await make_writer(clock=hand_clock, on_kept=told.extend)
    await writer.put(some([0]), documents=[firing(0)], hurry=True)
    await until(lambda: writer.waiting() and writer.counters()["queued_rows"] == 0)
    await writer.put(some([1]), documents=[firing(1)], hurry=True)
    moody.gate.set()
    await until(lambda: len(told) == 2)
    assert moody.appended == [1, 1]
    assert told == [firing(0), firing(1)]


async def test_documents_are_told_as_soon_as_they_lie_in_the_spool_and_once(make_writer, moody, some, hand_clock):
    told = []
    writer = await make_writer(clock=hand_clock, on_kept=told.extend)
    moody.refuse()
    await writer.put(some([0]), documents=[firing(0), Document("states", "a", b"1")], hurry=True)
    await until(lambda: told)
    assert writer.counters()["spool_bytes"] > 0
    assert (await keys_of(moody), await stored_ids(moody)) == ([], [])
    moody.relent()
    hand_clock.pass_s(60)
    await writer.put(some([1]), documents=[Document("states", "a", b"2")], hurry=True)
    await until(lambda: len(told) == 3)
    await until(lambda: not writer.counters()["spool_bytes"])
    await writer.drain()
    assert told == [firing(0), Document("states", "a", b"1"), Document("states", "a", b"2")]
    assert await keys_of(moody) == ["000"]
    assert await moody.get("states", "a") == b"2", "what is newer comes behind what was spooled"
    assert writer.counters()["documents"] == 3


async def test_a_crash_between_the_store_and_the_spool_stores_a_parcel_twice_and_changes_nothing(
    make_writer, moody, some, tmp_path
):
    writer = await make_writer()
    moody.refuse()
    await writer.put(some([0, 1]), documents=[firing(0), firing(1), firing(7, None)], hurry=True)
    await writer.close()
    moody.relent()
    parcel = Spool(tmp_path / "spool", max_bytes=1 << 20).first()
    await moody.append(parcel.batch, parcel.bars, parcel.documents)
    before = (await keys_of(moody), await stored_ids(moody))
    told = []
    await make_writer(on_kept=told.extend)
    assert (await keys_of(moody), await stored_ids(moody)) == before == (["000", "001"], [0, 1])
    assert told == [], "who reads the records behind the start finds them there"
    assert not Spool(tmp_path / "spool", max_bytes=1 << 20)


async def test_what_an_earlier_run_spooled_and_the_store_refuses_still_is_told_when_it_takes_it(
    make_writer, moody, some, hand_clock
):
    writer = await make_writer()
    moody.refuse()
    await writer.put(some([0]), documents=[firing(0)], hurry=True)
    await writer.close()
    told = []
    later = await make_writer(clock=hand_clock, on_kept=told.extend)
    assert told == []
    await later.put(some([1]), documents=[firing(1)], hurry=True)
    await until(lambda: told)
    assert told == [firing(1)], "durable behind the older one"
    moody.relent()
    hand_clock.pass_s(60)
    await later.put(some([2]))
    await until(lambda: not later.counters()["spool_bytes"])
    assert told == [firing(1), firing(0)]
    assert await keys_of(moody) == ["000", "001"]


async def test_where_ticks_are_dropped_documents_stay_and_are_stored_when_there_is_room(
    make_writer, moody, some, hand_clock
):
    told = []
    writer = await make_writer(clock=hand_clock, flush_seconds=0, max_batches=6, spool_bytes=10, on_kept=told.extend)
    moody.refuse()
    for k in range(40):
        await asyncio.wait_for(writer.put(some([k]), documents=[firing(k), Document("states", "a", b"%d" % k)]), 120)
        await asyncio.sleep(0.002)
    await until(lambda: writer.counters()["dropped_rows"] > 10)
    assert told == []
    assert writer.counters()["queued_documents"] >= 41
    moody.relent()
    hand_clock.pass_s(60)
    await writer.put(some([40]), documents=[firing(40)])
    await until(lambda: writer.status()["status"] == "ok" and not writer.counters()["depth"])
    assert len(await stored_ids(moody)) == 41 - writer.counters()["dropped_rows"]
    assert await keys_of(moody) == [f"{k:03d}" for k in range(41)]
    assert await moody.get("states", "a") == b"39"
    assert {document.key for document in told if document.collection == "firings"} == {f"{k:03d}" for k in range(41)}
    assert writer.counters()["dropped_documents"] == writer.counters()["queued_documents"] == 0


async def test_documents_that_nothing_took_before_the_end_are_counted(make_writer, moody, some):
    writer = await make_writer(spool_bytes=10)
    moody.refuse()
    await writer.put(some([0]), documents=[firing(0), firing(1)])
    await writer.close()
    assert writer.counters()["dropped_documents"] == 2


async def test_a_change_that_no_batch_brought_is_stored_behind_what_was_put(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock)
    await writer.put(some([0]), documents=[firing(0), firing(1)])
    await writer.keep([firing(0, None)])
    await writer.keep([firing(2)], hurry=True)
    await until(lambda: moody.appended)
    assert await keys_of(moody) == ["001", "002"]
    assert await stored_ids(moody) == [0]


async def test_who_waits_for_a_change_goes_on_when_it_is_durable_in_the_store_or_in_the_spool(
    make_writer, moody, some, hand_clock
):
    writer = await make_writer(clock=hand_clock)
    await asyncio.wait_for(writer.keep_now([firing(0)]), 120)
    assert await keys_of(moody) == ["000"]
    moody.refuse()
    await asyncio.wait_for(writer.keep_now([firing(1)]), 120)
    assert writer.counters()["spool_bytes"] > 0
    moody.relent()
    hand_clock.pass_s(60)
    await asyncio.wait_for(writer.keep_now([firing(2)]), 120)
    await until(lambda: not writer.counters()["spool_bytes"])
    assert await keys_of(moody) == ["000", "001", "002"]


async def test_who_waits_for_a_change_that_nothing_takes_is_told_and_it_is_kept_later(make_writer, moody, hand_clock):
    writer = await make_writer(clock=hand_clock, spool_bytes=10)
    moody.refuse()
    with pytest.raises(StoreUnavailable, match="neither the store nor the spool"):
        await asyncio.wait_for(writer.keep_now([firing(0)]), 120)
    moody.relent()
    hand_clock.pass_s(60)
    await asyncio.wait_for(writer.keep_now([firing(1)]), 120)
    assert await keys_of(moody) == ["000", "001"]


async def test_who_waits_for_a_change_when_the_writer_ends_by_a_bug_is_told(make_writer, moody):
    writer = await make_writer()
    moody.refusing = ZeroDivisionError("a bug")
    with pytest.raises(StoreUnavailable, match="ended"):
        await asyncio.wait_for(writer.keep_now([firing(0)]), 120)
    with pytest.raises(ZeroDivisionError):
        await writer.close()
