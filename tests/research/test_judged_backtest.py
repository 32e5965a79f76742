"""A judged backtest as a whole: the contract's names, numbers that add up, the same judgement twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from pairscope.errors import InputError
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import PairBars

PairOf = Callable[..., PairBars]
ASKED = BacktestRequest(
    "AUSDT", "BUSDT", lookback=120, window=30, entry=1.5, fee_bps=(1.0, 1.0), slippage_bps=(0.5, 0.5)
)


def test_the_document_has_the_names_of_the_contract_and_is_plain_json(pair_of: PairOf) -> None:
    bars = pair_of(900, 1, tie=0.8)
    request = replace(ASKED, start_ns=int(bars.times_ns[200]))
    document = judge_backtest(request, bars, nulls=19, trials=3).document()
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    metrics = "total_return annual_return sharpe sortino max_drawdown calmar trades win_rate profit_factor"
    assert {*metrics.split(), "average_holding", "turnover", "fees", "exposure"} <= set(document["metrics"])
    trade = "entry_timestamp exit_timestamp side entry_zscore exit_zscore beta pnl return fees reason"
    assert set(trade.split()) <= set(document["trades"][0])
    assert document["equity"]["timestamp"][0] == request.start_ns // 1_000_000
    lengths = [len(document["equity"][name]) for name in ("timestamp", "equity", "drawdown")]
    lengths += [len(document["series"][name]) for name in ("zscore", "spread", "beta")]
    assert lengths == [700] * 6
    assert document["request"]["hedge"] == {"method": "ols", "lookback": 120}
    assert (document["honesty"]["trials"], document["honesty"]["nulls_run"]) == (3, 19)
    assert "blocks of 5 bars" in document["assumptions"]["null"]


def test_the_money_is_split_and_the_days_add_up_to_it(pair_of: PairOf) -> None:
    made = judge_backtest(ASKED, pair_of(3000, 2, tie=0.8), nulls=0)
    pnl = made.pnl
    assert pnl["pnl"] == pytest.approx(pnl["spread_pnl"] - pnl["fees"] - pnl["slippage"] - pnl["funding"])
    assert sum(day["return"] for day in made.returns["daily"]) == pytest.approx(pnl["pnl"] / 10_000.0)
    assert sum(trade.pnl for trade in made.backtest.trades) == pytest.approx(pnl["pnl"])


def test_warm_up_in_the_range_is_null_and_not_zero(pair_of: PairOf) -> None:
    series = judge_backtest(ASKED, pair_of(300, 3), nulls=0).document()["series"]
    assert series["zscore"][:119] == [None] * 119
    assert None not in series["zscore"][119:]


def test_a_strong_pair_is_good_and_walks_are_not(pair_of: PairOf) -> None:
    made = judge_backtest(ASKED, pair_of(6000, 4, tie=0.8, spread=3e-3), nulls=39)
    assert (made.verdict["level"], made.honesty["null_pvalue"]) == ("good", 1 / 40)
    for seed in range(3):
        level = judge_backtest(ASKED, pair_of(3000, seed), nulls=39).verdict["level"]
        assert level in ("weak", "bad"), seed


def test_the_same_request_is_judged_the_same_whatever_the_threads(pair_of: PairOf) -> None:
    bars = pair_of(600, 5)
    made = [judge_backtest(ASKED, bars, nulls=25, threads=threads).document() for threads in (1, 3)]
    assert made[0] == made[1]


def test_gaps_and_missing_bars_reach_the_verdict(pair_of: PairOf) -> None:
    bars = replace(pair_of(900, 6), open_gaps=3)
    holed = replace(bars, times_ns=bars.times_ns + (bars.times_ns > bars.times_ns[500]) * 100 * 60_000_000_000)
    sentences = judge_backtest(ASKED, holed, nulls=0).verdict["sentences"]
    assert any("3 open gaps" in sentence for sentence in sentences)
    assert any("10 % of the bars are missing" in sentence for sentence in sentences)


def test_progress_counts_the_run_and_its_surrogates(pair_of: PairOf) -> None:
    told: list[tuple[int, int]] = []
    judge_backtest(ASKED, pair_of(400, 7), nulls=5, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    with pytest.raises(CancelledError):
        judge_backtest(ASKED, pair_of(400, 7), nulls=5, cancelled=lambda: True)


def test_trials_that_make_no_sense_are_refused(pair_of: PairOf) -> None:
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(InputError, match="trials"):
            judge_backtest(ASKED, pair_of(400, 7), trials=wrong)  # type: ignore[arg-type]
