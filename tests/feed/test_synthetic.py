"""The synthetic market: the same for everybody, consecutive, and with the pairs that it promises."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.errors import InputError, UnknownSymbol
from pairscope.feed.agg_trades import AggTrades, concat_trades
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.market.symbols import Symbols

S = 1_000_000_000
NOON = 1_790_510_400 * S
"""2026-09-27 12:00 UTC."""


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(seed=7, symbols=60)


def same(a: AggTrades, b: AggTrades) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(AggTrades))


def digest(trades: AggTrades) -> str:
    return hashlib.sha256(b"".join(getattr(trades, field.name).tobytes() for field in fields(trades))).hexdigest()


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 150 * S), max_size=6), start=st.integers(0, 3 * 86_400).map(lambda s: s * S + 7))
def test_the_same_trades_come_whatever_the_split_of_the_interval(market: SyntheticMarket, cuts: list[int], start: int):
    begin = NOON + start
    edges = [begin, *(begin + cut for cut in sorted(cuts)), begin + 150 * S]
    parts = [market.trades(a, b) for a, b in pairwise(edges)]
    assert same(concat_trades(parts), market.trades(begin, begin + 150 * S))


def test_another_process_generates_the_same_trades(market: SyntheticMarket):
    program = f"""
import hashlib, dataclasses
from pairscope.feed.synthetic import SyntheticMarket
t = SyntheticMarket(seed=7, symbols=60).trades({NOON}, {NOON + 5 * S})
print(hashlib.sha256(b"".join(getattr(t, f.name).tobytes() for f in dataclasses.fields(t))).hexdigest())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == digest(market.trades(NOON, NOON + 5 * S))


def test_another_seed_is_another_market(market: SyntheticMarket):
    other = SyntheticMarket(seed=8, symbols=60)
    assert not same(market.trades(NOON, NOON + 5 * S), other.trades(NOON, NOON + 5 * S))


def test_a_symbol_does_not_depend_on_how_many_others_are_listed(market: SyntheticMarket):
    few = SyntheticMarket(seed=7, symbols=20)
    assert same(
        few.trades(NOON, NOON + 20 * S, ["ADAUSDT"]), market.trades(NOON, NOON + 20 * S, ["adausdt"])
    )  # rank and name, too


def test_one_symbol_asked_alone_has_the_trades_that_it_has_among_all(market: SyntheticMarket):
    all_of_them = market.trades(NOON + 123, NOON + 30 * S)
    row = market.row("PEPEUSDT")
    assert same(all_of_them.take(all_of_them.symbol_id == row), market.trades(NOON + 123, NOON + 30 * S, ["PEPEUSDT"]))


def test_ids_are_consecutive_over_hours_and_midnights_and_trade_ids_have_no_hole(market: SyntheticMarket):
    midnight = 1_790_553_600 * S
    for symbol in ("BTCUSDT", "币安人生USDT", market.symbols[-1]):
        trades = market.trades(midnight - 4000 * S, midnight + 4000 * S, [symbol])
        assert len(trades) > 100
        assert np.all(np.diff(trades.agg_id) == 1)
        assert np.array_equal(trades.first_id[1:], trades.last_id[:-1] + 1)
        assert np.all(trades.last_id >= trades.first_id)
        assert np.all(np.diff(trades.trade_ms) >= 0)


def test_times_of_the_tape_never_go_back_and_lie_in_the_interval(market: SyntheticMarket):
    trades = market.trades(NOON + 1, NOON + 90 * S)
    assert np.all(np.diff(trades.event_ms) >= 0)
    assert trades.trade_ms[0] * 1_000_000 >= NOON + 1
    assert trades.trade_ms[-1] * 1_000_000 < NOON + 90 * S


@given(after_ms=st.integers(0, 600_000))
@settings(max_examples=30)
def test_the_last_id_of_a_moment_is_that_of_the_last_trade_before_it(market: SyntheticMarket, after_ms: int):
    moment = NOON + after_ms * 1_000_000
    before = market.trades(moment - 600 * S, moment, ["SOLUSDT"])
    assert market.last_id("SOLUSDT", moment) == before.agg_id[-1]


def test_trades_are_found_by_id_and_by_time(market: SyntheticMarket):
    window = market.trades(NOON, NOON + 300 * S, ["DOTUSDT"])
    some = window.take(slice(40, 140))
    assert same(market.by_id("DOTUSDT", int(some.agg_id[0]), 100, NOON + 300 * S), some)
    first_ms = int(some.trade_ms[0])
    found = market.by_time("DOTUSDT", first_ms * 1_000_000, NOON + 300 * S, 100)
    expected = window.take(window.trade_ms >= first_ms).take(slice(100))
    assert same(found, expected)
    assert len(market.by_id("DOTUSDT", int(window.agg_id[-1]) + 1, 10, NOON + 300 * S)) == 0
    assert len(market.by_time("DOTUSDT", NOON, NOON, 10)) == 0


@pytest.mark.parametrize(
    ("symbol", "timeframe"), [("ETHUSDT", "1m"), ("PEPEUSDT", "5m"), ("币安人生USDT", "1h"), ("BTCUSDT", "1s")]
)
def test_klines_are_exactly_those_of_the_trades_by_pandas(market: SyntheticMarket, symbol: str, timeframe: str):
    span = 30 * S if timeframe == "1s" else 2 * 3600 * S
    start = NOON - NOON % (3600 * S)
    trades = market.trades(start, start + span, [symbol])
    step_ms = int(pd.Timedelta(timeframe.replace("m", "min")).total_seconds() * 1000)
    frame = pd.DataFrame(
        {
            "open_ms": trades.trade_ms // step_ms * step_ms,
            "p": trades.price,
            "q": trades.size,
            "bought": np.where(trades.buyer_is_maker, 0, trades.size),
            "n": trades.last_id - trades.first_id + 1,
            "f": trades.first_id,
            "l": trades.last_id,
        }
    )
    frame["paid"], frame["quote"] = frame.p * frame.bought, frame.p * frame.q
    by = frame.groupby("open_ms")
    expected = pd.DataFrame(
        {
            "open": by.p.first(), "high": by.p.max(), "low": by.p.min(), "close": by.p.last(), "volume": by.q.sum(),
            "quote": by.quote.sum(), "buy_volume": by.bought.sum(), "buy_quote": by.paid.sum(), "trades": by.n.sum(),
            "first_id": by.f.first(), "last_id": by.l.last(),
        }
    )  # fmt: skip
    klines = market.klines(symbol, timeframe, start, start + span)
    assert len(klines) == span // (step_ms * 1_000_000)
    ours = pd.DataFrame(klines.table()[:, 1:], index=klines.open_ms, columns=expected.columns)
    pd.testing.assert_frame_equal(ours[ours.trades > 0], expected, check_names=False)


def test_a_minute_without_a_trade_is_flat_at_the_last_price():
    market = SyntheticMarket(seed=7, symbols=600)
    thin = market.symbols[-1]
    klines = market.klines(thin, "1m", NOON, NOON + 7200 * S)
    assert len(klines) == 120
    empty = np.flatnonzero(klines.trades == 0)
    assert empty.size > 20, "a thin symbol goes minutes without a trade"
    for i in empty[empty > 0]:
        assert {int(x[i]) for x in (klines.open, klines.high, klines.low, klines.close)} == {int(klines.close[i - 1])}
    assert np.all(klines.volume[empty] == 0)
    assert np.all(klines.first_id[empty] == -1)


def test_the_market_has_the_size_and_the_oddities_of_the_real_one():
    market = SyntheticMarket(seed=7, symbols=600)
    rate = sum(market.last_id(s, NOON) - market.last_id(s, NOON - 86_400 * S) for s in market.symbols) / 86_400
    assert 1500 < rate < 2500
    btc = market.trades(NOON, NOON + 600 * S, ["BTCUSDT"])
    per_second = np.bincount((btc.trade_ms - NOON // 1_000_000) // 1000, minlength=600)
    assert 30 < per_second.mean() < 130
    assert per_second.var() > 5 * per_second.mean(), "trades come in bursts"
    listings = {listing.symbol: listing for listing in market.listings}
    assert len(listings) == 600
    assert any(not symbol.isascii() for symbol in listings)
    assert listings["PEPEUSDT"].price_decimals == 8
    tiny = market.trades(NOON, NOON + 10 * S, ["PEPEUSDT"])
    assert 0 < tiny.price.max() < 100_000, "a price like 0.00001234"


@pytest.mark.parametrize("hour", [0, 5, 13, 20])
def test_a_stated_rate_is_kept_at_any_time_of_day(hour: int):
    market = SyntheticMarket(seed=7, symbols=600, ticks_per_second=6000.0)
    start = NOON + (hour * 3600 + 120) * S
    assert len(market.trades(start, start + 20 * S)) / 20 == pytest.approx(6000, rel=0.25)


def test_prices_lie_on_the_tick_grid_and_sizes_are_positive(market: SyntheticMarket):
    trades = market.trades(NOON, NOON + 60 * S)
    ticks = np.array([listing.tick for listing in market.listings])
    assert np.all(trades.price % ticks[trades.symbol_id] == 0)
    assert trades.price.min() > 0
    assert trades.size.min() > 0


def test_buyers_pay_the_ask_and_sellers_get_the_bid(market: SyntheticMarket):
    trades = market.trades(NOON, NOON + 60 * S, ["BNBUSDT"])
    second = trades.trade_ms // 1000
    bought = pd.Series(trades.price[~trades.buyer_is_maker]).groupby(second[~trades.buyer_is_maker]).mean()
    sold = pd.Series(trades.price[trades.buyer_is_maker]).groupby(second[trades.buyer_is_maker]).mean()
    assert (bought - sold).mean() > 0


def test_planted_pairs_are_found_by_least_squares_on_klines():
    market = SyntheticMarket(seed=11, symbols=60, ticks_per_second=300.0)
    assert [(pair.y, pair.x) for pair in market.pairs[:2]] == [("ETHUSDT", "BTCUSDT"), ("AVAXUSDT", "SOLUSDT")]
    start, days = NOON - 20 * 86_400 * S, 20
    for pair in market.pairs[:2]:
        log_y, log_x = (
            np.log(klines.close / 10.0 ** market.listings[market.row(symbol)].price_decimals)
            for symbol in (pair.y, pair.x)
            for klines in [market.klines(symbol, "1m", start, start + days * 86_400 * S)]
        )
        beta, alpha = np.polyfit(log_x, log_y, 1)
        assert beta == pytest.approx(pair.beta, rel=0.08)
        spread = log_y - pair.alpha - pair.beta * log_x
        assert spread.mean() == pytest.approx(0.0, abs=pair.spread_std / 2)
        assert spread.std() == pytest.approx(pair.spread_std, rel=0.25)
        phi = np.polyfit(spread[:-30], spread[30:], 1)[0]
        assert -np.log(2) / np.log(phi) * 1800 == pytest.approx(pair.half_life_s, rel=0.3)
        assert alpha == pytest.approx(pair.alpha, abs=0.1 * abs(np.mean(log_x)) * pair.beta)


def test_returns_share_a_common_factor(market: SyntheticMarket):
    closes = [market.klines(s, "5m", NOON - 86_400 * S, NOON).close for s in ("ADAUSDT", "XRPUSDT", "LINKUSDT")]
    correlations = np.corrcoef(np.diff(np.log(closes), axis=1))[np.triu_indices(3, 1)]
    assert correlations.min() > 0.1
    assert correlations.max() < 0.95


def test_the_day_of_the_whole_market_agrees_with_the_klines(market: SyntheticMarket):
    days = market.ticker_24h(NOON)
    for symbol in ("BTCUSDT", "PEPEUSDT", "DOTUSDT"):
        row = market.row(symbol)
        exact = market.klines(symbol, "1m", NOON - 86_400 * S, NOON)
        assert days.trades[row] == exact.trades.sum()
        assert (days.first_id[row], days.last_id[row]) == (exact.first_id[0], exact.last_id[-1])
        assert days.volume[row] == pytest.approx(exact.volume.sum(), rel=0.03)
        assert days.quote[row] == pytest.approx(exact.quote.sum(), rel=0.03)
        assert days.open[row] == pytest.approx(exact.open[0], rel=0.01)
        assert days.high[row] <= exact.high.max() * 1.001


def test_ticks_carry_the_decimals_that_were_printed(market: SyntheticMarket):
    symbols = Symbols()
    trades = market.trades(NOON, NOON + 5 * S, ["PEPEUSDT", "BTCUSDT"])
    ticks = trades.ticks(market.listings, symbols)
    own = ticks.of_symbol("PEPEUSDT")
    assert len(own) > 0
    units = trades.price[trades.symbol_id == market.row("PEPEUSDT")].tolist()
    assert own.price.tolist() == [float(f"0.{unit:08d}") for unit in units]
    assert np.array_equal(ticks.ts_event_ns, trades.trade_ms * 1_000_000)


def test_what_cannot_be_is_refused():
    for wrong in ({"symbols": 0}, {"symbols": 1001}, {"ticks_per_second": 0.0}, {"seed": -1}):
        with pytest.raises(InputError):
            SyntheticMarket(**wrong)
    with pytest.raises(UnknownSymbol):
        SyntheticMarket(symbols=2).row("NOPEUSDT")


def test_nothing_is_traded_before_the_listing(market: SyntheticMarket):
    listed = 1_577_923_200 * S
    assert len(market.trades(0, 10 * S)) == 0
    assert len(market.trades(listed - 3600 * S, listed)) == 0
    assert len(market.trades(listed - 3600 * S, listed + 60 * S)) > 0
    assert len(market.klines("BTCUSDT", "1m", 0, 1_577_836_800 * S)) == 0
