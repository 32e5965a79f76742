"""Mean reversion in continuous time: the Ornstein-Uhlenbeck process of a series, by exact maximum likelihood."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from pairscope.analytics.autoregression import centred
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.ticks import F8

__all__ = ["OrnsteinUhlenbeck", "ou_fit"]

_SPEEDS: Final = np.geomspace(1e-9, 20.0, 240)
"""Speeds an observation, -ln phi, between which the likelihood is searched for its peaks."""


class OrnsteinUhlenbeck(NamedTuple):
    r"""The process :math:`dX = \theta (\mu - X)\, dt + \sigma\, dW` that a series is most likely of.

    ``theta`` (a unit of time), ``mu`` (the series' unit) and ``sigma`` (the series' unit over the root of a unit of
    time) with their standard errors; ``stationary_std`` is sigma / sqrt(2 theta), ``half_life`` ln 2 / theta in units
    of time; ``log_likelihood`` that of the n values at these parameters.
    """

    theta: float
    mu: float
    sigma: float
    theta_stderr: float
    mu_stderr: float
    sigma_stderr: float
    stationary_std: float
    half_life: float
    log_likelihood: float
    n: int


class _Sums(NamedTuple):
    """All that the likelihood needs of a series: its ends, and sums over its values and neighbours' products."""

    n: int
    first: float
    last: float
    total: float
    squares: float
    products: float


def ou_fit(x: F8, *, dt: float = 1.0) -> OrnsteinUhlenbeck:
    r"""Return the Ornstein-Uhlenbeck process that makes a series, observed every ``dt``, most likely.

    .. math:: X_1 \sim N\Bigl(\mu, \frac{\sigma^2}{2\theta}\Bigr), \qquad
              X_{t+1} \mid X_t \sim N\Bigl(\mu + \phi (X_t - \mu), \frac{\sigma^2}{2\theta} (1 - \phi^2)\Bigr),
              \qquad \phi = e^{-\theta\, dt}

    The likelihood is the exact one: the transition without any discretisation, and the stationary law of the first
    value rather than that value taken as given, so that the estimate exists, and reverts, also where the least-squares
    phi is 1 or more. mu and sigma follow from phi in closed form; phi is the highest peak on (0, 1). Standard errors
    are from the expected information. Assumes Gaussian noise and equal spacing. theta is high on average, the more so
    the fewer half-lives the sample spans, and a random walk gets one too, one to three of its errors above nought:
    that there is reversion at all is for a unit-root test to say. For an interval that holds near a unit root see
    :func:`pairscope.analytics.mean_reversion.half_life_interval`.

    O(n). NaN, infinities, a constant series, fewer than 8 values and a ``dt`` that is not positive raise ``ValueError``
    naming the argument; so do a series that alternates, whose likelihood has no peak at a positive phi, and one that
    does not revert, whose peak is at a phi of 1.
    Reference: Brockwell & Davis (1991), *Time Series: Theory and Methods*, ch. 8.7; Tang & Chen (2009), *Parameter
    estimation and bias correction for diffusion processes*.

    >>> wave = np.convolve(np.sin(np.arange(300.0) ** 2), 0.9 ** np.arange(60))[:300]
    >>> fit = ou_fit(wave)
    >>> round(fit.theta, 3), round(fit.theta_stderr, 3), round(fit.half_life, 2)
    (0.11, 0.028, 6.3)
    """
    if not 0.0 < dt < math.inf:
        raise InputError("dt: must be positive", loc="dt")
    values, origin, unit = centred(x, need=8)
    middle = float(values.mean())
    values = values - middle
    sums = _Sums(
        values.size,
        float(values[0]),
        float(values[-1]),
        float(values.sum()),
        float(values @ values),
        float(values[1:] @ values[:-1]),
    )
    phi = _most_likely(sums)
    mean, noise = (float(part) for part in _given(phi, sums))
    if noise <= 1e-26 * sums.squares:
        raise DegenerateSeries("x: follows its own past without noise", loc="x")
    n = sums.n
    variance = noise / n
    theta = -math.log(phi) / dt
    scatter = 1.0 - phi * phi
    stationary = math.sqrt(variance / scatter) * unit
    sigma = stationary * math.sqrt(2.0 * theta)
    # Expected information of (phi, variance), turned into that of (theta, sigma); mu is orthogonal to both.
    information = np.array(
        [
            [(1.0 + phi * phi) / scatter**2 + (n - 2.0) / scatter, phi / (scatter * variance)],
            [phi / (scatter * variance), n / (2.0 * variance**2)],
        ]
    )
    slope = np.array(
        [
            [-1.0 / (phi * dt), 0.0],
            [sigma * (-0.5 / (theta * dt * phi) + phi / scatter), 0.5 * sigma / variance],
        ]
    )
    covariance = slope @ np.linalg.inv(information) @ slope.T
    mu_stderr = math.sqrt(variance / (scatter + (n - 1.0) * (1.0 - phi) ** 2)) * unit
    return OrnsteinUhlenbeck(
        theta,
        origin + (middle + mean) * unit,
        sigma,
        math.sqrt(float(covariance[0, 0])),
        mu_stderr,
        math.sqrt(float(covariance[1, 1])),
        stationary,
        math.log(2.0) / theta,
        0.5 * math.log(scatter) - 0.5 * n * (math.log(2.0 * math.pi * variance * unit * unit) + 1.0),
        n,
    )


def _given(phi: F8 | float, s: _Sums) -> tuple[F8 | float, F8 | float]:
    """Return the most likely mean under a phi, and the sum of squared noise (the first value's included) about it."""
    gap = 1.0 - phi
    weight = gap * (s.n - (s.n - 2.0) * phi)
    mean = gap * (s.total - phi * (s.total - s.first - s.last)) / weight
    inner = s.squares - s.first**2 - s.last**2
    return mean, s.squares + phi * phi * inner - 2.0 * phi * s.products - weight * mean * mean


def _score(phi: F8 | float, s: _Sums) -> F8 | float:
    """Return the slope of the log likelihood in phi, mean and variance being the most likely under it."""
    mean, noise = _given(phi, s)
    inner = s.squares - s.first**2 - s.last**2 - 2.0 * mean * (s.total - s.first - s.last) + (s.n - 2.0) * mean**2
    products = s.products - mean * (2.0 * s.total - s.first - s.last) + (s.n - 1.0) * mean**2
    return -phi / (1.0 - phi * phi) - 0.5 * s.n * (2.0 * phi * inner - 2.0 * products) / noise


def _most_likely(s: _Sums) -> float:
    """Return the phi in (0, 1) of the highest peak; ``ValueError`` where the likelihood rises to an end."""
    phi = np.exp(-_SPEEDS[::-1])
    noise = np.asarray(_given(phi, s)[1])
    if noise.min() <= 1e-26 * s.squares:
        raise DegenerateSeries("x: follows its own past without noise", loc="x")
    height = 0.5 * np.log1p(-phi * phi) - 0.5 * s.n * np.log(noise)
    top = int(height.argmax())
    if top == 0:
        raise DegenerateSeries("x: alternates or has no memory, which no Ornstein-Uhlenbeck process does", loc="x")
    if top == phi.size - 1:
        raise DegenerateSeries("x: does not revert", loc="x")
    low, high = float(phi[top - 1]), float(phi[top + 1])
    for _ in range(80):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if float(_score(middle, s)) > 0.0 else (low, middle)
    return 0.5 * (low + high)
