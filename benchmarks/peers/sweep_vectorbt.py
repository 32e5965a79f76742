"""vectorbt's side of the sweep, in an interpreter of its own: a line in, one portfolio of all combinations, a line out.

Started with the path of an archive that holds prices, z-scores and thresholds; writes what each combination earned
beside it the first time.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import vectorbt as vbt


def portfolio(given: dict[str, np.ndarray]) -> vbt.Portfolio:
    """Long at z <= -entry, short at z >= entry, but not at stop or beyond; out at exit and at stop, and at the end."""
    z = given["zscore"][:, None]
    entry, leave, stop = given["entry"], given["exit"], given["stop"]
    allowed = np.ones((len(z), 1), np.bool_)
    allowed[-1] = False
    far = np.abs(z) < stop
    return vbt.Portfolio.from_signals(
        np.broadcast_to(given["price"][:, None], (len(z), entry.size)),
        entries=(z <= -entry) & far & allowed,
        exits=(z >= -leave) | (z <= -stop) | ~allowed,
        short_entries=(z >= entry) & far & allowed,
        short_exits=(z <= leave) | (z >= stop) | ~allowed,
        upon_opposite_entry="close",
        size=1e4,
        size_type="value",
        init_cash=1e6,
        fees=4e-4,
        freq="1min",
    )


def main(path: str) -> None:
    """Answer each line with seconds: the simulation's, and those of six metrics of every combination."""
    with np.load(path) as archive:
        given = dict(archive)
    print(json.dumps({"version": version("vectorbt")}), flush=True)
    for number, _ in enumerate(sys.stdin):
        began, before = time.perf_counter(), time.process_time()
        made = portfolio(given)
        simulated = time.perf_counter()
        total, trades = made.total_return(), made.trades
        found = [made.sharpe_ratio(), made.sortino_ratio(), made.max_drawdown(), trades.win_rate()]
        count = trades.count()
        ended = time.perf_counter()
        if number == 0:
            np.savez(path.replace(".npz", ".told.npz"), total_return=total.to_numpy(), trades=count.to_numpy())
        used = time.process_time() - before
        told = {"simulated": simulated - began, "measured": ended - simulated, "used": used, "metrics": 2 + len(found)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
