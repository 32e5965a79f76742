"""Old days in PostgreSQL go with their partition, while others read and write, and the ledger begins behind them."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.storage.days import FIRST_DAY, all_rows, answers, bars_of_day, day_start, fill, ticks_of_day

from pairscope.errors import ConfigError, InputError
from pairscope.ports_storage import ArchiveRequest, RetentionRequest
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.keeping import Lifecycle, StoreKeeper
from pairscope.storage.postgres_store import PostgresStore

NOW = day_start(2) + 20 * 3_600_000_000_000
FOREVER = 2**62


@pytest.fixture
async def store(postgres_url):
    found = await PostgresStore.open(postgres_url)
    await fill(found)
    yield found
    await found.close()


def keeper(store, **lifecycle) -> StoreKeeper:
    return StoreKeeper(store, jobs=None, clock=lambda: NOW, lifecycle=Lifecycle(**lifecycle))


async def days(store, symbol=None, **options):
    return [
        (kept.day - FIRST_DAY, kept.symbol, kept.ticks, kept.bars_1s, kept.bars_1m, kept.where)
        for kept in await store.upkeep.days(symbol, **options)
    ]


async def test_days_are_counted_and_deleted_as_in_the_embedded_store(store, tmp_path):
    twin = await DuckDBStore.open(tmp_path / "pairscope.duckdb")
    await fill(twin)
    assert await days(store) == await days(twin)
    assert (
        await days(store, "BTCUSDT", start_ns=day_start(1), end_ns=day_start(2)) == (await days(twin, "BTCUSDT"))[1:2]
    )
    there = (await store.stats()).ticks, (await store.stats()).bars
    gone = [await each.upkeep.forget([FIRST_DAY]) for each in (store, twin)]
    assert [gone[0][name] for name in ("days", "ticks", "bars")] == [
        gone[1][name] for name in ("days", "ticks", "bars")
    ]
    assert await days(store) == await days(twin)
    assert await answers(store) == await answers(twin)
    left = await store.stats()
    assert there == (left.ticks + gone[0]["ticks"], left.bars + gone[0]["bars"])
    assert await store.held() == await twin.held()
    assert await store.upkeep.forget([FIRST_DAY]) == {"days": 1, "ticks": 0, "bars": 0, "files": 0, "bytes": 0}
    assert await store.upkeep.check(repair=False) == await twin.upkeep.check(repair=False)
    await twin.close()


async def test_retention_leaves_the_newest_days_and_a_dry_run_all(store, postgres_url):
    look = keeper(store, retention_days=1)
    plan = await look.deletable(RetentionRequest())
    assert (plan["days"], plan["ticks"]) == (1, len(ticks_of_day(0)))
    before = await answers(store)
    await look.apply()
    assert sorted({day for day, *_ in await days(store)}) == [1, 2]
    assert (await answers(store))["since the middle"] == before["since the middle"]
    overview = await look.overview()
    assert (overview["kind"], overview["free_bytes"], overview["archive"]["files"]) == ("PostgreSQL", None, 0)
    assert sum(day["bytes"] for day in overview["days"]) > 0
    again = await PostgresStore.open(postgres_url)
    assert await all_rows(again) == await all_rows(store)
    await again.close()


async def test_another_process_goes_on_writing_also_into_a_day_that_was_deleted(store, postgres_url):
    other = await PostgresStore.open(postgres_url)
    await fill(other, (0,))
    await store.upkeep.forget([FIRST_DAY])
    late = ticks_of_day(0).take(slice(0, 100))
    assert (await other.add_older(late)).new.all()
    await other.append(ticks_of_day(3), bars_of_day(ticks_of_day(3)))
    assert (await days(store))[0][:3] == (0, "BTCUSDT", 50)
    assert await all_rows(store) == await all_rows(other)
    await other.rebuild_bars("BTCUSDT", day_start(0), day_start(1))
    found = (await store.upkeep.check(repair=True))["findings"]
    assert {each["kind"] for each in found} == {"bars differ"}, "the ledger is as the rows are"
    assert (await store.upkeep.check(repair=False))["ok"]
    await other.close()


async def test_a_day_that_is_being_read_goes_when_the_read_is_over_and_holds_nobody_up_for_long(store):
    began, over = threading.Event(), threading.Event()

    def read(session):
        session.rows("SELECT count(*) FROM tick_data")
        began.set()
        return over.wait(60)

    reading = asyncio.create_task(store._pool.read(read))
    await asyncio.to_thread(began.wait, 60)
    forgetting = asyncio.create_task(store.upkeep.forget([FIRST_DAY]))
    today = ticks_of_day(3)
    await store.append(today)
    assert (await days(store, "BTCUSDT"))[0][0] == 0, "it waits for the read"
    over.set()
    await reading
    assert (await forgetting)["ticks"] == len(ticks_of_day(0))
    assert (await days(store, "BTCUSDT"))[0][0] == 1
    assert len(await store.ticks("BTCUSDT", day_start(3), FOREVER, limit=10**6)) == (today.symbol_id == 0).sum()


async def test_a_symbol_that_has_nothing_left_begins_anew_at_its_next_trade(store):
    await store.upkeep.forget([FIRST_DAY, FIRST_DAY + 1, FIRST_DAY + 2])
    assert (await store.symbols(), await store.held()) == ([], [])
    next_day = ticks_of_day(3)
    assert (await store.append(next_day)).new.all()
    assert (await store.stats()).ticks == len(next_day)
    assert await store.gaps(unrepaired=True) == []


async def test_deleted_room_is_used_again_and_nothing_is_lost_by_that(store):
    before = await all_rows(store)
    assert await store.upkeep.compact() == 0.0
    assert await all_rows(store) == before
    assert await store.upkeep.used_bytes() > 0


async def test_an_archive_without_a_place_that_every_process_reaches_is_refused_at_once(store):
    with pytest.raises(ConfigError, match="not where the archive is"):
        keeper(store, archive_days=3)
    with pytest.raises(ConfigError, match="ARCHIVE_URL is not set"):
        await keeper(store).archive_now(ArchiveRequest(before_ns=day_start(1)))


async def test_what_timescaledb_has_is_not_archived_and_that_is_said_at_once(store, tmp_path):
    store.upkeep.archives = False  # as it is where its extension is
    with pytest.raises(ConfigError, match="ARCHIVE_DAYS"):
        keeper(store, archive_days=3, archive_url=str(tmp_path))
    with pytest.raises(InputError, match="TimescaleDB"):
        await keeper(store, archive_url=str(tmp_path)).archive_now(ArchiveRequest(before_ns=day_start(1)))
