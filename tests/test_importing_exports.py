"""What an export wrote comes back: trades into an empty store make the same file and bars, in every format."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pairscope.config import Settings
from pairscope.errors import ForeignFile, InputError
from pairscope.feed.older_ticks import Shelf
from pairscope.feed.tick_import import import_ticks
from pairscope.importing import Asked, import_files
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.transfer import tick_columns
from pairscope.transfer.export import Export
from pairscope.transfer.export_format import Compression, Format, FormatName
from pairscope.transfer.export_source import BarSource, TickSource
from pairscope.transfer.tick_file import TickFile, is_tick_file
from pairscope.transfer.upload_reading import UploadAsked, read_upload
from pairscope.transfer.upload_unpacking import UploadLimits

DAY_MS = 1_723_075_200_000  # 2024-08-08
NOW_NS = (DAY_MS + 86_400_000) * 10**6
FOREVER_NS = 9_000_000_000_000_000_000
SYMBOLS = ("BTCUSDT", "1000PEPEUSDT")
PAGE = 700  # several pages, so several members, row groups and batches, and one with the end of one symbol and the next
FORMATS: list[tuple[FormatName, Compression]] = [
    ("csv", "none"), ("csv", "gzip"), ("csv", "zstd"), ("jsonl", "none"), ("jsonl", "gzip"), ("jsonl", "zstd"),
    ("parquet", "none"), ("parquet", "gzip"), ("parquet", "zstd"), ("arrow", "none"), ("arrow", "zstd"),
]  # fmt: skip
HEAD = "id,timestamp,price,size,buyer_is_maker\n"
ROW = "1,2024-08-08T00:00:00.250Z,61800.1,0.5,true\n"
NEXT = "2,2024-08-08T00:00:00.500Z,61800.2,0.5,false\n"


def clock() -> int:
    return NOW_NS


def trades(symbol: str, count: int = 1500) -> TickBatch:
    """Of an exchange: some of one time, one size that no short decimal names."""
    ids = np.arange(5, 5 + count, dtype=np.int64)
    at_ns = (DAY_MS + ids // 2 * 250) * 10**6
    price = np.round((61800.1 if symbol == "BTCUSDT" else 0.0123456) * (1 + np.sin(ids) / 1000), 7)
    size = np.where(ids % 100 == 0, 2 / 3, ids % 9 + 0.001)
    zeros = np.zeros(count, np.int32)
    return TickBatch(Symbols([symbol]), zeros, at_ns, at_ns, ids, price, size, ids % 3 == 0, int(at_ns.max()))


@asynccontextmanager
async def opened(path: Path) -> Any:
    store = await DuckDBStore.open(path, threads=1)
    try:
        yield store
    finally:
        await store.close()


async def exported(store: DuckDBStore, kind: Format, *, bars: str = "", symbols: Any = SYMBOLS, **more: Any) -> bytes:
    if bars:
        return b"".join(
            [p async for p in Export(BarSource(store, symbols, bars, 0, FOREVER_NS, **more), kind).pieces()]
        )
    source = TickSource(store, symbols, 0, FOREVER_NS, rows=PAGE, **more)
    return b"".join([piece async for piece in Export(source, kind).pieces()])


def shelf_of(store: DuckDBStore) -> Shelf:
    return Shelf(store, store, lambda _bars: None)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, bytes]:
    """Exports of one store by format, and of its minutes as ``"1m"``."""

    async def write() -> dict[Any, bytes]:
        async with opened(tmp_path_factory.mktemp("from") / "s.duckdb") as store:
            for symbol in SYMBOLS:
                closed = [bars_of(trades(symbol), timeframe).take(slice(-1)) for timeframe in ("1s", "1m")]
                await store.append(trades(symbol), closed)
            found: dict[Any, bytes] = {each: await exported(store, Format(*each)) for each in FORMATS}
            found["1m"] = await exported(store, Format("csv"), bars="1m")
            found["all"] = await exported(store, Format("csv"), symbols=SYMBOLS[:1], everything=True)
            for each in FORMATS:
                found["alone", *each] = await exported(store, Format(*each), symbols=SYMBOLS[:1])
                found["bars", *each] = await exported(store, Format(*each), bars="1m", everything=True)
            return found

    return asyncio.run(write())


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_columns, "BLOCK", 40_000)
    monkeypatch.setattr(tick_columns, "ROWS", 600)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", FORMATS[1::3], ids="-".join)  # each format once
async def test_trades_come_back_to_the_last_byte_and_so_do_their_bars(
    files: dict[Any, bytes], kind: Any, tmp_path: Path
) -> None:
    path = tmp_path / "anything"
    path.write_bytes(files[kind])
    assert is_tick_file(path, path.name)
    async with opened(tmp_path / "s.duckdb") as store:
        found = await import_ticks(TickFile(path), shelf_of(store), clock=clock)
        assert (found["stored"], found["repeats"], found["symbol"]) == (3000, 0, "BTCUSDT,1000PEPEUSDT")
        assert await exported(store, Format(*kind)) == files[kind]
        assert await exported(store, Format("csv"), bars="1m") == files["1m"]
        if kind[0] == "csv":
            again = await import_ticks(TickFile(path), shelf_of(store), clock=clock)
            assert (again["stored"], again["repeats"], again["bars"]) == (0, 3000, 0)


@pytest.mark.usefixtures("small_blocks")
async def test_every_packing_of_every_format_comes_back(files: dict[Any, bytes], tmp_path: Path) -> None:
    path = tmp_path / "anything"
    async with opened(tmp_path / "s.duckdb") as store:
        for number, kind in enumerate(FORMATS):  # each as a symbol of its own
            path.write_bytes(files["alone", *kind])
            whose = f"COPY{number}"
            await import_ticks(TickFile(path, symbol=whose), shelf_of(store), clock=clock)
            assert await exported(store, Format(*kind), symbols=[whose]) == files["alone", *kind], kind


class Command:
    """A data directory, and what the command says."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder / "data", _env_file=None)  # type: ignore[call-arg]
        self.folder = folder
        self.told: list[str] = []

    def run(self, name: str, content: bytes, **asked: Any) -> int:
        (self.folder / name).write_bytes(content)
        self.told = []
        asked_for = Asked([self.folder / name], **asked)
        return import_files(self.settings, asked_for, say=self.told.append, show=self.told.append)

    def held(self) -> dict[str, int]:
        """How many ids are stored of each symbol, and bars that were brought."""

        async def read() -> dict[str, int]:
            async with opened(self.settings.data_dir / "pairscope.duckdb") as store:
                ids = {span.symbol: span.to_id - span.from_id + 1 for span in await store.held()}
                return {**ids, **{f"{u.symbol} {u.timeframe}": u.rows for u in await store.uploaded()}}

        return asyncio.run(read())


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    return Command(tmp_path)  # type: ignore[return-value]


def test_the_name_of_an_export_says_whose_trades_they_are_and_when_their_last_minute_was_over(
    files: dict[Any, bytes], command: Command
) -> None:
    name = "BTCUSDT_tick_20240808T000000Z_20240808T000400Z.csv.gz"
    assert command.run("trades.csv", files["all"], dry_run=True) == 1
    assert "trades.csv: say whose trades these are" in command.told[-1] and "\n" not in command.told[-1]
    assert command.run(name, gzip.compress(files["all"]), dry_run=True) == 0
    assert command.told[-1] == f"{name}: 1,500 lines of BTCUSDT, whole and readable"
    assert command.held() == {}
    assert command.run(name, gzip.compress(files["all"])) == 0
    assert command.run("trades.csv", files["all"], symbol="mycoin") == 0
    assert command.held() == {"BTCUSDT": 1500, "MYCOIN": 1500}

    async def minutes() -> list[int]:
        async with opened(command.settings.data_dir / "pairscope.duckdb") as store:
            return [len(await store.bars(symbol, "1m", 0, NOW_NS, limit=9)) for symbol in ("BTCUSDT", "MYCOIN")]

    assert asyncio.run(minutes()) == [4, 4]


@pytest.mark.parametrize("kind", FORMATS, ids="-".join)
def test_bars_of_several_symbols_are_read_as_they_were(files: dict[Any, bytes], kind: Any) -> None:
    name = "BTCUSDT-1000PEPEUSDT_1m_to_20240809T000000Z"
    reading = read_upload(files["bars", *kind], UploadAsked(filename=name), now_ns=NOW_NS, limits=UploadLimits())
    assert (reading.fault_count, reading.symbols) == (0, ("1000PEPEUSDT", "BTCUSDT"))
    for symbol in SYMBOLS:
        made, read = bars_of(trades(symbol), "1m").take(slice(-1)), reading.bars.of_symbol(symbol)
        for column in ("ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume"):
            assert np.array_equal(getattr(made, column), getattr(read, column)), column


def test_bars_of_an_arrow_stream_are_stored_and_those_that_were_brought_come_back_too(
    files: dict[Any, bytes], command: Command
) -> None:
    assert command.run("bars.arrows", files["bars", "arrow", "zstd"]) == 0
    assert ": 6 new, 0 changed" in command.told[-1]
    assert command.held() == {"1000PEPEUSDT 1m": 3, "BTCUSDT 1m": 3}
    told = (
        b"timestamp,open,high,low,close,volume,trades,quote_volume,buy_volume\n2024-08-08T00:00:00.000Z,1,2,1,2,9,0,,\n"
    )
    assert command.run("MYCOIN_4h.csv", told) == 0
    assert command.held()["MYCOIN 4h"] == 1


def parquet(**cells: Any) -> bytes:
    row = {"id": [1], "timestamp": [DAY_MS], "price": [5.0], "size": [1.0], "buyer_is_maker": [True]} | cells
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table(row), sink)
    return bytes(sink.getvalue().to_pybytes())


def an_arrow_stream(rows: int = 10, packing: str | None = None) -> bytes:
    sink, ids = pa.BufferOutputStream(), np.arange(rows)
    table = pa.table(
        {"id": ids, "timestamp": DAY_MS + ids, "price": ids + 1.0, "size": ids + 1.0, "buyer_is_maker": ids > 5}
    )
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=packing)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def swollen() -> bytes:
    """A packed stream whose first buffer says that it unpacks to a terabyte."""
    whole = an_arrow_stream(4000, "zstd")
    true = (4000 * 8).to_bytes(8, "little")
    assert true in whole
    return whole.replace(true, (1 << 40).to_bytes(8, "little"), 1)


JSON = '{"id":1,"timestamp":1723075200000,"price":5.5,"size":1,"buyer_is_maker":true}\n'
BAD = {
    "no number": (HEAD + ROW + NEXT.replace("61800.2", "abc"), "row 2, column price: 'abc' is no number"),
    "no price": (HEAD + ROW.replace("61800.1", ""), "row 1, column price: is missing"),
    "zero": (HEAD + ROW.replace("0.5", "0"), "row 1, column size: is not above zero"),
    "NaN": (HEAD + ROW + NEXT.replace(",0.5,", ",nan,"), "row 2, column size: is NaN"),
    "no id": (HEAD + ROW.replace("1,", "1.5,", 1), "row 1, column id: is no id"),
    "a negative id": (HEAD + ROW.replace("1,", "-1,", 1), "row 1, column id: is no id"),
    "twice": (HEAD + ROW + NEXT + NEXT, "row 3, column id: 2 is there twice"),
    "backwards": (HEAD + NEXT + ROW, "row 2, column timestamp: is earlier than the row before"),
    "no time": (HEAD + ROW.replace("T", " at "), "row 1, column timestamp: '2024-08-08 at 00:00:00.250Z' is no time"),
    "the future": (HEAD + ROW.replace("2024", "2027"), "row 1, column timestamp: lies in the future"),
    "no flag": (HEAD + ROW.replace("true", "maybe"), "row 1, column buyer_is_maker: is neither true nor false"),
    "cells": (HEAD + ROW + "3,4\n", "row 2 has 2 cells, not 5"),
    "no UTF-8": (HEAD.encode() + ROW.encode() + b"\xff" + NEXT.encode(), "row 2"),
    "a column lacks": (HEAD.replace("buyer_is_maker", "maker") + ROW, "there is no column buyer_is_maker"),
    "no rows": (HEAD, "the file has no rows"),
    "no symbol": ("symbol," + HEAD + "," + ROW, "row 1, column symbol: is missing"),
    "another symbol": ("symbol," + HEAD + "ETHUSDT," + ROW, "row 1, column symbol: is ETHUSDT, not BTCUSDT"),
    "no JSON": (JSON + JSON.replace('"size":1', '"size":'), "row 2 is no JSON object"),
    "null": (JSON + JSON.replace("5.5", "null"), "row 2, column price: is missing"),
    "a word": (JSON.replace("5.5", '"x"'), "row 1, column price: 'x' is no number"),
    "gzip that ends": (gzip.compress((HEAD + ROW).encode())[:-3], "cannot be unpacked"),
    "null in Parquet": (parquet(id=pa.array([None], pa.int64())), "row 1, column id: is no id"),
    "Parquet that ends": (parquet()[:-9], "the Parquet file cannot be read"),
    "text in Parquet": (parquet(buyer_is_maker=[1.0]), "column buyer_is_maker holds double"),
    "Arrow that ends": (an_arrow_stream()[:-8], "the Arrow stream cannot be read: it ends too early"),
    "Arrow that swells": (swollen(), "has a batch of 4,000 rows and 1,0"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_by_row_and_column_before_anything_is_stored(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "BTCUSDT_tick.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert is_tick_file(path, path.name)
    with pytest.raises(ForeignFile) as refused:
        list(TickFile(path, symbol="BTCUSDT").batches(now_ns=NOW_NS))
    assert said in str(refused.value) and "\n" not in refused.value.line()


async def test_nothing_goes_in_of_a_file_that_is_bad_at_its_end_or_contradicts_what_is_stored(
    files: dict[Any, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick_columns, "BLOCK", 40_000)
    path, good = tmp_path / "t.csv", files["csv", "none"]
    async with opened(tmp_path / "s.duckdb") as store:
        await store.append(concat_ticks([trades("1000PEPEUSDT", 900)]))
        begun = (await store.stats()).ticks
        line = next(each for each in good.splitlines() if each.startswith(b"1000PEPEUSDT,601,"))
        other = good.replace(line, line.replace(b",0.0", b",7.0"))
        for content, said in (
            (good + b"BTCUSDT,7000,x\n", "row 3,001 has 3 cells"),
            (other, "trade 601 of 1000PEPEUSDT, column price: 7.0"),
            (good.replace(b"2024-08-08", b"2024-08-07"), "are stored with other times"),
        ):
            path.write_bytes(content)
            with pytest.raises(InputError, match=said):
                await import_ticks(TickFile(path), shelf_of(store), clock=clock)
            assert (await store.stats()).ticks == begun
        path.write_bytes(good)
        found = await import_ticks(TickFile(path), shelf_of(store), clock=clock)
        assert (found["stored"], found["repeats"]) == (2100, 900)


async def test_what_broke_off_goes_on_where_it_is_read_again(
    files: dict[Any, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick_columns, "BLOCK", 40_000)
    path = tmp_path / "t.csv"
    path.write_bytes(files["csv", "none"])

    def stop(done: int, _: int) -> None:
        if done > 1000:
            raise asyncio.CancelledError

    async with opened(tmp_path / "s.duckdb") as store:
        with pytest.raises(asyncio.CancelledError):
            await import_ticks(TickFile(path), shelf_of(store), clock=clock, progress=stop)
        begun = (await store.stats()).ticks
        assert 1000 < begun < 3000
        assert await shelf_of(store).finish() == 1, "the bars to be made are remembered"
        found = await import_ticks(TickFile(path), shelf_of(store), clock=clock)
        assert (found["stored"], found["repeats"]) == (3000 - begun, begun)
        assert await exported(store, Format()) == path.read_bytes()
        assert await exported(store, Format("csv"), bars="1m") == files["1m"]


def test_other_tables_are_none_of_ours(tmp_path: Path) -> None:
    for name, content in (
        ("bars.csv", b"timestamp,open,high,low,close,volume\n"),
        ("x.json", b"[1]"),
        ("BTCUSDT_1m.csv", b""),
        ("BTCUSDT-aggTrades-2024-08-08.csv", b"agg_trade_id,price,quantity\n"),
    ):
        (tmp_path / name).write_bytes(content)
        assert not is_tick_file(tmp_path / name, name)
