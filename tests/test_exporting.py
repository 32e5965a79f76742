"""The export on the command line: into files and pipes, from a store or a running instance, and on after a break."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.api.market import START_MS, Market, open_market
from tests.served_api import served_api

from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, UnknownSymbol
from pairscope.exporting import Asked, export

END = "2024-08-08T02:30:00Z"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    market = asyncio.run(open_market(tmp_path_factory.mktemp("market")))
    yield market
    asyncio.run(market.store.close())


@pytest.fixture(scope="module")
def address(played: Market) -> Iterator[str]:
    with served_api(played.services()) as address:
        yield address


@pytest.fixture(scope="module")
def stored(played: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that nobody holds, of the same trades."""
    folder = tmp_path_factory.mktemp("stored")
    asyncio.run(played.store.checkpoint())
    (folder / "pairscope.duckdb").write_bytes(Path(asyncio.run(played.store.stats()).location).read_bytes())
    return folder


@pytest.fixture
def running(address: str, tmp_path: Path) -> Path:
    """A folder whose store a running instance holds."""
    folder = tmp_path / "running"
    folder.mkdir()
    (folder / "instance.json").write_text(json.dumps({"pid": os.getpid(), "api": address, "source": "synthetic"}))
    return folder


def exported(folder: Path, **asked: Any) -> tuple[bytes, list[str]]:
    """What came out of the pipe, and what was said."""
    pipe, said = io.BytesIO(), []
    settings = Settings(data_dir=folder, _env_file=None)
    assert export(settings, Asked(**{"end": END, **asked}), say=said.append, pipe=pipe) == 0
    return pipe.getvalue(), said


def test_a_store_and_the_instance_that_holds_it_give_the_same_bytes(stored: Path, running: Path) -> None:
    for asked in (
        {"symbols": "btcusdt", "timeframe": "tick"},
        {"timeframe": "5m", "columns": "all", "format": "jsonl"},
        {"pair": "BTCUSDT,PEPEUSDT", "lookback": 60, "window": 20},
        {"history": "alerts"},
    ):
        from_store, said = exported(stored, **asked)
        assert said == [f"reading from the store {stored / 'pairscope.duckdb'}"]
        from_api, told = exported(running, **asked)
        assert "that runs at http://127.0.0.1" in told[0]
        assert from_store == from_api
        assert from_store.count(b"\n") > (0 if "history" in asked else 30)


def test_a_file_is_written_whole_in_the_format_that_its_name_says(stored: Path, tmp_path: Path) -> None:
    for name in ("bars.csv", "bars.csv.gz", "bars.parquet", "bars.jsonl"):
        _, said = exported(stored, symbols="BTCUSDT", out=tmp_path / name)
        assert said[-1] == f"{(tmp_path / name).stat().st_size:,} bytes written to {tmp_path / name}"
    readers = {"bars.csv": pd.read_csv, "bars.csv.gz": pd.read_csv, "bars.parquet": pd.read_parquet}
    closes = {name: read(tmp_path / name)["close"].tolist() for name, read in readers.items()}
    assert closes["bars.csv"] == closes["bars.csv.gz"] == closes["bars.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*readers, "bars.jsonl"])
    exported(stored, symbols="BTCUSDT", start=str(START_MS + 60_000), out=tmp_path)
    assert (tmp_path / "BTCUSDT_1m_20240808T000100Z_20240808T023000Z.csv").exists()


@pytest.mark.parametrize("held", [False, True], ids=["store", "instance"])
def test_an_export_that_broke_off_goes_on_where_it_did(
    held: bool, stored: Path, running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out, part = running if held else stored, tmp_path / "ticks.csv", tmp_path / "ticks.csv.part"
    asked = {"symbols": "BTCUSDT", "timeframe": "tick", "out": out}
    whole, _ = exported(folder, **{**asked, "out": None})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left on device"):
            exported(folder, **asked)
    assert not out.exists()
    for left in (5000, len(whole), 0):
        part.write_bytes(whole[:left])
        kept = (tmp_path / "ticks.csv.part.json").read_bytes()
        _, said = exported(folder, **asked, resume=True)
        assert out.read_bytes() == whole
        if left:
            assert said[-1].endswith(f"the first {left:,} of them before")
        (tmp_path / "ticks.csv.part.json").write_bytes(kept)
        out.unlink()
    part.write_bytes(whole[:5000])
    (tmp_path / "ticks.csv.part.json").write_bytes(kept.replace(json.loads(kept)["etag"][1:9].encode(), b"00000000"))
    _, said = exported(folder, **asked, resume=True)
    assert "the rows have changed since: begun anew" in said
    assert out.read_bytes() == whole


def test_rows_that_have_changed_are_never_put_behind_those_of_before(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, part, note = (tmp_path / f"ticks.csv{ending}" for ending in ("", ".part", ".part.json"))
    asked = {"symbols": "BTCUSDT", "timeframe": "tick", "out": out}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            exported(stored, **asked)
    whole = part.read_bytes()
    part.write_bytes(b"x" * 500)
    note.write_bytes(note.read_bytes().replace(json.loads(note.read_bytes())["etag"][1:9].encode(), b"00000000"))
    opened = Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, *how, **so: (killed if path == part else opened)(path, *how, **so))
        with pytest.raises(KeyboardInterrupt):
            exported(stored, **asked, resume=True)
    exported(stored, **asked, resume=True)
    assert out.read_bytes() == whole


def killed(*_how: Any, **_so: Any) -> Any:
    raise KeyboardInterrupt


def test_without_anything_to_go_on_with_it_begins_and_says_so(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "bars.csv"
    (tmp_path / "bars.csv.part").write_bytes(b"something else")
    _, said = exported(stored, symbols="BTCUSDT", out=out, resume=True)
    assert "there is nothing of bars.csv to go on with: begun anew" in said
    assert out.read_bytes() == exported(stored, symbols="BTCUSDT")[0]


@pytest.mark.parametrize(
    ("asked", "flag"),
    [
        ({"timeframe": "7m"}, "--timeframe"),
        ({"pair": "BTCUSDT,PEPEUSDT", "timeframe": "tick"}, "--timeframe"),
        ({"pair": "BTCUSDT"}, "--pair"),
        ({"pair": "BTCUSDT,BTCUSDT"}, "--pair"),
        ({"pair": "BTCUSDT,PEPEUSDT", "window": 5000}, "--window"),
        ({"pair": "BTCUSDT,PEPEUSDT", "method": "magic"}, "--method"),
        ({"format": "xlsx"}, "--format"),
        ({"format": "arrow", "compression": "gzip"}, "--compression"),
        ({"start": "tomorrow"}, "--start"),
        ({"start": END}, "--end"),
        ({"history": "wishes"}, "--history"),
        ({"symbols": "BTCUSDT", "history": "alerts"}, "--symbols"),
        ({"columns": "few"}, "--columns"),
        ({"out": Path("bars.xlsx")}, "--out"),
        ({"out": Path("bars.csv.zip")}, "--out"),
        ({"resume": True}, "--resume"),
    ],
)
def test_what_cannot_be_exported_names_the_flag(stored: Path, asked: dict[str, Any], flag: str) -> None:
    with pytest.raises(InputError) as refused:
        exported(stored, **asked)
    assert refused.value.loc == flag


def test_a_symbol_that_is_not_there_is_named_with_those_like_it(stored: Path, running: Path) -> None:
    for folder in (stored, running):
        with pytest.raises(UnknownSymbol, match="BTCUSDT"):
            exported(folder, symbols="BTCUSD")
