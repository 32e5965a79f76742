"""What the settings say of old days is done at start and once a day; never to the newest."""

from __future__ import annotations

import asyncio

import pytest
from tests.storage.days import FIRST_DAY, SYMBOLS, answers, day_start, open_filled, rows, ticks_of_day

from pairscope.errors import InputError
from pairscope.market.ticks import concat_ticks
from pairscope.ports_storage import ArchiveRequest, RetentionRequest
from pairscope.storage.archive_catalogue import DAY_NS
from pairscope.storage.buffered_store import BufferedStore
from pairscope.storage.keeping import Lifecycle, StoreKeeper
from pairscope.storage.kept_days import KeptDay, deletable
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

NOW = day_start(2) + 20 * 3_600_000_000_000


@pytest.fixture
async def store(tmp_path):
    filled = await open_filled(tmp_path)
    yield filled
    await filled.close()


def keeper(store, *, now: int = NOW, **lifecycle) -> StoreKeeper:
    return StoreKeeper(store, jobs=None, clock=lambda: now, lifecycle=Lifecycle(**lifecycle))


async def dates(store) -> list[str]:
    return sorted({day["date"] for day in (await keeper(store).overview())["days"]})


async def test_days_are_archived_and_deleted_by_the_settings_and_today_stays(store):
    before = await answers(store)
    by_settings = keeper(store, archive_days=1, retention_days=1)
    await by_settings.apply()
    counted = by_settings.counters()
    assert (counted["archived_days"], counted["deleted_days"]) == (1, 1)
    assert await dates(store) == ["2024-10-05", "2024-10-06"]
    assert (await answers(store))["since the middle"] == before["since the middle"]
    await keeper(store, archive_days=1, retention_days=1).apply()
    assert await dates(store) == ["2024-10-05", "2024-10-06"]


async def test_a_dry_run_says_what_would_go_and_nothing_goes(store):
    look = keeper(store)
    plan = await look.archivable(ArchiveRequest(before_ns=day_start(1), symbols=("BTCUSDT",)))
    mine = ticks_of_day(0)
    assert (plan["days"], plan["ticks"]) == (1, int((mine.symbol_id == 0).sum()))
    assert [(row["date"], row["symbol"]) for row in plan["rows"]] == [("2024-10-04", "BTCUSDT")]
    plan = await look.deletable(RetentionRequest(days=1))
    assert (plan["days"], plan["ticks"]) == (1, len(mine))
    assert (await look.overview())["archive"]["files"] == 0
    assert await dates(store) == ["2024-10-04", "2024-10-05", "2024-10-06"]


async def test_a_store_that_was_not_filled_for_long_does_not_lose_its_newest_days_for_their_age(store):
    plan = await keeper(store, now=NOW + 400 * DAY_NS).deletable(RetentionRequest(days=1))
    assert [row["date"] for row in plan["rows"]] == ["2024-10-04"] * 2


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ArchiveRequest(before_ns=NOW + DAY_NS), "today"),
        (ArchiveRequest(before_ns=1, older_than_days=1), "two ways"),
        (ArchiveRequest(), "which days"),
        (RetentionRequest(), "how much"),
    ],
)
async def test_what_makes_no_sense_is_refused(store, request_, said):
    with pytest.raises(InputError, match=said):
        await (keeper(store).archivable if isinstance(request_, ArchiveRequest) else keeper(store).deletable)(request_)


def kept(day: int, size: int) -> KeptDay:
    return KeptDay(day, "BTCUSDT", 1, 0, 0, 1, 0, size, 0, 0)


def test_the_oldest_days_go_until_the_rest_fits_and_the_newest_never():
    days = [kept(day, 100) for day in range(10, 15)]
    assert deletable(days, before_day=14, oldest_day=0, spare_bytes=250) == [10, 11, 12]
    assert deletable(days, before_day=14, oldest_day=0, spare_bytes=0) == [10, 11, 12, 13]
    assert deletable(days, before_day=14, oldest_day=12, spare_bytes=None) == [10, 11]
    assert deletable(days, before_day=14, oldest_day=13, spare_bytes=450) == [10, 11, 12]
    assert deletable(days, before_day=14, oldest_day=0, spare_bytes=500) == []


async def test_one_answer_has_waiting_stored_and_archived_days_also_while_a_day_is_moved(store, tmp_path):
    writer = StoreWriter(store, spool=Spool(tmp_path / "spool", max_bytes=1 << 20), flush_seconds=3600.0)
    await writer.start()
    buffered = BufferedStore(store, writer)
    newest = ticks_of_day(3).take(slice(0, 40))
    await store.upkeep.archive(FIRST_DAY + 1)
    await writer.put(newest.with_watermark(int(newest.ts_event_ns.max())))
    all_ticks = concat_ticks([*(ticks_of_day(day) for day in range(3)), newest])
    mine = all_ticks.take(all_ticks.symbol_id == SYMBOLS.find("BTCUSDT"))
    wanted = [row[1:] for row in rows(mine)]
    moving = asyncio.create_task(store.upkeep.archive(FIRST_DAY + 2))
    seen = 0
    while not moving.done() or not seen:
        found = await buffered.ticks("BTCUSDT", 0, 2**62, limit=1_000_000)
        assert [row[1:] for row in rows(found)] == wanted
        newest_first = await buffered.ticks("BTCUSDT", 0, 2**62, limit=900, newest=True)
        assert [row[1:] for row in rows(newest_first)] == wanted[-900:]
        seen += 1
    assert (await moving)["days"] == 1
    await writer.close()
