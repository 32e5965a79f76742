"""Figures of doubt: each against its definition written out, and None where there is nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pairscope.analytics.backtest import Backtest
from pairscope.research.asked_backtest import run_backtest
from pairscope.research.backtest_honesty import Honesty, honesty_of
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.null_backtests import NullBacktests
from pairscope.research.pair_bars import PairBars

PairOf = Callable[..., PairBars]
ASKED = BacktestRequest("AUSDT", "BUSDT", lookback=100, window=30, fee_bps=(2.0, 6.0), slippage_bps=(1.0, 1.0))


def nulls(real: float = 0.5, count: int = 9) -> NullBacktests:
    return NullBacktests(real, np.arange(count) / 10.0, 20, 0)


@pytest.fixture
def run(pair_of: PairOf) -> Backtest:
    return run_backtest(ASKED, pair_of(3000, 1, tie=0.9))


def test_the_p_value_counts_the_result_itself(run: Backtest) -> None:
    made = honesty_of(run, nulls(), trials=1)
    assert (made.null_pvalue, made.nulls_run, made.nulls_asked) == (0.5, 9, 20)  # 0.5 to 0.8 of 0.0 to 0.8, and itself
    year = (365 * 1440) ** 0.5
    assert (made.null_score, made.null_median) == pytest.approx((0.5 * year, 0.4 * year))
    none = honesty_of(run, nulls(count=0), trials=1)
    assert (none.null_pvalue, none.null_median) == (None, None)


def test_the_interval_is_two_standard_errors_wide_and_the_probability_is_its_normal(run: Backtest) -> None:
    made, sharpe = honesty_of(run, nulls(), trials=1), run.metrics["sharpe"]
    assert made.sharpe_interval is not None
    assert made.sharpe_stderr is not None
    assert sharpe is not None
    low, high = made.sharpe_interval
    assert (low + high) / 2 == pytest.approx(sharpe)
    assert high - low == pytest.approx(2 * 1.959964 * made.sharpe_stderr, rel=1e-6)
    assert made.probabilistic_sharpe == pytest.approx(stats.norm.cdf(sharpe / made.sharpe_stderr))


def test_one_trial_deflates_nothing_and_more_deflate_more(run: Backtest) -> None:
    made = [honesty_of(run, nulls(), trials=trials) for trials in (1, 10, 1000)]
    assert made[0].deflated_sharpe == pytest.approx(made[0].probabilistic_sharpe)
    assert made[0].expected_best == 0.0
    deflated = [of.deflated_sharpe for of in made]
    assert deflated == sorted(deflated, reverse=True)
    sharpe, error = run.metrics["sharpe"], made[2].sharpe_stderr
    assert sharpe is not None
    assert error is not None
    # The best of 1,000 normal ratios is expected 3.26 of their deviations high.
    assert made[2].expected_best == pytest.approx(
        3.26 * (365 * 1440 / (made[2].effective_returns - 1)) ** 0.5, rel=0.01
    )
    assert deflated[2] == pytest.approx(stats.norm.cdf((sharpe - made[2].expected_best) / error))


def test_edge_and_cost_of_a_round_trip_are_of_what_was_entered(run: Backtest) -> None:
    made, trades = honesty_of(run, nulls(), trials=1), run.trades
    entered = sum(abs(t.quantity_y) * t.entry_price_y + abs(t.quantity_x) * t.entry_price_x for t in trades)
    assert made.edge_bps == pytest.approx(1e4 * sum(t.spread_pnl for t in trades) / entered)
    assert made.cost_bps == pytest.approx(1e4 * sum(t.fees + t.slippage for t in trades) / entered)
    assert 6.0 < made.cost_bps < 14.0
    each = [1e4 * t.spread_pnl / t.entry_value for t in trades]
    assert made.edge_stderr_bps == pytest.approx(stats.sem(each), rel=0.05)
    assert made.funding_bps == 0.0


def test_at_the_break_even_cost_nothing_is_left(pair_of: PairOf, run: Backtest) -> None:
    level = honesty_of(run, nulls(), trials=1).break_even_bps
    assert level is not None
    terms = replace(ASKED, fee_bps=(level, level), slippage_bps=(0.0, 0.0))
    assert run_backtest(terms, pair_of(3000, 1, tie=0.9)).metrics["pnl"] == pytest.approx(0.0, abs=1e-6)


def test_returns_that_follow_each_other_widen_the_error(run: Backtest) -> None:
    rng, drift = np.random.default_rng(2), np.zeros(3000)
    for t in range(1, 3000):
        drift[t] = 0.4 * drift[t - 1] + rng.standard_normal()
    trend = replace(run, equity={**run.equity, "equity": 10_000.0 + np.cumsum(drift)})
    made = honesty_of(trend, nulls(), trials=1)
    assert made.returns == 2999
    assert made.effective_returns == pytest.approx(2999 * 0.6 / 1.4, rel=0.25)


def test_a_run_without_trades_says_nothing_it_does_not_know(pair_of: PairOf) -> None:
    idle = run_backtest(replace(ASKED, entry=90.0), pair_of(500, 3))
    made = honesty_of(idle, nulls(0.0), trials=5)
    unknown = ("sharpe_stderr", "sharpe_interval", "probabilistic_sharpe", "deflated_sharpe", "edge_bps", "cost_bps")
    assert all(getattr(made, name) is None for name in unknown)
    lost = replace(idle, equity={**idle.equity, "equity": np.linspace(100.0, -5.0, 500)})
    assert honesty_of(lost, nulls(), trials=1).sharpe_stderr is None


def test_the_document_has_every_figure_by_its_name(run: Backtest) -> None:
    document = honesty_of(run, nulls(), trials=3).document()
    assert set(document) == set(Honesty.__dataclass_fields__)
    assert isinstance(document["sharpe_interval"], list)
