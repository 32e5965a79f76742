"""Finds the break sentinel's thresholds by simulation: ``python scripts/calibrate_sentinel.py [--jobs 2] [--quick]``.

Unbroken pairs are made (a random walk, and an independent autoregressive spread, Gaussian both), the sentinel is
trained on one half of each and watches the other. The thresholds are those at which, whatever the half-life from that
of a sixth of the bars trained on down to none at all, the stated share of the pairs ever exceeds them. Prints
``THRESHOLDS`` of ``pairscope/analytics/sentinel_table.py``, then the shares on pairs made anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numba
import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.sentinel import (
    REVERSION,
    STATISTIC,
    STATUS,
    SentinelStatus,
    sentinel_step,
    sentinel_train,
)
from pairscope.analytics.sentinel_table import LEAST_REVERSION, PLACES, RATES, TRAINS, alarm_threshold, knots

F8 = NDArray[np.float64]
Population = tuple[F8, F8]
"""Of each pair: the reversion found in training, and the highest statistic in the horizon, 0 without a verdict."""

SPEEDS = 8
"""Half-lives of the simulated pairs, for each length of training."""
SOFT = 0.015
"""Relative width at which an alarm is counted softly while the thresholds are sought."""
SMOOTH = 0.6
"""Weight of the curvature of the logarithm of the thresholds, against relative errors of the rate."""


@numba.njit
def peak(state: F8, y: F8, x: F8) -> float:
    """Step a trained sentinel through the bars and return the highest statistic."""
    highest = 0.0
    for t in range(y.size):
        sentinel_step(state, y[t], x[t])
        highest = max(highest, state[STATISTIC])
    return highest


@numba.njit
def autoregression(noise: F8, phi: float) -> F8:
    """Return the stationary first-order autoregression that the noise drives."""
    out = np.empty(noise.size)
    out[0] = noise[0] / np.sqrt(1.0 - phi * phi)
    for t in range(1, noise.size):
        out[t] = phi * out[t - 1] + noise[t]
    return out


def watch(train: int, phi: float, pairs: int, seed: Sequence[int]) -> Population:
    """Make unbroken pairs, train on ``train`` bars of each, and watch as many."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(pairs):
        walk, noise = rng.standard_normal((2, 2 * train))
        x = np.cumsum(walk)
        y = x + autoregression(noise, phi)
        state = sentinel_train(y[:train], x[:train])
        watched = state[STATUS] != SentinelStatus.NO_VERDICT
        found.append((state[REVERSION], peak(state, y[train:], x[train:]) if watched else 0.0))
    reversion, highest = np.array(found).T
    return reversion, highest


def speeds(train: int) -> F8:
    """Return the autoregressive coefficients that are simulated: half-life of a sixth of the bars, down to none."""
    slowest = 1.0 - 2.0 ** (-6.0 / train)
    return np.asarray(1.0 - np.geomspace(slowest, 1.0, SPEEDS))


def share(population: Population, log_thresholds: F8, train: int) -> float:
    """Return the share of a population that reaches the thresholds, counted softly."""
    reversion, highest = population
    thresholds = np.interp(np.log(np.maximum(reversion, 1.0)), np.log(knots(train)), log_thresholds)
    excess = (np.log(np.maximum(highest, 1e-9)) - thresholds) / SOFT
    return float(np.mean(1.0 / (1.0 + np.exp(-np.clip(excess, -30.0, 30.0)))))


def solve(populations: Sequence[Population], train: int, rate: float) -> F8:
    """Return the thresholds at the knots, by Gauss-Newton on the logarithms of the shares."""
    pooled = np.concatenate([highest for _, highest in populations])
    answer = np.full(len(PLACES), np.log(np.quantile(pooled, 1.0 - rate)))
    places = np.array(PLACES)
    bend = np.zeros((len(PLACES) - 2, len(PLACES)))
    for i in range(len(PLACES) - 2):
        a, b = places[i + 1] - places[i], places[i + 2] - places[i + 1]
        bend[i, i : i + 3] = SMOOTH * 0.1 * np.array([1 / a, -1 / a - 1 / b, 1 / b])

    def error(at: F8) -> F8:
        shares = np.array([share(one, at, train) for one in populations])
        return np.concatenate([np.log((shares + 0.02 * rate) / (1.02 * rate)), bend @ at])

    for _ in range(25):
        here = error(answer)
        jacobian = np.column_stack([(error(answer + step) - here) / 0.02 for step in 0.02 * np.eye(len(PLACES))])
        change = np.linalg.solve(jacobian.T @ jacobian + 1e-3 * np.eye(len(PLACES)), -jacobian.T @ here)
        answer = answer + np.clip(change, -0.3, 0.3)
    return np.asarray(np.exp(answer))


def calibrate(train: int, pairs: int, rates: Sequence[float] = RATES) -> F8:
    """Return the thresholds of one length of training, ``[rate][knot]``, none below that of a higher rate."""
    populations = [watch(train, phi, pairs, [1, train, i]) for i, phi in enumerate(speeds(train))]
    found = np.array([solve(populations, train, rate) for rate in rates])
    return np.asarray(np.maximum.accumulate(found, axis=0))


def check(train: int, pairs: int) -> list[str]:
    """Return what the thresholds that are in use give on pairs made anew."""
    lines = []
    for i, phi in enumerate(speeds(train)):
        reversion, highest = watch(train, phi, pairs, [2, train, i])
        shares = [np.mean(highest > [alarm_threshold(kappa, train, rate) for kappa in reversion]) for rate in RATES]
        half_life = f"{np.log(0.5) / np.log(phi):8.1f}" if phi > 0 else "       0"
        watched = f"{np.mean(reversion >= LEAST_REVERSION):7.1%}"
        lines.append(f"{train:6d} {half_life} {watched} " + " ".join(f"{one:7.2%}" for one in shares))
    return lines


def main() -> None:
    """Print the table, or with ``--check`` what the table in use gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the pairs, to see that it runs")
    parser.add_argument("--check", action="store_true", help="measure the table in use in place of making one")
    options = parser.parse_args()
    pairs = [int(min(6000, 8_000_000 / train)) // (50 if options.quick else 1) for train in TRAINS]
    with ProcessPoolExecutor(options.jobs) as pool:
        if options.check:
            print(" train half-life watched " + " ".join(f"{rate:7.1%}" for rate in RATES))
            for lines in pool.map(check, TRAINS, [count // 2 for count in pairs]):
                print("\n".join(lines), flush=True)
            return
        table = np.array(list(pool.map(calibrate, TRAINS, pairs))).swapaxes(0, 1)
    print("THRESHOLDS: Final = (")
    for rate, block in zip(RATES, table, strict=True):
        print(f"    (  # {rate:.1%}")
        for row in block:
            print(f"        ({', '.join(f'{value:.3f}' for value in row)}),")
        print("    ),")
    print(")")


if __name__ == "__main__":
    main()
