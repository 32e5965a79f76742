"""The report of a pair: planted relations are found, what cannot be said has a reason, the last row is the report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.pair_report import RawTrades, pair_report, pair_rows
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.anchors import even_slots, offset_of
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch


def planted(n: int, *, seed: int = 1, beta: float = 0.8, half_life: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Logs of prices: x walks, y is beta x and a spread that comes back with a known half-life."""
    dice = np.random.default_rng(seed)
    x = 5.0 + np.cumsum(dice.standard_normal(n)) / 1000
    spread, noise, phi = np.empty(n), dice.standard_normal(n) / 2000, 0.5 ** (1 / half_life)
    spread[0] = 0.0
    for t in range(1, n):
        spread[t] = phi * spread[t - 1] + noise[t]
    return 1.0 + beta * x + spread, x


def settings(**given: Any) -> PairSettings:
    return PairSettings("ETHUSDT", "BTCUSDT", **given)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_a_planted_pair_is_found_with_its_ratio_its_half_life_and_its_verdicts() -> None:
    report = pair_report(*planted(2880), settings())
    document = report.document
    assert document["n"] == 1440
    low, high = document["hedge_ratio"]["ols"]["interval"]
    assert low < 0.8 < high
    assert high - low < 0.2
    interval = document["spread"]["half_life_interval"]
    assert interval["low"] < 20.0 < interval["high"]
    tests = document["cointegration"]["engle_granger"]
    assert tests["y_on_x"]["cointegrated"]
    assert tests["x_on_y"]["cointegrated"]
    assert document["cointegration"]["johansen"]["rank"] >= 1
    assert document["adf"]["stationary"]
    assert document["sentinel"]["status"] == "ok"
    assert document["spread"]["hurst"] < 0.45


def test_two_walks_are_no_pair() -> None:
    dice = np.random.default_rng(8)
    y, x = np.cumsum(dice.standard_normal((2, 2880)), axis=1) / 1000
    document = pair_report(y, x, settings()).document
    tests = document["cointegration"]["engle_granger"]
    assert not tests["y_on_x"]["cointegrated"]
    assert not tests["x_on_y"]["cointegrated"]
    assert document["sentinel"]["status"] == "no verdict"
    assert document["sentinel"]["reason"]


def test_a_pair_that_breaks_in_the_lookback_trips_the_sentinel() -> None:
    y, x = planted(2880, half_life=10)
    y[-700:] += np.cumsum(np.random.default_rng(4).standard_normal(700)) / 500
    slots = even_slots(2880, 1440, offset_of("ETHUSDT:BTCUSDT", 1440))
    sentinel = pair_report(y, x, settings(), slots=slots).document["sentinel"]
    assert sentinel["status"] == "broken"
    assert sentinel["since"] == slots[1440] * 60_000
    assert sentinel["tripped"] // 60_000 in slots[-700:]


def test_a_leg_that_leads_is_named_by_the_sign_of_the_lag() -> None:
    y, x = planted(700)
    y = np.concatenate([y[:3], 1.0 + 0.8 * x[:-3]])
    found = pair_report(y, x, settings(lookback=600)).document["correlation"]["lead_lag"]
    assert found["lag"] == 3
    assert found["correlation"] > 0.9 > found["band_of_best"]


def test_raw_trades_show_a_correlation_that_needs_no_bars() -> None:
    dice = np.random.default_rng(2)
    walk = 5.0 + np.cumsum(dice.standard_normal(4000)) / 10_000
    legs = []
    for _ in range(2):
        rows = np.sort(dice.choice(4000, 2500, replace=False))
        zero = np.zeros(rows.size, np.int32)
        at = rows.astype(np.int64) * 1_000_000
        price = np.exp(walk[rows])
        legs.append(
            TickBatch(Symbols(["A"]), zero, at, at, at, price, np.ones(rows.size), np.zeros(rows.size, np.bool_), 0)
        )
    report = pair_report(*planted(100), settings(lookback=100), trades=RawTrades(*legs))
    assert report.document["correlation"]["hayashi_yoshida"]["correlation"] == pytest.approx(1.0, abs=0.05)
    without = pair_report(*planted(100), settings(lookback=100)).document["correlation"]["hayashi_yoshida"]
    assert without["correlation"] is None
    assert "needs" in without["reason"]


@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
@pytest.mark.parametrize("rows", [300, 150, 70])
def test_the_last_row_of_the_series_has_the_bits_of_the_report(method: str, rows: int) -> None:
    report = pair_report(*planted(rows), settings(lookback=150, window=40, method=method), series=True)
    document, series = report.document, report.series
    assert series["spread"][-1] == document["spread"]["last"]
    assert series["zscore"][-1] == series["zscore_now"][-1] == document["spread"]["zscore"]
    assert series["mean"][-1] == document["spread"]["mean"]
    assert series["std"][-1] == document["spread"]["std"]
    assert series["beta_ols"][-1] == document["hedge_ratio"]["ols"]["beta"]
    assert series["beta_kalman"][-1] == document["hedge_ratio"]["kalman"]["beta"]
    assert series["correlation"][-1] == document["correlation"]["rolling"]
    assert {column.size for column in series.values()} == {document["n"]}


def test_a_full_history_gives_every_row_of_the_series_its_own_lookback() -> None:
    y, x = planted(400)
    series = pair_report(y, x, settings(lookback=200, window=30), series=True).series
    assert (series["n"] == 200).all()
    assert np.isfinite(series["zscore"]).all()
    short = pair_report(y[-250:], x[-250:], settings(lookback=200, window=30), series=True).series
    assert short["n"][0] == 51
    assert short["beta_ols"][-60] == series["beta_ols"][-60] or short["n"][-60] < 200


@pytest.mark.parametrize("lookback", [3, 4, 5, 8, 12, 20, 60])
@pytest.mark.parametrize("rows", [3, 4, 7, 13, 31, 90])
@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
def test_whatever_is_short_the_report_comes_without_a_nan_and_each_null_test_has_a_reason(
    lookback: int, rows: int, method: str
) -> None:
    window = max(2, lookback // 2)
    report = pair_report(*planted(rows), settings(lookback=lookback, window=window, method=method), series=True)
    for value in leaves(report.document):
        assert not (isinstance(value, float) and not math.isfinite(value))
    json.dumps(report.document)
    for path in ("adf", "kpss"):
        assert report.document[path]["statistic"] is not None or report.document[path]["reason"]
    for name in ("half_life", "hurst", "zscore"):
        assert report.document["spread"][name] is not None or report.reasons[f"spread.{name}"]


@pytest.mark.parametrize("seed", [4, 6, 11])
def test_odd_series_give_a_report_or_an_error_with_a_name(seed: int) -> None:
    """Flat stretches, grids, jumps, copies, offsets: whatever a market may print."""
    dice = np.random.default_rng(seed)
    n = int(dice.integers(3, 200))
    y, x = planted(n, seed=seed)
    odd = [
        lambda v: np.round(v, 2),
        lambda v: v + 1e8,
        lambda v: np.where(np.arange(n) < n - 3, v[0], v),
        lambda v: np.where(np.arange(n) == n // 2, v * 3, v),
        lambda v: v * 1e-9,
        lambda _: 2.0 * x + 1.0,
        lambda _: np.arange(n) * 1.0,
        lambda _: np.tile([1.0, 2.0], n)[:n],
    ]
    for change_y in odd:
        for change_x in odd:
            try:
                report = pair_report(
                    change_y(y), change_x(x), settings(lookback=50, window=10, method="huber"), series=True
                )
            except (InputError, DegenerateSeries) as error:
                assert error.loc in {"y", "x"}
                continue
            assert all(not isinstance(v, float) or math.isfinite(v) for v in leaves(report.document))


@pytest.mark.parametrize("leg", ["y", "x"])
def test_bad_legs_are_refused_by_name(leg: str) -> None:
    good, short = planted(50)[0], planted(2)[0]

    def call(bad: np.ndarray) -> None:
        pair_report(**{"y": good, "x": planted(50, seed=3)[1], leg: bad}, settings=settings())

    for bad, kind in (
        (np.full(50, np.nan), InputError),
        (np.full(50, np.inf), InputError),
        (np.ones(50), DegenerateSeries),
        (short, NotEnoughData),
    ):
        with pytest.raises(kind, match=leg):
            call(bad)
    with pytest.raises(DegenerateSeries, match=leg):
        pair_rows(**{"prices_y": good, "prices_x": good, f"prices_{leg}": -good}, price_space="log")
    with pytest.raises(InputError, match="x: has 49"):
        pair_report(good, good[1:], settings())


def test_a_long_theil_sen_is_left_out_with_its_reason() -> None:
    report = pair_report(*planted(4000), settings(lookback=3500))
    assert report.document["hedge_ratio"]["theil_sen"]["beta"] is None
    assert "at most 3000 bars" in report.reasons["hedge_ratio.theil_sen"]
