"""The embedded store as it is looked at and mended: its file, its archive, its spool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pairscope.market.bars import timeframe_ns
from pairscope.storage.archive_catalogue import EVERYWHERE, ArchivedFile
from pairscope.storage.archive_tables import CatalogueRow, Litter, drop_files, drop_litter, litter, read_rows
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
from pairscope.storage.writing import Writing

__all__ = ["WRONG_BAR", "StoredFile", "wrong_bars"]

_PRICES = " AND ".join(f"isfinite({name}) AND {name} > 0" for name in ("open", "high", "low", "close"))
_VOLUMES = " AND ".join(f"isfinite({name}) AND {name} >= 0" for name in ("volume", "quote_volume", "buy_volume"))
WRONG_BAR = (
    f"NOT ({_PRICES} AND {_VOLUMES} AND low <= least(open, close) AND high >= greatest(open, close) "
    "AND buy_volume <= volume * (1 + 1e-9))"
)
"""The condition that a bar is none, whatever its time."""


class StoredFile:
    """``Subject`` of one embedded store; what no read can use any more is set aside beside it."""

    def __init__(self, store: Checked) -> None:
        self._store = store
        self._aside = SetAside(store.path.with_name(store.path.name + ".aside"))

    @property
    def set_aside(self) -> str | None:
        """Where what was set aside is, None where nothing was."""
        return str(self._aside.directory) if self._aside.directory.is_dir() else None

    async def files(self, spool: Path | None) -> tuple[int, list[Finding]]:
        """Return how many files the archive has, and what is wrong with them and with those of a spool."""
        found = await archive_findings(_Archive(self._store), self._aside.file)
        if spool is not None:
            found += await asyncio.to_thread(spool_findings, spool, self._aside)
        return self._store.upkeep.totals()["files"], found

    async def names(self) -> list[str]:
        """Return the symbols of the store."""
        return [*self._store.view.symbols][: self._store.view.known]

    async def wrong_bars(self, timeframe: str) -> tuple[int, list[tuple[str, int]]]:
        """Return how many bars there are of a timeframe, and (symbol, open time) of those that are none."""
        rows, wrong = await self._store.aside(partial(wrong_bars, timeframe=timeframe))
        return rows, [(self._store.view.symbols[symbol_id], at) for symbol_id, at in wrong]

    async def look(self, symbol: str) -> Look:
        """Return what the rows of a symbol say, beside its ledger."""
        return await self._store.aside(partial(_look, symbol=symbol))

    async def remove_bars(self, timeframe: str, keys: Sequence[tuple[str, int]]) -> None:
        """Remove bars at (symbol, open time) and make those of own trades again."""
        found = [(self._store.view.find(symbol), at) for symbol, at in keys]
        known = [(symbol_id, at) for symbol_id, at in found if symbol_id is not None]
        await self._store.within(remove_bars(self._aside, timeframe, known))

    async def remove_ticks(self, look: Look) -> None:
        """Set rows aside that are no trades."""
        await self._store.within(remove_ticks(self._aside, look.symbol_id))

    async def remove_repeats(self, look: Look) -> None:
        """Keep one row of each id."""
        await self._store.within(remove_repeats(self._aside, look.symbol_id, look.twice))

    async def count_again(self, look: Look) -> None:
        """Have the ledger say what the rows say."""
        await self._store.within(count_again(look))

    async def make_again(self, look: Look, times: Mapping[str, list[int]]) -> None:
        """Make bars again at open times by timeframe."""
        await self._store.within(make_again(look.symbol, look.symbol_id, dict(times)))


class _Archive:
    """``Shelves`` of the embedded store."""

    def __init__(self, store: Checked) -> None:
        self._store = store
        self.beside = Path(store.upkeep.default_place)
        self.faults = store.upkeep.check_archive

    async def rows(self) -> list[CatalogueRow]:
        return await self._store.aside(lambda connection, _: read_rows(connection))

    async def litter(self) -> list[Litter]:
        return await self._store.aside(lambda connection, _: litter(connection))

    def name(self, file: ArchivedFile) -> str:
        return self._store.view.symbols[file.symbol_id]

    async def uncatalogue(self, file: ArchivedFile) -> None:
        def work(writing: Writing) -> None:
            drop_files(writing.connection, [file])
            drop_litter(writing.connection, [(file.place, file.path)])
            writing.ledger.archive = writing.ledger.archive.changed((), [file.key])
            if file.kind != "tick":
                writing.added_bars -= file.rows

        await self._store.within(work)


def _look(connection: Connection, view: LedgerView, *, symbol: str) -> Look:
    """Look at a symbol's rows and at the ledger as stored, in one state of the store."""
    connection.execute("BEGIN")
    try:
        ledger = read_ledger(connection)
        ledger.archive = view.archive
        return look_at(StoredRows(connection, ledger, symbol), ledger, symbol)
    finally:
        connection.execute("ROLLBACK")


def wrong_bars(connection: Connection, view: LedgerView, *, timeframe: str) -> tuple[int, list[tuple[int, int]]]:
    """Return how many bars there are of a timeframe, and the (symbol id, open time) of those that are none."""
    source = Tables(view.symbols, view.archive).bars_from(timeframe, EVERYWHERE)
    (count,) = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    wrong = connection.execute(
        f"SELECT DISTINCT symbol_id, ts_open_ns FROM {source} WHERE {WRONG_BAR} "
        f"OR ts_open_ns % {timeframe_ns(timeframe)} <> 0 "
        f"UNION SELECT symbol_id, ts_open_ns FROM {source} GROUP BY symbol_id, ts_open_ns HAVING count(*) > 1"
    ).fetchall()
    return int(count), wrong
