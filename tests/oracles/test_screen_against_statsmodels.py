"""The screen against statsmodels: the same statistic, lags and p-value for every pair, whatever the legs look like."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant
from statsmodels.tsa.stattools import coint

from pairscope.analytics.cointegration import engle_granger
from pairscope.analytics.mean_reversion import half_life
from pairscope.errors import DegenerateSeries
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import ScreenResult, ScreenRow

BARS = Path(__file__).parents[3] / "shared" / "data" / "bars" / "um_1m_2025-05.parquet"


@pytest.fixture(scope="module")
def closes() -> pd.DataFrame:
    """Closes of 16 perpetuals on their common minutes."""
    if not BARS.is_file():
        pytest.skip(reason="no recorded bars beside the repository: ../shared/data/bars")
    frame = pd.read_parquet(BARS, columns=["symbol", "timestamp", "close"])
    return frame.pivot_table(index="timestamp", columns="symbol", values="close").dropna()


def centred(leg: Any) -> Any:
    """What the oracle is given: it loses digits to a level that no statistic depends on, as many as its BLAS wants."""
    return leg - leg.mean()


def compare(
    rows: list[ScreenRow], leg: Callable[[str], np.ndarray], autolag: str | None = "aic", maxlag: int | None = None
) -> None:
    """Hold rows against statsmodels; lags against the direct test, as statsmodels does not tell them."""
    worst = worst_p = worst_direct = 0.0
    for row in rows:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="y0 and y1 are", category=Warning)
            statistic, pvalue, _ = coint(centred(leg(row.y)), centred(leg(row.x)), autolag=autolag, maxlag=maxlag)
        worst = max(worst, abs(row.statistic / statistic - 1.0))
        worst_p = max(worst_p, abs(row.pvalue - pvalue))
        direct = engle_granger(leg(row.y), leg(row.x), autolag=autolag, maxlag=maxlag)
        worst_direct = max(worst_direct, abs(row.statistic / direct.statistic - 1.0))
        assert row.lags == direct.lags
    print(
        f"\n{len(rows)} pairs ({autolag}): statistic differs by {worst:.1e} of itself, p-value by {worst_p:.1e}; "
        f"from the direct test by {worst_direct:.1e}"
    )
    assert worst <= 1e-8
    assert worst_p <= 1e-6


def drawn(result: ScreenResult, count: int, seed: int) -> list[ScreenRow]:
    rows = list(result)
    picks = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return [rows[i] for i in picks]


def test_five_hundred_random_pairs_of_recorded_bars_equal_coint(closes: pd.DataFrame) -> None:
    rng = np.random.default_rng(5)
    for bars, count, maxlag in ((400, 40, None), (300, 160, 4), (300, 160, 4), (1000, 140, 3)):
        start = int(rng.integers(0, len(closes) - bars))
        window = closes.iloc[start : start + bars]
        result = screen_pairs(window.to_numpy(), list(window.columns), maxlag=maxlag)
        assert len(result) == 240
        logs = np.log(window)
        compare(drawn(result, count, start), lambda name, logs=logs: logs[name].to_numpy(), maxlag=maxlag)


@pytest.mark.parametrize("autolag", ["aic", "bic", "t-stat", None])
def test_made_pairs_of_every_kind_equal_coint(autolag: str | None) -> None:
    """Walks, cointegrated, nearly collinear, bouncing, smooth and far-off legs, in prices as they are."""
    legs = made_market()
    result = screen_pairs(np.column_stack(list(legs.values())), list(legs), log=False, autolag=autolag)
    assert len(result) == len(legs) * (len(legs) - 1)
    assert result.recomputed > 0
    compare(drawn(result, 20, 1), legs.__getitem__, autolag)


def test_the_lags_of_many_pairs_equal_those_of_the_direct_test() -> None:
    """Statsmodels does not tell its lags; the direct test, which is held against it elsewhere, does."""
    legs = made_market(bars=700)
    for autolag in ("aic", "bic", "t-stat"):
        result = screen_pairs(np.column_stack(list(legs.values())), list(legs), log=False, autolag=autolag)
        for row in result:
            direct = engle_granger(legs[row.y], legs[row.x], autolag=autolag)
            assert row.lags == direct.lags, row
            assert row.statistic == pytest.approx(direct.statistic, rel=1e-8)


def test_a_scale_of_any_size_changes_no_statistic() -> None:
    """The legs in units twelve orders larger or smaller, and a million standard deviations away from nought."""
    legs = made_market()
    names = list(legs)
    table = np.column_stack(list(legs.values()))
    plain = {(row.y, row.x): row for row in screen_pairs(table, names, log=False)}
    scale = 10.0 ** np.random.default_rng(2).integers(-12, 13, len(names))
    worst = 0.0
    for row in screen_pairs(table * scale, names, log=False):
        worst = max(worst, abs(row.statistic / plain[row.y, row.x].statistic - 1.0))
        assert row.lags == plain[row.y, row.x].lags
        ratio = scale[names.index(row.y)] / scale[names.index(row.x)]
        assert row.beta == pytest.approx(plain[row.y, row.x].beta * ratio, rel=1e-8)
    print(f"\nscaled by up to 1e12: statistic differs by {worst:.1e} of itself")
    assert worst <= 1e-8
    far = np.rint((table + 1e6 * table.std(axis=0)) * 2**20) / 2**20
    moved = {name: far[:, i] for i, name in enumerate(names)}
    rows = list(screen_pairs(far, names, log=False))
    for row in rows[:: len(rows) // 40]:
        direct = engle_granger(moved[row.y], moved[row.x])
        assert (row.lags, row.statistic) == (direct.lags, pytest.approx(direct.statistic, rel=1e-8))


def test_what_is_told_of_a_spread_equals_its_direct_computation(closes: pd.DataFrame) -> None:
    window = closes.iloc[-600:]
    logs = np.log(window)
    returns = logs.diff().corr()
    worst = 0.0
    for row in drawn(screen_pairs(window.to_numpy(), list(window.columns)), 80, 3):
        fit = OLS(centred(logs[row.y]), add_constant(centred(logs[row.x]))).fit()
        std = float(np.std(fit.resid, ddof=1))
        pairs = [
            (row.alpha, logs[row.y].mean() - fit.params[row.x] * logs[row.x].mean()),
            (row.beta, fit.params[row.x]),
            (row.spread_std, std),
            (row.zscore, fit.resid.iloc[-1] / std),
            (row.correlation, returns.loc[row.y, row.x]),
            (1.0 / row.half_life, 1.0 / half_life(fit.resid.to_numpy())),
        ]
        worst = max([worst, *(abs(ours - theirs) / max(abs(theirs), 1e-3) for ours, theirs in pairs)])
    print(f"\nalpha, beta, deviation, z-score, correlation, half-life: differ by {worst:.1e}")
    assert worst <= 1e-8


def test_collinear_legs_are_named_and_not_tested() -> None:
    x = np.cumsum(np.random.default_rng(0).standard_normal(300))
    legs = {"A": x, "TWICE": 2.0 * x + 1.0, "B": np.cumsum(np.random.default_rng(1).standard_normal(300))}
    result = screen_pairs(np.column_stack(list(legs.values())), list(legs), log=False)
    assert set(result.untested) == {("A", "TWICE"), ("TWICE", "A")}
    assert all("collinear" in reason for reason in result.untested.values())
    assert len(result) == result.tests == 4
    with pytest.raises(DegenerateSeries):
        engle_granger(legs["A"], legs["TWICE"])


def made_market(bars: int = 400) -> dict[str, np.ndarray]:
    """Legs by what they are like."""
    rng = np.random.default_rng(11)
    walk = np.cumsum(rng.standard_normal(bars))
    noise = rng.standard_normal((8, bars))
    legs = {
        "walk": walk,
        "other": np.cumsum(noise[0]),
        "tied": 1.5 * walk + noise[1],
        "nearer": 2.0 * walk + 0.05 * noise[3],
        "bouncing": np.cumsum(noise[4]) + 3.0 * noise[5],
        "smooth": np.cumsum(np.cumsum(noise[6])) / 50.0,
        "against": -0.7 * walk + np.convolve(noise[7], 0.9 ** np.arange(40))[:bars],
    }
    apart = np.cumsum(noise[2])
    apart -= np.polyval(np.polyfit(walk, apart, 1), walk)
    # R² is 1 - 2.6e-6: a little before the point from which nothing is tested.
    legs["near"] = walk + 1.6e-3 * walk.std() * apart / apart.std()
    legs["far"] = 1e5 + np.cumsum(rng.standard_normal(bars))
    return {name: leg - leg.min() + 1.0 for name, leg in legs.items()}
