"""What is stored, through the API: days and sizes, gaps, archive and retention, and history fetched behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from pairscope.client.asking import PAGE, Ask, Caller, Moment, Steps, call, changed, plain, read
from pairscope.client.frames import FrameKind, table_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StoredCalls"]

PATIENCE_S: Final = 60.0
"""So long is waited for a dry run."""

_GAP: Final = ("symbol", "from_id", "to_id", "status", "missing", "after", "before", "seen", "ended")
_GAP_TIMES: Final = ("after", "before", "seen", "ended")
_HELD: Final = ("symbol", "from_id", "to_id", "count")
_CALENDAR: Final = ("date", "symbol", "missing", "open", "unrepairable", "repaired", "seconds")
_DAY: Final = ("date", "symbol", "ticks", "bars_1s", "bars_1m", "bytes", "where")


class StoredCalls(Caller):
    """What is asked of the store."""

    @call
    def gaps(
        self,
        symbol: str | None = None,
        *,
        status: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return the ledger of gaps, a row a hole in the trade ids, the newest first; all, or the first ``limit``.

        The trades ``after`` and ``before`` (UTC) are the last one that is there and the first one after the hole.
        ``status`` is ``open``, ``repaired`` or ``unrepairable``.
        """
        given = {"symbol": symbol, "status": status, "start": start, "end": end}
        rows = yield from _listed("/api/gaps", "gaps", limit, given)
        return table_of(self.kind(frame), rows, columns=_GAP, times=_GAP_TIMES)

    @call
    def held(
        self, symbol: str | None = None, *, limit: int | None = None, frame: FrameKind | None = None
    ) -> Steps[pd.DataFrame]:
        """Return the intervals of consecutive trade ids that are stored."""
        rows = yield from _listed("/api/gaps/held", "held", limit, {"symbol": symbol})
        return table_of(self.kind(frame), rows, columns=_HELD)

    @call
    def gap_calendar(
        self,
        symbol: str | None = None,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return what is missing day by day (UTC): ids, holes by status, and the seconds that they span."""
        said = yield from read("/api/gaps/calendar", symbol=symbol, start=start, end=end)
        return table_of(self.kind(frame), said["days"], columns=_CALENDAR)

    @call
    def storage(
        self, *, symbol: str | None = None, start: Moment | None = None, end: Moment | None = None
    ) -> Steps[dict[str, Any]]:
        """Return what the store holds, where, how large, and what is kept how long; ``days`` lists it day by day."""
        return dict((yield from read("/api/storage", symbol=symbol, start=start, end=end)))

    @call
    def stored_days(
        self,
        *,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return the days of ``storage`` as a table: rows and bytes by date and symbol, and where they are."""
        said = yield from read("/api/storage", symbol=symbol, start=start, end=end)
        return table_of(self.kind(frame), said["days"], columns=_DAY)

    @call
    def archive(
        self,
        *,
        before: date | str | None = None,
        older_than_days: int | None = None,
        symbols: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Steps[dict[str, Any]]:
        """Start moving old days into the archive and return the job; with ``dry_run`` say what would be moved.

        Nothing is lost by it: every question reads the archive too.
        """
        given = {"before": before, "older_than_days": older_than_days, "symbols": _names(symbols), "dry_run": dry_run}
        return (yield from _ordered("/api/storage/archive", given))

    @call
    def retention(
        self, *, days: int | None = None, gb: float | None = None, dry_run: bool = True
    ) -> Steps[dict[str, Any]]:
        """Say what would be deleted to keep so many ``days``, or so many ``gb``; with ``dry_run=False`` start it.

        What is deleted is gone, from the archive too.
        """
        return (yield from _ordered("/api/storage/retention", {"days": days, "gb": gb, "dry_run": dry_run}))

    @call
    def compact(self) -> Steps[dict[str, Any]]:
        """Start giving unused space of the store's file back and return the job."""
        return (yield from _ordered("/api/storage/compact", {}))

    @call
    def check_store(self, *, repair: bool = False) -> Steps[dict[str, Any]]:
        """Start comparing bars with ticks, ids with the ledger and files with their checksums; return the job."""
        return (yield from _ordered("/api/storage/check", {"repair": repair}))

    @call
    def backfill(
        self,
        symbols: str | Sequence[str],
        since: Moment | date,
        until: Moment | date | None = None,
        *,
        kind: str = "bars",
    ) -> Steps[dict[str, Any]]:
        """Start fetching ``bars`` or ``trades`` of the past from the exchange, and return the job.

        It may be asked for again after it was cancelled: it goes on where it was.
        """
        given = {"symbols": _names(symbols), "since": since, "until": until, "kind": kind}
        return (yield from _ordered("/api/backfill", given))


def _listed(path: str, name: str, limit: int | None, given: dict[str, Any]) -> Steps[list[dict[str, Any]]]:
    """Gather the rows of every page, or the first ``limit``."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = yield from read(path, limit=min(limit or PAGE, PAGE), cursor=cursor, **given)
        rows += page[name]
        cursor = page.get("next")
        if cursor is None or (limit is not None and len(rows) >= limit):
            return rows[:limit]


def _ordered(path: str, body: dict[str, Any]) -> Steps[dict[str, Any]]:
    answer = yield from changed(Ask("POST", path, body=plain(body), timeout=PATIENCE_S))
    return dict(answer.json())


def _names(symbols: str | Sequence[str] | None) -> list[str] | None:
    if symbols is None:
        return None
    return symbols.split(",") if isinstance(symbols, str) else list(symbols)
