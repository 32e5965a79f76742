"""What every TickStore must do: ticks, gaps and what a start reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

FOREVER = 2**62
S = 1_000_000_000
TICK_COLUMNS = ("ts_event_ns", "ts_recv_ns", "trade_id", "price", "size", "buyer_is_maker")


def simple(symbol, ids, noon_ns, *, step_ns=S):
    """One trade a step, at the time that its id says."""
    return [(symbol, i, noon_ns + i * step_ns, f"{100 + i % 7}.5", f"0.{i % 9 + 1}", i % 2 == 0) for i in ids]


async def all_ids(store, symbol="BTCUSDT"):
    return (await store.ticks(symbol, 0, FOREVER, limit=10**6)).trade_id.tolist()


async def test_what_goes_in_comes_out_by_event_time_column_for_column(store, ticks_of, market_rows):
    batch = ticks_of(market_rows())
    admission = await store.append(batch)
    assert admission.new.all()
    assert admission.repeats == 0
    for symbol in batch.symbols:
        sent, got = batch.of_symbol(symbol), await store.ticks(symbol, 0, FOREVER, limit=10**6)
        for column in TICK_COLUMNS:
            assert_array_equal(getattr(got, column), getattr(sent, column))
        assert {got.symbols[i] for i in got.symbol_id.tolist()} == {symbol}


async def test_prices_and_sizes_keep_the_decimals_that_the_exchange_sent(store, ticks_of, noon_ns):
    sent = ["0.00001234", "0.1", "67123.90", "123456789.12345678", "0.3", "1E-8", "9007199254740993"]
    await store.append(ticks_of([("TINYUSDT", k, noon_ns + k, text, text, True) for k, text in enumerate(sent)]))
    got = await store.ticks("TINYUSDT", 0, FOREVER, limit=10)
    assert got.price.tolist() == got.size.tolist() == [float(text) for text in sent]


async def test_a_batch_that_is_sent_twice_is_stored_once(store, home, ticks_of, market_rows):
    batch = ticks_of(market_rows(), watermark_ns=5)
    await store.append(batch)
    before = await store.stats()
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        admission = await store.append(batch)
        assert not admission.new.any()
        assert admission.repeats == len(batch)
        assert admission.changed == ()
        after = await store.stats()
        assert (after.ticks, after.bars) == (before.ticks, before.bars) == (len(batch), 0)


async def test_repeats_within_a_batch_are_stored_once(store, ticks_of, noon_ns):
    rows = simple("BTCUSDT", [1, 2, 2, 3, 1, 3], noon_ns)
    admission = await store.append(ticks_of(rows))
    assert admission.new.tolist() == [True, True, False, True, False, False]
    assert await all_ids(store) == [1, 2, 3]


async def test_ticks_that_overtake_each_other_are_all_stored_and_the_hole_between_them_closes(store, ticks_of, noon_ns):
    rows = simple("BTCUSDT", range(8), noon_ns)
    shuffled = [rows[i] for i in (0, 3, 1, 2, 7, 4, 6, 5)]
    await store.append(ticks_of(shuffled[:6]))
    assert [(g.from_id, g.to_id, g.status, g.missing) for g in await store.gaps()] == [
        (1, 2, "repaired", 0),
        (4, 6, "open", 2),
    ]
    await store.append(ticks_of(shuffled[6:]))
    assert [g.status for g in await store.gaps()] == ["repaired", "repaired"]
    assert await all_ids(store) == list(range(8))


async def test_a_gap_that_is_partly_filled_says_what_is_missing_also_after_a_restart(store, home, ticks_of, noon_ns):
    rows = simple("BTCUSDT", range(12), noon_ns)
    await store.append(ticks_of([rows[0], rows[1], rows[10]]))
    await store.append(ticks_of([rows[5], rows[6]]))
    store = await home.reopen(store)
    [gap] = await store.gaps("btcusdt")
    assert (gap.symbol, gap.from_id, gap.to_id, gap.status, gap.missing) == ("BTCUSDT", 2, 9, "open", 6)
    assert gap.after_ns == rows[1][2]
    assert gap.before_ns == rows[10][2]
    ledger = await store.continuity()
    assert [(g.from_id, ranges) for g, ranges in ledger.open_gaps()] == [(2, [(2, 4), (7, 9)])]
    assert not (await store.append(ticks_of([rows[5]]))).new.any()
    await store.append(ticks_of([rows[i] for i in (2, 3, 4, 7, 8, 9)]))
    [gap] = await store.gaps()
    assert (gap.status, gap.missing) == ("repaired", 0)
    assert await all_ids(store) == list(range(11))


async def test_a_gap_that_nothing_can_fill_is_closed_by_a_verdict(store, home, ticks_of, noon_ns):
    rows = simple("BTCUSDT", range(30), noon_ns)
    await store.append(ticks_of([rows[0], rows[10]]))
    [gap] = await store.gaps()
    await store.settle_gap(Gap(gap.symbol, 1, 5, "unrepairable", 5, ended_ns=77))
    store = await home.reopen(store)
    assert [(g.from_id, g.to_id, g.status, g.missing) for g in await store.gaps()] == [
        (1, 5, "unrepairable", 5),
        (6, 9, "open", 4),
    ]
    assert not (await store.append(ticks_of([rows[3]]))).new.any()
    await store.append(ticks_of(rows[6:10]))
    assert [g.status for g in await store.gaps()] == ["unrepairable", "repaired"]


async def test_a_tail_that_the_exchange_is_known_to_have_printed_becomes_a_gap(store, home, ticks_of, noon_ns):
    rows = simple("BTCUSDT", range(10), noon_ns)
    await store.append(ticks_of(rows[:4]))
    await store.settle_gap(Gap("BTCUSDT", 4, 8, "open", 5, seen_ns=1))
    store = await home.reopen(store)
    assert (await store.continuity()).next_id("BTCUSDT") == 9
    await store.append(ticks_of(rows[4:]))
    assert [(g.from_id, g.to_id, g.status) for g in await store.gaps()] == [(4, 8, "repaired")]
    assert await all_ids(store) == list(range(10))


async def test_void_ids_are_no_hole(store, home, ticks_of, noon_ns):
    rows = simple("BTCUSDT", range(10), noon_ns)
    batch = ticks_of([rows[0], rows[1], rows[3]])
    voided = TickBatch(*(getattr(batch, name) for name in batch.__slots__[:-1]), void=((0, 2), (0, 4)))
    await store.append(voided)
    store = await home.reopen(store)
    assert await store.gaps() == []
    assert (await store.continuity()).next_id("BTCUSDT") == 5


async def test_ranges_include_their_start_and_exclude_their_end(store, ticks_of, noon_ns):
    await store.append(ticks_of(simple("BTCUSDT", range(10), noon_ns)))
    got = await store.ticks("BTCUSDT", noon_ns + 3 * S, noon_ns + 6 * S, limit=100)
    assert got.trade_id.tolist() == [3, 4, 5]
    assert len(await store.ticks("BTCUSDT", noon_ns + 3 * S, noon_ns + 3 * S, limit=100)) == 0
    assert len(await store.ticks("BTCUSDT", noon_ns + 3 * S + 1, noon_ns + 4 * S, limit=100)) == 0


@pytest.mark.parametrize("page", [1, 7, 50])
async def test_pages_behind_a_trade_id_make_up_the_whole(store, ticks_of, noon_ns, page):
    rows = simple("BTCUSDT", range(60), noon_ns, step_ns=S // 3)
    same_moment = [(s, i, noon_ns + i // 5 * S, p, q, m) for s, i, _, p, q, m in rows]
    await store.append(ticks_of(same_moment))
    start, end = noon_ns + 2 * S, noon_ns + 9 * S
    got, after = [], None
    while len(part := await store.ticks("BTCUSDT", start, end, limit=page, after_id=after)):
        assert len(part) <= page
        got += part.trade_id.tolist()
        after = got[-1]
    assert got == list(range(10, 45))


async def test_a_page_behind_an_id_that_is_not_stored_starts_at_the_next_id(store, ticks_of, noon_ns):
    await store.append(ticks_of(simple("BTCUSDT", [1, 2, 5, 6], noon_ns)))
    got = await store.ticks("BTCUSDT", 0, FOREVER, limit=10, after_id=3)
    assert got.trade_id.tolist() == [5, 6]


@pytest.mark.parametrize("span_ns", [S // 1000, S, 3600 * S])
async def test_the_newest_ticks_come_oldest_first(store, ticks_of, noon_ns, span_ns):
    rows = simple("BTCUSDT", range(40), noon_ns, step_ns=span_ns)
    await store.append(ticks_of([*rows[:30], ("ETHUSDT", 1, noon_ns, "1.5", "2", True)]))
    await store.append(ticks_of(rows[30:]))
    for limit in (1, 3, 39, 40, 1000):
        got = await store.ticks("BTCUSDT", 0, FOREVER, limit=limit, newest=True)
        assert got.trade_id.tolist() == list(range(40))[-limit:]
    end = noon_ns + 20 * span_ns
    assert (await store.ticks("BTCUSDT", 0, end, limit=2, newest=True)).trade_id.tolist() == [18, 19]


async def test_the_first_ticks_of_a_range_stop_at_the_limit(store, ticks_of, noon_ns):
    rows = simple("BTCUSDT", range(40), noon_ns, step_ns=600 * S)
    await store.append(ticks_of(rows))
    for limit in (1, 5, 40, 100):
        assert (await store.ticks("BTCUSDT", 0, FOREVER, limit=limit)).trade_id.tolist() == list(range(40))[:limit]


async def test_symbols_are_found_in_any_case_and_outside_ascii(store, home, ticks_of, noon_ns):
    await store.append(ticks_of(simple("币安人生USDT", range(3), noon_ns)))
    store = await home.reopen(store)
    assert (await store.ticks("币安人生usdt", 0, FOREVER, limit=9)).trade_id.tolist() == [0, 1, 2]
    assert [s.symbol for s in await store.symbols()] == ["币安人生USDT"]


async def test_an_unknown_symbol_has_nothing(store):
    assert len(await store.ticks("NOUSDT", 0, FOREVER, limit=5)) == 0
    assert len(await store.bars("NOUSDT", "1m", 0, FOREVER, limit=5)) == 0
    assert await store.gaps("NOUSDT") == []
    assert await store.rebuild_bars("NOUSDT", 0, FOREVER) == []


async def test_a_summary_says_what_there_is_of_each_symbol(store, home, ticks_of, noon_ns):
    rows = [*simple("BTCUSDT", [5, 6, 7], noon_ns), *simple("AAVEUSDT", [1, 2], noon_ns)]
    await store.append(ticks_of(rows))
    await store.append(ticks_of(simple("BTCUSDT", [8], noon_ns)))
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert [(s.symbol, s.tick_count, s.first_ns, s.last_ns) for s in await store.symbols()] == [
            ("AAVEUSDT", 2, noon_ns + 1 * S, noon_ns + 2 * S),
            ("BTCUSDT", 4, noon_ns + 5 * S, noon_ns + 8 * S),
        ]
        assert (await store.stats()).ticks == 6


async def test_a_feed_resumes_where_the_stored_ticks_end(store, home, ticks_of, noon_ns):
    await store.append(ticks_of([*simple("BTCUSDT", range(5), noon_ns), *simple("ETHUSDT", range(3), noon_ns)]))
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        ledger = await store.continuity()
        assert (ledger.next_id("BTCUSDT"), ledger.next_id("ETHUSDT"), ledger.next_id("XUSDT")) == (5, 3, None)
        assert ledger.last_ns("BTCUSDT") == noon_ns + 4 * S
    ledger.admit(ticks_of(simple("BTCUSDT", [9], noon_ns)))
    assert (await store.continuity()).next_id("BTCUSDT") == 5, "the ledger given out is the caller's own"


async def test_a_batch_that_carries_time_alone_moves_the_watermark(store, home, ticks_of, noon_ns):
    assert await store.watermark_ns() == 0
    await store.append(ticks_of(simple("BTCUSDT", [1], noon_ns), watermark_ns=noon_ns))
    assert await store.watermark_ns() == noon_ns
    await store.append(TickBatch.empty(Symbols(), noon_ns + 5))
    await store.append(TickBatch.empty(Symbols(), noon_ns + 3))
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert await store.watermark_ns() == noon_ns + 5


async def test_ticks_since_gives_every_symbol_in_order_of_time(store, ticks_of, market_rows, noon_ns):
    rows = market_rows(trades=500, span_s=900)
    await store.append(ticks_of(rows))
    start = noon_ns + 300 * S + 1
    got = [batch async for batch in store.ticks_since(start)]
    times = np.concatenate([batch.ts_event_ns for batch in got])
    assert (np.diff(times) >= 0).all()
    found = [
        (batch.symbols[s], i)
        for batch in got
        for s, i in zip(batch.symbol_id.tolist(), batch.trade_id.tolist(), strict=True)
    ]
    assert sorted(found) == sorted((row[0], row[1]) for row in rows if row[2] >= start)


async def test_ticks_received_gives_what_came_in_a_range_in_the_order_it_came(store, ticks_of, market_rows, noon_ns):
    ticks = ticks_of(market_rows(trades=400, span_s=900))
    shuffled = np.random.default_rng(2).permutation(len(ticks))
    ticks = replace(ticks, ts_recv_ns=noon_ns + 7_000_000_001 * shuffled)
    await store.append(ticks)
    start, end = noon_ns + 7_000_000_001 * 20, noon_ns + 7_000_000_001 * 390
    got = [batch async for batch in store.ticks_received(start, end)]
    times = np.concatenate([batch.ts_recv_ns for batch in got])
    assert (np.diff(times) >= 0).all()
    found = {
        (batch.symbols[s], i, t)
        for batch in got
        for s, i, t in zip(batch.symbol_id.tolist(), batch.trade_id.tolist(), batch.ts_recv_ns.tolist(), strict=True)
    }
    wanted = ticks.take((ticks.ts_recv_ns >= start) & (ticks.ts_recv_ns < end))
    keys = zip(wanted.symbol_id.tolist(), wanted.trade_id.tolist(), wanted.ts_recv_ns.tolist(), strict=True)
    assert found == {(ticks.symbols[s], i, t) for s, i, t in keys}
    assert len(times) == len(wanted) == 370


async def test_many_readers_beside_a_writer_see_whole_commits(store, ticks_of, noon_ns):
    import asyncio

    symbols = Symbols(["BTCUSDT"])
    done = False

    async def read() -> list[int]:
        seen = []
        while not done:
            seen.append(len(await store.ticks("BTCUSDT", 0, FOREVER, limit=10**6)))
        return seen

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for k in range(30):
        await store.append(ticks_of(simple("BTCUSDT", range(k * 50, k * 50 + 50), noon_ns), symbols=symbols))
    done = True
    for seen in await asyncio.gather(*readers):
        assert all(count % 50 == 0 for count in seen)
        assert seen == sorted(seen)
