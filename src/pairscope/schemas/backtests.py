"""The documents of backtests, sweeps and walk-forwards as OpenAPI shows them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BacktestMetrics",
    "BacktestOut",
    "BacktestRuns",
    "HeatmapOut",
    "SweepOut",
    "WalkForwardOut",
    "encode_trades",
]


class _Part(BaseModel):
    """A part of a document; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class BacktestMetrics(_Part):
    """What a rule would have earned; null is what cannot be said."""

    total_return: float | None = Field(description="P&L over the capital: 0.02 is 2 %.")
    annual_return: float | None = Field(description="Compounded to 365 days.")
    sharpe: float | None = Field(description="Of bar returns, annualised to 365 days.")
    sortino: float | None
    max_drawdown: float | None = Field(description="Deepest fall from equity's peak, negative.")
    calmar: float | None
    trades: int
    win_rate: float | None
    profit_factor: float | None = Field(description="What winners won over what losers lost.")
    average_holding: float | None = Field(description="Bars.")
    turnover: float | None = Field(description="Traded value over the capital.")
    fees: float | None = Field(description="In quote units.")
    exposure: float | None = Field(description="Share of the bars in which something was held.")


class EquityOut(_Part):
    """Equity bar by bar, of the capital and what was earned, as if all were closed at that bar."""

    timestamp: list[int] = Field(description="Open times of the bars, ms.")
    equity: list[float | None]
    drawdown: list[float | None]


class TradeOut(_Part):
    """One trade; times are the bars of the fills, z-scores and beta those of the bars that decided."""

    entry_timestamp: int
    exit_timestamp: int
    side: Literal["long", "short"]
    entry_zscore: float | None
    exit_zscore: float | None
    beta: float
    pnl: float = Field(description="In quote units, net of everything.")
    return_: float = Field(alias="return", description="P&L over the notional.")
    fees: float
    reason: str = Field(description="`exit`, `stop`, `max_holding`, `end` or `liquidation`.")
    gap: bool | None = Field(
        None, description="Whether it met a bar that lacks trades; left out where no bar of the run does."
    )


class Verdict(_Part):
    """What is to be thought of it, in words."""

    level: Literal["good", "weak", "bad", "unknown"]
    title: str
    sentences: list[str]


class _Run(_Part):
    """What every kept run says of itself."""

    id: str = Field(description="`/api/backtests/{id}` gives it again.")
    kind: Literal["backtest", "sweep", "walk_forward"]
    created: int = Field(description="ms.")
    source: str = Field(description="Of the market that it ran over: live, replay or synthetic.")
    request: dict[str, Any] = Field(description="What was asked, with what was left out filled in.")
    gap: Literal[True] | None = Field(
        None, description="true: bars that were read lack trades, which nothing has filled; left out where none do."
    )
    gap_bars: dict[str, Any] | None = Field(
        None, description="Those bars by leg (`y`, `x`): how many, and the open times of the first thousand, ms."
    )


class BacktestOut(_Run):
    """One rule over the past of one pair, with what to think of it."""

    metrics: BacktestMetrics
    equity: EquityOut
    trades: list[TradeOut]
    assumptions: dict[str, Any] = Field(description="What the numbers rest on, in words.")
    honesty: dict[str, Any] = Field(
        description="The same rule on pairs that are none, Sharpe ratios corrected for luck and for trials."
    )
    verdict: Verdict
    pnl: dict[str, Any] = Field(description="The result split: spread, fees, slippage, funding.")


class SweepOut(_Run):
    """Many rules over the past of one pair: a row a combination, its parameters and its metrics."""

    rows: list[dict[str, Any]]
    deflated_sharpe: float | None = Field(description="Probability that the best one's Sharpe ratio is no luck.")
    pbo: float | None = Field(description="Probability of backtest overfitting.")
    best: dict[str, Any] | None
    skipped: int = Field(description="Combinations that make no sense and were left out.")
    trials: int = Field(description="Rules that were tried on this pair, these and earlier ones.")


class WalkForwardOut(_Run):
    """Parameters chosen in one stretch and traded in the next, again and again."""

    folds: list[dict[str, Any]]
    equity: EquityOut = Field(description="Out of sample, joined.")
    trades: list[dict[str, Any]] = Field(description="Out of sample.")
    metrics: BacktestMetrics = Field(description="Out of sample.")
    metric: str = Field(description="By which parameters were chosen.")
    purge: int = Field(description="Bars between training and test.")
    trials: int


class RunLine(_Part):
    """A kept run in the list."""

    id: str
    kind: Literal["backtest", "sweep", "walk_forward"]
    created: int = Field(description="ms.")
    y: str
    x: str
    timeframe: str
    source: str
    request: dict[str, Any]


class BacktestRuns(_Part):
    """Kept runs, the newest first."""

    backtests: list[RunLine]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class HeatmapOut(_Part):
    """One metric of a sweep over two parameters; `values[i][j]` belongs to `a` i and `b` j."""

    metric: str
    a: dict[str, Any] = Field(description="Name and values of the first parameter.")
    b: dict[str, Any] = Field(description="Name and values of the second parameter.")
    values: list[list[float | None]]
    others: str = Field(description="What stands for the other parameters, in words.")


def encode_trades(trades: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> bytes:
    r"""Return trades as CSV with a heading, ``columns`` where there are none; times in ISO 8601 with Z, null is empty.

    >>> encode_trades([{"entry_timestamp": 0, "side": "long", "pnl": 1.5, "exit_zscore": None}])
    b'entry_timestamp,side,pnl,exit_zscore\r\n1970-01-01T00:00:00.000Z,long,1.5,\r\n'
    """
    names = list(trades[0]) if trades else list(columns)
    written = io.StringIO(newline="")
    table = csv.writer(written)
    table.writerow(names)
    for trade in trades:
        table.writerow([_cell(name, trade.get(name)) for name in names])
    return written.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    if value is not None and name.endswith("timestamp"):
        moment = datetime.fromtimestamp(value / 1000, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return "" if value is None else value
