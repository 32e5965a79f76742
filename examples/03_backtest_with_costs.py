"""Trade a rule over a pair's past, and see what costs leave of it.

    python examples/03_backtest_with_costs.py [http://127.0.0.1:8000]

needs a running instance.
"""

from __future__ import annotations

import sys

from pairscope import Client

Y, X = "ETHUSDT", "BTCUSDT"
RULE = {"hedge": {"method": "ols", "lookback": 720}, "window": 60, "entry": 2.0, "exit": 0.5, "stop": 4.0}

with Client(*sys.argv[1:], timeout=60, patience_s=120) as api:
    # A decision at one bar fills at the next: nothing here knows its own future.
    print("cost a side   trades   return       Sharpe   fees")
    for fee_bps in (0, 2, 10):
        run = api.backtest(Y, X, "1m", **RULE, fee_bps=fee_bps)
        result = run.metrics
        sharpe = "    -" if result["sharpe"] is None else f"{result['sharpe']:8.1f}"
        earned = 100 * result["total_return"]
        print(
            f"{fee_bps:>5} bps {result['trades']:>11} {earned:>+9.3f} % {sharpe:>9} {result['fees']:>8.2f}", flush=True
        )

    # The run is kept: its verdict, its trades and its equity are tables like any other.
    print(run.verdict)
    columns = ["entry_timestamp", "side", "entry_zscore", "pnl", "reason"]
    if len(run.trades):
        print(run.trades[columns].tail(3).to_string(index=False, float_format="%.2f"))

    # Trying many rules finds a good one by luck. The sweep says how much of the best is that.
    grid = {**RULE, "window": [30, 60, 120], "entry": [1.5, 2.0, 2.5]}
    sweep = api.sweep(Y, X, "1m", **grid, fee_bps=5)
    best = sweep.rows.sort_values("sharpe", ascending=False, na_position="last").iloc[0]
    print(f"best of {len(sweep.rows)} rules: window {best.window:.0f}, entry {best.entry}, Sharpe {best.sharpe:.1f}")
    print(f"probability that the choice is overfitted: {sweep['pbo']}")
