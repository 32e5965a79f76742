"""What a backtest's figures say: signs, units, what is missing, and how much of a sweep is luck."""

from __future__ import annotations

import pytest

from pairscope.dashboard.backtest_choice import BacktestChoice, rule_words, same_rule
from pairscope.dashboard.backtest_jobs import progress_words
from pairscope.dashboard.backtest_report import csv_of_trades, trade_table
from pairscope.dashboard.backtest_sweep import heat_cells, heat_figure, luck_of
from pairscope.dashboard.backtest_walk import fold_rows, promise_of
from pairscope.dashboard.backtest_words import headline_figures, metric_text, money_rows, sure_rows, verdict_of


def test_an_empty_document_is_dashes_and_no_error() -> None:
    assert {value for _, value, _, _ in headline_figures({})} == {"–"}
    assert all(row["USDT"] == "–" for row in money_rows({}))
    assert all("–" in row["Value"] for row in sure_rows({}))
    assert verdict_of({}) == ("gray", "○ Cannot tell", "", [])
    assert luck_of({})[0] == "unknown"
    assert promise_of({}) == ("unknown", "Too few folds were traded to tell.")
    assert fold_rows({}) == []


def test_costs_are_written_as_what_they_take() -> None:
    document = {
        "metrics": {"pnl": -20.0},
        "pnl": {"spread_pnl": 100.0, "fees": 90.0, "slippage": 25.0, "funding": -5.0, "pnl": -20.0},
        "request": {"notional": 10_000.0},
    }
    assert [row["USDT"] for row in money_rows(document)] == ["+100.00", "−90.00", "−25.00", "+5.00", "−20.00"]
    assert money_rows(document)[-1]["Of notional"] == "−0.20 %"


@pytest.mark.parametrize(
    ("pbo", "deflated", "level"),
    [(0.05, 0.97, "good"), (0.05, 0.9, "weak"), (0.3, 0.97, "weak"), (0.5, 0.97, "bad"), (0.05, 0.4, "bad")],
)
def test_a_sweep_holds_up_only_where_neither_measure_speaks_against_it(pbo: float, deflated: float, level: str) -> None:
    assert luck_of({"pbo": pbo, "deflated_sharpe": deflated, "trials": 12})[0] == level


def test_a_measure_of_luck_that_could_not_be_had_says_why() -> None:
    lines = luck_of({"pbo": {"value": None, "reason": "needs 16 blocks of bars"}, "deflated_sharpe": 0.99})[1]
    assert lines[0] == "The probability of overfitting was not computed: needs 16 blocks of bars."


def test_a_cell_of_many_rules_is_their_median_or_the_best_of_them() -> None:
    rows = [{"entry": 1.0, "exit": 0.0, "window": w, "sharpe": s} for w, s in ((30, 1.0), (60, 2.0), (90, 9.0))]
    rows.append({"entry": None, "exit": 0.0, "window": 30, "sharpe": None})
    assert heat_cells(rows, "entry", "exit", "sharpe") == ([1.0, None], [0.0], [[2.0, None]])
    assert heat_cells(rows, "entry", "exit", "sharpe", "best")[2] == [[9.0, None]]


def test_the_map_has_nought_in_the_middle_where_the_metric_has_a_sign() -> None:
    cells = ([1.0, 2.0], [0.0], [[-1.0, 3.0]])
    (heat,) = heat_figure(cells, "entry", "exit", "sharpe", "dark")["data"]
    assert (heat["zmin"], heat["zmax"], heat["colorscale"][1][0]) == (-1.0, 3.0, 0.25)
    assert heat["text"] == [["−1.00", "★ 3.00"]]
    (alike,) = heat_figure(([1.0], [0.0], [[2.0]]), "entry", "exit", "trades", "light")["data"]
    assert alike["zmin"] < alike["zmax"]


def test_a_walk_forward_that_kept_half_its_promise_holds_up() -> None:
    folds = [{"in_sample": {"sharpe": 4.0}, "out_of_sample": {"sharpe": 2.0, "total_return": 0.01}}] * 3
    assert promise_of({"folds": folds, "metrics": {"total_return": 0.03, "sharpe": 2.0}})[0] == "good"
    assert promise_of({"folds": folds, "metrics": {"total_return": 0.03, "sharpe": 0.5}})[0] == "weak"
    assert promise_of({"folds": folds, "metrics": {"total_return": -0.01, "sharpe": -0.5}})[0] == "bad"


def test_a_fold_in_which_nothing_could_be_chosen_says_so() -> None:
    fold = {"train_start": 0, "train_end": 60_000, "entry": None, "stop": None, "in_sample": {}, "out_of_sample": {}}
    (row,) = fold_rows({"folds": [fold], "grid": {"entry": [2.0], "stop": [None]}})
    assert row["Chosen"] == "– (no rule of the grid traded)"
    assert (row["Sharpe trained"], row["Trades"], row["Tested (UTC)"]) == ("–", "–", "–")


def test_a_run_of_the_same_settings_is_known_however_the_api_writes_them() -> None:
    choice = BacktestChoice("ETHUSDT", "BTCUSDT", fee_bps=4.0)
    request = {**choice.body(), "fee_bps": [4, 4], "stop": None, "start": 7, "capital": None}
    assert same_rule(choice.body(), request)
    for changed in ({"stop": 3.0}, {"entry": 2.5}, {"x": "SOLUSDT"}, {"hedge": {"method": "huber", "lookback": 240}}):
        assert not same_rule(choice.body(), {**request, **changed})


def test_a_rule_with_everything_is_one_line() -> None:
    choice = BacktestChoice(
        "ETHUSDT", "BTCUSDT", "5m", method="fixed", beta=1.25, stop=3.5, max_holding=90, gate="sentinel", fee_bps_x=2.0
    )
    assert rule_words(choice.body()) == (
        "ETH on BTC, 5m: Fixed beta 1.25, z over 60, in at 2, out at 0.5, stop at 3.5, at most 90 bars, only while the "
        "sentinel is quiet; fee 4 and 2 + slippage 1 bps a fill"
    )


def test_time_left_is_told_once_it_is_known() -> None:
    job = {"status": "running", "done": 100, "total": 10_000}
    assert progress_words(job, "sweep") == (0.01, "100 of 10,000 rules")
    assert progress_words(job, "sweep", 990.0) == (0.01, "100 of 10,000 rules, about 16 min more")
    assert progress_words({**job, "done": 10_000}, "sweep") == (1.0, "10,000 of 10,000 rules, judging the result…")
    assert progress_words({"status": "running"}, "sweep")[0] == 0.0


def test_a_trade_without_an_exit_z_score_is_a_row_and_a_line() -> None:
    trades = [
        {
            "entry_timestamp": 0,
            "exit_timestamp": 60_000,
            "side": "short",
            "exit_zscore": None,
            "reason": "end",
            "pnl": -1,
        }
    ]
    table = trade_table(trades)
    assert table["Why"].tolist() == ["○ open at the end"]
    assert csv_of_trades(trades).splitlines()[1] == "1970-01-01T00:00:00.000Z,1970-01-01T00:01:00.000Z,short,,end,-1"


def test_metrics_are_written_with_their_units() -> None:
    assert metric_text("max_drawdown", -0.0123) == "−1.23 %"
    assert metric_text("win_rate", 0.5) == "50.0 %"
    assert metric_text("turnover", 99.6) == "99.6 ×"
    assert metric_text("fees", float("nan")) == "–"
