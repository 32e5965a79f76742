"""Bulk history over HTTP: a back-fill and a file as jobs, how far they are, what came of them, and their end."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.feed.replayed import MINUTE_MS, NOON_MS, ReplayedExchange

from pairscope.api.app import ApiOptions
from pairscope.feed.bulk_history import BulkLoader
from pairscope.ports import Services
from pairscope.ports_bulk import BulkHistory
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.transfer.tick_file import tick_file

from .conftest import client_of
from .market import Market

DAY_MS = 1_790_380_800_000  # the day before the exchange's now
FILE = "BTCUSDT-aggTrades-2026-09-26.csv"
ROWS = "".join(f"{n},61800.3,0.5,{n},{n},{DAY_MS + n * 250},true\n" for n in range(500))


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    store = await DuckDBStore.open(tmp_path / "fresh.duckdb")
    yield store
    await store.close()


@dataclass
class Served:
    """What ``client_of`` asks for services."""

    parts: Services

    @property
    def bulk(self) -> BulkHistory:
        return self.parts.bulk

    def services(self) -> Services:
        return self.parts


@pytest.fixture
def served(market: Market, fresh: DuckDBStore, tmp_path: Path) -> Any:
    """Those of the small market, but with an exchange that answers and a store of its own."""
    exchange = ReplayedExchange()
    bulk = BulkLoader(
        rest=exchange.rest(),
        store=fresh,
        records=fresh,
        jobs=market.jobs,
        imported=lambda _bars: None,
        clock=exchange.clock,
        directory=tmp_path / "incoming",
        exported=tick_file,
    )
    return Served(replace(market.services(), bulk=bulk))


async def ended(client: httpx2.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (view := (await client.get(f"/api/jobs/{job['id']}")).json())["ended_ms"] is None:
            await asyncio.sleep(0.02)
    return dict(view)


async def test_a_back_fill_is_a_job_whose_answer_says_what_was_stored(served: Any, fresh: DuckDBStore) -> None:
    body = {"symbols": "btcusdt, ETHUSDT", "since": NOON_MS - 120 * MINUTE_MS}
    async with client_of(served) as client:
        answer = await client.post("/api/backfill", json=body)
        assert answer.status_code == 202
        view = await ended(client, answer.json())
        assert (view["kind"], view["status"], view["done"], view["total"]) == ("backfill", "done", 240, 240)
        found = (await client.get(view["result"])).json()
        again = (await client.post("/api/backfill?wait=true", json=body)).json()
    assert found["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert found["stored"] == (await fresh.stats()).bars > 200
    assert again["stored"] == 0


async def test_a_file_of_the_exchange_is_read_and_leaves_nothing_behind(
    served: Any, fresh: DuckDBStore, tmp_path: Path
) -> None:
    async with client_of(served) as client:
        answer = await client.post("/api/upload/exchange", files={"file": (f"../../{FILE}", ROWS.encode())})
        assert answer.status_code == 202, answer.text
        view = await ended(client, answer.json())
        found = (await client.get(view["result"])).json()
    assert (view["kind"], found["file"], found["stored"], found["rows"]) == ("exchange", FILE, 500, 500)
    assert found["first_timestamp"] == DAY_MS
    assert [(span.from_id, span.to_id) for span in await fresh.held("BTCUSDT")] == [(0, 499)]
    async with asyncio.timeout(60):
        while list((tmp_path / "incoming").iterdir()):
            await asyncio.sleep(0.01)
    assert not list(tmp_path.rglob(FILE))


async def test_exported_trades_are_known_by_their_columns_and_read_all_or_none(served: Any, fresh: DuckDBStore) -> None:
    head, time = "id,timestamp,price,size,buyer_is_maker\n", "2026-09-26T00:00:00.000Z"
    good = gzip.compress((head + "".join(f"{n},{time},5.5,0.5,true\n" for n in range(50))).encode())
    async with client_of(served) as client:

        async def sent(content: bytes, **fields: str) -> httpx2.Response:
            file = {"file": ("mine.csv.gz", content)}
            return await client.post("/api/upload/exchange?wait=true", files=file, data=fields)

        bad = await sent(gzip.compress(f"{head}1,{time},-5,1,true\n".encode()), symbol="ETHUSDT")
        nameless = await sent(good)
        assert (bad.status_code, nameless.status_code, (await fresh.stats()).ticks) == (422, 422, 0)
        found = (await sent(good, symbol="ethusdt")).json()
    assert "row 1, column price: is not above zero" in bad.json()["detail"]
    assert nameless.json()["errors"][0]["loc"][-1] == "symbol"
    assert (found["symbol"], found["stored"], found["kind"]) == ("ETHUSDT", 50, "trades")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("prices.csv", b"1", "does not say whose it is"),
        ("BTCUSDT-trades-2026-09-26.zip", b"1", "holds trades"),
        (FILE, b"\x00\x01", "is no text"),
        (FILE.replace("csv", "zip"), b"PK\x03\x04 and no more", "broken"),
    ],
)
async def test_a_file_that_cannot_be_read_says_why_and_stores_nothing(
    served: Any, fresh: DuckDBStore, name: str, content: bytes, said: str
) -> None:
    async with client_of(served) as client:
        answer = await client.post("/api/upload/exchange?wait=true", files={"file": (name, content)})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert answer.json()["errors"][0]["loc"][-1] == "file"
    assert (await fresh.stats()).ticks == 0


async def test_a_cancelled_back_fill_ends_and_keeps_what_it_stored(served: Any, fresh: DuckDBStore) -> None:
    body = {"symbols": ["BTCUSDT"], "since": NOON_MS - 10 * 365 * 86_400_000 // 10, "kind": "bars"}
    async with client_of(served) as client:
        job = (await client.post("/api/backfill", json=body)).json()
        async with asyncio.timeout(60):
            while not (await fresh.stats()).bars:
                await asyncio.sleep(0.02)
        running = served.bulk.counters()["running"]
        await client.delete(f"/api/jobs/{job['id']}")
        view = await ended(client, job)
        answer = await client.get(f"/api/bulk/{job['id']}")
    assert view["status"] == "cancelled"
    assert answer.status_code == 409
    assert running["total"] > running["done"] > 0
    assert running["eta_s"] > 0
    assert (await fresh.stats()).bars < 365 * 1440


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"since": 0}, "symbols"),
        ({"since": 0, "symbols": ["BTCUSDT"], "top": 3}, "symbols"),
        ({"symbols": ["BTCUSDT"]}, "since"),
        ({"symbols": ["BTCUSDT"], "since": "soon"}, "since"),
        ({"symbols": ["BTCUSDT"], "since": 4_000_000_000_000}, "since"),
        ({"symbols": ["BTCUSDT"], "since": 1_700_000_000_000, "until": 1_600_000_000_000}, "until"),
        ({"symbols": ["BTCUSDT"], "since": 0, "until": "2024-08-08", "kind": "trades"}, "since"),
        ({"symbols": ["BTCUSDT"], "since": 0, "kind": "quotes"}, "kind"),
        ({"symbols": ["B T C"], "since": 0}, "symbols"),
    ],
)
async def test_a_request_that_cannot_be_names_what_is_wrong(served: Any, body: Any, loc: str) -> None:
    async with client_of(served) as client:
        answer = await client.post("/api/backfill", json=body)
    assert answer.status_code == 422, answer.text
    assert loc in answer.json()["errors"][0]["loc"]


async def test_an_unknown_symbol_and_an_unknown_job_are_not_found(served: Any) -> None:
    async with client_of(served) as client:
        body = {"symbols": ["BTCUSDTT"], "since": NOON_MS - MINUTE_MS}
        symbol = await client.post("/api/backfill?wait=true", json=body)
        job = await client.get("/api/bulk/none")
    assert (symbol.status_code, job.status_code) == (404, 404)
    assert "BTCUSDT" in symbol.json()["detail"]


async def test_a_file_may_be_larger_than_other_bodies_and_has_a_limit(served: Any) -> None:
    async with client_of(served, ApiOptions(max_body_bytes=1000, max_file_bytes=40_000)) as client:
        passed = await client.post("/api/upload/exchange?wait=true", files={"file": (FILE, ROWS.encode())})
        refused = await client.post("/api/upload/exchange?wait=true", files={"file": (FILE, ROWS.encode() * 2)})
    assert (passed.status_code, refused.status_code) == (200, 413)
