"""``pairscope backfill`` against the replay server: into a store of its own, again for nothing, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pairscope.backfilling import Asked, backfill, lines
from pairscope.config import Settings
from pairscope.errors import ConnectionLost, InputError, UnknownSymbol
from pairscope.feed.replay_server import serve
from pairscope.feed.replay_source import SyntheticSource
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE_MS = 60_000
NOW_MS = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    source = SyntheticSource(SyntheticMarket(seed=7, symbols=3, ticks_per_second=20.0))
    server = await serve(source, speed=1.0, start_ms=NOW_MS, wait=False)
    yield Settings(data_dir=tmp_path, exchange_rest_url=f"http://127.0.0.1:{server.port}", _env_file=None)  # type: ignore[call-arg]
    await server.close()


async def told(settings: Settings, asked: Asked) -> tuple[int, list[str], list[str]]:
    said: list[str] = []
    shown: list[str] = []
    code = await asyncio.to_thread(backfill, settings, asked, say=said.append, show=shown.append)
    return code, said, shown


async def test_minutes_go_into_the_store_once_and_the_same_command_asks_for_nothing_twice(settings: Settings) -> None:
    asked = Asked("btcusdt,ETHUSDT", str(NOW_MS - 90 * MINUTE_MS), str(NOW_MS - MINUTE_MS), json=True)
    code, said, shown = await told(settings, asked)
    found = json.loads(shown[0])
    assert (code, found["symbols"], found["failed"]) == (0, ["BTCUSDT", "ETHUSDT"], {})
    assert "pairscope.duckdb" in said[0]
    store = await DuckDBStore.open(settings.data_dir / "pairscope.duckdb")
    bars = await store.bars("ETHUSDT", "1m", 0, NOW_MS * 10**6, limit=1000)
    held = (await store.stats()).bars
    await store.close()
    assert found["stored"] == held > 100
    assert int(bars.ts_open_ns.min()) >= (NOW_MS - 90 * MINUTE_MS) * 10**6
    _, _, again = await told(settings, asked)
    assert json.loads(again[0])["stored"] == 0


async def test_trades_are_said_in_words_with_the_files_of_what_is_too_old(settings: Settings) -> None:
    code, _, shown = await told(settings, Asked("BTCUSDT", str(NOW_MS - 5 * MINUTE_MS), kind="trades"))
    assert code == 0
    assert "trades stored of 1 symbol," in shown[0]
    found = {
        "kind": "trades", "symbols": ["BTCUSDT"], "since": 0, "until": NOW_MS, "stored": 5, "requests": 9,
        "failed": {"ETHUSDT": "no answer"}, "too_old": {"until": NOW_MS, "files": [f"file {n}" for n in range(12)]},
    }  # fmt: skip
    text = lines(found)
    assert "  ETHUSDT: no answer" in text
    assert text[-2:] == ["  file 9", "  and 2 more (--json lists all)"]


async def test_a_symbol_that_the_exchange_lacks_is_named(settings: Settings) -> None:
    since = str(NOW_MS - 5 * MINUTE_MS)
    with pytest.raises(UnknownSymbol, match="did you mean BTCUSDT"):
        await told(settings, Asked("BTCUSD", since))
    code, _, shown = await told(settings, Asked("BTCUSD,BTCUSDT", since))
    assert code == 1
    assert any("BTCUSD'" in line for line in shown)


@pytest.mark.parametrize(
    ("asked", "flag"),
    [
        (Asked(None, "2024-08-08"), "--symbols"),
        (Asked("BTCUSDT", "yesterday"), "--since"),
        (Asked("BTCUSDT", "2024-08-08", "2024-08-07"), "--until"),
        (Asked("BTCUSDT", "2024-08-08", kind="quotes"), "--kind"),
        (Asked("BTCUSDT", "2024-08-08", "2024-08-09", kind="trades"), "--since"),
    ],
)
def test_what_cannot_be_asked_names_the_flag(tmp_path: Path, asked: Asked, flag: str) -> None:
    settings = Settings(data_dir=tmp_path, exchange_rest_url="http://127.0.0.1:9", _env_file=None)  # type: ignore[call-arg]
    with pytest.raises(InputError) as refused:
        backfill(settings, asked, say=print, show=print)
    assert refused.value.loc == flag


async def test_no_store_is_made_where_the_exchange_does_not_answer(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, exchange_rest_url="http://127.0.0.1:9", _env_file=None)  # type: ignore[call-arg]
    with pytest.raises(ConnectionLost):
        await told(settings, Asked("BTCUSDT", "2024-08-08"))
    assert not list(tmp_path.iterdir())
