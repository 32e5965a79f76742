"""``pairscope verify`` from the outside: what it says, its exit code, its JSON, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pairscope.config import Settings
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.journal import Journal
from pairscope.engine.rerun import Difference
from pairscope.errors import ConfigError, InputError, UnknownSymbol
from pairscope.feed.older_ticks import OlderTicks, Shelf
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.journal import JournalKeeper
from pairscope.verification import SHOWN, Asked, Verdict, lines, verify, words

SECOND = 1_000_000_000


def record(folder: Path, ticks: TickBatch, *, between: Any = None) -> None:
    """Write down a store and a journal as a process does that takes some ticks; ``between`` goes on half-way."""

    async def play() -> None:
        store = await DuckDBStore.open(folder / "pairscope.duckdb", threads=1)
        engine, journal = DataProcessor(ticks.symbols), Journal(ticks.symbols)
        keeper = JournalKeeper(store, stored_ns=store.watermark_ns, started_ns=1)
        journal.note("start")
        for k, rows in enumerate(np.array_split(np.arange(len(ticks)), 60)):
            batch = ticks.take(rows)
            batch = batch.with_watermark(int(batch.ts_event_ns.max()) - 300_000_000)
            updates = engine.on_batch(batch)
            for entry in journal.take(batch, updates):
                keeper.add(entry)
            bars = [bars for bars in (*updates.closed, *updates.revised) if bars.timeframe in {"1s", "1m"}]
            await store.append(batch, bars)
            if k == 30 and between is not None:
                await between(store, journal, batch)
        await keeper.close()
        await store.close()

    asyncio.run(play())


@pytest.fixture(scope="module")
def recorded(
    market_rows: Any, ticks_of: Callable[..., TickBatch], noon_ns: int, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A store as a process leaves it: five minutes of two symbols, and the journal of what was told of them."""
    folder = tmp_path_factory.mktemp("recorded")
    ticks = ticks_of(market_rows(seed=4, trades=900, span_s=300))

    record(folder, ticks)
    return folder


class Said:
    """What the command said on standard error and showed on standard output."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.said: list[str] = []
        self.shown: list[str] = []

    def run(self, **asked: Any) -> int:
        self.shown.clear()
        return verify(self.settings, Asked(**asked), say=self.said.append, show=self.shown.append)

    @property
    def text(self) -> str:
        return "\n".join(self.shown)


def altered(folder: Path, sql: str) -> None:
    with duckdb.connect(str(folder / "pairscope.duckdb")) as connection:
        connection.execute(sql)


def test_it_counts_what_was_compared_and_says_that_nothing_differs(recorded: Path) -> None:
    told = Said(recorded)
    assert told.run() == 0
    assert told.said == [f"reading from the store {(recorded / 'pairscope.duckdb').resolve()}"]
    assert told.shown[-1] == "0 differences"
    for kind in ("1s bars ", "5s bars ", "1m bars ", "1s bars as told", "statistics"):
        assert any(line.strip().startswith(kind) and line.endswith("compared") for line in told.shown), kind
    assert told.run(json=True) == 0
    document = json.loads(told.text)
    assert (document["differences"], document["examples"], document["by_kind"]) == (0, [], {})
    assert document["compared"]["1m bars"] == 8
    assert 880 <= document["ticks"] <= 900


def test_trades_that_a_file_brought_meanwhile_are_none_that_came_live(
    market_rows: Any, ticks_of: Callable[..., TickBatch], tmp_path: Path
) -> None:
    live = ticks_of(market_rows(seed=4, trades=900, span_s=300))
    rows = market_rows(seed=5, names=("BTCUSDT",))
    older = ticks_of((name, number - 900, at - 3600 * SECOND, *rest) for name, number, at, *rest in rows)

    async def between(store: DuckDBStore, journal: Journal, after: TickBatch) -> None:
        ticks = OlderTicks("BTCUSDT", Shelf(store, store, lambda _bars: None, journal.note))
        for half in np.array_split(np.arange(len(older)), 2):
            await ticks.take(replace(older.take(half), ts_recv_ns=after.ts_recv_ns[-1] + 1 + half))
        assert ticks.stored == len(older)
        await ticks.finish()

    record(tmp_path, live, between=between)
    told = Said(tmp_path)
    assert told.run() == 0, told.text


def test_days_that_were_archived_are_verified_like_those_in_the_store(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "copy")

    async def archive() -> int:
        store = await DuckDBStore.open(tmp_path / "copy" / "pairscope.duckdb", threads=1)
        moved = await store.upkeep.archive(30_000)
        await store.close()
        return moved["ticks"]

    ticks = asyncio.run(archive())
    told, plain = Said(tmp_path / "copy"), Said(recorded)
    assert (told.run(json=True), plain.run(json=True)) == (0, 0)
    assert json.loads(told.text) == json.loads(plain.text)
    assert ticks == 900


def test_a_range_and_symbols_narrow_it(recorded: Path, noon_ns: int) -> None:
    told = Said(recorded)
    assert told.run(json=True, since="2024-08-01T12:02:00Z", until=str((noon_ns + 240 * SECOND) // 10**6)) == 0
    part = json.loads(told.text)["compared"]
    assert part["1m bars"] == 4
    assert told.run(json=True, symbols=" btcusdt ") == 0
    one = json.loads(told.text)["compared"]
    assert (one["1m bars"], "statistics" in one) == (4, False)


def test_a_tick_altered_in_the_store_is_told_in_words_and_ends_with_one(recorded: Path) -> None:
    which = "symbol_id = 0 AND id = (SELECT min(id) + 50 FROM tick WHERE symbol_id = 0)"
    altered(recorded, f"UPDATE tick SET price = price * 2 WHERE {which}")
    told = Said(recorded)
    try:
        assert told.run() == 1
        assert "high " in told.text
        assert " stored, " in told.text
        assert "told otherwise when it closed" in told.text
        assert told.shown[-1].endswith("differences")
        assert told.run(json=True) == 1
        found = json.loads(told.text)
        assert found["by_kind"]["bars"] == found["differences"] - found["by_kind"].get("statistics", 0)
        assert len(found["examples"]) == min(found["differences"], SHOWN)
        assert found["examples"][0]["key"] == "BTCUSDT"
    finally:
        altered(recorded, f"UPDATE tick SET price = price / 2 WHERE {which}")
    assert told.run() == 0


def test_what_makes_no_sense_is_refused_by_its_flag(recorded: Path, tmp_path: Path) -> None:
    told = Said(recorded)
    for asked, flag in (
        ({"since": "yesterday"}, "--since"),
        ({"since": "2024-08-02", "until": "2024-08-01"}, "--until"),
    ):
        with pytest.raises(InputError) as refused:
            told.run(**asked)
        assert refused.value.loc == flag
    with pytest.raises(UnknownSymbol) as unknown:
        told.run(symbols="NOPEUSDT")
    assert unknown.value.loc == "--symbols"
    with pytest.raises(ConfigError, match="no store"):
        Said(tmp_path).run()


def test_only_the_first_differences_are_told_and_all_are_counted() -> None:
    verdict = Verdict()
    for i in range(SHOWN + 5):
        verdict.differs(Difference("pairs", f"P{i}", "1m", i * SECOND, 1.5, 2.5))
    told = lines(verdict)
    assert told[-2:] == ["  and 5 more", f"{SHOWN + 5} differences"]
    assert told[1] == "  pairs P0 1m: 1.5 recorded, 2.5 replayed"
    assert words(Difference("statistics", "B", "", SECOND, 1.0, 1.0)).endswith("others beside it differ")
