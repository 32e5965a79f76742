"""The probability of backtest overfitting: as its authors define it, and where their paper says what must come out."""

from __future__ import annotations

from itertools import combinations
from math import log

import numpy as np
import pytest
from scipy.stats import linregress, rankdata

from pairscope.analytics.overfitting import cross_validate, split_halves
from pairscope.analytics.performance import deflated_sharpe, expected_best_sharpe
from pairscope.errors import InputError, NotEnoughData


def by_the_paper(returns: np.ndarray, blocks: int) -> list[tuple[int, float, float, float]]:
    """Section 2.2, step by step, in plain NumPy: chosen, Sharpe ratio inside and outside, logit, of every split."""
    parts = np.split(returns[len(returns) % blocks :], blocks)
    found = []
    for inside in combinations(range(blocks), blocks // 2):
        outside = [b for b in range(blocks) if b not in inside]
        one, two = (np.concatenate([parts[b] for b in half]) for half in (inside, outside))
        sharpe = [half.mean(axis=0) / half.std(axis=0, ddof=1) for half in (one, two)]
        chosen = int(np.argmax(sharpe[0]))
        omega = rankdata(sharpe[1])[chosen] / (returns.shape[1] + 1)
        found.append((chosen, sharpe[0][chosen], sharpe[1][chosen], log(omega / (1 - omega))))
    return found


@pytest.mark.parametrize(("bars", "trials", "blocks"), [(200, 7, 8), (167, 20, 6), (64, 2, 4)])
def test_every_split_is_judged_as_the_paper_does(bars: int, trials: int, blocks: int) -> None:
    returns = np.random.default_rng(bars).standard_t(4, (bars, trials)) * 0.01 + np.linspace(0, 1e-3, trials)
    truth = sorted(by_the_paper(returns, blocks))
    made = cross_validate(returns, blocks=blocks)
    ours = sorted(zip(*(x.tolist() for x in (*made.choices[:3], made.logits)), strict=True))
    np.testing.assert_allclose(ours, truth, rtol=1e-9, atol=1e-12)
    logits = np.array([split[3] for split in truth])
    line = linregress([split[1] for split in truth], [split[2] for split in truth])
    assert made.pbo == pytest.approx((logits <= 1e-12).mean())
    assert made.loss == pytest.approx(np.mean([split[2] < 0 for split in truth]))
    assert (made.slope, made.intercept) == pytest.approx((line.slope, line.intercept))
    assert (made.trials, made.blocks) == (trials, blocks)


def test_sixteen_blocks_make_12870_splits() -> None:
    """The paper's own count for S = 16."""
    assert 2 * len(split_halves(16)) == 12_870


def test_the_paper_s_overfit_by_construction_has_a_probability_of_one() -> None:
    """Returns of no skill, each column re-centred to a mean of zero: what is won in one half is lost in the other."""
    for seed in range(5):
        returns = np.random.default_rng(seed).standard_normal((1000, 100))
        made = cross_validate(returns - returns.mean(axis=0), blocks=16)
        assert made.pbo > 0.99
        assert made.slope < -0.5
        assert made.loss > 0.99


def test_without_skill_and_without_compensation_the_best_is_as_good_as_any_other_after() -> None:
    pbo = [cross_validate(np.random.default_rng(s).standard_normal((320, 40)), blocks=8).pbo for s in range(60)]
    assert np.mean(pbo) == pytest.approx(0.5, abs=4 * np.std(pbo) / 60**0.5)


def test_one_trial_of_real_skill_among_noise_is_found_again_after() -> None:
    returns = np.random.default_rng(1).standard_normal((1000, 100)) * 0.01
    returns[:, 37] += 0.003
    made = cross_validate(returns)
    assert made.pbo < 0.01
    assert set(made.choices.chosen.tolist()) == {37}


def test_columns_that_never_vary_are_no_trials() -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((160, 5))
    idle = np.column_stack([np.zeros(160), noise, np.full(160, 0.5)])
    with_idle, without = cross_validate(idle, blocks=8), cross_validate(noise, blocks=8)
    assert (with_idle.pbo, with_idle.trials) == (without.pbo, 5)
    np.testing.assert_array_equal(with_idle.choices.chosen, without.choices.chosen + 1)


def test_trials_that_are_the_same_share_their_rank() -> None:
    noise = np.random.default_rng(3).standard_normal(160)
    made = cross_validate(np.column_stack([noise, noise, noise]), blocks=8)
    assert set(made.choices.rank.tolist()) == {2.0}
    assert (set(made.logits.tolist()), made.pbo) == ({0.0}, 1.0)


def test_a_half_in_which_a_trial_rests_counts_as_a_ratio_of_zero() -> None:
    rng = np.random.default_rng(4)
    loser = rng.standard_normal(80) - 5.0
    rests = np.r_[rng.standard_normal(40) - 1.0, np.zeros(40)]
    made = cross_validate(np.column_stack([loser, rests]), blocks=2)
    assert made.choices.chosen.tolist() == [1, 1]
    assert made.choices.outside[0] == 0.0


@pytest.mark.parametrize(
    ("returns", "blocks", "name"),
    [
        (np.zeros(10), 2, "returns"),
        (np.full((64, 3), np.nan), 4, "returns"),
        (np.random.default_rng(0).standard_normal((64, 1)), 4, "returns"),
        (np.zeros((64, 3)), 4, "returns"),
        (np.random.default_rng(0).standard_normal((7, 3)), 4, "returns"),
        (np.random.default_rng(0).standard_normal((64, 3)), 5, "blocks"),
        (np.random.default_rng(0).standard_normal((64, 3)), 22, "blocks"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_its_name(returns: np.ndarray, blocks: int, name: str) -> None:
    with pytest.raises((InputError, NotEnoughData), match=name):
        cross_validate(returns, blocks=blocks)


def test_the_deflated_sharpe_ratio_is_that_of_its_authors_example() -> None:
    """Bailey & López de Prado (2014), pp. 9-10: 2.5 a year over five years of days, best of 100 with variance 1/2."""
    assert expected_best_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    terms = {"variance": 0.5 / 250, "skew": -3.0, "kurtosis": 10.0}
    assert deflated_sharpe(2.5 / 250**0.5, 1250, trials=100, **terms) == pytest.approx(0.9004, abs=5e-5)
    # And of 46 independent trials it would have passed at 95 %, says the paper.
    assert deflated_sharpe(2.5 / 250**0.5, 1250, trials=46, **terms) == pytest.approx(0.9505, abs=5e-5)
