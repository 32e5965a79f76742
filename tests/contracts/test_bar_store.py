"""What every TickStore must do with bars: exact, closed, revised, and the exchange's where own ticks do not reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES, BarBatch, Origin, bars_of, concat_bars, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

FOREVER = 2**62
S = 1_000_000_000
MINUTE = 60 * S
BTC = "BTCUSDT"


def closed(batch, watermark_ns):
    """Base bars of a batch that end by the watermark."""
    made = [bars_of(batch, timeframe) for timeframe in ("1s", "1m")]
    return [bars.take(bars.ts_open_ns + timeframe_ns(bars.timeframe) <= watermark_ns) for bars in made]


async def fill(store, ticks_of, rows, watermark_ns, pieces=5):
    """Append a tape in pieces, each with the bars of the whole tape that its watermark closes."""
    whole = ticks_of(rows)
    last = 0
    for part in np.array_split(np.arange(len(rows)), pieces):
        at = rows[part[-1]][2] if part[-1] < len(rows) - 1 else watermark_ns
        bars = [b.take(b.ts_open_ns + timeframe_ns(b.timeframe) > last) for b in closed(whole, at)]
        await store.append(whole.take(part).with_watermark(at), bars)
        last = at
    return whole


def exchange_minutes(symbol, opens_ns, *, origin=Origin.EXCHANGE, close=7.5, symbols=None):
    """Bars such as the exchange's klines give."""
    table = symbols or Symbols([symbol])
    n = len(opens_ns)
    price = np.full(n, close)
    return BarBatch(
        table,
        "1m",
        np.full(n, table.id_of(symbol), np.int32),
        np.array(opens_ns, np.int64),
        price,
        price + 1,
        price - 1,
        price,
        np.full(n, 3.5),
        np.full(n, 26.25),
        np.full(n, 1.5),
        np.full(n, 11, np.int64),
        np.full(n, -1, np.int64),
        np.full(n, -1, np.int64),
        np.zeros(n, np.int32),
        np.full(n, origin, np.int8),
    )


async def stored(store, symbol=BTC, timeframe="1m"):
    return await store.bars(symbol, timeframe, 0, FOREVER, limit=10**6)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
async def test_bars_of_every_timeframe_equal_those_worked_out_from_the_ticks(
    store, home, ticks_of, market_rows, bars_by_hand, bars_as_rows, noon_ns, timeframe
):
    rows = market_rows(trades=1500, span_s=90_000)
    end = noon_ns + 36 * 3600 * S
    await fill(store, ticks_of, rows, end)
    for symbol in (BTC, "币安人生USDT"):
        assert bars_as_rows(await stored(store, symbol, timeframe)) == bars_by_hand(rows, symbol, timeframe)
    store = await home.reopen(store)
    assert bars_as_rows(await stored(store, BTC, timeframe)) == bars_by_hand(rows, BTC, timeframe)


@pytest.mark.parametrize("timeframe", ["1s", "5s", "1m", "15m", "1h"])
async def test_a_range_of_bars_takes_those_that_open_within_it(
    store, ticks_of, market_rows, bars_by_hand, noon_ns, timeframe
):
    rows = market_rows(trades=1200, span_s=20_000)
    await fill(store, ticks_of, rows, noon_ns + 86_400 * S)
    length = TIMEFRAMES[timeframe]
    times = [bar["ts_open_ns"] for bar in bars_by_hand(rows, BTC, timeframe)]
    low, high = times[1], times[-2]
    for start, end in [(low, high), (low + 1, high + 1), (low - 1, high - 1), (low, low), (0, high), (low, FOREVER)]:
        inside = [at for at in times if start <= at < end]
        for limit in (1, 3, 10_000):
            first = await store.bars(BTC, timeframe, start, end, limit=limit)
            assert first.ts_open_ns.tolist() == inside[:limit]
            newest = await store.bars(BTC, timeframe, start, end, limit=limit, newest=True)
            assert newest.ts_open_ns.tolist() == inside[-limit:]
    assert length == times[1] - times[0] or timeframe in {"1s", "5s"}


async def test_a_longer_bar_is_not_shown_before_its_end_has_passed(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + k * MINUTE, "10.5", "1", True) for k in range(9)]
    await fill(store, ticks_of, rows, noon_ns + 8 * MINUTE + 1)
    assert (await stored(store, timeframe="1m")).ts_open_ns.size == 8
    assert (await stored(store, timeframe="5m")).ts_open_ns.tolist() == [noon_ns]
    await store.append(TickBatch.empty(Symbols(), noon_ns + 10 * MINUTE), closed(ticks_of(rows[8:]), FOREVER))
    assert (await stored(store, timeframe="5m")).ts_open_ns.tolist() == [noon_ns, noon_ns + 5 * MINUTE]


async def test_volumes_of_longer_bars_are_the_exact_decimal_sums(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + k * S, "0.1", "0.1", False) for k in range(600)]
    await fill(store, ticks_of, rows, noon_ns + 3600 * S)
    hour = await stored(store, timeframe="1h")
    assert hour.volume.tolist() == [60.0]
    assert hour.quote_volume.tolist() == [6.0]


async def test_appending_bars_twice_changes_nothing(store, home, ticks_of, market_rows, noon_ns):
    batch = ticks_of(market_rows(), watermark_ns=noon_ns + 900 * S)
    bars = closed(batch, FOREVER)
    await store.append(batch, bars)
    before, count = await stored(store), (await store.stats()).bars
    assert count == sum(len(each) for each in bars)
    store = await home.reopen(store)
    await store.append(batch, bars)
    after = await stored(store)
    assert after.close.tolist() == before.close.tolist()
    assert after.revision.tolist() == before.revision.tolist()
    assert (await store.stats()).bars == count


async def test_a_revised_bar_replaces_the_earlier_one_and_not_the_other_way_round(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + k * S, "10.5", "1", True) for k in (0, 1, 2)]
    early, late = closed(ticks_of(rows[:2]), FOREVER), closed(ticks_of(rows), FOREVER)
    late = [replace(bars, revision=bars.revision + 1) for bars in late]
    await store.append(ticks_of(rows, watermark_ns=noon_ns + 2 * MINUTE), early)
    await store.append(TickBatch.empty(Symbols(), 0), late)
    for again in ((), early, [*early, *late], [*late, *early]):
        await store.append(TickBatch.empty(Symbols(), 0), again)
        minute = await stored(store)
        assert (minute.trades.tolist(), minute.revision.tolist()) == ([3], [1])
    assert (await stored(store, timeframe="1s")).revision.tolist() == [1, 1, 1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_versions_in_one_batch_the_one_of_more_ticks_is_stored(store, ticks_of, noon_ns, order):
    rows = [(BTC, k, noon_ns + k * S, "10.5", "1", True) for k in range(5)]
    symbols = Symbols()
    both = [bars_of(ticks_of(rows[:n], symbols=symbols), "1m") for n in (3, 5)]
    twice = concat_bars([both[k] for k in order])
    await store.append(ticks_of(rows, symbols=symbols, watermark_ns=noon_ns + 2 * MINUTE), [twice])
    assert (await stored(store)).trades.tolist() == [5]
    assert (await store.stats()).bars == 1
    await store.append(TickBatch.empty(symbols, 0), [twice])
    assert (await stored(store)).trades.tolist() == [5]


async def test_history_fills_what_own_ticks_have_not(store, ticks_of, noon_ns):
    opens = [noon_ns + k * MINUTE for k in range(-3, 1)]
    assert await store.put_bars(exchange_minutes(BTC, opens)) == 4
    assert await store.put_bars(exchange_minutes(BTC, opens)) == 0
    got = await stored(store)
    assert got.origin.tolist() == [Origin.EXCHANGE] * 4
    assert got.volume.tolist() == [3.5] * 4
    assert [(s.symbol, s.tick_count, s.first_ns, s.last_ns) for s in await store.symbols()] == [
        (BTC, 0, opens[0], opens[-1])
    ]
    assert (await stored(store, timeframe="3m")).trades.tolist() == [33, 11], "no stream tells what is over: time does"


async def test_the_partial_first_minute_keeps_the_exchanges_bar_and_whole_minutes_take_ours(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + 30 * S + k * 20 * S, "10.5", "1", True) for k in range(9)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 10 * MINUTE)
    opens = [noon_ns + k * MINUTE for k in range(-1, 3)]
    await store.put_bars(exchange_minutes(BTC, opens))
    await store.append(batch, closed(batch, FOREVER))
    expected = [Origin.EXCHANGE, Origin.EXCHANGE, Origin.OWN, Origin.OWN, Origin.OWN]
    assert (await stored(store)).origin.tolist() == expected
    assert await store.put_bars(exchange_minutes(BTC, [*opens, opens[-1] + MINUTE])) == 0
    assert (await stored(store)).origin.tolist() == expected


async def test_the_exchanges_bar_replaces_our_partial_first_minute_when_it_comes_later(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + 30 * S + k * 20 * S, "10.5", "1", True) for k in range(9)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 10 * MINUTE)
    await store.append(batch, closed(batch, FOREVER))
    assert await store.put_bars(exchange_minutes(BTC, [noon_ns + k * MINUTE for k in range(3)])) == 1
    got = await stored(store)
    assert got.origin.tolist() == [Origin.EXCHANGE, Origin.OWN, Origin.OWN, Origin.OWN]
    assert got.trades.tolist()[0] == 2, "trades are those that are stored, whosever the bar"


async def test_a_minute_with_a_hole_in_it_takes_the_exchanges_bar_until_the_hole_is_filled(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + k * 20 * S, "10.5", "1", True) for k in range(15)]
    batch = ticks_of([*rows[:4], *rows[5:]], watermark_ns=noon_ns + 10 * MINUTE)
    await store.append(batch, closed(batch, FOREVER))
    opens = [noon_ns + k * MINUTE for k in range(5)]
    assert await store.put_bars(exchange_minutes(BTC, opens)) == 2
    own, theirs = Origin.OWN, Origin.EXCHANGE
    assert (await stored(store)).origin.tolist() == [theirs, theirs, own, own, own]
    await store.append(TickBatch.empty(Symbols(), 0), closed(batch, FOREVER))
    assert (await stored(store)).origin.tolist() == [theirs, theirs, own, own, own]
    await store.append(ticks_of([rows[4]]))
    [seconds, minutes] = await store.rebuild_bars(BTC, noon_ns, noon_ns + 3 * MINUTE)
    assert (seconds.timeframe, seconds.ts_open_ns.tolist()) == ("1s", [rows[4][2]])
    assert (minutes.trades.tolist(), minutes.revision.tolist()) == ([3], [1])
    assert (await stored(store)).origin.tolist() == [theirs, own, own, own, own]


async def test_a_bar_that_is_the_exchanges_still_counts_our_trades_in_it(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + 30 * S + k * 20 * S, "10.5", "1", True) for k in range(3)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 10 * MINUTE)
    theirs = replace(exchange_minutes(BTC, [noon_ns]), trades=np.zeros(1, np.int64))
    await store.put_bars(theirs)
    for _ in range(2):
        await store.append(batch, closed(batch, FOREVER))
        assert await store.put_bars(theirs) == 0
        first = (await stored(store)).take(slice(1))
        assert (first.origin.tolist(), first.trades.tolist()) == ([Origin.EXCHANGE], [2])
        assert (first.volume.tolist(), first.revision.tolist()) == ([3.5], [0])
    assert (await store.stats()).bars == 2 + 3


async def test_an_upload_stands_against_the_exchange_and_yields_to_own_ticks(store, ticks_of, noon_ns):
    opens = [noon_ns + k * MINUTE for k in range(3)]
    await store.put_bars(exchange_minutes(BTC, opens))
    assert await store.put_bars(exchange_minutes(BTC, opens, origin=Origin.UPLOAD, close=9.0)) == 3
    assert await store.put_bars(exchange_minutes(BTC, opens)) == 0
    assert (await stored(store)).close.tolist() == [9.0] * 3
    rows = [(BTC, k, noon_ns - S + k * 10 * S, "10.5", "1", True) for k in range(30)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 10 * MINUTE)
    await store.append(batch, closed(batch, FOREVER))
    assert (await stored(store)).origin.tolist()[1:4] == [Origin.OWN] * 3


async def test_bars_from_the_future_close_no_other_symbols_bars(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + k * MINUTE, "10.5", "1", True) for k in range(3)]
    await fill(store, ticks_of, rows, noon_ns + 3 * MINUTE, pieces=1)
    await store.put_bars(exchange_minutes("ODDUSDT", [noon_ns + 86_400 * S * 365], origin=Origin.UPLOAD))
    assert len(await stored(store, timeframe="5m")) == 0
    assert len(await stored(store, timeframe="3m")) == 1


async def test_a_batch_closes_base_bars_alone_and_no_unknown_timeframe_is_taken(store, noon_ns):
    bars = exchange_minutes(BTC, [noon_ns])
    with pytest.raises(InputError, match="5m"):
        await store.append(TickBatch.empty(Symbols(), 0), [replace(bars, timeframe="5m")])
    with pytest.raises(InputError, match="7m"):
        await store.put_bars(replace(bars, timeframe="7m"))
    with pytest.raises(InputError, match="7m"):
        await store.bars(BTC, "7m", 0, FOREVER, limit=1)


async def test_ticks_that_come_late_revise_what_they_belong_to(
    store, home, ticks_of, market_rows, bars_by_hand, bars_as_rows, noon_ns
):
    rows = market_rows(trades=400, names=(BTC,))
    late = set(range(50, 350, 7))
    whole = ticks_of(rows, watermark_ns=noon_ns + 900 * S)
    punctual = whole.take(np.array([i for i in range(len(rows)) if i not in late]))
    await store.append(punctual, closed(punctual, FOREVER))
    await store.append(whole.take(np.array(sorted(late))))
    revised = await store.rebuild_bars(BTC, noon_ns, noon_ns + 900 * S)
    assert {bars.timeframe for bars in revised} == {"1s", "1m"}
    touched = {rows[i][2] // MINUTE * MINUTE for i in late}
    minutes = [at for bars in revised if bars.timeframe == "1m" for at in bars.ts_open_ns.tolist()]
    assert sorted(minutes) == sorted(touched)
    assert all((bars.revision == 1).all() for bars in revised if bars.timeframe == "1m")
    store = await home.reopen(store)
    for timeframe in ("1s", "1m", "5m"):
        assert bars_as_rows(await stored(store, BTC, timeframe)) == bars_by_hand(rows, BTC, timeframe)
    assert await store.rebuild_bars(BTC, noon_ns, noon_ns + 900 * S) == []


async def test_rebuilding_leaves_open_bars_alone(store, ticks_of, noon_ns):
    rows = [(BTC, k, noon_ns + k * S, "10.5", "1", True) for k in range(90)]
    await store.append(ticks_of(rows, watermark_ns=noon_ns + 75 * S))
    revised = await store.rebuild_bars(BTC, noon_ns, FOREVER)
    by_timeframe = {bars.timeframe: bars for bars in revised}
    assert len(by_timeframe["1s"]) == 75
    assert by_timeframe["1m"].ts_open_ns.tolist() == [noon_ns]
    assert by_timeframe["1m"].revision.tolist() == [0], "the first version of a bar corrects none"


async def test_base_bars_of_every_symbol_come_by_symbol_and_time(store, ticks_of, market_rows, noon_ns):
    rows = market_rows(trades=900)
    whole = await fill(store, ticks_of, rows, noon_ns + 900 * S)
    start, end = noon_ns + 120 * S, noon_ns + 420 * S
    got = await store.base_bars("1m", start, end)
    expected = bars_of(whole, "1m")
    inside = (expected.ts_open_ns >= start) & (expected.ts_open_ns < end)
    assert sorted(
        (got.symbols[s], at, v)
        for s, at, v in zip(got.symbol_id.tolist(), got.ts_open_ns.tolist(), got.volume.tolist(), strict=True)
    ) == sorted(
        (expected.symbols[s], at, v)
        for s, at, v in zip(
            expected.symbol_id[inside].tolist(),
            expected.ts_open_ns[inside].tolist(),
            expected.volume[inside].tolist(),
            strict=True,
        )
    )
    keys = list(zip(got.symbol_id.tolist(), got.ts_open_ns.tolist(), strict=True))
    assert keys == sorted(keys)
