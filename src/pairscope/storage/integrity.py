"""Whether a store is whole: every trade once, every hole known, every bar that of its trades, every file as written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from pairscope.errors import StorageError
from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, timeframe_ns
from pairscope.market.id_ranges import count
from pairscope.storage.integrity_embedded import StoredFile
from pairscope.storage.integrity_findings import Checked, Finding, Subject
from pairscope.storage.integrity_ids import Look
from pairscope.storage.upkeep import Progress, untold

__all__ = ["MAX_FINDINGS", "check", "check_store"]

MAX_FINDINGS: Final = 1000
"""Findings that a report lists at most; all of them are counted and, where that was asked, repaired."""

_DAY_NS: Final = timeframe_ns("1d")


async def check_store(
    store: Checked, *, repair: bool = False, progress: Progress = untold, spool: Path | None = None
) -> Mapping[str, Any]:
    """Look at everything that an embedded store holds; see ``check``. What cannot be read is set aside beside it."""
    return await check(StoredFile(store), repair=repair, progress=progress, spool=spool)


async def check(
    subject: Subject, *, repair: bool = False, progress: Progress = untold, spool: Path | None = None
) -> Mapping[str, Any]:
    """Look at everything that a store holds; with ``repair`` mend what can be, and look again.

    ``spool`` is the directory of a spool that nobody writes to. Returns ``ok`` (nothing is left), ``found`` and
    ``left`` (how many findings before and after), ``checked`` (symbols, ticks, bars, files) and ``findings``, each with
    kind, symbol, date, detail, what it means, what repair does, and whether it is ``repaired``. What cannot be read is
    set aside beside the store. Cost: every row is read once, twice with a repair that had something to do; beside all
    other work, a symbol at a time from one state of the store. Memory: a quarter of an hour of a symbol's trades.
    """
    look = _Check(subject, spool, progress, repair=repair)
    found: dict[Any, Finding] = {}
    if repair:
        for stage in look.stages():
            async for finding in stage():
                found.setdefault(finding.key, finding)
                if finding.mend is not None:
                    await finding.mend()
        if not found:
            return look.report([], set())
    left: dict[Any, Finding] = {}
    look.begin()
    for stage in look.stages():
        async for finding in stage():
            left.setdefault(finding.key, finding)
    return look.report(list({**left, **found}.values()), set(left))


class _Check:
    """One look through a store, in the order in which repairs follow from each other."""

    def __init__(self, subject: Subject, spool: Path | None, progress: Progress, *, repair: bool) -> None:
        self._subject = subject
        self._spool = spool
        self._progress = progress
        self._repair = repair
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
            "aside": self._subject.set_aside,
            "findings": sorted(documents, key=lambda each: each["repaired"])[:MAX_FINDINGS],
        }

    async def _files(self) -> AsyncIterator[Finding]:
        count, findings = await self._subject.files(self._spool)
        self.checked["files"] += count
        for finding in findings:
            yield finding

    async def _bars(self) -> AsyncIterator[Finding]:
        """Look at bars by themselves."""
        for timeframe in TIMEFRAMES:
            try:
                rows, wrong = await self._subject.wrong_bars(timeframe)
            except StorageError as error:
                yield Finding("unreadable", f"bars of {timeframe}: {error}", place=timeframe)
                continue
            self.checked["bars"] += rows
            by_day: dict[tuple[str, int], list[tuple[str, int]]] = {}
            for key in wrong:
                by_day.setdefault((key[0], key[1] // _DAY_NS), []).append(key)
            for (symbol, day), keys in by_day.items():
                yield Finding(
                    "bar",
                    f"{len(keys)} of {timeframe}, the first at {_clock(min(at for _, at in keys))}",
                    symbol,
                    _date(day),
                    timeframe,
                    partial(self._subject.remove_bars, timeframe, keys),
                )

    async def _rows(self) -> AsyncIterator[Finding]:
        """Look at every symbol's trades: those that are none, and those that are there twice."""
        subject, names = self._subject, await self._subject.names()
        self.checked["symbols"] += len(names)
        self._looks = {}
        for k, symbol in enumerate(names):
            try:
                look = await subject.look(symbol)
            except StorageError as error:
                yield Finding("unreadable", f"trades: {error}", symbol)
                continue
            self.checked["ticks"] += look.count
            self._looks[symbol] = look
            self._progress(k + 1, len(names))
            if look.bad:
                said = f"{len(look.bad)}, the first of id {min(look.bad)}"
                yield Finding("tick", said, symbol, mend=partial(subject.remove_ticks, look))
            if look.twice:
                said = f"{len(look.twice)} ids, the first {min(look.twice)}"
                yield Finding("duplicate", said, symbol, mend=partial(subject.remove_repeats, look))
            if self._repair and (look.bad or look.twice):
                self._looks[symbol] = await subject.look(symbol)

    async def _ids(self) -> AsyncIterator[Finding]:
        """Compare every symbol's ledger with its rows, and its bars with its trades."""
        for symbol, look in self._looks.items():
            days: dict[int, dict[str, list[int]]] = {}
            for timeframe in BASE_TIMEFRAMES:
                for at in look.differing[timeframe]:
                    days.setdefault(at // _DAY_NS, {}).setdefault(timeframe, []).append(at)
            for k, finding in enumerate(_of_ledger(look)):
                yield replace(finding, mend=_nothing if k else partial(self._subject.count_again, look))
            for day, times in days.items():
                yield Finding(
                    "bars differ",
                    ", ".join(f"{len(opens)} of {timeframe}" for timeframe, opens in times.items()),
                    symbol,
                    _date(day),
                    mend=partial(self._subject.make_again, look, times),
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


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def _day_of(time_ns: int) -> str:
    return _date(time_ns // _DAY_NS) if time_ns else ""


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%H:%M:%S")
