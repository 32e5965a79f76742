"""A backtest on real bars with real funding, done a second time in plain Python: decisions, quantities and money."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairscope.analytics.backtest import Backtest, backtest_pair

BARS = Path(__file__).resolve().parents[2] / "../shared/data/bars"
TERMS: dict[str, Any] = {"lookback": 240, "window": 60, "entry": 2.0, "exit": 0.5, "stop": 3.0, "max_holding": 90}
MONEY: dict[str, Any] = {"notional": 25_000.0, "fee_bps": 4.0, "slippage_bps": 1.0}
FIELDS = ("spread_pnl", "fees", "slippage", "funding", "pnl")


@pytest.fixture(scope="module")
def market() -> dict[str, np.ndarray]:
    """Closes of ETHUSDT and BTCUSDT, 10,080 real minutes of both, and each minute's funding rate, mostly 0."""
    if not BARS.is_dir():
        pytest.skip(reason="no real bars beside the repository: ../shared/data/bars")
    pair = [("symbol", "in", ["BTCUSDT", "ETHUSDT"])]
    frame = pd.read_parquet(BARS / "um_1m_2025-05.parquet", filters=pair).astype({"symbol": str})
    closes = frame.pivot_table(index="timestamp", columns="symbol", values="close").dropna().iloc[:10_080]
    paid = pd.read_parquet(BARS / "um_funding_2025-05.parquet", filters=pair)
    paid["timestamp"] = paid["timestamp"].dt.floor("min")
    rates = paid.pivot_table(index="timestamp", columns="symbol", values="rate").reindex(closes.index).fillna(0.0)
    assert (rates != 0).sum().min() >= 20
    return {
        "y": closes["ETHUSDT"].to_numpy(),
        "x": closes["BTCUSDT"].to_numpy(),
        "funding_y": rates["ETHUSDT"].to_numpy(),
        "funding_x": rates["BTCUSDT"].to_numpy(),
        "timestamps": closes.index.to_numpy(),
    }


def ledger(m: dict[str, np.ndarray], trade: Any, *, log: bool) -> dict[str, float]:
    """One trade's money from its fills, its side and its hedge ratio, a bar at a time."""
    y, x = m["y"].tolist(), m["x"].tolist()
    enter, leave = trade.entry_bar, trade.exit_bar
    sign, beta = (1 if trade.side == "long" else -1), trade.beta
    if log:
        of_y = sign * 25_000.0 / (1 + abs(beta)) / y[enter]
        of_x = -sign * 25_000.0 * beta / (1 + abs(beta)) / x[enter]
    else:
        of_y = sign * 25_000.0 / (y[enter] + abs(beta) * x[enter])
        of_x = -beta * of_y
    assert (trade.quantity_y, trade.quantity_x) == pytest.approx((of_y, of_x), rel=1e-12)
    moved = [of_y * (y[t] - y[t - 1]) + of_x * (x[t] - x[t - 1]) for t in range(enter + 1, leave + 1)]
    paid = [m["funding_y"][t] * of_y * y[t] + m["funding_x"][t] * of_x * x[t] for t in range(enter + 1, leave + 1)]
    traded = [abs(of_y * y[enter]), abs(of_x * x[enter]), abs(of_y * y[leave]), abs(of_x * x[leave])]
    made = {
        "spread_pnl": math.fsum(moved),
        "fees": math.fsum(traded) * 4 / 10_000,
        "slippage": math.fsum(traded) * 1 / 10_000,
        "funding": math.fsum(paid),
    }
    return {**made, "pnl": made["spread_pnl"] - made["fees"] - made["slippage"] - made["funding"]}


def by_hand(y: list[float], x: list[float], hedge: Callable[[int], float]) -> list[tuple[Any, ...]]:
    """The rule in plain Python: entry and exit bars, side, reason of each trade, decided and filled a bar apart."""

    def zscore(t: int, beta: float) -> float:
        spread = [a - beta * b for a, b in zip(y[t - 59 : t + 1], x[t - 59 : t + 1], strict=True)]
        return (spread[-1] - fmean(spread)) / stdev(spread)

    found, decided, side, beta = [], None, 0, 0.0
    for t in range(239, len(y)):
        if decided is None:
            ratio = hedge(t)
            z = zscore(t, ratio)
            if 2.0 <= abs(z) < 3.0:
                decided, side, beta = t, (-1 if z > 0 else 1), ratio
            continue
        gained = side * zscore(t, beta)
        reason = "exit" if gained >= -0.5 else "stop" if gained <= -3.0 else "max_holding" if t - decided >= 90 else ""
        if t == len(y) - 1:
            found.append((decided + 1, t, side, "end"))
        elif reason:
            found.append((decided + 1, t + 1, side, reason))
            decided = None
    return found


@pytest.mark.parametrize("space", ["log", "linear"])
@pytest.mark.parametrize("hedge", ["ols", "huber", "kalman", 0.8])
def test_every_trade_s_money_is_that_of_a_ledger_kept_by_hand(
    market: dict[str, np.ndarray], hedge: Any, space: Any
) -> None:
    made = backtest_pair(**market, hedge=hedge, price_space=space, **TERMS, **MONEY)
    assert len(made.trades) > 50
    worst = dict.fromkeys(FIELDS, 0.0)
    wealth = [25_000.0]
    for trade in made.trades:
        truth = ledger(market, trade, log=space == "log")
        for name in FIELDS:
            worst[name] = max(worst[name], abs(trade[name] - truth[name]))
        wealth.append(wealth[-1] + truth["pnl"])
        assert abs(made.equity["equity"][trade.exit_bar] - wealth[-1]) < 1e-9 * 25_000
    print(f"{hedge} {space}: {len(made.trades)} trades, largest differences {worst}")
    assert max(worst.values()) < 1e-9
    assert any(trade.funding != 0.0 for trade in made.trades)


def test_every_decision_is_that_of_the_rule_in_plain_python(market: dict[str, np.ndarray]) -> None:
    y, x = market["y"][:4000], market["x"][:4000]
    log_y, log_x = np.log(y), np.log(x)

    def least_squares(t: int) -> float:
        return float(np.polyfit(log_x[t - 239 : t + 1] - log_x[t], log_y[t - 239 : t + 1] - log_y[t], 1)[0])

    truth = by_hand(log_y.tolist(), log_x.tolist(), least_squares)
    made = backtest_pair(y, x, hedge="ols", **TERMS)
    assert len(truth) > 20
    assert decisions(made) == truth


def decisions(made: Backtest) -> list[tuple[Any, ...]]:
    return [(t.entry_bar, t.exit_bar, 1 if t.side == "long" else -1, t.reason) for t in made.trades]
