"""The life of stored days: archived when they are old, deleted when there are too many, on request or once a day."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from pairscope.errors import ConfigError, InputError, PairscopeError, StorageError, UnknownJob
from pairscope.ports import Clock
from pairscope.ports_research import JobHandle, Jobs, JobView
from pairscope.ports_storage import ArchiveRequest, RetentionRequest
from pairscope.storage.archive_catalogue import DAY_NS
from pairscope.storage.archive_parts import date_of
from pairscope.storage.archive_place import lasting_place, shown
from pairscope.storage.kept_days import KeptDay, deletable
from pairscope.storage.upkeep import Moved, StoreOfDays

__all__ = ["KINDS_OF_JOBS", "Lifecycle", "StoreKeeper"]

_log = structlog.get_logger(__name__)

KINDS_OF_JOBS: Final = ("archive", "retention", "compact", "check")
AFTER_MIDNIGHT_S: Final = 300
"""When a day's work begins: late ticks of the day before have come by then."""
AGAIN_S: Final = 900.0
"""When it is tried again where the store refused."""
SHOWN: Final = 100
GB: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What the settings say: where the archive is, from what age days are in it, what is kept at all; 0 is never.

    A directory is taken as it is named from here. ``ConfigError`` of a place that does not last.
    """

    archive_url: str = ""
    archive_days: int = 0
    retention_days: int = 0
    retention_gb: float = 0.0

    def __post_init__(self) -> None:
        """Have the place stand for itself."""
        object.__setattr__(self, "archive_url", lasting_place(self.archive_url))


class StoreKeeper:
    """``StoreKeeping`` over one store; long work goes to ``jobs``, one at a time of a kind, where there are any.

    Days are UTC days. Ages of days to delete count from the newest tick where that is older than the clock, so that a
    store that was not filled for a while, or that replays an old market, does not lose all it has. ``ConfigError``
    where days are to be archived by themselves and the store does not archive, or nobody says where to.
    """

    def __init__(self, store: Any, *, jobs: Jobs | None, clock: Clock, lifecycle: Lifecycle) -> None:
        if lifecycle.archive_days and not store.upkeep.archives:
            raise ConfigError(
                "ARCHIVE_DAYS is set, and the days of this store are not archived",
                loc="archive_days",
                hint="unset it; PAIRSCOPE_RETENTION_DAYS deletes old days",
            )
        if lifecycle.archive_days and not (lifecycle.archive_url or store.upkeep.default_place):
            raise ConfigError(
                "ARCHIVE_DAYS is set, and not where the archive is",
                loc="archive_url",
                hint="PAIRSCOPE_ARCHIVE_URL names a directory that every process reaches, or s3://…",
            )
        self._store: StoreOfDays = store
        self._jobs = jobs
        self._clock = clock
        self._lifecycle = lifecycle
        self._counts = dict.fromkeys(
            (
                "archived_days", "archived_ticks", "archived_bars", "archived_bytes", "deleted_days", "deleted_ticks",
                "deleted_bars", "compactions", "failures",
            ),
            0,
        )  # fmt: skip
        self._last_ms: int | None = None

    # -- what there is -------------------------------------------------------------------------------------------------

    async def overview(
        self, symbol: str | None = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Mapping[str, Any]:
        """Return what is kept and where, day by day."""
        upkeep, rules = self._store.upkeep, self._lifecycle
        stats = await self._store.stats()
        days = await upkeep.days(symbol, start_ns, end_ns)
        totals = upkeep.totals()
        return {
            "kind": stats.kind,
            "location": stats.location,
            "bytes": stats.bytes,
            "used_bytes": await upkeep.used_bytes(),
            "free_bytes": await upkeep.free_bytes(),
            "ticks": stats.ticks,
            "bars": stats.bars,
            "archive": {"url": shown(rules.archive_url) or upkeep.default_place, **totals},
            "retention": {"days": rules.retention_days, "gb": rules.retention_gb},
            "archive_after_days": rules.archive_days,
            "days": [_line(kept) for kept in days],
        }

    async def archivable(self, request: ArchiveRequest) -> Mapping[str, Any]:
        """Return what would be moved, and move nothing."""
        before = self._archived_before(request)
        days = [
            kept
            for kept in await self._store.upkeep.days(None, None, before * DAY_NS, uploads=False)
            if kept.stored_ticks + kept.stored_bars and (not request.symbols or kept.symbol in request.symbols)
        ]
        return _plan(
            [(kept, kept.stored_ticks, kept.stored_bars, kept.stored_bytes) for kept in days if kept.day < before]
        )

    async def deletable(self, request: RetentionRequest) -> Mapping[str, Any]:
        """Return what would be deleted, and delete nothing."""
        kept, gone = await self._deleted(request)
        return _plan([(day, day.ticks, day.bars_1s + day.bars_1m, day.bytes) for day in kept if day.day in gone])

    # -- what is done --------------------------------------------------------------------------------------------------

    def archive(self, request: ArchiveRequest) -> JobView:
        """Begin to move days to the archive."""
        before = self._archived_before(request)
        return self._job(
            "archive",
            f"archive days before {date_of(before)}",
            lambda job: self._archive(before, request.symbols, progress=job.progress, cancelled=job.cancelled),
        )

    def delete(self, request: RetentionRequest) -> JobView:
        """Begin to delete days, oldest first, never the newest."""
        self._kept_rules(request)
        return self._job(
            "retention",
            "delete old days",
            lambda job: self._delete(request, progress=job.progress, cancelled=job.cancelled),
        )

    def compact(self) -> JobView:
        """Begin to write the store's file anew without the room that deleted rows left."""
        return self._job("compact", "compact the store", lambda _: self._compact())

    def check(self, *, repair: bool) -> JobView:
        """Begin to look whether all is whole, and with ``repair`` to mend what can be."""

        async def work(job: JobHandle) -> Mapping[str, Any]:
            return await self._store.upkeep.check(repair=repair, progress=job.progress)

        return self._job("check", "check the store" + (" and repair it" if repair else ""), work)

    async def result(self, id: str) -> Mapping[str, Any]:  # noqa: A002 - what everybody calls it
        """Return what a job came to; waits for it."""
        view = None if self._jobs is None else self._jobs.view(id)
        if self._jobs is None or view is None or view.kind not in KINDS_OF_JOBS:
            raise UnknownJob(id)
        found: Mapping[str, Any] = await self._jobs.wait(id)
        return found

    def counters(self) -> Mapping[str, Any]:
        """What was moved and deleted, for ``/api/stats``; ``last_run_ms`` is when the settings were last applied."""
        return {**self._counts, "last_run_ms": self._last_ms, "archive": self._store.upkeep.totals()}

    # -- by itself -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Apply the settings at start and after each midnight, UTC; again in a while where the store refuses."""
        while True:
            try:
                await self.apply()
            except (PairscopeError, OSError) as error:
                self._counts["failures"] += 1
                _log.warning("old days stay where they are for now", error=str(error), again_in_s=AGAIN_S)
                await asyncio.sleep(AGAIN_S)
                continue
            past_s = self._clock() % DAY_NS / 1e9
            await asyncio.sleep((AFTER_MIDNIGHT_S - past_s) % 86_400 or 86_400)

    async def apply(self) -> None:
        """Do now what the settings say, and clear away what an interrupted run left."""
        rules = self._lifecycle
        await self._store.upkeep.sweep()
        if rules.archive_days:
            await self.archive_now(ArchiveRequest())
        if rules.retention_days or rules.retention_gb:
            await self._delete(RetentionRequest())
        self._last_ms = self._clock() // 1_000_000

    async def archive_now(
        self, request: ArchiveRequest, *, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Moved:
        """Move days to the archive and wait for it; return how much that was."""
        return await self._archive(self._archived_before(request), request.symbols, progress=progress)

    async def _archive(self, before: int, symbols: Sequence[str], **told: Any) -> Moved:
        moved = await self._store.upkeep.archive(before, symbols=symbols, place=self._lifecycle.archive_url, **told)
        for name in ("days", "ticks", "bars", "bytes"):
            self._counts[f"archived_{name}"] += moved[name]
        if moved["files"]:
            _log.info("days archived", **moved)
        return moved

    async def _delete(self, request: RetentionRequest, **told: Any) -> Moved:
        _, days = await self._deleted(request)
        gone = await self._store.upkeep.forget(days, **told)
        for name in ("days", "ticks", "bars"):
            self._counts[f"deleted_{name}"] += gone[name]
        if gone["days"]:
            _log.info("days deleted", **gone)
        return gone

    async def _compact(self) -> Mapping[str, Any]:
        before = (await self._store.stats()).bytes
        waited_s = await self._store.upkeep.compact()
        after = (await self._store.stats()).bytes
        self._counts["compactions"] += 1
        return {"bytes_before": before, "bytes": after, "reads_waited_ms": round(waited_s * 1e3, 1)}

    def _job(self, kind: str, title: str, work: Callable[[JobHandle], Awaitable[Any]]) -> JobView:
        """Begin work that awaits, as a job: its thread only waits for it."""
        if self._jobs is None:
            raise StorageError("nobody does long work here")
        loop = asyncio.get_running_loop()

        async def whole(job: JobHandle) -> Any:
            return await work(job)

        def in_thread(job: JobHandle) -> Any:
            return asyncio.run_coroutine_threadsafe(whole(job), loop).result()

        name = secrets.token_hex(8)
        return self._jobs.start(kind, title, in_thread, id=name, result=f"/api/storage/result/{name}")

    # -- which days ----------------------------------------------------------------------------------------------------

    def _archived_before(self, request: ArchiveRequest) -> int:
        """Return the first day that stays in the store."""
        today = self._clock() // DAY_NS
        if request.before_ns is not None and request.older_than_days is not None:
            raise InputError("before and older_than_days say the same in two ways", loc="before", hint="give one")
        if request.before_ns is not None:
            if request.before_ns > today * DAY_NS:
                raise InputError("before may not be later than today: the day is not over", loc="before")
            return request.before_ns // DAY_NS
        age = self._lifecycle.archive_days if request.older_than_days is None else request.older_than_days
        if request.older_than_days is None and not age:
            raise InputError("say which days", loc="before", hint="before=DATE, or older_than_days=N")
        return today - age

    def _kept_rules(self, request: RetentionRequest) -> tuple[int, float]:
        rules = self._lifecycle
        days = rules.retention_days if request.days is None else request.days
        gb = rules.retention_gb if request.gb is None else request.gb
        if not days and not gb:
            raise InputError("say how much is kept", loc="days", hint="days=N, gb=N, or both")
        return days, gb

    async def _deleted(self, request: RetentionRequest) -> tuple[list[KeptDay], set[int]]:
        """Return what is kept now, and which days of it go."""
        days, gb = self._kept_rules(request)
        newest_ns = await self._store.watermark_ns()
        today = min(self._clock(), newest_ns or self._clock()) // DAY_NS
        kept = await self._store.upkeep.days(uploads=False)
        gone = deletable(
            kept,
            before_day=today,
            oldest_day=today - days if days else 0,
            spare_bytes=int(gb * GB) if gb else None,
        )
        return kept, set(gone)


def _line(kept: KeptDay) -> dict[str, Any]:
    return {
        "date": date_of(kept.day),
        "symbol": kept.symbol,
        "ticks": kept.ticks,
        "bars_1s": kept.bars_1s,
        "bars_1m": kept.bars_1m,
        "bytes": kept.bytes,
        "where": kept.where,
    }


def _plan(rows: Sequence[tuple[KeptDay, int, int, int]]) -> dict[str, Any]:
    """Return the answer of a dry run of (day, ticks, bars, bytes)."""
    return {
        "days": len({kept.day for kept, *_ in rows}),
        "ticks": sum(ticks for _, ticks, _, _ in rows),
        "bars": sum(bars for _, _, bars, _ in rows),
        "bytes": sum(size for *_, size in rows),
        "rows": [
            {"date": date_of(kept.day), "symbol": kept.symbol, "ticks": ticks, "bytes": size}
            for kept, ticks, _, size in rows[:SHOWN]
        ],
    }
