"""The break sentinel: a sequential test that tells a spread that strayed far from a pair that is none any more.

A z-score says how far the spread is; it cannot say whether it will come back. The sentinel asks each bar whether the
step just taken fits the reversion that was trained or a random walk better, and adds up the evidence (Page's CUSUM). A
far excursion that comes back speaks for the pair; a spread that has stopped to revert speaks against it, near or far.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from pairscope.analytics.price_stats import checked
from pairscope.analytics.sentinel_table import LEAST_REVERSION, LEAST_TRAIN, MOST_TRAIN, alarm_threshold
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "ALARM",
    "BARS",
    "REVERSION",
    "SENTINEL_STATE",
    "STATISTIC",
    "STATUS",
    "THRESHOLD",
    "WARN_THRESHOLD",
    "BreakSentinel",
    "SentinelStatus",
    "break_sentinel",
    "sentinel_step",
    "sentinel_train",
]


class SentinelStatus(IntEnum):
    """What the sentinel says at a bar.

    ``NO_VERDICT``: in training the spread reverted too weakly for its end to be noticed; it was hardly a pair.
    ``WARNED`` holds as long as the statistic is above the warning's threshold, ``TRIPPED`` for good. ``EXPIRED``: the
    horizon, as many bars as were trained on, has passed without an alarm, and the stated rate with it: train anew.
    """

    TRAINING = 0
    WATCHING = 1
    WARNED = 2
    TRIPPED = 3
    NO_VERDICT = 4
    EXPIRED = 5


STATISTIC: Final = 0
"""Where in a state the CUSUM stands."""
THRESHOLD: Final = 1
"""Where in a state the alarm's threshold stands."""
WARN_THRESHOLD: Final = 2
"""Where in a state the warning's threshold stands."""
STATUS: Final = 3
"""Where in a state the :class:`SentinelStatus` stands."""
BARS: Final = 4
"""Where in a state the count of bars since training stands."""
ALARM: Final = 5
"""Where in a state stands which bar since training alarmed, the first being 0; -1 while none has."""
REVERSION: Final = 6
"""Where in a state stands the trained speed of reversion times the bars trained on (:math:`\\kappa`)."""

_HORIZON: Final = 7
_MEAN_Y, _MEAN_X, _BETA, _SCALE_X, _SCALE = 8, 9, 10, 11, 12
_PULL, _LEVEL, _SLOPE = 13, 14, 15
_P_LEVEL, _P_BOTH, _P_SLOPE = 16, 17, 18
_VARIANCE, _QUICK, _SPREAD, _DISTANCE = 19, 20, 21, 22
_LAGS: Final = 4
_SHARED, _GAMMA, _STEPS = 23, 24, 24 + _LAGS
SENTINEL_STATE: Final = 24 + 2 * _LAGS
"""The length of a state: float64, flat."""

_SHRINK: Final = 0.5
"""Share of the estimated reversion that is held against the random walk: least squares makes it too fast."""
_DECAY: Final = 0.97
"""Of the variance of the steps, which follows quiet and wild hours."""
_QUICK_DECAY: Final = 0.8
"""Of the variance of the last few steps."""
_TAILS: Final = 4.0
"""Degrees of freedom of the steps' t distribution: prices jump, and one jump must prove little."""
_CLIP: Final = 5.0
"""Standard deviations at which a step is cut before level, slope and variance learn from it."""
_LEAST_VARIANCE: Final = 0.25
"""Of the trained variance: below that a quiet market is a stale one."""
_FAR: Final = 1e6
"""Standard deviations at which a value is cut, so that no square overflows."""

_WATCHING, _WARNED, _TRIPPED = 1.0, 2.0, 3.0
_NO_VERDICT, _EXPIRED = 4.0, 5.0


@dataclass(frozen=True, slots=True, eq=False)
class BreakSentinel:
    """The sentinel's readings, a value a bar.

    ``statistic``: the CUSUM, NaN in training and without a verdict; ``threshold`` and ``warn_threshold``: NaN in
    training; ``status``: codes of :class:`SentinelStatus`; ``tripped_at``: the bar of the alarm, None without one.
    ``reversion``: the trained speed of reversion times the bars trained on.
    """

    statistic: F8
    threshold: F8
    warn_threshold: F8
    status: np.ndarray[tuple[int], np.dtype[np.int8]]
    tripped_at: int | None
    reversion: float


def break_sentinel(y: F8, x: F8, *, train: int, rate: float = 0.01, warn_rate: float = 0.05) -> BreakSentinel:
    r"""Return for each bar whether a pair, trained on the first ``train`` bars, is still one.

    Null hypothesis: the error correction of training goes on (:func:`sentinel_train` says which). Alternative: from
    some bar on the spread no longer reverts. Each bar after training adds the log-likelihood ratio of its step,

    .. math:: W_t = \max\bigl(0,\ W_{t-1} + \ln f_1(\Delta s_t) - \ln f_0(\Delta s_t)\bigr), \qquad
        f_0 = t_4(c_t + b_t x_{t-1} - a s_{t-1} + m_t,\ \sigma_t^2 (1 + \rho_t)),
        \quad f_1 = t_4(m_t,\ \sigma_t^2)

    with :math:`m_t = d \Delta x_t + \sum \gamma_i \Delta s_{t-i}`, which both expect; t densities of four degrees of
    freedom, so that a jump proves little; level c and slope b learnt on, bar by bar (recursive least squares,
    :math:`\rho_t` their uncertainty); :math:`\sigma_t` by exponential weights from the bars before. An alarm is
    :math:`W_t > h`. Of unbroken pairs the share ``rate`` (0.005 to 0.1) alarms within the horizon, the ``train`` bars
    after training; ``warn_rate`` likewise warns. The threshold h was found by simulation for 50 to 10,000 bars of
    training. Where the spread reverted too weakly in training there is no verdict (and no alarm). ``y`` and ``x`` are
    taken as they are: pass logarithms of prices.

    Warm-up: ``train`` bars. NaN, infinities, unequal lengths, fewer than ``train`` bars and a training span that is
    constant or without noise raise ``ValueError`` naming the argument. O(n). References: Page (1954), *Continuous
    Inspection Schemes*; Brown, Durbin & Evans (1975), *Techniques for Testing the Constancy of Regression
    Relationships over Time*; Lorden (1971), *Procedures for Reacting to a Change in Distribution*.

    >>> steps = np.random.default_rng(1).standard_normal((2, 400))
    >>> x = np.cumsum(steps[0])
    >>> broken = np.concatenate([steps[1, :300], np.cumsum(steps[1, 300:])])
    >>> break_sentinel(0.5 * x + steps[1], x, train=200).tripped_at
    >>> break_sentinel(0.5 * x + broken, x, train=200).tripped_at
    304
    """
    size = _bars(train)
    left, right = checked(y, "y", need=size, constant=True), checked(x, "x", need=size, constant=True)
    if left.size != right.size:
        raise InputError(f"y: has {left.size} values, x has {right.size}", loc="y")
    state = sentinel_train(left[:size], right[:size], rate=rate, warn_rate=warn_rate)
    readings = np.full((4, left.size), np.nan)
    readings[3] = SentinelStatus.TRAINING
    _run(state, left, right, size, readings)
    tripped = None if state[ALARM] < 0.0 else size + int(state[ALARM])
    status = readings[3].astype(np.int8)
    return BreakSentinel(readings[0], readings[1], readings[2], status, tripped, float(state[REVERSION]))


def sentinel_train(y: F8, x: F8, *, rate: float = 0.01, warn_rate: float = 0.05) -> F8:
    r"""Return the state of a sentinel that was trained on all bars given and has watched none.

    The spread s is what ordinary least squares of ``y`` on ``x`` leaves; its error correction

    .. math:: \Delta s_t = c + b x_{t-1} - a s_{t-1} + d \Delta x_t
        + \sum_{i=1}^{p} \gamma_i \Delta s_{t-i} + \varepsilon_t

    is fitted by least squares with p of 0 to 4 by Akaike's criterion. Half of a is held against the random
    walk, since least squares finds too fast a reversion; :math:`\kappa = n a / (1 - \sum \gamma_i)`, the reversion
    over the whole of training, sets the thresholds, and below 10 there is no verdict. A state is ``SENTINEL_STATE``
    numbers; its readings stand at ``STATISTIC``, ``THRESHOLD``, ``WARN_THRESHOLD``, ``STATUS``, ``BARS``, ``ALARM``
    and ``REVERSION``. NaN, infinities, unequal lengths, a constant series, less than 50 or more than 10,000 bars and
    a spread without noise raise ``ValueError`` naming the argument. O(n).

    >>> steps = np.random.default_rng(1).standard_normal((2, 200))
    >>> x = np.cumsum(steps[0])
    >>> state = sentinel_train(0.5 * x + steps[1], x)
    >>> len(state) == SENTINEL_STATE, SentinelStatus(int(state[STATUS])).name
    (True, 'WATCHING')
    """
    left, right = checked(y, "y", need=LEAST_TRAIN), checked(x, "x", need=LEAST_TRAIN)
    size = _bars(left.size)
    if left.size != right.size:
        raise InputError(f"y: has {left.size} values, x has {right.size}", loc="y")
    state = np.zeros(SENTINEL_STATE)
    state[ALARM], state[_HORIZON] = -1.0, size
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        _fit(left, right, state)
    if not np.isfinite(state).all():
        raise DegenerateSeries("y: values too large or too small to compute with", loc="y")
    reversion = float(state[REVERSION])
    state[THRESHOLD] = alarm_threshold(reversion, size, rate)
    state[WARN_THRESHOLD] = alarm_threshold(reversion, size, warn_rate)
    watched = reversion >= LEAST_REVERSION
    state[STATUS] = SentinelStatus.WATCHING if watched else SentinelStatus.NO_VERDICT
    state[STATISTIC] = 0.0 if watched else np.nan
    return state


@kernel
def sentinel_step(state: F8, y: float, x: float) -> None:  # pragma: no cover - compiled
    """Let a trained state see one more bar, in place. O(1). A bar that is NaN or infinite is not seen.

    >>> rng = np.random.default_rng(1)
    >>> x = rng.standard_normal(200).cumsum()
    >>> state = sentinel_train(x + rng.standard_normal(200), x)
    >>> sentinel_step(state, x[-1], x[-1])
    >>> state[BARS].item(), state[ALARM].item()
    (1.0, -1.0)
    """
    if not (np.isfinite(y) and np.isfinite(x)):
        return
    bar = state[BARS]
    state[BARS] = bar + 1.0
    if state[STATUS] == _NO_VERDICT:
        return
    previous = state[_SPREAD]
    spread = ((y - state[_MEAN_Y]) - state[_BETA] * (x - state[_MEAN_X])) / state[_SCALE]
    spread = min(max(spread, -_FAR), _FAR)
    step = spread - previous
    distance = state[_DISTANCE]
    now = min(max((x - state[_MEAN_X]) / state[_SCALE_X], -_FAR), _FAR)
    drift = state[_SHARED] * (now - distance)
    for i in range(_LAGS):
        drift += state[_GAMMA + i] * state[_STEPS + i]
    walk = step - drift
    expected = state[_LEVEL] + state[_SLOPE] * distance - state[_PULL] * previous
    gain_level = state[_P_LEVEL] + state[_P_BOTH] * distance
    gain_slope = state[_P_BOTH] + state[_P_SLOPE] * distance
    doubt = gain_level + gain_slope * distance
    variance = max(state[_VARIANCE], _LEAST_VARIANCE)
    total = variance + doubt
    # The logarithm of the likelihood ratio, by the larger of both variances: what looks too calm makes false alarms.
    wide = max(variance, state[_QUICK])
    total = wide + doubt
    surprise = walk - expected
    ratio = 0.5 * np.log(total / wide) + 0.5 * (_TAILS + 1.0) * (
        np.log1p(surprise * surprise / (_TAILS * total)) - np.log1p(walk * walk / (_TAILS * wide))
    )
    state[STATISTIC] = max(0.0, state[STATISTIC] + ratio)
    # What the bar teaches of level and slope (recursive least squares) and of the variance.
    total = variance + doubt
    limit = _CLIP * np.sqrt(total)
    error = min(max(surprise, -limit), limit)
    state[_LEVEL] += gain_level / total * error
    state[_SLOPE] += gain_slope / total * error
    state[_P_LEVEL] -= gain_level * gain_level / total
    state[_P_BOTH] -= gain_level * gain_slope / total
    state[_P_SLOPE] -= gain_slope * gain_slope / total
    square = error * error * (variance / total)
    state[_VARIANCE] = _DECAY * variance + (1.0 - _DECAY) * square
    state[_QUICK] = _QUICK_DECAY * state[_QUICK] + (1.0 - _QUICK_DECAY) * square
    for i in range(_LAGS - 1, 0, -1):
        state[_STEPS + i] = state[_STEPS + i - 1]
    state[_STEPS] = step
    state[_SPREAD] = spread
    state[_DISTANCE] = now
    if state[STATUS] == _TRIPPED:
        return
    if bar >= state[_HORIZON]:
        state[STATUS] = _EXPIRED
    elif state[STATISTIC] > state[THRESHOLD]:
        state[STATUS] = _TRIPPED
        state[ALARM] = bar
    else:
        state[STATUS] = _WARNED if state[STATISTIC] > state[WARN_THRESHOLD] else _WATCHING


@kernel
def _run(state: F8, y: F8, x: F8, start: int, out: F8) -> None:  # pragma: no cover - compiled
    """Step through the bars from ``start`` on and write the first four readings of each."""
    for t in range(start, y.size):
        sentinel_step(state, y[t], x[t])
        for i in range(4):
            out[i, t] = state[i]


@kernel
def _trailing(squares: F8, decay: float, out: F8) -> None:  # pragma: no cover - compiled
    """Write the exponentially weighted mean of the squares before each, from 1 on, and one more at the end."""
    out[0] = 1.0
    for t in range(squares.size):
        out[t + 1] = decay * out[t] + (1.0 - decay) * squares[t]


def _fit(y: F8, x: F8, state: F8) -> None:
    """Write what is trained: hedge, error correction, its uncertainty, and the last bars to go on from."""
    mean_y, mean_x = float(y.mean()), float(x.mean())
    u, v = x - mean_x, y - mean_y
    scale_x = float(np.sqrt(np.mean(u * u)))
    beta = float(u @ v / (u @ u))
    raw = v - beta * u
    deviation = float(raw.std())
    if deviation <= 1e-11 * max(float(np.abs(y).max()), abs(beta) * float(np.abs(x).max())):
        raise DegenerateSeries("y: is a straight function of x, there is no spread", loc="y")
    u, s = u / scale_x, raw / deviation
    steps = np.diff(s)
    target = steps[_LAGS:]
    design = np.column_stack(
        [
            np.ones(target.size),
            u[_LAGS:-1],
            s[_LAGS:-1],
            np.diff(u)[_LAGS:],
            *(steps[_LAGS - i : -i] for i in range(1, _LAGS + 1)),
        ]
    )
    # Least squares twice: what the first leaves says which hours were wild, and the second weighs them less.
    plain = _error_correction(design, target)
    variances = _variances(target - design @ plain, _DECAY)[0]
    weight = 1.0 / np.sqrt(np.maximum(variances[:-1], _LEAST_VARIANCE))
    rows, goal = design * weight[:, None], target * weight
    coefficients = _error_correction(rows, goal)
    residual = target - design @ coefficients
    slow, sigma = _variances(residual, _DECAY)
    pull, gammas = -float(coefficients[2]), coefficients[4:]
    gain = 1.0 - float(gammas.sum())
    # Level and slope once more, given the weaker pull. From here on spreads are in units of their noise.
    covariance = np.linalg.inv(rows[:, :2].T @ rows[:, :2])
    rest = goal + _SHRINK * pull * rows[:, 2] - rows[:, 3:] @ coefficients[3:]
    level, slope = covariance @ (rows[:, :2].T @ rest) / sigma
    state[REVERSION] = max(0.0, y.size * pull / gain) if gain > 0.0 else 0.0
    state[_MEAN_Y], state[_MEAN_X], state[_BETA] = mean_y, mean_x, beta
    state[_SCALE_X], state[_SCALE] = scale_x, deviation * sigma
    state[_PULL], state[_LEVEL], state[_SLOPE] = _SHRINK * pull, level, slope
    state[_P_LEVEL], state[_P_BOTH], state[_P_SLOPE] = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    state[_VARIANCE], state[_QUICK] = slow[-1], _variances(residual, _QUICK_DECAY)[0][-1]
    state[_SPREAD], state[_DISTANCE] = s[-1] / sigma, u[-1]
    state[_SHARED], state[_GAMMA : _GAMMA + _LAGS] = coefficients[3] / sigma, gammas
    state[_STEPS : _STEPS + _LAGS] = steps[: -_LAGS - 1 : -1] / sigma


def _variances(residual: F8, decay: float) -> tuple[F8, float]:
    """Return the variance known before each residual, and after the last, in units of all of them; and their root."""
    sigma = float(np.sqrt(np.mean(residual * residual)))
    out = np.empty(residual.size + 1)
    _trailing(np.minimum((residual / sigma) ** 2, _CLIP * _CLIP), decay, out)
    return out, sigma


def _error_correction(rows: F8, target: F8) -> F8:
    """Return level, slope, reversion (negative), share in x's step and, as Akaike's criterion likes best, lags or 0.

    The sums of products are made once; each number of lags solves a leading part of them.
    """
    size = target.size
    gram, moment, square = rows.T @ rows, rows.T @ target, float(target @ target)
    best, coefficients = np.inf, np.zeros(4 + _LAGS)
    for width in range(4, 5 + _LAGS):
        part = gram[:width, :width]
        if not np.linalg.cond(part) < 1e10:
            break
        answer = np.linalg.solve(part, moment[:width])
        left = square - float(answer @ moment[:width])
        if left <= 1e-12 * square:
            raise DegenerateSeries("y: its spread follows from its own past, there is no noise", loc="y")
        criterion = size * np.log(left / size) + 2.0 * width
        if criterion < best:
            best, coefficients = criterion, np.zeros(4 + _LAGS)
            coefficients[:width] = answer
    if not np.isfinite(best):
        raise DegenerateSeries("x: it or the spread is a straight line in time, or too large to compute with", loc="x")
    return coefficients


def _bars(train: int) -> int:
    """Return the bars of training as an integer; ``ValueError`` where nothing was calibrated for it."""
    if isinstance(train, bool) or int(train) != train or not LEAST_TRAIN <= train <= MOST_TRAIN:
        raise InputError(f"train: must be a whole number from {LEAST_TRAIN} to {MOST_TRAIN}", loc="train")
    return int(train)
