"""Huber's fit of a window: found or told that it is not, and the same bits wherever the window stands."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_hedge, huber_window
from pairscope.errors import NotConverged

USUAL = (HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST)


def pair(n: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.standard_normal(n))
    return 2.0 + 0.7 * x + rng.standard_t(2, n), x


@pytest.mark.parametrize("window", [30, 101, 200])
def test_a_window_says_the_same_bits_wherever_its_rows_stand(window: int) -> None:
    y, x = pair()
    rows = slice(250 - window, 250)
    assert huber_window(y[rows].copy(), x[rows].copy(), window, window, *USUAL) == huber_window(
        y, x, 250, window, *USUAL
    )
    fit, hedge = huber_window(y, x, 300, 300, *USUAL), huber_hedge(y, x)
    assert (fit.alpha, fit.beta, fit.stderr, fit.scale) == (hedge.alpha, hedge.beta, hedge.stderr, hedge.scale)


def test_the_scale_is_the_median_absolute_residual() -> None:
    y, x = pair(301)
    fit = huber_hedge(y, x)
    residuals = y - fit.alpha - fit.beta * x
    assert fit.scale == pytest.approx(np.median(np.abs(residuals)) / 0.6744897501960817, rel=1e-12)
    weights = np.minimum(1.0, HUBER_TUNING * fit.scale / np.abs(residuals))
    assert abs(weights @ residuals) < 1e-5
    assert abs(weights @ (x * residuals)) < 1e-4


def test_an_iteration_cut_short_says_so() -> None:
    y, x = pair()
    with pytest.raises(NotConverged, match=r"^y: .* after 2 steps") as caught:
        huber_hedge(y, x, most=2)
    assert isinstance(caught.value, ValueError)
    assert huber_window(y, x, 300, 300, HUBER_TUNING, HUBER_TOLERANCE, 2).converged == 0.0


def test_it_comes_to_rest_on_windows_of_thirty_bars_and_more() -> None:
    for seed in range(100):
        y, x = pair(30, seed)
        assert huber_window(np.round(y, 1), np.round(x, 1), 30, 30, *USUAL).converged == 1.0


def test_legs_on_a_line_have_no_error() -> None:
    x = 60_000.0 + np.cumsum(np.random.default_rng(2).standard_normal(100))
    fit = huber_hedge(0.1 + 0.3 * x, x)
    assert fit.beta == pytest.approx(0.3, rel=1e-12)
    assert (fit.stderr, fit.scale) == (0.0, 0.0)


def test_a_window_without_an_answer_is_nan() -> None:
    y, x = pair(20)
    assert np.isnan(huber_window(y, np.full(20, 3.0), 20, 20, *USUAL).beta)
    assert np.isnan(huber_window(y, x, 10, 11, *USUAL).beta)
    y[15] = np.nan
    assert np.isnan(huber_window(y, x, 20, 20, *USUAL).beta)
