"""Old days in PostgreSQL: counted where they lie, moved to files, deleted with their partition, vacuumed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from pairscope.errors import InputError, StoreUnavailable
from pairscope.market.bars import BASE_TIMEFRAMES
from pairscope.storage.archive_catalogue import DAY_NS, Catalogue
from pairscope.storage.kept_days import KeptDay
from pairscope.storage.postgres_archive import PostgresArchive, demand_place
from pairscope.storage.postgres_archive_reading import ColdFiles
from pairscope.storage.postgres_days import bars_of, bytes_a_bar, is_hypertable, next_day, tables_of_days, ticks_of
from pairscope.storage.postgres_forgetting import drop_bars, drop_empty, drop_ticks, names_of_bars
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.upkeep import Moved, Progress, never, untold

__all__ = ["PostgresUpkeep"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

TRIES: Final = 30
BARS_OF: Final = 16
"""Symbols whose bars of a day are deleted in one transaction, which holds their rows of the ledger."""


class PostgresUpkeep:
    """``DaysKept`` on one database; several processes may do it at once.

    ``catalogue`` tells which files were known at the last read of this process, ``look`` reads, ``on_dropped`` is told
    that partitions are gone.
    """

    archives = True
    default_place = ""

    def __init__(
        self,
        pool: PostgresPool,
        cold: ColdFiles,
        *,
        catalogue: Callable[[], Catalogue],
        look: Callable[[], Awaitable[None]],
        on_dropped: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._cold = cold
        self._catalogue = catalogue
        self._look = look
        self._on_dropped = on_dropped
        self._lock = asyncio.Lock()
        self._counted: tuple[Catalogue, dict[str, int]] = (Catalogue(), Catalogue().totals())
        self.files = PostgresArchive(pool, cold)

    @property
    def on_step(self) -> Callable[[str], None]:
        """Who hears of each step."""
        return self.files.on_step

    @on_step.setter
    def on_step(self, hears: Callable[[str], None]) -> None:
        self.files.on_step = hears

    async def check_archive(self, progress: Progress = untold) -> list[dict[str, Any]]:
        """Read every file of the archive; return those that are not as catalogued."""
        return await self.files.check(progress)

    async def look(self) -> None:
        """Find out whether days can be archived: what TimescaleDB compresses stays in it."""
        self.archives = not await self._pool.read(is_hypertable)

    # -- what there is -------------------------------------------------------------------------------------------------

    def totals(self) -> Mapping[str, int]:
        """Return how many ``files``, ``bytes``, ``ticks`` and ``bars`` the archive had at the last read."""
        catalogue = self._catalogue()
        if catalogue is not self._counted[0]:
            self._counted = catalogue, catalogue.totals()
        return self._counted[1]

    async def days(
        self,
        symbol: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        uploads: bool = True,
    ) -> list[KeptDay]:
        """Return what is kept of each day and symbol, by (day, symbol).

        Cost: a look at the index of each day's partition and of its bars, a query a day. ``stored_bytes`` is a share of
        the partition and of the bars' table by rows.
        """
        await self._look()
        low = None if start_ns is None else start_ns // DAY_NS
        high = None if end_ns is None else -(-end_ns // DAY_NS)
        counts: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        sizes: dict[int, float] = {}
        for day, (_, size) in (await self._pool.read(tables_of_days)).items():
            if not _is_between(day, low, high):
                continue
            rows = await self._pool.read(partial(ticks_of, day=day))
            sizes[day] = size / max(sum(rows.values()), 1)
            for name, count in rows.items():
                counts[day, name][0] += count
        a_bar = await self._pool.read(bytes_a_bar)
        for k, timeframe in enumerate(BASE_TIMEFRAMES, 1):
            from_day: int | None = low
            while (day_ := await self._pool.read(partial(next_day, timeframe=timeframe, day=from_day))) is not None:
                if high is not None and day_ >= high:
                    break
                found = await self._pool.read(partial(bars_of, day=day_, timeframe=timeframe, uploads=uploads))
                for name, count in found.items():
                    counts[day_, name][k] += count
                from_day = day_ + 1
        stored = [
            _stored(day, name, each, int(each[0] * sizes.get(day, 0) + (each[1] + each[2]) * a_bar))
            for (day, name), each in counts.items()
        ]
        archived = [kept for kept in await self._pool.read(_archived) if _is_between(kept.day, low, high)]
        whole: dict[tuple[int, str], KeptDay] = {}
        for kept in (*stored, *archived):
            if symbol in {None, kept.symbol}:
                at = kept.day, kept.symbol
                whole[at] = kept if at not in whole else _together(whole[at], kept)
        return [whole[at] for at in sorted(whole)]

    async def used_bytes(self) -> int:
        """Return the bytes of the database."""
        rows = await self._pool.read(
            lambda session: session.rows("SELECT pg_database_size(current_database()) AS size")
        )
        return int(rows[0]["size"])

    async def free_bytes(self) -> int | None:
        """Return None: the server does not say."""
        return None

    # -- out of it -----------------------------------------------------------------------------------------------------

    async def archive(
        self,
        before_day: int,
        *,
        symbols: Collection[str] = (),
        place: str = "",
        progress: Progress = untold,
        cancelled: Callable[[], bool] = never,
    ) -> Moved:
        """Move the days before a day to files in ``place``, which every process reaches; return how much that was.

        ``InputError`` where TimescaleDB has the days, ``ConfigError`` without a place. See :class:`PostgresArchive`.
        """
        if not self.archives:
            raise InputError(
                "days that TimescaleDB has are not archived",
                hint="it compresses them by itself, and its tiering moves them; retention deletes old days",
            )
        demand_place(place)
        async with self._lock:
            await self.files.sweep()
            kept = [
                each
                for each in await self.days(None, None, before_day * DAY_NS, uploads=False)
                if each.stored_ticks + each.stored_bars and (not symbols or each.symbol in symbols)
            ]
            for day in {each for each in await self._pool.read(tables_of_days) if each < before_day}:
                if not any(each.day == day and each.stored_ticks for each in kept):
                    await self._drop_empty(day)  # a run that was broken off has left it, or it was made in vain
            todo = [(each.day, each.symbol, each.stored_ticks + each.stored_bars) for each in kept]
            return await self.files.move(
                todo, place=place, progress=progress, cancelled=cancelled, on_day=self._drop_empty
            )

    async def _drop_empty(self, day: int) -> None:
        """Give back the room of a day of which no row is left; the next run does where it is being read."""
        try:
            if await self._patiently(partial(drop_empty, day=day)):
                self._on_dropped()
        except StoreUnavailable as error:
            _log.info("an emptied day is dropped later", error=str(error))

    async def forget(
        self, days: Iterable[int], *, progress: Progress = untold, cancelled: Callable[[], bool] = never
    ) -> Moved:
        """Delete days, oldest first: the ticks of a day in one transaction with the ledger, then its bars.

        Gaps before the first tick that is left of a symbol are forgotten, and the ledger begins there. Broken off in
        between, a day is left that has bars alone; they go when it is asked again. A partition that is read all the
        time raises ``StoreUnavailable`` after half a minute.
        """
        gone = dict.fromkeys(("days", "ticks", "bars", "files", "bytes"), 0)
        async with self._lock:
            todo = sorted(days)
            for k, day in enumerate(todo):
                if cancelled():
                    break
                ticks, size, files = await self._patiently(partial(drop_ticks, day=day))
                self.files.on_step("forgotten")
                self._on_dropped()
                gone["ticks"] += ticks
                gone["bytes"] += size
                names = await self._pool.read(partial(names_of_bars, day=day))
                for low in range(0, len(names), BARS_OF):
                    part = names[low : low + BARS_OF]
                    bars, more, size = await self._patiently(partial(drop_bars, day=day, names=part, cold=self._cold))
                    gone["bars"] += bars
                    gone["bytes"] += size
                    files += more
                gone["files"] += len(files)
                await self.files.remove(files)
                gone["days"] += 1
                progress(k + 1, len(todo))
        return gone

    async def _patiently(self, work: Callable[[Session], T]) -> T:
        """Do work in a transaction; again where it had to wait too long for others."""
        for _ in range(TRIES - 1):
            try:
                return await self._pool.write(work)
            except StoreUnavailable as error:
                _log.info("a day to delete is in use, once more", error=str(error))
                await asyncio.sleep(1.0)
        return await self._pool.write(work)

    # -- looking after it ----------------------------------------------------------------------------------------------

    async def compact(self) -> float:
        """Have the server use the room of deleted rows again and count anew for its plans; no read waits for it.

        Room at the end of tables goes back to the disk; that of a dropped day has gone already.
        """
        async with self._lock:
            await self._pool.outside("VACUUM (ANALYZE)")
        return 0.0

    async def sweep(self) -> int:
        """Remove files that an interrupted run left in an archive; return how many were looked for."""
        async with self._lock:
            return await self.files.sweep()

    async def check(self, *, repair: bool, progress: Progress = untold, spool: Path | None = None) -> Mapping[str, Any]:
        """Look whether all is whole; see ``check_database``."""
        from pairscope.storage.postgres_check import check_database

        return await check_database(self._pool, self._cold, self.files, repair=repair, progress=progress, spool=spool)


def _stored(day: int, name: str, rows: Sequence[int], size: int) -> KeptDay:
    ticks, seconds, minutes = rows
    return KeptDay(day, name, ticks, seconds, minutes, ticks, seconds + minutes, size, 0, 0)


def _archived(session: Session) -> list[KeptDay]:
    """Return what the catalogue says of each day and symbol."""
    return [
        KeptDay(
            row["day"], row["symbol"], row["ticks"], row["seconds"], row["minutes"], 0, 0, 0, row["bytes"], row["rows"]
        )
        for row in session.rows(
            "SELECT day, symbol, coalesce(sum(rows) FILTER (WHERE kind = 'tick'), 0)::bigint AS ticks, "
            "coalesce(sum(rows) FILTER (WHERE kind = 'bar_1s'), 0)::bigint AS seconds, "
            "coalesce(sum(rows) FILTER (WHERE kind = 'bar_1m'), 0)::bigint AS minutes, sum(rows)::bigint AS rows, "
            "sum(bytes)::bigint AS bytes FROM archive GROUP BY day, symbol"
        )
    ]


def _together(stored: KeptDay, archived: KeptDay) -> KeptDay:
    return replace(
        stored,
        ticks=stored.ticks + archived.ticks,
        bars_1s=stored.bars_1s + archived.bars_1s,
        bars_1m=stored.bars_1m + archived.bars_1m,
        archived_bytes=archived.archived_bytes,
        archived_rows=archived.archived_rows,
    )


def _is_between(day: int, low: int | None, high: int | None) -> bool:
    return (low is None or day >= low) and (high is None or day < high)
