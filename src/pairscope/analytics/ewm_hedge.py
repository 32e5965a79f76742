"""A hedge ratio that forgets: exponentially weighted least squares, a state that is stepped bar by bar."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_window import checked_pair
from pairscope.errors import InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "EWM_ALPHA",
    "EWM_BETA",
    "EWM_R_SQUARED",
    "EWM_STATE",
    "EWM_STDERR",
    "EwmHedge",
    "ewm_ols_hedge",
    "ewm_ols_state",
    "ewm_ols_step",
]

EWM_ALPHA: Final = 0
"""Where a state says alpha after its last row."""
EWM_BETA: Final = 1
"""Where a state says beta, the hedge ratio."""
EWM_STDERR: Final = 2
"""Where a state says the standard error of beta."""
EWM_R_SQUARED: Final = 3
"""Where a state says which part of y's weighted variance is explained."""

_DECAY: Final = 4
_COUNT: Final = 5
_X0: Final = 6
_Y0: Final = 7
_W: Final = 8
_MX: Final = 9
_MY: Final = 10
_XX: Final = 11
_XY: Final = 12
_YY: Final = 13
_W2: Final = 14
_MX2: Final = 15
_XX2: Final = 16

EWM_STATE: Final = 17
"""How many numbers a state is."""

_EPS: Final = 2.0**-52


class EwmHedge(NamedTuple):
    """Exponentially weighted least squares, a value a bar; NaN in the first two bars and while x is constant."""

    alpha: F8
    beta: F8
    stderr: F8
    r_squared: F8


def ewm_ols_state(*, half_life: float) -> F8:
    """Return the state that has seen nothing; a bar ``half_life`` bars old will count half as much as the newest. O(1).

    >>> ewm_ols_state(half_life=10.0).size == EWM_STATE
    True
    """
    if not 0.0 < half_life < np.inf:
        raise InputError("half_life: must be positive", loc="half_life")
    state = np.zeros(EWM_STATE)
    state[: EWM_R_SQUARED + 1] = np.nan
    state[_DECAY] = 0.5 ** (1.0 / half_life)
    return state


@kernel
def ewm_ols_step(state: F8, y: float, x: float) -> None:  # pragma: no cover - compiled
    """Take one row into a state, in place; a row with NaN or an infinity changes nothing. O(1), about 20 ns.

    Weighted means and products of deviations grow by Welford's update, measured from the first row: nothing is ever
    subtracted from a sum, and nothing drifts.

    >>> state = ewm_ols_state(half_life=10.0)
    >>> for t in range(4):
    ...     ewm_ols_step(state, 1.0 + 2.0 * t, float(t))
    >>> state[[EWM_ALPHA, EWM_BETA]].round(12).tolist()
    [1.0, 2.0]
    """
    if not (abs(y) < np.inf and abs(x) < np.inf):
        return
    if state[_COUNT] == 0.0:
        state[_X0], state[_Y0] = x, y
    state[_COUNT] += 1.0
    decay = state[_DECAY]
    u, v = x - state[_X0], y - state[_Y0]
    w = decay * state[_W] + 1.0
    du, dv = u - state[_MX], v - state[_MY]
    state[_MX] += du / w
    state[_MY] += dv / w
    state[_XX] = decay * state[_XX] + du * (u - state[_MX])
    state[_XY] = decay * state[_XY] + du * (v - state[_MY])
    state[_YY] = decay * state[_YY] + dv * (v - state[_MY])
    state[_W] = w
    w2 = decay * decay * state[_W2] + 1.0
    du = u - state[_MX2]
    state[_MX2] += du / w2
    state[_XX2] = decay * decay * state[_XX2] + du * (u - state[_MX2])
    state[_W2] = w2
    state[EWM_ALPHA] = state[EWM_BETA] = state[EWM_STDERR] = state[EWM_R_SQUARED] = np.nan
    # While x stands, what was known of it fades: below the rounding of x, and of its mean, it is gone.
    noise = _EPS * (abs(x) + abs(state[_X0]) + w * abs(u))
    if state[_COUNT] < 3.0 or not state[_XX] > w * (noise * noise):
        return
    beta = state[_XY] / state[_XX]
    left = max(0.0, state[_YY] - beta * state[_XY])
    gap = state[_MX2] - state[_MX]
    squares = state[_XX2] + w2 * (gap * gap)
    degrees = w - w2 / w - squares / state[_XX]
    state[EWM_ALPHA] = (state[_Y0] + state[_MY]) - beta * (state[_X0] + state[_MX])
    state[EWM_BETA] = beta
    if degrees > _EPS * w:
        state[EWM_STDERR] = np.sqrt(left / degrees * squares) / state[_XX]
    if state[_YY] > 0.0:
        state[EWM_R_SQUARED] = 1.0 - left / state[_YY]


@kernel
def _follow(state: F8, y: F8, x: F8, out: NDArray[np.float64]) -> None:  # pragma: no cover - compiled
    """Step a state through rows and write the readings that each leaves."""
    for t in range(x.size):
        ewm_ols_step(state, y[t], x[t])
        for k in range(4):
            out[k, t] = state[k]


def ewm_ols_hedge(y: F8, x: F8, *, half_life: float) -> EwmHedge:
    r"""Return least squares of y on a constant and x at each bar, a bar's weight halving every ``half_life`` bars.

    .. math:: \min_{\alpha, \beta} \sum_{i \le t} \lambda^{t-i} (y_i - \alpha - \beta x_i)^2, \quad
        \lambda = 2^{-1/h}, \qquad
        \mathrm{se}(\beta)^2 = s^2 \frac{\sum w_i^2 d_i^2}{(\sum w_i d_i^2)^2}

    with :math:`d_i` = x off its weighted mean and :math:`s^2` the weighted residual sum of squares over its expectation
    for a variance of 1: weights say what matters, not how noisy a bar is, so this is the standard error of that
    estimate for independent errors of one variance. With a long half-life it is that of OLS.

    NaN in the first two bars, and while x has been constant for so long that what it did before has faded;
    ``r_squared`` also where y is constant. NaN in y or x, infinities, a constant series, unequal lengths, fewer than 3
    bars and a ``half_life`` that is not positive raise ``ValueError`` naming the argument. O(n).
    Reference: West & Harrison (1997), *Bayesian Forecasting and Dynamic Models*, ch. 4 (discounted regression).

    >>> x = np.array([1.0, 2.0, 4.0, 3.0])
    >>> ewm_ols_hedge(1.0 + 2.0 * x, x, half_life=5.0).beta.round(12).tolist()
    [nan, nan, 2.0, 2.0]
    """
    state = ewm_ols_state(half_life=half_life)
    legs = checked_pair(y, x)
    out = np.full((4, legs[0].size), np.nan)
    _follow(state, *legs, out)
    return EwmHedge(*out)
