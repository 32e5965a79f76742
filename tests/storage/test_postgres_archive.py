"""Days of PostgreSQL move to files while other processes read and write, and every process answers as before."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from tests.storage.days import FIRST_DAY, FOREVER, SYMBOLS, all_rows, answers, day_start, fill, rows, ticks_of_day

from pairscope.errors import StoreUnavailable
from pairscope.market.ticks import TickBatch
from pairscope.storage import postgres_archive
from pairscope.storage.postgres_store import PostgresStore

HOUR = 3_600_000_000_000


@pytest.fixture
async def opened(postgres_url):
    made = []

    async def begin():
        made.append(await PostgresStore.open(postgres_url, pool=4))
        return made[-1]

    yield begin
    for store in made:
        await store.close()


async def test_every_process_finds_each_row_once_while_days_move_and_are_merged(opened, tmp_path):
    mover, reader = await opened(), await opened()
    await fill(mover)
    at = day_start(0) + HOUR + 1
    last = int(ticks_of_day(2).trade_id.max())
    late = TickBatch(
        SYMBOLS, *(np.array([v]) for v in (0, at, at, last + 1, 99.5, 3.0)), np.array([True]), day_start(3)
    )
    before, looks, over = await all_rows(mover), 0, False

    async def look() -> None:
        nonlocal looks
        while not over or not looks:
            found = await all_rows(reader)
            assert found == before
            looks += 1

    for add in (None, late):
        if add is not None:
            await mover.append(add)
            before, looks, over = await all_rows(mover), 0, False
        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            moved = await mover.upkeep.archive(FIRST_DAY + 2, place=str(tmp_path))
            over = True
        assert moved["ticks"] == (1 if add is not None else 2 * len(ticks_of_day(0)))
    assert await all_rows(reader) == before


async def test_a_read_that_has_looked_at_the_catalogue_is_waited_for_before_its_rows_go(opened, tmp_path):
    mover, reader = await opened(), await opened()
    await fill(mover)
    looked, go_on = threading.Event(), threading.Event()

    def slow(session, view, tables):
        looked.set()
        go_on.wait(60)
        return tables.ticks_between(session, 0, FOREVER)

    reading = asyncio.create_task(reader._read(slow))
    await asyncio.to_thread(looked.wait, 60)
    moving = asyncio.create_task(mover.upkeep.archive(FIRST_DAY + 2, place=str(tmp_path)))
    async with asyncio.timeout(60):
        while not moving.done() and not await waiting_locks(reader):
            await asyncio.sleep(0.01)
    go_on.set()
    assert len(await reading) == 3 * len(ticks_of_day(0))
    assert (await moving)["ticks"] == 2 * len(ticks_of_day(0))


async def waiting_locks(store) -> int:
    """How many wait for the table of ticks."""
    [row] = await store._pool.read(
        lambda session: session.rows(
            "SELECT count(*) AS count FROM pg_locks WHERE NOT granted AND relation = 'tick_data'::regclass"
        )
    )
    return int(row["count"])


async def test_a_trade_that_comes_while_its_day_is_written_is_not_lost_and_moves_with_the_day_next_time(
    opened, postgres_url, tmp_path
):
    store = await opened()
    await fill(store)
    at, last = day_start(0) + HOUR + 1, int(ticks_of_day(2).trade_id.max())
    late = TickBatch(
        SYMBOLS, *(np.array([v]) for v in (0, at, at, last + 1, 99.5, 3.0)), np.array([True]), day_start(3)
    )

    async def append() -> None:
        other = await PostgresStore.open(postgres_url, pool=2)
        await other.append(late)
        await other.close()

    def on_step(step: str) -> None:
        if step == "written":
            thread = threading.Thread(target=asyncio.run, args=(append(),))
            thread.start()
            thread.join(60)

    store.upkeep.on_step = on_step
    with pytest.raises(StoreUnavailable, match="rows changed while they were moved"):
        await store.upkeep.archive(FIRST_DAY + 1, place=str(tmp_path))
    store.upkeep.on_step = lambda _: None
    before = await answers(store)
    assert len(before["since"]) == 3 * len(ticks_of_day(0)) + 1
    assert not list(tmp_path.rglob("*.parquet"))
    assert (await store.upkeep.archive(FIRST_DAY + 1, place=str(tmp_path)))["ticks"] == len(ticks_of_day(0)) + 1
    assert await answers(store) == before


async def test_two_processes_that_archive_the_same_days_move_each_row_once(opened, tmp_path):
    one, other = await opened(), await opened()
    await fill(one)
    before = await all_rows(one)
    found: list[Any] = await asyncio.gather(
        *(store.upkeep.archive(FIRST_DAY + 2, place=str(tmp_path)) for store in (one, other)), return_exceptions=True
    )
    failed = [error for error in found if isinstance(error, BaseException)]
    assert all(isinstance(error, StoreUnavailable) for error in failed), failed
    await one.upkeep.archive(FIRST_DAY + 2, place=str(tmp_path))
    for store in (one, other):
        assert await all_rows(store) == before
    assert await one.upkeep.check_archive() == []
    assert len(list(tmp_path.rglob("*.parquet"))) == 12


async def test_a_process_that_does_not_reach_the_archive_says_so_and_answers_nothing_that_lacks_it(opened, tmp_path):
    store, cold = await opened(), tmp_path / "cold"
    await fill(store)
    before = await all_rows(store)
    await store.upkeep.archive(FIRST_DAY + 2, place=str(cold))
    cold.rename(tmp_path / "elsewhere")
    for ask in (
        store.ticks("BTCUSDT", 0, FOREVER, limit=5),
        store.bars("BTCUSDT", "1m", day_start(0), day_start(1), limit=500),
        all_rows(store),
    ):
        with pytest.raises(StoreUnavailable, match=rf"the archive at {cold} cannot be read from here"):
            await ask
    newest = await store.ticks("BTCUSDT", day_start(2), FOREVER, limit=5)
    assert len(rows(newest)) == 5, "what lies in the tables needs no archive"
    (tmp_path / "elsewhere").rename(cold)
    assert await all_rows(store) == before


def test_what_another_process_writes_into_may_be_gone_when_it_is_looked_at(tmp_path):
    (tmp_path / ".archiving").mkdir()
    going = tmp_path / ".archiving" / "pairscope-archiving-other"
    going.symlink_to(tmp_path / "gone")  # listed, and not there any more
    with postgres_archive._scratch(str(tmp_path)) as ours:
        assert ours.is_dir()


async def test_a_database_of_the_first_version_goes_on_with_its_rows_and_can_archive_them(opened, tmp_path):
    first = await opened()
    await fill(first)
    before = await answers(first)
    await first._pool.write(
        lambda session: session.run(
            "DROP TABLE archive, archive_litter; DELETE FROM meta WHERE key LIKE 'archive%'; "
            "DELETE FROM migration WHERE number = 2"
        )
    )
    await first.close()
    store = await opened()
    assert await answers(store) == before
    await store.upkeep.archive(FIRST_DAY + 2, place=str(tmp_path))
    assert await answers(store) == before
