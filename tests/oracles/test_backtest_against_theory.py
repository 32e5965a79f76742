"""A planted Ornstein-Uhlenbeck pair earns what first-passage theory says: money a trade, and bars between trades.

Sampled once a bar such a spread is an autoregression, s' = φ s + noise. A rule that enters at |s| >= a and leaves when
the spread has come back to b makes a chain of two phases, each of which ends when it first leaves a region. Their
occupation times and exit laws solve linear equations, on a grid here; nothing is simulated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import norm

from pairscope.analytics.backtest import backtest_pair


class Cycle(NamedTuple):
    """What a trade gains in standard deviations of the spread, and how many bars lie between two decisions to enter."""

    gain: float
    bars: float


def theory(phi: float, a: float, b: float, *, delay: int, cell: float = 0.025) -> Cycle:
    """Solve the chain of entries and exits of an autoregression of variance 1; thresholds are edges of cells."""
    grid = (np.arange(-280, 280) + 0.5) * cell
    noise = (1 - phi * phi) ** 0.5
    move = norm.pdf(grid[None, :], phi * grid[:, None], noise) * cell
    flat, held = np.abs(grid) < a, grid < -b
    # All positions are turned so that they are long: entered at or below -a, left at or above -b.
    wait = np.linalg.inv(np.eye(flat.sum()) - move[np.ix_(flat, flat)])
    hold = np.linalg.inv(np.eye(held.sum()) - move[np.ix_(held, held)])
    left = np.where(grid >= -b, norm.pdf(grid), 0.0)
    left /= left.sum()
    for _ in range(200):
        first = left @ move
        waited = first[flat] @ wait
        entered = np.where(flat, 0.0, first) + waited @ move[flat] * ~flat
        entered = np.where(grid < 0, entered + entered[::-1], 0.0)
        first_held = entered @ move
        stayed = first_held[held] @ hold
        new = np.where(held, 0.0, first_held) + stayed @ move[held] * ~held
        if np.abs(new - left).max() < 1e-14:
            break
        left = new
    gain = phi**delay * float((left - entered) @ grid)
    return Cycle(gain, 1.0 + float(waited.sum()) + 1.0 + float(stayed.sum()))


def planted(n: int, seed: int, phi: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Prices of a pair whose spread in logs is an autoregression about 0 of standard deviation ``sigma``."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(n) * sigma * (1 - phi * phi) ** 0.5
    spread = np.empty(n)
    spread[0] = noise[0]
    for t in range(1, n):
        spread[t] = phi * spread[t - 1] + noise[t]
    x = 50 * np.exp(np.cumsum(rng.standard_normal(n) * 1e-4))
    return x * np.exp(spread), x


def test_theory_itself_is_right_where_the_answer_is_known() -> None:
    """Without memory every bar is a draw anew: waits are geometric, laws are those of a normal cut off."""
    found = theory(0.0, 1.5, 0.5, delay=0)
    enters, leaves = 2 * norm.sf(1.5), norm.sf(-0.5)
    assert found.bars == pytest.approx(1 / enters + 1 / leaves, rel=1e-3)
    assert found.gain == pytest.approx(norm.pdf(-0.5) / leaves + 2 * norm.pdf(1.5) / enters, rel=1e-3)


@pytest.mark.parametrize(
    ("phi", "a", "b", "fill"),
    [(0.9, 1.5, 0.0, "next"), (0.8, 2.0, 0.5, "next"), (0.7, 1.0, 0.25, "next"), (0.8, 2.0, 0.5, "same")],
)
def test_a_planted_pair_earns_what_first_passage_theory_says(phi: float, a: float, b: float, fill: Any) -> None:
    """The window is many memories long: its mean and deviation stray from the true ones by a share of (1+φ)/(1-φ)w."""
    sigma, n, notional = 2e-3, 40_000, 10_000.0
    y, x = planted(n, 11, phi, sigma)
    made = backtest_pair(
        y, x, hedge=1.0, lookback=3000, window=3000, entry=a, exit=b, fill=fill, notional=notional, fee_bps=1.0
    )
    truth = theory(phi, a, b, delay=int(fill == "next"))
    foretold = notional / 2 * sigma * truth.gain - 2 * notional * 1e-4
    earned = made.trades["pnl"][:-1]
    error = earned.std(ddof=1) / earned.size**0.5
    bars = np.diff(made.trades["entry_decided"][:-1])
    bars_error = bars.std(ddof=1) / bars.size**0.5
    print(
        f"φ {phi}, enter {a}, leave {b}, {fill}: {earned.size} trades earned {earned.mean():.3f} ± {error:.3f} each, "
        f"foretold {foretold:.3f}; every {bars.mean():.2f} ± {bars_error:.2f} bars, foretold {truth.bars:.2f}"
    )
    assert earned.size > 600
    assert abs(earned.mean() - foretold) < 3 * error
    assert abs(bars.mean() - truth.bars) < 3 * bars_error
    assert foretold > 0
