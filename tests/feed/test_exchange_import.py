"""Archive files into a real store: holes heal, a second time changes nothing, and a kill leaves what can go on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pairscope.errors import ForeignFile
from pairscope.feed import exchange_archive
from pairscope.feed.exchange_import import import_file, import_files
from pairscope.feed.older_ticks import COLLECTION, OlderTicks, Shelf, lacking
from pairscope.market.bars import BarBatch, Origin, bars_of
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

DAY_MS = 1_723_075_200_000  # 2024-08-08
NOW_NS = (DAY_MS + 3 * 86_400_000) * 10**6
NAME = "BTCUSDT-aggTrades-2024-08-08.csv"
STEP_MS = 250


def clock() -> int:
    return NOW_NS


def price(number: int) -> float:
    return 61800 + number % 97 / 10


def batch_of(numbers: range, *, step_ms: int = STEP_MS) -> TickBatch:
    """What the live stream would have brought of these ids: one every quarter of a second from midnight on."""
    ids = np.array(numbers, np.int64)
    at_ns = (DAY_MS + ids * step_ms) * 10**6
    return TickBatch(
        Symbols(["BTCUSDT"]),
        np.zeros(ids.size, np.int32),
        at_ns,
        at_ns,
        ids,
        np.array([price(n) for n in numbers]),
        np.full(ids.size, 0.5),
        ids % 2 == 0,
        int(at_ns.max()),
    )


def written(folder: Path, numbers: range, name: str = NAME, *, first_price: float | None = None) -> Path:
    path = folder / name
    path.write_text(
        "".join(
            f"{n},{price(n) if first_price is None else first_price:.1f},0.5,{n},{n},{DAY_MS + n * STEP_MS},"
            f"{'true' if n % 2 == 0 else 'false'}\n"
            for n in numbers
        )
    )
    return path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    opened = await DuckDBStore.open(tmp_path / "s.duckdb")
    yield opened
    await opened.close()


async def stored_ids(store: DuckDBStore) -> list[int]:
    return (await store.ticks("BTCUSDT", 0, NOW_NS, limit=100_000)).trade_id.tolist()


async def minutes(store: DuckDBStore) -> BarBatch:
    return await store.bars("BTCUSDT", "1m", 0, NOW_NS, limit=10_000)


async def held(store: DuckDBStore) -> list[tuple[int, int]]:
    return [(span.from_id, span.to_id) for span in await store.held("BTCUSDT")]


def same(found: BarBatch, expected: BarBatch) -> bool:
    names = ("ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "trades", "first_id", "last_id")
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names)


async def test_a_hole_that_was_given_up_heals_and_its_bars_become_what_all_trades_make(
    store: DuckDBStore, tmp_path: Path
) -> None:
    await store.append(batch_of(range(1000)))
    await store.append(batch_of(range(1700, 2400)))
    await store.settle_gap(Gap("BTCUSDT", 1000, 1699, "unrepairable", 0, ended_ns=1))
    told: list[BarBatch] = []
    found = await import_file(written(tmp_path, range(3000)), Shelf(store, store, told.append), clock=clock)
    assert (found["healed"], found["stored"], found["repeats"]) == (700, 1300, 1700)
    assert await stored_ids(store) == list(range(3000))
    assert await held(store) == [(0, 2999)]
    assert await store.gaps("BTCUSDT", unrepaired=True) == []
    assert same(await minutes(store), bars_of(batch_of(range(3000)), "1m"))
    assert {bars.timeframe for bars in told} == {"1s", "1m"}


async def test_a_file_that_is_read_again_changes_nothing_and_tells_nobody(store: DuckDBStore, tmp_path: Path) -> None:
    path = written(tmp_path, range(2000))
    first = await import_file(path, Shelf(store, store, lambda _bars: None), clock=clock)
    before = await minutes(store)
    told: list[BarBatch] = []
    again = await import_file(path, Shelf(store, store, told.append), clock=clock)
    assert (first["stored"], again["stored"], again["repeats"], again["bars"], told) == (2000, 0, 2000, 0, [])
    assert same(await minutes(store), before)


async def test_files_of_several_days_follow_each_other_and_a_broken_one_stops_none(
    store: DuckDBStore, tmp_path: Path
) -> None:
    paths = [
        written(tmp_path, range(1000)),
        tmp_path / "BTCUSDT-aggTrades-2024-08-09.csv",
        written(tmp_path, range(1000, 1500), "BTCUSDT-aggTrades-2024-08-10.csv"),
    ]
    paths[1].write_bytes(b"\0")
    found = [one async for one in import_files(paths, Shelf(store, store, lambda _bars: None), clock=clock)]
    assert [one.get("stored") for one in found] == [1000, None, 500]
    assert "no text" in found[1]["error"]
    assert await held(store) == [(0, 1499)]


async def test_trades_of_another_market_under_the_same_ids_are_refused_and_none_is_stored(
    store: DuckDBStore, tmp_path: Path
) -> None:
    await store.append(batch_of(range(1000, 2000)))
    with pytest.raises(ForeignFile, match="not those that are stored under the same ids"):
        await import_file(
            written(tmp_path, range(3000), first_price=5.0), Shelf(store, store, lambda _bars: None), clock=clock
        )
    assert await held(store) == [(1000, 1999)]


async def test_klines_of_the_exchange_never_replace_bars_of_own_trades(store: DuckDBStore, tmp_path: Path) -> None:
    ticks = batch_of(range(720))  # three minutes, of which the one in the middle is surely whole
    await store.append(ticks, [bars_of(ticks, "1m")])
    path = tmp_path / "BTCUSDT-1m-2024-08-08.csv"
    path.write_text(
        "".join(f"{DAY_MS + k * 60_000},5,5,5,5,9,{DAY_MS + k * 60_000 + 59_999},45,3,4,20,0\n" for k in range(5))
    )
    found = await import_file(path, Shelf(store, store, lambda _bars: None), clock=clock)
    bars = await minutes(store)
    assert (bars.close[3:5].tolist(), found["rows"]) == ([5.0, 5.0], 5)
    assert bars.close[1] == price(479)


KILLED = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.feed.test_exchange_import import clock
from pairscope.feed import exchange_archive
from pairscope.feed.exchange_import import import_file
from pairscope.feed.older_ticks import Shelf
from pairscope.storage.duckdb_store import DuckDBStore

exchange_archive.BLOCK = 20_000

def progress(done, total):
    if done > 1000:
        os.kill(os.getpid(), 9)

async def main():
    store = await DuckDBStore.open(Path({store!r}))
    await import_file(Path({file!r}), Shelf(store, store, lambda bars: None), clock=clock, progress=progress)

asyncio.run(main())
"""


async def test_what_a_kill_broke_off_is_whole_after_the_file_is_read_again(tmp_path: Path) -> None:
    path, file = written(tmp_path, range(3000)), tmp_path / "s.duckdb"
    program = KILLED.format(root=str(Path(__file__).parents[2]), store=str(file), file=str(path))
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], check=False)
    assert ended.returncode == -9
    store = await DuckDBStore.open(file)
    try:
        there = await stored_ids(store)
        assert 0 < len(there) < 3000
        assert there == list(range(len(there)))
        assert [key async for key, _ in store.scan(COLLECTION)], "the bars to be made are remembered"
        shelf = Shelf(store, store, lambda _bars: None)
        assert await shelf.finish() == 1
        made = await minutes(store)
        assert same(made, bars_of(batch_of(range(len(made) * 240)), "1m"))
        assert not [key async for key, _ in store.scan(COLLECTION)]
        found = await import_file(path, shelf, clock=clock)
        assert (found["stored"], found["repeats"]) == (3000 - len(there), len(there))
        assert await held(store) == [(0, 2999)]
        assert same(await minutes(store), bars_of(batch_of(range(3000)), "1m"))
    finally:
        await store.close()


async def test_bars_are_made_within_the_file_once_its_trades_reach_over_a_day(store: DuckDBStore) -> None:
    ticks = OlderTicks("BTCUSDT", Shelf(store, store, lambda _bars: None))
    await ticks.take(batch_of(range(100), step_ms=3_600_000))
    assert ticks.bars == 0
    await ticks.take(batch_of(range(100, 110), step_ms=3_600_000))
    assert ticks.bars > 0
    await ticks.finish()
    assert len(await store.bars("BTCUSDT", "1m", 0, 2 * NOW_NS, limit=1000)) >= 109


async def test_trades_of_the_open_minute_are_in_its_bar_although_the_engine_closes_it_without_them(
    store: DuckDBStore, tmp_path: Path
) -> None:
    told: list[BarBatch] = []
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20)
    writer = StoreWriter(store, spool=spool, flush_seconds=0.01, on_revised=told.extend)
    await writer.start()
    begun, lost = batch_of(range(1000)), range(970, 976)
    heard = ~np.isin(begun.trade_id, lost)
    await writer.put(begun.take(heard))
    await writer.drain()
    ticks = OlderTicks("BTCUSDT", Shelf(store, store, told.append, again=writer.again))
    await ticks.take(batch_of(lost))
    await ticks.finish()
    rest = replace(batch_of(range(1000, 1300)), symbols=begun.symbols)
    counted = bars_of(concat_ticks([begun.take(heard), rest]), "1m")
    await writer.put(rest, [counted.take(slice(4, 5))])
    await writer.drain()
    async with asyncio.timeout(30):
        while not writer.counters()["rebuilds"]:
            await asyncio.sleep(0.01)
    await writer.close()
    (minute,) = (bars for bars in told if bars.timeframe == "1m")
    assert minute.trades.tolist() == [240]
    stored = await minutes(store)
    assert stored.trades[stored.ts_open_ns == minute.ts_open_ns[0]].tolist() == [240]


async def test_a_bar_of_others_goes_where_the_trades_of_a_file_show_that_nothing_was_traded(store: DuckDBStore) -> None:
    trades = batch_of(range(1500))
    quiet = (trades.trade_id >= 460) & (trades.trade_id < 740)  # nothing in the third minute
    trades = replace(trades.take(~quiet), trade_id=np.arange(1500 - int(quiet.sum()), dtype=np.int64))
    others = bars_of(batch_of(range(2000)), "1m")
    none = np.full(len(others), -1)
    for origin in (Origin.EXCHANGE, Origin.UPLOAD):
        await store.put_bars(replace(others, first_id=none, last_id=none, origin=np.full(len(others), origin, np.int8)))
    ticks = OlderTicks("BTCUSDT", Shelf(store, store, lambda _bars: None))
    await ticks.take(trades)
    await ticks.finish()
    stored = await minutes(store)
    places = ((stored.ts_open_ns - others.ts_open_ns[0]) // 60_000_000_000).tolist()
    assert places == [0, 1, 3, 4, 5, 6, 7, 8]
    assert (await store.stats()).bars == len(stored) + len(await store.bars("BTCUSDT", "1s", 0, NOW_NS, limit=10_000))


async def test_trades_before_the_first_that_was_heard_live_are_no_matter_of_the_engine_s(store: DuckDBStore) -> None:
    asked: list[object] = []

    async def again(ranges: object) -> None:
        asked.append(ranges)

    await store.append(batch_of(range(500, 1000)))
    ticks = OlderTicks("BTCUSDT", Shelf(store, store, lambda _bars: None, again=again))
    await ticks.take(batch_of(range(400)))
    await ticks.finish()
    assert asked == []


@pytest.mark.parametrize(
    ("spans", "left"),
    [
        ([], [(1, 10)]),
        ([(1, 10)], []),
        ([(0, 3), (10, 12)], [(4, 9)]),
        ([(11, 12)], [(1, 10)]),
        ([(2, 2), (4, 4)], [(1, 1), (3, 3), (5, 10)]),
    ],
)
def test_what_lacks_of_a_range_is_what_no_interval_has(
    spans: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert lacking(1, 10, spans) == left


def test_a_block_holds_about_a_hundred_thousand_trades() -> None:
    row = len(f"2345678901,61800.30,0.006,4567890123,4567890129,{DAY_MS},true\n")
    assert 80_000 < exchange_archive.BLOCK / row < 120_000
