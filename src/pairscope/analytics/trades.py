"""The trades of a backtest: a row a trade, a column a field, under the names that the API gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_terms import POSITION_FIELDS, REASONS
from pairscope.market.ticks import F8

__all__ = ["TRADE_FIELDS", "Trade", "Trades", "tabulate_trades"]

TRADE_FIELDS: Final = (
    "entry_timestamp",
    "exit_timestamp",
    "side",
    "entry_zscore",
    "exit_zscore",
    "beta",
    "pnl",
    "return",
    "fees",
    "reason",
    "quantity_y",
    "quantity_x",
    "spread_pnl",
    "slippage",
    "funding",
    "entry_bar",
    "exit_bar",
    "entry_value",
    "exit_value",
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
"""The columns of a table of trades, in order; what each is, :class:`Trades` says."""


class Trade(Mapping[str, Any]):
    """One trade, ``TRADE_FIELDS`` by name: ``trade["pnl"]``, and ``trade.pnl`` for all but ``return``."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        if name != "_fields" and name in self._fields:
            return self._fields[name]
        raise AttributeError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Trade({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"


@dataclass(frozen=True, slots=True, eq=False)
class Trades(Sequence[Trade]):
    """All trades, the oldest first: ``trades[0]`` is a trade, ``trades["pnl"]`` a column.

    Bars and timestamps are those of the fills, z-scores and ``beta`` those of the bars that decided, ``entry_decided``
    and ``exit_decided``; ``side`` is
    ``long`` (long the spread) or ``short``; quantities are bought where positive, sold where negative, and held
    unchanged unless the x leg was re-hedged, ``rehedges`` times, to ``exit_quantity_x``. ``pnl`` = ``spread_pnl`` -
    ``fees`` - ``slippage`` - ``funding``, ``return`` is ``pnl`` over the capital, ``entry_value`` and ``exit_value``
    what both legs were worth at the fills, whose prices stand beside; ``turnover`` all that was traded. A z-score that
    there is not is NaN in a column and None in a trade.
    """

    columns: Mapping[str, NDArray[Any]]

    def keys(self) -> tuple[str, ...]:
        """Return the columns' names: ``dict(trades)`` is the table as a mapping.

        >>> tabulate_trades(np.empty((0, len(POSITION_FIELDS))), np.arange(3), 1000.0).keys() == TRADE_FIELDS
        True
        """
        return tuple(self.columns)

    @overload
    def __getitem__(self, key: int) -> Trade: ...
    @overload
    def __getitem__(self, key: slice) -> Trades: ...
    @overload
    def __getitem__(self, key: str) -> NDArray[Any]: ...
    def __getitem__(self, key: int | slice | str) -> Trade | Trades | NDArray[Any]:
        if isinstance(key, str):
            return self.columns[key]
        if isinstance(key, slice):
            return Trades({name: column[key] for name, column in self.columns.items()})
        return Trade({name: _plain(column[key]) for name, column in self.columns.items()})

    def __len__(self) -> int:
        return int(self.columns["pnl"].size)


def tabulate_trades(rows: NDArray[np.float64], times: NDArray[Any], capital: float) -> Trades:
    """Return the rows that ``trade_pair`` wrote as a table; ``times`` are the bars'. NaN stays. O(trades).

    >>> row = np.zeros((1, len(POSITION_FIELDS)))
    >>> row[0, [0, 1, 2, 14, 15]] = 1, 2, 1, 50, 2
    >>> trades = tabulate_trades(row, np.array([60, 120, 180]), 1000.0)
    >>> trades[0]["return"], trades[0].exit_timestamp, trades["side"].tolist(), trades[0].reason
    (0.05, 180, ['long'], 'exit')
    """
    found: dict[str, F8] = dict(zip(POSITION_FIELDS, rows.T.copy(), strict=True))
    whole = ("entry_bar", "exit_bar", "rehedges", "entry_decided", "exit_decided")
    bars = {name: found[name].astype(np.int64) for name in whole}
    made: dict[str, NDArray[Any]] = {
        **found,
        **bars,
        "entry_timestamp": times[bars["entry_bar"]],
        "exit_timestamp": times[bars["exit_bar"]],
        "side": np.where(found["side"] > 0.0, "long", "short"),
        "return": found["pnl"] / capital,
        "reason": np.array(REASONS)[found["reason"].astype(np.int64) - 2],
    }
    return Trades({name: made[name] for name in TRADE_FIELDS})


def _plain(value: Any) -> Any:
    """Return a cell as Python's own number or text; a time stays what it is, NaN becomes None."""
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value
