"""The matrix of correlations: each pair over its own common bars, equal to pandas, holes with reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pairscope.analytics.correlation_report import Closes, correlation_report
from pairscope.errors import InputError


def market(n: int, names: str, *, seed: int = 3) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    common = dice.standard_normal(n)
    moves = [share * common + dice.standard_normal(n) for share in np.linspace(0, 2, len(names))]
    return pd.DataFrame({name: 100 * np.exp(np.cumsum(m) / 1000) for name, m in zip(names, moves, strict=True)})


def closes(table: pd.DataFrame) -> list[Closes]:
    columns = [table[name].dropna() for name in table]
    return [Closes(str(c.name), c.index.to_numpy(np.int64), c.to_numpy()) for c in columns]


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_it_equals_pandas_where_all_have_all_bars_and_where_they_have_not(kind: str) -> None:
    table = market(300, "ABCDEF")
    table.loc[::7, "B"] = np.nan
    table.loc[table.index < 250, "C"] = np.nan
    found = correlation_report(closes(table), window=80, kind=kind)
    for i, a in enumerate(table):
        for j, b in enumerate(table):
            if i != j:
                returns = np.log(table[[a, b]].dropna()).iloc[-81:].diff().dropna()
                assert found.matrix[i, j] == pytest.approx(returns.corr(kind).iloc[0, 1], rel=1e-9), (a, b)
                assert found.counts[i, j] == len(returns)
    assert np.array_equal(found.matrix, found.matrix.T)
    assert (np.diag(found.matrix) == 1).all()
    assert sorted(found.order.tolist()) == list(range(6))
    assert found.reasons == {}


def test_what_does_not_move_and_what_is_not_there_has_a_reason() -> None:
    table = market(50, "ABC")
    table["B"] = 7.0
    table.loc[table.index < 48, "C"] = np.nan
    found = correlation_report(closes(table), window=20)
    assert found.reasons == {"B": "the price has not moved", "C": "needs 3 common returns, has 1"}
    assert np.isnan(found.matrix[1]).all()
    assert found.matrix[0, 0] == 1.0
    assert found.order[0] == 0


def test_two_that_never_trade_together_are_a_hole_and_the_rest_is_there() -> None:
    table = market(100, "ABC")
    table.loc[::2, "A"] = np.nan
    table.loc[1::2, "B"] = np.nan
    found = correlation_report(closes(table), window=20)
    assert found.reasons == {"A:B": "needs 3 common returns, has 0"}
    assert np.isnan(found.matrix[0, 1])
    assert np.isfinite(found.matrix[0, 2])
    assert sorted(found.order.tolist()) == [0, 1, 2]


def test_a_bad_close_is_refused_by_its_symbol() -> None:
    table = market(20, "AB")
    legs = closes(table)
    for bad in (np.nan, -1.0, 0.0, np.inf):
        close = legs[1].close.copy()
        close[5] = bad
        with pytest.raises(InputError, match="B: has values") as error:
            correlation_report([legs[0], Closes("B", legs[1].ts_open_ns, close)], window=10)
        assert error.value.loc == "B"
