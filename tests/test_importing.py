"""``pairscope import``: files and folders into a store, each whole or not at all, and through whoever holds it."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pairscope.config import Settings
from pairscope.errors import InputError, StoreUnavailable
from pairscope.importing import Asked, import_files
from pairscope.ports import UploadedSpan
from pairscope.storage.duckdb_store import DuckDBStore

HEAD = "timestamp,open,high,low,close,volume\n"
T0_MS = 1_735_689_600_000  # 2025-01-01
MINUTE_MS = 60_000


def csv_of(count: int) -> str:
    return HEAD + "".join(f"{T0_MS + i * MINUTE_MS},1,2,0.5,1.5,10\n" for i in range(count))


def exchange_zip(path: Path) -> None:
    """Three minutes as the exchange's archive has them."""
    rows = [f"{T0_MS + i * MINUTE_MS},1,2,0.5,1.5,10,{T0_MS + (i + 1) * MINUTE_MS - 1},15,3,5,7.5,0" for i in range(3)]
    with zipfile.ZipFile(path, "w") as folder:
        folder.writestr(path.with_suffix(".csv").name, "\n".join(rows) + "\n")


class Imported:
    """A data directory, and what the command says and shows."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder / "data", _env_file=None)  # type: ignore[call-arg]
        self.said: list[str] = []
        self.shown: list[str] = []

    def run(self, *paths: Path, **asked: Any) -> int:
        self.said, self.shown = [], []
        return import_files(self.settings, Asked(paths, **asked), say=self.said.append, show=self.shown.append)

    def uploaded(self) -> list[UploadedSpan]:
        async def read() -> list[UploadedSpan]:
            store = await DuckDBStore.open(self.settings.data_dir / "pairscope.duckdb", threads=1)
            try:
                return await store.uploaded()
            finally:
                await store.close()

        return asyncio.run(read())


@pytest.fixture
def imported(tmp_path: Path) -> Imported:
    return Imported(tmp_path)


def test_a_folder_is_read_whole_and_one_bad_file_keeps_no_other_out(imported: Imported, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "good.csv").write_text(
        csv_of(5).replace("timestamp", "symbol,timestamp").replace("\n17", "\nA,17")
    )
    (folder / "bad.json").write_text('[{"open": 1}]')
    (folder / "notes.md").write_text("not a table")
    exchange_zip(folder / "BTCUSDT-1m-2025-01-01.zip")
    assert imported.run(folder) == 1
    assert imported.uploaded() == [UploadedSpan("A", "1m", 5, T0_MS * 10**6, (T0_MS + 4 * MINUTE_MS) * 10**6)]
    assert any("bad.json: there is no column for the time" in line for line in imported.said)
    told = " ".join(imported.shown)
    assert "good.csv: 1m bars of A stored: 5 new, 0 changed" in told
    assert "BTCUSDT-1m-2025-01-01.zip: 3 1m bars of BTCUSDT stored" in told


def test_a_dry_run_stores_nothing_and_says_what_would_come_of_it(imported: Imported, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(csv_of(3))
    assert imported.run(file, symbol="mycoin", dry_run=True) == 0
    assert "would be stored: 3 new" in imported.shown[0] and imported.uploaded() == []
    assert imported.run(file, symbol="mycoin") == 0
    assert imported.run(file, symbol="mycoin", json=True) == 0
    document = json.loads(imported.shown[0])["files"][0]
    assert (document["file"], document["unchanged"], document["stored"]) == ("mine.csv", 3, True)


def test_bad_rows_are_named_and_keep_the_file_out_unless_partial(imported: Imported, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(csv_of(3).replace("1,2,0.5,1.5,10\n", "1,2,0.5,1.5,nan\n", 1))
    assert imported.run(file, symbol="A") == 1
    assert "  row 1, column volume: is NaN" in imported.said and imported.uploaded() == []
    assert "1 of 3 rows is bad: nothing stored" in imported.shown[0]
    assert imported.run(file, symbol="A", partial=True) == 0
    assert imported.uploaded()[0].rows == 2


def test_what_makes_no_sense_is_refused_before_anything_is_read(imported: Imported, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(csv_of(3))
    for loc, paths, asked in (
        ("--timeframe", [file], {"timeframe": "7m"}),
        ("--symbol", [file], {"symbol": "no good"}),
        ("PATH", [tmp_path / "nowhere.csv"], {}),
        ("PATH", [imported.settings.data_dir.parent / "empty"], {}),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError) as refused:
            imported.run(*paths, **asked)
        assert refused.value.loc == loc
    assert not imported.settings.data_dir.exists()


def test_a_data_directory_that_cannot_be_made_is_named(imported: Imported, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(csv_of(3))
    imported.settings = Settings(data_dir=file, _env_file=None)  # type: ignore[call-arg]
    with pytest.raises(StoreUnavailable, match=r"mine\.csv cannot be written"):
        imported.run(file, symbol="A")
