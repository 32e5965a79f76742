"""The terms of trading: what each changes, what is refused by name, and that none of them lets the future in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import Backtest, CausalHedge, backtest_pair, causal_hedge

RULE: dict[str, Any] = {"hedge": "ols", "lookback": 120, "window": 30, "entry": 1.8, "exit": 0.3, "stop": 3.5}
COSTS: dict[str, Any] = {"fee_bps": (4.0, 2.0), "slippage_bps": 1.0, "funding_y": 1e-5, "funding_x": -2e-5}
HEDGES = ("ols", "huber", "kalman", 0.7)


def market(n: int, seed: int) -> dict[str, np.ndarray]:
    """Two independent walks with bars around their closes."""
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.standard_normal((2, n)) * 1e-3, axis=1)) * [[100.0], [7.0]]
    opens = close * (1 + rng.normal(0, 3e-4, (2, n)))
    high, low = np.maximum(opens, close) * (1 + 1e-4), np.minimum(opens, close) * (1 - 1e-4)
    parts = {"": close, "open_": opens, "high_": high, "low_": low}
    return {f"{part}{leg}": column[i] for part, column in parts.items() for i, leg in enumerate("yx")}


def given_fills(m: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fills one to three bars later, at closes; none where the bar is not there yet."""
    size = m["y"].size
    bar = np.arange(size) + 1 + np.arange(size) % 3
    there = bar < size
    at = np.where(there, bar, 0)
    return {
        "fill_y": np.where(there, m["y"][at], np.nan),
        "fill_x": np.where(there, m["x"][at], np.nan),
        "fill_bar": bar,
    }


WAYS: dict[str, dict[str, Any]] = {
    "open": {"fill": "open", "slippage_range": 0.1},
    "re-hedged": {"rehedge": 0.05, "step_y": 0.01, "step_x": 0.1},
    "dollars": {"sizing": "dollar", "capital": 4_000.0, "maintenance": 0.1},
    "given": {"rehedge": 0.05, "slippage_range": 0.1, "cooldown": 4},
}


def run(m: dict[str, np.ndarray], way: str, **terms: Any) -> Backtest:
    more = given_fills(m) if way == "given" else {}
    return backtest_pair(**m, **{**RULE, "max_holding": 40, **COSTS, **WAYS[way], **more, **terms})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hedge", HEDGES)
def test_what_comes_later_changes_nothing_earlier_on_any_terms(hedge: Any, way: str) -> None:
    m, other = market(900, 1), market(900, 2)
    whole = run(m, way, hedge=hedge)
    assert len(whole.trades) > 10
    for cut in (300, 517, 770):
        past = {name: column[:cut] for name, column in m.items()}
        changed = {name: np.r_[column[:cut], other[name][cut:]] for name, column in m.items()}
        for made in (run(past, way, hedge=hedge), run(changed, way, hedge=hedge)):
            for column in ("equity", "drawdown"):
                np.testing.assert_array_equal(made.equity[column][:cut], whole.equity[column][:cut])
            for column, values in whole.series.items():
                np.testing.assert_array_equal(made.series[column][:cut], values[:cut])
            earlier = [t for t in whole.trades if t.exit_bar < cut]
            assert [t for t in made.trades if t.exit_bar < cut and t.reason != "end"] == earlier


def test_a_decision_is_filled_at_the_next_open_and_paid_funding_from_that_bar_on() -> None:
    m = market(900, 3)
    closes, opens = run(m, "open", fill="next").trades, run(m, "open").trades
    assert len(closes) == len(opens) > 10
    for late, early in zip(closes[:-1], opens[:-1], strict=True):
        assert (early.entry_bar, early.exit_bar) == (late.entry_bar, late.exit_bar)
        assert early.entry_decided == early.entry_bar - 1
        assert early.entry_price_y == m["open_y"][early.entry_bar]
        assert early.exit_price_x == m["open_x"][early.exit_bar]
        held = slice(early.entry_bar, early.exit_bar)
        paid = 1e-5 * early.quantity_y * m["y"][held].sum() - 2e-5 * early.quantity_x * m["x"][held].sum()
        assert early.funding == pytest.approx(paid, rel=1e-9)


def test_quantities_are_whole_steps_and_decimal_and_no_larger_than_the_notional_allows() -> None:
    m = market(900, 4)
    free, stepped = run(m, "open", step_y=None, step_x=None).trades, run(m, "open", step_y=0.1, step_x=5.0).trades
    assert len(free) == len(stepped)
    for exact, whole in zip(free, stepped, strict=True):
        for leg, step in (("y", 0.1), ("x", 5.0)):
            want, have = exact[f"quantity_{leg}"], whole[f"quantity_{leg}"]
            assert 0 <= abs(want) - abs(have) < step
            assert have * want > 0
        assert whole.quantity_y == round(whole.quantity_y, 1)
        assert whole.quantity_x % 5 == 0


def test_an_entry_that_leaves_a_leg_less_than_a_step_is_not_made_and_counted() -> None:
    m = market(900, 4)
    made = run(m, "open", step_x=1e6)
    assert len(made.trades) == 0
    assert made.metrics["skipped"] == made.assumptions["skipped"] > 20
    assert (made.equity["equity"] == 10_000).all()


def test_dollar_neutral_legs_are_worth_the_same_whatever_the_hedge_ratio() -> None:
    m = market(900, 5)
    for trade in run(m, "dollars").trades:
        assert abs(trade.quantity_y) * trade.entry_price_y == pytest.approx(5_000, rel=1e-12)
        assert abs(trade.quantity_x) * trade.entry_price_x == pytest.approx(5_000, rel=1e-12)
        assert np.sign(trade.quantity_y * trade.quantity_x) == -np.sign(trade.beta)


def test_a_re_hedged_trade_follows_the_hedge_ratio_and_pays_for_it() -> None:
    m = market(1500, 6)
    still, moved = run(m, "open", rehedge=None), run(m, "open", rehedge=0.02)
    assert (still.trades["rehedges"] == 0).all()
    np.testing.assert_allclose(still.trades["turnover"], still.trades["entry_value"] + still.trades["exit_value"])
    often = [t for t in moved.trades if t.rehedges > 0]
    assert len(often) > 5
    for trade in often:
        assert trade.exit_quantity_x != trade.quantity_x
        assert trade.turnover > trade.entry_value + trade.exit_value
    assert moved.metrics["turnover"] * 10_000 == pytest.approx(moved.trades["turnover"].sum())


def test_returns_are_of_the_capital_and_borrowing_is_liquidated_sooner() -> None:
    m = market(900, 7)
    own, lent = run(m, "open"), run(m, "open", capital=5_000.0)
    np.testing.assert_allclose(lent.equity["equity"], own.equity["equity"] - 5_000, rtol=1e-12)
    np.testing.assert_allclose(lent.trades["return"], 2 * own.trades["return"], rtol=1e-12)
    ruined = run(m, "open", capital=300.0, maintenance=0.02)
    assert ruined.trades[-1].reason == "liquidation"
    assert ruined.equity["equity"][-1] <= 0.02 * ruined.trades[-1].exit_value


def test_costs_of_each_leg_and_a_share_of_the_range_are_charged_on_what_that_leg_trades() -> None:
    m = market(900, 8)
    only_x = run(m, "open", fee_bps=(0.0, 10.0), slippage_bps=(5.0, 0.0), slippage_range=0.0).trades
    for trade in only_x:
        size_y, size_x = abs(trade.quantity_y), abs(trade.quantity_x)
        traded_y = size_y * (trade.entry_price_y + trade.exit_price_y)
        assert trade.fees == pytest.approx(1e-3 * size_x * (trade.entry_price_x + trade.exit_price_x), rel=1e-12)
        assert trade.slippage == pytest.approx(5e-4 * traded_y, rel=1e-12)
    ranged = run(m, "open", slippage_bps=0.0, slippage_range=0.25).trades
    for trade in ranged[:-1]:
        bars = [trade.entry_bar, trade.exit_bar]
        spans = [(m[f"high_{leg}"] - m[f"low_{leg}"])[bars].sum() for leg in "yx"]
        sizes = abs(trade.quantity_y), abs(trade.quantity_x)
        assert trade.slippage == pytest.approx(0.25 * (sizes[0] * spans[0] + sizes[1] * spans[1]), rel=1e-9)


def test_an_order_waits_for_its_fill_and_one_that_never_comes_is_never_a_trade() -> None:
    m = market(900, 9)
    size = m["y"].size
    nowhere = {"fill_y": np.full(size, np.nan), "fill_x": m["x"], "fill_bar": np.arange(size) + 1}
    assert len(run(m, "open", fill="next", **nowhere).trades) == 0
    later = {"fill_y": m["y"], "fill_x": m["x"], "fill_bar": np.arange(size) + 30}
    waited = run(m, "open", fill="next", stop=None, **later).trades
    assert len(waited) > 3
    for trade in waited[:-1]:
        assert trade.entry_bar - trade.entry_decided == trade.exit_bar - trade.exit_decided == 30
        assert trade.exit_decided >= trade.entry_bar
        assert trade.entry_price_y == m["y"][trade.entry_decided]
    next_bar = {
        "fill_y": np.append(m["y"][1:], np.nan),
        "fill_x": np.append(m["x"][1:], np.nan),
        "fill_bar": np.arange(size) + 1,
    }
    plain, given = run(m, "open", fill="next"), run(m, "open", fill="next", **next_bar)
    np.testing.assert_array_equal(plain.equity["equity"], given.equity["equity"])


def test_a_hedge_ratio_found_elsewhere_trades_as_the_one_found_here() -> None:
    m = market(900, 10)
    found = causal_hedge(np.log(m["y"]), np.log(m["x"]), "ols", 120)
    own, given = run(m, "open"), run(m, "open", hedge=found)
    np.testing.assert_array_equal(own.equity["equity"], given.equity["equity"])
    assert given.assumptions["hedge"] == "given bar by bar"


M = market(300, 11)
SOME = np.arange(300) + 1


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("fill", {"fill": "open", "open_x": None}),
        ("open_y", {"fill": "open", "open_y": M["y"][:-1]}),
        ("open_x", {"fill": "open", "open_x": -M["x"]}),
        ("slippage_range", {"slippage_range": 0.1, "high_y": None}),
        ("slippage_range", {"slippage_range": 1.5}),
        ("slippage_range", {"slippage_range": float("nan")}),
        ("high_x", {"slippage_range": 0.1, "high_x": M["low_x"], "low_x": M["high_x"]}),
        ("low_y", {"slippage_range": 0.1, "low_y": np.full(300, np.nan)}),
        ("high_y", {"high_y": np.zeros(300)}),
        ("fee_bps", {"fee_bps": (1.0, 2.0, 3.0)}),
        ("fee_bps", {"fee_bps": (1.0, -2.0)}),
        ("slippage_bps", {"slippage_bps": (float("inf"), 2.0)}),
        ("step_y", {"step_y": 0.0}),
        ("step_x", {"step_x": float("nan")}),
        ("sizing", {"sizing": "equal"}),
        ("rehedge", {"rehedge": 0.0}),
        ("rehedge", {"rehedge": float("inf")}),
        ("rehedge", {"rehedge": 0.1, "sizing": "dollar"}),
        ("capital", {"capital": 0.0}),
        ("capital", {"capital": float("nan")}),
        ("maintenance", {"maintenance": -0.1}),
        ("maintenance", {"maintenance": 2.0}),
        ("fill_bar", {"fill_y": M["y"], "fill_x": M["x"]}),
        ("fill_bar", {"fill_y": M["y"], "fill_x": M["x"], "fill_bar": SOME - 1}),
        ("fill_bar", {"fill_y": M["y"], "fill_x": M["x"], "fill_bar": SOME * 1.0}),
        ("fill_y", {"fill_y": -M["y"], "fill_x": M["x"], "fill_bar": SOME}),
        ("fill_x", {"fill_y": M["y"], "fill_x": M["x"][:-1], "fill_bar": SOME}),
        ("fill_y", {"fill_y": M["y"] * 1e100, "fill_x": M["x"], "fill_bar": SOME}),
        ("open_y", {"fill": "open", "open_y": M["y"] * 1e100}),
        ("fill", {"fill": "open", "fill_y": M["y"], "fill_x": M["x"], "fill_bar": SOME}),
        ("hedge", {"hedge": CausalHedge(np.zeros(5), np.zeros(5))}),
        ("hedge", {"hedge": CausalHedge(np.zeros(300), np.full(300, np.inf))}),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(name: str, terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{name}:"):
        backtest_pair(**{**M, **RULE, **terms})
