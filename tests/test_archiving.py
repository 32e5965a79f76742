"""``pairscope archive``: in a store that nobody holds, through the instance that holds it, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.market import Market, open_market
from tests.served_api import served_api
from tests.storage.days import day_start, fill, open_filled, ticks_of_day

from pairscope.archiving import Asked, archive
from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.tick_storage import open_store


def told(folder: Path, **asked: Any) -> tuple[list[str], list[str]]:
    """What was shown, and what was said beside it."""
    said: list[str] = []
    shown: list[str] = []
    settings = Settings(data_dir=folder, _env_file=None)  # type: ignore[call-arg]  # of pydantic's own
    assert archive(settings, Asked(**asked), say=said.append, show=shown.append) == 0
    return shown, said


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    async def fill() -> None:
        await (await open_filled(tmp_path)).close()

    asyncio.run(fill())
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


def test_a_dry_run_names_days_and_moves_none_and_then_they_move_to_where_it_is_said(stored: Path) -> None:
    one = int((ticks_of_day(0).symbol_id == 0).sum())
    shown, said = told(stored, before="2024-10-05", symbols="btcusdt", dry_run=True)
    assert shown[0].startswith(f"would archive 1 day: {one:,} ticks and ") and "2024-10-04  BTCUSDT" in shown[0]
    assert said == [f"archiving from the store {stored.resolve() / 'pairscope.duckdb'}"]
    assert files(stored) == []
    shown, _ = told(stored, before="2024-10-05", symbols="btcusdt", to=str(stored / "cold"))
    assert shown[0].startswith(f"archived 1 day: {one:,} ticks and ") and "in 3 files" in shown[0]
    assert [name.split("/")[0] for name in files(stored)] == ["cold"] * 3
    shown, _ = told(stored, older_than=30, json=True)
    assert json.loads(shown[0])["ticks"] == 3 * len(ticks_of_day(0)) - one
    assert told(stored, older_than=30)[0] == ["nothing to archive"]


def test_days_of_postgresql_move_the_same_way_and_its_password_is_said_to_nobody(
    postgres_url: str, tmp_path: Path
) -> None:
    async def filled() -> None:
        store = await PostgresStore.open(postgres_url)
        await fill(store)
        await store.close()

    asyncio.run(filled())
    settings = Settings(
        data_dir=tmp_path, database_url=postgres_url.replace("@", ":hush@"), archive_url=str(tmp_path / "cold"),
        _env_file=None,
    )  # type: ignore[call-arg]  # fmt: skip
    said: list[str] = []
    assert archive(settings, Asked(before="2024-10-05"), say=said.append, show=said.append) == 0
    assert said[0] == f"archiving from the store postgresql://{postgres_url.partition('@')[2]}"
    assert said[1].startswith(f"archived 1 day: {len(ticks_of_day(0)):,} ticks and ")
    assert len(files(tmp_path / "cold")) == 6


@pytest.mark.parametrize(
    ("asked", "error", "flag"),
    [
        ({}, InputError, "--before"),
        ({"before": "yesterday"}, InputError, "--before"),
        ({"before": "2200-01-01"}, InputError, "--before"),
        ({"before": "2024-10-05", "older_than": 3}, InputError, "--before"),
        ({"older_than": -1}, InputError, "--older-than"),
        ({"older_than": 3, "to": "nosuch://place"}, ConfigError, "--to"),
        ({"older_than": 3, "to": "memory://place"}, ConfigError, "--to"),
    ],
)
def test_what_cannot_be_asked_names_the_flag(stored: Path, asked: dict[str, Any], error: type, flag: str) -> None:
    with pytest.raises(error) as raised:
        told(stored, **asked)
    assert raised.value.loc == flag
    assert files(stored) == []


@pytest.mark.parametrize("to", ["cold", "file://cold", "~/cold"])
def test_days_that_went_to_a_directory_named_from_here_are_read_from_anywhere(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    told(stored, before="2024-10-05", to=to)
    assert all(name.startswith("cold/") for name in files(tmp_path)) and files(tmp_path)
    monkeypatch.chdir("/")
    shown, _ = told(stored, before="2024-10-05", dry_run=True)
    assert shown[0].startswith("would archive 0 days")

    async def first_day() -> int:
        store = await open_store(f"duckdb:///{stored / 'pairscope.duckdb'}")
        ticks = await store.ticks("BTCUSDT", 0, day_start(1), limit=10**6)
        await store.close()
        return len(ticks)

    assert asyncio.run(first_day()) == int((ticks_of_day(0).symbol_id == 0).sum())


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, Market]]:
    """A folder whose store a running instance holds."""
    market = asyncio.run(open_market(tmp_path))
    market.now_ns += 3 * 86_400_000_000_000
    with served_api(market.services()) as address:
        (tmp_path / "instance.json").write_text(
            json.dumps({"pid": os.getpid(), "api": address, "source": "synthetic"}), encoding="utf-8"
        )
        yield tmp_path, market
    asyncio.run(market.store.close())


def test_the_instance_that_holds_the_store_does_it_and_keeps_to_its_own_place(held: tuple[Path, Market]) -> None:
    folder, market = held
    with pytest.raises(InputError, match="PAIRSCOPE_ARCHIVE_URL"):
        told(folder, older_than=1, to="elsewhere")
    plan, said = told(folder, older_than=1, dry_run=True, json=True)
    assert said[0].startswith("archiving in the Pairscope that runs at http")
    shown, _ = told(folder, older_than=1, json=True)
    ticks = asyncio.run(market.store.stats()).ticks
    assert json.loads(shown[0])["ticks"] == json.loads(plan[0])["ticks"] == ticks
    assert market.store.upkeep.totals()["ticks"] == ticks
