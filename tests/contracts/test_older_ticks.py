"""What every TickStore must do with trades that no stream brought: files of the past, and what fills its holes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from pairscope.market.bars import Origin, bars_of
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

FOREVER = 2**62
S = 1_000_000_000
MINUTE = 60 * S
BTC = "BTCUSDT"


@pytest.fixture
def trades(ticks_of, noon_ns):
    """Trades of ids, a second apart, under the watermark that their end has."""

    def make(ids, symbol=BTC, *, watermark_ns=0):
        rows = [(symbol, i, noon_ns + i * S, f"{100 + i % 7}.5", f"0.{i % 9 + 1}", i % 2 == 0) for i in ids]
        return ticks_of(rows, watermark_ns=watermark_ns)

    return make


async def held(store, symbol=BTC):
    return [(each.from_id, each.to_id) for each in await store.held(symbol)]


async def gaps(store):
    return [(gap.from_id, gap.to_id, gap.status, gap.missing) for gap in await store.gaps()]


async def stored_ids(store, symbol=BTC):
    return (await store.ticks(symbol, 0, FOREVER, limit=10**6)).trade_id.tolist()


async def test_trades_before_the_first_are_taken_and_what_lies_between_is_a_gap_that_nobody_asks_for(
    store, home, trades, noon_ns
):
    await store.append(trades(range(100, 110)))
    admission = await store.add_older(trades(range(50, 60)))
    assert admission.new.all()
    assert admission.repeats == 0
    for reopened in (False, True):
        store = await home.reopen(store) if reopened else store
        assert await gaps(store) == [(60, 99, "unrepairable", 40)]
        assert await held(store) == [(50, 59), (100, 109)]
        assert await stored_ids(store) == [*range(50, 60), *range(100, 110)]
        [summary] = await store.symbols()
        assert (summary.tick_count, summary.first_ns, summary.last_ns) == (20, noon_ns + 50 * S, noon_ns + 109 * S)
        assert (await store.continuity()).next_id(BTC) == 110
    [gap] = await store.gaps()
    assert (gap.after_ns, gap.before_ns, gap.seen_ns, gap.ended_ns) == (noon_ns + 59 * S, noon_ns + 100 * S, 0, 0)
    again = await store.add_older(trades(range(45, 65)))
    assert again.repeats == 10
    assert await held(store) == [(45, 64), (100, 109)]


@pytest.mark.parametrize("order", ["up", "down", "shuffled"])
async def test_files_that_join_the_stream_leave_no_gap_in_whatever_order_they_come(store, home, trades, order):
    await store.append(trades(range(90, 100)))
    pieces = [range(low, low + 10) for low in range(0, 90, 10)]
    random.Random(3).shuffle(pieces) if order == "shuffled" else pieces.sort(key=min, reverse=order == "down")
    for k, piece in enumerate(pieces):
        if k == 4:
            store = await home.reopen(store)
        ids = list(piece)
        random.Random(k).shuffle(ids)
        await store.add_older(trades([*ids, ids[0]]))
    assert await held(store) == [(0, 99)]
    assert await gaps(store) == []
    assert (await store.stats()).ticks == 100


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_hole_of_any_status_is_filled_by_older_trades(store, home, trades, noon_ns, given_up):
    await store.append(trades([0, 1, 2, 5, 10, 11]))
    if given_up:
        await store.settle_gap(Gap(BTC, 3, 4, "unrepairable", 2, ended_ns=7))
        await store.settle_gap(Gap(BTC, 6, 9, "unrepairable", 4, ended_ns=7))
        store = await home.reopen(store)
    await store.add_older(trades([3, 7, 8]))
    status = "unrepairable" if given_up else "open"
    store = await home.reopen(store)
    assert await gaps(store) == [(3, 4, status, 1), (6, 9, status, 2)]
    assert await held(store) == [(0, 3), (5, 5), (7, 8), (10, 11)]
    await store.add_older(trades([4, 6, 9]))
    assert [gap.status for gap in await store.gaps()] == ["repaired", "repaired"]
    assert await store.gaps(unrepaired=True) == []
    assert await held(store) == [(0, 11)]
    assert not (await store.add_older(trades(range(12)))).new.any()


async def test_the_stream_goes_on_behind_what_files_brought_and_asks_for_nothing_between(store, home, trades):
    first = await store.add_older(trades([10, 11, 12, 20]))
    assert first.new.all()
    assert await gaps(store) == [(13, 19, "unrepairable", 7)]
    await store.add_older(trades([21, 22, 30]))
    assert await held(store) == [(10, 12), (20, 22), (30, 30)]
    store = await home.reopen(store)
    assert (await store.continuity()).next_id(BTC) is None, "a feed begins such a symbol anew"
    await store.append(trades([500, 501, 504]))
    store = await home.reopen(store)
    assert (await gaps(store))[-2:] == [(31, 499, "unrepairable", 469), (502, 503, "open", 2)]
    ledger = await store.continuity()
    assert ledger.next_id(BTC) == 505
    assert [gap.from_id for gap, _ in ledger.open_gaps()] == [502]
    await store.append(trades([31, 33]))
    assert await held(store) == [(10, 12), (20, 22), (30, 31), (33, 33), (500, 501), (504, 504)]


async def test_void_ids_of_a_file_are_no_hole(store, home, trades):
    await store.append(trades(range(10, 13)))
    await store.add_older(replace(trades([5, 6, 8]), void=((0, 7), (0, 9))))
    store = await home.reopen(store)
    assert await gaps(store) == []
    assert await held(store) == [(5, 12)]
    assert not (await store.add_older(replace(trades([8]), void=((0, 9),)))).new.any()


async def test_bars_of_older_trades_are_made_on_request_and_reach_back_over_the_old_beginning(store, trades, noon_ns):
    end = noon_ns + 600 * S
    await store.append(trades(range(200, 400), watermark_ns=end))
    await store.rebuild_bars(BTC, 0, FOREVER)
    theirs = bars_of(trades(range(180, 240)), "1m")
    theirs = replace(theirs, origin=np.full(len(theirs), Origin.EXCHANGE, np.int8), volume=theirs.volume + 1)
    await store.put_bars(theirs)
    await store.add_older(trades(range(200)))
    changed = await store.rebuild_bars(BTC, noon_ns, noon_ns + 240 * S)
    assert {bars.timeframe for bars in changed} == {"1s", "1m"}
    for timeframe in ("1s", "1m", "5m"):
        got = await store.bars(BTC, timeframe, 0, FOREVER, limit=1000)
        expected = bars_of(trades(range(400)), timeframe)
        expected = expected.take(expected.ts_open_ns < end)
        if timeframe == "1m":
            assert (got.origin == Origin.OWN).all(), "the exchange's bar of what was the first minute yields to ours"
        assert got.volume.tolist() == expected.volume.tolist()
        assert got.first_id.tolist() == expected.first_id.tolist()


async def test_in_a_store_that_heard_no_stream_bars_close_by_the_files_watermark(store, trades, noon_ns):
    await store.add_older(trades(range(150), watermark_ns=noon_ns + 120 * S))
    assert await store.watermark_ns() == noon_ns + 120 * S
    await store.rebuild_bars(BTC, 0, FOREVER)
    assert (await store.bars(BTC, "1m", 0, FOREVER, limit=9)).ts_open_ns.tolist() == [noon_ns, noon_ns + MINUTE]
    await store.add_older(trades(range(150, 160), watermark_ns=5))
    assert await store.watermark_ns() == noon_ns + 120 * S


async def test_many_days_of_trades_are_made_into_bars_piece_by_piece(store, ticks_of, noon_ns):
    rows = [("ETHUSDT", k, noon_ns + k * 7 * MINUTE, "10.5", "0.5", True) for k in range(900)]
    await store.add_older(ticks_of(rows, watermark_ns=noon_ns + 7 * 900 * MINUTE))
    await store.rebuild_bars("ETHUSDT", 0, FOREVER)
    got = await store.bars("ETHUSDT", "1m", 0, FOREVER, limit=1000)
    assert got.ts_open_ns.tolist() == [row[2] for row in rows]
    assert await store.rebuild_bars("ETHUSDT", 0, FOREVER) == []


async def test_whatever_comes_in_whatever_order_every_id_is_stored_once_and_every_other_one_is_in_a_gap(
    store, home, trades
):
    chance = random.Random(11)
    seen: set[int] = set()
    await store.append(trades([500]))
    seen.add(500)
    for turn in range(20):
        if chance.random() < 0.4:
            start = max(seen) + chance.choice([1, 1, 2, 9])
            ids = list(range(start, start + chance.randint(1, 8)))
            await store.append(trades(ids))
        else:
            start = chance.randint(400, 560)
            ids = [i for i in range(start, start + chance.randint(1, 30)) if chance.random() < 0.9]
            chance.shuffle(ids)
            ids += ids[:3]
            admission = await store.add_older(trades(ids))
            assert admission.repeats == len(ids) - len(set(ids) - seen)
        seen |= set(ids)
        lacking = [gap for gap in await store.gaps(unrepaired=True) if gap.status == "open"]
        if lacking and chance.random() < 0.2:
            await store.settle_gap(replace(chance.choice(lacking), status="unrepairable", ended_ns=1))
        if turn % 8 == 7:
            store = await home.reopen(store)
        assert [i for low, high in await held(store) for i in range(low, high + 1)] == sorted(seen)
    assert await stored_ids(store) == sorted(seen)
    missing = set(range(min(seen), max(seen))) - seen
    assert sum(gap.missing for gap in await store.gaps()) == len(missing)
    assert missing <= {i for gap in await store.gaps(unrepaired=True) for i in range(gap.from_id, gap.to_id + 1)}


async def test_what_is_held_is_told_of_every_symbol_by_name(store, trades):
    symbols = Symbols()
    await store.append(TickBatch.empty(symbols, 0))
    assert await store.held() == []
    assert await store.held("NONEUSDT") == []
    for symbol in ("XRPUSDT", BTC):
        await store.append(trades([1, 2, 4], symbol))
    assert [(each.symbol, each.from_id, each.to_id) for each in await store.held()] == [
        (BTC, 1, 2), (BTC, 4, 4), ("XRPUSDT", 1, 2), ("XRPUSDT", 4, 4),
    ]  # fmt: skip
