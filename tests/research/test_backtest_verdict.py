"""The verdict: constructed results, each with the level, the title and the sentence that it deserves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import Backtest
from pairscope.analytics.trades import TRADE_FIELDS, Trades
from pairscope.research.backtest_honesty import Honesty
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_verdict import Conditions, Verdict, verdict_of

ASKED = BacktestRequest("AUSDT", "BUSDT")
SURE = Honesty(
    null_statistic="Sharpe ratio",
    null_pvalue=0.005,
    null_score=9.0,
    null_median=-3.0,
    nulls_run=199,
    nulls_asked=199,
    trials=1,
    returns=10_079,
    effective_returns=9000.0,
    sharpe_stderr=2.0,
    sharpe_interval=(4.1, 11.9),
    probabilistic_sharpe=0.999,
    deflated_sharpe=0.999,
    expected_best=0.0,
    edge_bps=24.0,
    edge_stderr_bps=3.0,
    cost_bps=10.0,
    funding_bps=0.0,
    break_even_bps=12.0,
)


def traded(pnl: Sequence[float], *, reasons: Sequence[str] = ("exit",), **metrics: Any) -> Backtest:
    """A result of trades with this P&L; reasons are repeated as long as there are trades."""
    made = np.array(pnl, np.float64)
    columns: dict[str, np.ndarray] = {name: np.zeros(made.size) for name in TRADE_FIELDS}
    columns |= {"pnl": made, "reason": np.array((list(reasons) * made.size)[: made.size], dtype="U11")}
    figures = {
        "pnl": float(made.sum()),
        "sharpe": 8.0,
        "max_drawdown": -0.0123,
        "longest_drawdown": 310,
        "average_holding": 30.0,
        "skipped": 0,
    }
    series = {"zscore": np.array([np.nan, 1.2, -1.74])}
    return Backtest(figures | metrics, {}, Trades(columns), {}, series)


def judged(
    backtest: Backtest, *, request: BacktestRequest = ASKED, met: Conditions | None = None, **of: Any
) -> Verdict:
    return verdict_of(request, backtest, replace(SURE, **of), met)


EVEN = [1.0] * 40
GOOD = traded(EVEN)


def test_a_profit_that_neither_chance_nor_costs_explain_is_good() -> None:
    made = judged(GOOD)
    assert (made.level, made.title) == ("good", "Earns more than chance and costs explain")
    assert made.sentences[:4] == (
        "The edge of 24 bps (± 3 bps) a round trip is above the costs of 10 bps.",
        "It would break even at 12 bps of fee and slippage a side.",
        "Better than chance: none of 199 random pairs did as well (p = 0.005).",
        "The Sharpe ratio (return for its risk, a year) is 8.0, and 95 % sure only to lie between 4.1 and 11.9.",
    )
    assert made.sentences[4] == "Equity fell by up to 1.23 % and stayed below an earlier peak for up to 5 h."
    assert len(made.sentences) == 5


def test_costs_above_the_edge_are_bad_and_both_are_told() -> None:
    made = judged(traded([-1.0] * 40), edge_bps=9.0, cost_bps=14.0, break_even_bps=4.5)
    assert (made.level, made.title) == ("bad", "Costs exceed the edge")
    assert "Costs of 14 bps a round trip exceed the edge of 9 bps." in made.sentences


def test_losing_before_costs_is_told_apart_from_losing_to_them() -> None:
    made = judged(traded([-1.0] * 40), edge_bps=-3.26, cost_bps=10.0, break_even_bps=-1.6)
    assert (made.level, made.title) == ("bad", "Loses before costs")
    assert "The prices lose 3.3 bps a round trip before any cost; costs of 10 bps come on top." in made.sentences
    assert not any("break even" in sentence for sentence in made.sentences)


def test_what_random_pairs_do_as_well_is_weak() -> None:
    made = judged(GOOD, null_pvalue=0.38)
    assert (made.level, made.title) == ("weak", "No better than chance")
    assert "No better than chance: 38 % of random pairs did as well (p = 0.38)." in made.sentences


def test_few_trades_tell_nothing_and_a_few_more_little() -> None:
    made = judged(traded([5.0] * 7))
    assert (made.level, made.title) == ("unknown", "Too few trades to tell")
    assert made.sentences[0] == "7 trades are too few to tell: 30 are a start."
    assert judged(traded([-5.0])).sentences[0] == "1 trade is too few to tell: 30 are a start."
    some = judged(traded([5.0] * 12))
    assert (some.level, some.title) == ("weak", "Few trades")


def test_no_trade_says_how_far_the_z_score_went() -> None:
    made = judged(traded([]), edge_bps=None, cost_bps=None, sharpe_interval=None, deflated_sharpe=None)
    assert (made.level, made.title) == ("unknown", "No trade was made")
    assert made.sentences[0] == "The z-score went as far as 1.74; the entry asks for 2."
    assert not any("chance" in sentence for sentence in made.sentences)


def test_the_best_of_many_trials_is_deflated() -> None:
    made = judged(GOOD, trials=400, deflated_sharpe=0.41)
    assert (made.level, made.title) == ("weak", "The best of 400 trials, no more")
    assert any(
        sentence.startswith("The best of 400 trials on this pair: deflated Sharpe 0.41") for sentence in made.sentences
    )
    assert judged(GOOD, trials=400, deflated_sharpe=0.97).level == "good"


def test_an_open_interval_around_zero_is_told() -> None:
    made = judged(GOOD, sharpe_interval=(-6.0, 22.0), deflated_sharpe=0.8)
    assert (made.level, made.title) == ("weak", "Too little to show skill")
    assert any("between −6.0 and 22.0; so short a test does not tell if it is above 0" in s for s in made.sentences)


def test_open_gaps_are_touched_by_name() -> None:
    made = judged(GOOD, met=Conditions(open_gaps=3))
    assert (made.level, made.title) == ("weak", "The recording has gaps")
    assert "Touches 3 open gaps in the recorded trades: prices there may be wrong." in made.sentences
    assert any(sentence.startswith("Touches 1 open gap in") for sentence in judged(GOOD, met=Conditions(1)).sentences)


@pytest.mark.parametrize(
    ("backtest", "request_", "of", "title", "sentence"),
    [
        (GOOD, replace(ASKED, fill="same"), {}, "Filled at prices that nobody can have", "nobody can have"),
        (GOOD, ASKED, {"cost_bps": 0.0}, "Earns before costs, and none are charged", "Neither fees nor slippage"),
        (GOOD, ASKED, {"null_pvalue": None, "nulls_run": 0}, "Not compared with chance", "not compared with random"),
        (GOOD, ASKED, {"edge_bps": 14.0}, "A thin edge over the costs", "14 bps"),
        (traded([1.0] * 30 + [60.0]), ASKED, {}, "One trade made most of it", "One trade made 67 % of the profit"),
        (traded([-1.0] * 30 + [60.0]), ASKED, {}, "One trade made most of it", "Without its best trade it would lose"),
    ],
)
def test_what_keeps_a_profit_from_being_good_is_its_title(
    backtest: Backtest, request_: BacktestRequest, of: dict[str, Any], title: str, sentence: str
) -> None:
    made = judged(backtest, request=request_, **of)
    assert (made.level, made.title) == ("weak", title)
    assert any(sentence in told for told in made.sentences)


def test_a_liquidation_is_bad_whatever_was_earned_before() -> None:
    made = judged(traded([5.0, 5.0, -1.0], reasons=("exit", "exit", "liquidation")))
    assert (made.level, made.title) == ("bad", "The position was liquidated")


@pytest.mark.parametrize(
    ("backtest", "request_", "of", "met", "sentence"),
    [
        (GOOD, ASKED, {"funding_bps": 1.24}, Conditions(), "Funding takes 1.2 bps a round trip."),
        (GOOD, ASKED, {"funding_bps": -2.0}, Conditions(), "Funding brings 2 bps a round trip."),
        (GOOD, ASKED, {"nulls_run": 60}, Conditions(), "Only 60 random pairs were tried instead of 199"),
        (GOOD, ASKED, {}, Conditions(missing=0.12), "12 % of the bars are missing in one leg or both"),
        (GOOD, replace(ASKED, funding=True), {}, Conditions(), "Funding was asked for and none is known"),
        (traded(EVEN, average_holding=660.0), ASKED, {}, Conditions(), "Positions last 11 h on average, and funding"),
        (traded(EVEN, reasons=["exit", "stop"]), ASKED, {}, Conditions(), "20 of 40 trades ended at the stop."),
        (traded(EVEN, reasons=["exit"] * 39 + ["end"]), ASKED, {}, Conditions(), "still open at the end"),
        (traded(EVEN, skipped=4), ASKED, {}, Conditions(), "4 entries were smaller than the exchange's quantity step"),
    ],
)
def test_what_else_there_is_to_know_is_said(
    backtest: Backtest, request_: BacktestRequest, of: dict[str, Any], met: Conditions, sentence: str
) -> None:
    assert any(sentence in told for told in judged(backtest, request=request_, met=met, **of).sentences)


def test_the_same_figures_give_the_same_words_and_each_sentence_ends() -> None:
    made = judged(GOOD, trials=9, met=Conditions(open_gaps=2, missing=0.5))
    assert made == judged(GOOD, trials=9, met=Conditions(open_gaps=2, missing=0.5))
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in made.sentences if sentence[0].isalpha())
    assert made.document() == {"level": made.level, "title": made.title, "sentences": list(made.sentences)}
