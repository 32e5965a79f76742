"""A screen's answer as it stands: kept small, and looked at in many ways, sorted, filtered, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.false_discovery import benjamini_yekutieli
from pairscope.errors import InputError, NotEnoughData
from pairscope.market.ticks import B1, F8, I4, I8
from pairscope.ports_research import ScreenView
from pairscope.research.closes import Closes
from pairscope.research.market_null import MarketNull
from pairscope.research.screen_examine import examine
from pairscope.research.screen_table import COLUMNS, ScreenResult

__all__ = ["MOST_EXAMINED", "SPARK", "Standing", "standing_of"]

MOST_EXAMINED: Final = 200
"""Rows that may be looked at a second time with one question: each costs some milliseconds."""

SPARK: Final = 60
"""Newest z-scores of a row, for a sparkline."""

_MS: Final = 1_000_000
_NUMBERS: Final = tuple(name for name in COLUMNS if name not in {"y", "x"})
_LARGEST_FIRST: Final = frozenset({"lags", "zscore", "spread_std", "correlation"})


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """A screen of one timeframe and lookback: every test in columns, y and x by their place among ``symbols``.

    ``number`` grows with every screen of a process; ``closes`` are what was tested; ``null`` is what surrogates of such
    a market offer, where that is known. Rows come by p-value. ``chosen``: somebody named the symbols.
    """

    timeframe: str
    lookback: int
    number: int
    continuous: bool
    head: ScreenResult
    symbols: tuple[str, ...]
    y: I4
    x: I4
    numbers: Mapping[str, NDArray[Any]]
    closes: Closes
    null: MarketNull | None = None
    chosen: bool = False

    @property
    def as_of_ms(self) -> int:
        """Open time of the newest bar in it."""
        return int(self.closes.times_ns[-1]) // _MS

    @property
    def key(self) -> tuple[str, int, int, tuple[int, int] | None]:
        """Return what tells this screen from every other one of the process."""
        return (self.timeframe, self.lookback, self.number, None if self.null is None else self.null.key)

    @property
    def stands_on(self) -> tuple[str, Sequence[str], I8]:
        """Return the timeframe, the symbols and the bars that were tested."""
        return self.timeframe, self.symbols, self.closes.times_ns[-self.head.bars :]

    @property
    def excluded(self) -> Mapping[str, str]:
        """Symbols that were left out, with the reason."""
        return {**self.closes.excluded, **self.head.excluded}

    def page(self, view: ScreenView) -> Mapping[str, Any]:
        """Return the rows that are asked for, and what was tested; numbers that do not exist are NaN or infinite.

        ``InputError`` names what cannot be asked. O(m log m) in the tests, milliseconds for a few hundred thousand.
        """
        if view.sort not in COLUMNS:
            raise InputError(f"cannot sort by {view.sort!r}", loc="sort", hint=f"one of {', '.join(COLUMNS)}")
        if view.examine and view.limit > MOST_EXAMINED:
            raise InputError(
                f"limit: at most {MOST_EXAMINED} rows can be examined at once", loc="limit", hint="lower the limit"
            )
        pvalue = self.numbers["pvalue"]
        qvalue = benjamini_yekutieli(pvalue) if view.control == "by" and pvalue.size else self.numbers["qvalue"]
        found: B1 = qvalue <= view.fdr
        rows = self._ordered(np.flatnonzero(self._wanted(view, found)), view.sort)
        shown = rows[view.offset : view.offset + view.limit]
        more = view.offset + view.limit < rows.size
        found_rows = int(np.count_nonzero(found))
        null = None if self.null is None else self.null.told(pvalue, discoveries=found_rows, fdr=view.fdr)
        family = self.head.family
        if view.control == "by":
            family = family.replace("Benjamini-Hochberg", "Benjamini-Yekutieli")
        return {
            "as_of": self.as_of_ms,
            "timeframe": self.timeframe,
            "lookback": self.lookback,
            "bars": self.head.bars,
            "universe": len(self.symbols),
            "tests": self.head.tests,
            "untested": len(self.head.untested),
            "elapsed_ms": round(self.head.elapsed_ms, 3),
            "continuous": self.continuous,
            "screen": self.number,
            "family": family,
            "control": view.control,
            "fdr": view.fdr,
            "discoveries": found_rows,
            "matching": int(rows.size),
            "null": null,
            "symbols": list(self.symbols),
            "excluded": dict(self.excluded),
            "pairs": self._documents(shown, qvalue, found, view),
            "next": str(view.offset + view.limit) if more else None,
        }

    def row(self, y: str, x: str) -> Mapping[str, Any] | None:
        """Return the test of y on x; None where there is none. O(m)."""
        if y not in self.symbols or x not in self.symbols:
            return None
        rows = np.flatnonzero((self.y == self.symbols.index(y)) & (self.x == self.symbols.index(x)))
        if not rows.size:
            return None
        [document] = self._documents(rows, self.numbers["qvalue"], np.zeros(self.y.size, np.bool_), ScreenView())
        return {name: document[name] for name in COLUMNS}

    def _wanted(self, view: ScreenView, found: B1) -> B1:
        """Return which rows the filters let through."""
        wanted: B1 = found.copy() if view.only == "discoveries" else np.ones(self.y.size, np.bool_)
        if view.symbol is not None:
            code = self.symbols.index(view.symbol) if view.symbol in self.symbols else -1
            wanted &= (self.y == code) | (self.x == code)
        if view.pair is not None:
            legs = [self.symbols.index(leg) if leg in self.symbols else -1 for leg in view.pair]
            wanted &= np.isin(self.y, legs) & np.isin(self.x, legs)
        if view.min_half_life is not None:
            wanted &= self.numbers["half_life"] >= view.min_half_life
        if view.max_half_life is not None:
            wanted &= self.numbers["half_life"] <= view.max_half_life
        if view.min_correlation is not None:
            wanted &= self.numbers["correlation"] >= view.min_correlation
        if view.direction == "best":
            pair = np.minimum(self.y, self.x).astype(np.int64) * len(self.symbols) + np.maximum(self.y, self.x)
            best = np.zeros(self.y.size, np.bool_)
            best[np.unique(pair, return_index=True)[1]] = True
            wanted &= best
        return wanted

    def _ordered(self, rows: NDArray[np.intp], sort: str) -> NDArray[np.intp]:
        """Return rows in the order of a column, of equal ones the smaller p-value first; what is missing comes last.

        Names, statistic, p, q, alpha, beta and half-life ascend; z-scores by their size, correlation, deviation and
        lags descend.
        """
        if sort in {"pvalue", "qvalue"}:
            return rows
        column = getattr(self, sort)[rows] if sort in {"y", "x"} else self.numbers[sort][rows]
        if sort in _LARGEST_FIRST:
            column = -np.abs(column) if sort == "zscore" else -column
        return rows[np.argsort(column, kind="stable")]

    def _documents(self, rows: NDArray[np.intp], qvalue: F8, found: B1, view: ScreenView) -> list[dict[str, Any]]:
        """Return rows as documents, in the order of the endpoint's columns."""
        names = self.symbols
        columns = {name: (qvalue if name == "qvalue" else self.numbers[name])[rows].tolist() for name in _NUMBERS}
        columns["y"] = [names[i] for i in self.y[rows].tolist()]
        columns["x"] = [names[i] for i in self.x[rows].tolist()]
        columns = {name: columns[name] for name in COLUMNS}
        columns["discovery"] = found[rows].tolist()
        if self.null is not None:
            columns["false_expected"] = self.null.expected(self.numbers["pvalue"][rows], self.y.size).tolist()
        if view.sparkline:
            columns["zscores"] = self._sparks(rows)
        documents = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if view.examine:
            second = self._examined(rows, qvalue, view.fdr)
            for document in documents:
                document["examination"] = second.get((document["y"], document["x"]))
        return documents

    def _sparks(self, rows: NDArray[np.intp]) -> list[list[float]]:
        """Return the last z-scores of rows, under their own hedge ratio and deviation."""
        place = {name: i for i, name in enumerate(self.closes.symbols)}
        at = np.array([place[name] for name in self.symbols], np.intp)
        logs = np.log(self.closes.prices[-SPARK:])
        alpha, beta, std = (self.numbers[name][rows][:, None] for name in ("alpha", "beta", "spread_std"))
        y, x = logs[:, at[self.y[rows]]].T, logs[:, at[self.x[rows]]].T
        sparks: list[list[float]] = ((y - alpha - beta * x) / std).tolist()
        return sparks

    def _examined(self, rows: NDArray[np.intp], qvalue: F8, fdr: float) -> dict[tuple[str, str], dict[str, Any]]:
        """Look a second time at those of some rows that are discoveries."""
        names = np.array(self.symbols, np.str_)
        columns: dict[str, Any] = {name: self.numbers[name][rows] for name in _NUMBERS}
        columns |= {"y": names[self.y[rows]], "x": names[self.x[rows]], "qvalue": qvalue[rows]}
        result = replace(self.head, **columns)
        second = examine(result, self.closes.prices, self.closes.symbols, fdr=fdr, limit=MOST_EXAMINED)
        kept = {name: getattr(second, name).tolist() for name in second.columns if name not in {"y", "x", "qvalue"}}
        return {
            (y, x): dict(zip(kept, values, strict=True))
            for y, x, *values in zip(second.y.tolist(), second.x.tolist(), *kept.values(), strict=True)
        }


def standing_of(
    result: ScreenResult, closes: Closes, timeframe: str, lookback: int, *, number: int = 0, continuous: bool = False
) -> Standing:
    """Return a screen's answer to be kept; ``NotEnoughData`` where there was no pair to test. O(m log n)."""
    symbols = result.universe
    if len(symbols) < 2:
        reasons = [f"{name} {reason}" for name, reason in [*result.excluded.items()][:3]]
        error = NotEnoughData("a screen", need=2, have=len(symbols))
        error.args = (f"{len(symbols)} symbols can be tested; a screen needs two ({'; '.join(reasons)})",)
        raise error
    names = np.array(symbols, np.str_)
    order = np.argsort(names, kind="stable")
    y, x = (order[np.searchsorted(names, result[leg], sorter=order)].astype(np.int32) for leg in "yx")
    nothing = slice(0, 0)
    numbers = {name: result[name] for name in _NUMBERS}
    head = result.take(nothing)
    return Standing(timeframe, lookback, number, continuous, head, symbols, y, x, numbers, closes)
