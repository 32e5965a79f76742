"""A backtest as plain text: what stands first, what fits a terminal, what is written how."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.research.backtest_text import (
    WIDTH,
    backtest_lines,
    rows_lines,
    source_words,
    sweep_lines,
    sweep_verdict,
    walk_lines,
    written,
)

TRADE = {
    "entry_timestamp": 1_748_964_660_000, "exit_timestamp": 1_748_964_661_000, "side": "short", "entry_zscore": 2.1,
    "exit_zscore": None, "beta": 0.123456789, "pnl": -1234.5, "return": -0.12345, "fees": 4.0, "reason": "max_holding",
    "entry_bar": 3, "exit_bar": 9,
}  # fmt: skip
DOCUMENT: dict[str, Any] = {
    "verdict": {"level": "bad", "title": "Costs exceed the edge", "sentences": ["Costs of 10 bps. " * 9]},
    "honesty": {"null_pvalue": 0.04, "nulls_run": 199, "edge_bps": 9.0, "edge_stderr_bps": 2.0, "sharpe_stderr": 0.5},
    "metrics": {
        "total_return": 0.0123, "sharpe": 1.5, "sharpe_stderr": 0.5, "sortino": None, "trades": 2, "fees": 8.0,
    },
    "pnl": {"pnl": 123.0, "spread_pnl": 133.0, "fees": 8.0, "slippage": 2.0, "funding": -0.0},
    "trades": [TRADE, {**TRADE, "exit_zscore": -0.4, "reason": "end"}],
}  # fmt: skip


def test_the_verdict_comes_first_then_figures_money_and_trades() -> None:
    lines = backtest_lines(DOCUMENT, limit=1)
    assert lines[0] == "BAD: Costs exceed the edge"
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert text.index("BAD") < text.index("1.50 ± 0.50") < text.index("P&L 123.00") < text.index("2025-06-03")
    assert "P&L 123.00 = spread 133.00  fees -8.00  slippage -2.00  funding 0.00" in lines
    assert "edge a round trip" in text and "9.0 bps ± 2.0 bps" in text and "0.040" in text
    assert text.count("± 0.50") == 1  # an error that two parts tell stands once
    assert lines[-3] == "the last 1 of 2 trades"
    assert "bars" not in lines[-2]  # would be too wide
    assert lines[-1].split() == [
        "2025-06-03", "15:31", "2025-06-03", "15:31:01", "short", "+2.10", "-0.40", "0.12346", "-1,234.50", "-12.35",
        "%", "end",
    ]  # fmt: skip


def test_what_there_is_none_of_is_said() -> None:
    lines = backtest_lines({**DOCUMENT, "trades": [], "verdict": {}, "honesty": {}}, limit=0)
    assert lines[0] == "NOT JUDGED: no verdict"
    assert lines[-1] == "no trade"
    assert any(line.split() == ["Sortino,", "a", "year", "none"] or "none" in line for line in lines)
    assert "none" in backtest_lines(DOCUMENT, limit=0)[-2]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("share", -0.5, "-50.00 %"), ("part", 0.123, "12.3 %"), ("bars", 12.0, "12 bars"), ("bars", 2.5, "2.5 bars"),
        ("money", -0.0, "0.00"), ("ratio", float("nan"), "none"), ("ratio", float("inf"), "none"),
        ("", (4.0, 2.0), "4/2"), ("", "ols", "ols"), ("count", 12345, "12,345"), ("bps", None, "none"),
        ("chance", 0.0049, "0.005"),
    ],
)  # fmt: skip
def test_a_figure_is_written_with_its_unit(kind: str, value: Any, said: str) -> None:
    assert written(kind, value) == said


@pytest.mark.parametrize(
    ("pbo", "skill", "level"),
    [(0.6, 0.99, "bad"), (0.1, 0.4, "bad"), (0.1, 0.96, "good"), (0.3, 0.96, "weak"), (0.1, None, "weak"),
     (None, 0.99, "weak"), (None, None, "unknown")],
)  # fmt: skip
def test_a_sweep_is_judged_by_how_much_of_its_best_is_luck(pbo: float | None, skill: float | None, level: str) -> None:
    told = sweep_verdict({"rows": [{}], "grid": {"entry": [1]}, "pbo": pbo, "deflated_sharpe": skill, "trials": 70})
    assert told["level"] == level
    assert any("70 trials" in sentence for sentence in told["sentences"])


def test_a_table_of_many_parameters_gives_up_metrics_and_not_its_width() -> None:
    names = ["lookback", "window", "entry", "exit", "stop", "max_holding", "cooldown", "fee_bps"]
    row = {**dict.fromkeys(names, 12345.25), "fee_bps": (4.0, 2.0), **dict.fromkeys(
        ("sharpe", "total_return", "max_drawdown", "trades", "win_rate", "pnl"), 1.0
    )}  # fmt: skip
    lines = rows_lines([row], names)
    assert max(map(len, lines)) <= WIDTH
    assert "max holding" in lines[0] and "Sharpe" in lines[0] and "P&L" not in lines[0]
    assert "4/2" in lines[1]
    assert "P&L" in rows_lines([row], names[:3])[0]


def test_a_sweep_shows_as_many_rows_as_asked_and_its_best_rule_alone() -> None:
    rows = [{"entry": float(i), "sharpe": 3.0 - i, "trades": i} for i in range(5)]
    told = {"rows": rows, "grid": {"entry": [0, 1, 2, 3, 4]}, "best": rows[0], "best_run": DOCUMENT, "skipped": 3}
    lines = sweep_lines(told, limit=2)
    assert lines[0] == "NOT JUDGED: Too little was traded to tell skill from luck"
    assert lines[1] == "  5 combinations of entry were tried, 3 that make no sense left out."
    table = lines.index("entry  Sharpe  trades")
    assert [line.split()[0] for line in lines[table + 1 : table + 3]] == ["0", "1"] and lines[table + 3] == ""
    assert "the best combination on its own: entry 0" in lines and "BAD: Costs exceed the edge" in lines


def test_a_walk_forward_sets_what_was_chosen_in_sample_beside_what_came_of_it() -> None:
    metrics = {"sharpe": 2.0, "total_return": 0.1}
    fold = {
        "test_start": TRADE["entry_timestamp"], "test_end": TRADE["entry_timestamp"] + 60_000, "entry": 2.5,
        "in_sample": metrics, "out_of_sample": {"sharpe": -1.0, "total_return": None},
    }  # fmt: skip
    lines = walk_lines({"metrics": DOCUMENT["metrics"], "folds": [fold], "grid": {"entry": [2.0, 2.5]}}, ["entry"])
    assert lines[-1].split() == [
        "2025-06-03", "15:31", "2025-06-03", "15:32", "2.5", "2.00", "-1.00", "+10.00", "%", "none",
    ]  # fmt: skip


def test_nobody_takes_a_made_market_for_a_real_one() -> None:
    assert source_words("synthetic") == "a synthetic market: made prices, at which nobody traded"
    assert source_words("replay") == "a recording of the market, replayed"
    assert source_words("live") == "the live market, as recorded here"
    assert source_words("file a.csv") == "the file a.csv"
    assert source_words("") == "source unknown"
