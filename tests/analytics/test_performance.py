"""What a backtest earned: each ratio against its definition written out, and the published examples."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import numpy as np
import pytest

from pairscope.analytics.performance import (
    deflated_sharpe,
    drawdowns,
    effective_returns,
    expected_best_sharpe,
    longest_drawdown,
    performance,
    probabilistic_sharpe,
    return_shape,
    sharpe_stderr,
    sortino,
    sortino_stderr,
    tail_ratio,
)

COLUMNS = ("pnl", "entry_bar", "exit_bar", "entry_value", "exit_value", "spread_pnl", "fees", "slippage", "funding")
DAYS = 365.0


def no_trades() -> dict[str, np.ndarray]:
    return {name: np.empty(0) for name in COLUMNS}


def test_sharpe_and_sortino_are_the_textbook_s_with_a_year_of_365_days() -> None:
    equity = 100 * np.cumprod(1 + np.random.default_rng(1).normal(0.001, 0.01, 400))
    returns = [b / a - 1 for a, b in itertools.pairwise(equity)]
    made = performance(equity, no_trades(), bars_per_year=DAYS)
    mean = statistics.fmean(returns)
    below = math.sqrt(statistics.fmean(min(r, 0) ** 2 for r in returns))
    assert made["sharpe"] == pytest.approx(mean / statistics.stdev(returns) * math.sqrt(365), rel=1e-12)
    assert made["sortino"] == pytest.approx(mean / below * math.sqrt(365), rel=1e-12)
    assert made["annual_return"] == pytest.approx((equity[-1] / equity[0] - 1) * 365 / 399, rel=1e-12)
    assert made["calmar"] == pytest.approx(made["annual_return"] / -made["max_drawdown"], rel=1e-12)


def test_the_shape_of_returns_is_that_of_scipy() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    returns = np.random.default_rng(2).standard_t(4, 500) * 0.01 + 0.002
    shape = return_shape(returns)
    assert shape.skew == pytest.approx(scipy_stats.skew(returns), rel=1e-12)
    assert shape.kurtosis == pytest.approx(scipy_stats.kurtosis(returns, fisher=False), rel=1e-12)


def test_the_standard_error_is_the_spread_of_the_ratio_over_many_samples() -> None:
    rng = np.random.default_rng(3)
    draws = rng.gamma(2.0, 1.0, (4000, 250)) - 1.7
    ratios = draws.mean(1) / draws.std(1, ddof=1)
    true = 0.3 / math.sqrt(2.0)
    assert ratios.std() == pytest.approx(sharpe_stderr(true, 250, skew=math.sqrt(2.0), kurtosis=6.0), rel=0.04)


def test_the_standard_error_of_sortino_is_the_spread_of_that_ratio_over_many_samples() -> None:
    draws = np.random.default_rng(5).standard_t(6, (4000, 400)) + 0.2
    ratios = draws.mean(1) / np.sqrt((np.minimum(draws, 0.0) ** 2).mean(1))
    claimed = np.mean([sortino_stderr(draw) for draw in draws[:400]])
    assert ratios.std() == pytest.approx(claimed, rel=0.05)
    assert sortino_stderr(1000.0 * draws[0]) == pytest.approx(sortino_stderr(draws[0]), rel=1e-9)
    assert sortino_stderr(np.array([1.0, 2.0, 3.0])) is None


def test_returns_that_follow_each_other_count_as_fewer() -> None:
    """An autoregression of coefficient 0.6 tells as much of its mean as a quarter of its values would."""
    rng, made = np.random.default_rng(6), np.zeros(40_000)
    noise = rng.standard_normal(made.size)
    for t in range(1, made.size):
        made[t] = 0.6 * made[t - 1] + noise[t]
    assert effective_returns(made, 60) == pytest.approx(made.size * 0.4 / 1.6, rel=0.08)
    assert effective_returns(noise, 0) == noise.size
    assert effective_returns(np.tile([1.0, -1.0], 50), 5) == 100.0
    assert effective_returns(np.full(10, 0.1), 5) == 10.0


def test_the_probabilistic_sharpe_ratio_of_the_published_examples() -> None:
    assert probabilistic_sharpe(0.458, 24) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164) == pytest.approx(0.913, abs=5e-4)


def test_the_deflated_sharpe_ratio_of_the_published_example() -> None:
    a_day = 2.5 / math.sqrt(250)
    terms = {"variance": 0.5 / 250, "skew": -3.0, "kurtosis": 10.0}
    assert expected_best_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(a_day, 1250, trials=100, **terms) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(a_day, 1250, trials=46, **terms) == pytest.approx(0.9505, abs=5e-5)


def test_the_expected_best_of_many_trials_is_what_chance_brings() -> None:
    best = np.random.default_rng(4).standard_normal((20_000, 50)).max(1).mean()
    assert expected_best_sharpe(50, 1.0) == pytest.approx(best, rel=0.02)
    assert expected_best_sharpe(1, 1.0) == 0.0


def test_drawdowns_are_measured_from_the_running_peak() -> None:
    equity = np.array([100.0, 110.0, 99.0, 104.5, 121.0, 60.5])
    assert drawdowns(equity).tolist() == pytest.approx([0, 0, -0.1, -0.05, 0, -0.5])
    assert longest_drawdown(equity) == 2
    assert longest_drawdown(np.array([1.0, 2.0, 3.0])) == 0


def test_the_tail_ratio_compares_gains_with_losses_of_bars_that_moved() -> None:
    assert tail_ratio(np.array([-1.0, 0.0, 0.0, 2.0])) == pytest.approx((-1 + 0.95 * 3) / (1 - 0.05 * 3))
    assert tail_ratio(np.zeros(5)) is None
    assert sortino(np.array([0.0, 1.0])) is None


@pytest.mark.parametrize(
    "equity", [[1.0, 1.0, 1.0], [1.0, 1.0], [1.0, 2.0, 3.0], [1.0, 0.0, -1.0], [5.0, -3.0], [1.0, 2.0, 4.0, 8.0]]
)
def test_what_is_not_defined_is_none_and_everything_goes_to_json(equity: list[float]) -> None:
    made = performance(np.array(equity), no_trades(), bars_per_year=DAYS)
    json.dumps(made, allow_nan=False)
    assert made["win_rate"] is None
    assert made["profit_factor"] is None


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("equity", lambda: drawdowns(np.array([1.0, np.nan]))),
        ("equity", lambda: performance(np.array([0.0, 1.0]), no_trades(), bars_per_year=DAYS)),
        ("bars_per_year", lambda: performance(np.array([1.0, 2.0]), no_trades(), bars_per_year=0.0)),
        ("returns", lambda: sortino(np.array([np.inf]))),
        ("n", lambda: sharpe_stderr(0.1, 1)),
        ("sharpe", lambda: probabilistic_sharpe(float("nan"), 10)),
        ("benchmark", lambda: probabilistic_sharpe(0.1, 10, benchmark=float("nan"))),
        ("trials", lambda: expected_best_sharpe(0, 1.0)),
        ("variance", lambda: deflated_sharpe(0.1, 10, trials=5, variance=-1.0)),
    ],
)
def test_bad_input_is_refused_by_name(name: str, call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"^{name}: "):
        call()
