"""A sweep is as many backtests: every row the same, in order, from any executor, and it can be stopped."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import backtest_pair, causal_hedge
from pairscope.analytics.overfitting import cross_validate
from pairscope.analytics.performance import deflated_sharpe, return_shape
from pairscope.errors import InputError, NotEnoughData
from pairscope.research.asked_backtest import run_backtest
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import LegBars, PairBars
from pairscope.research.sweep import sweep, sweep_request
from pairscope.research.sweep_run import _UNDER_WAY
from pairscope.research.sweep_table import SWEPT, SweepTable

RULE: dict[str, Any] = {"lookback": 120, "window": 40, "entry": 1.8, "exit": 0.3}


def walks(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two walks that go together; y's prices end in whole cents, so that some values come back exactly."""
    steps = np.random.default_rng(seed).standard_normal((2, n)) * 1e-3
    steps[0] += 0.7 * steps[1]
    y, x = np.exp(np.cumsum(steps, axis=1)) * [[100.0], [7.0]]
    return y.round(2), x


def columns(y: np.ndarray, x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Opens, highs, lows and funding around the closes."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, close in (("y", y), ("x", x)):
        open_ = close * np.exp(2e-4 * rng.standard_normal(close.size))
        made[f"open_{name}"] = open_
        made[f"high_{name}"] = np.maximum(open_, close) * (1 + 3e-4 * rng.random(close.size))
        made[f"low_{name}"] = np.minimum(open_, close) * (1 - 3e-4 * rng.random(close.size))
        made[f"funding_{name}"] = np.where(np.arange(close.size) % 60 == 0, 1e-4 * rng.standard_normal(close.size), 0)
    return made


def hold_against_backtests(table: SweepTable, y: np.ndarray, x: np.ndarray, terms: dict[str, Any]) -> int:
    """Compare every row with a backtest of its own; return how many trades they have."""
    trades = 0
    for row in table:
        own = {name: row[name] for name in table.grid}
        made = backtest_pair(y, x, **{**terms, **own}).metrics
        hold_against(row, made, own)
        trades += row["trades"]
    return trades


def hold_against(row: Any, made: Any, own: Any) -> None:
    """Compare a row with a backtest's metrics."""
    for name in SWEPT:
        if made[name] is None or name in ("trades", "longest_drawdown", "skipped"):
            assert row[name] == made[name], (name, own)
        else:
            assert row[name] == pytest.approx(made[name], rel=1e-9, abs=1e-9), (name, own)


@pytest.mark.parametrize("space", ["log", "linear"])
@pytest.mark.parametrize("fill", ["next", "same", "open"])
def test_every_row_is_a_backtest_with_the_same_keywords(fill: str, space: str) -> None:
    y, x = walks(700, 1)
    terms = {
        "lookback": 120, "max_holding": 35, "cooldown": 7, "fee_bps": (4.0, 2.0), "slippage_bps": 1.0,
        "slippage_range": 0.1, "fill": fill, "price_space": space, **columns(y, x, 2),
    }  # fmt: skip
    grid = {
        "hedge": ["ols", "huber", "kalman", 0.7, -0.4],
        "window": [20, 60],
        "entry": [1.4, 2.1],
        "exit": [0.0, 0.6],
        "stop": [None, 2.8],
    }
    table = sweep(y, x, grid=grid, **terms)
    assert len(table) == 80
    assert hold_against_backtests(table, y, x, terms) > 500


def test_money_steps_sizing_gates_and_re_hedging_are_those_of_a_backtest_too() -> None:
    y, x = walks(600, 3)
    terms = {**RULE, "hedge": "ols", "stop": 2.4, "gate": np.random.default_rng(4).random(600) > 0.4}
    grid = {
        "notional": [60.0, 1e4],
        "sizing": ["beta", "dollar"],
        "step_y": [None, 0.5],
        "step_x": [3.0],
        "capital": [None, 2500.0],
        "rehedge": [None, 0.2],
        "cooldown": [0, 15],
    }
    table = sweep(y, x, grid=grid, **terms)
    assert (len(table), table.skipped) == (48, 16)
    assert table["skipped"].max() > 0
    assert hold_against_backtests(table, y, x, terms) > 100


@pytest.mark.parametrize("seed", range(6))
def test_random_grids_on_random_pairs_are_backtests(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = walks(int(rng.integers(150, 500)), seed + 50)

    def some(*values: Any) -> list[Any]:
        return [values[i] for i in sorted(rng.choice(len(values), 2, replace=False))]

    grid = {
        "hedge": some("ols", "kalman", 1.0, 0.0),
        "lookback": some(3, 30, 60, 100),
        "window": some(2, 3, 25, 100),
        "entry": [0.6, float(rng.choice([1.0, 1.5, 2.5]))],
        "exit": some(0.0, 0.4, 0.9),
        "stop": some(None, 1.2, 3.0),
        "max_holding": some(None, 1, 12),
        "fee_bps": some(0.0, 5.0),
    }
    terms = {"maintenance": float(rng.choice([0.005, 0.9]))}
    assert hold_against_backtests(sweep(y, x, grid=grid, **terms), y, x, terms) > 0


@pytest.mark.parametrize("fill", ["next", "same", "open"])
def test_rules_that_share_what_they_trade_have_the_rows_that_each_has_alone(fill: str) -> None:
    y, x = walks(1500, 60)
    terms = {"hedge": "ols", "lookback": 60, "window": 40, "fill": fill, "notional": 1e3, **columns(y, x, 61)}
    grid = {
        "fee_bps": [0.0, 8.0],
        "entry": [1.0, 2.0],
        "stop": [2.5, None],
        "exit": [0.0, 0.9],
        "capital": [15.0, 1e3],
        "max_holding": [None, 30],
    }
    table = sweep(y, x, grid=grid, **terms)
    for place, row in enumerate(table):
        alone = sweep(y, x, grid={name: [row[name]] for name in grid}, **terms)
        np.testing.assert_array_equal(table.metrics[place], alone.metrics[0])
        np.testing.assert_array_equal(table.blocks[place], alone.blocks[0])
    ruined = table["total_return"] < -0.7
    assert 0 < ruined.sum() < len(table) / 2
    assert table["average_holding"].max() > 20
    assert hold_against_backtests(table, y, x, terms) > 1000


def test_legs_of_which_a_spread_leaves_next_to_nothing_are_judged_as_a_backtest_judges_them() -> None:
    rng = np.random.default_rng(5)
    x = 100 * np.exp(np.cumsum(rng.standard_normal(500)) * 1e-3)
    x[200:260] = x[200]
    y = x * (1 + 1e-9 * rng.standard_normal(500))
    y[300:360] = y[300]
    grid = {"hedge": [1.0, "ols"], "price_space": ["log", "linear"], "entry": [1.0, 1.5]}
    terms = {"lookback": 40, "window": 10, "exit": 0.0}
    assert hold_against_backtests(sweep(y, x, grid=grid, **terms), y, x, terms) > 50


def test_a_threshold_that_a_z_score_meets_exactly_decides_as_in_a_backtest() -> None:
    y = 100.0 + np.tile([0.0, 1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0], 40)
    x = 50.0 + np.arange(320) % 5
    terms: dict[str, Any] = {"hedge": 0.0, "lookback": 8, "window": 8, "price_space": "linear"}
    zscore = backtest_pair(y, x, entry=9.0, exit=0.0, **terms).series["zscore"]
    met = sorted({abs(z) for z in zscore.tolist() if z == z} - {0.0})
    grid = {"entry": met, "exit": [0.0, *met], "stop": [None, *met]}
    table = sweep(y, x, grid=grid, **terms)
    assert hold_against_backtests(table, y, x, terms) > 100


def test_rows_stand_in_the_order_of_a_product_without_those_that_make_no_sense() -> None:
    y, x = walks(200, 6)
    grid = {"entry": [1.0, 2.0], "stop": [None, 1.5], "exit": [0.5, 1.0], "window": [20, 200]}
    table = sweep(y, x, grid=grid, hedge="ols", lookback=60)
    sensible = [
        one
        for one in itertools.product(*grid.values())
        if one[0] > one[2] and (one[1] is None or one[1] > one[0]) and one[3] <= 60
    ]
    assert [tuple(row[name] for name in grid) for row in table] == sensible
    assert table.skipped == 16 - len(sensible)
    assert table.columns == (*grid, *SWEPT)
    assert table["stop"].tolist() == [one[1] for one in sensible]
    (alone,) = sweep(y, x, grid={}, hedge=1.0, **RULE)
    hold_against(alone, backtest_pair(y, x, hedge=1.0, **RULE).metrics, {})


class Elsewhere(Executor):
    """Computes at once, on copies, and in whatever order it is asked: as a cluster does."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        import pickle

        future: Future[Any] = Future()
        future.set_result(pickle.loads(pickle.dumps(fn))(*pickle.loads(pickle.dumps(args)), **kwargs))
        return future


def test_every_executor_gives_the_same_table() -> None:
    y, x = walks(900, 7)
    grid = {"hedge": ["ols", "huber", "kalman"], "entry": [1.2, 1.9], "rehedge": [None, 0.3]}
    terms = {"lookback": 200, "window": 50, "exit": 0.2}
    alone = sweep(y, x, grid=grid, **terms)
    with ThreadPoolExecutor(3) as threads:
        for executor in (threads, Elsewhere()):
            other = sweep(y, x, grid=grid, executor=executor, **terms)
            np.testing.assert_array_equal(other.metrics, alone.metrics)
            np.testing.assert_array_equal(other.blocks, alone.blocks)
        assert threads.submit(sum, [1, 2]).result() == 3


def test_progress_counts_combinations_and_ends_with_all() -> None:
    y, x = walks(400, 8)
    told: list[tuple[int, int]] = []
    sweep(y, x, grid={"entry": [1.0, 1.5, 2.0], "hedge": ["ols", 1.0]}, lookback=60, window=20, exit=0.0,
          progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert told[-1] == (6, 6)
    assert {total for _, total in told} == {6}
    assert told == sorted(told)


def test_a_cancelled_sweep_starts_nothing_more() -> None:
    y, x = walks(400, 9)
    started, stop = [], threading.Event()

    class Counting(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            started.append(fn)
            if len(started) == 60:
                stop.set()
            return super().submit(fn, *args, **kwargs)

    grid = {"rehedge": [0.2], "entry": np.linspace(1.0, 2.0, 300)}
    with Counting(1) as pool, pytest.raises(CancelledError):
        sweep(y, x, grid=grid, hedge="ols", lookback=60, window=20, exit=0.0, executor=pool, cancelled=stop.is_set)
    assert 60 <= len(started) <= 60 + _UNDER_WAY


def test_overfitting_and_deflation_are_those_of_all_backtests_returns() -> None:
    y, x = walks(1100, 10)
    grid = {"entry": [1.0, 1.5, 2.0, 9.0], "exit": [0.0, 0.5], "window": [30, 60]}
    terms = {"hedge": "ols", "lookback": 120, "fee_bps": 1.0}
    table = sweep(y, x, grid=grid, trials=500, **terms)
    equity = np.array(
        [
            backtest_pair(y, x, **terms, **{name: row[name] for name in grid}).equity["equity"]  # type: ignore[misc]
            for row in table
        ]
    )
    returns = (equity[:, 1:] / equity[:, :-1] - 1).T
    truth = cross_validate(returns[119:])
    assert table.pbo == truth.pbo
    found = table.overfitting()
    assert found is not None
    assert found.trials == 12
    np.testing.assert_array_equal(found.choices.chosen, truth.choices.chosen)
    np.testing.assert_allclose(found.logits, truth.logits, rtol=1e-12)
    assert (found.slope, found.loss) == (pytest.approx(truth.slope, rel=1e-6), truth.loss)
    ratios = [return_shape(column) for column in returns.T]
    known = [shape.sharpe for shape in ratios if shape.sharpe is not None]
    best = max((shape for shape in ratios if shape.sharpe is not None), key=lambda shape: shape.sharpe or 0.0)
    assert table.deflated_sharpe == pytest.approx(
        deflated_sharpe(
            best.sharpe or 0.0, 1099, trials=500, variance=float(np.var(known, ddof=1)),
            skew=best.skew or 0.0, kurtosis=best.kurtosis or 0.0,
        ),
        rel=1e-9,
    )  # fmt: skip
    document = table.document()
    assert (document["pbo"], document["trials"], len(document["rows"])) == (truth.pbo, 500, 16)


def test_of_rules_that_never_trade_nothing_is_claimed() -> None:
    table = sweep(*walks(300, 11), grid={"entry": [50.0, 60.0]}, hedge=1.0, lookback=30, window=30, exit=0.0)
    assert (table.pbo, table.deflated_sharpe, table.best()) == (None, None, None)
    assert (table[0]["trades"], table[0]["sharpe"], table[0]["win_rate"]) == (0, None, None)
    assert table.document()["overfitting"] is None


def test_the_best_row_and_a_heatmap_are_found_by_any_metric() -> None:
    y, x = walks(600, 12)
    grid = {"entry": [1.0, 1.5, 2.0], "exit": [0.0, 1.2], "window": [20, 40]}
    table = sweep(y, x, grid=grid, hedge=0.7, lookback=60, fee_bps=2.0)
    assert table.best() == max(table.rows(), key=lambda row: row["sharpe"])
    assert table.best("fees") == min(table.rows(), key=lambda row: row["fees"])
    drawn, best = table.heatmap("sharpe", "exit", "entry"), table.heatmap("sharpe", "exit", "entry", best=True)
    assert (drawn.a_values, drawn.b_values, drawn.others) == ((0.0, 1.2), (1.0, 1.5, 2.0), "the mean over window")
    assert np.isnan(drawn.values[1, 0])
    for i, j in ((0, 0), (0, 2), (1, 1)):
        cell = [row["sharpe"] for row in table if (row["exit"], row["entry"]) == ((0.0, 1.2)[i], (1.0, 1.5, 2.0)[j])]
        assert drawn.values[i, j] == pytest.approx(sum(cell) / 2)
        assert best.values[i, j] == max(cell)
    frame = table.to_pandas()
    assert frame["sharpe"].tolist() == table["sharpe"].tolist()
    with pytest.raises(InputError, match="metric"):
        table.heatmap("shape", "entry", "exit")
    with pytest.raises(InputError, match="b: stop"):
        table.heatmap("sharpe", "entry", "stop")


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"grid": {"speed": [1]}}, "grid"),
        ({"grid": {"gate": [None]}}, "grid"),
        ({"grid": {"entry": []}}, "entry"),
        ({"grid": {"entry": 2.0}}, "entry"),
        ({"grid": {"entry": [2.0, float("nan")]}}, "entry"),
        ({"grid": {"entry": ["2"]}}, "entry"),
        ({"grid": {"exit": [-1.0]}}, "exit"),
        ({"grid": {"stop": [float("inf")]}}, "stop"),
        ({"grid": {"max_holding": [0]}}, "max_holding"),
        ({"grid": {"window": [1]}}, "window"),
        ({"grid": {"lookback": [None]}}, "lookback"),
        ({"grid": {"hedge": ["tls"]}}, "hedge"),
        ({"grid": {"hedge": [float("nan")]}}, "hedge"),
        ({"grid": {"fee_bps": [-1]}}, "fee_bps"),
        ({"grid": {"fill": ["now"]}}, "fill"),
        ({"grid": {"notional": [0.0]}}, "notional"),
        ({"grid": {"entry": [0.2, 0.3]}}, "entry"),
        ({"window": None}, "window"),
        ({"fill": "open"}, "fill"),
        ({"timestamps": [1, 2]}, "timestamps"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(change: dict[str, Any], loc: str) -> None:
    y, x = walks(200, 13)
    terms = {"hedge": "ols", **RULE, "grid": {"entry": [1.5]}, **change}
    with pytest.raises(InputError) as refused:
        sweep(y, x, **terms)
    assert refused.value.loc == loc


def test_bars_that_no_window_fits_in_and_words_that_nobody_knows_are_refused() -> None:
    y, x = walks(100, 14)
    with pytest.raises(NotEnoughData):
        sweep(y, x, grid={"lookback": [60, 101]}, hedge="ols", window=20, entry=2.0, exit=0.0)
    with pytest.raises(TypeError, match="speed"):
        sweep(y, x, grid={}, hedge="ols", speed=2, **RULE)
    with pytest.raises(ValueError, match="y"):
        sweep(np.append(y[1:], np.nan), x, grid={}, hedge="ols", **RULE)
    assert len(sweep(y, x, grid={"lookback": [60, 99]}, hedge=1.0, window=20, entry=2.0, exit=0.0)) == 2


def pair(n: int, seed: int) -> PairBars:
    y, x = walks(n, seed)
    more = columns(y, x, seed)
    legs = (
        LegBars(more[f"open_{name}"], more[f"high_{name}"], more[f"low_{name}"], close, np.ones(n))
        for name, close in (("y", y), ("x", x))
    )
    times = np.arange(n) * 60_000_000_000
    return PairBars(times, "1m", *legs, more["funding_y"], more["funding_x"])


@pytest.mark.parametrize("fill", ["next", "open", "same"])
def test_a_request_s_sweep_is_as_many_requests_over_the_same_stretch(fill: Any) -> None:
    bars = pair(900, 15)
    stretch: dict[str, Any] = {"start_ns": int(bars.times_ns[300]), "end_ns": int(bars.times_ns[800])}
    rule: dict[str, Any] = {"lookback": 100, "window": 30, "entry": 1.5, "exit": 0.2, "fill": fill, "funding": True}
    request = BacktestRequest("ETHUSDT", "BTCUSDT", **rule, **stretch)
    grid = {"entry": [1.0, 1.7], "lookback": [50, 150], "method": ["ols", "kalman", "fixed"], "beta": [0.6, 0.9]}
    table = sweep_request(request, grid, bars, trials=40)
    assert tuple(table.grid) == ("entry", "lookback", "hedge")
    assert (len(table), table.trials) == (16, 40)
    # Kalman's filter begins with the first bar that it is given: all have the longest warm-up.
    for row in table:
        own = {"method": row["hedge"]} if isinstance(row["hedge"], str) else {"method": "fixed", "beta": row["hedge"]}
        asked = replace(request, entry=row["entry"], lookback=row["lookback"], **own)
        if row["hedge"] == "kalman" and row["lookback"] == 50:
            continue
        made = run_backtest(asked, bars).metrics
        hold_against(row, made, own)
    assert sum(table["trades"]) > 50


def test_methods_and_fixed_ratios_of_a_request_are_shown_as_they_were_asked_for() -> None:
    bars, request = pair(400, 16), BacktestRequest("ETHUSDT", "BTCUSDT", lookback=60, window=20)
    assert sweep_request(request, {"method": ["ols", "huber"]}, bars)["method"].tolist() == ["ols", "huber"]
    fixed = replace(request, method="fixed", beta=0.5)
    assert sweep_request(fixed, {"beta": [0.5, 0.8]}, bars)["beta"].tolist() == [0.5, 0.8]
    with pytest.raises(InputError, match="beta"):
        sweep_request(request, {"method": ["fixed"]}, bars)


def test_given_hedge_ratios_can_be_swept_over() -> None:
    y, x = walks(300, 17)
    given = causal_hedge(np.log(y), np.log(x), "ols", 120)
    table = sweep(y, x, grid={"entry": [1.2, 1.8]}, hedge=given, lookback=120, window=40, exit=0.3)
    same = sweep(y, x, grid={"entry": [1.2, 1.8]}, hedge="ols", lookback=120, window=40, exit=0.3)
    np.testing.assert_allclose(table["sharpe"], same["sharpe"], rtol=1e-9)
