"""A screen's answer: sorted, filtered, in pages, with sparklines and a second look, all of one table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.false_discovery import benjamini_yekutieli
from pairscope.errors import InputError, NotEnoughData
from pairscope.ports_research import ScreenView
from pairscope.research.closes import closes_of
from pairscope.research.moving_screen import screen_closes
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import COLUMNS
from pairscope.research.standing import Standing

MINUTE = 60_000_000_000
NAMES = [f"S{i}USDT" for i in range(8)]
ALL = ScreenView(limit=10_000)


def prices(seed: int = 3, n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.standard_normal((n, len(NAMES))), axis=0) * 0.01
    for tied, to in ((6, 0), (7, 1)):
        noise = rng.standard_normal(n) * 0.02
        for t in range(1, n):
            noise[t] += 0.6 * noise[t - 1]
        walks[:, tied] = 0.8 * walks[:, to] + noise
    return np.exp(walks)


@pytest.fixture(scope="module")
def standing() -> Standing:
    times = [np.arange(300) * MINUTE] * len(NAMES)
    return screen_closes(closes_of(NAMES, times, list(prices().T)), "1m", 300, number=7)


def rows_of(standing: Standing, **changes: Any) -> list[dict[str, Any]]:
    return list(standing.page(replace(ALL, **changes))["pairs"])


def test_every_test_is_there_with_the_numbers_of_the_function_for_notebooks(standing: Standing) -> None:
    said = standing.page(ALL)
    direct = screen_pairs(prices(), NAMES)
    assert [tuple(row.values())[:12] for row in said["pairs"]] == [tuple(row) for row in direct]
    assert (said["universe"], said["tests"], said["matching"], said["next"]) == (8, 56, 56, None)
    assert said["family"] == direct.family
    assert said["as_of"] == 299 * MINUTE // 1_000_000
    assert said["discoveries"] == sum(row["discovery"] for row in said["pairs"]) == len(direct.survivors(0.05)) > 0


def test_a_table_is_sorted_best_first_by_any_column(standing: Standing) -> None:
    for name in COLUMNS:
        column = [row[name] for row in rows_of(standing, sort=name)]
        if name == "zscore":
            assert column == sorted(column, key=lambda z: -abs(z))
        elif name in {"lags", "spread_std", "correlation"}:
            assert column == sorted(column, reverse=True)
        else:
            known = [value for value in column if value == value]
            assert known == sorted(known)
            assert all(math.isnan(value) for value in column[len(known) :])
    with pytest.raises(InputError, match="cannot sort by 'luck'") as told:
        rows_of(standing, sort="luck")
    assert told.value.loc == "sort"


def test_filters_let_through_what_they_say(standing: Standing) -> None:
    every = rows_of(standing)

    def kept(wanted: Any, **changes: Any) -> None:
        found = rows_of(standing, **changes)
        assert 0 < len(found) < len(every)
        assert found == [row for row in every if wanted(row)]

    kept(lambda row: row["discovery"], only="discoveries")
    kept(lambda row: "S6USDT" in {row["y"], row["x"]}, symbol="S6USDT")
    kept(lambda row: row["half_life"] >= 5.0, min_half_life=5.0)
    kept(lambda row: row["half_life"] <= 20.0, max_half_life=20.0)
    kept(lambda row: row["correlation"] >= 0.1, min_correlation=0.1)
    best = {}
    for row in every:
        best.setdefault(frozenset((row["y"], row["x"])), row)
    kept(lambda row: row in best.values(), direction="best")
    assert rows_of(standing, symbol="NONEUSDT") == []


def test_pages_put_together_are_the_table(standing: Standing) -> None:
    view, rows = ScreenView(limit=15, sort="zscore"), []
    while True:
        page = standing.page(view)
        rows += page["pairs"]
        if page["next"] is None:
            break
        view = replace(view, offset=int(page["next"]))
    assert rows == rows_of(standing, sort="zscore")
    assert standing.page(replace(ALL, offset=10_000))["pairs"] == []


def test_the_other_control_changes_q_values_and_says_so(standing: Standing) -> None:
    said = standing.page(replace(ALL, control="by"))
    every = rows_of(standing)
    expected = benjamini_yekutieli(np.array([row["pvalue"] for row in every]))
    assert [row["qvalue"] for row in said["pairs"]] == expected.tolist()
    assert "Benjamini-Yekutieli" in said["family"] and "Hochberg" not in said["family"]


def test_a_sparkline_ends_in_the_z_score_and_is_that_of_the_residual(standing: Standing) -> None:
    logs = dict(zip(NAMES, np.log(prices()).T, strict=True))
    for row in rows_of(standing, sparkline=True, limit=10):
        residual = logs[row["y"]] - row["alpha"] - row["beta"] * logs[row["x"]]
        assert row["zscores"] == pytest.approx((residual[-60:] / residual.std(ddof=1)).tolist(), abs=1e-8)
        assert row["zscores"][-1] == pytest.approx(row["zscore"], abs=1e-8)


def test_discoveries_are_looked_at_a_second_time_and_the_other_rows_are_not(standing: Standing) -> None:
    rows = rows_of(standing, examine=True, limit=20)
    assert {row["discovery"] for row in rows} == {True, False}
    for row in rows:
        second = row["examination"]
        assert (second is not None) == row["discovery"]
        if second:
            assert second["johansen_rank"] >= 1
            assert 0 <= second["hurst"] <= 1
            assert second["spread_bps"] == pytest.approx(1e4 * row["spread_std"])
    with pytest.raises(InputError, match="at most 200 rows") as told:
        rows_of(standing, examine=True, limit=201)
    assert told.value.loc == "limit"


def test_one_row_is_found_by_its_legs(standing: Standing) -> None:
    row = standing.row("S6USDT", "S0USDT")
    assert row is not None
    [listed] = [r for r in rows_of(standing) if (r["y"], r["x"]) == ("S6USDT", "S0USDT")]
    assert row == {name: listed[name] for name in COLUMNS}
    assert standing.row("S6USDT", "NONEUSDT") is None


def test_where_nothing_moves_it_is_said_what_is_lacking() -> None:
    table = closes_of(["A", "B"], [np.arange(50) * MINUTE] * 2, [np.arange(1.0, 51.0), np.full(50, 2.0)])
    with pytest.raises(NotEnoughData, match=r"1 symbols can be tested.*B does not move in 50 bars"):
        screen_closes(table, "1m", 50, number=1)
