"""The exchange's archive files in every form that they come in, and every way in which one can be broken."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from pairscope.errors import ForeignFile
from pairscope.feed import exchange_archive
from pairscope.feed.archive_names import archive_addresses, exchange_files, named
from pairscope.feed.exchange_archive import ExchangeFile
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

DAY_MS = 1_723_075_200_000  # 2024-08-08
NOW_NS = (DAY_MS + 3 * 86_400_000) * 10**6
NAME = "BTCUSDT-aggTrades-2024-08-08"
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
ROWS = [
    f"7001,61800.30,0.006,90,92,{DAY_MS + 5},true",
    f"7002,61800.40,1.250,93,93,{DAY_MS + 5},false",
    f"7003,0.00001234,120000000,94,97,{DAY_MS + 900},true",
]
BARS_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
BARS = [
    f"{DAY_MS},61800.3,61900.0,61750.5,61888.8,12.345,{DAY_MS + 59_999},763000.5,210,6.5,401000.1,0",
    f"{DAY_MS + 60_000},61888.8,61888.8,61888.8,61888.8,0,{DAY_MS + 119_999},0,0,0,0,0",
    f"{DAY_MS + 120_000},61888.8,61950.0,61880.0,61900.1,3.5,{DAY_MS + 179_999},216000.9,77,1.5,92000.4,0",
]


def packed(folder: Path, text: str | bytes, name: str = NAME, *, inside: str = "") -> Path:
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inside or f"{name}.csv", text)
    return path


def trades(path: Path, **options: str) -> tuple[TickBatch, ExchangeFile]:
    file = ExchangeFile(path, **options)
    file.check()
    symbols = Symbols()
    batches = [b for b in file.batches(symbols, ts_recv_ns=NOW_NS) if isinstance(b, TickBatch)]
    return concat_ticks(batches or [TickBatch.empty(symbols, 0)]), file


def bars(path: Path) -> tuple[BarBatch, ExchangeFile]:
    file = ExchangeFile(path)
    file.check()
    (batch,) = file.batches(Symbols(), ts_recv_ns=NOW_NS)
    assert isinstance(batch, BarBatch)
    return batch, file


def micros(row: str) -> str:
    fields = row.split(",")
    fields[5] += "000"
    return ",".join(fields)


FORMS = {
    "with a header": "\n".join([HEADER, *ROWS]) + "\n",
    "without one": "\n".join(ROWS) + "\n",
    "without a last line's end": "\n".join(ROWS),
    "with a byte order mark": "\ufeff" + "\n".join([HEADER, *ROWS]),
    "as Windows ends lines": "\r\n".join([HEADER, *ROWS]) + "\r\n",
    "with empty lines": "\n\n".join(ROWS) + "\n\n",
    "in microseconds": "\n".join(map(micros, ROWS)),
    "as the spot market writes": "\n".join(
        micros(row).replace("true", "True").replace("false", "False") + ",True" for row in ROWS
    ),
    "out of order": "\n".join(reversed(ROWS)),
    "with a row twice": "\n".join([*ROWS, ROWS[1]]),
    "quoted": "\n".join(",".join(f'"{field}"' for field in row.split(",")) for row in ROWS),
    "with columns in another order": "\n".join(
        ",".join([fields[5], *fields[:5], fields[6]]) for fields in (line.split(",") for line in [HEADER, *ROWS])
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False])
def test_trades_are_the_same_in_every_form(tmp_path: Path, form: str, zipped: bool) -> None:
    path = packed(tmp_path, FORMS[form]) if zipped else tmp_path / f"{NAME}.csv"
    if not zipped:
        path.write_text(FORMS[form], encoding="utf-8", newline="")
    batch, file = trades(path)
    assert batch.trade_id.tolist() == [7001, 7002, 7003]
    assert batch.price.tolist() == [61800.3, 61800.4, 0.00001234]
    assert batch.size.tolist() == [0.006, 1.25, 120000000.0]
    assert batch.buyer_is_maker.tolist() == [True, False, True]
    assert (batch.ts_event_ns // 10**6).tolist() == [DAY_MS + 5, DAY_MS + 5, DAY_MS + 900]
    assert list(batch.symbols) == ["BTCUSDT"]
    assert (file.report.rejected, file.report.kind) == (0, "trades")


def test_a_trade_without_size_is_left_out_and_its_id_is_no_hole(tmp_path: Path) -> None:
    batch, file = trades(packed(tmp_path, "\n".join([ROWS[0], ROWS[1].replace("1.250", "0.0"), ROWS[2]])))
    assert batch.trade_id.tolist() == [7001, 7003]
    assert [number for _, number in batch.void] == [7002]
    assert (file.report.rejected, file.report.void) == (1, 1)


def test_rows_that_cannot_be_used_are_told_by_row_and_column_and_the_others_are_read(tmp_path: Path) -> None:
    bad = [
        "7004,sixty,1,1,1,1723075200000,true",
        "7005,1.5,1,1,1,1723075200000",
        "7006,1.5,nan,1,1,1723075200000,true",
        "7007,1.5,1,1,1,5,true",
        "7008,1.5,1,1,1,1723075200000,perhaps",
    ]
    batch, file = trades(packed(tmp_path, "\n".join([HEADER, *ROWS, *bad])))
    assert batch.trade_id.tolist() == [7001, 7002, 7003]
    assert {(row.row, row.column) for row in file.report.examples} == {
        (5, "price"), (6, ""), (7, "price"), (8, "time"), (9, "maker"),
    }  # fmt: skip
    assert (file.report.rows, file.report.rejected) == (8, 5)


def test_rows_are_read_in_blocks_of_whole_lines_whatever_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_archive, "BLOCK", 100)
    rows = [f"{number},61800.30,0.006,90,92,{DAY_MS + number},true" for number in range(1000, 1100)]
    rows[50] = "broken"
    file = ExchangeFile(packed(tmp_path, "\n".join([HEADER, *rows])))
    file.check()
    found = list(file.batches(Symbols(), ts_recv_ns=NOW_NS))
    assert len(found) > 10
    assert [n for batch in found for n in batch.trade_id.tolist()] == [n for n in range(1000, 1100) if n != 1050]  # type: ignore[union-attr]
    assert [(row.row, row.reason) for row in file.report.examples] == [(52, "1 columns where 7 are expected")]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(("timeframe", "origin"), [("1m", Origin.EXCHANGE), ("1s", Origin.EXCHANGE)])
def test_klines_become_bars_of_the_exchange_without_those_in_which_nobody_traded(
    tmp_path: Path, header: bool, timeframe: str, origin: Origin
) -> None:
    text = "\n".join([*([BARS_HEADER] if header else []), *BARS])
    batch, file = bars(packed(tmp_path, text, f"BTCUSDT-{timeframe}-2024-08"))
    assert (batch.ts_open_ns // 10**6).tolist() == [DAY_MS, DAY_MS + 120_000]
    assert batch.close.tolist() == [61888.8, 61900.1]
    assert batch.quote_volume.tolist() == [763000.5, 216000.9]
    assert batch.buy_volume.tolist() == [6.5, 1.5]
    assert (batch.timeframe, set(batch.origin.tolist()), file.report.empty) == (timeframe, {origin}, 1)


def test_longer_klines_are_kept_as_uploads(tmp_path: Path) -> None:
    row = f"{DAY_MS},1,2,0.5,1.5,10,{DAY_MS + 3_599_999},15,3,5,7,0"
    batch, _ = bars(packed(tmp_path, row, "BTCUSDT-1h-2024-08-08"))
    assert (batch.timeframe, batch.origin.tolist()) == ("1h", [Origin.UPLOAD])


def test_klines_that_contradict_themselves_or_lie_off_the_grid_are_told(tmp_path: Path) -> None:
    wrong = [
        BARS[0].replace("61900.0", "61700.0"),
        BARS[2].replace(f"{DAY_MS + 120_000}", f"{DAY_MS + 120_500}", 1),
        BARS[2].replace(f"{DAY_MS + 120_000}", f"{DAY_MS + 9 * 86_400_000}", 1),
    ]
    batch, file = bars(packed(tmp_path, "\n".join([BARS[2], *wrong]), "BTCUSDT-1m-2024-08"))
    assert len(batch) == 1
    assert {(row.row, row.column) for row in file.report.examples} == {(2, "open"), (3, "time"), (4, "time")}


def test_prices_that_are_no_trades_are_refused(tmp_path: Path) -> None:
    mark = f"{DAY_MS},61800.3,61900.0,61750.5,61888.8,0,{DAY_MS + 59_999},0,60,0,0,0"
    with pytest.raises(ForeignFile, match="no volume"):
        bars(packed(tmp_path, mark, "BTCUSDT-1m-2024-08"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("BTCUSDT-trades-2024-08-08.zip", "aggTrades"),
        ("BTCUSDT-bookTicker-2024-08-08.zip", "aggTrades"),
        ("BTCUSDT-2h-2024-08-08.zip", "1h"),
        ("BTCUSD_PERP-aggTrades-2024-08-08.zip", "USD-margined"),
        ("prices.csv", "keep the exchange's name"),
    ],
)
def test_files_that_are_not_read_say_which_to_fetch_instead(name: str, hint: str) -> None:
    with pytest.raises(ForeignFile) as refused:
        named(name)
    assert hint in refused.value.hint


def test_a_symbol_given_beside_speaks_for_a_name_that_says_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(ROWS))
    batch, _ = trades(path, symbol="ethusdt")
    assert list(batch.symbols) == ["ETHUSDT"]
    assert len(batch) == 3


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    rows = (f"{n},{hashlib.sha256(str(n).encode()).hexdigest()},1,1,1,1,true" for n in range(1000))
    good = packed(folder, "\n".join([HEADER, *rows]), "AUSDT-aggTrades-2024-08-08", inside=f"{NAME}.csv")
    whole = good.read_bytes()
    found = {}

    def put(what: str, content: bytes, message: str, name: str = NAME) -> None:
        path = folder / f"{what}" / f"{name}.zip"
        path.parent.mkdir()
        path.write_bytes(content)
        found[what] = path, message

    put("cut off", whole[: len(whole) // 2], "ends too early")
    put("a flipped byte", whole[:2000] + bytes([whole[2000] ^ 0xFF]) + whole[2001:], "broken|unpacked")
    crc = bytearray(whole)
    at = whole.rindex(b"PK\x01\x02") + 16
    crc[at : at + 4] = bytes(b ^ 0xFF for b in crc[at : at + 4])
    put("a wrong checksum inside", bytes(crc), "broken")
    put("nothing", b"", "is empty")
    put("no text", b"\x00\x01\x02" * 100, "no text")
    put("another file", b"timestamp,symbol,close\n1,BTCUSDT,5\n", "first line")
    put("too few columns", b"1,2,3\n", "3 columns")
    several = folder / "several"
    several.mkdir()
    with zipfile.ZipFile(several / f"{NAME}.zip", "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("../../b.csv", "2")
    found["several files"] = several / f"{NAME}.zip", "holds 2 files"
    bomb = folder / "bomb"
    bomb.mkdir()
    with (
        zipfile.ZipFile(bomb / f"{NAME}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.csv", "w") as inner,
    ):
        for _ in range(72):
            inner.write(b"0" * (1 << 20))
    found["a bomb"] = bomb / f"{NAME}.zip", "times its size"
    checksum = packed(folder, "\n".join(ROWS), "BUSDT-aggTrades-2024-08-08")
    checksum.with_name(checksum.name + ".CHECKSUM").write_text("0" * 64 + f"  {checksum.name}\n")
    found["another checksum beside"] = checksum, "is not what"
    return found


def test_a_broken_file_is_refused_before_any_row_of_it_is_given(tmp_path: Path) -> None:
    for what, (path, message) in broken_files(tmp_path).items():
        with pytest.raises(ForeignFile, match=message):
            ExchangeFile(path).check()
            pytest.fail(what)


def test_a_file_under_the_name_of_another_is_refused_unless_the_symbol_is_said_and_another_day_is_told(
    tmp_path: Path,
) -> None:
    path = packed(tmp_path, "\n".join(ROWS), inside="ETHUSDT-aggTrades-2024-08-08.csv")
    with pytest.raises(ForeignFile, match=r"holds ETHUSDT-aggTrades-2024-08-08\.csv, which is another"):
        ExchangeFile(path).check()
    batch, _ = trades(path, symbol="ETHUSDT")
    assert batch.trade_id.tolist() == [7001, 7002, 7003]
    other_day = packed(tmp_path, "\n".join(ROWS), "BTCUSDT-aggTrades-2024-08-09", inside="data.csv")
    assert trades(other_day)[1].report.notes == ["its rows are of another time than its name says"]
    assert trades(packed(tmp_path, "\n".join(ROWS)))[1].report.notes == []


def test_a_name_inside_a_zip_leads_nowhere(tmp_path: Path) -> None:
    batch, _ = trades(packed(tmp_path, "\n".join(ROWS), inside="../../../etc/evil.csv"))
    assert len(batch) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{NAME}.zip"]


def test_a_checksum_beside_that_fits_lets_a_file_pass(tmp_path: Path) -> None:
    path = packed(tmp_path, "\n".join(ROWS))
    said = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".CHECKSUM").write_text(f"{said}  {path.name}\n")
    assert len(trades(path)[0]) == 3


def test_a_folder_is_read_in_order_of_time_and_nothing_else_in_it(tmp_path: Path) -> None:
    names = [
        "ETHUSDT-aggTrades-2024-08-09.zip", "BTCUSDT-aggTrades-2024-08-08.zip", "BTCUSDT-aggTrades-2024-08-08.csv",
        "BTCUSDT-1m-2024-07.zip", "notes.csv", "BTCUSDT-aggTrades-2024-08-08.zip.CHECKSUM",
    ]  # fmt: skip
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / "deep" / name).write_bytes(b"")
    assert [path.name for path in exchange_files(tmp_path)] == [
        "BTCUSDT-1m-2024-07.zip", "BTCUSDT-aggTrades-2024-08-08.zip", "ETHUSDT-aggTrades-2024-08-09.zip",
    ]  # fmt: skip


def test_a_range_is_named_by_whole_months_and_single_days() -> None:
    since, until = (DAY_MS - 9 * 86_400_000) * 10**6, (DAY_MS + 25 * 86_400_000) * 10**6
    files = [address.rpartition("aggTrades-")[2] for address in archive_addresses("BTCUSDT", since, until)]
    assert files == ["2024-07-30.zip", "2024-07-31.zip", "2024-08.zip", "2024-09-01.zip"]
