"""A sweep over real bars with real funding, row by row a backtest; and on a Dask worker the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairscope.analytics.backtest import backtest_pair
from pairscope.research.sweep import sweep
from pairscope.research.sweep_table import SWEPT

BARS = Path(__file__).resolve().parents[2] / "../shared/data/bars"


@pytest.fixture(scope="module")
def market() -> dict[str, Any]:
    """Minutes of ETHUSDT and BTCUSDT with their opens, ranges and funding."""
    if not BARS.is_dir():
        pytest.skip(reason="no real bars beside the repository: ../shared/data/bars")
    pair = [("symbol", "in", ["BTCUSDT", "ETHUSDT"])]
    frame = pd.read_parquet(BARS / "um_1m_2025-05.parquet", filters=pair).astype({"symbol": str})
    wide = frame.pivot_table(index="timestamp", columns="symbol", values=["open", "high", "low", "close"])
    wide = wide.dropna().iloc[:4000]
    paid = pd.read_parquet(BARS / "um_funding_2025-05.parquet", filters=pair)
    paid["timestamp"] = paid["timestamp"].dt.floor("min")
    rates = paid.pivot_table(index="timestamp", columns="symbol", values="rate").reindex(wide.index).fillna(0.0)
    made: dict[str, Any] = {"timestamps": wide.index.to_numpy()}
    for leg, symbol in (("y", "ETHUSDT"), ("x", "BTCUSDT")):
        made[leg] = wide["close"][symbol].to_numpy()
        made[f"funding_{leg}"] = rates[symbol].to_numpy()
        made |= {f"{name}_{leg}": wide[name][symbol].to_numpy() for name in ("open", "high", "low")}
    assert (made["funding_y"] != 0.0).sum() > 5
    return made


@pytest.mark.parametrize("fill", ["next", "open", "same"])
def test_every_row_of_real_bars_is_a_backtest(market: dict[str, Any], fill: str) -> None:
    terms: dict[str, Any] = {
        **market, "lookback": 720, "fee_bps": (4.0, 2.0), "slippage_bps": 1.0, "slippage_range": 0.05, "fill": fill,
        "notional": 25_000.0, "step_y": 0.001, "step_x": 0.001, "max_holding": 240, "cooldown": 15,
    }  # fmt: skip
    grid = {
        "hedge": ["ols", "kalman", 0.8],
        "window": [60, 240],
        "entry": [1.5, 2.5],
        "exit": [0.0, 0.5],
        "stop": [None, 3.5],
    }
    table = sweep(grid=grid, **terms)
    worst, trades = 0.0, 0
    for row in table:
        made = backtest_pair(**{**terms, **{name: row[name] for name in grid}}).metrics
        for name in SWEPT:
            if made[name] is None:
                assert row[name] is None
            else:
                apart = abs(row[name] - made[name]) / max(1.0, abs(made[name]))
                assert apart < 1e-9, (name, row)
                worst = max(worst, apart)
        trades += row["trades"]
    print(f"{fill}: {len(table)} rows, {trades} trades, largest difference {worst:.0e}")
    assert len(table) == 48
    assert trades > 1000
    assert (table["funding"] != 0.0).any()


def test_on_a_dask_worker_the_table_is_the_same(market: dict[str, Any]) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'pairscope[cluster]'")
    terms: dict[str, Any] = {"y": market["y"], "x": market["x"], "lookback": 720, "window": 60, "exit": 0.2}
    grid = {"hedge": ["ols", "kalman"], "entry": np.linspace(1.2, 2.8, 30), "rehedge": [None, 0.3]}
    here = sweep(grid=grid, **terms)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        there = sweep(grid=grid, executor=client.get_executor(), **terms)
    np.testing.assert_array_equal(there.metrics, here.metrics)
    np.testing.assert_array_equal(there.blocks, here.blocks)
    assert there.pbo == here.pbo
