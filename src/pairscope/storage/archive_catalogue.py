"""Which files the archive has, held in memory: a read finds those that it needs without asking a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from pairscope.storage.archive_place import address_of

__all__ = ["DAY_NS", "EVERYWHERE", "KINDS", "ArchivedFile", "Catalogue", "Reach", "fields_of"]

DAY_NS: Final = 86_400_000_000_000
KINDS: Final = ("tick", "bar_1s", "bar_1m")
"""What a file holds: named as the table whose rows it took."""

_LONGEST: Final = 2**63 - 1
_TICKS: Final = ("id", "ts_event_ns", "ts_recv_ns", "price", "size", "buyer_is_maker")
_BARS: Final = (
    "ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "first_id",
    "last_id", "revision", "origin",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a read can reach: one symbol or all, and times in [``low_ns``, ``high_ns``).

    The times are events' and bars' openings; with ``received`` those at which ticks came.
    """

    symbol_id: int | None = None
    low_ns: int = -_LONGEST
    high_ns: int = _LONGEST
    received: bool = False


EVERYWHERE: Final = Reach()


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A day of one symbol's rows of one kind, as far as reads must know it; ``day`` counts from 1970.

    ``settling`` is a file whose rows are in the store as well until a transaction has removed them there.
    """

    kind: str
    symbol_id: int
    day: int
    place: str
    path: str
    rows: int
    first_ns: int
    last_ns: int
    first_recv_ns: int
    last_recv_ns: int
    bytes: int
    settling: bool = False

    @property
    def key(self) -> tuple[str, int, int]:
        """What no two files of a catalogue share."""
        return self.kind, self.symbol_id, self.day

    def touches(self, reach: Reach) -> bool:
        """Whether a row of it may be within reach."""
        first, last = (self.first_recv_ns, self.last_recv_ns) if reach.received else (self.first_ns, self.last_ns)
        return first < reach.high_ns and last >= reach.low_ns


_Shelves = Mapping[tuple[str, int], tuple[ArchivedFile, ...]]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All files of the archive as of one commit. ``beside`` is the directory of the archive that has no address.

    Nothing of any happened or came at ``newest_ns`` or later.
    """

    beside: Path = Path()
    shelves: _Shelves = field(default_factory=lambda: MappingProxyType({}))
    newest_ns: int = field(default=-_LONGEST, compare=False)

    @classmethod
    def of(cls, beside: Path, files: Iterable[ArchivedFile]) -> Self:
        """Make a catalogue of files."""
        return cls(beside).changed(files, ())

    def __iter__(self) -> Iterator[ArchivedFile]:
        return (file for shelf in self.shelves.values() for file in shelf)

    def __bool__(self) -> bool:
        return bool(self.shelves)

    def changed(self, come: Iterable[ArchivedFile], gone: Iterable[tuple[str, int, int]]) -> Self:
        """Return the catalogue with files that came, each in place of the one of its key, and without others."""
        shelves: dict[tuple[str, int], dict[int, ArchivedFile]] = {}

        def shelf(kind: str, symbol_id: int) -> dict[int, ArchivedFile]:
            at = kind, symbol_id
            if at not in shelves:
                shelves[at] = {file.day: file for file in self.shelves.get(at, ())}
            return shelves[at]

        for kind, symbol_id, day in gone:
            shelf(kind, symbol_id).pop(day, None)
        newest_ns = self.newest_ns
        for file in come:
            shelf(file.kind, file.symbol_id)[file.day] = file
            newest_ns = max(newest_ns, file.last_ns + 1, file.last_recv_ns + 1)
        kept = {at: files for at, files in self.shelves.items() if at not in shelves}
        kept |= {at: tuple(files[day] for day in sorted(files)) for at, files in shelves.items() if files}
        return replace(self, shelves=MappingProxyType(kept), newest_ns=newest_ns)

    def at(self, kind: str, symbol_id: int, day: int) -> ArchivedFile | None:
        """Return the file of a symbol's day, None where there is none."""
        return next((file for file in self.shelves.get((kind, symbol_id), ()) if file.day == day), None)

    def within(self, kind: str, reach: Reach) -> list[ArchivedFile]:
        """Return the files of a kind that a read may need. O(1) where nothing is archived, or only older times."""
        if not self.shelves or reach.low_ns >= self.newest_ns:
            return []
        if reach.symbol_id is not None:
            return [file for file in self.shelves.get((kind, reach.symbol_id), ()) if file.touches(reach)]
        return [file for file in self if file.kind == kind and file.touches(reach)]

    def totals(self) -> dict[str, int]:
        """Return how many files, bytes, ticks and bars there are."""
        found = {"files": 0, "bytes": 0, "ticks": 0, "bars": 0}
        for file in self:
            found["files"] += 1
            found["bytes"] += file.bytes
            found["ticks" if file.kind == "tick" else "bars"] += file.rows
        return found

    def ticks_from(self, reach: Reach) -> str:
        """Return what stands behind FROM to read ticks: the table, with the archived rows within reach.

        No tick lies in both: the ledger takes each id once. Only while a file settles its rows are looked for in both.
        """
        files = self.within("tick", reach)
        if not files:
            return "tick"
        fields = ", ".join(("symbol_id", *_TICKS))
        cold = self._rows_of(files, _TICKS)
        settling = [file for file in files if file.settling]
        if settling:
            low, high = min(f.first_ns for f in settling), max(f.last_ns for f in settling)
            cold += (
                " WHERE NOT EXISTS (SELECT 1 FROM tick AS t WHERE t.symbol_id = a.symbol_id AND t.id = a.id "
                f"AND t.ts_event_ns BETWEEN {low} AND {high})"
            )
        return f"(SELECT {fields} FROM tick UNION ALL SELECT {fields} FROM {cold})"

    def bars_from(self, timeframe: str, reach: Reach) -> str:
        """Return what stands behind FROM to read base bars: the table, with the archived rows that it lacks."""
        table = f"bar_{timeframe}"
        files = self.within(table, reach)
        if not files:
            return table
        fields = ", ".join(("symbol_id", *_BARS))
        low, high = min(f.first_ns for f in files), max(f.last_ns for f in files)
        return (
            f"(SELECT {fields} FROM {table} UNION ALL SELECT {fields} FROM {self._rows_of(files, _BARS)} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE t.symbol_id = a.symbol_id "
            f"AND t.ts_open_ns = a.ts_open_ns AND t.ts_open_ns BETWEEN {low} AND {high}))"
        )

    def rows_of(self, files: Sequence[ArchivedFile]) -> str:
        """Return what stands behind FROM to read files of one kind alone."""
        return self._rows_of(files, fields_of(files[0].kind))

    def address(self, file: ArchivedFile) -> str:
        """Return the address under which a file is read."""
        return address_of(self.beside, file.place, file.path)

    def _rows_of(self, files: Sequence[ArchivedFile], fields: Sequence[str]) -> str:
        columns = ", ".join(f"p.{field}" for field in fields)
        parquet = f"read_parquet({_listed(self.address(file) for file in files)}, hive_partitioning = false"
        ids = {file.symbol_id for file in files}
        if len(ids) == 1:
            return f"(SELECT {ids.pop()}::INTEGER AS symbol_id, {columns} FROM {parquet}) AS p) AS a"
        names = _listed(file.path.rpartition("/")[2] for file in files)
        owners = ", ".join(str(file.symbol_id) for file in files)
        return (
            f"(SELECT k.symbol_id, {columns} FROM {parquet}, filename = true) AS p "
            f"JOIN (SELECT unnest({names}) AS name, unnest([{owners}]::INTEGER[]) AS symbol_id) AS k "
            "ON parse_filename(p.filename) = k.name) AS a"
        )


def fields_of(kind: str) -> tuple[str, ...]:
    """Return the columns that a file of a kind has."""
    return _TICKS if kind == "tick" else _BARS


def _listed(words: Iterable[Any]) -> str:
    """Return words as a list in SQL."""
    return "[" + ", ".join("'" + str(word).replace("'", "''") + "'" for word in words) + "]"
