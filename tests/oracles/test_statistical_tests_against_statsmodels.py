"""Unit root, cointegration and false discovery against statsmodels, arch, SciPy and exact fractions.

Each test prints the largest difference that it saw (``pytest -s``). Statistics are held to 1e-8 of themselves, p-values
to 1e-6, lags and observations to equality.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.special
import scipy.stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.tools.sm_exceptions import CollinearityWarning
from statsmodels.tsa.adfvalues import mackinnoncrit, mackinnonp
from statsmodels.tsa.stattools import adfuller, coint, kpss
from statsmodels.tsa.tsatools import add_trend
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from pairscope.analytics.mackinnon import mackinnon_critical_values, mackinnon_pvalues, normal_cdf
from pairscope.analytics.statistical_tests import (
    adf_test,
    benjamini_hochberg,
    benjamini_yekutieli,
    engle_granger,
    johansen,
    kpss_test,
)
from pairscope.errors import DegenerateSeries

BARS = Path(__file__).resolve().parents[3] / "shared" / "data" / "bars" / "um_1m_2025-05.parquet"
CRITERIA = ["aic", "bic", "t-stat", None]


@pytest.fixture(scope="module", autouse=True)
def one_thread_for_the_oracles() -> Iterator[None]:
    """Many small factorizations on every core at once wait for each other: minutes where a second would do."""
    libraries = Path(np.__file__).parents[1] / "numpy.libs"
    loaded = [ctypes.CDLL(str(path)) for path in libraries.glob("libscipy_openblas64_*")]
    before = [library.scipy_openblas_get_num_threads64_() for library in loaded]
    for library in loaded:
        library.scipy_openblas_set_num_threads64_(1)
    yield
    for library, threads in zip(loaded, before, strict=True):
        library.scipy_openblas_set_num_threads64_(threads)


@pytest.fixture(scope="module")
def minutes() -> pd.DataFrame:
    """Closes of 16 symbols, a column each, over the minutes that all of them have."""
    if not BARS.is_file():
        pytest.skip(reason="no bars beside the repository: ../shared/data/bars")
    bars = pd.read_parquet(BARS, columns=["symbol", "timestamp", "close"])
    return bars.pivot_table(index="timestamp", columns="symbol", values="close", observed=True).dropna()


def within(what: str, differences: list[float], tolerance: float) -> None:
    """Print the largest of the differences and demand that it is within the tolerance."""
    assert differences
    print(f"{what}: largest difference {max(differences):.1e} of {tolerance:.0e}, {len(differences)} compared")
    assert max(differences) <= tolerance


def relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / abs(theirs)


def walks(n: int, seeds: int) -> Iterator[np.ndarray]:
    """Series with and without a root: a walk, whole-number prices, log prices, AR(1), a walk of moving averages."""
    for seed in range(seeds):
        shock = np.random.default_rng([n, seed]).standard_normal(n)
        reverting = np.zeros(n)
        for t in range(1, n):
            reverting[t] = 0.9 * reverting[t - 1] + shock[t]
        yield from (
            np.cumsum(shock),
            np.rint(3000 + 5 * np.cumsum(shock)),
            np.log(60_000) + 1e-3 * np.cumsum(shock),
            reverting,
            np.cumsum(shock - 0.7 * np.roll(shock, 1)),
        )


def legs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair that is cointegrated for even seeds and not for odd ones."""
    rng = np.random.default_rng([n, seed, 7])
    x = 100 + np.cumsum(rng.standard_normal(n))
    noise = rng.standard_normal(n)
    return 3 + 0.6 * x + (noise if seed % 2 == 0 else np.cumsum(noise)), x


def given(x: np.ndarray, trend: str) -> np.ndarray:
    """What statsmodels is given: with a parabola the series in its own standard deviations, else the series.

    The statistics do not depend on the unit. Beside a column that runs to n² the changes of a logarithm are lost to
    statsmodels' rounding from the seventh digit on.
    """
    return (x - x.mean()) / x.std() if trend == "ctt" else x


def compare_adf(x: np.ndarray, regression: str, maxlag: int | None, autolag: str | None) -> tuple[float, float]:
    ours = adf_test(x, regression=regression, maxlag=maxlag, autolag=autolag)
    theirs = adfuller(given(x, regression), regression=regression, maxlag=maxlag, autolag=autolag, result_object=True)
    assert (ours.lags, ours.nobs) == (theirs.lags, theirs.nobs)
    assert ours.critical_values == pytest.approx(theirs.critical_values, rel=1e-12)
    return relative(ours.statistic, theirs.statistic), abs(ours.pvalue - theirs.pvalue)


def compare_coint(y: np.ndarray, x: np.ndarray, trend: str, maxlag: int | None, autolag: str | None) -> list[float]:
    ours = engle_granger(y, x, trend=trend, maxlag=maxlag, autolag=autolag)
    legs = given(y, trend), given(x, trend)
    statistic, pvalue, critical = coint(*legs, trend=trend, maxlag=maxlag, autolag=autolag)
    fit = OLS(y, add_trend(x, trend)).fit()
    unit_root = adfuller(fit.resid, regression="n", maxlag=maxlag, autolag=autolag, result_object=True)
    assert (ours.lags, ours.nobs) == (unit_root.lags, unit_root.nobs)
    np.testing.assert_allclose(list(ours.critical_values.values()), critical, rtol=1e-12)
    np.testing.assert_allclose([ours.beta, ours.alpha, *ours.drift], fit.params, rtol=1e-6)
    assert ours.r_squared == pytest.approx(fit.rsquared, abs=1e-10)
    return [relative(ours.statistic, statistic), abs(ours.pvalue - pvalue)]


@pytest.mark.parametrize("regression", ["n", "c", "ct", "ctt"])
def test_adf_equals_statsmodels_in_every_combination_and_length(regression: str) -> None:
    cases = [
        compare_adf(x, regression, maxlag, autolag)
        for n, seeds, lags in ((23, 1, [None, 0, 3]), (50, 1, [None, 1]), (400, 1, [None, 5]))
        for x, maxlag, autolag in product(walks(n, seeds), lags, CRITERIA)
    ]
    within(f"ADF {regression} statistic", [case[0] for case in cases], 1e-8)
    within(f"ADF {regression} p-value", [case[1] for case in cases], 1e-6)


@pytest.mark.parametrize("n", range(21, 51, 3))
def test_adf_and_engle_granger_equal_statsmodels_on_short_series(n: int) -> None:
    y, x = legs(n, n)
    for autolag in CRITERIA:
        assert max(compare_adf(y, "ct", None, autolag)) <= 1e-8
        assert max(compare_coint(y, x, "c", None, autolag)) <= 1e-8


@pytest.mark.parametrize("trend", ["c", "ct", "ctt"])
def test_engle_granger_equals_statsmodels_in_every_combination_and_length(trend: str) -> None:
    cases = [
        compare_coint(*legs(n, seed), trend, maxlag, autolag)
        for n, lags in ((30, [None, 0, 3]), (61, [None, 1]), (400, [None, 5]))
        for seed, maxlag, autolag in product(range(2), lags, CRITERIA)
    ]
    within(f"Engle-Granger {trend} statistic", [case[0] for case in cases], 1e-8)
    within(f"Engle-Granger {trend} p-value", [case[1] for case in cases], 1e-6)


def test_a_week_of_minutes_is_tested_as_statsmodels_tests_it() -> None:
    y, x = legs(10_080, 0)
    cases = [compare_adf(x, "c", None, "aic"), compare_adf(x, "ct", 8, "t-stat"), compare_coint(y, x, "c", None, "aic")]
    within("10,080 rows, statistic", [case[0] for case in cases], 1e-8)
    within("10,080 rows, p-value", [case[1] for case in cases], 1e-6)


def test_real_minutes_are_tested_as_statsmodels_tests_them(minutes: pd.DataFrame) -> None:
    names = ["ADAUSDT", "AVAXUSDT", "BTCUSDT", "ETHUSDT", "XLMUSDT"]
    prices = minutes[names].to_numpy()[-1440:]
    adf, pair = [], []
    for (i, regression), autolag in product(enumerate(["n", "c", "ct", "ctt", "c"]), CRITERIA):
        adf.append(compare_adf(np.log(prices[:, i]), regression, None if autolag == "aic" else 8, autolag))
    for (i, j), trend in product([(0, 1), (1, 0), (3, 2)], ["c", "ct", "ctt"]):
        pair.append(compare_coint(np.log(prices[:, i]), np.log(prices[:, j]), trend, None, "aic"))
        pair.append(compare_coint(prices[:, i], prices[:, j], trend, 6, "t-stat"))
    within("real minutes, ADF statistic", [case[0] for case in adf], 1e-8)
    within("real minutes, ADF p-value", [case[1] for case in adf], 1e-6)
    within("real minutes, Engle-Granger statistic", [case[0] for case in pair], 1e-8)
    within("real minutes, Engle-Granger p-value", [case[1] for case in pair], 1e-6)


@pytest.mark.parametrize("noise", [0.3, 0.1, 0.05])
def test_nearly_collinear_legs_are_tested_as_statsmodels_tests_them(noise: float) -> None:
    rng = np.random.default_rng(3)
    x = 1000 + np.cumsum(rng.standard_normal(600))
    y = 2 * x + noise * rng.standard_normal(600)
    cases = [compare_coint(y, x, trend, None, autolag) for trend, autolag in product(["c", "ct"], CRITERIA)]
    within(f"legs that differ by {noise}, statistic", [case[0] for case in cases], 1e-8)


def test_what_statsmodels_calls_collinear_is_refused() -> None:
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.standard_normal(600))
    y = 2 * x + 1e-3 * rng.standard_normal(600)
    with pytest.warns(CollinearityWarning):
        assert coint(y, x)[0] == -np.inf
    with pytest.raises(DegenerateSeries, match=r"^x: is collinear with y \(R² 0\.99999"):
        engle_granger(y, x)


def exact_ratio(x: np.ndarray, trends: int, lags: int) -> float:
    """The Dickey-Fuller t-ratio of the very numbers given, in fractions: rounded once, at the end."""
    values = [Fraction(float(value)) for value in x]
    change = [b - a for a, b in pairwise(values)]
    rows = [
        [*(Fraction(t) ** k for k in range(trends)), *(change[t - k] for k in range(1, lags + 1)), values[t], change[t]]
        for t in range(lags, len(change))
    ]
    k = trends + lags + 1
    moments = [[sum(row[i] * row[j] for row in rows) for j in range(k + 1)] for i in range(k + 1)]
    for i in range(k - 1):  # take every regressor but the level off, in the others and in the change
        for j in range(i + 1, k + 1):
            factor = moments[j][i] / moments[i][i]
            moments[j] = [a - factor * b for a, b in zip(moments[j], moments[i], strict=True)]
    level, cross, total = moments[k - 1][k - 1], moments[k - 1][k], moments[k][k]
    rss = total - cross * cross / level
    return float(cross) / float(level * rss / (len(rows) - k)) ** 0.5


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("regression", ["n", "c", "ct", "ctt"])
def test_adf_equals_exact_fractions_however_far_the_level_lies_from_zero(offset: float, regression: str) -> None:
    """statsmodels is no oracle at 1e8: it takes level and constant for one column there, and its answer is another."""
    differences = []
    for seed in range(3):
        x = offset + np.cumsum(np.random.default_rng(seed).standard_normal(40))
        ours = adf_test(x, regression=regression, maxlag=4)
        exact = exact_ratio(x, 0 if regression == "n" else len(regression), ours.lags)
        differences.append(relative(ours.statistic, exact))
    within(f"ADF {regression} at {offset:.0e}, exact", differences, 1e-11)


def test_an_offset_changes_neither_lags_nor_verdict() -> None:
    walk = np.rint(np.cumsum(np.random.default_rng(1).standard_normal(1440)) * 100)
    y, x = legs(1440, 0)
    y, x = y.round(4), x.round(4)
    for regression in ("c", "ct", "ctt"):
        near, far = adf_test(walk, regression=regression), adf_test(walk + 1e8, regression=regression)
        assert near.lags == far.lags
        assert far.statistic == pytest.approx(near.statistic, rel=1e-11)
        # Four decimals do not fit behind eight digits: what the sum cannot hold is gone before any test.
        near, far = engle_granger(y, x, trend=regression), engle_granger(y + 1e8, x + 1e8, trend=regression)
        assert near.lags == far.lags
        assert far.statistic == pytest.approx(near.statistic, rel=1e-7)


@pytest.mark.parametrize("regression", ["c", "ct"])
@pytest.mark.filterwarnings("ignore:The test statistic is outside")
def test_kpss_equals_statsmodels(regression: str) -> None:
    statistics, pvalues = [], []
    for n, lags in product((25, 400), ("auto", 0, 7)):
        for x in walks(n, 3):
            ours = kpss_test(x, regression=regression, lags=lags)
            theirs = kpss(x, regression=regression, nlags=lags, result_object=True)
            assert ours.lags == theirs.lags
            assert ours.critical_values == theirs.critical_values
            assert ours.is_bound == (theirs.pvalue in {0.01, 0.1})
            statistics.append(relative(ours.statistic, theirs.statistic))
            pvalues.append(abs(ours.pvalue - theirs.pvalue))
    within(f"KPSS {regression} statistic", statistics, 1e-8)
    within(f"KPSS {regression} p-value", pvalues, 1e-8)


@pytest.mark.parametrize("det_order", [-1, 0, 1])
def test_johansen_equals_statsmodels(det_order: int) -> None:
    differences: dict[str, list[float]] = {"trace": [], "maximum eigenvalue": [], "eigenvalues": [], "eigenvectors": []}
    for k, n, lags in product((2, 3, 5, 12), (200, 1440), (0, 1, 3)):
        rng = np.random.default_rng([k, n, lags])
        # Near zero: where levels are far off and order -1 leaves them there, statsmodels inverts their squares.
        x = np.cumsum(rng.standard_normal((n, k)), axis=0)
        x[:, 1] = 2 * x[:, 0] + rng.standard_normal(n)
        ours, theirs = johansen(x, det_order, lags), coint_johansen(x, det_order, lags)
        pairs = [(ours.trace, theirs.lr1), (ours.max_eigenvalue, theirs.lr2), (ours.eigenvalues, theirs.eig)]
        for name, (mine, other) in zip(differences, pairs, strict=False):
            differences[name].append(float(np.abs(mine / other - 1).max()))
        apart = np.abs(np.abs(ours.eigenvectors) - np.abs(theirs.evec)).max() / np.abs(theirs.evec).max()
        differences["eigenvectors"].append(float(apart))
        np.testing.assert_array_equal(ours.trace_critical_values, theirs.cvt)
        np.testing.assert_array_equal(ours.max_eigenvalue_critical_values, theirs.cvm)
        assert ours.nobs == theirs.rkt.shape[0]
    for name, seen in differences.items():
        within(f"Johansen {name}, order {det_order}", seen, 1e-8)


def test_johansen_equals_statsmodels_on_real_minutes(minutes: pd.DataFrame) -> None:
    x = np.log(minutes[["ADAUSDT", "AVAXUSDT", "XLMUSDT"]].to_numpy()[-1440:])
    ours, theirs = johansen(x), coint_johansen(x, 0, 1)
    within("Johansen trace, real minutes", list(np.abs(ours.trace / theirs.lr1 - 1)), 1e-8)
    within("Johansen maximum eigenvalue, real minutes", list(np.abs(ours.max_eigenvalue / theirs.lr2 - 1)), 1e-8)


def test_p_values_and_critical_values_equal_statsmodels_over_all_tables() -> None:
    statistics = np.concatenate([np.linspace(-30, 6, 400), [-np.inf, np.inf, -3.0, 0.0]])
    pvalues, critical = [], []
    for trend, series in product(["n", "c", "ct", "ctt"], range(1, 7)):
        ours = mackinnon_pvalues(statistics, trend, series=series)
        theirs = np.array([mackinnonp(t, trend, series) if t < np.inf else 1.0 for t in statistics])
        there = theirs > 0.0
        np.testing.assert_array_equal(ours > 0.0, there)
        pvalues += list(np.abs(ours / np.where(there, theirs, 1.0) - 1.0)[there])
        if trend != "n" or series == 1:
            for nobs in (25, 1440, np.inf):
                mine = list(mackinnon_critical_values(trend, series=series, nobs=nobs).values())
                critical += list(np.abs(mine / mackinnoncrit(series, trend, float(nobs)) - 1))
    within("MacKinnon p-value, relative", pvalues, 1e-10)
    within("MacKinnon critical value", critical, 1e-12)


def test_the_normal_distribution_keeps_its_digits_in_the_tail() -> None:
    x = np.linspace(-37, 8, 20_001)
    within("normal distribution, relative", list(np.abs(normal_cdf(x) / scipy.special.ndtr(x) - 1)), 1e-12)
    assert normal_cdf(np.array([-50.0, 50.0, -np.inf, np.inf])).tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("kind", ["independent", "with ties", "with bounds", "one"])
def test_false_discovery_rates_equal_statsmodels_and_scipy(kind: str) -> None:
    rng = np.random.default_rng(5)
    p = {
        "independent": rng.random(2000) ** 3,
        "with ties": rng.integers(0, 12, 500) / 11,
        "with bounds": np.concatenate([np.zeros(5), np.ones(5), rng.random(20)]),
        "one": np.array([0.03]),
    }[kind]
    for ours, name in ((benjamini_hochberg(p), "bh"), (benjamini_yekutieli(p), "by")):
        differences = [
            *np.abs(ours - multipletests(p, method=f"fdr_{name}")[1]),
            *np.abs(ours - scipy.stats.false_discovery_control(p, method=name)),
        ]
        within(f"false discovery {name}, {kind}", differences, 1e-12)


def test_adf_and_engle_granger_equal_arch_at_the_lags_that_were_chosen() -> None:
    from arch.unitroot import ADF
    from arch.unitroot import engle_granger as arch_engle_granger

    differences = []
    for seed in range(4):
        y, x = legs(300, seed)
        ours = adf_test(y, regression="ct")
        theirs = ADF(y, lags=ours.lags, trend="ct")
        differences += [relative(ours.statistic, float(theirs.stat)), abs(ours.pvalue - float(theirs.pvalue))]
        pair = engle_granger(y, x)
        theirs = arch_engle_granger(y, x, trend="c", lags=pair.lags)
        differences.append(relative(pair.statistic, float(theirs.stat)))
    within("arch, ADF and Engle-Granger", differences, 1e-8)
