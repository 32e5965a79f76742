"""The ledger of ids that processes keep in PostgreSQL: rows held, read where another changed them, written back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pairscope.market.bars import TIMEFRAMES
from pairscope.market.continuity import Gap
from pairscope.market.gaps import HeldGap
from pairscope.storage.archive_catalogue import Catalogue
from pairscope.storage.ledger import NEVER, Ledger
from pairscope.storage.postgres_archive_tables import read_rows
from pairscope.storage.postgres_pool import Session

__all__ = ["GAP_FIELDS", "SharedLedger", "gap_of", "ranges_of", "spelled"]

GAP_FIELDS = "symbol, from_id, to_id, status, missing, after_ns, before_ns, seen_ns, ended_ns, ranges"
_FIELDS = "symbol, version, next_id, first_id, first_ns, last_ns, tick_count, live, spans, uploaded_seconds"

_META = "SELECT key, value FROM meta WHERE NOT EXISTS (SELECT 1 FROM ONLY tick_data)"
"""Reads the numbers of the whole store, and holds ``tick_data`` until the transaction ends; of its rows it reads none.
So no day moves to the archive between a look at the catalogue and the rows that are read by it."""


class SharedLedger:
    """A ledger that several processes keep together, a row a symbol; ``version`` of a row says who wrote it last.

    Who changes a symbol holds its row until the transaction ends: disjoint shards never wait for each other, and two
    writers of the same symbols take turns, each on what the other has left. Rows are always taken by name, so that
    nobody waits in a circle. The archive's catalogue goes with it, as of the look.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._versions: dict[str, int] = {}
        self._catalogues: dict[int, Catalogue] = {0: Catalogue()}

    def again(self) -> SharedLedger:
        """Return a ledger for what comes behind a failure: it reads each row anew, and of the catalogue what is new."""
        found = SharedLedger()
        for name in self.ledger.symbols:
            found.ledger.id_of(name)
        found._catalogues = self._catalogues
        return found

    def take(self, session: Session, names: Iterable[str]) -> None:
        """Hold the rows of symbols, made where they are new, and bring the ledger to where they stand."""
        wanted = sorted(set(names))
        if wanted:
            self._hold(session, wanted)
        self._look_at_whole(session)  # last: who holds tick_data must wait for nobody who moves days

    def _hold(self, session: Session, wanted: Sequence[str]) -> None:
        new = [name for name in wanted if name not in self._versions]
        if new:
            session.run("INSERT INTO symbol (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", new)
            session.run("INSERT INTO continuity (symbol) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", new)
        held = session.rows(
            "SELECT symbol, version FROM continuity WHERE symbol = ANY($1::text[]) ORDER BY symbol FOR UPDATE", wanted
        )
        self._read(session, [row["symbol"] for row in held if self._versions.get(row["symbol"]) != row["version"]])

    def look(self, session: Session, names: Sequence[str] | None = None) -> None:
        """Bring the ledger to where the rows of symbols, or of all, stand; holds none of them."""
        self._look_at_whole(session)
        if names is None:
            rows = session.rows("SELECT symbol, version FROM continuity")
        else:
            rows = session.rows("SELECT symbol, version FROM continuity WHERE symbol = ANY($1::text[])", list(names))
        self._read(session, [row["symbol"] for row in rows if self._versions.get(row["symbol"]) != row["version"]])

    def knows(self, name: str) -> bool:
        """Whether a symbol has a row that was read."""
        return name in self._versions

    def save(self, session: Session, names: Iterable[str], *, added_bars: int = 0) -> None:
        """Write the rows of symbols as the ledger has them, which are held by this transaction.

        The first of them counts the bars that were added: only their sum is ever asked for.
        """
        wanted = sorted(set(names))
        if not wanted:
            return
        view = self.ledger.view()
        kept = self.ledger.continuity
        columns: list[list[Any]] = [[] for _ in range(10)]
        for name in wanted:
            symbol_id = self.ledger.id_of(name)
            first_ns, last_ns, count = view.tick_span(symbol_id)
            first_id, next_id = view.id_span(symbol_id)
            spans = [bound for timeframe in TIMEFRAMES for bound in view.bar_span(symbol_id, timeframe)]
            live = kept.next_id(name) is None or kept.is_live(name)
            row = (
                name, next_id, first_id, first_ns, last_ns, count, live,
                "{" + ",".join(map(str, spans)) + "}", symbol_id in self.ledger.uploaded_seconds,
                added_bars if name == wanted[0] else 0,
            )  # fmt: skip
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        saved = session.rows(
            "UPDATE continuity AS c SET version = c.version + 1, next_id = n.next_id, first_id = n.first_id, "
            "first_ns = n.first_ns, last_ns = n.last_ns, tick_count = n.tick_count, live = n.live, "
            "spans = n.spans::bigint[], uploaded_seconds = n.uploaded_seconds, bar_count = c.bar_count + n.added_bars "
            "FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], "
            "$7::boolean[], $8::text[], $9::boolean[], $10::bigint[]) AS n(symbol, next_id, first_id, first_ns, "
            "last_ns, tick_count, live, spans, uploaded_seconds, added_bars) WHERE c.symbol = n.symbol "
            "RETURNING c.symbol, c.version",
            *columns,
        )
        self._versions |= {row["symbol"]: row["version"] for row in saved}

    def raise_watermark(self, session: Session, watermark_ns: int) -> None:
        """Write a watermark that is greater than all before; last of all, as every writer has to pass here."""
        session.run("UPDATE meta SET value = $1 WHERE key = 'watermark_ns' AND value < $1", watermark_ns)

    def _look_at_whole(self, session: Session) -> None:
        """Bring watermark and catalogue to where they stand; days stay where they are until the transaction ends."""
        found = {row["key"]: int(row["value"]) for row in session.rows(_META)}
        self.ledger.watermark_ns = max(self.ledger.watermark_ns, found["watermark_ns"])
        version = found.get("archive", 0)  # a standby may not have the migration yet
        if version not in self._catalogues:
            known = max((v for v in self._catalogues if found["archive_gone"] <= v < version), default=0)
            come = read_rows(session, self.ledger.id_of, since=known)
            before = self._catalogues[known] if known else Catalogue()
            # The one before stays: a read replica may still be there.
            self._catalogues = {known: before, version: before.changed((row.file for row in come), ())}
        self.ledger.archive = self._catalogues[version]

    def _read(self, session: Session, names: Sequence[str]) -> None:
        """Take up symbols from their rows and their unrepaired gaps."""
        if not names:
            return
        gaps: dict[str, list[HeldGap]] = {}
        for row in session.rows(
            f"SELECT {GAP_FIELDS} FROM gap WHERE symbol = ANY($1::text[]) AND status <> 'repaired'", list(names)
        ):
            gaps.setdefault(row["symbol"], []).append((gap_of(row), ranges_of(row["ranges"])))
        ledger = self.ledger
        for row in session.rows(f"SELECT {_FIELDS} FROM continuity WHERE symbol = ANY($1::text[])", list(names)):
            name, spans = row["symbol"], row["spans"] or [NEVER, -1] * len(TIMEFRAMES)
            symbol_id = ledger.id_of(name)
            ledger.resume(
                name,
                first_ns=row["first_ns"],
                last_ns=row["last_ns"],
                tick_count=row["tick_count"],
                spans={t: (spans[2 * k], spans[2 * k + 1]) for k, t in enumerate(TIMEFRAMES)},
            )
            ledger.continuity.forget(name)
            if row["next_id"] >= 0:
                ledger.continuity.resume(
                    name,
                    next_id=row["next_id"],
                    first_id=row["first_id"],
                    last_ns=row["last_ns"],
                    live=row["live"],
                    gaps=gaps.get(name, ()),
                )
            ledger.uploaded_seconds -= {symbol_id}
            if row["uploaded_seconds"]:
                ledger.uploaded_seconds |= {symbol_id}
            self._versions[name] = row["version"]


def gap_of(row: Any) -> Gap:
    """Return the gap of a row."""
    return Gap(
        row["symbol"], row["from_id"], row["to_id"], row["status"], row["missing"], row["after_ns"], row["before_ns"],
        row["seen_ns"], row["ended_ns"],
    )  # fmt: skip


def ranges_of(text: str) -> list[tuple[int, int]]:
    """Return the ranges of ids that a text spells.

    >>> ranges_of("3-5 9-9")
    [(3, 5), (9, 9)]
    """
    return [(int(low), int(high)) for low, high in (part.split("-") for part in text.split())]


def spelled(ranges: Sequence[tuple[int, int]]) -> str:
    """Return ranges of ids as a text.

    >>> spelled([(3, 5), (9, 9)])
    '3-5 9-9'
    """
    return " ".join(f"{low}-{high}" for low, high in ranges)
