"""Reading through the writer: what waits is seen at once, and looks as it will when it is stored."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pairscope.market.bars import TIMEFRAMES, Origin, bars_of, concat_bars, timeframe_ns
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.buffered_store import BufferedStore
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

FOREVER = 2**62
S = 1_000_000_000
BAR_COLUMNS = ("ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "trades", "first_id", "revision")
TICK_COLUMNS = ("ts_event_ns", "trade_id", "price", "size", "buyer_is_maker", "ts_recv_ns")


@pytest.fixture
async def parts(moody, tmp_path, hand_clock):
    """A store, a writer that flushes only when asked to, and the view over both."""
    writer = StoreWriter(
        moody, spool=Spool(tmp_path / "spool", max_bytes=1 << 20), clock=hand_clock, max_batches=10_000
    )
    await writer.start()
    yield moody, writer, BufferedStore(moody, writer)
    await writer.close()


async def run_market(writer, ticks_of, rows, noon_ns, *, pieces, stored):
    """Put a tape piece by piece with its bars; drain after ``stored`` of them; return the whole batch."""
    whole = ticks_of(rows, symbols=Symbols())
    last = 0
    for k, index in enumerate(np.array_split(np.arange(len(rows)), pieces)):
        at = rows[index[-1]][2] if k < pieces - 1 else noon_ns + 40_000 * S
        so_far = whole.take(np.arange(index[-1] + 1))
        bars = []
        for timeframe in ("1s", "1m"):
            made = bars_of(so_far, timeframe)
            ends = made.ts_open_ns + timeframe_ns(timeframe)
            bars.append(made.take((ends <= at) & (ends > last)))
        await writer.put(whole.take(index).with_watermark(at), bars)
        last = at
        if k + 1 == stored:
            await writer.drain()
    return whole


@pytest.mark.parametrize("stored", [0, 5, 8])
async def test_every_answer_is_the_same_before_and_after_the_flush(parts, ticks_of, market_rows, noon_ns, stored):
    _, writer, buffered = parts
    rows = market_rows(trades=700, span_s=20_000)
    await run_market(writer, ticks_of, rows, noon_ns, pieces=8, stored=stored)
    chance = random.Random(stored)
    questions = []
    for symbol in ("btcusdt", "币安人生USDT", "NOUSDT"):
        for timeframe in TIMEFRAMES:
            for _ in range(2):
                low = noon_ns + chance.randrange(-5000, 20_000) * S
                high = low + chance.choice([60, 3600, 30_000]) * S
                limit, newest = chance.choice([1, 5, 10_000]), chance.random() < 0.5
                questions.append((symbol, timeframe, low, high, limit, newest))
            questions.append((symbol, timeframe, 0, FOREVER, 500, True))

    async def answers():
        found = []
        for symbol, timeframe, low, high, limit, newest in questions:
            bars = await buffered.bars(symbol, timeframe, low, high, limit=limit, newest=newest)
            ticks = await buffered.ticks(symbol, low, high, limit=limit, newest=newest)
            found.append([getattr(bars, c) for c in BAR_COLUMNS] + [getattr(ticks, c) for c in TICK_COLUMNS])
        return found

    before = await answers()
    summaries, watermark_ns, stats = await buffered.symbols(), await buffered.watermark_ns(), await buffered.stats()
    await writer.drain()
    for question, early, late in zip(questions, before, await answers(), strict=True):
        for mine, theirs in zip(early, late, strict=True):
            assert_array_equal(mine, theirs, err_msg=str(question))
    assert await buffered.symbols() == summaries
    assert await buffered.watermark_ns() == watermark_ns
    after = await buffered.stats()
    assert (after.ticks, after.bars) == (stats.ticks, stats.bars)


async def test_pages_run_on_from_stored_ticks_into_waiting_ones(parts, ticks_of, market_rows, noon_ns):
    _, writer, buffered = parts
    rows = market_rows(trades=200, names=("BTCUSDT",))
    await run_market(writer, ticks_of, rows, noon_ns, pieces=4, stored=2)
    got, after = [], None
    while len(page := await buffered.ticks("BTCUSDT", 0, FOREVER, limit=7, after_id=after)):
        got += page.trade_id.tolist()
        after = got[-1]
    assert got == [row[1] for row in rows]


async def test_a_waiting_correction_is_seen_over_the_stored_bar(parts, ticks_of, noon_ns):
    moody, writer, buffered = parts
    rows = [("BTCUSDT", k, noon_ns + k * S, "10.5", "1", True) for k in range(200)]
    symbols = Symbols()
    whole = ticks_of(rows, symbols=symbols)
    early = whole.take(np.array([k for k in range(200) if k != 30]))
    await moody.append(early.with_watermark(noon_ns + 300 * S), [bars_of(early, t) for t in ("1s", "1m")])
    revised = [bars_of(whole, t) for t in ("1s", "1m")]
    await writer.put(whole.take(np.array([30])).with_watermark(noon_ns + 301 * S), revised)
    for timeframe in ("1s", "1m", "5m"):
        got = await buffered.bars("BTCUSDT", timeframe, 0, FOREVER, limit=1000)
        expected = bars_of(whole, timeframe)
        expected = expected.take(expected.ts_open_ns + timeframe_ns(timeframe) <= noon_ns + 301 * S)
        assert_array_equal(got.trades, expected.trades)
        assert_array_equal(got.volume, expected.volume)
    assert (await buffered.ticks("BTCUSDT", 0, FOREVER, limit=1000)).trade_id.tolist() == list(range(200))


async def test_what_is_stored_and_still_waits_is_seen_once(parts, ticks_of, market_rows, noon_ns):
    moody, writer, buffered = parts
    rows = market_rows(trades=100, names=("BTCUSDT",))
    whole = ticks_of(rows, watermark_ns=noon_ns + 900 * S)
    bars = [bars_of(whole, t) for t in ("1s", "1m")]
    await writer.put(whole, bars)
    await moody.append(whole, bars)
    assert (await buffered.ticks("BTCUSDT", 0, FOREVER, limit=1000)).trade_id.tolist() == [row[1] for row in rows]
    assert_array_equal((await buffered.bars("BTCUSDT", "1m", 0, FOREVER, limit=100)).trades, bars[1].trades)


async def test_a_longer_bar_closes_when_waiting_time_passes_its_end(parts, ticks_of, noon_ns):
    _, writer, buffered = parts
    rows = [("BTCUSDT", k, noon_ns + k * 60 * S, "10.5", "1", True) for k in range(5)]
    whole = ticks_of(rows, watermark_ns=noon_ns + 299 * S)
    minutes = bars_of(whole, "1m")
    await writer.put(whole, [minutes.take(slice(4))])
    await writer.drain()
    assert len(await buffered.bars("BTCUSDT", "5m", 0, FOREVER, limit=5)) == 0
    await writer.put(TickBatch.empty(whole.symbols, noon_ns + 300 * S), [minutes.take(slice(4, None))])
    assert (await buffered.bars("BTCUSDT", "5m", 0, FOREVER, limit=5)).trades.tolist() == [5]


async def test_what_else_a_store_does_goes_through(parts, ticks_of, noon_ns):
    moody, writer, buffered = parts
    rows = [("BTCUSDT", k, noon_ns + k * S, "10.5", "1", True) for k in (0, 1, 9, 70)]
    admission = await buffered.append(ticks_of(rows, watermark_ns=noon_ns + 65 * S))
    assert admission.new.all()
    [gap, _] = await buffered.gaps()
    assert (await buffered.continuity()).next_id("BTCUSDT") == 71
    await buffered.settle_gap(Gap("BTCUSDT", gap.from_id, gap.to_id, "unrepairable", gap.missing))
    await writer.drain()
    assert [g.status for g in await buffered.gaps("BTCUSDT")] == ["unrepairable", "open"]
    assert [bars.timeframe for bars in await buffered.rebuild_bars("BTCUSDT", noon_ns, noon_ns + 60 * S)] == [
        "1s",
        "1m",
    ]
    assert len(await buffered.base_bars("1m", 0, FOREVER)) == 1
    assert await buffered.put_bars((await moody.base_bars("1m", 0, FOREVER)).take(slice(0))) == 0
    assert sum([len(batch) async for batch in buffered.ticks_since(0)]) == 4
    await buffered.close()


async def test_longer_uploads_are_seen_before_and_after_the_flush(parts, ticks_of, noon_ns):
    _, writer, buffered = parts
    hour = 3600 * S
    table = Symbols(["BTCUSDT"])
    first = bars_of(ticks_of([("BTCUSDT", 1, noon_ns, "9", "77", True)], symbols=table), "1h")
    files = concat_bars([replace(first, ts_open_ns=first.ts_open_ns + k * hour) for k in range(-2, 2)])
    nothing = np.full(4, -1)
    await buffered.put_bars(
        replace(files, origin=np.full(4, Origin.UPLOAD, np.int8), first_id=nothing, last_id=nothing)
    )
    rows = [("BTCUSDT", k, noon_ns + (20 + k) * 60 * S, "10.5", "2", True) for k in range(100)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 2 * hour)
    minutes = bars_of(batch, "1m")
    await writer.put(batch, [minutes.take(minutes.ts_open_ns + 60 * S <= noon_ns + 2 * hour)])

    async def seen():
        assert len(await buffered.bars("BTCUSDT", "1m", 0, FOREVER, limit=200)) == 100
        bars = await buffered.bars("BTCUSDT", "1h", 0, FOREVER, limit=9)
        return dict(zip(((bars.ts_open_ns - noon_ns) // hour).tolist(), bars.volume.tolist(), strict=True))

    before = await seen()
    await writer.drain()
    assert before == await seen() == {-2: 77.0, -1: 77.0, 0: 77.0, 1: 120.0}
    assert await buffered.kept_timeframes("BTCUSDT") == ("1m", "1h")
