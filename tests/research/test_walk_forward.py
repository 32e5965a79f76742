"""A walk-forward chooses on the past alone, trades what comes after, and keeps one account of it."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import backtest_pair
from pairscope.errors import InputError, NotEnoughData
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import PairBars, pair_bars_from_closes
from pairscope.research.sweep import sweep
from pairscope.research.walk_forward import WalkForward, walk_forward

REQUEST = BacktestRequest("ETHUSDT", "BTCUSDT", lookback=60, window=20, entry=1.5, exit=0.2, fee_bps=(1.0, 1.0))
GRID: dict[str, list[Any]] = {"entry": [1.0, 1.5, 2.0], "window": [20, 40], "max_holding": [None, 30]}
STRETCHES: dict[str, int] = {"folds": 4, "train": 300, "test": 150, "purge": 50}


def market(n: int, seed: int) -> PairBars:
    """A pair whose spread comes back."""
    rng = np.random.default_rng(seed)
    x = 50 * np.exp(np.cumsum(rng.standard_normal(n) * 4e-4))
    spread = np.zeros(n)
    for t in range(1, n):
        spread[t] = 0.93 * spread[t - 1] + 1e-3 * rng.standard_normal()
    return pair_bars_from_closes(np.arange(n) * 60_000_000_000, x * np.exp(spread), x, timeframe="1m")


def by_hand(bars: PairBars, start: int, end: int, **own: Any) -> Any:
    """The test stretch of a fold as a backtest: warmed up before it, entering in it alone."""
    begin = max(0, start - 59)
    rows = slice(begin, end)
    terms = {"entry": 1.5, "window": 20, "max_holding": None, **own}
    return begin, backtest_pair(
        bars.y.close[rows],
        bars.x.close[rows],
        hedge="ols",
        lookback=60,
        exit=0.2,
        fee_bps=1.0,
        slippage_bps=1.0,
        gate=np.arange(begin, end) >= start,
        timestamps=bars.times_ns[rows],
        **terms,
    )


def test_each_fold_trades_after_the_gap_what_did_best_before_it() -> None:
    bars = market(1100, 1)
    made = walk_forward(REQUEST, GRID, bars, **STRETCHES)
    assert len(made.folds) == 4
    wealth, trades = 10_000.0, 0
    for number, fold in enumerate(made.folds):
        start = 1100 - (4 - number) * 150
        end = start - 50
        assert fold.test_ns == (start * 60_000_000_000, (start + 150) * 60_000_000_000)
        assert fold.train_ns == ((end - 300) * 60_000_000_000, end * 60_000_000_000)
        rows = slice(max(0, end - 300 - 59), end)
        trained = sweep(
            bars.y.close[rows], bars.x.close[rows], grid=GRID, hedge="ols", lookback=60, exit=0.2, fee_bps=1.0,
            slippage_bps=1.0, gate=np.arange(1100)[rows] >= end - 300,
        )  # fmt: skip
        best = trained.best()
        assert best is not None
        assert fold.chosen == {name: best[name] for name in GRID}
        assert fold.in_sample["trades"] == best["trades"]
        begin, alone = by_hand(bars, start, start + 150, **fold.chosen)
        money = alone.equity["equity"][start - begin :]
        ours = made.equity["equity"][number * 150 : (number + 1) * 150]
        np.testing.assert_allclose(ours, wealth + money - 10_000.0, rtol=1e-12)
        assert fold.out_of_sample["trades"] == len(alone.trades)
        assert fold.out_of_sample["pnl"] == pytest.approx(money[-1] - 10_000.0, abs=1e-9)
        wealth, trades = float(ours[-1]), trades + len(alone.trades)
    assert made.equity["timestamp"].tolist() == bars.times_ns[500:].tolist()
    assert (made.metrics["trades"], len(made.trades)) == (trades, trades)
    assert wealth - 10_000.0 == pytest.approx(made.trades["pnl"].sum(), abs=1e-9)
    assert made.metrics["total_return"] == pytest.approx(wealth / 10_000.0 - 1.0)
    for trade in made.trades:
        assert made.equity["timestamp"][trade.entry_bar] == trade.entry_timestamp
        assert trade.exit_bar // 150 == trade.entry_bar // 150


@pytest.mark.parametrize("method", ["ols", "kalman"])
def test_what_comes_after_a_test_changes_nothing_of_it(method: Any) -> None:
    """The folds that are over stay as they were when later bars are other ones, and those of the gap choose nothing."""
    bars, other = market(1100, 2), market(1100, 3)
    request = replace(REQUEST, method=method)
    whole = walk_forward(request, GRID, bars, **STRETCHES)

    def spliced(*rows: slice) -> WalkForward:
        y, x = bars.y.close.copy(), bars.x.close.copy()
        for part in rows:
            y[part], x[part] = other.y.close[part], other.x.close[part]
        made = pair_bars_from_closes(bars.times_ns, y, x, timeframe="1m")
        return walk_forward(request, GRID, made, **STRETCHES)

    later = spliced(slice(800, None))
    np.testing.assert_array_equal(later.equity["equity"][:300], whole.equity["equity"][:300])
    assert [fold.chosen for fold in later.folds[:2]] == [fold.chosen for fold in whole.folds[:2]]
    assert (later.equity["equity"][300:] != whole.equity["equity"][300:]).any()
    # The training of the first fold ends at bar 450; the gap after it may be anything.
    gap = spliced(slice(450, 500))
    assert (gap.folds[0].chosen, gap.folds[0].in_sample) == (whole.folds[0].chosen, whole.folds[0].in_sample)


def test_stretches_by_default_fill_the_bars_and_keep_windows_and_holdings_apart() -> None:
    bars = market(900, 4)
    made = walk_forward(REQUEST, {**GRID, "max_holding": [10, 90]}, bars, folds=3)
    assert made.purge == 90
    test, train = (900 - 90) // 5, 2 * ((900 - 90) // 5)
    assert [fold.test_ns[0] // 60_000_000_000 for fold in made.folds] == [900 - k * test for k in (3, 2, 1)]
    assert {(f.train_ns[1] - f.train_ns[0]) // 60_000_000_000 for f in made.folds} == {train}
    assert {(f.test_ns[0] - f.train_ns[1]) // 60_000_000_000 for f in made.folds} == {90}
    assert walk_forward(REQUEST, GRID, bars, folds=3).purge == 60
    anchored = walk_forward(REQUEST, GRID, bars, anchored=True, **{**STRETCHES, "folds": 2})
    assert [fold.train_ns for fold in anchored.folds] == [(0, 550 * 60_000_000_000), (0, 700 * 60_000_000_000)]


def test_a_request_s_range_is_walked_and_the_bars_before_it_warm_up() -> None:
    bars = market(1000, 5)
    request = replace(REQUEST, start_ns=int(bars.times_ns[200]), end_ns=int(bars.times_ns[950]))
    made = walk_forward(request, GRID, bars, folds=2, train=300, test=200, purge=20)
    assert made.folds[0].train_ns[0] == bars.times_ns[230]
    assert made.folds[-1].test_ns[1] == bars.times_ns[950]
    assert made.folds[0].in_sample["trades"] > 0


def test_a_fold_in_which_nothing_could_be_chosen_trades_nothing() -> None:
    bars = market(800, 6)
    made = walk_forward(replace(REQUEST, entry=60.0), {"exit": [0.0, 0.5]}, bars, folds=2)
    assert [fold.chosen for fold in made.folds] == [None, None]
    assert set(made.equity["equity"].tolist()) == {10_000.0}
    assert (made.metrics["trades"], len(made.trades)) == (0, 0)
    document = made.document()
    assert [fold["exit"] for fold in document["folds"]] == [None, None]


def test_its_document_has_the_names_of_the_api_and_the_request_s_own() -> None:
    request = replace(REQUEST, method="fixed", beta=1.0)
    made = walk_forward(request, {"method": ["ols", "fixed"], "entry": [1.0, 1.5]}, market(800, 7), folds=2)
    document = made.document()
    assert set(document) >= {"folds", "equity", "metrics", "trades", "grid", "metric", "purge"}
    fold = document["folds"][0]
    assert fold["method"] in ("ols", "fixed")
    assert fold["entry"] in (1.0, 1.5)
    assert fold["test_end"] - fold["test_start"] == 60_000 * len(document["equity"]["timestamp"]) // 2
    assert {"sharpe", "trades"} <= set(fold["in_sample"]) & set(fold["out_of_sample"])
    for trade in document["trades"]:
        assert trade["entry_timestamp"] in document["equity"]["timestamp"]


def test_progress_goes_on_over_all_folds_and_a_cancelled_walk_stops() -> None:
    bars, told = market(800, 8), []
    walk_forward(REQUEST, GRID, bars, folds=3, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (36, 36)
    assert told == sorted(told)
    with pytest.raises(CancelledError):
        walk_forward(REQUEST, GRID, bars, folds=3, cancelled=lambda: True)


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"folds": 0}, "folds"),
        ({"folds": 10_000}, "folds"),
        ({"train": 1}, "train"),
        ({"test": 2.5}, "test"),
        ({"purge": -1}, "purge"),
        ({"metric": "luck"}, "metric"),
    ],
)
def test_what_cannot_be_walked_is_refused_by_its_name(change: dict[str, Any], loc: str) -> None:
    with pytest.raises(InputError) as refused:
        walk_forward(REQUEST, GRID, market(800, 9), **{**STRETCHES, **change})
    assert refused.value.loc == loc


def test_too_few_bars_are_counted() -> None:
    with pytest.raises(NotEnoughData, match=r"950.*800"):
        walk_forward(REQUEST, GRID, market(800, 9), **STRETCHES)
    with pytest.raises(NotEnoughData):
        walk_forward(REQUEST, GRID, market(70, 9))
