"""What a sweep answers: a row a combination, and how much of the best of so many can be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.overfitting import (
    CrossValidation,
    SplitChoices,
    judge_splits,
    split_halves,
    summarize_splits,
)
from pairscope.analytics.performance import deflated_sharpe
from pairscope.analytics.sweep_kernel import SWEEP_METRICS
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SWEPT", "Heatmap", "SweepTable"]

SWEPT: Final = tuple(name for name in SWEEP_METRICS if name not in ("skew", "kurtosis", "unsure"))
"""The metrics of a row, ``performance``'s names."""

_COUNTS: Final = ("trades", "longest_drawdown", "skipped")
_LESS_IS_BETTER: Final = ("fees", "slippage", "funding", "turnover", "longest_drawdown", "sharpe_stderr", "skipped")
_STEP: Final = 4_000_000


class Heatmap(NamedTuple):
    """One metric over two parameters: ``values[i, j]`` belongs to ``a_values[i]`` and ``b_values[j]``; NaN where none.

    Where other parameters varied too, each cell is their ``others``: the mean over them, or the best of them.
    """

    metric: str
    a: str
    b: str
    a_values: tuple[Any, ...]
    b_values: tuple[Any, ...]
    values: F8
    others: str


@dataclass(frozen=True, slots=True, eq=False)
class SweepTable(Sequence[Mapping[str, Any]]):
    """A row a combination, in the order of ``itertools.product``; ``table["entry"]`` and ``table["sharpe"]`` columns.

    A row is a dict of the grid's names and the metrics'; what is not defined is None in a row and NaN in a column.
    ``skipped`` counts the combinations that make no sense and are not there, ``trials`` how many rules were tried on
    the pair in all, ``observations`` the returns that a row's ratios are made of.
    """

    grid: Mapping[str, tuple[Any, ...]]
    codes: Mapping[str, I8]
    metrics: F8
    blocks: F8
    block_bars: int
    skipped: int
    trials: int
    observations: int
    bars_per_year: float
    _found: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names: the grid's, then the metrics'."""
        return (*self.grid, *SWEPT)

    def keys(self) -> tuple[str, ...]:
        """The columns' names: ``dict(table)`` is the table as a mapping."""
        return self.columns

    def __len__(self) -> int:
        """Return how many combinations were traded."""
        return len(self.metrics)

    def __getitem__(self, key: Any) -> Any:
        """Return a column by its name, a row as a dict by its number, rows by a slice."""
        if isinstance(key, str):
            return self._column(key)
        if isinstance(key, slice):
            return [self._row(i) for i in range(*key.indices(len(self)))]
        place = int(key)
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._row(place % len(self))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows."""
        return map(self._row, range(len(self)))

    def __contains__(self, key: object) -> bool:
        """Whether there is such a column."""
        return key in self.columns

    def rows(self) -> list[dict[str, Any]]:
        """Return every row as a dict."""
        return [self._row(place) for place in range(len(self))]

    def best(self, metric: str = "sharpe") -> dict[str, Any] | None:
        """Return the row with the best value of a metric, the least where less is better; None where none has one.

        The first of equal ones.
        """
        place = self._best(metric)
        return None if place is None else self._row(place)

    def heatmap(self, metric: str, a: str, b: str, *, best: bool = False) -> Heatmap:
        """Return a metric over two parameters of the grid, the mean over all others, or the ``best`` of them."""
        if metric not in SWEPT:
            raise InputError(f"metric: there is no {metric}; there are {', '.join(SWEPT)}", loc="metric")
        for loc, name in (("a", a), ("b", b)):
            if name not in self.grid:
                raise InputError(f"{loc}: {name} does not vary; there are {', '.join(self.grid)}", loc=loc)
        if a == b:
            raise InputError("b: must be another parameter than a", loc="b")
        shape = len(self.grid[a]), len(self.grid[b])
        value = self._column(metric).astype(np.float64)
        there = ~np.isnan(value)
        cell = (self.codes[a] * shape[1] + self.codes[b])[there]
        made = np.full(shape[0] * shape[1], np.nan)
        if best:
            sign = -1.0 if metric in _LESS_IS_BETTER else 1.0
            highest = np.full(made.size, -np.inf)
            np.maximum.at(highest, cell, sign * value[there])
            made = np.where(np.isinf(highest), np.nan, sign * highest)
        else:
            count = np.bincount(cell, minlength=made.size)
            total = np.bincount(cell, weights=value[there], minlength=made.size)
            np.divide(total, count, out=made, where=count > 0)
        others = [name for name, values in self.grid.items() if name not in (a, b) and len(values) > 1]
        words = f"the {'best' if best else 'mean'} over {', '.join(others)}" if others else "no other parameter varied"
        return Heatmap(metric, a, b, self.grid[a], self.grid[b], made.reshape(shape), words)

    @property
    def deflated_sharpe(self) -> float | None:
        """The probability that the best Sharpe ratio is more than the luck of so many trials; None where none is known.

        Bailey and López de Prado's, with the true number of trials, ``trials``, not a smaller effective one, and the
        variance of this table's ratios: combinations alike are counted as different, which is on the safe side.
        """
        place = self._best("sharpe")
        if place is None:
            return None
        ratios = self._column("sharpe") / np.sqrt(self.bars_per_year)
        known = ratios[np.isfinite(ratios)]
        skew, kurtosis = (float(self.metrics[place, SWEEP_METRICS.index(name)]) for name in ("skew", "kurtosis"))
        try:
            return deflated_sharpe(
                float(ratios[place]),
                self.observations,
                trials=self.trials,
                variance=float(known.var(ddof=1)) if known.size > 1 else 0.0,
                skew=skew,
                kurtosis=kurtosis,
            )
        except InputError:
            return None

    @property
    def pbo(self) -> float | None:
        """The probability of backtest overfitting; None where fewer than two combinations traded, or bars are few."""
        found = self.overfitting()
        return None if found is None else found.pbo

    def overfitting(self, *, cancelled: Callable[[], bool] | None = None) -> CrossValidation | None:
        """Return the cross-validation of all combinations, which is computed once; ``pbo`` is of it.

        Combinations that never traded are left out. Where ``cancelled`` answers True, ``CancelledError`` is raised.
        """
        if "validated" not in self._found:
            self._found["validated"] = self._validated(cancelled)
        found: CrossValidation | None = self._found["validated"]
        return found

    def document(self) -> dict[str, Any]:
        """Return everything under the names of the API; what is not known is None."""
        found = self.overfitting()
        judged = None
        if found is not None:
            judged = {
                "blocks": found.blocks,
                "splits": int(found.logits.size),
                "trials": found.trials,
                "loss": found.loss,
                "slope": found.slope if np.isfinite(found.slope) else None,
            }
        return {
            "grid": {name: list(values) for name, values in self.grid.items()},
            "rows": self.rows(),
            "deflated_sharpe": self.deflated_sharpe,
            "pbo": self.pbo,
            "best": self.best(),
            "skipped": self.skipped,
            "trials": self.trials,
            "overfitting": judged,
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame({name: self._column(name) for name in self.columns})

    def __repr__(self) -> str:
        best = self.best()
        told = "" if best is None else f", best Sharpe {best['sharpe']:.2f}"
        return f"SweepTable({len(self):,} combinations of {', '.join(self.grid)}{told})"

    def _column(self, name: str) -> NDArray[Any]:
        if name in self.grid:
            values = self.grid[name]
            plain = all(isinstance(value, int | float) for value in values) or all(
                isinstance(value, str) for value in values
            )
            column = np.array(values) if plain else np.empty(len(values), object)
            if not plain:
                column[:] = values
            return column[self.codes[name]]
        if name not in SWEPT:
            raise KeyError(name)
        found = self.metrics[:, SWEEP_METRICS.index(name)]
        return found.astype(np.int64) if name in _COUNTS else found

    def _row(self, place: int) -> dict[str, Any]:
        made = {name: values[self.codes[name][place]] for name, values in self.grid.items()}
        for name, value in zip(SWEEP_METRICS, self.metrics[place].tolist(), strict=True):
            if name in SWEPT:
                made[name] = int(value) if name in _COUNTS else None if np.isnan(value) else value
        return made

    def _best(self, metric: str) -> int | None:
        if metric not in SWEPT:
            raise InputError(f"metric: there is no {metric}; there are {', '.join(SWEPT)}", loc="metric")
        value = self._column(metric).astype(np.float64)
        value = -value if metric in _LESS_IS_BETTER else value
        return None if np.isnan(value).all() else int(np.nanargmax(value))

    def _validated(self, cancelled: Callable[[], bool] | None) -> CrossValidation | None:
        sums, squares = self.blocks[:, 0].T, self.blocks[:, 1].T
        traded = np.flatnonzero(squares.sum(axis=0) > 0.0)
        if self.block_bars < 2 or traded.size < 2:
            return None
        sums, squares = np.ascontiguousarray(sums[:, traded]), np.ascontiguousarray(squares[:, traded])
        halves = split_halves(len(sums))
        step = max(1, _STEP // sums.size)
        parts = []
        for start in range(0, len(halves), step):
            if cancelled is not None and cancelled():
                raise CancelledError("the sweep was cancelled")
            parts.append(judge_splits(sums, squares, self.block_bars, halves[start : start + step]))
        choices = SplitChoices(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        choices = choices._replace(chosen=traded[choices.chosen])
        return summarize_splits(choices, trials=int(traded.size), blocks=len(sums))
