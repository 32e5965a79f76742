"""Theil-Sen's hedge ratio: an exact median however many slopes there are, and an interval that covers."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.theil_sen import theil_sen_hedge


def test_slopes_that_are_counted_first_give_the_same_bits_as_slopes_that_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    x = np.cumsum(rng.standard_normal(600))
    for decimals in (12, 1):
        y = np.round(0.7 * x + rng.standard_cauchy(600), decimals)
        held = theil_sen_hedge(y, np.round(x, decimals))
        monkeypatch.setattr("pairscope.analytics.theil_sen._AT_ONCE", 100)
        for sampled in (1_000_000, 1000, 30):
            monkeypatch.setattr("pairscope.analytics.theil_sen._SAMPLE", sampled)
            assert theil_sen_hedge(y, np.round(x, decimals)) == held
        monkeypatch.undo()


def test_its_interval_covers_the_ratio_at_its_level() -> None:
    rng = np.random.default_rng(2)
    x = np.cumsum(rng.standard_normal(60))
    covered = 0
    for _ in range(400):
        fit = theil_sen_hedge(0.7 * x + rng.standard_t(3, 60), x, level=0.9)
        assert fit.low <= fit.beta <= fit.high
        covered += fit.low <= 0.7 <= fit.high
    assert covered / 400 == pytest.approx(0.9, abs=3 * 0.015)


def test_bars_with_the_same_x_say_nothing_and_do_no_harm() -> None:
    x = np.repeat([1.0, 2.0, 3.0], 10)
    y = 2.0 * x + np.tile(np.linspace(-0.1, 0.1, 10), 3)
    fit = theil_sen_hedge(y, x)
    assert fit.beta == pytest.approx(2.0)
    assert fit.n == 30
