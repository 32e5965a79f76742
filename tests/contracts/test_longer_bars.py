"""What every TickStore must do with uploaded bars: kept as they came, used where base bars do not suffice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairscope.market.bars import TIMEFRAMES, BarBatch, BarOutcome, Origin, bars_of, concat_bars, resample
from pairscope.market.symbols import Symbols
from pairscope.ports import Document, UploadedSpan

FOREVER = 2**62
S = 1_000_000_000
MINUTE = 60 * S
HOUR = 60 * MINUTE
BTC = "BTCUSDT"
INSERTED, UPDATED, UNCHANGED, KEPT = BarOutcome


def uploaded(timeframe, opens_ns, *, symbol=BTC, volume=8.0, origin=Origin.UPLOAD):
    """Bars of a file, one an open time, at prices that tell which is which."""
    table, n = Symbols([symbol]), len(opens_ns)
    price = 100.0 + np.arange(n)
    nothing = np.full(n, -1, np.int64)
    return BarBatch(
        table, timeframe, np.zeros(n, np.int32), np.array(opens_ns, np.int64), price, price + 1, price - 1, price,
        np.full(n, volume), price * volume, np.full(n, volume / 2), np.zeros(n, np.int64), nothing, nothing,
        np.zeros(n, np.int32), np.full(n, origin, np.int8),
    )  # fmt: skip


async def read(store, timeframe, symbol=BTC, **range_):
    got = await store.bars(symbol, timeframe, range_.get("start", 0), range_.get("end", FOREVER), limit=10_000)
    return dict(zip(((got.ts_open_ns - NOON) // MINUTE).tolist(), got.volume.tolist(), strict=True))


NOON = 1_722_513_600 * S


@pytest.mark.parametrize("timeframe", ["5s", "5m", "1d"])
async def test_uploaded_bars_of_a_longer_timeframe_come_back_as_they_were_and_make_longer_ones(store, home, timeframe):
    length = TIMEFRAMES[timeframe]
    first = NOON // (86_400 * S) * 86_400 * S
    sent = uploaded(timeframe, [first + k * length for k in range(24)])
    assert await store.put_bars(sent) == 24
    assert await store.put_bars(sent) == 0
    for reopened in (False, True):
        store = await home.reopen(store) if reopened else store
        for longer in TIMEFRAMES:
            got = await store.bars(BTC, longer, 0, FOREVER, limit=1000)
            if TIMEFRAMES[longer] % length:
                assert len(got) == 0
                continue
            expected = resample(sent, longer)
            for column in ("ts_open_ns", "open", "high", "low", "close", "volume", "origin"):
                assert getattr(got, column).tolist() == getattr(expected, column).tolist(), (longer, column)
        assert await store.kept_timeframes(BTC) == (timeframe,)
        assert (await store.stats()).bars == 24
        [summary] = await store.symbols()
        assert (summary.first_ns, summary.last_ns) == (first, first + 23 * length)
    last = await store.bars(BTC, timeframe, 0, FOREVER, limit=5, newest=True)
    assert last.open.tolist() == sent.open[-5:].tolist()


async def test_a_bar_comes_of_base_bars_where_they_make_it_wholly_else_of_the_longest_that_fit(store):
    minutes = [*range(60), *range(60, 90)]
    await store.put_bars(uploaded("1m", [NOON + k * MINUTE for k in minutes], volume=1.0, origin=Origin.EXCHANGE))
    await store.put_bars(uploaded("5m", [NOON + k * MINUTE for k in range(0, 180, 5)], volume=7.0))
    await store.put_bars(uploaded("1h", [NOON + k * HOUR for k in range(3)], volume=900.0))
    assert await read(store, "5m") == {k: 5.0 if k < 90 else 7.0 for k in range(0, 180, 5)}
    assert await read(store, "15m") == {k: 15.0 if k < 90 else 21.0 for k in range(0, 180, 15)}
    assert await read(store, "1h") == {0: 60.0, 60: 30.0 + 6 * 7.0, 120: 84.0}
    await store.remove_bars(BTC, "5m", Origin.UPLOAD)
    assert await read(store, "5m") == dict.fromkeys(range(0, 90, 5), 5.0)
    assert await read(store, "1h") == {0: 60.0, 60: 900.0, 120: 900.0}
    await store.remove_bars(BTC, "1h", Origin.UPLOAD)
    assert await read(store, "30m") == {0: 30.0, 30: 30.0, 60: 30.0}


async def test_own_trades_with_quiet_minutes_are_whole_and_a_partial_hour_is_the_uploaded_one(store, ticks_of):
    rows = [(BTC, k, NOON + 30 * MINUTE + k * 7 * MINUTE, "10.5", "2", True) for k in range(30)]
    batch = ticks_of(rows, watermark_ns=NOON + 6 * HOUR)
    await store.append(batch, [bars_of(batch, "1m")])
    await store.put_bars(uploaded("1h", [NOON + k * HOUR for k in range(-1, 4)], volume=900.0))
    assert await read(store, "1h") == {-60: 900.0, 0: 900.0, 60: 16.0, 120: 18.0, 180: 900.0}


async def test_a_longer_upload_stands_for_minutes_of_own_trades_that_a_hole_has_touched(store, ticks_of):
    rows = [(BTC, k, NOON + (k - 7) * 20 * S, "10.5", "2", True) for k in range(60)]
    batch = ticks_of([*rows[:30], *rows[31:]], watermark_ns=NOON + 17 * MINUTE)
    bars = bars_of(batch, "1m")
    await store.append(batch, [bars.take(bars.ts_open_ns + MINUTE <= NOON + 17 * MINUTE)])
    await store.put_bars(uploaded("5m", [NOON + k * MINUTE for k in range(-5, 20, 5)], volume=900.0))
    assert await read(store, "5m") == {-5: 900.0, 0: 30.0, 5: 900.0, 10: 30.0, 15: 900.0}
    await store.append(ticks_of([rows[30]]))
    await store.rebuild_bars(BTC, NOON, NOON + 10 * MINUTE)
    assert (await read(store, "5m"))[5] == 30.0


async def test_uploads_where_own_ticks_are_stay_out_and_are_told_row_by_row(store, ticks_of):
    rows = [(BTC, k, NOON + k * 2 * MINUTE, "10.5", "2", True) for k in range(60)]
    batch = ticks_of(rows, watermark_ns=NOON + 3 * HOUR)
    await store.append(batch, [bars_of(batch, "1m")])
    opens = [NOON + k * MINUTE for k in (-2, -1, 3, 4, 200, 201)]
    fresh = uploaded("1m", opens)
    assert (await store.covered(fresh)).tolist() == [False, False, True, True, False, False]
    assert (await store.covered(uploaded("1h", [NOON, NOON + HOUR]))).tolist() == [False, False]
    [outcomes] = await store.put_bars_all([fresh])
    assert outcomes.tolist() == [INSERTED, INSERTED, KEPT, KEPT, INSERTED, INSERTED]
    [again] = await store.put_bars_all([replace(fresh, volume=fresh.volume + np.array([0, 1, 0, 1, 0, 1]))])
    assert again.tolist() == [UNCHANGED, UPDATED, KEPT, KEPT, UNCHANGED, UPDATED]
    got = await read(store, "1m")
    assert 3 not in got
    assert (got[4], got[-1], got[201]) == (2.0, 9.0, 9.0)


async def test_several_batches_and_a_document_are_stored_all_or_not_at_all(store, home):
    good, bad = uploaded("1m", [NOON]), uploaded("1m", [NOON + MINUTE], symbol="ETHUSDT")
    note = Document("uploads", BTC, b"file")
    broken = replace(bad, open=np.array(["no price"], object))
    with pytest.raises(Exception):  # noqa: B017 - whatever a store says of it
        await store.put_bars_all([good, broken], [note])
    for reopened in (False, True):
        store = await home.reopen(store) if reopened else store
        assert await store.symbols() == []
        assert await store.get("uploads", BTC) is None
    await store.put_bars_all([good, uploaded("1h", [NOON]), bad], [note])
    store = await home.reopen(store)
    assert await store.get("uploads", BTC) == b"file"
    assert await store.uploaded() == [
        UploadedSpan(BTC, "1m", 1, NOON, NOON),
        UploadedSpan(BTC, "1h", 1, NOON, NOON),
        UploadedSpan("ETHUSDT", "1m", 1, NOON + MINUTE, NOON + MINUTE),
    ]


async def test_what_is_removed_leaves_the_bars_of_own_ticks_that_it_stood_for(store, home, ticks_of):
    rows = [(BTC, k, NOON + 30 * S + k * 20 * S, "10.5", "1", True) for k in range(9)]
    batch = ticks_of(rows, watermark_ns=NOON + 10 * MINUTE)
    await store.append(batch, [bars_of(batch, "1m")])
    own = await read(store, "1m")
    theirs = concat_bars([uploaded("1m", [NOON + k * MINUTE for k in range(-2, 1)])])
    assert await store.put_bars(theirs) == 3
    assert (await read(store, "1m"))[0] == 8.0
    assert await store.remove_bars(BTC, "1h", Origin.UPLOAD) == 0
    assert await store.remove_bars("NONEUSDT", None, Origin.UPLOAD) == 0
    assert await store.remove_bars(BTC, None, Origin.UPLOAD) == 3
    for reopened in (False, True):
        store = await home.reopen(store) if reopened else store
        assert await read(store, "1m") == own
        assert await store.uploaded() == []


async def test_uploaded_seconds_make_minutes_where_there_are_none(store):
    await store.put_bars(uploaded("1m", [NOON], volume=500.0, origin=Origin.EXCHANGE))
    await store.put_bars(uploaded("1s", [NOON + k * S for k in range(180)], volume=1.0))
    assert await read(store, "1m") == {0: 500.0, 1: 60.0, 2: 60.0}
    assert await read(store, "3m") == {0: 620.0}
    await store.remove_bars(BTC, "1s", Origin.UPLOAD)
    assert await read(store, "1m") == {0: 500.0}
