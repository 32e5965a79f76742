"""Old days of the embedded store in Parquet: what its contract does not say of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tests.storage.days import (
    FIRST_DAY,
    SYMBOLS,
    all_rows,
    day_start,
    open_filled,
    rows,
    ticks_of_day,
)

from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore


@pytest.fixture
async def store(tmp_path):
    filled = await open_filled(tmp_path)
    yield filled
    await filled.close()


async def test_a_read_between_two_steps_sees_each_row_once(store):
    before = await all_rows(store)
    seen = []

    async def look() -> None:
        seen.append(await all_rows(store) == before)

    moving = store.upkeep._move

    async def watched(parts):
        await look()
        await moving(parts)
        await look()

    store.upkeep._move = watched
    within = store.within

    async def between(work):
        result = await within(work)
        await look()
        return result

    store.within = between
    await store.upkeep.archive(FIRST_DAY + 1)
    assert len(seen) >= 5 and all(seen)


@pytest.mark.parametrize("place", ["memory://cold/ticks", "elsewhere"])
async def test_an_archive_lies_wherever_fsspec_reaches_and_is_read_there_after_a_restart(store, tmp_path, place):
    place = place if "://" in place else f"file://{tmp_path}/{place} [of old]"
    before = await all_rows(store)
    await store.upkeep.archive(FIRST_DAY + 2, place=place)
    assert not (tmp_path / "archive").exists()
    assert await all_rows(store) == before
    assert await store.upkeep.check_archive() == []
    await store.close()
    again = await DuckDBStore.open(tmp_path / "pairscope.duckdb")
    assert await all_rows(again) == before
    await again.upkeep.forget([FIRST_DAY])
    assert rows(await again.ticks("BTCUSDT", 0, day_start(1), limit=5)) == []
    await again.close()


async def test_the_file_shrinks_when_it_is_compacted_and_answers_as_before(store, tmp_path):
    n, dice = 200_000, np.random.default_rng(1)
    at = day_start(3) + np.arange(n) * 1_000_000
    numbers, which = np.arange(n) + 10**6, np.zeros(n, np.int32)
    many = TickBatch(SYMBOLS, which, at, at, numbers, dice.random(n), dice.random(n), numbers % 2 == 0, int(at[-1]))
    await store.append(many)
    await store.append(ticks_of_day(4))
    await store.checkpoint()
    await store.upkeep.forget([FIRST_DAY + 3])
    before, size = await all_rows(store), (await store.stats()).bytes
    assert await store.upkeep.compact() < 5
    assert (await store.stats()).bytes < size / 2
    assert await all_rows(store) == before
    assert (await store.append(ticks_of_day(5))).new.all()
    assert not list(tmp_path.glob("*.compacting"))


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    from pairscope.storage.archive_place import Place

    written = tmp_path / "w"
    written.write_bytes(b"ticks" * 1000)
    want = hashlib.sha256(b"ticks" * 1000).hexdigest()
    place = Place(tmp_path / "cold", "")
    place.put(written, "a/b/c/d.parquet")
    assert place.sha256("a/b/c/d.parquet") == (want, 5000)
    place.remove("a/b/c/d.parquet")
    assert not (tmp_path / "cold/a/b/c").exists()
