"""Backtests through the API: ask for one, a sweep or a walk-forward, and look at those that were run, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pairscope.client.asking import Ask, Caller, Steps, call, changed, plain, read, segment
from pairscope.client.frames import FrameKind, matrix_of, table_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BacktestCalls", "BacktestRun"]

PATIENCE_S: Final = 900.0
"""So long is waited for a run."""

_PATHS: Final = {
    "backtest": "/api/backtest",
    "sweep": "/api/backtest/sweep",
    "walk_forward": "/api/backtest/walk_forward",
}
_KEPT: Final = ("id", "kind", "created", "y", "x", "timeframe", "source")


@dataclass(frozen=True)
class BacktestRun(Mapping[str, Any]):
    """One run, its ``document`` as the API gives it (``run["metrics"]["sharpe"]``) and its tables as DataFrames."""

    document: Mapping[str, Any]
    frame: FrameKind = "pandas"

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.document)

    def __len__(self) -> int:
        return len(self.document)

    def __repr__(self) -> str:
        return f"BacktestRun({self['kind']} {self['id']})"

    @property
    def id(self) -> str:
        """What the API knows it by."""
        return str(self["id"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The figures of a backtest or a walk-forward, by name."""
        found: Mapping[str, Any] = self["metrics"]
        return found

    @property
    def verdict(self) -> str:
        """What to think of it, in words."""
        said = self["verdict"]
        return " ".join([f"{said['title']}.", *said["sentences"]])

    @cached_property
    def equity(self) -> pd.DataFrame:
        """``equity`` and ``drawdown`` indexed by bar (UTC)."""
        return table_of(self.frame, self["equity"], times=["timestamp"], index="timestamp")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """A row a trade; times in UTC."""
        return _table(self.frame, self["trades"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row a combination of a sweep: its parameters, then its metrics."""
        return _table(self.frame, self["rows"])

    @cached_property
    def folds(self) -> pd.DataFrame:
        """A row a fold of a walk-forward; the metrics as ``in_sample.sharpe`` and so on."""
        return _table(self.frame, [_flat(fold) for fold in self["folds"]])


class BacktestCalls(Caller):
    """What is asked of backtests."""

    @call
    def backtest(self, /, y: str, x: str, timeframe: str = "1m", **settings: Any) -> Steps[BacktestRun]:
        """Trade one rule over a pair's past and return what it would have earned, judged.

        ``start``, ``end``, ``hedge``, ``window``, ``entry``, ``exit``, ``fee_bps`` and the others as the API has them.
        """
        return (yield from _made(self.frame, "backtest", {"y": y, "x": x, "timeframe": timeframe, **settings}))

    @call
    def sweep(self, /, y: str, x: str, timeframe: str = "1m", **settings: Any) -> Steps[BacktestRun]:
        """Try many rules on a pair's past: a list wherever a number may vary; ``.rows`` has a row a combination."""
        return (yield from _made(self.frame, "sweep", {"y": y, "x": x, "timeframe": timeframe, **settings}))

    @call
    def walk_forward(self, /, y: str, x: str, timeframe: str = "1m", **settings: Any) -> Steps[BacktestRun]:
        """Choose among rules in one stretch and trade the choice in the next, ``folds`` times."""
        return (yield from _made(self.frame, "walk_forward", {"y": y, "x": x, "timeframe": timeframe, **settings}))

    @call
    def start_backtest(self, /, kind: str, **body: Any) -> Steps[dict[str, Any]]:
        """Start a ``backtest``, ``sweep`` or ``walk_forward`` and return its job; its ``id`` will be the run's."""
        answer = yield from changed(Ask("POST", _PATHS[kind], {"wait": "false"}, body=plain(body)))
        return dict(answer.json())

    @call
    def backtests(
        self, /, limit: int | None = None, *, frame: FrameKind | None = None, **which: Any
    ) -> Steps[pd.DataFrame]:
        """Return the kept runs, the newest first, a row each; ``kind``, ``y`` and ``x`` choose among them."""
        rows: list[Mapping[str, Any]] = []
        cursor = None
        while limit is None or len(rows) < limit:
            page = yield from read("/api/backtests", cursor=cursor, limit=500, **which)
            rows += [_flat(line) for line in page["backtests"]]
            cursor = page["next"]
            if cursor is None:
                break
        return _table(self.kind(frame), rows[:limit], columns=_KEPT, times=("created",), index="id")

    @call
    def backtest_run(self, id: str) -> Steps[BacktestRun]:  # noqa: A002
        """Return a kept run, whole."""
        return BacktestRun((yield from read(f"/api/backtests/{segment(id)}")), self.frame)

    @call
    def delete_backtest(self, id: str) -> Steps[None]:  # noqa: A002
        """Forget a run."""
        yield from changed(Ask("DELETE", f"/api/backtests/{segment(id)}"))

    @call
    def heatmap(
        self,
        id: str,  # noqa: A002
        metric: str,
        a: str,
        b: str,
        *,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return one metric of a kept sweep over two parameters: ``a`` down, ``b`` across."""
        said = yield from read(f"/api/backtests/{segment(id)}/heatmap", metric=metric, a=a, b=b)
        down, across = said["a"], said["b"]
        names = (down["name"], across["name"])
        return matrix_of(self.kind(frame), said["values"], down["values"], across["values"], names)


def _made(frame: FrameKind, kind: str, body: Mapping[str, Any]) -> Steps[BacktestRun]:
    answer = yield from changed(Ask("POST", _PATHS[kind], body=plain(body), timeout=PATIENCE_S))
    return BacktestRun(answer.json(), frame)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which what is nested has names with a point."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            made |= {f"{name}.{inner}": part for inner, part in value.items()}
        else:
            made[name] = value
    return made


def _table(
    frame: FrameKind, rows: Sequence[Mapping[str, Any]], *, times: tuple[str, ...] = (), **more: Any
) -> pd.DataFrame:
    """Make a table in which every column that is called a moment is one."""
    moments = {name for row in rows for name in row if name.endswith(("_timestamp", "_start", "_end"))}
    return table_of(frame, rows, times=(*times, *sorted(moments)), **more)
