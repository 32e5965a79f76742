"""What chance offers: surrogates that keep a leg and lose the pair, and p-values that mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from pairscope.errors import InputError
from pairscope.research.asked_backtest import run_backtest, traded_bars
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.null_backtests import (
    FEWEST_NULLS,
    NullBacktests,
    null_backtests,
    nulls_within,
    score,
    surrogate_pair,
)
from pairscope.research.pair_bars import LegBars, PairBars

PairOf = Callable[..., PairBars]
FREE = BacktestRequest("AUSDT", "BUSDT", lookback=60, window=20, fee_bps=(0.0, 0.0), slippage_bps=(0.0, 0.0))


def tried(request: BacktestRequest, bars: PairBars, **how: int) -> NullBacktests:
    used, first = traded_bars(request, bars)
    return null_backtests(request, used, first, score(run_backtest(request, bars).equity["equity"]), **how)


def test_a_surrogate_leg_makes_the_same_moves_in_another_order(pair_of: PairOf) -> None:
    bars = pair_of(500, 1, tie=0.9)
    made = surrogate_pair(bars, np.random.default_rng(0))
    for real, other in ((bars.y, made.y), (bars.x, made.x)):
        moves, others = np.diff(np.log(real.close)), np.diff(np.log(other.close))
        assert np.sort(others) == pytest.approx(np.sort(moves), abs=1e-12)
        assert (other.close[0], other.close[-1]) == pytest.approx((real.close[0], real.close[-1]))
        assert not np.allclose(others, moves)
    ties = [np.corrcoef(np.diff(np.log(of.y.close)), np.diff(np.log(of.x.close)))[0, 1] for of in (bars, made)]
    assert ties[0] > 0.6
    assert abs(ties[1]) < 0.2
    assert made.times_ns is bars.times_ns


def test_a_surrogate_keeps_the_bounce_between_bid_and_ask() -> None:
    """Neighbours that are neighbours still: four in five, as blocks of five bars have it."""
    rng = np.random.default_rng(2)
    close = 100 * np.exp(np.cumsum(rng.standard_normal(20_000)) * 1e-4 + rng.choice([-2e-4, 2e-4], 20_000))
    leg = LegBars(close, close, close, close, close)
    bars = PairBars(np.arange(close.size), "1m", leg, leg)

    def bounce(values: np.ndarray) -> float:
        moves = np.diff(np.log(values))
        return float(np.corrcoef(moves[1:], moves[:-1])[0, 1])

    assert bounce(surrogate_pair(bars, rng).y.close) == pytest.approx(0.8 * bounce(close), abs=0.03)


def test_a_surrogate_bar_keeps_its_shape(pair_of: PairOf) -> None:
    plain = pair_of(300, 3)
    close = plain.y.close
    leg = LegBars(close * 0.999, close * 1.002, close * 0.997, close, close)
    made = surrogate_pair(replace(plain, y=leg), np.random.default_rng(0)).y
    assert made.open / made.close == pytest.approx(np.full(300, 0.999))
    assert made.high / made.low == pytest.approx(np.full(300, 1.002 / 0.997))


def test_the_p_value_is_uniform_on_pairs_that_are_none(pair_of: PairOf) -> None:
    """A hundred pairs of walks against 19 surrogates each, the steps of 1/20 filled in at random."""
    rng, found = np.random.default_rng(4), []
    for seed in range(100):
        p = tried(FREE, pair_of(400, seed), nulls=19, seed=seed).pvalue
        assert p is not None
        found.append(p - rng.random() / 20)
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.13


def test_a_planted_pair_does_better_than_every_surrogate(pair_of: PairOf) -> None:
    for seed in range(5):
        made = tried(FREE, pair_of(1500, seed, tie=0.8), nulls=39)
        assert (made.pvalue, made.as_good) == (1 / 40, 0)


@pytest.mark.parametrize("method", ["ols", "huber", "kalman", "fixed"])
def test_every_hedge_ratio_is_tried_the_same_whatever_the_threads(pair_of: PairOf, method: str) -> None:
    beta = 1.2 if method == "fixed" else None
    request = replace(FREE, method=method, beta=beta, funding=True).checked()  # type: ignore[arg-type]
    bars = replace(pair_of(400, 5), funding_y=np.full(400, 1e-5))
    one, two = tried(request, bars, nulls=20, threads=1), tried(request, bars, nulls=20, threads=3)
    assert one.scores.tolist() == two.scores.tolist()
    assert np.unique(one.scores).size == 20
    assert tried(request, bars, nulls=20, seed=1).scores.tolist() != one.scores.tolist()


def test_costs_are_paid_on_surrogates_too(pair_of: PairOf) -> None:
    bars = pair_of(600, 6)
    free, dear = tried(FREE, bars, nulls=20), tried(replace(FREE, fee_bps=(20.0, 20.0)), bars, nulls=20)
    assert np.median(dear.scores) < np.median(free.scores) - 0.02


def test_surrogates_are_traded_only_from_the_first_row_on(pair_of: PairOf) -> None:
    bars = pair_of(600, 7)
    request = replace(FREE, start_ns=int(bars.times_ns[590]), entry=50.0)
    assert tried(request, bars, nulls=5).scores.tolist() == [0.0] * 5


def test_a_run_over_many_bars_gets_fewer_surrogates_but_never_too_few() -> None:
    week, year = 10_080, 525_600
    assert nulls_within(FREE, week, 199) == 199
    assert FEWEST_NULLS < nulls_within(replace(FREE, method="huber", lookback=1440), week, 1000) < 400
    assert nulls_within(replace(FREE, method="huber", lookback=1440), year, 199) == FEWEST_NULLS
    assert nulls_within(FREE, year, 5) == 5


def test_progress_is_told_and_a_cancelled_run_ends(pair_of: PairOf) -> None:
    told: list[tuple[int, int]] = []
    used, first = traded_bars(FREE, pair_of(300, 8))
    null_backtests(FREE, used, first, 0.0, nulls=7, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 7) for done in range(1, 8)]
    with pytest.raises(CancelledError):
        null_backtests(FREE, used, first, 0.0, nulls=500, cancelled=lambda: len(told) > 0)


def test_no_surrogates_give_no_p_value(pair_of: PairOf) -> None:
    assert tried(FREE, pair_of(300, 9), nulls=0).pvalue is None
    for wrong in (-1, 2.5, True):
        with pytest.raises(InputError, match="nulls"):
            tried(FREE, pair_of(300, 9), nulls=wrong)  # type: ignore[arg-type]
