"""Backtests through the API: ask for one, a sweep or a walk-forward, and look at those that were run, as DataFrames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

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


@dataclass(frozen=True)
class BacktestRun(Mapping[str, Any]):
    """One run, its ``document`` as the API gives it (``run["metrics"]["sharpe"]``) and its tables as DataFrames."""

    document: Mapping[str, Any]

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
        table = _frame(self["equity"])
        table["timestamp"] = _as_time(table["timestamp"])
        return table.set_index("timestamp")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """A row a trade; times in UTC."""
        return _frame(self["trades"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row a combination of a sweep: its parameters, then its metrics."""
        return _frame(self["rows"])

    @cached_property
    def folds(self) -> pd.DataFrame:
        """A row a fold of a walk-forward; the metrics as ``in_sample.sharpe`` and so on."""
        return _frame([_flat(fold) for fold in self["folds"]])


class BacktestCalls(ABC):
    """The backtests' part of :class:`~pairscope.client.Client`."""

    @abstractmethod
    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET."""

    @abstractmethod
    def send(self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """Send what changes something and return the JSON of its answer, None where it has none."""

    def backtest(self, y: str, x: str, timeframe: str = "1m", **settings: Any) -> BacktestRun:
        """Trade one rule over a pair's past and return what it would have earned, judged.

        ``start``, ``end``, ``hedge``, ``window``, ``entry``, ``exit``, ``fee_bps`` and the others as the API has them.
        """
        return self._made("backtest", {"y": y, "x": x, "timeframe": timeframe, **settings})

    def sweep(self, y: str, x: str, timeframe: str = "1m", **settings: Any) -> BacktestRun:
        """Try many rules on a pair's past: a list wherever a number may vary; ``.rows`` has a row a combination."""
        return self._made("sweep", {"y": y, "x": x, "timeframe": timeframe, **settings})

    def walk_forward(self, y: str, x: str, timeframe: str = "1m", **settings: Any) -> BacktestRun:
        """Choose among rules in one stretch and trade the choice in the next, ``folds`` times."""
        return self._made("walk_forward", {"y": y, "x": x, "timeframe": timeframe, **settings})

    def start_backtest(self, kind: str, **body: Any) -> dict[str, Any]:
        """Start a ``backtest``, ``sweep`` or ``walk_forward`` and return its job; its ``id`` will be the run's."""
        return dict(self.send("POST", f"{_PATHS[kind]}?wait=false", _plain(body)))

    def job(self, id: str) -> dict[str, Any]:  # noqa: A002 - what everybody calls it
        """Return how far a job is: ``status``, ``done`` of ``total``, ``error``."""
        return dict(self.get(f"/api/jobs/{id}"))

    def cancel_job(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Have a job end."""
        return dict(self.send("DELETE", f"/api/jobs/{id}"))

    def backtests(self, limit: int | None = None, **which: Any) -> pd.DataFrame:
        """Return the kept runs, the newest first, a row each; ``kind``, ``y`` and ``x`` choose among them."""
        rows: list[Mapping[str, Any]] = []
        cursor = None
        while limit is None or len(rows) < limit:
            page = self.get("/api/backtests", cursor=cursor, limit=500, **which)
            rows += [_flat(line) for line in page["backtests"]]
            cursor = page["next"]
            if cursor is None:
                break
        table = _frame(rows[:limit], ("id", "kind", "created", "y", "x", "timeframe", "source"))
        table["created"] = _as_time(table["created"])
        return table.set_index("id")

    def backtest_run(self, id: str) -> BacktestRun:  # noqa: A002
        """Return a kept run, whole."""
        return BacktestRun(self.get(f"/api/backtests/{id}"))

    def delete_backtest(self, id: str) -> None:  # noqa: A002
        """Forget a run."""
        self.send("DELETE", f"/api/backtests/{id}")

    def heatmap(self, id: str, metric: str, a: str, b: str) -> pd.DataFrame:  # noqa: A002
        """Return one metric of a kept sweep over two parameters: ``a`` down, ``b`` across."""
        import pandas as pd

        said = self.get(f"/api/backtests/{id}/heatmap", metric=metric, a=a, b=b)
        rows = pd.Index(said["a"]["values"], name=said["a"]["name"])
        columns = pd.Index(said["b"]["values"], name=said["b"]["name"])
        return pd.DataFrame(said["values"], rows, columns, dtype="float64")

    def _made(self, kind: str, body: Mapping[str, Any]) -> BacktestRun:
        return BacktestRun(self.send("POST", _PATHS[kind], _plain(body), timeout=PATIENCE_S))


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with times written out, and without what is None."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in body.items()
        if value is not None
    }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which what is nested has names with a point."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            made |= {f"{name}.{inner}": part for inner, part in value.items()}
        else:
            made[name] = value
    return made


def _frame(rows: Any, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=None if rows else list(columns))
    for name in table.columns:
        if name.endswith(("_timestamp", "_start", "_end")):
            table[name] = _as_time(table[name])
    return table


def _as_time(column: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(column.astype("Int64"), unit="ms", utc=True)
