"""What a screen answers: a row a test, ranked, each with the false-discovery rate that calling it a discovery bears."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.false_discovery import benjamini_hochberg, benjamini_yekutieli
from pairscope.analytics.mackinnon import mackinnon_pvalues
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8
from pairscope.research.screen_described import TileTests

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Control", "ScreenResult", "ScreenRow", "tabulate"]

Control = Literal["bh", "by"]
"""Whose q-values: Benjamini and Hochberg's, or Benjamini and Yekutieli's, which hold under any dependence."""

_CONTROLS: Final[Mapping[str, Any]] = {"bh": benjamini_hochberg, "by": benjamini_yekutieli}


class ScreenRow(NamedTuple):
    """One directed test: y on x."""

    y: str
    x: str
    alpha: float
    beta: float
    statistic: float
    pvalue: float
    qvalue: float
    lags: int
    half_life: float
    zscore: float
    spread_std: float
    correlation: float


COLUMNS: Final = ScreenRow._fields


@dataclass(frozen=True, slots=True, eq=False)
class ScreenResult:
    """Every directed pair's test, the smallest p-value first; a column an attribute, a row a :class:`ScreenRow`.

    spread = y - (alpha + beta x), in logs where ``log``. ``half_life`` is in bars, infinite where nothing comes back,
    NaN where a deviation changes sign each bar; ``zscore`` is the last residual over ``spread_std``, the residuals'
    sample standard deviation over all ``bars``; ``correlation`` that of log returns, NaN where a price is not positive.

    ``universe`` are the symbols tested, ``excluded`` those left out and ``untested`` the pairs left out, with the
    reason; ``tests`` counts the q-values' family, which ``family`` describes; ``recomputed`` how many tests were
    computed from their series, because sums of products would have lost digits.
    """

    y: NDArray[np.str_]
    x: NDArray[np.str_]
    alpha: F8
    beta: F8
    statistic: F8
    pvalue: F8
    qvalue: F8
    lags: I8
    half_life: F8
    zscore: F8
    spread_std: F8
    correlation: F8
    universe: tuple[str, ...]
    excluded: Mapping[str, str]
    untested: Mapping[tuple[str, str], str]
    tests: int
    family: str
    bars: int
    log: bool
    recomputed: int
    elapsed_ms: float

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return COLUMNS

    def keys(self) -> tuple[str, ...]:
        """The columns' names: ``dict(result)`` is the table as a mapping."""
        return COLUMNS

    def __getitem__(self, column: str) -> NDArray[Any]:
        """Return a column."""
        if column not in COLUMNS:
            raise KeyError(column)
        values: NDArray[Any] = getattr(self, column)
        return values

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.y.size

    def __iter__(self) -> Iterator[ScreenRow]:
        """Yield the rows."""
        return map(ScreenRow._make, zip(*(self[name].tolist() for name in COLUMNS), strict=True))

    def take(self, rows: NDArray[Any] | slice) -> ScreenResult:
        """Return some of the rows, in a table that still speaks of the whole screen."""
        columns: dict[str, Any] = {name: self[name][rows] for name in COLUMNS}
        return replace(self, **columns)

    def survivors(self, fdr: float = 0.05) -> ScreenResult:
        """Return the discoveries at a false-discovery rate: the rows whose q-value is at most ``fdr``."""
        if not 0.0 < fdr <= 1.0:
            raise InputError("fdr: must be above 0 and at most 1", loc="fdr")
        return self.take(self.qvalue <= fdr)

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(dict(self))

    def __repr__(self) -> str:
        best = (
            f", best {self.y[0]} on {self.x[0]} (p {self.pvalue[0]:.2g}, q {self.qvalue[0]:.2g})" if len(self) else ""
        )
        return f"ScreenResult({len(self)} rows; {self.family}{best})"


def tabulate(
    tiles: Sequence[TileTests],
    symbols: Sequence[str],
    excluded: Mapping[str, str],
    *,
    control: Control,
    both_directions: bool,
    bars: int,
    log: bool,
    statistic: str,
) -> ScreenResult:
    """Put tiles together, give every test its p- and q-value, and rank the tests. O(m log m)."""
    names = np.array(symbols, np.str_) if symbols else np.array([], "<U1")
    parts = [[tile[i] for tile in tiles] for i in range(len(TileTests._fields) - 2)]
    y, x, alpha, beta, value, lags, half_life, zscore, std, correlation = (
        np.concatenate(part) if part else np.empty(0) for part in parts
    )
    pvalue = mackinnon_pvalues(value, "c", series=2)
    order = _ranking(pvalue, value)
    pvalue = pvalue[order]
    untested = {(symbols[i], symbols[j]): reason for tile in tiles for i, j, reason in tile.untested}
    return ScreenResult(
        y=names[y[order].astype(np.int64)],
        x=names[x[order].astype(np.int64)],
        alpha=alpha[order],
        beta=beta[order],
        statistic=value[order],
        pvalue=pvalue,
        qvalue=_CONTROLS[control](pvalue) if pvalue.size else pvalue,
        lags=lags[order].astype(np.int64),
        half_life=half_life[order],
        zscore=zscore[order],
        spread_std=std[order],
        correlation=correlation[order],
        universe=tuple(symbols),
        excluded=excluded,
        untested=untested,
        tests=pvalue.size,
        family=_family(pvalue.size, len(symbols), statistic, control, excluded, untested, both=both_directions),
        bars=bars,
        log=log,
        recomputed=sum(tile.recomputed for tile in tiles),
        elapsed_ms=0.0,
    )


def _ranking(pvalue: F8, statistic: F8) -> NDArray[np.int64]:
    """Return the order by p-value, equal ones by statistic, then as they stand."""
    # The quick sort leaves equal values in any order; few are, at 0, 1 and by chance, and only those are sorted again.
    order = np.argsort(pvalue)
    ranked = pvalue[order]
    again = np.zeros(order.size, np.bool_)
    again[1:] = ranked[1:] == ranked[:-1]
    again[:-1] |= again[1:]
    equal = order[again]
    order[again] = equal[np.lexsort((equal, statistic[equal], pvalue[equal]))]
    return order


def _family(
    tests: int,
    symbols: int,
    statistic: str,
    control: Control,
    excluded: Mapping[str, str],
    untested: Mapping[tuple[str, str], str],
    *,
    both: bool,
) -> str:
    """Say what the q-values count."""
    what = "Engle-Granger" if statistic == "adf" else "Phillips-Ouliaris"
    pairs = "every ordered pair, y on x and x on y," if both else "every pair once, the earlier symbol on the later,"
    who = "Benjamini-Hochberg" if control == "bh" else "Benjamini-Yekutieli"
    words = f"{tests:,} {what} tests, {pairs} of {symbols:,} symbols; {who} q-values over all of them"
    if untested:
        words += f"; {len(untested):,} tests could not be made"
    return words + (f"; {len(excluded):,} symbols left out" if excluded else "")
