"""What waits for the store: ripe in time, taken in groups, and no document lost with ticks."""

from __future__ import annotations

import asyncio

import pytest

from pairscope.errors import StoreUnavailable
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.parcel import Parcel
from pairscope.storage.waiting import MAX_DOCUMENTS, Waiting


@pytest.fixture
def waiting(hand_clock):
    return Waiting(clock=hand_clock, max_batches=4, flush_rows=100, flush_ns=500_000_000)


TABLE = Symbols(["AUSDT"])


def parcel(*documents: Document, symbols: Symbols = TABLE) -> Parcel:
    return Parcel(TickBatch.empty(symbols, 0), documents=documents)


def numbered(k: int, body: bytes | None = b"") -> Document:
    return Document("firings", f"{k}", body)


async def test_what_is_put_is_ripe_when_it_is_old_enough_or_somebody_is_in_a_hurry(waiting, hand_clock):
    waiting.put(parcel())
    assert not waiting.is_ripe
    hand_clock.pass_s(0.5)
    assert waiting.is_ripe
    assert waiting.lag_ns() == 500_000_000
    waiting.take()
    waiting.let_go()
    waiting.put(parcel())
    assert not waiting.is_ripe
    waiting.put(parcel(), hurry=True)
    assert waiting.is_ripe


async def test_a_hurry_lasts_until_nothing_is_left_and_no_longer(waiting):
    waiting.put(parcel(symbols=Symbols(["AUSDT"])))
    waiting.put(parcel(symbols=Symbols(["BUSDT"])), hurry=True)
    waiting.take()
    waiting.let_go()
    assert waiting.is_ripe, "another table of symbols, so another flush"
    waiting.take()
    waiting.put(parcel())
    waiting.let_go()
    assert waiting.is_ripe, "it came while the flush was on its way; a second too early costs little"
    waiting.take()
    waiting.let_go()
    waiting.put(parcel())
    assert not waiting.is_ripe


async def test_documents_of_dropped_ticks_come_first_and_once_a_key_in_the_next_group(waiting):
    waiting.put(parcel(numbered(1, b"old"), numbered(2)))
    waiting.put(parcel(numbered(1, b"new")))
    waiting.take()
    waiting.put(parcel(numbered(3), symbols=Symbols(["BUSDT"])))
    assert waiting.drop(keep_documents=True) == 2
    assert (len(waiting), waiting.documents) == (2, 3)
    assert waiting.take().documents == (numbered(1, b"new"), numbered(2), numbered(3))
    assert waiting.let_go() == 2
    assert (len(waiting), waiting.documents) == (0, 0)


async def test_nothing_stays_of_ticks_without_documents(waiting):
    waiting.put(parcel())
    waiting.take()
    assert waiting.drop(keep_documents=True) == 1
    assert len(waiting) == 0


async def test_a_promise_is_kept_with_the_group_that_holds_what_it_is_about(waiting):
    waiting.put(parcel(symbols=Symbols(["AUSDT"])))
    first = waiting.promise()
    waiting.put(parcel(numbered(1), symbols=Symbols(["BUSDT"])))
    second = waiting.promise()
    waiting.take()
    waiting.let_go()
    assert (first.done(), second.done()) == (True, False)
    waiting.take()
    waiting.let_go()
    assert await second is None


async def test_a_promise_about_documents_outlives_the_ticks_beside_them(waiting):
    waiting.put(parcel(numbered(1)))
    promise = waiting.promise()
    waiting.take()
    waiting.drop(keep_documents=True)
    assert not promise.done()
    waiting.take()
    waiting.let_go()
    assert promise.done()


async def test_a_broken_promise_says_why_and_one_that_was_given_up_stays_so(waiting):
    waiting.put(parcel(numbered(1)))
    kept, cancelled = waiting.promise(), waiting.promise()
    cancelled.cancel()
    waiting.break_promises(StoreUnavailable("no room anywhere"))
    with pytest.raises(StoreUnavailable, match="no room anywhere"):
        await kept
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_there_is_room_for_so_many_parcels_and_so_many_documents(waiting):
    for k in range(4):
        assert waiting.has_room
        waiting.put(parcel(numbered(k)))
    assert not waiting.has_room
    waiting.take()
    waiting.let_go()
    waiting.put(parcel(*(numbered(k) for k in range(MAX_DOCUMENTS))))
    assert not waiting.has_room
