"""Fills from trades: each leg's first one after close and latency, nothing before a decision, nothing made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import Backtest, backtest_pair
from pairscope.analytics.tick_fills import tick_fills, tick_slippage

MINUTE = 60_000_000_000
START = 1_746_374_220_000_000_000


def trades(n: int, seed: int, *, a_minute: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and prices of a walk that trades so often a minute on average, over ``n`` minutes."""
    rng = np.random.default_rng(seed)
    times = np.sort(START + rng.integers(0, n * MINUTE, round(n * a_minute)) // 1_000_000 * 1_000_000)
    return times, 100 * np.exp(np.cumsum(rng.standard_normal(times.size)) * 2e-4)


def closes_of(times: np.ndarray, prices: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The last price before each end."""
    return prices[np.maximum(np.searchsorted(times, ends, side="left") - 1, 0)]


def backtested(n: int, latency_ms: float, *, a_minute: float = 6.0) -> tuple[Backtest, Any]:
    ends = START + (np.arange(n) + 1) * MINUTE
    legs = trades(n, 1, a_minute=a_minute), trades(n, 2, a_minute=a_minute / 2)
    y, x = (closes_of(*leg, ends) for leg in legs)
    fills = tick_fills(ends, *legs[0], *legs[1], latency_ms=latency_ms)
    made = backtest_pair(
        y, x, hedge="ols", lookback=120, window=30, entry=1.8, exit=0.3, fee_bps=4,
        fill_y=fills.y, fill_x=fills.x, fill_bar=fills.bar,
    )  # fmt: skip
    return made, (ends, legs, y, x, fills)


@pytest.mark.parametrize("latency_ms", [0, 250, 90_000])
def test_each_leg_is_filled_at_its_first_trade_after_close_and_latency(latency_ms: float) -> None:
    _, (ends, legs, _, _, fills) = backtested(300, latency_ms)
    for t in range(300):
        asked, last = int(ends[t]) + latency_ms * 1_000_000, -1
        for (times, prices), at, when in ((legs[0], fills.y, fills.time_y_ns), (legs[1], fills.x, fills.time_x_ns)):
            found = [
                (time, price) for time, price in zip(times.tolist(), prices.tolist(), strict=True) if time >= asked
            ]
            assert (at[t] == found[0][1] and when[t] == found[0][0]) if found else (np.isnan(at[t]) and when[t] == -1)
            last = max(last, found[0][0]) if found else 10**30
        assert fills.bar[t] == sum(end <= last for end in ends.tolist())
        assert fills.bar[t] > t


def test_a_trade_at_the_very_moment_counts_and_one_at_a_bar_s_end_belongs_to_the_next() -> None:
    ends = np.array([60, 120, 180]) * 1_000_000_000
    at = np.array([60, 61, 120, 121]) * 1_000_000_000
    prices = np.array([1.0, 2.0, 3.0, 4.0])
    exact = tick_fills(ends, at, prices, at, prices, latency_ms=0)
    assert (exact.y[:2].tolist(), exact.bar.tolist()) == ([1.0, 3.0], [1, 2, 3])
    late = tick_fills(ends, at, prices, at, prices, latency_ms=60_000)
    assert (late.y[0], late.bar[0]) == (3.0, 2)


def test_no_trade_before_a_decision_and_none_after_its_fill_moves_the_fill() -> None:
    _, (ends, legs, _, _, fills) = backtested(200, 400)
    for t in (20, 77, 150):
        asked, done = ends[t] + 400_000_000, max(fills.time_y_ns[t], fills.time_x_ns[t])
        parts = []
        for times, prices in legs:
            noisy = np.where((times < asked) | (times > done), prices * 3, prices)
            keep = (times <= done) & (times >= asked - 10 * MINUTE)
            parts += [(times, noisy), (times[keep], prices[keep])]
        for leg_y, leg_x in ((parts[0], parts[2]), (parts[1], parts[3])):
            again = tick_fills(ends, *leg_y, *leg_x, latency_ms=400)
            assert [column[t] for column in again] == [column[t] for column in fills]


def test_a_backtest_on_trades_is_filled_where_they_were_and_its_legs_may_lie_bars_apart() -> None:
    made, (ends, _, _, _, fills) = backtested(3000, 250, a_minute=1.0)
    apart = 0
    finished = [t for t in made.trades if t.reason != "end"]
    assert len(finished) > 30
    for trade in finished:
        for end in ("entry", "exit"):
            decided, bar = trade[f"{end}_decided"], trade[f"{end}_bar"]
            assert bar == fills.bar[decided] > decided
            assert (trade[f"{end}_price_y"], trade[f"{end}_price_x"]) == (fills.y[decided], fills.x[decided])
            first = min(fills.time_y_ns[decided], fills.time_x_ns[decided])
            apart += bool(first < ends[bar - 1])
    assert apart > 5


def test_a_leg_that_does_not_trade_any_more_leaves_the_order_open() -> None:
    ends = START + (np.arange(300) + 1) * MINUTE
    leg_y, leg_x = trades(300, 1, a_minute=6), trades(300, 2, a_minute=6)
    gone = leg_x[0] < ends[200]
    fills = tick_fills(ends, *leg_y, leg_x[0][gone], leg_x[1][gone], latency_ms=100)
    assert np.isnan(fills.x[200:]).all()
    assert (fills.bar[200:] == 300).all()
    assert np.isfinite(fills.y[200:298]).all()
    none = tick_fills(ends, *leg_y, np.array([], np.int64), np.array([]), latency_ms=100)
    assert np.isnan(none.x).all()


def test_slippage_is_what_the_fills_cost_against_the_deciding_closes() -> None:
    made, (_, _, y, x, _) = backtested(3000, 2_000)
    measured = tick_slippage(made.trades, y, x)
    ideal = []
    for i, trade in enumerate(made.trades):
        d, e = trade.entry_decided, trade.exit_decided
        lost = trade.quantity_y * (trade.entry_price_y - y[d]) + trade.quantity_x * (trade.entry_price_x - x[d])
        back = trade.quantity_y * (y[e] - trade.exit_price_y) + trade.quantity_x * (x[e] - trade.exit_price_x)
        assert measured.entry_bps[i] == pytest.approx(1e4 * lost / trade.entry_value, abs=1e-9)
        assert measured.exit_bps[i] == pytest.approx(1e4 * back / trade.exit_value, abs=1e-9)
        ideal.append(trade.quantity_y * (y[e] - y[d]) + trade.quantity_x * (x[e] - x[d]))
        assert trade.spread_pnl == pytest.approx(ideal[-1] - lost - back, abs=1e-8)
    assert np.abs(measured.entry_bps).max() > 1.0


ENDS = START + (np.arange(5) + 1) * MINUTE
TIMES, PRICES = trades(5, 3, a_minute=4)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("close_ns", {"close_ns": ENDS[::-1]}),
        ("close_ns", {"close_ns": ENDS * 1.0}),
        ("times_y", {"times_y": TIMES[::-1]}),
        ("times_x", {"times_x": TIMES.reshape(2, -1)}),
        ("prices_y", {"prices_y": PRICES[:-1]}),
        ("prices_x", {"prices_x": np.full(TIMES.size, np.nan)}),
        ("prices_x", {"prices_x": -PRICES}),
        ("latency_ms", {"latency_ms": -1}),
        ("latency_ms", {"latency_ms": float("nan")}),
    ],
)
def test_trades_that_make_no_sense_are_refused_by_name(name: str, terms: dict[str, Any]) -> None:
    legs = {"times_y": TIMES, "prices_y": PRICES, "times_x": TIMES, "prices_x": PRICES}
    with pytest.raises(ValueError, match=f"^{name}:"):
        tick_fills(**{"close_ns": ENDS, **legs, "latency_ms": 100, **terms})
