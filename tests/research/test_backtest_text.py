"""A backtest as plain text: what stands first, what fits a terminal, what is written how."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.research.backtest_text import (
    WIDTH,
    backtest_lines,
    rows_lines,
    source_words,
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


def test_nobody_takes_a_made_market_for_a_real_one() -> None:
    assert source_words("synthetic") == "a synthetic market: made prices, at which nobody traded"
    assert source_words("replay") == "a recording of the market, replayed"
    assert source_words("live") == "the live market, as recorded here"
    assert source_words("file a.csv") == "the file a.csv"
    assert source_words("") == "source unknown"
