"""How damaged rows of a store are mended: set aside, counted again, made again; each in one short transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pairscope.market.bars import BASE_TIMEFRAMES, timeframe_ns
from pairscope.market.gaps import HeldGap
from pairscope.market.id_ranges import count
from pairscope.storage.integrity_ids import Look
from pairscope.storage.tables import Connection
from pairscope.storage.writing import Writing

__all__ = ["SetAside", "count_again", "make_again", "remove_bars", "remove_repeats", "remove_ticks"]

_HOUR_NS: Final = timeframe_ns("1h")
_TICKS: Final = "symbol_id, id, ts_event_ns, ts_recv_ns, price, size, buyer_is_maker, flush, watermark_ns"


class SetAside:
    """A directory beside the store for what no read can use any more: rows as JSON lines, and files as they are."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def rows(self, name: str, connection: Connection, select: str, parameters: Sequence[Any] = ()) -> int:
        """Append the rows of a SELECT to a file; return how many."""
        found = connection.execute(select, list(parameters))
        names = [column[0] for column in found.description]
        rows = found.fetchall()
        if rows:
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                for row in rows:
                    file.write(json.dumps(dict(zip(names, row, strict=True)), default=str) + "\n")
        return len(rows)

    def file(self, path: Path) -> None:
        """Move a file here under a name that says when; nothing where it is not there."""
        if not path.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        path.replace(self.directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{path.name}")


def remove_ticks(aside: SetAside, symbol_id: int) -> Callable[[Writing], None]:
    """Set a symbol's rows aside that are no trades."""
    wrong = (
        f"symbol_id = {symbol_id} AND NOT (price > 0 AND size > 0 AND isfinite(price) AND isfinite(size) "
        "AND ts_event_ns >= 0 AND id >= 0)"
    )

    def work(writing: Writing) -> None:
        aside.rows("tick", writing.connection, f"SELECT * FROM tick WHERE {wrong}")
        writing.connection.execute(f"DELETE FROM tick WHERE {wrong}")

    return work


def remove_repeats(aside: SetAside, symbol_id: int, ids: Sequence[int]) -> Callable[[Writing], None]:
    """Keep the first row of each id; those that differ from it are set aside. What the archive has stands first."""

    def work(writing: Writing) -> None:
        connection, archive = writing.connection, writing.ledger.archive
        connection.execute("CREATE OR REPLACE TEMP TABLE asked AS SELECT unnest(?::BIGINT[]) AS id", [list(set(ids))])
        values = "t.ts_event_ns, t.price, t.size, t.buyer_is_maker"
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE repeated AS "
            f"SELECT t.rowid AS row, t.*, hash({values}) AS said, row_number() OVER (PARTITION BY t.id "
            "ORDER BY t.flush, t.rowid) AS turn, first(hash(" + values + ")) OVER (PARTITION BY t.id "
            f"ORDER BY t.flush, t.rowid) AS kept FROM tick AS t JOIN asked USING (id) WHERE t.symbol_id = {symbol_id}"
        )
        files = [file for file in archive if file.kind == "tick" and file.symbol_id == symbol_id]
        if files:
            connection.execute(
                "UPDATE repeated SET turn = turn + 1, kept = a.said FROM (SELECT a.id, hash(a.ts_event_ns, a.price, "
                f"a.size, a.buyer_is_maker) AS said FROM {archive.rows_of(files)} JOIN asked USING (id)) AS a "
                "WHERE repeated.id = a.id"
            )
        aside.rows("tick", connection, f"SELECT {_TICKS} FROM repeated WHERE turn > 1 AND said <> kept")
        connection.execute("DELETE FROM tick WHERE rowid IN (SELECT row FROM repeated WHERE turn > 1)")
        connection.execute("DROP TABLE repeated")
        connection.execute("DROP TABLE asked")

    return work


def remove_bars(aside: SetAside, timeframe: str, keys: Sequence[tuple[int, int]]) -> Callable[[Writing], None]:
    """Remove the bars at (symbol_id, ts_open_ns): uploaded ones are set aside, minutes and seconds made again."""

    def work(writing: Writing) -> None:
        connection, table = writing.connection, f"bar_{timeframe}"
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE asked AS SELECT unnest(?::INTEGER[]) AS symbol_id, "
            "unnest(?::BIGINT[]) AS ts_open_ns",
            [[symbol_id for symbol_id, _ in keys], [ts_open_ns for _, ts_open_ns in keys]],
        )
        matching = f"FROM {table} AS b JOIN asked USING (symbol_id, ts_open_ns)"
        aside.rows(table, connection, f"SELECT b.* {matching} WHERE b.origin <> 0")
        (gone,) = connection.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT b.rowid {matching})").fetchone()
        connection.execute("DROP TABLE asked")
        writing.added_bars -= gone
        if timeframe in BASE_TIMEFRAMES:
            ledger = writing.ledger
            for symbol_id, hour in sorted({(symbol_id, at // _HOUR_NS) for symbol_id, at in keys}):
                writing.rebuild(ledger.symbols[symbol_id], hour * _HOUR_NS, (hour + 1) * _HOUR_NS)
        writing.save()

    return work


def make_again(symbol: str, symbol_id: int, times: dict[str, list[int]]) -> Callable[[Writing], None]:
    """Make bars again at open times by timeframe, in place of what is stored there."""

    def work(writing: Writing) -> None:
        for timeframe, opens in times.items():
            (gone,) = writing.connection.execute(
                f"DELETE FROM bar_{timeframe} WHERE symbol_id = ? AND ts_open_ns IN (SELECT unnest(?::BIGINT[]))",
                [symbol_id, opens],
            ).fetchone()
            writing.added_bars -= gone
        for hour in sorted({at // _HOUR_NS for opens in times.values() for at in opens}):
            writing.rebuild(symbol, hour * _HOUR_NS, (hour + 1) * _HOUR_NS)
        writing.save()

    return work


def count_again(look: Look) -> Callable[[Writing], None]:
    """Have the ledger say of a symbol what its rows said in a look, and what has come since."""

    def work(writing: Writing) -> None:
        ledger, connection, symbol = writing.ledger, writing.connection, look.symbol
        symbol_id = ledger.id_of(symbol)
        wrong = {gap.from_id: (gap, now) for gap, now in look.wrong_gaps}
        gaps: list[HeldGap] = []
        for gap, ranges in ledger.continuity.unrepaired(symbol):
            then, now = wrong.get(gap.from_id, (None, []))
            if then != gap:
                gaps.append((gap, ranges))
                continue
            writing.tables.remove_gaps(connection, [(symbol_id, gap.from_id)])
            if now:
                gaps.append((replace(gap, missing=count(now)), now))
        gaps += [(hole, [(hole.from_id, hole.to_id)]) for hole in look.holes]
        ledger.recount(symbol, look.ledger_says, look.rows_say, gaps)
        writing.tables.put_gaps(connection, [(symbol_id, gap, ranges) for gap, ranges in gaps])
        writing.save()

    return work
