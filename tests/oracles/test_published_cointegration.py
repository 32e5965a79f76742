"""Published results of cointegration, to every printed digit, from the data that they were printed for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pairscope.analytics.statistical_tests import EngleGrangerResult, adf_test, engle_granger

from .workbook import read_sheet

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def closes(y: str, x: str) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted closes of two funds on the days that both have."""
    folder = DATA / "cointegration"
    if not folder.is_dir():
        pytest.skip(reason="no published prices beside the repository: ../shared/data/cointegration")
    left, right = (read_sheet(folder / f"{name}.xls").set_index("Date")["Adj Close"].astype(float) for name in (y, x))
    both = pd.concat([left, right], axis=1, join="inner", keys=[y, x]).sort_index()
    return both[y].to_numpy(), both[x].to_numpy()


@pytest.fixture(scope="module")
def quarters() -> pd.DataFrame:
    """Closes of clock-aligned quarters of an hour, a column a symbol, NaN where there is none."""
    path = DATA / "bars" / "um_1m_2025-05.parquet"
    if not path.is_file():
        pytest.skip(reason="no bars beside the repository: ../shared/data/bars")
    bars = pd.read_parquet(path, columns=["symbol", "timestamp", "close"]).set_index("timestamp")
    last = bars.groupby("symbol", observed=True)["close"].resample("15min").last()
    return last.unstack("symbol").rename(columns=lambda name: name.removesuffix("USDT"))


def printed(test: EngleGrangerResult) -> tuple[str, str]:
    return f"{test.statistic:.10f}", f"{test.pvalue:.10f}"


def test_gold_and_its_miners_are_cointegrated_to_every_printed_digit() -> None:
    y, x = closes("GLD", "GDX")
    test = engle_granger(y, x)
    assert y.size == 385
    assert printed(test) == ("-3.6981160763", "0.0184278354")
    critical = [f"{value:.8f}" for value in test.critical_values.values()]
    assert critical == ["-3.92518794", "-3.35208799", "-3.05551324"]


def test_the_first_year_of_gold_and_its_miners_alone_is_not() -> None:
    y, x = closes("GLD", "GDX")
    assert printed(engle_granger(y[:252], x[:252])) == ("-2.3591268377", "0.3444494880")


def test_coca_cola_and_pepsi_are_not_cointegrated_to_every_printed_digit() -> None:
    y, x = closes("KO", "PEP")
    assert y.size == 7835
    assert printed(engle_granger(y, x)) == ("-1.5815517042", "0.7286134576")


@pytest.mark.parametrize(
    ("y", "x", "statistic", "bars"),
    [
        ("ETC", "XLM", -4.429156, 2881),
        ("XLM", "ETC", -4.370252, 2881),
        ("ADA", "AVAX", -4.379297, 2390),
        ("ADA", "LINK", -4.019419, 2390),
        ("ETH", "BTC", -1.761546, 2881),
    ],
)
def test_perpetuals_give_the_published_statistics(
    quarters: pd.DataFrame, y: str, x: str, statistic: float, bars: int
) -> None:
    """ADA on LINK is -4.0194198, here as in statsmodels: its last digit was cut off in print, not rounded."""
    both = np.log(quarters[[y, x]].dropna())
    test = engle_granger(both[y].to_numpy(), both[x].to_numpy())
    assert test.statistic == pytest.approx(statistic, rel=0, abs=1e-6)
    assert len(both) == bars


def test_twenty_of_a_hundred_and_twenty_pairs_of_perpetuals_reject_one_way_and_twenty_five_either(
    quarters: pd.DataFrame,
) -> None:
    one, either = 0, 0
    names = sorted(quarters.columns)
    for i, y in enumerate(names):
        for x in names[i + 1 :]:
            both = np.log(quarters[[y, x]].dropna().to_numpy().T)
            there, back = engle_granger(both[0], both[1]).rejects(), engle_granger(both[1], both[0]).rejects()
            one += there
            either += there or back
    assert (one, either) == (20, 25)


def test_a_logarithm_of_a_price_is_a_walk_and_its_changes_are_not(quarters: pd.DataFrame) -> None:
    price = np.log(quarters["BTC"].dropna().to_numpy())
    assert not adf_test(price).rejects(0.05)
    assert adf_test(np.diff(price)).rejects(0.01)
