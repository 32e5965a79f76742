r"""The Kalman filter of a hedge ratio as a state that is stepped row by row, learning its noise from what it has seen.

The model is a regression whose coefficients walk,

.. math:: y_t = \alpha_t + \beta_t x_t + e_t, \qquad (\alpha_t, \beta_t) = (\alpha_{t-1}, \beta_{t-1}) + w_t

and what nobody knows beforehand is how fast they walk. So eleven filters run side by side, each with a hypothesis of
its own, and are averaged by how well each has foretold y of late (dynamic model averaging, Raftery, Karny & Ettler
2010). Every hypothesis is a ratio to the noise that the filter itself has seen, so that units do not matter:

- nothing walks: recursive least squares, which equals OLS of all rows so far;
- beta walks and alpha stands: what a step of beta does to y has the variance of the noise times 1e-4 … 100;
- level and slope walk: the level's step has the variance of the noise times 0.01 … 100, and the slope turns about where
  x has been of late, which moves no level (what is known of it is discounted by 2 % whenever x moves, West & Harrison
  1997, ch. 6). The spread of a pair that reverts slowly looks like that; to call it noise would make the hedge ratio
  look surer than it is.

A filter that misses a row by more than six of its deviations passes it over, and counts the miss as six, unless it has
missed the row before as widely: a wrong print leaves no trace, a new level is learned.

Covariances are kept as factors, P = U D U' (Bierman 1977): D is a sum of terms that are not negative, whatever happens.
Rows are measured from the first, so that an offset costs no digits, and the first two rows determine the start: there
is no prior to be right or wrong about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "KALMAN_ALPHA",
    "KALMAN_BETA",
    "KALMAN_COUNT",
    "KALMAN_INNOVATION",
    "KALMAN_INNOVATION_STD",
    "KALMAN_STATE",
    "KALMAN_VARIANCE",
    "kalman_state",
    "kalman_step",
    "state_of",
]

KALMAN_ALPHA: Final = 0
"""Where a state says alpha after its last row; NaN until two rows that differ in x were seen."""
KALMAN_BETA: Final = 1
"""Where a state says beta, the hedge ratio, after its last row."""
KALMAN_VARIANCE: Final = 2
"""Where a state says the variance of beta; NaN until three rows were seen."""
KALMAN_INNOVATION: Final = 3
"""Where a state says by how much its last y differed from what the rows before foretold."""
KALMAN_INNOVATION_STD: Final = 4
"""Where a state says the standard deviation that the rows before foretold of that difference."""
KALMAN_COUNT: Final = 5
"""Where a state says how many rows it has seen."""

_X0: Final = 6
_Y0: Final = 7
_KNOWN: Final = 8
_DEGREES: Final = 9
_SQUARE: Final = 10
_FIXED: Final = 11
_MODELS: Final = 12
_LAST_X: Final = 13
_HEAD: Final = 14

_WALK_ALPHA: Final = 0
_WALK_BETA: Final = 1
_KEEP: Final = 2
_PRIOR: Final = 3
_A: Final = 4
_B: Final = 5
_U: Final = 6
_D1: Final = 7
_D2: Final = 8
_SQUARES: Final = 9
_EVIDENCE: Final = 10
_WEIGHT: Final = 11
_WILD: Final = 12
_BLOCK: Final = 13

_NOISE_MEMORY: Final = 0.998
"""What is left, a row later, of the weight of a row in the variance of the noise: 500 rows matter."""
_EVIDENCE_MEMORY: Final = 0.999
"""The same of a row in the judgement of the hypotheses: 1,000 rows matter."""
_MOST_DEVIATIONS: Final = 6.0
"""A miss beyond so many deviations counts as so many, once."""
_LEAST_DEGREES: Final = 10.0
"""Rows that the noise must have been seen in before a miss can be called too large."""

_BANK: Final = (
    (0.0, 0.0, 1.0, 10.0),
    *((0.0, step, 1.0, 1.0) for step in (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 100.0)),
    *((level, 0.0, 0.98, 0.01) for level in (0.01, 1.0, 100.0)),
)
"""The hypotheses: variance of the level's step, and of beta's as it moves y, over the noise's; discount of the slope;
prior weight. That nothing walks is believed first, and that only beta does before that both do."""

KALMAN_STATE: Final = _HEAD + len(_BANK) * _BLOCK
"""How many numbers a state is."""


def kalman_state() -> F8:
    """Return the state that has seen nothing, for ``kalman_step``. O(1).

    >>> state = kalman_state()
    >>> state.size == KALMAN_STATE, state[: KALMAN_COUNT + 1].tolist()
    (True, [nan, nan, nan, nan, nan, 0.0])
    """
    return state_of(_BANK)


def state_of(bank: Sequence[tuple[float, float, float, float]], *, noise: float = 0.0, square: float = 0.0) -> F8:
    """Return a state that has seen nothing, of hypotheses of one's own.

    Each is the variance of a step of the level (alpha), and of a step of beta times x, both over the variance of the
    noise; the discount of the slope, 1 for none; its prior weight. With ``noise`` the variance of e is known and stays,
    and ``square`` is then the mean of x² that beta's step is measured by. O(hypotheses).

    >>> state_of([(0.0, 0.0, 1.0, 1.0)]).size < KALMAN_STATE
    True
    """
    state = np.zeros(_HEAD + len(bank) * _BLOCK)
    state[: KALMAN_INNOVATION_STD + 1] = np.nan
    state[_FIXED], state[_SQUARE], state[_MODELS] = noise, square, len(bank)
    total = sum(row[3] for row in bank)
    for block, (level, beta, keep, prior) in zip(state[_HEAD:].reshape(-1, _BLOCK), bank, strict=True):
        block[[_WALK_ALPHA, _WALK_BETA, _KEEP]] = level, beta, keep
        block[_PRIOR], block[_WEIGHT] = np.log(prior / total), prior / total
        block[_D1] = 1.0
    return state


@kernel
def _walk(state: F8, i: int, per_square: float, moved: float) -> None:  # pragma: no cover - compiled
    """Let the coefficients of the hypothesis at ``i`` take their step before a row: add to their covariance."""
    d1 = state[i + _D1] + state[i + _WALK_ALPHA]
    c = state[i + _WALK_BETA] * per_square
    x0 = state[_X0]
    if state[_KNOWN] == 0.0:
        # Nothing is known of beta, whatever it does; the level at x0 moves with it.
        d1 += c * (x0 * x0)
    elif c > 0.0:
        # A step of beta with alpha standing moves (level at x0, beta) along (x0, 1): a rank-one update of U and D.
        v = x0 - state[i + _U]
        grown = state[i + _D2] + c
        share = c / grown
        d1 += share * state[i + _D2] * v * v
        state[i + _U] += share * v
        state[i + _D2] = grown
    elif moved != 0.0 and state[i + _KEEP] < 1.0:
        # While x stands it says nothing of the slope: to go on forgetting would leave rounding to decide.
        state[i + _D2] /= state[i + _KEEP]
    state[i + _D1] = d1


@kernel
def _begin(state: F8, i: int, h: float, e: float) -> None:  # pragma: no cover - compiled
    """Take a row into the hypothesis at ``i`` while beta's variance is infinite; the first other x ends that."""
    d1 = state[i + _D1]
    part = d1 / (1.0 + d1)
    if h == 0.0:
        state[i + _A] += part * e
        state[i + _SQUARES] = _NOISE_MEMORY * state[i + _SQUARES] + e * e / (1.0 + d1)
    else:
        state[i + _B] = e / h
        state[i + _D2] = (1.0 + d1) / h / h
        state[i + _U] = -part * h
    state[i + _D1] = part


@kernel
def _learn(state: F8, i: int, h: float, e: float) -> tuple[float, float]:  # pragma: no cover - compiled
    """Take a row into the hypothesis at ``i``, which missed it by ``e`` (Bierman's update).

    Returns the variance of the miss over that of the noise, as foretold, and the miss as it was counted: a single wild
    price, of y or of x, must not move what hundreds of rows have said; the second in a row is no accident.
    """
    u, d1, d2 = state[i + _U], state[i + _D1], state[i + _D2]
    f = u + h
    v = d2 * f
    a1 = 1.0 + d1
    s = a1 + v * f
    if state[_FIXED] == 0.0 and state[_DEGREES] > _LEAST_DEGREES:
        most = _MOST_DEVIATIONS * _MOST_DEVIATIONS * s * (state[i + _SQUARES] / state[_DEGREES])
        first = state[i + _WILD] == 0.0
        state[i + _WILD] = 1.0 if e * e > most else 0.0
        if first and e * e > most:
            state[i + _SQUARES] = _NOISE_MEMORY * state[i + _SQUARES] + most / s
            return s, np.sqrt(most)
    per_s = 1.0 / s
    part = d1 / a1
    gain = per_s * e
    state[i + _A] += (d1 + u * v) * gain
    state[i + _B] += v * gain
    state[i + _U] = u - part * f
    state[i + _D1] = part
    state[i + _D2] = d2 * (a1 * per_s)
    state[i + _SQUARES] = _NOISE_MEMORY * state[i + _SQUARES] + e * gain
    return s, e


@kernel
def _average(state: F8, end: int) -> None:  # pragma: no cover - compiled
    """Average the hypotheses into the readings, by their weights."""
    level = beta = variance = 0.0
    for i in range(_HEAD, end, _BLOCK):
        beta += state[i + _WEIGHT] * state[i + _B]
        level += state[i + _WEIGHT] * state[i + _A]
    # The variance of the noise is NaN before a row has been foretold.
    per_degree = 1.0 / state[_DEGREES] if state[_DEGREES] > 0.0 else np.nan
    for i in range(_HEAD, end, _BLOCK):
        gap = state[i + _B] - beta
        noise = state[_FIXED] if state[_FIXED] > 0.0 else state[i + _SQUARES] * per_degree
        variance += state[i + _WEIGHT] * (noise * state[i + _D2] + gap * gap)
    state[KALMAN_ALPHA] = state[_Y0] + (level - beta * state[_X0])
    state[KALMAN_BETA] = beta
    state[KALMAN_VARIANCE] = variance


@kernel
def _compare(state: F8, end: int, h: float, z: float) -> None:  # pragma: no cover - compiled
    """Foretell a row by all hypotheses, let each learn it, and weigh them by how well they did."""
    degrees = state[_DEGREES]
    per_degree = 1.0 / degrees if degrees > 0.0 else np.nan
    foretold = 0.0
    judged = degrees > 0.0 and end > _HEAD + _BLOCK
    for i in range(_HEAD, end, _BLOCK):
        foretold += state[i + _WEIGHT] * (state[i + _A] + state[i + _B] * h)
        judged = judged and state[i + _SQUARES] > 0.0
    variance = 0.0
    best = -np.inf
    for i in range(_HEAD, end, _BLOCK):
        guess = state[i + _A] + state[i + _B] * h
        squares = state[i + _SQUARES]
        gap = guess - foretold
        s, e = _learn(state, i, h, z - guess)
        noise = state[_FIXED] if state[_FIXED] > 0.0 else squares * per_degree
        variance += state[i + _WEIGHT] * (noise * s + gap * gap)
        if judged:
            # Student's t with the scale seen so far; what all hypotheses have in common is left out.
            scale = squares * s
            likelihood = np.log(scale) + (degrees + 1.0) * np.log(1.0 + e * e / scale)
            state[i + _EVIDENCE] = _EVIDENCE_MEMORY * state[i + _EVIDENCE] - 0.5 * likelihood
            best = max(best, state[i + _EVIDENCE] + state[i + _PRIOR])
    state[KALMAN_INNOVATION] = z - foretold
    state[KALMAN_INNOVATION_STD] = np.sqrt(variance)
    if not judged:
        return
    total = 0.0
    for i in range(_HEAD, end, _BLOCK):
        state[i + _EVIDENCE] -= best
        state[i + _WEIGHT] = np.exp(state[i + _EVIDENCE] + state[i + _PRIOR])
        total += state[i + _WEIGHT]
    for i in range(_HEAD, end, _BLOCK):
        state[i + _WEIGHT] /= total


@kernel
def kalman_step(state: F8, y: float, x: float) -> None:  # pragma: no cover - compiled
    """Take one row into a state, in place.

    Readings stand at ``KALMAN_ALPHA`` … ``KALMAN_COUNT``: beta and its variance as this row leaves them, the
    innovation and its standard deviation as the rows before foretold them. A reading is NaN while it cannot be known
    yet; a row with NaN or an infinity changes nothing but makes the innovation NaN. O(1), about 0.4 µs.

    >>> state = kalman_state()
    >>> for t in range(5):
    ...     kalman_step(state, 1.0 + 2.0 * t, float(t))
    >>> state[[KALMAN_ALPHA, KALMAN_BETA, KALMAN_COUNT]].round(9).tolist()
    [1.0, 2.0, 5.0]
    """
    state[KALMAN_INNOVATION] = state[KALMAN_INNOVATION_STD] = np.nan
    if not (abs(y) < np.inf and abs(x) < np.inf):
        return
    state[KALMAN_COUNT] += 1.0
    count = state[KALMAN_COUNT]
    if count == 1.0:
        state[_X0], state[_Y0] = x, y
    else:
        h, z = x - state[_X0], y - state[_Y0]
        end = _HEAD + int(state[_MODELS]) * _BLOCK
        known = state[_KNOWN] > 0.0
        per_square = 1.0 / state[_SQUARE] if state[_SQUARE] > 0.0 else 0.0
        for i in range(_HEAD, end, _BLOCK):
            _walk(state, i, per_square, x - state[_LAST_X])
        if known:
            _compare(state, end, h, z)
        else:
            for i in range(_HEAD, end, _BLOCK):
                _begin(state, i, h, z - state[i + _A])
        if known or h == 0.0:
            state[_DEGREES] = _NOISE_MEMORY * state[_DEGREES] + 1.0
        if known or h != 0.0:
            state[_KNOWN] = 1.0
            _average(state, end)
    state[_LAST_X] = x
    if not state[_FIXED] > 0.0:
        state[_SQUARE] += (x * x - state[_SQUARE]) / count
