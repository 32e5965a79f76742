"""A backtest as it was asked for: traded from start to end alone, on exactly the warm-up that it takes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import backtest_pair
from pairscope.analytics.gates import cointegration_gate, sentinel_gate
from pairscope.errors import InputError, NotEnoughData
from pairscope.research import asked_backtest
from pairscope.research.asked_backtest import backtest_keywords, gate_every, run_backtest, traded_bars
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import LegBars, LegTicks, PairBars

PairOf = Callable[..., PairBars]
ASKED = BacktestRequest("AUSDT", "BUSDT", lookback=100, window=30, entry=1.5)


def within(bars: PairBars, first: int, last: int, **fields: Any) -> BacktestRequest:
    return replace(ASKED, start_ns=int(bars.times_ns[first]), end_ns=int(bars.times_ns[last]), **fields)


def test_nothing_is_traded_outside_the_range_and_equity_covers_it(pair_of: PairOf) -> None:
    bars = pair_of(1000, 1, tie=0.9)
    made = run_backtest(within(bars, 300, 700), bars)
    times = made.equity["timestamp"]
    assert (times[0], times[-1], times.size) == (bars.times_ns[300], bars.times_ns[699], 400)
    assert len(made.trades) > 5
    assert (made.trades["entry_timestamp"] > bars.times_ns[300]).all()
    assert (times[made.trades["entry_bar"]] == made.trades["entry_timestamp"]).all()
    assert (times[made.trades["exit_bar"]] == made.trades["exit_timestamp"]).all()
    assert {column.size for column in made.series.values()} == {400}
    assert made.metrics["pnl"] == pytest.approx(made.equity["equity"][-1] - 10_000.0)


def test_the_first_bar_of_the_range_can_decide(pair_of: PairOf) -> None:
    bars = pair_of(1000, 1, tie=0.9)
    made = run_backtest(within(bars, 300, 700), bars)
    assert np.isfinite(made.series["zscore"][0])
    high = int(300 + np.argmax(np.abs(made.series["zscore"]) > 1.5))
    again = run_backtest(within(bars, high, 700), bars)
    assert again.trades[0].entry_timestamp == bars.times_ns[high + 1]


@pytest.mark.parametrize("method", ["ols", "kalman"])
def test_bars_beyond_the_warm_up_change_nothing(pair_of: PairOf, method: Any) -> None:
    bars = pair_of(1000, 2, tie=0.9)
    request = within(bars, 400, 900, method=method)
    whole, cut = run_backtest(request, bars), run_backtest(request, bars.take(slice(400 - 99, 950)))
    assert whole.equity["equity"].tolist() == cut.equity["equity"].tolist()
    assert whole.metrics == cut.metrics


def test_without_a_range_it_is_backtest_pair_itself(pair_of: PairOf) -> None:
    bars = pair_of(600, 3, tie=0.9)
    made = run_backtest(ASKED, bars)
    terms: dict[str, Any] = {"lookback": 100, "window": 30, "entry": 1.5, "exit": 0.5, "fee_bps": 4, "slippage_bps": 1}
    plain = backtest_pair(bars.y.close, bars.x.close, hedge="ols", timestamps=bars.times_ns, **terms)
    assert made.metrics == plain.metrics


@pytest.mark.parametrize(("method", "space"), [("ols", "linear"), ("huber", "log")])
def test_hedge_ratios_found_in_parts_are_those_of_the_whole_to_the_bit(
    pair_of: PairOf, monkeypatch: pytest.MonkeyPatch, method: Any, space: Any
) -> None:
    bars = pair_of(900, 11, tie=0.9)
    request = replace(ASKED, method=method, price_space=space)
    whole = run_backtest(request, bars)
    monkeypatch.setattr(asked_backtest, "_ROWS", {method: 7_300})
    parted = run_backtest(request, bars, threads=3)
    assert parted.series["beta"].tobytes() == whole.series["beta"].tobytes()
    assert parted.series["alpha"].tobytes() == whole.series["alpha"].tobytes()
    assert (parted.metrics, parted.assumptions) == (whole.metrics, whole.assumptions)
    with pytest.raises(CancelledError):
        run_backtest(request, bars, cancelled=lambda: True)


def test_a_leg_that_stands_still_for_a_while_is_fitted_as_before(
    pair_of: PairOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pair_of(900, 12, tie=0.9)
    close = plain.x.close.copy()
    close[300:700] = close[300]
    bars = replace(plain, x=LegBars(close, close, close, close, close))
    whole = run_backtest(ASKED, bars)
    monkeypatch.setattr(asked_backtest, "_ROWS", {"ols": 7_300})
    assert run_backtest(ASKED, bars).series["beta"].tobytes() == whole.series["beta"].tobytes()
    assert np.isnan(whole.series["beta"][450:700]).all()


def test_a_fill_at_the_first_close_costs_what_it_costs(pair_of: PairOf) -> None:
    """Equity is down by the way out at once; the return still counts from the capital on."""
    bars = pair_of(1000, 1, tie=0.9)
    z = run_backtest(within(bars, 300, 700), bars).series["zscore"]
    high = int(300 + np.argmax(np.abs(z) > 1.5))
    made = run_backtest(within(bars, high, 700, fill="same"), bars)
    assert made.equity["equity"][0] < 10_000.0
    assert made.metrics["total_return"] == pytest.approx(made.metrics["pnl"] / 10_000.0)


def test_too_few_bars_are_told_with_what_to_do(pair_of: PairOf) -> None:
    bars = pair_of(100, 4)
    with pytest.raises(NotEnoughData, match=r"101 .*there are 100") as raised:
        run_backtest(ASKED, bars)
    assert (raised.value.loc, "shorter" in raised.value.hint) == ("lookback", True)
    with pytest.raises(NotEnoughData, match="0 1m bars in common"):
        run_backtest(replace(ASKED, start_ns=0, end_ns=1), bars)
    with pytest.raises(NotEnoughData, match="0 1m bars in common"):
        run_backtest(replace(ASKED, start_ns=int(bars.times_ns[-1]) + 1), bars)


def test_funding_is_charged_where_it_is_asked_for_and_known(pair_of: PairOf) -> None:
    bars = replace(pair_of(600, 5, tie=0.9), funding_y=np.full(600, 1e-4))
    assert run_backtest(ASKED, bars).metrics["funding"] == 0.0
    assert run_backtest(replace(ASKED, funding=True), bars).metrics["funding"] != 0.0
    assert run_backtest(replace(ASKED, funding=True), pair_of(600, 5, tie=0.9)).metrics["funding"] == 0.0


def test_opens_and_ranges_need_more_than_closes(pair_of: PairOf) -> None:
    closes = pair_of(600, 6, tie=0.9)
    whole = replace(closes, whole=True, y=replace(closes.y, open=closes.y.close * 0.999, high=closes.y.close * 1.001))
    for field, request in (("fill", replace(ASKED, fill="open")), ("slippage_range", replace(ASKED, slippage_range=1))):
        with pytest.raises(InputError) as raised:
            run_backtest(request, closes)
        assert raised.value.loc == field
        assert run_backtest(request, whole).metrics["pnl"] != run_backtest(ASKED, whole).metrics["pnl"]


def test_quantities_are_whole_steps_unless_it_is_told_otherwise(pair_of: PairOf) -> None:
    bars = replace(pair_of(600, 7, tie=0.9), step_y=0.5)
    steps = run_backtest(ASKED, bars).trades["quantity_y"] / 0.5
    assert (steps == np.round(steps)).all()
    free = run_backtest(replace(ASKED, round_steps=False), bars).trades["quantity_y"] / 0.5
    assert (free != np.round(free)).any()


def test_gates_are_those_of_the_request_and_closed_before_start(pair_of: PairOf) -> None:
    bars = pair_of(500, 8, tie=0.9)
    y, x = np.log(bars.y.close), np.log(bars.x.close)
    for name, expected in (
        ("cointegration", cointegration_gate(y, x, lookback=100, every=gate_every(100))),
        ("sentinel", sentinel_gate(y, x, training=100)),
    ):
        gate = backtest_keywords(replace(ASKED, gate=name), bars, 300)["gate"]  # type: ignore[arg-type]
        assert expected[:300].any()
        assert not gate[:300].any()
        assert (gate[300:] == expected[300:]).all()


def test_orders_are_filled_from_trades_where_a_latency_is_asked_for(pair_of: PairOf) -> None:
    bars = pair_of(600, 9, tie=0.9)
    request = replace(ASKED, latency_ms=250)
    with pytest.raises(InputError) as raised:
        run_backtest(request, bars)
    assert raised.value.loc == "latency_ms"
    late = bars.times_ns + 61_000_000_000
    filled = replace(bars, ticks_y=LegTicks(late, bars.y.close * 1.01), ticks_x=LegTicks(late, bars.x.close))
    trade = run_backtest(request, filled).trades[0]
    row = int(np.searchsorted(bars.times_ns, trade.entry_timestamp))
    assert trade.entry_price_y == pytest.approx(1.01 * bars.y.close[row - 1])


def test_traded_bars_say_where_trading_begins(pair_of: PairOf) -> None:
    bars = pair_of(600, 10)
    used, first = traded_bars(within(bars, 300, 400), bars)
    assert (len(used), first, used.times_ns[first]) == (199, 99, bars.times_ns[300])
    used, first = traded_bars(within(bars, 50, 400), bars)
    assert (len(used), first) == (400, 50)
