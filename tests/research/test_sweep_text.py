"""Many rules tried on one pair, as plain text: what to think of the best of them, and of choosing as one goes."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.research.sweep_text import sweep_lines, sweep_verdict, walk_lines, walk_verdict

from .test_backtest_text import DOCUMENT, TRADE


@pytest.mark.parametrize(
    ("pbo", "skill", "level"),
    [(0.6, 0.99, "bad"), (0.1, 0.4, "bad"), (0.1, 0.96, "good"), (0.3, 0.96, "weak"), (0.1, None, "weak"),
     (None, 0.99, "weak"), (None, None, "unknown")],
)  # fmt: skip
def test_a_sweep_is_judged_by_how_much_of_its_best_is_luck(pbo: float | None, skill: float | None, level: str) -> None:
    told = sweep_verdict({"rows": [{}], "grid": {"entry": [1]}, "pbo": pbo, "deflated_sharpe": skill, "trials": 70})
    assert told["level"] == level
    assert any("70 trials" in sentence for sentence in told["sentences"])


def test_a_sweep_shows_as_many_rows_as_asked_and_its_best_rule_alone() -> None:
    rows = [{"entry": float(i), "sharpe": 3.0 - i, "trades": i} for i in range(5)]
    told = {"rows": rows, "grid": {"entry": [0, 1, 2, 3, 4]}, "best": rows[0], "best_run": DOCUMENT, "skipped": 3}
    lines = sweep_lines(told, limit=2)
    assert lines[0] == "NOT JUDGED: Too little was traded to tell skill from luck"
    assert lines[1] == "  5 combinations of entry were tried, 3 that make no sense left out."
    table = lines.index("entry  Sharpe  trades")
    assert [line.split()[0] for line in lines[table + 1 : table + 3]] == ["0", "1"] and lines[table + 3] == ""
    assert "the best combination on its own: entry 0" in lines and "BAD: Costs exceed the edge" in lines


def walked(**metrics: Any) -> dict[str, Any]:
    fold = {
        "test_start": TRADE["entry_timestamp"], "test_end": TRADE["entry_timestamp"] + 60_000, "entry": 2.5,
        "in_sample": {"sharpe": 2.0, "total_return": 0.1}, "out_of_sample": {"sharpe": -1.0, "total_return": None},
    }  # fmt: skip
    told = {**DOCUMENT["metrics"], **DOCUMENT["pnl"], "trades": 40, **metrics}
    return {"metrics": told, "folds": [fold], "grid": {"entry": [2.0, 2.5]}, "purge": 1440}


def test_a_walk_forward_sets_what_was_chosen_in_sample_beside_what_came_of_it() -> None:
    lines = walk_lines(walked())
    assert lines[0] == "WEAK: Choosing as one goes won, and may have been luck"
    text = " ".join(" ".join(lines).split())
    assert "Out of sample it earned +1.23 % in 40 trades; 0 of 1 folds won." in text
    assert "was 2.00 in sample on average and 1.50 out of it" in text and "1,440 bars lie between" in text
    assert "P&L 123.00 = spread 133.00  fees -8.00  slippage -2.00  funding 0.00" in lines
    assert "the difference is what choosing flatters" in text
    assert "flatters" not in " ".join(walk_lines(walked(sharpe=2.5)))
    assert lines[-1].split() == [
        "2025-06-03", "15:31", "2025-06-03", "15:32", "2.5", "2.00", "-1.00", "+10.00", "%", "none",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 100


def test_choosing_as_one_goes_is_judged_out_of_sample_alone() -> None:
    won = [{"in_sample": {}, "out_of_sample": {"total_return": 0.1}}]
    assert walk_verdict(walked(trades=9))["level"] == "unknown"
    assert walk_verdict(walked(total_return=0.0))["level"] == "bad"
    assert walk_verdict({**walked(probabilistic_sharpe=0.96), "folds": won})["level"] == "good"
    assert walk_verdict({**walked(probabilistic_sharpe=0.94), "folds": won})["level"] == "weak"
    assert walk_verdict(walked(probabilistic_sharpe=0.99))["level"] == "weak"
