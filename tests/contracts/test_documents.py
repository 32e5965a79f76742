"""What every store must do with documents that come with ticks: both or neither, the last of a key, again and again."""

from __future__ import annotations

import asyncio

import pytest

from pairscope.errors import InputError
from pairscope.market.bars import bars_of, resample
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document

FOREVER = 2**62
S = 1_000_000_000


@pytest.fixture
def some(ticks_of, noon_ns):
    """Make a batch of consecutive ids, a second apart."""
    symbols = Symbols(["BTCUSDT"])

    def make(ids):
        return ticks_of([("BTCUSDT", i, noon_ns + i * S, "10.5", "0.25", i % 2 == 0) for i in ids], symbols=symbols)

    return make


async def entries(store, collection="firings"):
    return [(key, bytes(body)) async for key, body in store.scan(collection)]


async def ids(store):
    return (await store.ticks("BTCUSDT", 0, FOREVER, limit=10**6)).trade_id.tolist()


async def test_documents_are_stored_with_the_ticks_that_they_came_with(store, home, some):
    batch = some(range(3))
    admission = await store.append(
        batch, [bars_of(batch, "1s")], [Document("firings", "1", b"a"), Document("s", "1", b"")]
    )
    assert admission.new.all()
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert await entries(store) == [("1", b"a")]
        assert await store.get("s", "1") == b""
        assert await ids(store) == [0, 1, 2]


async def test_of_several_documents_of_a_key_the_last_is_kept(store, some):
    await store.put("firings", "old", b"there")
    await store.put("firings", "gone", b"there")
    documents = [
        Document("firings", "k", b"first"),
        Document("firings", "k", b"last"),
        Document("firings", "old", b"new"),
        Document("firings", "gone", None),
        Document("firings", "never", None),
        Document("firings", "back", None),
        Document("firings", "back", b"again"),
        Document("firings", "away", b"not for long"),
        Document("firings", "away", None),
    ]
    await store.append(some([0]), (), documents)
    assert await entries(store) == [("back", b"again"), ("k", b"last"), ("old", b"new")]


async def test_a_batch_that_is_appended_again_with_its_documents_changes_nothing(store, home, some):
    documents = [Document("firings", f"{k}", b"x") for k in range(5)] + [Document("firings", "2", None)]
    await store.append(some(range(3)), (), documents)
    before = (await entries(store), await ids(store))
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert not (await store.append(some(range(3)), (), documents)).new.any()
        assert (await entries(store), await ids(store)) == before


async def test_an_append_that_is_refused_leaves_neither_ticks_nor_documents(store, home, some):
    documents = [Document("firings", "1", b"a"), Document("no/such name", "1", b"a")]
    with pytest.raises(ValueError, match="no/such name"):
        await store.append(some([0, 1]), (), documents)
    whole = some(range(300))
    with pytest.raises(InputError):
        await store.append(whole, [resample(bars_of(whole, "1m"), "5m")], documents[:1])
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert (await entries(store), await ids(store)) == ([], [])
        assert (await store.continuity()).next_id("BTCUSDT") is None
    assert (await store.append(some([0, 1]), (), documents[:1])).new.all()
    assert (await entries(store), await ids(store)) == ([("1", b"a")], [0, 1])


async def test_documents_need_no_ticks_and_move_no_time(store, home, some):
    await store.append(some([0]))
    watermark_ns = await store.watermark_ns()
    await store.append(TickBatch.empty(Symbols(), 0), (), [Document("firings", "1", b"a")])
    await store.put_many(
        [Document("firings", "2", b"b"), Document("firings", "1", None), Document("firings", "3", b"")]
    )
    store = await home.reopen(store)
    assert await entries(store) == [("2", b"b"), ("3", b"")]
    assert await store.watermark_ns() == watermark_ns
    assert await ids(store) == [0]


@pytest.mark.parametrize("count", [1, 31, 33, 1000])
async def test_any_number_of_documents_goes_in_and_out(store, some, count):
    keys = [f"{k:04d}" for k in range(count)]
    await store.append(some([0]), (), [Document("firings", key, key.encode()) for key in reversed(keys)])
    assert await entries(store) == [(key, key.encode()) for key in keys]
    await store.append(some([1]), (), [Document("firings", key, b"new") for key in keys])
    assert await entries(store) == [(key, b"new") for key in keys]
    await store.append(some([2]), (), [Document("firings", key, None) for key in keys])
    assert await entries(store) == []


async def test_who_reads_beside_the_writer_finds_the_ticks_of_every_document_that_he_sees(store, some):
    done = False

    async def read() -> int:
        seen = 0
        while not done:
            newest = await store.get("states", "rule")
            ticks = await ids(store)
            if newest is not None:
                seen += 1
                assert len(ticks) >= int(newest)
        return seen

    await store.append(some(range(5)))
    readers = [asyncio.create_task(read()) for _ in range(3)]
    for k in range(1, 40):
        await store.append(some(range(k * 5, k * 5 + 5)), (), [Document("states", "rule", b"%d" % (k * 5 + 5))])
    done = True
    assert sum(await asyncio.gather(*readers)) > 0
    assert await store.get("states", "rule") == b"200"
