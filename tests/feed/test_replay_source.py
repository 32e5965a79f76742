"""Sources: what was printed up to a moment, and nothing later, by time, by id and as klines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from pairscope.errors import ForeignFile, InputError
from pairscope.feed.agg_trades import AggTrades, Listing, decimal_text
from pairscope.feed.market_source import interval_ms, kline_open_ms
from pairscope.feed.replay_source import (
    MarketSource,
    SyntheticSource,
    TapeSource,
    open_source,
    tape_of_ticks,
)
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.feed.tape import PublicFrame, Tape
from pairscope.market.ticks import TickBatch

NOON_MS = 1_790_510_400_000
LISTINGS = (Listing("AUSDT", 2, 0), Listing("BUSDT", 1, 1))


def small_tape() -> Tape:
    """Ten trades of A and five of B, a second apart, printed 100 ms after they happened; B's ids have a hole."""
    rows = [(0, i, 100 + i) for i in range(10)] + [(1, 2 * i, 500 + i + (i > 2)) for i in range(5)]
    rows.sort(key=lambda row: row[1])
    symbol, second, ids = (np.array([row[k] for row in rows], np.int64) for k in range(3))
    t = NOON_MS + second * 1000
    size = np.arange(1, 16)
    net = np.full(15, -1)
    raw = 10 * ids
    maker = ids % 2 == 0
    trades = AggTrades(symbol.astype(np.int32), t + 100, t, ids, raw, raw + 4, 1000 + ids, size, net, maker)
    quote = PublicFrame(NOON_MS + 500, "AUSDT", "bookTicker", b'{"e":"bookTicker","E":1790510400500,"T":1790510400499}')
    return Tape(LISTINGS, trades, (quote,), stamped=False, truncated=False)


@pytest.fixture
def tape() -> TapeSource:
    return TapeSource(small_tape())


@pytest.fixture(scope="module")
def synthetic() -> SyntheticSource:
    return SyntheticSource(SyntheticMarket(seed=7, symbols=20, ticks_per_second=100.0))


def same(a: AggTrades, b: AggTrades) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(AggTrades))


def test_a_tape_lies_between_its_first_and_last_print(tape: TapeSource):
    assert (tape.start_ms, tape.end_ms) == (NOON_MS + 100, NOON_MS + 9101)
    assert len(tape.between(tape.start_ms, NOON_MS + 9101)) == 15
    assert len(tape.between(0, tape.start_ms)) == 0


@pytest.mark.parametrize("kind", ["tape", "synthetic"])
def test_pieces_of_time_join_to_the_whole(kind: str, request: pytest.FixtureRequest):
    source: MarketSource = request.getfixturevalue(kind)
    whole = source.between(NOON_MS, NOON_MS + 9000)
    parts = [source.between(at, at + 300) for at in range(NOON_MS, NOON_MS + 9000, 300)]
    assert sum(map(len, parts)) == len(whole) > 0
    assert [x for part in parts for x in part.agg_id.tolist()] == whole.agg_id.tolist()


@pytest.mark.parametrize("kind", ["tape", "synthetic"])
def test_what_is_printed_later_is_seen_by_nobody(kind: str, request: pytest.FixtureRequest):
    source: MarketSource = request.getfixturevalue(kind)
    until_ms = NOON_MS + 4100
    printed = source.between(source.start_ms if kind == "tape" else NOON_MS, until_ms)
    own = printed.take(printed.symbol_id == 0)
    last_id = int(own.agg_id[-1])
    assert source.newest(0, 3, until_ms).agg_id.tolist() == own.agg_id[-3:].tolist()
    assert source.by_id(0, last_id - 1, 100, until_ms).agg_id.tolist() == [last_id - 1, last_id]
    assert len(source.by_id(0, last_id + 1, 100, until_ms)) == 0
    found = source.by_time(0, NOON_MS + 1000, NOON_MS + 9000, 100, until_ms)
    assert found.agg_id.tolist() == own.take(own.trade_ms >= NOON_MS + 1000).agg_id.tolist()
    minute = source.klines(0, 60_000, NOON_MS, NOON_MS + 600_000, until_ms)
    assert len(minute) == 1, "the unfinished kline and none after it"
    assert minute.volume[0] == own.size.sum()
    assert minute.close[0] == own.price[-1]


def test_an_id_that_was_lost_is_skipped(tape: TapeSource):
    assert tape.by_id(1, 502, 3, NOON_MS + 60_000).agg_id.tolist() == [502, 504, 505]
    assert tape.by_id(1, 503, 3, NOON_MS + 60_000).agg_id.tolist() == [504, 505]
    assert tape.by_id(1, 0, 2, NOON_MS + 60_000).agg_id.tolist() == [500, 501]


def test_a_shifted_tape_keeps_ids_and_distances(tape: TapeSource):
    plain = tape.between(tape.start_ms, NOON_MS + 60_000)
    tape.shift_to(NOON_MS + 7_000_100)
    assert tape.start_ms == NOON_MS + 7_000_100
    moved = tape.between(tape.start_ms, NOON_MS + 8_000_000)
    assert moved.agg_id.tolist() == plain.agg_id.tolist()
    assert (moved.trade_ms - plain.trade_ms).tolist() == [7_000_000] * 15
    assert (moved.event_ms - plain.event_ms).tolist() == [7_000_000] * 15
    assert tape.by_time(0, NOON_MS + 7_000_000, NOON_MS + 7_002_000, 9, NOON_MS + 9_000_000).agg_id.tolist() == [
        100,
        101,
    ]
    frame = tape.public_between(NOON_MS + 7_000_000, NOON_MS + 7_001_000)[0]
    assert frame.payload == b'{"e":"bookTicker","E":1790517400500,"T":1790517400499}'


def test_a_looped_tape_goes_on_under_new_ids_without_a_hole():
    source = TapeSource(small_tape(), loop=True)
    assert source.end_ms is None
    length_ms = 9001 + 1000
    first = source.between(source.start_ms, source.start_ms + length_ms)
    third = source.between(source.start_ms + 2 * length_ms, source.start_ms + 3 * length_ms)
    assert (third.trade_ms - first.trade_ms).tolist() == [2 * length_ms] * 15
    own = third.take(third.symbol_id == 0)
    assert own.agg_id.tolist() == [120 + i for i in range(10)]
    assert source.by_id(0, 109, 3, NOON_MS + 60_000).agg_id.tolist() == [109, 110, 111]
    last = source.by_id(0, 109, 1, NOON_MS + 60_000).last_id[0]
    assert source.by_id(0, 110, 1, NOON_MS + 60_000).first_id[0] == last + 1
    other = third.take(third.symbol_id == 1)
    assert other.agg_id.tolist() == [500 + 12 + x for x in (0, 1, 2, 4, 5)]
    found = source.by_time(0, source.start_ms + length_ms - 100, NOON_MS + 60_000, 2, NOON_MS + 60_000)
    assert found.agg_id.tolist() == [110, 111]


def test_the_day_of_a_tape_is_the_sum_of_what_was_printed(tape: TapeSource):
    day = tape.day(1, NOON_MS + 60_000).table()[0].tolist()
    prices = [1500, 1501, 1502, 1504, 1505]
    assert day[1:5] == [1500, 1505, 1500, 1505]
    assert day[9:] == [25, 5000, 5054]
    own = tape.newest(1, 10, NOON_MS + 60_000)
    assert day[5:7] == [int(own.size.sum()), int((own.size * np.array(prices)).sum())]
    assert len(tape.day(0, tape.start_ms)) == 0
    assert tape.days(tape.start_ms).trades.tolist() == [0, 0]
    assert tape.days(NOON_MS + 60_000).trades.tolist() == [50, 25]


def test_the_day_of_a_synthetic_symbol_is_exactly_that_of_its_minutes(synthetic: SyntheticSource):
    until_ms = NOON_MS + 12_345
    day = synthetic.day(3, until_ms).table()[0].tolist()
    minutes = synthetic.klines(3, 60_000, until_ms // 60_000 * 60_000 - 86_400_000, until_ms, until_ms)
    table = minutes.table()
    traded = table[table[:, 9] > 0]
    expected = [
        table[0, 0], traded[0, 1], traded[:, 2].max(), traded[:, 3].min(), traded[-1, 4],
        *table[:, 5:10].sum(axis=0), traded[0, 10], traded[-1, 11],
    ]  # fmt: skip
    assert day == expected


def test_weeks_open_on_monday(synthetic: SyntheticSource):
    week = 7 * 86_400_000
    klines = synthetic.klines(0, week, NOON_MS - 20 * 86_400_000, NOON_MS, NOON_MS)
    assert klines.open_ms[-1] == 1_789_948_800_000, "Monday 2026-09-21"
    assert kline_open_ms(NOON_MS, week) == 1_789_948_800_000
    assert interval_ms("1w") == week
    minutes = synthetic.klines(0, 60_000, int(klines.open_ms[-1]), NOON_MS, NOON_MS)
    assert klines.volume[-1] == minutes.volume.sum()


def test_stored_ticks_are_played_with_their_ids_and_decimals(market_rows: Callable, ticks_of: Callable):
    rows = market_rows(trades=200)
    batch: TickBatch = ticks_of(rows)
    source = TapeSource(tape_of_ticks([batch.take(slice(0, 90)), batch.take(slice(90, None))]))
    assert [listing.symbol for listing in source.listings] == ["BTCUSDT", "币安人生USDT"]
    assert all((listing.price_decimals, listing.size_decimals) == (2, 3) for listing in source.listings)
    for row, listing in enumerate(source.listings):
        own = [r for r in rows if r[0] == listing.symbol]
        found = source.by_id(row, 0, 1000, own[-1][2] // 1_000_000 + 1)
        assert found.agg_id.tolist() == [r[1] for r in own]
        assert (found.price / 100).tolist() == [float(r[3]) for r in own]
        assert (found.size / 1000).tolist() == [float(r[4]) for r in own]
    with pytest.raises(InputError, match="nothing to play"):
        tape_of_ticks([batch.take(slice(0, 0))])


def test_a_source_is_opened_by_its_words(tmp_path: Path):
    source = open_source(["synthetic:seed=3,symbols=4,rate=50"])
    assert isinstance(source, SyntheticSource)
    assert (source.market.seed, len(source.listings), source.kind) == (3, 4, "synthetic")
    path = tmp_path / "t.txt"
    trade = '{"e":"aggTrade","E":1001,"s":"BTCUSDT","a":7,"p":"1","q":"1","f":1,"l":1,"T":1000,"m":true}'
    path.write_text(f"1723161255000000000 {trade}\n")
    assert open_source([str(path)]).kind == "replay"


@pytest.mark.parametrize(
    ("words", "error", "part"),
    [
        ([], InputError, "nothing to play"),
        (["synthetic:sed=7"], InputError, "sed=7"),
        (["synthetic:symbols=many"], InputError, "symbols=many"),
        (["synthetic:symbols=0"], InputError, "symbols"),
        (["synthetic:rate=nan"], InputError, "rate"),
        (["synthetic:seed=-1"], InputError, "seed"),
        (["synthetic", "tape.gz"], InputError, "mixed"),
        (["/nowhere/tape.gz"], InputError, "/nowhere/tape.gz"),
        ([__file__], ForeignFile, "is no recording"),
    ],
)
def test_words_that_name_no_source_are_refused_clearly(words: list[str], error: type[Exception], part: str):
    with pytest.raises(error, match=part):
        open_source(words)


def test_the_synthetic_market_has_its_own_time(synthetic: SyntheticSource):
    with pytest.raises(InputError, match="shift"):
        synthetic.shift_to(0)
    assert same(
        synthetic.between(NOON_MS, NOON_MS + 50), synthetic.market.trades(NOON_MS * 10**6, (NOON_MS + 50) * 10**6)
    )


def test_the_synthetic_markets_single_trades_add_up_to_its_aggregates(synthetic: SyntheticSource):
    printed = synthetic.between(NOON_MS, NOON_MS + 3000)
    trades = [json.loads(frame.payload) for frame in synthetic.public_between(NOON_MS, NOON_MS + 3000)]
    assert len(trades) == int((printed.last_id - printed.first_id + 1).sum())
    by_id = {(trade["s"], trade["t"]): trade for trade in trades}
    for i in range(len(printed)):
        listing = synthetic.listings[int(printed.symbol_id[i])]
        own = [by_id[listing.symbol, t] for t in range(int(printed.first_id[i]), int(printed.last_id[i]) + 1)]
        market = [trade for trade in own if trade["X"] == "MARKET"]
        size = decimal_text(int(printed.size[i]), listing.size_decimals)
        assert sum(Decimal(trade["q"]) for trade in market) == Decimal(size)
        assert {trade["p"] for trade in market} == {decimal_text(int(printed.price[i]), listing.price_decimals)}
        assert all((trade["X"], trade["p"], trade["q"]) == ("NA", "0", "0") for trade in own if trade not in market)
