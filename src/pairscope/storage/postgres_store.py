"""The server store: ticks, bars, gaps and records in PostgreSQL, for several writers and many readers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import numpy as np

from pairscope.errors import InputError
from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, BarBatch, BarOutcome, BarOutcomes, Origin
from pairscope.market.continuity import Admission, Continuity, Gap, HeldIds
from pairscope.market.id_ranges import Range, less
from pairscope.market.symbols import normalize_symbol
from pairscope.market.ticks import B1, TickBatch, concat_ticks
from pairscope.ports import Document, StoreStats, SymbolSummary, UploadedSpan
from pairscope.storage import bar_reading
from pairscope.storage.ledger import LedgerView
from pairscope.storage.postgres_base import PostgresBase
from pairscope.storage.postgres_documents import add_document, document_at, documents_behind
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_tables import PostgresTables
from pairscope.storage.postgres_writing import PostgresWriting
from pairscope.storage.reading import gathered, windows

__all__ = ["PostgresStore"]

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND_NS
_QUARTER_NS: Final = 15 * _MINUTE_NS
_PAGE: Final = 1000


class PostgresStore(PostgresBase):
    """``TickStore`` and ``Records`` on a PostgreSQL server. Made by :meth:`open`.

    What is known of each symbol stands in a row of its own, which a writer holds while it writes: see
    :class:`SharedLedger`. Reads look at those rows first, so that they see what any process has stored; ranges of ticks
    and bars come from the read replica where there is one that is not far behind: see :class:`PostgresReplica`.
    """

    # -- TickStore: writes ---------------------------------------------------------------------------------------------

    async def append(
        self, batch: TickBatch, bars: Sequence[BarBatch] = (), documents: Sequence[Document] = ()
    ) -> Admission:
        """Store a batch, the base bars it closed or revised, its gaps and its documents, in one transaction."""
        for each in bars:
            _demand_base(each.timeframe)
        names = {*_names_of(batch), *(name for each in bars for name in _names_of(each))}
        return await self._with_days(
            batch, lambda: self._transact(names, lambda writing: writing.append(batch, bars, documents), batch)
        )

    async def add_older(self, batch: TickBatch) -> Admission:
        """Store trades that the live stream did not bring; see ``TickStore.add_older``."""
        return await self._with_days(
            batch, lambda: self._transact(_names_of(batch), lambda writing: writing.add_older(batch), batch)
        )

    async def put_bars(self, bars: BarBatch) -> int:
        """Store bars that no own tick made; return how many rows changed."""
        [outcomes] = await self.put_bars_all([bars])
        return int((outcomes <= BarOutcome.UPDATED).sum())

    async def put_bars_all(self, batches: Sequence[BarBatch], documents: Sequence[Document] = ()) -> list[BarOutcomes]:
        """Store several batches of bars, and documents, in one transaction; return what came of each bar."""
        for bars in batches:
            _demand_timeframe(bars.timeframe)

        def work(writing: PostgresWriting) -> list[BarOutcomes]:
            outcomes = [writing.put_bars(bars) for bars in batches]
            writing.put_documents(documents)
            return outcomes

        return await self._transact({name for bars in batches for name in _names_of(bars)}, work)

    async def remove_bars(self, symbol: str, timeframe: str | None, origin: Origin) -> int:
        """Remove a symbol's bars of one origin, of one timeframe or of all; return how many."""
        if timeframe is not None:
            _demand_timeframe(timeframe)
        timeframes = TIMEFRAMES if timeframe is None else (timeframe,)
        if not await self._is_stored(symbol):
            return 0
        return await self._transact([symbol], lambda writing: writing.remove_bars(symbol, timeframes, origin))

    async def rebuild_bars(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed base bars from its stored ticks; store and return those that differ."""

        def parts(session: Session, view: LedgerView, tables: PostgresTables) -> list[tuple[int, int]]:
            symbol_id = view.find(symbol)
            if symbol_id is None:
                return []
            low, high = max(start_ns, view.tick_span(symbol_id)[0]), min(end_ns, view.watermark_ns)
            rows = tables.counts(session, low, _QUARTER_NS, symbol=view.symbols[symbol_id], end_ns=high)
            return [(max(a, low), min(b, high)) for a, b in gathered(rows, _QUARTER_NS)]

        revised: list[BarBatch] = []
        for part in await self._read(parts, [symbol], newest=True):

            def work(writing: PostgresWriting, part: tuple[int, int] = part) -> list[BarBatch]:
                return writing.rebuild(symbol, *part)

            revised += await self._transact([symbol], work)
        return revised

    async def settle_gap(self, gap: Gap) -> None:
        """Write a gap's verdict that no tick brought."""
        await self._transact([gap.symbol], lambda writing: writing.settle(gap))

    # -- TickStore: reads ----------------------------------------------------------------------------------------------

    async def ticks(
        self, symbol: str, start_ns: int, end_ns: int, *, limit: int, after_id: int | None = None, newest: bool = False
    ) -> TickBatch:
        """Ticks of one symbol by (event time, trade id); ``after_id`` continues behind that trade id."""

        def work(session: Session, view: LedgerView, tables: PostgresTables) -> TickBatch:
            symbol_id = view.find(symbol)
            if symbol_id is None or limit <= 0 or end_ns <= start_ns:
                return TickBatch.empty(view.symbols, view.watermark_ns)
            low, behind = start_ns, None
            if after_id is not None:
                found_ns = tables.time_of(session, symbol_id, after_id, start_ns, end_ns)
                if found_ns is not None:
                    low, behind = max(start_ns, found_ns), (found_ns, after_id)
            parts: list[TickBatch] = []
            left = limit
            for first, last in _windows(view.tick_span(symbol_id), low, end_ns, limit, newest=newest):
                part = tables.symbol_ticks(
                    session, symbol_id, first, last, limit=left, newest=newest, behind=behind, after_id=after_id
                )
                parts.append(part)
                left -= len(part)
                if left <= 0:
                    break
            return concat_ticks(parts[::-1] if newest else parts).with_watermark(view.watermark_ns)

        return await self._read(work, [symbol])

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch:
        """Closed bars of any timeframe, oldest first."""
        _demand_timeframe(timeframe)
        return await self._read(
            lambda session, view, tables: bar_reading.bars(
                session, view, tables, symbol, timeframe, start_ns, end_ns, limit, newest=newest
            ),
            [symbol],
        )

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Closed base bars of every symbol in a range, by (symbol, time)."""
        _demand_base(timeframe)
        return await self._read(
            lambda session, _, tables: tables.base_bars(session, timeframe, start_ns, end_ns), newest=True
        )

    async def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks from an event time on, by (event time, trade id), in batches."""
        rows = await self._read(lambda session, _, tables: tables.counts(session, start_ns, _MINUTE_NS), newest=True)
        for low, high in gathered(rows, _MINUTE_NS):
            part = await self._read(
                lambda session, _, tables, low=low, high=high: tables.ticks_between(  # type: ignore[misc]
                    session, max(low, start_ns), high
                ),
                newest=True,
            )
            if len(part):
                yield part.with_watermark(int(part.ts_event_ns.max()))

    async def ticks_received(self, start_ns: int, end_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks that were received in a range, by receive time, in batches."""
        rows = await self._read(
            lambda session, _, tables: tables.counts_received(session, start_ns, end_ns, _SECOND_NS), newest=True
        )
        for low, high in gathered(rows, _SECOND_NS):
            yield await self._read(
                lambda session, _, tables, low=low, high=high: tables.received_between(  # type: ignore[misc]
                    session, max(low, start_ns), min(high, end_ns)
                ),
                newest=True,
            )

    async def covered(self, bars: BarBatch) -> B1:
        """Which bars own ticks cover wholly, from their first tick to their newest without a hole."""
        _demand_timeframe(bars.timeframe)

        def work(session: Session) -> B1:
            with self._looking:
                self._seen.look(session, _names_of(bars))
                return self._seen.ledger.covers(bars)

        return await self._pool.read(work)

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars, by name."""
        return await self._read(lambda _, view, __: view.summaries(), newest=True)

    async def uploaded(self) -> list[UploadedSpan]:
        """What was uploaded, by (symbol, length of timeframe)."""
        return await self._read(bar_reading.uploaded, newest=True)

    async def kept_timeframes(self, symbol: str) -> tuple[str, ...]:
        """The timeframes under which bars of a symbol are kept, the shortest first."""

        def work(_: Session, view: LedgerView, __: PostgresTables) -> tuple[str, ...]:
            symbol_id = view.find(symbol)
            return () if symbol_id is None else view.timeframes(symbol_id)

        return await self._read(work, [symbol], newest=True)

    async def continuity(self) -> Continuity:
        """A fresh ledger that stands where the stored ticks end."""

        def work(session: Session) -> Continuity:
            with self._looking:
                self._seen.look(session)
                return self._seen.ledger.fresh_continuity()

        return await self._pool.read(work, snapshot=True)

    async def gaps(self, symbol: str | None = None, *, unrepaired: bool = False) -> list[Gap]:
        """The gap ledger, by (symbol, from_id): all of it, or what still lacks ids."""
        wanted = None if symbol is None else normalize_symbol(symbol)
        return await self._pool.read(
            lambda session: [gap for gap, _ in PostgresTables.gaps(session, wanted, unrepaired=unrepaired)]
        )

    async def held(self, symbol: str | None = None) -> list[HeldIds]:
        """The intervals of consecutive trade ids that are stored, by (symbol, from_id)."""

        wanted = None if symbol is None else normalize_symbol(symbol)

        def work(session: Session, view: LedgerView, tables: PostgresTables) -> list[HeldIds]:
            missing: dict[str, list[Range]] = {}
            for gap, ranges in tables.gaps(session, wanted, unrepaired=True):
                missing.setdefault(gap.symbol, []).extend(ranges)
            found = []
            for name in sorted(view.symbols) if wanted is None else [wanted]:
                symbol_id = view.find(name)
                first, following = (-1, -1) if symbol_id is None else view.id_span(symbol_id)
                if first < following:
                    whole = less([(first, following - 1)], sorted(missing.get(name, ())))
                    found += [HeldIds(name, low, high) for low, high in whole]
            return found

        return await self._read(work, None if wanted is None else [wanted], newest=True)

    async def watermark_ns(self) -> int:
        """The greatest watermark of all batches that were appended; 0 in a new store."""
        rows = await self._pool.read(lambda session: session.rows("SELECT value FROM meta WHERE key = 'watermark_ns'"))
        return int(rows[0]["value"])

    async def stats(self) -> StoreStats:
        """Rows, from counters, and the size of the database."""
        [row] = await self._pool.read(
            lambda session: session.rows(
                "SELECT (SELECT coalesce(sum(tick_count), 0)::bigint FROM continuity) AS ticks, "
                "(SELECT coalesce(sum(bar_count), 0)::bigint FROM continuity) AS bars, "
                "pg_database_size(current_database()) AS bytes, current_database() AS name"
            )
        )
        return StoreStats("PostgreSQL", row["ticks"], row["bars"], row["bytes"], f"database {row['name']}")

    # -- Records -------------------------------------------------------------------------------------------------------

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        """Store a document; True if its key was new."""
        return await self._pool.write(lambda session: add_document(session, collection, key, document, replace=replace))

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents, the last of each key, and remove the keys of those without a body, in one transaction."""
        await self._transact((), lambda writing: writing.put_documents(documents))

    async def put_firsts(
        self, firsts: Sequence[Document], documents: Sequence[Document] = (), *, guard: Document | None = None
    ) -> list[Document]:
        """Store ``firsts``, whose keys must be new, and with them ``documents``, all or nothing.

        Where keys are there already nothing is stored, and what stands under them is returned. ``guard``: a document
        that must stand as it says; ``Superseded`` where it does not.
        """
        return await self._transact((), lambda writing: writing.put_firsts(firsts, documents, guard))

    async def get(self, collection: str, key: str) -> bytes | None:
        """Return a document, None where there is none."""
        return await self._pool.read(lambda session: document_at(session, collection, key))

    async def delete(self, collection: str, key: str) -> bool:
        """Remove a document; False where there was none."""
        gone = [Document(collection, key, None)]
        return bool(await self._transact((), lambda writing: writing.put_documents(gone)))

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Every (key, document) with a key greater than ``after``, by key; a page of them in memory at a time."""
        while page := await self._pool.read(
            lambda session, after=after: documents_behind(session, collection, after, limit=_PAGE)  # type: ignore[misc]
        ):
            for entry in page:
                yield entry
            after = page[-1][0]


def _windows(
    span: tuple[int, int, int], start_ns: int, end_ns: int, limit: int, *, newest: bool
) -> Iterator[tuple[int, int]]:
    """Cut a range into ever wider windows from where its first rows are, so that a read looks into few days.

    ``span`` has the times of a symbol's first and newest tick and their number: what lies beyond them is one window.
    """
    first_ns, last_ns, count = span
    width_ns = max(2 * limit * max(last_ns - first_ns, 1) // max(count, 1), _SECOND_NS)
    for low, high in windows(start_ns, end_ns, last_ns if newest else first_ns, width_ns, newest=newest):
        if newest and low <= first_ns:
            yield start_ns, high
            return
        if not newest and high > last_ns:
            yield low, end_ns
            return
        yield low, high


def _names_of(batch: TickBatch | BarBatch) -> list[str]:
    """Return the symbols that rows are of, and void ids."""
    ids = set(np.unique(batch.symbol_id).tolist())
    if isinstance(batch, TickBatch):
        ids |= {symbol_id for symbol_id, _ in batch.void}
    return [batch.symbols[symbol_id] for symbol_id in ids]


def _demand_base(timeframe: str) -> None:
    if timeframe not in BASE_TIMEFRAMES:
        raise InputError(f"bars of {timeframe} are not stored, only {' and '.join(BASE_TIMEFRAMES)}", loc="timeframe")


def _demand_timeframe(timeframe: str) -> None:
    if timeframe not in TIMEFRAMES:
        raise InputError(f"timeframe {timeframe!r} is none of {', '.join(TIMEFRAMES)}", loc="timeframe")
