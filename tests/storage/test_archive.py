"""Old days in Parquet: every answer stays what it was, however the move is interrupted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.storage.days import (
    FIRST_DAY,
    FOREVER,
    NAMES,
    SYMBOLS,
    all_rows,
    answers,
    day_start,
    open_filled,
    rows,
    ticks_of_day,
)

from pairscope.errors import StorageError, StoreUnavailable
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE = 60_000_000_000


@pytest.fixture
async def store(tmp_path):
    filled = await open_filled(tmp_path)
    yield filled
    await filled.close()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_every_answer_is_the_same_before_and_after_days_are_archived_and_after_a_restart(store, tmp_path):
    before = await answers(store)
    assert len(before["since"]) == 3 * len(ticks_of_day(0))
    moved = await store.upkeep.archive(FIRST_DAY + 2)
    assert await answers(store) == before
    assert (moved["days"], moved["ticks"], moved["files"]) == (2, 2 * len(ticks_of_day(0)), 12)
    (here,) = await store.aside(lambda con, _: con.execute("SELECT count(*) FROM tick").fetchone())
    assert here == len(ticks_of_day(2))
    await store.close()
    again = await DuckDBStore.open(tmp_path / "pairscope.duckdb")
    assert await answers(again) == before
    assert await again.upkeep.check_archive() == []
    await again.close()


async def test_a_file_of_the_archive_is_what_other_programs_read_as_a_day_of_a_symbol(store, tmp_path):
    await store.upkeep.archive(FIRST_DAY + 1, symbols=["BTCUSDT"])
    names = files(tmp_path / "archive")
    assert [name.rpartition("/")[0] for name in names] == [
        "bars/timeframe=1m/date=2024-10-04/symbol=BTCUSDT",
        "bars/timeframe=1s/date=2024-10-04/symbol=BTCUSDT",
        "ticks/date=2024-10-04/symbol=BTCUSDT",
    ]
    table = pq.read_table(tmp_path / "archive" / "ticks")
    mine = ticks_of_day(0)
    mine = mine.take(mine.symbol_id == 0)
    assert table["id"].to_pylist() == mine.trade_id.tolist()
    assert table["price"].to_pylist() == mine.price.tolist()
    assert set(table["symbol"].to_pylist()) == {"BTCUSDT"}
    assert pq.ParquetFile(tmp_path / "archive" / names[2]).metadata.row_group(0).column(0).compression == "ZSTD"


async def test_late_ticks_and_corrected_bars_of_an_archived_day_count_once_and_can_be_archived_too(store, tmp_path):
    await store.upkeep.archive(FIRST_DAY + 2)
    old = await store.ticks("BTCUSDT", 0, FOREVER, limit=1)
    at, last = day_start(1) + 90 * MINUTE + 1, int(ticks_of_day(2).trade_id.max())
    late = TickBatch(
        SYMBOLS, *(np.array([v]) for v in (0, at, at, last + 1, 777.25, 3.0)), np.array([True]), day_start(3)
    )
    await store.append(late)
    revised = await store.rebuild_bars("BTCUSDT", at, at + 1)
    assert [(bars.timeframe, bars.high.tolist()) for bars in revised] == [("1s", [777.25]), ("1m", [777.25])]
    before = await answers(store)
    assert max(row[3] for row in before["BTCUSDT 1m"]) == 777.25
    kept = {(day.day - FIRST_DAY, day.symbol): day.where for day in await store.upkeep.days()}
    assert kept[1, "BTCUSDT"] == "both" and kept[1, NAMES[1]] == "archive" and kept[2, "BTCUSDT"] == "store"
    count = len(files(tmp_path / "archive"))
    moved = await store.upkeep.archive(FIRST_DAY + 2)
    assert (moved["ticks"], moved["bars"], moved["files"]) == (1, 2, 3)
    assert len(files(tmp_path / "archive")) == count
    assert await answers(store) == before
    assert rows(await store.ticks("BTCUSDT", 0, FOREVER, limit=1)) == rows(old)


async def test_uploaded_bars_stay_in_the_store_and_win_where_ticks_do_not_cover_them(store, tmp_path):
    at = day_start(0) - 5 * MINUTE
    columns = [np.array([v], np.float64) for v in (1.0, 2.0, 0.5, 1.5, 10.0, 15.0, 5.0)]
    numbers = [np.array([v], np.int64) for v in (0, -1, -1)]
    bar = BarBatch(
        SYMBOLS, "1m", np.array([0], np.int32), np.array([at]), *columns, *numbers, np.array([0], np.int32),
        np.array([Origin.UPLOAD], np.int8),
    )  # fmt: skip
    assert await store.put_bars(bar) == 1
    await store.upkeep.archive(FIRST_DAY + 2)
    found = await store.bars("BTCUSDT", "1m", at, at + MINUTE, limit=1)
    assert found.close.tolist() == [1.5]
    (left,) = await store.aside(
        lambda con, _: con.execute("SELECT count(*) FROM bar_1m WHERE ts_open_ns < ?", [day_start(1)]).fetchone()
    )
    assert left == 1


STEPS = ("written", "announced", "placed", "readable", "committing", "committed", "cleaned")


async def test_a_move_that_fails_at_any_step_loses_nothing_doubles_nothing_and_can_be_done_again(tmp_path):
    store = await open_filled(tmp_path, range(len(STEPS)))
    before = await all_rows(store)
    for day, step in enumerate(STEPS):

        def fail(at: str, step: str = step) -> None:
            if at == step:
                raise StorageError(f"interrupted when {step}")

        store.upkeep.on_step = fail
        with pytest.raises(StorageError, match=f"interrupted when {step}"):
            await store.upkeep.archive(FIRST_DAY + 1 + day)
        assert await all_rows(store) == before, step
        store.upkeep.on_step = lambda _: None
        await store.upkeep.archive(FIRST_DAY + 1 + day)
        assert await all_rows(store) == before, step
        assert len(files(tmp_path / "archive")) == 6 * (day + 1)
    assert await store.upkeep.check_archive() == []
    await store.close()


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


async def test_a_place_that_cannot_be_written_is_told_as_such_and_everything_stays_in_the_store(store, tmp_path):
    before = await store.symbols()
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match=r"taken.* cannot be written \(Not a directory\)"):
        await store.upkeep.archive(FIRST_DAY + 1, place=str(tmp_path / "taken"))
    assert (await store.symbols(), store.upkeep.totals()["files"]) == (before, 0)


async def test_a_file_that_changed_or_went_is_named_by_the_check(store, tmp_path):
    await store.upkeep.archive(FIRST_DAY + 1)
    one, two, *_ = (path for path in sorted((tmp_path / "archive").rglob("*.parquet")))
    body = bytearray(one.read_bytes())
    body[len(body) // 2] ^= 1
    one.write_bytes(body)
    two.unlink()
    faults = await store.upkeep.check_archive()
    assert [fault["reason"] for fault in faults] != [] and len(faults) == 2
    assert {fault["reason"] for fault in faults} == {"it is not there", "it is not what was written (SHA-256)"}


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


async def test_deleted_days_are_gone_from_store_and_archive_and_the_counts_follow(store, tmp_path):
    await store.upkeep.archive(FIRST_DAY + 1)
    day, before = len(ticks_of_day(0)), await store.stats()
    gone = await store.upkeep.forget([FIRST_DAY, FIRST_DAY + 1])
    assert (gone["days"], gone["ticks"], gone["files"]) == (2, 2 * day, 6)
    assert files(tmp_path / "archive") == []
    stats = await store.stats()
    assert (stats.ticks, stats.bars) == (before.ticks - 2 * day, before.bars - gone["bars"])
    left = await answers(store)
    assert [s.tick_count for s in left["symbols"]] == [day // 2, day // 2]
    assert min(s.first_ns for s in left["symbols"]) == day_start(2)
    await store.close()
    again = await DuckDBStore.open(tmp_path / "pairscope.duckdb")
    assert await answers(again) == left
    nothing = await again.append(ticks_of_day(2))
    assert not nothing.new.any()
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
