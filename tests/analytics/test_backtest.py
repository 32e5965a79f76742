"""A backtest that does not flatter: causal, two legs, every cost, nothing dropped; no gain where there is none."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairscope.analytics.backtest import MAINTENANCE, Backtest, backtest_pair, causal_hedge
from pairscope.analytics.kalman import KALMAN_BETA, kalman_state, kalman_step
from pairscope.analytics.pair_window import fit_window, zscore_window

HEDGES = ("ols", "huber", "kalman", 0.7)
RULE: dict[str, Any] = {"lookback": 120, "window": 30, "entry": 1.8, "exit": 0.3, "stop": 3.5, "max_holding": 40}
COSTS: dict[str, Any] = {"fee_bps": 4.0, "slippage_bps": 1.0, "funding_y": 1e-5, "funding_x": -2e-5}


def walks(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.random.default_rng(seed).standard_normal((2, n)) * 1e-3
    y, x = np.exp(np.cumsum(steps, axis=1)) * [[100.0], [7.0]]
    return y, x


def reverting(
    n: int, seed: int, *, phi: float = 0.95, noise: float = 1e-3, step: float = 2e-4
) -> tuple[np.ndarray, np.ndarray]:
    """A pair whose spread in logs is an autoregression about 0, with hedge ratio 1."""
    rng = np.random.default_rng(seed)
    x = 50 * np.exp(np.cumsum(rng.standard_normal(n) * step))
    spread = np.zeros(n)
    for t in range(1, n):
        spread[t] = phi * spread[t - 1] + noise * rng.standard_normal()
    return x * np.exp(spread), x


def run(y: np.ndarray, x: np.ndarray, **terms: Any) -> Backtest:
    return backtest_pair(y, x, **{"hedge": "ols", **RULE, **terms})


@pytest.mark.parametrize("fill", ["next", "same"])
@pytest.mark.parametrize("hedge", HEDGES)
def test_what_comes_later_changes_no_earlier_trade_and_no_earlier_equity(hedge: Any, fill: str) -> None:
    y, x = walks(900, 1)
    whole = run(y, x, hedge=hedge, fill=fill, **COSTS)
    assert len(whole.trades) > 10
    for cut in (300, 517, 770):
        other_y, other_x = walks(900, 2)
        replaced = np.r_[y[:cut], other_y[cut:]], np.r_[x[:cut], other_x[cut:]]
        for made in (
            run(y[:cut], x[:cut], hedge=hedge, fill=fill, **COSTS),
            run(*replaced, hedge=hedge, fill=fill, **COSTS),
        ):
            for column in ("equity", "drawdown"):
                np.testing.assert_array_equal(made.equity[column][:cut], whole.equity[column][:cut])
            earlier = [t for t in whole.trades if t.exit_bar < cut]
            assert [t for t in made.trades if t.exit_bar < cut and t.reason != "end"] == earlier


@pytest.mark.parametrize("hedge", HEDGES)
def test_hedge_ratios_and_z_scores_are_those_that_live_pairs_have(hedge: Any) -> None:
    y, x = walks(600, 3)
    log_y, log_x = np.log(y), np.log(x)
    filtered, state = [], kalman_state()
    for t in range(600):
        kalman_step(state, log_y[t], log_x[t])
        filtered.append(state[KALMAN_BETA])
    trades = run(y, x, hedge=hedge).trades
    assert len(trades) > 5
    for trade in trades:
        end = trade.entry_bar
        if hedge == "ols":
            assert trade.beta == fit_window(log_y, log_x, end, 120).beta
        elif hedge == "kalman":
            assert trade.beta == filtered[end - 1]
        assert trade.entry_zscore == zscore_window(log_y, log_x, end, 30, 0.0, trade.beta).zscore
        decided = trade.exit_bar + (trade.reason == "end")
        assert trade.exit_zscore == zscore_window(log_y, log_x, decided, 30, 0.0, trade.beta).zscore


def test_trades_are_entered_and_left_for_the_reasons_given() -> None:
    trades = run(*walks(4000, 4)).trades
    assert set(trades["reason"]) >= {"exit", "stop", "max_holding"}
    for trade in trades:
        side = 1 if trade.side == "long" else -1
        assert 1.8 <= -side * trade.entry_zscore < 3.5
        if trade.reason == "exit":
            assert side * trade.exit_zscore >= -0.3
        if trade.reason == "stop":
            assert side * trade.exit_zscore <= -3.5
        assert trade.exit_bar - trade.entry_bar <= 40
        assert trade.reason != "max_holding" or trade.exit_bar - trade.entry_bar == 40


def test_a_decision_is_filled_at_the_next_close_and_for_comparison_at_its_own() -> None:
    y, x = reverting(3000, 5, phi=0.5)
    later, same = run(y, x, hedge=1.0), run(y, x, hedge=1.0, fill="same")
    assert (later.trades["entry_bar"][0], later.trades["entry_zscore"][0]) == (
        same.trades["entry_bar"][0] + 1,
        same.trades["entry_zscore"][0],
    )
    assert same.metrics["spread_pnl"] > later.metrics["spread_pnl"]


@pytest.mark.parametrize("space", ["log", "linear"])
def test_the_values_of_both_legs_add_up_to_the_notional_in_the_hedge_s_proportion(space: str) -> None:
    y, x = walks(600, 6)
    trades = run(y, x, price_space=space, notional=5_000.0, hedge=-0.4 if space == "linear" else "ols").trades
    for trade in trades:
        value_y, value_x = trade.quantity_y * y[trade.entry_bar], trade.quantity_x * x[trade.entry_bar]
        assert abs(value_y) + abs(value_x) == pytest.approx(5_000.0, rel=1e-12)
        assert np.sign(trade.quantity_y) == (1 if trade.side == "long" else -1)
        ratio = value_x / value_y if space == "log" else trade.quantity_x / trade.quantity_y
        assert ratio == pytest.approx(-trade.beta, rel=1e-12)


def test_what_is_open_at_the_end_is_closed_and_counted() -> None:
    y, x = walks(900, 1)
    whole = run(y, x)
    held = next(t for t in whole.trades if t.exit_bar - t.entry_bar > 3)
    made = run(y[: held.exit_bar - 1], x[: held.exit_bar - 1], fee_bps=4.0)
    assert made.trades[-1].reason == "end"
    assert made.trades[-1].exit_bar == held.exit_bar - 2
    assert made.trades[-1].fees > 0
    assert made.equity["equity"][-1] - 10_000 == pytest.approx(made.trades["pnl"].sum(), abs=1e-9)


def test_a_ruinous_position_is_liquidated_and_trading_ends() -> None:
    y, x = reverting(500, 7)
    y = y.copy()
    sold = next(t for t in run(y, x, hedge=1.0).trades if t.side == "short" and t.exit_bar - t.entry_bar > 2)
    y[sold.entry_bar + 1 :] *= 4.0
    made = run(y, x, hedge=1.0, stop=None)
    assert (made.trades[-1].reason, made.trades[-1].exit_bar) == ("liquidation", sold.entry_bar + 1)
    equity = made.equity["equity"]
    assert equity[-1] <= MAINTENANCE * made.trades[-1].exit_value
    assert (equity[sold.entry_bar + 1 :] == equity[-1]).all()
    assert made.metrics["sharpe"] is None


def test_a_closed_gate_and_a_cooldown_keep_out_of_the_market() -> None:
    y, x = walks(1500, 8)
    gate = np.arange(1500) >= 700
    assert run(y, x, gate=gate).trades["entry_bar"].min() > 700
    trades = run(y, x, stop=2.2, cooldown=50).trades
    stopped = [t.exit_bar for t in trades if t.reason == "stop"]
    assert len(stopped) > 3
    for bar in stopped:
        assert not ((trades["entry_bar"] > bar) & (trades["entry_bar"] <= bar + 50)).any()


def test_independent_walks_earn_nothing_and_lose_what_trading_costs() -> None:
    free, paid, edge = [], [], []
    for seed in range(300):
        y, x = walks(1440, 1000 + seed)
        terms = {"hedge": "ols", "lookback": 240, "window": 60, "entry": 2.0, "exit": 0.5}
        made = backtest_pair(y, x, **terms, fee_bps=4, slippage_bps=1)
        paid.append(made.metrics["total_return"])
        free.append(backtest_pair(y, x, **terms).metrics["total_return"])
        edge.append(made.metrics["win_rate"])
    t_free, t_paid = (np.mean(r) / np.std(r, ddof=1) * len(r) ** 0.5 for r in (free, paid))
    print(
        f"free: mean {np.mean(free):.5f}, t {t_free:.2f}; "
        f"paid: mean {np.mean(paid):.5f}, t {t_paid:.2f}; won {np.mean(edge):.2f}"
    )
    assert abs(t_free) < 3
    assert t_paid < -5
    assert np.mean(edge) < 0.8


def test_a_planted_pair_earns_what_its_autoregression_foretells() -> None:
    """Held from the bar after the decision to the one after that, a spread s is expected to move by φ(φ - 1)s."""
    phi, noise, n = 0.9, 2e-4, 20_000
    y, x = reverting(n, 9, phi=phi, noise=noise)
    made = backtest_pair(y, x, hedge=1.0, lookback=60, window=60, entry=1.5, exit=0.0, max_holding=1)
    spread = np.log(y / x)
    assert (made.trades["exit_bar"] - made.trades["entry_bar"] == 1)[:-1].all()
    side = np.where(made.trades["side"] == "long", 1, -1)
    foretold = (side * spread[made.trades["entry_bar"] - 1]).sum() * phi * (phi - 1) * 5_000
    error = noise * (1 + (phi - 1) ** 2) ** 0.5 * 5_000 * len(side) ** 0.5
    print(f"foretold {foretold:.1f} ± {error:.1f}, earned {made.metrics['pnl']:.1f} in {len(side)} trades")
    assert abs(made.metrics["pnl"] - foretold) < 3 * error
    assert foretold > 10 * error


@pytest.mark.parametrize("hedge", ["ols", "huber", "kalman"])
def test_a_planted_pair_earns_under_every_hedge_ratio_after_costs(hedge: str) -> None:
    """The windows span several half-lives, and the spread's swings several times the costs."""
    y, x = reverting(10_000, 10, noise=2e-3, step=4e-3)
    terms: dict[str, Any] = {"lookback": 500, "window": 200, "stop": None, "max_holding": None}
    made = run(y, x, hedge=hedge, fee_bps=4, slippage_bps=1, **terms)
    assert made.metrics["pnl"] > 0
    assert made.metrics["probabilistic_sharpe"] > 0.99


def test_metrics_agree_with_the_equity_and_the_trades_and_go_to_json() -> None:
    y, x = walks(1500, 11)
    made = run(y, x, **COSTS)
    m, equity = made.metrics, made.equity["equity"]
    json.dumps([dict(m), dict(made.assumptions), [dict(t) for t in made.trades]], allow_nan=False)
    returns = equity[1:] / equity[:-1] - 1
    assert m["total_return"] == equity[-1] / 10_000 - 1
    assert m["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * 525_600**0.5, rel=1e-12)
    assert m["trades"] == len(made.trades) == made.trades["pnl"].size
    assert m["pnl"] == pytest.approx(equity[-1] - 10_000, abs=1e-9)
    assert m["pnl"] == pytest.approx(m["spread_pnl"] - m["fees"] - m["slippage"] - m["funding"], abs=1e-9)
    assert m["fees"] == pytest.approx(4 * m["slippage"], rel=1e-12)
    assert m["max_drawdown"] == made.equity["drawdown"].min()
    assert m["exposure"] == pytest.approx(sum(t.exit_bar - t.entry_bar for t in made.trades) / 1500)


def test_bars_without_a_signal_make_a_backtest_without_trades() -> None:
    made = run(*walks(300, 12), entry=50.0, stop=None)
    assert (len(made.trades), made.metrics["total_return"], made.metrics["win_rate"], made.metrics["sharpe"]) == (
        0,
        0.0,
        None,
        None,
    )
    assert (made.equity["equity"] == 10_000).all()


def test_timestamps_are_given_back_and_set_the_year() -> None:
    y, x = walks(600, 13)
    ns = np.int64(1_700_000_000_000_000_000) + np.arange(600) * np.int64(3_600_000_000_000)
    dates = pd.to_datetime(ns, utc=True)
    plain = run(y, x)
    for times in (ns, ns.astype("M8[ns]"), dates):
        made = run(y, x, timestamps=times)
        first = made.trades[0]
        assert first.entry_timestamp == times[first.entry_bar]
        assert first.exit_timestamp == times[first.exit_bar]
        assert made.assumptions["bars_per_year"] == pytest.approx(8760)
        assert made.metrics["sharpe"] == pytest.approx(plain.metrics["sharpe"] / 60**0.5)


def test_integers_are_times_in_the_unit_that_makes_them_dates() -> None:
    y, x = walks(600, 13)
    dates = pd.date_range("2025-05-01", periods=600, freq="1h", tz="UTC")
    asked = run(y, x, timestamps=dates)
    for unit in ("s", "ms", "us", "ns"):
        whole = dates.as_unit(unit).asi8
        made = run(y, x, timestamps=whole.tolist())
        assert made.metrics["sharpe"] == asked.metrics["sharpe"]
        assert made.trades[0].entry_timestamp == whole[made.trades[0].entry_bar]
    hours_of_1970 = np.arange(600) * np.int64(3_600_000_000_000)
    assert run(y, x, timestamps=hours_of_1970).metrics["sharpe"] == asked.metrics["sharpe"]


def test_numbers_of_bars_are_no_times() -> None:
    y, x = walks(600, 13)
    made, plain = run(y, x, timestamps=np.arange(5, 605)), run(y, x)
    assert made.metrics == plain.metrics
    assert made.trades[0].entry_timestamp == plain.trades[0].entry_bar + 5
    assert made.assumptions["bar_length"] == plain.assumptions["bar_length"] == "assumed to be one minute"


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its time zone in a process")
def test_dates_without_a_zone_are_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    dates = pd.date_range("2025-10-26", periods=600, freq="1min").to_pydatetime().tolist()
    monkeypatch.setenv("TZ", "Europe/Berlin")  # where 02:00 to 03:00 comes twice on that day
    time.tzset()
    try:
        made = run(*walks(600, 13), timestamps=dates)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert made.assumptions["bars_per_year"] == pytest.approx(525_600)


def test_trades_are_a_table_by_column_and_by_row() -> None:
    trades = run(*walks(900, 14)).trades
    frame = pd.DataFrame(dict(trades))
    assert frame["pnl"].sum() == trades["pnl"].sum() == pytest.approx(sum(t.pnl for t in trades))
    assert trades[-1]["return"] == frame["return"].iloc[-1]
    assert [t.side for t in trades[:2]] == frame["side"].tolist()[:2]
    with pytest.raises(AttributeError):
        _ = trades[0].nothing


def test_a_fit_that_does_not_exist_yet_trades_nothing() -> None:
    y, x = walks(400, 15)
    for hedge in ("ols", "huber", "kalman"):
        made = causal_hedge(np.log(y), np.log(x), hedge, 120)
        assert np.isnan(made.beta[:119]).all()
        assert np.isfinite(made.beta[119])
        assert run(y, x, hedge=hedge, entry=0.4).trades["entry_bar"].min() == 120


Y, X = walks(300, 16)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("entry", {"entry": 0.3}),
        ("entry", {"entry": 0.1}),
        ("exit", {"exit": -0.5}),
        ("stop", {"stop": 1.8}),
        ("stop", {"stop": 1.0}),
        ("max_holding", {"max_holding": 0}),
        ("window", {"window": 121}),
        ("window", {"window": 1}),
        ("lookback", {"lookback": 2}),
        ("lookback", {"lookback": 120.5}),
        ("y", {"lookback": 301}),
        ("y", {"y": np.r_[Y[:-1], np.nan]}),
        ("x", {"x": np.r_[X[:-1], np.inf]}),
        ("x", {"x": np.r_[X[:-1], -1.0]}),
        ("x", {"x": X[:-1]}),
        ("y", {"y": np.full(300, 5.0)}),
        ("hedge", {"hedge": "best"}),
        ("hedge", {"hedge": float("nan")}),
        ("hedge", {"hedge": True}),
        ("fee_bps", {"fee_bps": -1}),
        ("slippage_bps", {"slippage_bps": float("nan")}),
        ("funding_y", {"funding_y": np.zeros(5)}),
        ("funding_x", {"funding_x": float("nan")}),
        ("notional", {"notional": 0}),
        ("fee_bps", {"fee_bps": 1e308}),
        ("funding_y", {"funding_y": -1.5}),
        ("notional", {"notional": 1e308}),
        ("fill", {"fill": "open"}),
        ("price_space", {"price_space": "cubic"}),
        ("timestamps", {"timestamps": np.arange(5)}),
        ("timestamps", {"timestamps": np.zeros(300, np.int64)}),
        ("timestamps", {"timestamps": np.arange(300) * 0.5}),
        ("timestamps", {"timestamps": np.full(300, "NaT", "M8[ns]")}),
        ("timestamps", {"timestamps": [pd.NaT] * 300}),
        ("timestamps", {"timestamps": ["2025-05-01"] * 300}),
        ("y", {"y": ["a"] * 300}),
        ("x", {"x": None}),
        ("entry", {"entry": None}),
        ("exit", {"exit": "0.5"}),
        ("window", {"window": None}),
        ("lookback", {"lookback": "120"}),
        ("max_holding", {"max_holding": "5"}),
        ("hedge", {"hedge": None}),
        ("hedge", {"hedge": [1.0, 2.0]}),
        ("notional", {"notional": "many"}),
        ("fee_bps", {"fee_bps": "few"}),
        ("gate", {"gate": np.ones(300)}),
        ("cooldown", {"cooldown": -2}),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, terms: dict[str, Any]) -> None:
    legs = {"y": Y, "x": X, "hedge": "ols", **RULE, **terms}
    with pytest.raises(ValueError, match=f"^{name}:"):
        backtest_pair(legs.pop("y"), legs.pop("x"), **legs)
