"""Whether a store is whole: every trade once, every hole known, every bar that of its trades, every file as written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from pairscope.errors import StorageError
from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, timeframe_ns
from pairscope.market.id_ranges import count
from pairscope.storage.archive_catalogue import EVERYWHERE
from pairscope.storage.integrity_files import archive_findings, spool_findings
from pairscope.storage.integrity_findings import Checked, Finding
from pairscope.storage.integrity_ids import Look, StoredRows, look_at
from pairscope.storage.integrity_mending import (
    SetAside,
    count_again,
    make_again,
    remove_bars,
    remove_repeats,
    remove_ticks,
)
from pairscope.storage.ledger import LedgerView
from pairscope.storage.recovery import read_ledger
from pairscope.storage.tables import Connection, Tables

__all__ = ["MAX_FINDINGS", "check_store"]

Progress = Callable[[int, int], object]

MAX_FINDINGS: Final = 1000
"""Findings that a report lists at most; all of them are counted and, where that was asked, repaired."""

_DAY_NS: Final = timeframe_ns("1d")


def _untold(_: int, __: int) -> None:
    """Stands for whoever is told how far it is."""


async def check_store(
    store: Checked, *, repair: bool = False, progress: Progress = _untold, spool: Path | None = None
) -> Mapping[str, Any]:
    """Look at everything that a store holds; with ``repair`` mend what can be, and look again.

    ``spool`` is the directory of a spool that nobody writes to. Returns ``ok`` (nothing is left), ``found`` and
    ``left`` (how many findings before and after), ``checked`` (symbols, ticks, bars, files) and ``findings``, each with
    kind, symbol, date, detail, what it means, what repair does, and whether it is ``repaired``. What cannot be read is
    set aside beside the store. Cost: every row is read once, twice with a repair that had something to do; beside all
    other work, a symbol at a time from one state of the store. Memory: a quarter of an hour of a symbol's trades.
    """
    check = _Check(store, spool, progress, repair=repair)
    found: dict[Any, Finding] = {}
    if repair:
        for stage in check.stages():
            async for finding in stage():
                found.setdefault(finding.key, finding)
                if finding.mend is not None:
                    await finding.mend()
        if not found:
            return check.report([], set())
    left: dict[Any, Finding] = {}
    check.begin()
    for stage in check.stages():
        async for finding in stage():
            left.setdefault(finding.key, finding)
    return check.report(list({**left, **found}.values()), set(left))


class _Check:
    """One look through a store, in the order in which repairs follow from each other."""

    def __init__(self, store: Checked, spool: Path | None, progress: Progress, *, repair: bool) -> None:
        self._store = store
        self._spool = spool
        self._progress = progress
        self._repair = repair
        self._aside = SetAside(store.path.with_name(store.path.name + ".aside"))
        self._looks: dict[str, Look] = {}
        self.checked: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """Count what is checked from nothing."""
        self.checked = dict.fromkeys(("symbols", "ticks", "bars", "files"), 0)

    def stages(self) -> list[Callable[[], AsyncIterator[Finding]]]:
        """Return the parts of the look: files, bars as they are, trades, bars against trades."""
        return [self._files, self._bars, self._rows, self._ids]

    def report(self, findings: list[Finding], left: set[Any]) -> Mapping[str, Any]:
        """Return what was found and what is left of it."""
        documents = [finding.document(repaired=finding.key not in left) for finding in findings]
        return {
            "ok": not left,
            "found": len(documents),
            "left": len(left),
            "checked": self.checked,
            "aside": str(self._aside.directory) if self._aside.directory.is_dir() else None,
            "findings": sorted(documents, key=lambda each: each["repaired"])[:MAX_FINDINGS],
        }

    async def _files(self) -> AsyncIterator[Finding]:
        self.checked["files"] += self._store.upkeep.totals()["files"]
        for finding in await archive_findings(self._store, self._aside):
            yield finding
        if self._spool is not None:
            for finding in await asyncio.to_thread(spool_findings, self._spool, self._aside):
                yield finding

    async def _bars(self) -> AsyncIterator[Finding]:
        """Look at bars by themselves."""
        for timeframe in TIMEFRAMES:
            try:
                rows, wrong = await self._store.aside(partial(_wrong_bars, timeframe=timeframe))
            except StorageError as error:
                yield Finding("unreadable", f"bars of {timeframe}: {error}", place=timeframe)
                continue
            self.checked["bars"] += rows
            by_day: dict[tuple[int, int], list[tuple[int, int]]] = {}
            for key in wrong:
                by_day.setdefault((key[0], key[1] // _DAY_NS), []).append(key)
            for (symbol_id, day), keys in by_day.items():
                yield Finding(
                    "bar",
                    f"{len(keys)} of {timeframe}, the first at {_clock(min(at for _, at in keys))}",
                    self._store.view.symbols[symbol_id],
                    _date(day),
                    timeframe,
                    partial(self._store.within, remove_bars(self._aside, timeframe, keys)),
                )

    async def _rows(self) -> AsyncIterator[Finding]:
        """Look at every symbol's trades: those that are none, and those that are there twice."""
        names = [*self._store.view.symbols][: self._store.view.known]
        self.checked["symbols"] += len(names)
        self._looks = {}
        for k, symbol in enumerate(names):
            try:
                look = await self._store.aside(partial(_look, symbol=symbol))
            except StorageError as error:
                yield Finding("unreadable", f"trades: {error}", symbol)
                continue
            self.checked["ticks"] += look.count
            self._looks[symbol] = look
            self._progress(k + 1, len(names))
            if look.bad:
                yield Finding(
                    "tick", f"{len(look.bad)}, the first of id {min(look.bad)}", symbol,
                    mend=partial(self._store.within, remove_ticks(self._aside, look.symbol_id)),
                )  # fmt: skip
            if look.twice:
                yield Finding(
                    "duplicate", f"{len(look.twice)} ids, the first {min(look.twice)}", symbol,
                    mend=partial(self._store.within, remove_repeats(self._aside, look.symbol_id, look.twice)),
                )  # fmt: skip
            if self._repair and (look.bad or look.twice):
                self._looks[symbol] = await self._store.aside(partial(_look, symbol=symbol))

    async def _ids(self) -> AsyncIterator[Finding]:
        """Compare every symbol's ledger with its rows, and its bars with its trades."""
        for symbol, look in self._looks.items():
            days: dict[int, dict[str, list[int]]] = {}
            for timeframe in BASE_TIMEFRAMES:
                for at in look.differing[timeframe]:
                    days.setdefault(at // _DAY_NS, {}).setdefault(timeframe, []).append(at)
            for k, finding in enumerate(_of_ledger(look)):
                yield replace(finding, mend=_nothing if k else partial(self._store.within, count_again(look)))
            for day, times in days.items():
                yield Finding(
                    "bars differ",
                    ", ".join(f"{len(opens)} of {timeframe}" for timeframe, opens in times.items()),
                    symbol,
                    _date(day),
                    mend=partial(self._store.within, make_again(symbol, look.symbol_id, times)),
                )


def _of_ledger(look: Look) -> Iterator[Finding]:
    """Yield what the ledger does not say as the rows do; one repair mends all of it."""
    for hole in look.holes:
        ids = f"{hole.missing} ids, {hole.from_id} to {hole.to_id}"
        yield Finding("hole", ids, look.symbol, _day_of(hole.after_ns), str(hole.from_id))
    for gap, now in look.wrong_gaps:
        said = f"{gap.from_id} to {gap.to_id}: {gap.missing} missing by the ledger, {count(now)} by the rows"
        yield Finding("gap", said, look.symbol, _day_of(gap.after_ns), str(gap.from_id))
    off = [name for name, found in look.rows_say.items() if look.ledger_says[name] != found]
    if off:
        said = ", ".join(f"{name} {look.ledger_says[name]}, not {look.rows_say[name]}" for name in off)
        yield Finding("ledger", said, look.symbol)


async def _nothing() -> None:
    """Stands for a repair that another finding brings."""


def _look(connection: Connection, view: LedgerView, *, symbol: str) -> Look:
    """Look at a symbol's rows and at the ledger as stored, in one state of the store."""
    connection.execute("BEGIN")
    try:
        ledger = read_ledger(connection)
        ledger.archive = view.archive
        return look_at(StoredRows(connection, ledger, symbol), ledger, symbol)
    finally:
        connection.execute("ROLLBACK")


def _wrong_bars(connection: Connection, view: LedgerView, *, timeframe: str) -> tuple[int, list[tuple[int, int]]]:
    """Return how many bars there are of a timeframe, and the (symbol id, open time) of those that are none."""
    source = Tables(view.symbols, view.archive).bars_from(timeframe, EVERYWHERE)
    (count,) = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    prices = " AND ".join(f"isfinite({name}) AND {name} > 0" for name in ("open", "high", "low", "close"))
    volumes = " AND ".join(f"isfinite({name}) AND {name} >= 0" for name in ("volume", "quote_volume", "buy_volume"))
    wrong = connection.execute(
        f"SELECT DISTINCT symbol_id, ts_open_ns FROM {source} WHERE NOT ({prices} AND {volumes} "
        "AND low <= least(open, close) AND high >= greatest(open, close) AND buy_volume <= volume * (1 + 1e-9) "
        f"AND ts_open_ns % {timeframe_ns(timeframe)} = 0) "
        f"UNION SELECT symbol_id, ts_open_ns FROM {source} GROUP BY symbol_id, ts_open_ns HAVING count(*) > 1"
    ).fetchall()
    return int(count), wrong


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def _day_of(time_ns: int) -> str:
    return _date(time_ns // _DAY_NS) if time_ns else ""


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%H:%M:%S")
