"""Every term of trading a second time: an account in plain Python that knows cash, units and orders, and nothing else.

It is on real bars with their real funding. The kernel values positions; this account moves cash at each fill and adds
up what is left, so that nothing of the one is in the other. Hedge ratios are taken as found (they are checked against
numpy elsewhere); z-scores, decisions, orders, quantities and money are its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairscope.analytics.backtest import Backtest, backtest_pair

BARS = Path(__file__).resolve().parents[2] / "../shared/data/bars"
SIZE = 6000
RULE: dict[str, Any] = {"lookback": 240, "window": 60, "entry": 2.0, "exit": 0.5, "stop": 3.0, "max_holding": 90}
MONEY: dict[str, Any] = {"notional": 25_000.0, "fee_bps": (4.0, 2.5), "slippage_bps": (1.0, 0.5)}


@pytest.fixture(scope="module")
def market() -> dict[str, np.ndarray]:
    """Bars of ETHUSDT and BTCUSDT, 6,000 real minutes of both, and each minute's funding rate, mostly 0."""
    if not BARS.is_dir():
        pytest.skip(reason="no real bars beside the repository: ../shared/data/bars")
    pair = [("symbol", "in", ["BTCUSDT", "ETHUSDT"])]
    frame = pd.read_parquet(BARS / "um_1m_2025-05.parquet", filters=pair).astype({"symbol": str})
    table = frame.pivot_table(index="timestamp", columns="symbol").dropna().iloc[:SIZE]
    paid = pd.read_parquet(BARS / "um_funding_2025-05.parquet", filters=pair)
    paid["timestamp"] = paid["timestamp"].dt.floor("min")
    rates = paid.pivot_table(index="timestamp", columns="symbol", values="rate").reindex(table.index).fillna(0.0)
    assert (rates != 0).sum().min() >= 12
    legs = {"y": "ETHUSDT", "x": "BTCUSDT"}
    columns = {f"{part}_{leg}": table[part][name] for leg, name in legs.items() for part in ("open", "high", "low")}
    columns |= {leg: table["close"][name] for leg, name in legs.items()}
    columns |= {f"funding_{leg}": rates[name] for leg, name in legs.items()}
    return {name: column.to_numpy() for name, column in columns.items()}


@dataclass
class Account:
    """Cash and units of both legs; what fills, costs and funding did to them."""

    m: dict[str, list[float]]
    terms: dict[str, Any]
    cash: float
    y: float = 0.0
    x: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0
    turnover: float = 0.0
    trade: dict[str, Any] = field(default_factory=dict)

    def cost(self, t: int, dy: float, dx: float, at: tuple[float, float]) -> tuple[float, float]:
        """Fee and slippage of trading so many units of both legs."""
        fee, slip, share = self.terms["fee_bps"], self.terms["slippage_bps"], self.terms.get("slippage_range", 0.0)
        values = abs(dy) * at[0], abs(dx) * at[1]
        ranges = [self.m[f"high_{leg}"][t] - self.m[f"low_{leg}"][t] for leg in "yx"]
        ranged = share * (abs(dy) * ranges[0] + abs(dx) * ranges[1])
        return (
            (values[0] * fee[0] + values[1] * fee[1]) / 10_000,
            (values[0] * slip[0] + values[1] * slip[1]) / 10_000 + ranged,
        )

    def buy(self, t: int, dy: float, dx: float, at: tuple[float, float]) -> None:
        fee, slip = self.cost(t, dy, dx, at)
        self.cash -= dy * at[0] + dx * at[1] + fee + slip
        self.y, self.x = self.y + dy, self.x + dx
        self.fees, self.slippage = self.fees + fee, self.slippage + slip
        self.turnover += abs(dy) * at[0] + abs(dx) * at[1]

    def fund(self, t: int) -> None:
        paid = self.m["funding_y"][t] * self.y * self.m["y"][t] + self.m["funding_x"][t] * self.x * self.m["x"][t]
        self.cash, self.funding = self.cash - paid, self.funding + paid

    def worth(self, t: int, at: tuple[float, float]) -> float:
        """What is left if all is sold at these prices."""
        fee, slip = self.cost(t, self.y, self.x, at)
        return self.cash + self.y * at[0] + self.x * at[1] - fee - slip


def whole(units: float, step: float | None) -> float:
    return units if step is None else math.copysign(math.floor(abs(units) / step + 1e-9) * step, units)


def legs_of(side: int, beta: float, at: tuple[float, float], terms: dict[str, Any]) -> tuple[float, float]:
    money, size = terms["notional"], abs(beta)
    if terms.get("sizing") == "dollar":
        y, x = money / 2 / at[0], math.copysign(money / 2 / at[1], beta)
    elif terms.get("price_space", "log") == "log":
        y, x = money / (1 + size) / at[0], money * beta / (1 + size) / at[1]
    else:
        y = money / (at[0] + size * at[1])
        x = beta * y
    return whole(side * y, terms.get("step_y")), whole(-side * x, terms.get("step_x"))


def kept_by_hand(
    market: dict[str, np.ndarray], betas: list[float], terms: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[float], int]:
    """Trades, equity a bar, and entries that were skipped."""
    m = {name: column.tolist() for name, column in market.items()}
    log = terms.get("price_space", "log") == "log"
    spaced = [np.log(market[leg]) if log else market[leg] for leg in "yx"]
    fill, last = terms.get("fill", "next"), len(m["y"]) - 1
    gate = terms.get("gate", np.full(last + 1, True)).tolist()
    account = Account(m, terms, terms.get("capital", terms["notional"]))
    done: list[dict[str, Any]] = []
    equity: list[float] = []
    order: dict[str, Any] = {}
    side, decided, held_beta, resting, skipped, ruined = 0, 0, 0.0, 0, 0, False

    def zscore(t: int, beta: float) -> float:
        spread = spaced[0][t - 59 : t + 1] - beta * spaced[1][t - 59 : t + 1]
        return float((spread[-1] - spread.mean()) / spread.std(ddof=1))

    def place(t: int, kind: str, beta: float, z: float) -> dict[str, Any]:
        if "fill_bar" in terms:
            bar, at = int(terms["fill_bar"][t]), (float(terms["fill_y"][t]), float(terms["fill_x"][t]))
            bar = -1 if math.isnan(at[0] + at[1]) else bar
        elif fill == "same" or t == last:
            bar, at = (t if fill == "same" else -1), (m["y"][t], m["x"][t])
        else:
            part = "open_" if fill == "open" else ""
            bar, at = t + 1, (m[f"{part}y"][t + 1], m[f"{part}x"][t + 1])
        return {"kind": kind, "beta": beta, "z": z, "bar": bar, "at": at, "decided": t}

    def leave(t: int, reason: str, z: float, at: tuple[float, float], since: int) -> None:
        nonlocal ruined
        value = abs(account.y) * at[0] + abs(account.x) * at[1]
        held_x = account.x
        account.buy(t, -account.y, -account.x, at)
        row = account.trade
        row |= {"exit_bar": t, "reason": reason, "exit_zscore": z, "exit_value": value, "exit_decided": since}
        row |= {"exit_price_y": at[0], "exit_price_x": at[1], "exit_quantity_x": held_x}
        row |= {name: getattr(account, name) for name in ("fees", "slippage", "funding", "turnover")}
        row["pnl"] = account.cash - row.pop("cash")
        row["spread_pnl"] = row["pnl"] + row["fees"] + row["slippage"] + row["funding"]
        done.append(row)
        account.y = account.x = 0.0
        ruined = account.cash <= terms.get("maintenance", 0.005) * value

    def execute(t: int) -> None:
        """Fill the order under way."""
        nonlocal order, side, held_beta, skipped
        now, order = order, {}
        at, beta = now["at"], now["beta"]
        if now["kind"] == "enter":
            dy, dx = legs_of(side, beta, at, terms)
            if dy == 0.0 or dx == 0.0:
                side, skipped = 0, skipped + 1
                return
            held_beta = beta
            account.fees = account.slippage = account.funding = account.turnover = 0.0
            account.trade = {"cash": account.cash, "entry_bar": t, "side": "long" if side > 0 else "short"}
            account.trade |= {"entry_zscore": now["z"], "beta": beta, "quantity_y": dy, "quantity_x": dx, "rehedges": 0}
            account.trade |= {"entry_price_y": at[0], "entry_price_x": at[1], "entry_decided": now["decided"]}
            account.trade |= {"entry_value": abs(dy) * at[0] + abs(dx) * at[1]}
            account.buy(t, dy, dx, at)
        elif now["kind"] == "rehedge":
            held_beta = beta
            target = whole(-beta * account.y * (at[0] / at[1] if log else 1.0), terms.get("step_x"))
            if abs(target - account.x) > 1e-12:
                account.trade["rehedges"] += 1
                account.buy(t, 0.0, target - account.x, at)
        else:
            leave(t, now["kind"], now["z"], at, now["decided"])

    def decide(t: int) -> None:
        nonlocal order, side, decided, resting
        if order:
            resting = max(0, resting - (side == 0))
        elif side == 0:
            z = zscore(t, betas[t])
            if resting > 0:
                resting -= 1
            elif gate[t] and 2.0 <= abs(z) < 3.0:
                side, decided = (-1 if z > 0 else 1), t
                order = place(t, "enter", betas[t], z)
        else:
            z = zscore(t, held_beta)
            kind = "exit" if side * z >= -0.5 else "stop" if side * z <= -3.0 else ""
            kind = kind or ("max_holding" if t - decided >= 90 else "")
            if kind:
                resting = terms.get("cooldown", 0) if kind == "stop" else 0
                side, order = 0, place(t, kind, held_beta, z)
            elif abs(betas[t] - held_beta) > terms.get("rehedge", math.inf) * abs(held_beta):
                order = place(t, "rehedge", betas[t], z)

    for t in range(last + 1):
        closes = m["y"][t], m["x"][t]
        if fill != "open":
            account.fund(t)
        if order and order["bar"] == t:
            execute(t)
        if fill == "open":
            account.fund(t)
        value = abs(account.y) * closes[0] + abs(account.x) * closes[1]
        if account.y != 0.0 and account.worth(t, closes) <= terms.get("maintenance", 0.005) * value:
            leave(t, "liquidation", zscore(t, held_beta), closes, t)
        if not ruined and t >= 239:
            decide(t)
            if order and fill == "same":
                execute(t)
            if t == last and account.y != 0.0:
                leave(t, "end", zscore(t, held_beta), closes, t)
        equity.append(account.worth(t, closes))
    return done, equity, skipped


def late_fills(market: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fills some bars later at prices between the closes, and some that never come."""
    rng = np.random.default_rng(3)
    bar = np.arange(SIZE) + 1 + rng.poisson(1.5, SIZE)
    at = np.minimum(bar, SIZE - 1)
    never = rng.random(SIZE) < 0.01
    prices = [np.where(never, np.nan, market[leg][at] * (1 + rng.normal(0, 1e-4, SIZE))) for leg in "yx"]
    return {"fill_y": prices[0], "fill_x": prices[1], "fill_bar": bar}


CASES: dict[str, dict[str, Any]] = {
    "opens": {"fill": "open"},
    "range": {"slippage_range": 0.05},
    "steps": {"step_y": 0.01, "step_x": 0.001, "notional": 180.0},
    "dollars": {"sizing": "dollar", "step_y": 0.001, "step_x": 0.001},
    "re-hedged": {"rehedge": 0.05},
    "re-hedged in prices": {"rehedge": 0.05, "price_space": "linear", "fill": "open", "step_x": 0.001},
    "re-hedged at once": {"rehedge": 0.1, "fill": "same", "slippage_range": 0.02},
    "borrowed": {"capital": 2_000.0, "maintenance": 0.06},
    "late": {},
    "late and re-hedged": {"rehedge": 0.03, "slippage_range": 0.1, "cooldown": 7},
    "all": {
        "fill": "open",
        "slippage_range": 0.1,
        "rehedge": 0.1,
        "step_y": 0.001,
        "step_x": 0.001,
        "capital": 9_000.0,
    },
}


@pytest.mark.parametrize("hedge", ["ols", "kalman"])
@pytest.mark.parametrize("case", CASES)
def test_every_term_of_trading_moves_the_money_that_an_account_kept_by_hand_has(
    market: dict[str, np.ndarray], case: str, hedge: Any
) -> None:
    terms = {**MONEY, "cooldown": 20, **CASES[case]}
    if case.startswith("late"):
        terms |= late_fills(market)
    if case == "all":
        terms["gate"] = np.arange(SIZE) % 500 < 400
    made = backtest_pair(**market, hedge=hedge, **RULE, **terms)
    trades, equity, skipped = kept_by_hand(market, made.series["beta"].tolist(), terms)
    worst = compared(made, trades)
    worst["equity"] = float(np.abs(made.equity["equity"] - equity).max())
    print(f"{case} {hedge}: {len(trades)} trades, {made.metrics['rehedges']} re-hedges, {skipped} skipped, {worst}")
    assert max(worst.values()) < 1e-9
    assert made.metrics["skipped"] == skipped
    assert made.metrics["turnover"] == pytest.approx(
        sum(t["turnover"] for t in trades) / terms.get("capital", terms["notional"]), rel=1e-12
    )
    assert (skipped > 0) == (case == "steps")
    assert (made.metrics["rehedges"] > 10) == ("rehedge" in terms)
    assert (trades[-1]["reason"] == "liquidation") == (case == "borrowed")
    assert len(trades) > 15
    assert any(t["funding"] != 0.0 for t in trades)


def compared(made: Backtest, trades: list[dict[str, Any]]) -> dict[str, float]:
    """The largest difference in any amount; what is no amount must be equal."""
    assert len(made.trades) == len(trades)
    worst: dict[str, float] = {}
    for ours, theirs in zip(made.trades, trades, strict=True):
        for name, value in theirs.items():
            if isinstance(value, float):
                worst[name] = max(worst.get(name, 0.0), abs(ours[name] - value))
            else:
                assert ours[name] == value, name
    return worst
