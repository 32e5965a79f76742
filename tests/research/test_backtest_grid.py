"""A sweep as it is asked for: lists become axes, one request stands for all, and too much is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.errors import InputError
from pairscope.research.backtest_grid import check_effort, check_work, grid_of, kept_table
from pairscope.research.backtest_request import BacktestRequest

PAIR = {"y": "AUSDT", "x": "BUSDT"}


def grid(**body: Any) -> Any:
    return grid_of({**PAIR, **body})


def test_what_is_a_list_varies_and_what_is_none_stands() -> None:
    request, found = grid(
        hedge={"method": ["ols", "kalman"], "lookback": 90}, window=30, entry=[1.5, 2.0], stop=[None, 4]
    )
    assert found == {"method": ["ols", "kalman"], "entry": [1.5, 2.0], "stop": [None, 4]}
    assert (request.lookback, request.window, request.stop) == (90, 30, None)


def test_no_list_is_a_grid_of_one() -> None:
    request, found = grid(entry=1.5)
    assert (found, request.entry) == ({}, 1.5)


def test_the_request_that_stands_for_all_makes_sense_where_any_combination_does() -> None:
    request, _ = grid(entry=[0.5, 3.0], exit=[0.1, 2.5], window=[60, 900], hedge={"lookback": [60, 1000]})
    assert request.entry > request.exit
    assert request.window <= request.lookback


@pytest.mark.parametrize(
    ("hedge", "methods", "betas"),
    [
        (1.5, None, None),
        ([0.5, 1.5], None, [0.5, 1.5]),
        (["ols", "huber"], ["ols", "huber"], None),
        ({"method": "fixed", "beta": [0.5, 1.5]}, None, [0.5, 1.5]),
        ({"method": ["ols", "fixed"], "beta": 0.7}, ["ols", "fixed"], [0.7]),
        ({"method": ["fixed", "ols"], "beta": [0.7, 0.9]}, ["fixed", "ols"], [0.7, 0.9]),
    ],
)
def test_a_hedge_may_be_an_object_a_name_a_number_or_several(hedge: Any, methods: Any, betas: Any) -> None:
    _, found = grid(hedge=hedge)
    assert (found.get("method"), found.get("beta")) == (methods, betas)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"entry": []}, "entry"),
        ({"mood": [1]}, "mood"),
        ({"hedge": {"mood": 1}}, "hedge.mood"),
        ({"hedge": {"method": "ols", "beta": [1.0]}}, "beta"),
        ({"entry": [1.0], "exit": [1.0, 2.0]}, "entry"),
        ({"window": [2000]}, "window"),
        ({"entry": [float(n) for n in range(1, 301)], "max_holding": list(range(1, 201))}, "entry"),
        ({"rehedge": [0.1], "max_holding": list(range(1, 1002))}, "rehedge"),
        ({"latency_ms": 50, "max_holding": list(range(1, 1002))}, "latency_ms"),
    ],
)
def test_what_cannot_be_is_refused_by_name(body: dict[str, Any], loc: str) -> None:
    with pytest.raises(InputError) as refused:
        grid(**body)
    assert refused.value.loc == loc


def test_what_would_take_too_long_is_refused_with_what_would_not() -> None:
    axes = {"entry": [1.0 + n / 1000 for n in range(1000)]}
    check_work(axes, 20_000_000)
    with pytest.raises(InputError, match="1,000 combinations over 20,000,001 bars") as refused:
        check_work(axes, 20_000_001)
    assert refused.value.hint == "at most 20,000,000 bars"
    check_effort(BacktestRequest("AUSDT", "BUSDT"), 1_000_000)
    for slow in (
        BacktestRequest("AUSDT", "BUSDT", method="huber"),
        BacktestRequest("AUSDT", "BUSDT", gate="cointegration"),
    ):
        check_effort(slow, 600_000)
        with pytest.raises(InputError, match="start: 1,000,000 bars"):
            check_effort(slow, 1_000_000)


def test_a_kept_sweep_is_read_back_with_values_that_are_none_or_pairs() -> None:
    rows = [
        {"stop": stop, "fee_bps": fee, "sharpe": sharpe}
        for stop, fee, sharpe in ((None, 1.0, 1.0), (None, [1.0, 2.0], None), (3.0, 1.0, 3.0), (3.0, [1.0, 2.0], 4.0))
    ]
    document = {"kind": "sweep", "grid": {"stop": [None, 3.0], "fee_bps": [1.0, [1.0, 2.0]]}, "rows": rows}
    drawn = kept_table(document).heatmap("sharpe", "stop", "fee_bps")
    assert drawn.values[0, 0] == 1.0
    assert drawn.values[0, 1] != drawn.values[0, 1], "null stays unknown"
    assert drawn.values[1].tolist() == [3.0, 4.0]
    with pytest.raises(InputError, match="only a sweep"):
        kept_table({"kind": "backtest"})
