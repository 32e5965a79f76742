"""Looking at a damaged store: each damage is named, mended as far as it can be, and gone at a second look."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

from pairscope.market.bars import Origin, bars_of, timeframe_ns
from pairscope.market.continuity import Gap
from pairscope.market.ticks import TickBatch
from pairscope.storage.archive_place import Place
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.integrity import check_store
from pairscope.storage.parcel import Parcel
from pairscope.storage.spool import Spool

FOREVER = 2**62
S = 1_000_000_000
MINUTE = 60 * S
DAY_NS = 86_400 * S
BTC, ETH = "BTCUSDT", "ETHUSDT"


@pytest.fixture
async def whole(tmp_path, ticks_of, noon_ns):
    """A store of two symbols with everything that a healthy one may have: a gap, a void id, bars of all origins."""
    store = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    chance = random.Random(5)
    end = noon_ns + 3000 * S
    rows = [
        (symbol, i, noon_ns + (2 * i + k) * S, f"{100 + chance.random():.2f}", f"0.{i % 9 + 1}", i % 2 == 0)
        for i in range(1400)
        for k, symbol in enumerate((BTC, ETH))
        if not (symbol == ETH and 300 <= i < 310) and i != 700
    ]
    batch = ticks_of(rows, watermark_ns=end)
    bars = [bars_of(batch, timeframe) for timeframe in ("1s", "1m")]
    void = tuple((k, 700) for k in range(2))
    await store.append(
        replace(batch, void=void), [b.take(b.ts_open_ns + timeframe_ns(b.timeframe) <= end) for b in bars]
    )
    theirs = bars[1].take(bars[1].symbol_id == 0).take(slice(0, 1))
    before = replace(
        theirs, ts_open_ns=theirs.ts_open_ns - MINUTE, origin=np.full(1, Origin.UPLOAD, np.int8),
        first_id=np.full(1, -1), last_id=np.full(1, -1), trades=np.zeros(1, np.int64),
    )  # fmt: skip
    await store.put_bars_all([before, replace(before, timeframe="1h", ts_open_ns=before.ts_open_ns * 0 + noon_ns)])
    yield store
    await store.close()


async def damaged(store, *statements):
    """A store's file after SQL that no store would run."""
    path = store.path
    await store.close()
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return await DuckDBStore.open(path, threads=1)


def kinds(report):
    return sorted({(each["kind"], each["symbol"]) for each in report["findings"]}, key=str)


async def trades_and_bars(store):
    found = []
    for symbol in (BTC, ETH):
        ticks = await store.ticks(symbol, 0, FOREVER, limit=10**6)
        found.append(ticks.trade_id.tolist())
        for timeframe in ("1s", "1m", "1h"):
            bars = await store.bars(symbol, timeframe, 0, FOREVER, limit=10**6)
            found.append((bars.ts_open_ns.tolist(), bars.volume.tolist(), bars.open.tolist(), bars.origin.tolist()))
    return found


async def test_a_healthy_store_has_no_findings(whole, tmp_path):
    seen = []
    report = await check_store(whole, progress=lambda done, of: seen.append((done, of)), spool=tmp_path / "none")
    assert (report["ok"], report["findings"]) == (True, [])
    assert report["checked"] == {"symbols": 2, "ticks": 2788, "bars": (await whole.stats()).bars, "files": 0}
    assert seen[-1] == (2, 2)
    assert (await check_store(whole, repair=True))["ok"]


BTC_ID = 0
RESTORED = {
    ("duplicate", BTC, "1 ids, the first 77"): "INSERT INTO tick SELECT * FROM tick WHERE symbol_id = 0 AND id = 77",
    ("duplicate", ETH, "1 ids, the first 78"): (
        "INSERT INTO tick SELECT * REPLACE (price + 1 AS price, flush + 1 AS flush) FROM tick "
        "WHERE symbol_id = 1 AND id = 78"
    ),
    ("hole", ETH, "10 ids, 300 to 309"): "DELETE FROM gap WHERE symbol_id = 1",
    ("ledger", BTC, "ticks 7, not 1399, first id 3, not 0, next id 2000, not 1400"): (
        "UPDATE continuity SET tick_count = 7, first_id = 3, next_id = 2000 WHERE symbol_id = 0"
    ),
    ("bars differ", BTC, "102 of 1s, 9 of 1m"): (
        "UPDATE bar_1m SET volume = volume + 1, quote_volume = quote_volume + 1 WHERE symbol_id = 0 "
        "AND ts_open_ns % 300000000000 = 0 AND first_id > 0; INSERT INTO bar_1s SELECT * REPLACE "
        "(ts_open_ns + 1000000000 AS ts_open_ns) FROM bar_1s WHERE symbol_id = 0 AND first_id = 100; "
        "DELETE FROM bar_1s WHERE symbol_id = 0 AND first_id BETWEEN 500 AND 600"
    ),
    ("bar", ETH, "2 of 1m, the first at 12:11:00"): (
        "UPDATE bar_1m SET high = low - 1 WHERE symbol_id = 1 AND first_id = 330; "
        "INSERT INTO bar_1m SELECT * FROM bar_1m WHERE symbol_id = 1 AND first_id = 360"
    ),
}
LOST = {
    ("hole", ETH, "6 ids, 900 to 905"): "DELETE FROM tick WHERE symbol_id = 1 AND id BETWEEN 900 AND 905",
    ("ledger", ETH, "ticks 1389, not 1383"): "",
    ("tick", BTC, "1, the first of id 12"): "UPDATE tick SET price = 'nan' WHERE symbol_id = 0 AND id = 12",
    ("gap", ETH, "300 to 320: 21 missing by the ledger, 10 by the rows"): (
        "UPDATE gap SET to_id = 320, missing = 21, ranges = '300-320' WHERE symbol_id = 1"
    ),
    ("bar", BTC, "1 of 1h, the first at 12:00:00"): "UPDATE bar_1h SET ts_open_ns = ts_open_ns + 1",
}


@pytest.mark.parametrize(("damages", "restored"), [(RESTORED, True), (LOST, False)], ids=["restored", "lost"])
async def test_damage_is_named_and_mended_and_a_second_look_finds_nothing(whole, damages, restored):
    before = await trades_and_bars(whole)
    store = await damaged(whole, *damages.values())
    try:
        report = await check_store(store)
        found = {(each["kind"], each["symbol"], each["detail"]) for each in report["findings"]}
        assert found >= {each for each in damages if not restored or each[0] in {"duplicate", "hole", "bar"}}
        assert all(each["means"] and each["repair"] and not each["repaired"] for each in report["findings"])
        assert report["left"] == report["found"] == len(report["findings"])

        mended = await check_store(store, repair=True)
        assert set(damages) <= {(each["kind"], each["symbol"], each["detail"]) for each in mended["findings"]}
        assert mended["ok"], mended["findings"]
        assert all(each["repaired"] for each in mended["findings"])
        again = await check_store(store)
        assert (again["ok"], again["findings"]) == (True, [])
        stats = await store.stats()
        assert (stats.ticks, stats.bars) == (again["checked"]["ticks"], again["checked"]["bars"])
        if restored:
            assert await trades_and_bars(store) == before
    finally:
        await store.close()
    reopened = await DuckDBStore.open(store.path, threads=1)
    assert (await check_store(reopened))["ok"], "what was mended is mended in the file"
    await reopened.close()


async def test_lost_trades_become_an_open_hole_that_the_stream_or_a_file_fills(whole, ticks_of, noon_ns):
    lost = (await whole.ticks(ETH, 0, FOREVER, limit=10**6)).take(slice(900, 906))
    low, high = int(lost.trade_id[0]), int(lost.trade_id[-1])
    store = await damaged(whole, f"DELETE FROM tick WHERE symbol_id = 1 AND id BETWEEN {low} AND {high}")
    await check_store(store, repair=True)
    assert (low, high, "open") in [(gap.from_id, gap.to_id, gap.status) for gap in await store.gaps(ETH)]
    assert (low, high) in [(gap.from_id, gap.to_id) for gap, _ in (await store.continuity()).open_gaps()]
    assert (await store.append(lost)).new.all()
    assert (await check_store(store))["ok"]
    await store.close()


async def test_what_comes_while_a_store_is_looked_at_is_no_damage(whole, ticks_of, noon_ns):
    import asyncio

    async def live():
        for k in range(40):
            row = (BTC, 1400 + k, noon_ns + (3000 + k) * S, "100.5", "1", True)
            await whole.append(ticks_of([row], watermark_ns=noon_ns + (3000 + k) * S))
        await whole.rebuild_bars(BTC, noon_ns, noon_ns + 3040 * S)

    writing = asyncio.create_task(live())
    reports = [await check_store(whole, repair=True)]
    await writing
    reports.append(await check_store(whole))
    assert [each for report in reports for each in report["findings"] if each["kind"] != "bars differ"] == []
    assert reports[-1]["ok"]


async def test_a_spool_that_breaks_off_is_named_and_its_end_set_aside(whole, ticks_of, noon_ns, tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20)
    for k in range(3):
        spool.append(Parcel(ticks_of([(BTC, 5000 + k, noon_ns, "1", "1", True)])))
    [segment] = (tmp_path / "spool").glob("*.spool")
    kept = segment.read_bytes()
    segment.write_bytes(kept[:-5])
    report = await check_store(whole, spool=tmp_path / "spool")
    assert kinds(report) == [("spool", None)]
    assert segment.read_bytes() == kept[:-5], "a look changes nothing"
    assert (await check_store(whole, repair=True, spool=tmp_path / "spool"))["ok"]
    assert len(segment.read_bytes()) == len(kept) // 3 * 2
    [aside] = (tmp_path / "store.duckdb.aside").iterdir()
    assert kept[:-5].endswith(aside.read_bytes())


@pytest.mark.parametrize("kind", ["tick", "bar_1m"])
async def test_a_file_of_the_archive_that_is_not_as_written_is_set_aside_and_its_day_is_a_hole(whole, kind, noon_ns):
    await whole.append(TickBatch.empty((await whole.ticks(BTC, 0, FOREVER, limit=1)).symbols, noon_ns + 3 * DAY_NS))
    await whole.upkeep.archive(noon_ns // DAY_NS + 1)
    assert (await check_store(whole, repair=True))["ok"]
    file = next(each for each in whole.view.archive if each.kind == kind and each.symbol_id == BTC_ID)
    path = Path(whole.upkeep.default_place) / file.path
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    stray = path.with_name("stray.parquet")
    stray.write_bytes(b"?")
    report = await check_store(whole)
    assert {("archive file", BTC), ("orphan file", None)} <= set(kinds(report))
    mended = await check_store(whole, repair=True)
    assert mended["ok"], mended["findings"]
    assert sorted(each.name.partition("-")[2] for each in (path.parents[0] / mended["aside"]).iterdir()) == sorted(
        [path.name, "stray.parquet"]
    )
    minutes = await whole.bars(BTC, "1m", noon_ns, FOREVER, limit=100)
    assert len(minutes) == 47
    held = [(each.from_id, each.to_id) for each in await whole.held(BTC)]
    assert held == ([(700, 700)] if kind == "tick" else [(0, 1399)])


async def test_gaps_given_up_gaps_of_files_and_bars_that_wait_to_be_made_again_are_no_findings(
    whole, ticks_of, noon_ns
):
    await whole.settle_gap(Gap(ETH, 300, 309, "unrepairable", 10, ended_ns=1))
    late = [(BTC, 1400, noon_ns + 90 * S, "9", "1", True)]
    await whole.put("rebuilds", BTC, msgspec.msgpack.encode([(noon_ns + 90 * S, noon_ns + 91 * S)]))
    await whole.append(ticks_of(late))
    await whole.add_older(ticks_of([("XRPUSDT", i, noon_ns + i * S, "9", "1", True) for i in (5, 6, 9, 80)]))
    await whole.rebuild_bars("XRPUSDT", 0, FOREVER)
    assert (await check_store(whole))["findings"] == []
    await whole.delete("rebuilds", BTC)
    [finding] = (await check_store(whole))["findings"]
    assert (finding["kind"], finding["detail"]) == ("bars differ", "1 of 1s, 1 of 1m")


@pytest.mark.parametrize("mounted", [True, False])
async def test_an_archive_whose_disk_is_not_mounted_keeps_its_catalogue_and_is_whole_when_it_is_back(
    whole, tmp_path, mounted, noon_ns
):
    await whole.upkeep.archive(noon_ns // DAY_NS + 1)
    count = await whole.symbols()
    place = Path(whole.upkeep.default_place)
    place.rename(tmp_path / "elsewhere")
    if mounted:
        place.mkdir()
    report = await check_store(whole, repair=True)
    (finding,) = (each for each in report["findings"] if each["kind"] == "archive place")
    assert not report["ok"] and str(place) in finding["detail"] and "mounted" in finding["means"]
    if mounted:
        place.rmdir()
    (tmp_path / "elsewhere").rename(place)
    assert (await check_store(whole))["ok"]
    assert await whole.symbols() == count


async def test_a_file_that_cannot_be_reached_stays_in_the_catalogue(whole, monkeypatch, noon_ns):
    await whole.upkeep.archive(noon_ns // DAY_NS + 1)
    files = whole.upkeep.totals()["files"]

    def refused(place, path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Place, "sha256", refused)
        report = await check_store(whole, repair=True)
    assert {each["repair"] for each in report["findings"]} == {"nothing can be done here"}
    assert report["left"] == files == whole.upkeep.totals()["files"]
    assert (await check_store(whole))["ok"]


async def test_after_archive_and_retention_a_store_is_whole_and_holds_what_is_left(tmp_path, ticks_of, noon_ns):
    store = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    day = noon_ns // DAY_NS
    first_ns = day * DAY_NS
    rows = [(BTC, i, first_ns + i * 3600 * S, "10.5", "1", True) for i in range(72) if i not in {5, 40, 41}]
    batch = ticks_of(rows, watermark_ns=first_ns + 3 * DAY_NS)
    await store.append(batch, [bars_of(batch, "1s"), bars_of(batch, "1m")])
    await store.settle_gap(Gap(BTC, 40, 41, "unrepairable", 2, ended_ns=1))
    await store.upkeep.archive(day + 2)
    assert (await check_store(store))["findings"] == []
    assert (await store.add_older(ticks_of(rows[:30]))).repeats == 30
    await store.upkeep.forget([day])
    for reopened in (False, True):
        if reopened:
            await store.close()
            store = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
        report = await check_store(store)
        assert (report["findings"], report["checked"]["ticks"]) == ([], 46)
        assert [(each.from_id, each.to_id) for each in await store.held()] == [(24, 39), (42, 71)]
    await store.add_older(ticks_of([*rows[20:23], (BTC, 40, first_ns + 40 * 3600 * S, "10.5", "1", True)]))
    assert [(each.from_id, each.to_id) for each in await store.held()] == [(21, 40), (42, 71)]
    assert (await store.add_older(ticks_of(rows[:24]))).repeats == 4
    assert [(each.from_id, each.to_id) for each in await store.held()] == [(0, 4), (6, 40), (42, 71)]
    await store.rebuild_bars(BTC, 0, FOREVER)
    assert (await check_store(store))["findings"] == []
    await store.close()
