"""The interfaces of long computations: jobs that tell how far they are and can be cancelled, and the screens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pairscope.market.ticks import I8

__all__ = [
    "Backtests",
    "JobHandle",
    "JobStatus",
    "JobView",
    "Jobs",
    "MarketScreen",
    "PaperPositions",
    "ScreenTable",
    "ScreenView",
]

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]


class JobHandle(Protocol):
    """What a job's work is given; to be called from any thread."""

    def progress(self, done: int, total: int) -> None:
        """Tell how many of how many steps are done; costs next to nothing."""
        ...

    def cancelled(self) -> bool:
        """Whether the work should end by raising ``concurrent.futures.CancelledError``; ask five times a second."""
        ...


@dataclass(frozen=True, slots=True)
class JobView:
    """Where a job stands: ``done`` of ``total`` steps (0 of 0 before it says), ``error`` in words where it failed.

    ``result`` is the path under which the API gives what comes of it, where there is one.
    """

    id: str
    kind: str
    title: str
    status: JobStatus
    done: int
    total: int
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    error: str | None
    result: str | None


class Jobs(Protocol):
    """Long computations in threads of low priority, one at a time of each kind; called from the event loop."""

    def start(
        self,
        kind: str,
        title: str,
        work: Callable[[JobHandle], Any],
        *,
        result: str | None = None,
        id: str | None = None,  # noqa: A002 - what everybody calls it
        read: Callable[[], Awaitable[object]] | None = None,
    ) -> JobView:
        """Have work done in a thread when its turn has come; ``Busy`` where too many of its kind wait.

        ``read`` is awaited before, in the event loop: for what comes from the store. Where a job called ``id`` waits
        or runs, nothing is started and that one returned.
        """
        ...

    async def wait(self, id: str) -> Any:  # noqa: A002
        """Return what the work returned, or raise what it raised; ``JobCancelled`` where it was cancelled.

        ``UnknownJob`` of one that is not there, or ended so long ago that its answer was let go. Who stops waiting
        stops nothing.
        """
        ...

    def view(self, id: str) -> JobView | None:  # noqa: A002
        """Return where a job stands; None where it is not, or no longer, known."""
        ...

    def views(self, kind: str | None = None) -> Sequence[JobView]:
        """Return every job that is known, of a kind or of all, the newest first."""
        ...

    def cancel(self, id: str) -> bool:  # noqa: A002
        """Have a job end as soon as it comes up for air; False where it has ended already or is not known."""
        ...

    def counters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ScreenView:
    """How a screen is looked at: which rows, by which column, and what beside them.

    A row is a discovery where its q-value, Benjamini and Hochberg's or (``by``) Benjamini and Yekutieli's, is at most
    ``fdr``. ``direction`` best keeps of each pair the test with the smaller p-value. ``pair`` keeps the two tests of
    one pair. ``offset`` rows are passed over, ``limit`` returned.
    """

    fdr: float = 0.05
    control: Literal["bh", "by"] = "bh"
    sort: str = "qvalue"
    limit: int = 500
    offset: int = 0
    only: Literal["all", "discoveries"] = "all"
    direction: Literal["both", "best"] = "both"
    symbol: str | None = None
    pair: tuple[str, str] | None = None
    min_half_life: float | None = None
    max_half_life: float | None = None
    min_correlation: float | None = None
    sparkline: bool = False
    examine: bool = False


class ScreenTable(Protocol):
    """A screen: every pair of a market tested, both ways."""

    @property
    def key(self) -> Hashable:
        """What tells this screen from every other one of the process."""
        ...

    @property
    def stands_on(self) -> tuple[str, Sequence[str], I8]:
        """The timeframe, the symbols that were tested, and the open times of the bars that all of them have."""
        ...

    def page(self, view: ScreenView) -> Mapping[str, Any]:
        """The answer of ``/api/analytics/screen``; not for the event loop, a large market takes milliseconds."""
        ...


class MarketScreen(Protocol):
    """Screens of the market: some kept up to date, any other computed when it is asked for."""

    def continuous(self) -> Sequence[tuple[str, int]]:
        """(timeframe, lookback) of those that are kept up to date."""
        ...

    async def table(self, timeframe: str, lookback: int, symbols: Sequence[str] = ()) -> ScreenTable:
        """The newest screen; ``NotEnoughData``, ``InputError`` or ``Busy`` where there is none.

        Of ``symbols`` alone, if there are any, followed or only stored: then it ends with the newest bar of them.
        """
        ...

    async def ask(self, timeframe: str, lookback: int, symbols: Sequence[str] = ()) -> ScreenTable | JobView:
        """The newest screen where it is there at once, else the job that computes it; ``Busy`` where too many wait."""
        ...

    async def answer(self, job: str) -> ScreenTable:
        """The screen that a job of ``ask`` computes; ``UnknownJob`` where there is none, or not any more."""
        ...

    def ask_null(self, timeframe: str, lookback: int, surrogates: int) -> JobView | None:
        """Have so many surrogates of the market screened; None where they were today, and stand in the tables."""
        ...

    async def null(self, timeframe: str, lookback: int, surrogates: int) -> None:
        """Wait until the tables of this screen have what so many surrogates of the market offer."""
        ...

    def history(self, y: str, x: str, timeframe: str, lookback: int) -> Mapping[str, Any]:
        """A pair's q-values over time; ``InputError`` where no history is kept of such a screen."""
        ...

    def discoveries(
        self, limit: int = ..., *, timeframe: str | None = None, lookback: int | None = None
    ) -> Mapping[str, Any]:
        """Who entered the discoveries and who left them, newest first: the document of the ``discoveries`` topic."""
        ...

    def counters(self) -> Mapping[str, Any]: ...


class PaperPositions(Protocol):
    """Rules followed live on paper: each decides and fills at closed bars as a backtest would, and is kept."""

    async def create(self, document: Any) -> Mapping[str, Any]:
        """Follow a rule, given as the body of a backtest without a range; ``InputError`` names what cannot be."""
        ...

    async def delete(self, rule_id: str) -> bool:
        """Follow a rule no longer and forget what it did; False where there is none."""
        ...

    def views(self) -> Sequence[Mapping[str, Any]]:
        """How every rule stands, the newest first."""
        ...

    def view(self, rule_id: str) -> Mapping[str, Any] | None:
        """How a rule stands, with its trades; None where there is none."""
        ...

    async def check(self, rule_id: str) -> Mapping[str, Any] | None:
        """How a rule agrees with a backtest over the stored bars; None where there is no such rule."""
        ...

    def counters(self) -> Mapping[str, Any]: ...


class Backtests(Protocol):
    """Backtests asked for in documents, run as jobs and kept; a job's ``id`` is that of the run that it makes.

    ``InputError`` names a field of the document that cannot be, ``Busy`` says that too many wait.
    """

    def backtest(self, document: Mapping[str, Any]) -> JobView:
        """Start one rule's backtest over a pair's past."""
        ...

    def sweep(self, document: Mapping[str, Any]) -> JobView:
        """Start a sweep: what is a list in the document varies."""
        ...

    def walk_forward(self, document: Mapping[str, Any]) -> JobView:
        """Start a walk-forward: a sweep's document, and how often and by what rules are chosen anew."""
        ...

    async def heatmap(self, run_id: str, metric: str, a: str, b: str, *, best: bool = False) -> Mapping[str, Any]:
        """One metric of a kept sweep over two parameters; ``UnknownRun``, or ``InputError`` naming what cannot be."""
        ...

    def runs(
        self, *, kind: str | None, y: str | None, x: str | None, limit: int, before: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """The newest kept runs, a line each: of one kind or pair where that is named, older than the run ``before``."""
        ...

    async def packed(self, run_id: str) -> bytes | None:
        """A run's whole document as JSON packed by gzip; None where there is none."""
        ...

    async def delete(self, run_id: str) -> bool:
        """Forget a run; False where there is none."""
        ...

    def counters(self) -> Mapping[str, Any]: ...
