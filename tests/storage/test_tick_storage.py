"""The writer between feed and store: gathers, slows, spools, rebuilds, and never loses count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pairscope.errors import ConfigError, StoreDamaged, StoreUnavailable
from pairscope.market.bars import Origin, bars_of
from pairscope.market.continuity import Gap
from pairscope.storage.tick_storage import open_store

FOREVER = 2**62
S = 1_000_000_000


async def until(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Let others run until something holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "waited in vain"
        await asyncio.sleep(0.002)


async def stored_ids(moody):
    return (await moody.ticks("BTCUSDT", 0, FOREVER, limit=10**6)).trade_id.tolist()


async def test_batches_are_gathered_until_they_are_old_enough(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock, flush_seconds=0.5)
    await writer.put(some([1, 2]))
    hand_clock.pass_s(0.4)
    await writer.put(some([3]))
    await asyncio.sleep(0.05)
    assert moody.appended == []
    assert writer.counters()["lag_ms"] == 400
    hand_clock.pass_s(0.1)
    await writer.put(some([4]))
    await until(lambda: writer.counters()["depth"] == 0)
    assert moody.appended == [4], "one transaction for what had gathered"
    assert writer.counters()["flushes"] == 1
    assert writer.counters()["flushed_batches"] == 3
    assert await stored_ids(moody) == [1, 2, 3, 4]


async def test_a_store_that_is_slow_is_said_to_be_until_it_has_caught_up(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock, flush_seconds=0.5, max_batches=2)
    moody.gate = asyncio.Event()
    for k in range(2):
        await writer.put(some([k]), hurry=True)
    waiting = asyncio.create_task(writer.put(some([2])))
    hand_clock.pass_s(9)
    assert writer.status()["status"] == "ok"
    hand_clock.pass_s(2)
    await until(lambda: writer.counters()["blocked"] == 1)
    assert writer.status()["status"] == "degraded"
    assert "slow" in writer.status()["reason"]
    moody.gate.set()
    await waiting
    await writer.drain()
    assert writer.status()["status"] == "ok"
    assert await stored_ids(moody) == [0, 1, 2]


async def test_batches_are_written_at_once_when_they_are_many_ticks(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock, flush_rows=10)
    await writer.put(some(range(6)))
    await asyncio.sleep(0.02)
    assert moody.appended == []
    await writer.put(some(range(6, 12)))
    await until(lambda: writer.counters()["flushes"] == 1)
    assert moody.appended == [6], "a flush holds about as many ticks as it should"
    await writer.drain()
    assert await stored_ids(moody) == list(range(12))


async def test_a_full_queue_slows_who_puts_and_counts_it(make_writer, moody, some):
    moody.gate = asyncio.Event()
    writer = await make_writer(max_batches=4, flush_seconds=0.001)
    for k in range(4):
        await writer.put(some([k]))
    blocked = asyncio.create_task(writer.put(some([4])))
    done, _ = await asyncio.wait({blocked}, timeout=0.1)
    assert not done
    assert writer.counters()["blocked"] == 1
    assert writer.counters()["depth"] == writer.counters()["max_depth"] == 4
    moody.gate.set()
    await asyncio.wait_for(blocked, 60)
    await writer.drain()
    assert await stored_ids(moody) == [0, 1, 2, 3, 4]
    assert writer.counters()["max_depth"] == 4


async def test_what_the_store_refuses_is_spooled_and_stored_in_order_when_it_is_back(
    make_writer, moody, some, hand_clock
):
    writer = await make_writer(clock=hand_clock, flush_seconds=0)
    await writer.put(some([0, 1]))
    await writer.drain()
    assert writer.status()["status"] == "ok"
    moody.refuse()
    for k in range(2, 8):
        await writer.put(some([k]))
        await writer.drain()
    status = writer.status()
    assert status["status"] == "degraded"
    assert status["spool_bytes"] > 0
    assert "away" in status["reason"]
    assert await stored_ids(moody) == [0, 1]
    moody.relent()
    hand_clock.pass_s(60)
    await writer.put(some([8]))
    await until(lambda: writer.status()["status"] == "ok")
    await writer.drain()
    assert await stored_ids(moody) == list(range(9))
    assert await moody.gaps() == [], "nothing newer went in before what was spooled"
    counters = writer.counters()
    assert counters["spooled_rows"] == counters["unspooled_rows"] >= 6
    assert counters["dropped_rows"] == counters["spool_bytes"] == 0


async def test_the_store_is_not_asked_again_before_the_pause_is_over(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock, flush_seconds=0)
    moody.refuse()
    for k in range(20):
        await writer.put(some([k]))
        await writer.drain()
    assert writer.counters()["store_errors"] == 1
    for expected in (2, 3, 4):
        hand_clock.pass_s(11)
        await writer.put(some([20 * expected]))
        await until(lambda expected=expected: writer.counters()["store_errors"] == expected)


async def test_a_spool_outlives_the_process_and_goes_in_first(make_writer, moody, some, tmp_path):
    writer = await make_writer(flush_seconds=0)
    moody.refuse()
    await writer.put(some([0, 1]), [bars_of(some([0, 1]), "1s")])
    await writer.drain()
    await writer.close()
    moody.relent()
    later = await make_writer(flush_seconds=0)
    assert (await moody.continuity()).next_id("BTCUSDT") == 2, "stored before anybody warms up from the store"
    await later.put(some([2, 3]))
    await later.drain()
    assert await stored_ids(moody) == [0, 1, 2, 3]
    assert await moody.gaps() == []
    assert (await moody.stats()).bars == 2


async def test_a_store_that_refuses_at_the_start_does_not_hold_it_up(make_writer, moody, some):
    writer = await make_writer(flush_seconds=0)
    moody.refuse()
    await writer.put(some([0]))
    await writer.drain()
    await writer.close()
    later = await make_writer(flush_seconds=0)
    assert later.status()["status"] == "degraded"
    await later.put(some([1]))
    await later.drain()
    moody.relent()
    await until(lambda: not later.counters()["spool_bytes"])
    assert await stored_ids(moody) == [0, 1]


async def test_beyond_the_spools_bound_the_oldest_ticks_are_dropped_counted_and_show_as_a_hole(
    make_writer, moody, some, hand_clock
):
    writer = await make_writer(clock=hand_clock, flush_seconds=0, max_batches=6, spool_bytes=2000)
    await writer.put(some([0]))
    await writer.drain()
    moody.refuse()
    for k in range(1, 40):
        await asyncio.wait_for(writer.put(some([k])), 60)
        await asyncio.sleep(0.002)
    await until(lambda: writer.counters()["dropped_rows"] > 0)
    assert writer.status()["status"] == "down"
    moody.relent()
    hand_clock.pass_s(60)
    await writer.put(some([40]))
    await until(lambda: writer.status()["status"] == "ok" and not writer.counters()["depth"])
    stored = await stored_ids(moody)
    assert len(stored) == 41 - writer.counters()["dropped_rows"]
    [hole] = await moody.gaps()
    assert hole.missing == writer.counters()["dropped_rows"]
    await moody.append(some(range(hole.from_id, hole.to_id + 1)))
    assert await stored_ids(moody) == list(range(41)), "a back-fill repairs it"


async def test_nothing_more_is_dropped_while_the_store_takes_what_a_full_spool_holds(
    make_writer, moody, some, hand_clock
):
    writer = await make_writer(clock=hand_clock, flush_seconds=0, max_batches=6, spool_bytes=2000)
    moody.refuse()
    for k in range(40):
        await asyncio.wait_for(writer.put(some([k])), 120)
        await asyncio.sleep(0.002)
    await until(lambda: writer.counters()["dropped_rows"] > 0)
    moody.relent()
    before = writer.counters()["dropped_rows"]
    hand_clock.pass_s(60)
    for k in range(40, 60):
        await asyncio.wait_for(writer.put(some([k, 1000 + k])), 120)
    await writer.drain()
    await until(lambda: not writer.counters()["spool_bytes"])
    assert writer.counters()["dropped_rows"] <= before + 6, "at most what was in hand when the store came back"
    assert set(range(40, 60)) <= set(await stored_ids(moody))


async def test_ticks_bars_and_a_rebuild_go_in_behind_each_other(make_writer, moody, some, noon_ns, one_symbol):
    told = []
    writer = await make_writer(flush_seconds=0, on_revised=told.extend)
    early = some([0, 1, 5, 6, 70, 130], watermark_ns=noon_ns + 120 * S)
    minute = bars_of(some([0, 1, 5, 6]), "1m")
    await writer.put(early, [minute])
    await writer.put(some([2, 3, 4]), rebuild=[("BTCUSDT", noon_ns, noon_ns + 60 * S)])
    await until(lambda: writer.counters()["rebuilds"] == 1)
    assert [(b.timeframe, b.trades.tolist(), b.revision.tolist()) for b in told if b.timeframe == "1m"] == [
        ("1m", [7], [1])
    ]
    assert writer.counters()["revised_bars"] == sum(len(bars) for bars in told)
    assert len([bars for bars in told if bars.timeframe == "1m"]) == 1
    assert writer.counters()["waiting_rebuilds"] == 0
    assert (await moody.bars("BTCUSDT", "1m", 0, FOREVER, limit=5)).trades.tolist() == [7]


async def test_a_rebuild_that_a_crash_prevented_is_done_at_the_next_start(make_writer, moody, some, noon_ns):
    moody.rebuild_bars = lambda *_: asyncio.sleep(3600)
    writer = await make_writer(flush_seconds=0)
    await writer.put(some([0, 1, 2, 70], watermark_ns=noon_ns + 65 * S), [bars_of(some([0, 1]), "1m")])
    await writer.put(some([]), rebuild=[("BTCUSDT", noon_ns, noon_ns + 60 * S)])
    await until(lambda: writer.counters()["waiting_rebuilds"] == 1)
    writer._task.cancel()
    del moody.rebuild_bars
    told = []
    await make_writer(flush_seconds=0, on_revised=told.extend)
    await until(lambda: told)
    assert (await moody.bars("BTCUSDT", "1m", 0, FOREVER, limit=5)).trades.tolist() == [3]
    assert [entry async for entry in moody.scan("rebuilds")] == []


async def test_a_verdict_on_a_gap_waits_for_the_ticks_that_revealed_it(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock)
    await writer.put(some([0, 9]))
    await writer.settle(Gap("BTCUSDT", 1, 8, "unrepairable", 8, ended_ns=5))
    assert await moody.gaps() == []
    await writer.drain()
    assert [(g.from_id, g.to_id, g.status) for g in await moody.gaps()] == [(1, 8, "unrepairable")]


async def test_closing_writes_what_waits(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock)
    await writer.put(some([1, 2]))
    await writer.close()
    await writer.close()
    assert await stored_ids(moody) == [1, 2]
    with pytest.raises(StoreUnavailable):
        await writer.put(some([3]))


async def test_a_bug_ends_the_writer_and_is_raised_to_who_puts(make_writer, moody, some):
    writer = await make_writer(flush_seconds=0, max_batches=4)
    moody.refusing = ZeroDivisionError("a bug")
    await writer.put(some([1]))
    await until(lambda: writer.status()["status"] == "down")
    assert writer.status()["reason"] == "the writer ended"
    with pytest.raises(ZeroDivisionError):
        await writer.put(some([2]))
    with pytest.raises(ZeroDivisionError):
        await writer.drain()


async def test_an_error_that_no_retry_helps_is_down_and_still_loses_nothing(make_writer, moody, some, hand_clock):
    writer = await make_writer(clock=hand_clock, flush_seconds=0)
    moody.refusing = StoreDamaged("the file is gone")
    await writer.put(some([1]))
    await writer.drain()
    assert writer.status()["status"] == "down"
    assert writer.counters()["spooled_rows"] == 1


async def test_batches_of_different_symbol_tables_are_not_mixed_up(make_writer, moody, ticks_of, noon_ns, hand_clock):
    writer = await make_writer(clock=hand_clock)
    for name in ("AUSDT", "BUSDT", "CUSDT"):
        batch = ticks_of([(name, 1, noon_ns, "1.5", "1", True)], watermark_ns=noon_ns + S)
        await writer.put(batch, [bars_of(batch, "1s")])
    await writer.drain()
    for name in ("AUSDT", "BUSDT", "CUSDT"):
        assert (await moody.ticks(name, 0, FOREVER, limit=5)).trade_id.tolist() == [1]
        assert (await moody.bars(name, "1s", 0, FOREVER, limit=5)).origin.tolist() == [Origin.OWN]


async def test_many_small_batches_become_few_transactions(make_writer, moody, some):
    writer = await make_writer(flush_seconds=0.05)
    for k in range(300):
        await writer.put(some([k]))
    await writer.drain()
    assert await stored_ids(moody) == list(range(300))
    assert len(moody.appended) < 30
    np.testing.assert_equal(writer.counters()["flushed_rows"], 300)


async def test_a_url_names_a_store(tmp_path, monkeypatch):
    store = await open_store(f"duckdb:///{tmp_path}/a.duckdb")
    assert (await store.stats()).location == f"{tmp_path}/a.duckdb"
    await store.close()
    monkeypatch.chdir(tmp_path)
    store = await open_store("duckdb:///below/b.duckdb")
    await store.close()
    assert (tmp_path / "below" / "b.duckdb").exists()


@pytest.mark.parametrize("url", ["mysql://u:secret@host/db", "sqlite:///x", "duckdb://x", "duckdb:///", "", "x"])
async def test_any_other_url_is_refused_without_its_secret(url):
    with pytest.raises(ConfigError) as refused:
        await open_store(url)
    assert "DATABASE_URL" in str(refused.value)
    assert "secret" not in refused.value.line()
