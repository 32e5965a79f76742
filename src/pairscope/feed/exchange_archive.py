"""The exchange's public archive files as batches: aggregate trades and klines, a zip of one CSV or the bare CSV.

What is read: ``aggTrades`` and ``klines`` of daily and monthly files, with and without a header, times in any unit.
Refused with a hint: raw ``trades`` (their ids are another numbering), books, mark and index prices, funding.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np

from pairscope.errors import ForeignFile
from pairscope.feed.archive_names import ArchiveName, is_exchange_name, named
from pairscope.feed.archive_rows import BARS, TRADES, Layout, Rejected, RowReader, Rows, layout_of, times_ns
from pairscope.market.bars import BarBatch, Origin, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, TickBatch

__all__ = ["ExchangeFile", "FileReport"]

BLOCK: Final = 6 << 20
"""Bytes of CSV that are read at once: about 100,000 trades."""
LONGEST_LINE: Final = 64 << 10
MOST_BYTES: Final = 32 << 30
"""A file may unpack to no more; the largest month of the busiest symbol is about 4 GB."""
MOST_RATIO: Final = 200
"""Times that a file may grow by unpacking, once it is larger than ``RATIO_FROM``; real ones grow about eight times."""
RATIO_FROM: Final = 64 << 20
EXAMPLES: Final = 100
MOST_BAD: Final = 1000
"""Rows that may be bad at the beginning of a file before it is given up."""
SPOT_WIDTH: Final = 8
LARGEST: Final = 1e12
OLDEST_NS: Final = 1_483_228_800 * 10**9
"""2017: no trade of this exchange is older."""
_DAY_NS: Final = 86_400 * 10**9


@dataclass(slots=True)
class FileReport:
    """What was found in a file; ``reasons`` counts rows that were left out, ``examples`` shows the first of them."""

    name: str
    symbol: str
    kind: str = ""
    timeframe: str = ""
    rows: int = 0
    rejected: int = 0
    void: int = 0
    empty: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    first_ns: int = 0
    last_ns: int = 0

    def reject(self, rows: Sequence[Rejected]) -> None:
        """Count rows that cannot be used."""
        self.rejected += len(rows)
        self.reasons.update(row.column or "columns" for row in rows)
        self.examples += rows[: max(0, EXAMPLES - len(self.examples))]

    def saw(self, times: Any) -> None:
        """Take note of the times of rows."""
        low, high = int(times.min()), int(times.max())
        self.first_ns = low if not self.first_ns else min(self.first_ns, low)
        self.last_ns = max(self.last_ns, high)


class _Head(NamedTuple):
    """How a file begins: its layout, where the columns are, and the bytes and lines before its first row."""

    layout: Layout
    places: dict[str, int]
    width: int
    bytes: int
    lines: int


class ExchangeFile:
    """One file of the archive. ``check`` reads it whole and finds what is broken, then ``batches`` gives its rows.

    No name from inside of a zip is ever used as a path. Memory is that of a block, whatever the file's size.
    """

    def __init__(self, path: Path, *, name: str | None = None, symbol: str | None = None) -> None:
        self.path = path
        self.named = named(name or path.name, symbol=symbol)
        self._renamed = symbol is not None
        self.report = FileReport(name or path.name, self.named.symbol)
        self.lines = 0
        self._head: _Head | None = None

    def check(self, progress: Callable[[int], None] = lambda _bytes: None) -> None:
        """Read the whole file once: its checksum where there is one beside it, the zip's, sizes and first line.

        ``ForeignFile`` says what is wrong; nothing has been given out by then.
        """
        self._head = self._examined(progress)

    def batches(self, symbols: Symbols, *, ts_recv_ns: int) -> Iterator[TickBatch | BarBatch]:
        """Give the rows a block at a time, in the file's order, each block by id or time and each key once.

        Trades without size or price are void: their ids are no hole. Bars without a trade are left out, as the
        unfinished are. ``report`` tells of every other row that is left out.
        """
        head = self._head or self._examined(lambda _bytes: None)
        reader = RowReader(head.layout, head.places, head.width)
        make = self._ticks if head.layout is TRADES else self._bars
        row = head.lines + 1
        for block in self._blocks(head.bytes):
            rows = reader.read(block, row)
            row += block.count(b"\n")
            self.report.rows += len(rows) + len(rows.rejected)
            self.report.reject(rows.rejected)
            if self.report.rejected > MOST_BAD and self.report.rejected == self.report.rows:
                raise self._foreign("has no row that can be read", self.report.examples[0].reason)
            if len(rows):
                if not self.report.last_ns:
                    self._of_its_time(rows)
                yield make(rows, symbols, ts_recv_ns)

    def _examined(self, progress: Callable[[int], None]) -> _Head:
        self._checksum()
        start, total = b"", 0
        with self._stream() as stream:
            while block := stream.read(1 << 20):
                if len(start) < LONGEST_LINE:
                    start += block[: LONGEST_LINE - len(start)]
                if b"\0" in block:
                    raise self._foreign("is no text", "expected is CSV in UTF-8, or a zip of it")
                total += len(block)
                if total > MOST_BYTES:
                    raise self._foreign(f"has more than {MOST_BYTES:,} bytes")
                self.lines += block.count(b"\n")
                progress(total)
        text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
        first, ends, _ = text.partition(b"\n")
        if not first.strip():
            raise self._foreign("is empty")
        kind, timeframe = self.named.kind, self.named.timeframe
        layouts = [layout for layout in (TRADES, BARS) if kind in {None, layout.kind}]
        layout, header, places, width = layout_of(first, layouts)
        if layout.kind == "bars" and not timeframe:
            raise self._foreign(
                "does not say its timeframe", "keep the exchange's name, like BTCUSDT-1m-2024-08-08.zip"
            )
        if layout is TRADES and width == SPOT_WIDTH:
            self.report.notes.append("its rows have eight columns, as those of the exchange's spot market have")
        self.report.kind, self.report.timeframe = layout.kind, timeframe
        before = len(start) - len(text) + (len(first) + len(ends) if header else 0)
        lines = start[:before].count(b"\n")
        self.lines = max(1, self.lines - lines)
        return _Head(layout, places, width, before, lines)

    def _of_its_time(self, rows: Rows) -> None:
        """Take note of a name that tells of a day or month in which none of the first rows lies."""
        start_ns, end_ns = self.named.start_ns, self.named.end_ns
        at_ns = times_ns(rows.columns["time"])
        if end_ns and not ((at_ns >= start_ns) & (at_ns < end_ns)).any():
            self.report.notes.append("its rows are of another time than its name says")

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _ticks(self, rows: Rows, symbols: Symbols, ts_recv_ns: int) -> TickBatch:
        """Return a block of trades by id."""
        c = rows.columns
        at_ns = times_ns(c["time"])
        price, size = c["price"], c["size"]
        finite = np.isfinite(price) & np.isfinite(size) & (price < LARGEST) & (size < LARGEST)
        known = self._unless(rows, c["id"] >= 0, "id", "a negative id")
        known &= self._unless(
            rows,
            known & (at_ns >= OLDEST_NS) & (at_ns < ts_recv_ns + _DAY_NS),
            "time",
            "a time that cannot be",
            among=known,
        )
        known &= self._unless(rows, finite, "price", "a price or size that is no number of this market", among=known)
        void = known & ((price <= 0) | (size <= 0))
        self._unless(rows, ~void, "size", "no size or no price: its id counts, and nothing else", among=known)
        self.report.void += int(np.count_nonzero(void))
        good = np.flatnonzero(known & ~void)
        _, once = np.unique(c["id"][good], return_index=True)
        keep = good[once]
        symbol_id = symbols.id_of(self.named.symbol)
        if keep.size:
            self.report.saw(at_ns[keep])
        return TickBatch(
            symbols,
            np.full(keep.size, symbol_id, np.int32),
            at_ns[keep],
            np.full(keep.size, ts_recv_ns, np.int64),
            c["id"][keep],
            price[keep],
            size[keep],
            c["maker"][keep],
            int(at_ns[keep].max(initial=0)),
            tuple((symbol_id, number) for number in c["id"][void].tolist()),
        )

    def _bars(self, rows: Rows, symbols: Symbols, ts_recv_ns: int) -> BarBatch:
        """Return a block of bars by time."""
        c, timeframe = rows.columns, self.named.timeframe
        at_ns, length = times_ns(c["time"]), timeframe_ns(timeframe)
        traded = (c["count"] > 0) & (c["volume"] != 0)
        if not self.report.last_ns and not traded.any() and (c["count"] > 0).any():
            raise self._foreign("has no volume in any row", "mark, index and premium prices are no trades")
        self.report.empty += int(np.count_nonzero(~traded))
        prices = np.stack([c[name] for name in ("open", "high", "low", "close")])
        sums = np.stack([c[name] for name in ("volume", "quote_volume", "buy_volume")])
        sane = np.isfinite(prices).all(axis=0) & np.isfinite(sums).all(axis=0) & (sums >= 0).all(axis=0)
        sane &= (
            (c["low"] > 0)
            & (c["low"] <= prices.min(axis=0))
            & (c["high"] >= prices.max(axis=0))
            & (c["high"] < LARGEST)
        )
        good = traded & self._unless(
            rows, at_ns % length == 0, "time", f"no time at which a {timeframe} bar opens", among=traded
        )
        ended = (at_ns >= OLDEST_NS) & (at_ns + length <= ts_recv_ns)
        good &= self._unless(rows, ended, "time", "a time that cannot be, or a bar that has not ended", among=good)
        good &= self._unless(rows, sane, "open", "prices or volumes that contradict each other", among=good)
        places = np.flatnonzero(good)[::-1]
        _, last = np.unique(at_ns[places], return_index=True)
        keep = places[last]
        if keep.size:
            self.report.saw(at_ns[keep])
        n = keep.size
        none = np.full(n, -1, np.int64)
        origin = Origin.EXCHANGE if timeframe in {"1s", "1m"} else Origin.UPLOAD
        return BarBatch(
            symbols,
            timeframe,
            np.full(n, symbols.id_of(self.named.symbol), np.int32),
            at_ns[keep],
            c["open"][keep],
            c["high"][keep],
            c["low"][keep],
            c["close"][keep],
            c["volume"][keep],
            c["quote_volume"][keep],
            c["buy_volume"][keep],
            np.zeros(n, np.int64),
            none,
            none.copy(),
            np.zeros(n, np.int32),
            np.full(n, int(origin), np.int8),
        )

    def _unless(self, rows: Rows, good: B1, column: str, reason: str, *, among: B1 | None = None) -> B1:
        """Reject the rows that are not good, among those that still were; return ``good``."""
        bad = ~good if among is None else among & ~good
        places = np.flatnonzero(bad)
        if places.size:
            self.report.reject([Rejected(number, column, reason) for number in rows.row[places].tolist()])
        return good

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _blocks(self, skip: int) -> Iterator[bytes]:
        """Give the file's text behind its first bytes in blocks of whole lines."""
        with self._stream() as stream:
            stream.read(skip)
            rest, more = b"", stream.read(BLOCK)
            while more:
                following = stream.read(BLOCK)
                cut = more.rfind(b"\n") + 1 if following else len(more)
                if cut:
                    yield rest + more[:cut]
                rest = more[cut:] if cut else rest + more
                if len(rest) > BLOCK + LONGEST_LINE:
                    raise self._foreign("has a line without an end")
                more = following

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        """Open the text, which may be in a zip; what is broken in there becomes ``ForeignFile``."""
        try:
            with self.path.open("rb") as file:
                if not file.read(4).startswith(b"PK"):
                    file.seek(0)
                    yield file
                    return
            with zipfile.ZipFile(self.path) as packed, packed.open(self._only(packed)) as stream:
                yield stream
        except zipfile.BadZipFile as error:
            raise self._foreign(f"is broken or ends too early ({error})", "fetch it again") from error
        except (zlib.error, EOFError, RuntimeError) as error:
            if isinstance(error, ForeignFile):
                raise
            raise self._foreign(f"cannot be unpacked ({error})", "fetch it again") from error
        except OSError as error:
            raise self._foreign(f"cannot be read ({error.strerror or error})") from error

    def _only(self, packed: zipfile.ZipFile) -> zipfile.ZipInfo:
        """Return the one file of a zip, if it may be unpacked."""
        inside = [entry for entry in packed.infolist() if not entry.is_dir()]
        if len(inside) != 1:
            raise self._foreign(f"holds {len(inside)} files", "the exchange's have one; unpack others first")
        entry = inside[0]
        if entry.flag_bits & 1:
            raise self._foreign("is locked by a password")
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise self._foreign("is packed in a way that the exchange does not use")
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > MOST_BYTES or (entry.file_size > RATIO_FROM and ratio > MOST_RATIO):
            raise self._foreign(f"would unpack to {entry.file_size:,} bytes, {ratio:,.0f} times its size")
        if not self._renamed and is_exchange_name(entry.filename) and not self._alike(named(entry.filename)):
            raise self._foreign(
                f"holds {Path(entry.filename).name[:80]}, which is another",
                "keep the exchange's name, or say the symbol",
            )
        return entry

    def _alike(self, inside: ArchiveName) -> bool:
        """Tell whether a name inside says the same as the file's own of whose rows and which."""
        outside = self.named
        return (inside.symbol, inside.kind, inside.timeframe) == (outside.symbol, outside.kind, outside.timeframe)

    def _checksum(self) -> None:
        """Compare the file with the checksum that lies beside it, where one does."""
        beside = self.path.with_name(f"{self.path.name}.CHECKSUM")
        if not beside.is_file():
            return
        said = beside.read_bytes()[:64].decode("ascii", "replace").lower()
        with self.path.open("rb") as file:
            has = hashlib.file_digest(file, "sha256").hexdigest()
        if said != has:
            raise self._foreign(f"is not what {beside.name} says", "fetch both again")

    def _foreign(self, what: str, hint: str = "") -> ForeignFile:
        return ForeignFile(f"{Path(self.report.name).name[:80]} {what}", loc="file", hint=hint)
