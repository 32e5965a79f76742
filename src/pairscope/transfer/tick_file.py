"""A file of trades that an export wrote, read back: known by its columns, and judged row by row.

The file is refused with its first row that cannot be: trades are whole, or they are not what was exported. When they
reached whoever exported them (``received``) is not taken over: here they arrive now.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from pairscope.errors import ForeignFile, InputError
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I8, TickBatch
from pairscope.transfer.export_name import named_by_export
from pairscope.transfer.tick_columns import Block, TickColumns
from pairscope.transfer.upload_cells import Column, numbers, texts, times
from pairscope.transfer.upload_faults import Faults
from pairscope.transfer.upload_reading import upload_symbol

__all__ = ["TickFile", "is_tick_file", "tick_file"]

NEEDED: Final = ("id", "timestamp", "price", "size", "buyer_is_maker")
_KNOWN_BY: Final = frozenset({"id", "price", "size"})
_LARGEST: Final = 1e15
_SYMBOLS: Final = 1000
_DAY_NS: Final = 86_400 * 10**9


def is_tick_file(path: Path, name: str) -> bool:
    """Whether a file is one of trades that an export wrote, by its columns, or else by its name."""
    try:
        names = set(TickColumns(path).names)
    except ForeignFile:
        names = set()
    said = named_by_export(name)
    return (names >= _KNOWN_BY and "open" not in names) or (said is not None and said.kind == "tick")


def tick_file(path: Path, name: str, symbol: str | None) -> TickFile | None:
    """Return a file of trades that an export wrote; None of any other."""
    return TickFile(path, name=name, symbol=symbol) if is_tick_file(path, name) else None


class TickFile:
    """One file of trades. Whose they are a column says, else ``symbol``, else the file's name.

    ``rows`` and ``symbols`` are those given out so far; ``end_ns`` is up to when trades were asked for, 0 where the
    name does not say it.
    """

    def __init__(self, path: Path, *, name: str | None = None, symbol: str | None = None) -> None:
        self.path = path
        self.name = Path(name or path.name).name
        self.rows = 0
        self.symbols: dict[str, int] = {}
        said = named_by_export(self.name)
        self.end_ns = said.end_ns if said is not None else 0
        self._asked = upload_symbol(symbol) if symbol else ""
        self._by_name = said.symbol if said is not None else ""

    def batches(self, *, now_ns: int) -> Iterator[TickBatch]:
        """Give the trades from the first on, by id, a batch of one symbol each; ``ForeignFile`` where one cannot be.

        ``InputError`` where nobody says whose they are. The message names row and column. Memory is that of a block
        of rows. One to nine million rows a second.
        """
        self.rows, self.symbols = 0, {}
        last_ns: dict[str, int] = {}
        source = TickColumns(self.path)
        for name in NEEDED:
            if name not in source.names:
                raise ForeignFile(
                    f"there is no column {name}", loc="file", hint=f"an export of trades has {','.join(NEEDED)}"
                )
        wanted = [*NEEDED, *(["symbol"] if "symbol" in source.names else [])]
        for block in source.blocks(wanted):
            yield from self._judged(block, last_ns, now_ns)
        if not self.rows:
            raise ForeignFile("the file has no rows", loc="file")

    def _judged(self, block: Block, last_ns: dict[str, int], now_ns: int) -> Iterator[TickBatch]:
        """Give the trades of a block by symbol and id; ``ForeignFile`` names the first row that is bad."""
        columns, count = block.columns, len(block.columns["id"].cells)
        if block.unread:
            row, reason = block.unread[0]
            raise ForeignFile(f"row {row:,} {reason}", loc="file")
        faults = Faults(np.arange(block.first, block.first + count))
        ids = _whole(columns["id"], faults)
        at_ns, _ = times(columns["timestamp"], faults)
        faults.add(at_ns > now_ns + _DAY_NS, "timestamp", "lies in the future")
        values = {}
        for name in ("price", "size"):
            values[name] = numbers(columns[name], faults)
            faults.add(values[name] <= 0, name, "is not above zero")
            faults.add(values[name] > _LARGEST, name, "is too large")
        maker = _flags(columns["buyer_is_maker"], faults)
        place, names = self._whose(columns.get("symbol"), count, faults)
        parts = [(name, np.flatnonzero(place == at)) for at, name in enumerate(names)]
        for name, rows in parts:
            earlier = np.diff(at_ns[rows], prepend=last_ns.get(name, 0)) < 0
            faults.add(_at(rows[earlier], count), "timestamp", "is earlier than the row before")
            if rows.size:
                last_ns[name] = int(at_ns[rows[-1]])
            order = rows[np.argsort(ids[rows], kind="stable")]
            twice = np.diff(ids[order]) == 0
            faults.add(_at(order[1:][twice], count), "id", lambda row: f"{ids[row]} is there twice")
        if faults.total:
            fault = faults.listed()[0]
            more = f" ({faults.rows - 1:,} more rows are bad)" if faults.rows > 1 else ""
            raise ForeignFile(f"row {fault.row:,}, column {fault.column}: {fault.reason}{more}", loc="file")
        self.rows += count
        for name, rows in parts:
            if not rows.size:
                continue
            self.symbols[name] = self.symbols.get(name, 0) + rows.size
            order = rows[np.argsort(ids[rows], kind="stable")]
            yield TickBatch(
                Symbols([name]), np.zeros(order.size, np.int32), at_ns[order], np.full(order.size, now_ns), ids[order],
                values["price"][order], values["size"][order], maker[order], int(at_ns[order].max()),
            )  # fmt: skip

    def _whose(self, column: Column | None, count: int, faults: Faults) -> tuple[I8, list[str]]:
        """Return each row's place among the symbols, and those, in the order in which the file has them."""
        if column is None:
            name = self._asked or (upload_symbol(self._by_name) if self._by_name else "")
            if not name:
                raise InputError("say whose trades these are: the file has no column for it", loc="symbol")
            return np.zeros(count, np.int64), [name]
        place, words = texts(column, faults)
        names, wrong = list[str](), dict[int, str]()
        for at, word in enumerate(words):
            try:
                names.append(upload_symbol(word))
            except InputError as error:
                names.append("")
                wrong[at] = str(error)
            else:
                if self._asked and names[at] != self._asked:
                    wrong[at] = f"is {names[at]}, not {self._asked}"
        faults.add(np.isin(place, list(wrong)), column.name, lambda row: wrong[int(place[row])])
        known = list(dict.fromkeys(names))
        if len({*self.symbols, *known}) > _SYMBOLS:
            raise ForeignFile(f"it has more than {_SYMBOLS:,} symbols", loc="file", hint="send it in parts")
        codes = np.array([*(known.index(name) for name in names), -1], np.int64)
        return codes[place], known


def _whole(column: Column, faults: Faults) -> I8:
    """Return a column of ids; what is none becomes a fault."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, cells = column
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        text = pc.utf8_trim_whitespace(pc.fill_null(cells, ""))
        good = pc.match_substring_regex(text, "^[0-9]{1,18}$")
        cells = pc.cast(pc.if_else(good, text, None), pa.int64())
    elif not pa.types.is_integer(cells.type):
        raise ForeignFile(f"column {name} holds {cells.type}, no whole numbers", loc="file")
    found = np.asarray(pc.fill_null(pc.cast(cells, pa.int64(), safe=False), -1), np.int64)
    faults.add(found < 0, name, "is no id: a whole number from 0 on")
    return found


def _flags(column: Column, faults: Faults) -> B1:
    """Return a column of true and false; what is neither becomes a fault."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, cells = column
    if pa.types.is_string(cells.type):
        word = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(cells, "")))
        cells = pc.if_else(pc.is_in(word, pa.array(["true", "false"])), pc.equal(word, "true"), None)
    elif pa.types.is_null(cells.type):
        cells = pc.cast(cells, pa.bool_())
    elif not pa.types.is_boolean(cells.type):
        raise ForeignFile(f"column {name} holds {cells.type}, not true and false", loc="file")
    faults.add(_plain(pc.is_null(cells)), name, "is neither true nor false")
    return _plain(pc.fill_null(cells, fill_value=False))


def _plain(cells: Any) -> B1:
    return np.asarray(cells.to_numpy(zero_copy_only=False), np.bool_)


def _at(rows: Any, count: int) -> B1:
    found = np.zeros(count, np.bool_)
    found[rows] = True
    return found
