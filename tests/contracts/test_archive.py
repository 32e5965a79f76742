"""Old days in Parquet, in every store: each answer stays what it was, however the move is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    fill,
    rows,
    ticks_of_day,
)

from pairscope.errors import StorageError, StoreUnavailable
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.ticks import TickBatch

MINUTE = 60_000_000_000
STEPS = ("written", "announced", "placed", "committing", "committed", "cleaned")


@pytest.fixture
async def filled(store: Any) -> Any:
    """A store that has three days."""
    await fill(store)
    return store


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """Where the archive lies."""
    return tmp_path / "cold"


def files(folder: Path) -> list[str]:
    """The files of an archive, by their paths in it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def stored_days(store: Any) -> dict[tuple[int, str], tuple[int, int]]:
    """How many ticks and bars of each day and symbol are still in the store's own tables."""
    return {
        (kept.day - FIRST_DAY, kept.symbol): (kept.stored_ticks, kept.stored_bars)
        for kept in await store.upkeep.days()
        if kept.stored_ticks + kept.stored_bars
    }


async def test_every_answer_is_the_same_before_and_after_days_are_archived_and_after_a_restart(home, filled, cold):
    before = await answers(filled)
    assert len(before["since"]) == 3 * len(ticks_of_day(0))
    moved = await filled.upkeep.archive(FIRST_DAY + 2, place=str(cold))
    assert await answers(filled) == before
    assert (moved["days"], moved["ticks"], moved["files"]) == (2, 2 * len(ticks_of_day(0)), 12)
    assert {day for day, _ in await stored_days(filled)} == {2}
    assert filled.upkeep.totals()["files"] == 12
    again = await home.reopen(filled)
    assert await answers(again) == before
    assert await again.upkeep.check_archive() == []


async def test_a_file_of_the_archive_is_what_other_programs_read_as_a_day_of_a_symbol(filled, cold):
    await filled.upkeep.archive(FIRST_DAY + 1, symbols=["BTCUSDT"], place=str(cold))
    names = files(cold)
    assert [name.rpartition("/")[0] for name in names] == [
        "bars/timeframe=1m/date=2024-10-04/symbol=BTCUSDT",
        "bars/timeframe=1s/date=2024-10-04/symbol=BTCUSDT",
        "ticks/date=2024-10-04/symbol=BTCUSDT",
    ]
    table = pq.read_table(cold / "ticks")
    mine = ticks_of_day(0)
    mine = mine.take(mine.symbol_id == 0)
    assert table["id"].to_pylist() == mine.trade_id.tolist()
    assert table["price"].to_pylist() == mine.price.tolist()
    assert table["ts_event_ns"].to_pylist() == mine.ts_event_ns.tolist()
    assert set(table["symbol"].to_pylist()) == {"BTCUSDT"}
    assert pq.ParquetFile(cold / names[2]).metadata.row_group(0).column(0).compression == "ZSTD"
    assert (0, "BTCUSDT") not in await stored_days(filled) and (0, NAMES[1]) in await stored_days(filled)


async def test_late_ticks_and_corrected_bars_of_an_archived_day_count_once_and_can_be_archived_too(filled, cold):
    await filled.upkeep.archive(FIRST_DAY + 2, place=str(cold))
    old = await filled.ticks("BTCUSDT", 0, FOREVER, limit=1)
    at, last = day_start(1) + 90 * MINUTE + 1, int(ticks_of_day(2).trade_id.max())
    late = TickBatch(
        SYMBOLS, *(np.array([v]) for v in (0, at, at, last + 1, 777.25, 3.0)), np.array([True]), day_start(3)
    )
    await filled.append(late)
    revised = await filled.rebuild_bars("BTCUSDT", at, at + 1)
    assert [(bars.timeframe, bars.high.tolist()) for bars in revised] == [("1s", [777.25]), ("1m", [777.25])]
    before = await answers(filled)
    assert max(row[3] for row in before["BTCUSDT 1m"]) == 777.25
    kept = {(day.day - FIRST_DAY, day.symbol): day.where for day in await filled.upkeep.days()}
    assert kept[1, "BTCUSDT"] == "both" and kept[1, NAMES[1]] == "archive" and kept[2, "BTCUSDT"] == "store"
    count = len(files(cold))
    moved = await filled.upkeep.archive(FIRST_DAY + 2, place=str(cold))
    assert (moved["ticks"], moved["bars"], moved["files"]) == (1, 2, 3)
    assert len(files(cold)) == count
    assert await answers(filled) == before
    assert rows(await filled.ticks("BTCUSDT", 0, FOREVER, limit=1)) == rows(old)


async def test_uploaded_bars_stay_in_the_store_and_win_where_ticks_do_not_cover_them(filled, cold):
    at = day_start(0) - 5 * MINUTE
    columns = [np.array([v], np.float64) for v in (1.0, 2.0, 0.5, 1.5, 10.0, 15.0, 5.0)]
    numbers = [np.array([v], np.int64) for v in (0, -1, -1)]
    bar = BarBatch(
        SYMBOLS, "1m", np.array([0], np.int32), np.array([at]), *columns, *numbers, np.array([0], np.int32),
        np.array([Origin.UPLOAD], np.int8),
    )  # fmt: skip
    assert await filled.put_bars(bar) == 1
    await filled.upkeep.archive(FIRST_DAY + 2, place=str(cold))
    found = await filled.bars("BTCUSDT", "1m", at, at + MINUTE, limit=1)
    assert found.close.tolist() == [1.5]
    assert {each: count for each, count in (await stored_days(filled)).items() if each[0] < 2} == {
        (-1, "BTCUSDT"): (0, 1)
    }


async def test_a_move_that_fails_at_any_step_loses_nothing_doubles_nothing_and_can_be_done_again(store, cold):
    await fill(store, range(len(STEPS)))
    before = await all_rows(store)
    for day, step in enumerate(STEPS):

        def fail(at: str, step: str = step) -> None:
            if at == step:
                raise StorageError(f"interrupted when {step}")

        store.upkeep.on_step = fail
        with pytest.raises(StorageError, match=f"interrupted when {step}"):
            await store.upkeep.archive(FIRST_DAY + 1 + day, place=str(cold))
        assert await all_rows(store) == before, step
        store.upkeep.on_step = lambda _: None
        await store.upkeep.archive(FIRST_DAY + 1 + day, place=str(cold))
        assert await all_rows(store) == before, step
        assert len(files(cold)) == 6 * (day + 1)
    assert await store.upkeep.check_archive() == []


async def test_a_place_that_cannot_be_written_is_told_as_such_and_everything_stays_in_the_store(filled, tmp_path):
    before = await filled.symbols()
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match=r"taken.* cannot be written \(.*(Not a directory|File exists)\)"):
        await filled.upkeep.archive(FIRST_DAY + 1, place=str(tmp_path / "taken"))
    assert (await filled.symbols(), filled.upkeep.totals()["files"]) == (before, 0)


async def test_a_file_that_changed_or_went_is_named_by_the_check_and_what_it_had_becomes_a_hole(filled, cold):
    await filled.upkeep.archive(FIRST_DAY + 2, place=str(cold))
    names = files(cold)
    changed = cold / next(name for name in names if name.startswith("bars/timeframe=1m"))
    gone = cold / next(name for name in names if name.startswith("ticks/date=2024-10-05/symbol=BTCUSDT"))
    body = bytearray(changed.read_bytes())
    body[len(body) // 2] ^= 1
    changed.write_bytes(body)
    gone.unlink()
    faults = await filled.upkeep.check_archive()
    assert {(fault["file"], fault["reason"]) for fault in faults} == {
        (str(gone.relative_to(cold)), "it is not there"),
        (str(changed.relative_to(cold)), "it is not what was written (SHA-256)"),
    }
    report = await filled.upkeep.check(repair=True)
    assert {"archive file", "hole"} <= {finding["kind"] for finding in report["findings"]}
    assert (await filled.upkeep.check(repair=False))["ok"], "what is left is whole, and says what it lacks"
    day = ticks_of_day(1)
    (hole,) = await filled.gaps("BTCUSDT", unrepaired=True)
    assert (hole.from_id, hole.to_id) == (int(day.trade_id.min()), int(day.trade_id.max()))


async def test_deleted_days_are_gone_from_store_and_archive_and_the_counts_follow(home, filled, cold):
    await filled.upkeep.archive(FIRST_DAY + 1, place=str(cold))
    day, before = len(ticks_of_day(0)), await filled.stats()
    gone = await filled.upkeep.forget([FIRST_DAY, FIRST_DAY + 1])
    assert (gone["days"], gone["ticks"], gone["files"]) == (2, 2 * day, 6)
    assert files(cold) == []
    stats = await filled.stats()
    assert (stats.ticks, stats.bars) == (before.ticks - 2 * day, before.bars - gone["bars"])
    left = await answers(filled)
    assert [s.tick_count for s in left["symbols"]] == [day // 2, day // 2]
    assert min(s.first_ns for s in left["symbols"]) == day_start(2)
    again = await home.reopen(filled)
    assert await answers(again) == left
    nothing = await again.append(ticks_of_day(2))
    assert not nothing.new.any()
