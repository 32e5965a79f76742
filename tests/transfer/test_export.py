"""A file is the same bytes every time, can be taken up at any byte, and comes back equal through what people read."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.api.market import MS, START_MS, Sent, trades_of

from pairscope.analytics.pair_report import pair_report, pair_rows
from pairscope.errors import InputError
from pairscope.market.align import common_bars
from pairscope.market.bars import Origin, bars_of
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.transfer.export import Export, Layout
from pairscope.transfer.export_format import Format
from pairscope.transfer.export_pair import PairSource
from pairscope.transfer.export_source import BarSource, TickSource

FOREVER = 1 << 62
SYMBOLS = ["BTCUSDT", "PEPEUSDT", "币安人生USDT"]
FORMATS = [
    Format("csv"), Format("csv", "gzip"), Format("csv", "zstd"), Format("jsonl"), Format("jsonl", "zstd"),
    Format("parquet"), Format("parquet", "zstd"), Format("arrow"), Format("arrow", "zstd"),
]  # fmt: skip


@dataclass(frozen=True)
class Market:
    """A store, and what an exchange has sent into it."""

    store: DuckDBStore
    sent: dict[str, list[Sent]]

    async def take(self, symbol: str, trades: Sequence[Sent]) -> None:
        """Store trades with the bars that they make."""
        times = np.array([t.timestamp * MS for t in trades], np.int64)
        batch = TickBatch(
            Symbols([symbol]), np.zeros(len(trades), np.int32), times, times, np.array([t.id for t in trades]),
            np.array([float(t.price) for t in trades]), np.array([float(t.size) for t in trades]),
            np.array([t.buyer_is_maker for t in trades]), int(times.max()) + 120_000 * MS,
        )  # fmt: skip
        await self.store.append(batch, [bars_of(batch, "1s"), bars_of(batch, "1m")])


async def opened(folder: Path) -> Market:
    """Two hours of a dear symbol, of one whose prices need eight decimals, and of one that hardly trades."""
    sent = {
        "BTCUSDT": trades_of(1, mean_gap_ms=3000, price="65000.1", step="0.1", lot="0.001", most=2000)[:2500],
        "PEPEUSDT": trades_of(2, mean_gap_ms=4000, price="0.00001234", step="0.00000001", lot="1", most=9_000_000)[
            :1500
        ],
        "币安人生USDT": trades_of(3, mean_gap_ms=300_000, price="0.0831", step="0.0001", lot="1", most=500)[:20],
    }
    market = Market(await DuckDBStore.open(folder / "market.duckdb", threads=1), sent)
    for symbol, trades in sent.items():
        await market.take(symbol, trades)
    return market


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A market that nobody may change."""
    market = asyncio.run(opened(tmp_path_factory.mktemp("market")))
    yield market
    asyncio.run(market.store.close())


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Market]:
    """A market of one's own."""
    market = await opened(tmp_path)
    yield market
    await market.store.close()


def ticks(market: Market, *symbols: str, rows: int = 600, **more: Any) -> TickSource:
    return TickSource(market.store, symbols or SYMBOLS, 0, FOREVER, rows=rows, **more)


async def whole(export: Export, layout: Layout | None = None, start: int = 0) -> bytes:
    async with aclosing(export.pieces(layout, start=start)) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name}-{form.compression}")
async def test_a_file_can_be_taken_up_at_any_byte(played: Market, form: Format) -> None:
    export, layout = Export(ticks(played, *SYMBOLS[1:]), form), Layout()
    file = await whole(export, layout)
    assert layout.length == len(file)
    assert await whole(export) == file
    for start in (1, len(file) // 3, len(file)):
        assert await whole(export, layout, start) == file[start:]
    begun = Layout(offsets=layout.offsets[:3])
    assert await export.measure(begun) == len(file)


async def test_pages_of_any_size_make_the_same_text(played: Market) -> None:
    files = [await whole(Export(ticks(played, rows=rows), Format("csv"))) for rows in (700, 100_000)]
    assert files[0] == files[1]


async def test_trades_come_back_equal_to_the_last_digit(played: Market, tmp_path: Path) -> None:
    sent = played.sent["PEPEUSDT"]
    ids = [t.id for t in sent]
    prices, sizes = ([float(getattr(t, name)) for t in sent] for name in ("price", "size"))
    times = [t.timestamp for t in sent]
    for form in FORMATS:
        path = tmp_path / f"trades{form.ending}"
        path.write_bytes(await whole(Export(ticks(played, "PEPEUSDT"), form)))
        for name, table in read_by_everybody(path, form):
            told = (table["id"].tolist(), table["price"].tolist(), table["size"].tolist(), table["ms"].tolist())
            assert told == (ids, prices, sizes, times), (form, name)
            assert table["buyer_is_maker"].tolist() == [t.buyer_is_maker for t in sent], (form, name)
    text = (tmp_path / "trades.csv").read_text().splitlines()[1:]
    assert [Decimal(line.split(",")[2]) for line in text] == [t.price for t in sent]


def read_by_everybody(path: Path, form: Format) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each reader's table with its times as milliseconds, read as people would who know nothing of us."""
    read: dict[str, Any] = {}
    if form.name == "csv":
        text = {"none": path.read_bytes, "gzip": lambda: gzip.decompress(path.read_bytes())}.get(form.compression)
        if text is not None:
            read["pandas"] = pd.read_csv(path, parse_dates=["timestamp"])
        read["polars"] = pl.read_csv(path, try_parse_dates=True).to_pandas()
    elif form.name == "jsonl":
        if form.compression == "none":
            read["pandas"] = pd.read_json(path, lines=True, dtype=False, precise_float=True)
        read["polars"] = pl.read_ndjson(path).to_pandas()
    elif form.name == "parquet":
        read["pandas"], read["polars"] = pd.read_parquet(path), pl.read_parquet(path).to_pandas()
    else:
        read["pyarrow"] = pa.ipc.open_stream(path.read_bytes()).read_all().to_pandas()
        read["polars"] = pl.read_ipc_stream(path).to_pandas()
    if form.name != "arrow":
        read["duckdb"] = duckdb.sql(f"SELECT * FROM '{path}'").arrow().read_all().to_pandas()
    for name, table in read.items():
        times = table["timestamp"]
        if times.dtype.kind != "i":
            times = pd.to_datetime(times, utc=True).dt.as_unit("ms").astype("int64")
        yield name, table.assign(ms=times)


async def test_bars_of_several_symbols_stand_in_one_file_symbol_by_symbol(played: Market) -> None:
    source = BarSource(played.store, SYMBOLS, "5m", 0, FOREVER, rows=50)
    table = pa.ipc.open_stream(await whole(Export(source, Format("arrow")))).read_all()
    assert table.column_names == ["symbol", "timestamp", "open", "high", "low", "close", "volume", "trades"]
    assert table["timestamp"].type == pa.timestamp("ms", tz="UTC")
    for symbol in SYMBOLS:
        bars = await played.store.bars(symbol, "5m", 0, FOREVER, limit=10_000)
        mine = table.filter(pa.compute.equal(table["symbol"], symbol))
        assert mine["close"].to_pylist() == bars.close.tolist()
        assert mine["volume"].to_pylist() == bars.volume.tolist()
        assert mine["timestamp"].cast(pa.int64()).to_pylist() == (bars.ts_open_ns // MS).tolist()
    assert table["symbol"].to_pylist() == sorted(table["symbol"].to_pylist(), key=SYMBOLS.index)


async def test_row_groups_of_parquet_have_a_bounded_size(played: Market) -> None:
    file = pq.ParquetFile(io.BytesIO(await whole(Export(ticks(played), Format("parquet")))))
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert set(sizes[:-1]) == {600}
    assert 0 < sizes[-1] <= 600


@pytest.mark.parametrize("form", [Format("csv"), Format("jsonl"), Format("parquet"), Format("arrow")])
async def test_nothing_stored_is_a_file_that_can_be_read(played: Market, form: Format) -> None:
    file = await whole(Export(TickSource(played.store, ["BTCUSDT"], 0, 1), form))
    if form.name == "csv":
        assert file == b"id,timestamp,price,size,buyer_is_maker\n"
    elif form.name == "jsonl":
        assert file == b""
    elif form.name == "parquet":
        assert pq.read_table(io.BytesIO(file)).num_rows == 0
    else:
        assert pa.ipc.open_stream(file).read_all().num_rows == 0


async def test_a_fingerprint_changes_when_a_hole_is_filled_and_not_when_the_market_goes_on(fresh: Market) -> None:
    last = fresh.sent["BTCUSDT"][-1]
    later = [replace(last, id=last.id + k, timestamp=last.timestamp + 60_000 + k) for k in range(1, 9)]
    await fresh.take("BTCUSDT", [t for t in later if t.id not in (last.id + 3, last.id + 4)])
    past = TickSource(fresh.store, ["BTCUSDT"], 0, (last.timestamp - 60_000) * MS)
    ever = ticks(fresh, "BTCUSDT")
    before = await past.fingerprint(), await ever.fingerprint()
    assert (await ticks(fresh, "BTCUSDT").size()).rows == len(await rows_of(fresh))
    await fresh.take("BTCUSDT", [later[2]])
    after = await past.fingerprint(), await ticks(fresh, "BTCUSDT").fingerprint()
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert (await ticks(fresh, "BTCUSDT").size()).rows == len(await rows_of(fresh))


async def rows_of(market: Market) -> list[str]:
    return (await whole(Export(ticks(market, "BTCUSDT"), Format("csv")))).decode().splitlines()[1:]


async def test_a_fingerprint_of_bars_changes_when_one_of_them_does(fresh: Market) -> None:
    day = await fresh.store.bars("PEPEUSDT", "1m", 0, FOREVER, limit=3)
    early = replace(
        day, ts_open_ns=day.ts_open_ns - 86_400_000 * MS, first_id=day.first_id * 0 - 1, last_id=day.last_id * 0 - 1,
        origin=np.full(3, Origin.UPLOAD, np.int8),
    )  # fmt: skip
    told = []
    for bars in (None, early, replace(early, close=early.close * 1.5, high=early.high * 2)):
        if bars is not None:
            assert await fresh.store.put_bars(bars)
        told.append(await BarSource(fresh.store, ["PEPEUSDT"], "1m", 0, FOREVER).fingerprint())
    assert len(set(told)) == 3


async def test_rows_that_come_while_a_file_is_written_wait_for_the_next_one(fresh: Market) -> None:
    export = Export(ticks(fresh, "PEPEUSDT", rows=500), Format("csv"))
    await export.source.fingerprint()
    last = fresh.sent["PEPEUSDT"][-1]
    lines = 0
    async with aclosing(export.pieces()) as pieces:
        async for piece in pieces:
            if not lines:
                later = replace(last, id=last.id + 1, timestamp=last.timestamp + 60_000)
                await fresh.take("PEPEUSDT", [later])
            lines += piece.count(b"\n")
    assert lines == 1 + len(fresh.sent["PEPEUSDT"])


async def test_an_estimate_of_many_rows_is_near_and_of_few_exact(played: Market) -> None:
    few = Export(ticks(played, "币安人生USDT"), Format("csv"))
    assert (await few.estimate()).bytes == len(await whole(few))
    for form in (Format("csv"), Format("parquet", "zstd")):
        many = Export(BarSource(played.store, SYMBOLS, "1s", 0, FOREVER), form)
        found = await many.estimate()
        assert found.bytes == pytest.approx(len(await whole(many)), rel=0.1)


PAIR = PairSettings("BTCUSDT", "PEPEUSDT", lookback=40, window=10)


@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
async def test_every_row_of_a_pair_is_what_was_said_of_it_at_its_bar(played: Market, method: Any) -> None:
    settings = replace(PAIR, method=method)
    source = PairSource(played.store, settings, START_MS * MS, FOREVER, rows=37)
    table = pa.ipc.open_stream(await whole(Export(source, Format("arrow")))).read_all()
    legs = [await played.store.bars(name, "1m", 0, FOREVER, limit=10_000) for name in (settings.y, settings.x)]
    y, x = common_bars(*legs)
    assert table["timestamp"].cast(pa.int64()).to_pylist() == (y.ts_open_ns // MS).tolist()
    for end in (45, 70, len(y)):
        report = pair_report(
            *pair_rows(y.close[:end], x.close[:end], "log"), settings, slots=y.ts_open_ns[:end] // (60_000 * MS),
            recursion="live",
        ).document  # fmt: skip
        told = {name: table[name][end - 1].as_py() for name in table.column_names}
        assert told["spread"] == report["spread"]["last"]
        assert told["zscore"] == report["spread"]["zscore"]
        assert told["beta"] == report["hedge_ratio"][method]["beta"]
        assert told["alpha"] == report["hedge_ratio"][method]["alpha"]
        assert told["correlation"] == report["correlation"]["rolling"]


async def test_where_a_pairs_page_begins_changes_nothing(played: Market) -> None:
    files = [
        await whole(Export(PairSource(played.store, PAIR, START_MS * MS, FOREVER, rows=rows), Format("csv")))
        for rows in (29, 10_000)
    ]
    assert files[0] == files[1]


async def test_a_pair_of_which_a_leg_stands_still_has_no_figures(fresh: Market) -> None:
    first = fresh.sent["币安人生USDT"][0]
    still = [replace(first, id=k, timestamp=START_MS + 60_000 * k) for k in range(100)]
    await fresh.take("STILLUSDT", still)
    settings = replace(PAIR, y="STILLUSDT", x="BTCUSDT")
    source = PairSource(fresh.store, settings, 0, FOREVER)
    table = pa.ipc.open_stream(await whole(Export(source, Format("arrow")))).read_all()
    assert table.num_rows > 50
    assert set(table["zscore"].to_pylist()) == {None}


def test_what_no_reader_can_read_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        Format("arrow", "gzip")
    assert refused.value.loc == "compression"
