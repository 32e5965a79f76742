"""What a pair's position is stepped with, and what is written of it: terms, a bar, all bars, the fields of a row."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.market.ticks import F8, I8

__all__ = ["POSITION_FIELDS", "REASONS", "PairBar", "PairColumns", "PairTerms"]

POSITION_FIELDS: Final = (
    "entry_bar",
    "exit_bar",
    "side",
    "entry_zscore",
    "exit_zscore",
    "beta",
    "quantity_y",
    "quantity_x",
    "entry_value",
    "exit_value",
    "spread_pnl",
    "fees",
    "slippage",
    "funding",
    "pnl",
    "reason",
    "rehedges",
    "turnover",
    "entry_price_y",
    "entry_price_x",
    "exit_price_y",
    "exit_price_x",
    "exit_quantity_x",
    "entry_decided",
    "exit_decided",
)
"""What is written of each position, in order."""

REASONS: Final = ("exit", "stop", "max_holding", "end", "liquidation")
"""Why a position was closed: what the field numbers, from 2 on as ``signals`` numbers its decisions."""


class PairTerms(NamedTuple):
    """How a pair is traded: costs as shares of traded value, the margin as one of held value, steps 0 where none.

    ``same`` fills at the deciding close, ``opens`` says that fills stand at the beginning of their bar, not its end;
    ``rehedge`` is infinite where legs are held unchanged.
    """

    notional: float
    capital: float
    maintenance: float
    fee_y: float
    fee_x: float
    slippage_y: float
    slippage_x: float
    slippage_range: float
    step_y: float
    step_x: float
    rehedge: float
    same: bool
    opens: bool
    log: bool
    dollar: bool


class PairBar(NamedTuple):
    """What a closed bar brings: prices, its legs' ranges (high - low) and funding rates, what is known at its close.

    ``fill_y`` and ``fill_x`` are the prices at which what was decided before is filled in this bar; NaN: it is not.
    """

    y: float
    x: float
    fill_y: float
    fill_x: float
    range_y: float
    range_x: float
    funding_y: float
    funding_x: float
    alpha: float
    beta: float
    zscore: float
    allowed: bool


class PairColumns(NamedTuple):
    """All bars of a pair: prices, and what the hedge ratio relates, ``spaced_…``: the same, or their logs.

    ``fill_y``, ``fill_x`` and ``fill_bar`` of bar t are the prices at which, and the bar in which, what t decides is
    filled; the bar is after t, or never comes. The other columns are those of :class:`PairBar`.
    """

    y: F8
    x: F8
    spaced_y: F8
    spaced_x: F8
    fill_y: F8
    fill_x: F8
    fill_bar: I8
    range_y: F8
    range_x: F8
    funding_y: F8
    funding_x: F8
    alpha: F8
    beta: F8
    zscore: F8
    allowed: NDArray[np.bool_]
