"""Uploads: files and tables of any library leave whole, and a refusal tells its rows."""

from __future__ import annotations

import io
from datetime import date, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from pairscope.client import Client
from pairscope.errors import InputError

from .test_clients import client_of
from .test_clients_both import awaited_client_of

BARS = pd.DataFrame(
    {
        "open": [0.1, 0.3],
        "high": [0.3, 0.4],
        "low": [0.1, 0.3],
        "close": [0.3, 0.30000000000000004],
        "volume": [1.0, 2.0],
    },
    pd.DatetimeIndex(["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"], name="timestamp"),
)


class Server:
    """Keeps the fields of the forms that it is sent."""

    def __init__(self, document: Any = None, status: int = 200) -> None:
        self.forms: list[dict[str, tuple[str | None, bytes]]] = []
        self.requests: list[httpx2.Request] = []
        self._document = {"inserted": 2} if document is None else document
        self._status = status

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
        form = {}
        for part in message_from_bytes(head + request.content).walk():
            name = part.get_param("name", header="content-disposition")
            if name:
                form[str(name)] = (part.get_filename(), part.get_payload(decode=True))
        self.forms.append(form)
        return httpx2.Response(self._status, json=self._document)


def test_a_file_goes_under_its_name_with_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"timestamp,open\n")
    server = Server()
    api = client_of(server)
    assert api.upload(path, "ACMEUSDT", "5m") == {"inserted": 2}
    api.upload(str(path), preview=True, partial=True)
    api.upload(b"{}", "ACMEUSDT", filename="mine.json")
    api.upload(io.BytesIO(b"x"), filename="x.csv")
    assert server.forms[0] == {
        "file": ("mine.csv", b"timestamp,open\n"),
        "symbol": (None, b"ACMEUSDT"),
        "timeframe": (None, b"5m"),
    }
    assert {name: said for name, (_, said) in server.forms[1].items() if name != "file"} == {
        "preview": b"true",
        "partial": b"true",
    }
    assert server.forms[2]["file"] == ("mine.json", b"{}")
    assert server.forms[3]["file"] == ("x.csv", b"x")


@pytest.mark.parametrize(
    "made",
    [lambda t: t, lambda t: pl.from_pandas(t.reset_index()), lambda t: pl.from_pandas(t.reset_index()).to_arrow()],
)
def test_a_table_of_any_library_goes_exact_to_the_last_digit(made: Any) -> None:
    server = Server()
    client_of(server).upload(made(BARS), "ACMEUSDT", "1m")
    name, content = server.forms[0]["file"]
    assert name == "upload.parquet"
    back = pq.read_table(io.BytesIO(content)).to_pandas()
    assert list(back.columns) == ["timestamp", "open", "high", "low", "close", "volume"]
    assert back["close"].tolist() == [0.3, 0.30000000000000004]
    assert back["timestamp"].tolist() == list(BARS.index)


async def test_the_awaited_client_sends_files_and_tables_as_well(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"timestamp,open\n")
    server = Server()
    async with awaited_client_of(server) as api:
        await api.upload(path, "ACMEUSDT", "5m")
        await api.upload(BARS, "ACMEUSDT", "1m")
    assert server.forms[0]["file"] == ("mine.csv", b"timestamp,open\n")
    assert len(pq.read_table(io.BytesIO(server.forms[1]["file"][1]))) == 2


def test_a_refused_upload_tells_every_row() -> None:
    rejected = [{"row": 3, "column": "high", "reason": "is below low"}]
    said = {"detail": "1 row is bad", "rejected": rejected, "errors": [{"loc": ["body", "file"], "msg": "…"}]}
    with pytest.raises(InputError, match="1 row is bad") as error:
        client_of(Server(said, 422)).upload(b"x", filename="x.csv")
    assert error.value.problem is not None
    assert error.value.problem["rejected"] == rejected


def test_what_cannot_be_sent_is_said_before_anything_is() -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Client().upload("/nowhere/at/all.csv")
    with pytest.raises(InputError, match="got int"):
        Client().upload(7)


def test_uploads_are_listed_and_taken_out_again() -> None:
    rows = [{"symbol": "ACMEUSDT", "timeframe": "5m", "rows": 3, "first_timestamp": 0, "last_timestamp": 600_000,
             "uploaded_at": 1_767_225_600_000, "filename": "mine.csv"}]  # fmt: skip
    table = client_of(Server(rows)).uploads()
    assert table["last_timestamp"].iloc[0] == pd.Timestamp("1970-01-01T00:10:00Z")
    server = Server({"removed": 3})
    assert client_of(server).remove_upload("ACMEUSDT", "5m") == {"removed": 3}
    assert (server.requests[0].method, str(server.requests[0].url)) == (
        "DELETE",
        "http://api.test/api/uploads/ACMEUSDT?timeframe=5m",
    )


def test_what_the_store_is_told_to_do_goes_as_the_api_has_it() -> None:
    server = Server({"id": "7", "days": 3})
    api = client_of(server)
    assert api.archive(before=date(2026, 1, 1), symbols=["BTCUSDT"], dry_run=True)["days"] == 3
    api.retention(days=30)
    api.retention(gb=20, dry_run=False)
    api.backfill("BTCUSDT,ETHUSDT", datetime(2026, 1, 1), kind="trades")
    api.check_store(repair=True)
    api.compact()
    api.import_exchange(b"PK", filename="BTCUSDT-aggTrades-2026-01-01.zip")
    assert [(r.url.path, orjson.loads(r.content)) for r in server.requests[:6]] == [
        ("/api/storage/archive", {"before": "2026-01-01", "symbols": ["BTCUSDT"], "dry_run": True}),
        ("/api/storage/retention", {"days": 30, "dry_run": True}),
        ("/api/storage/retention", {"gb": 20, "dry_run": False}),
        ("/api/backfill", {"symbols": ["BTCUSDT", "ETHUSDT"], "since": "2026-01-01T00:00:00", "kind": "trades"}),
        ("/api/storage/check", {"repair": True}),
        ("/api/storage/compact", {}),
    ]
    assert server.forms[6]["file"] == ("BTCUSDT-aggTrades-2026-01-01.zip", b"PK")


def test_every_gap_is_there_with_its_times_and_the_first_so_many_where_asked() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        gap = {"symbol": "BTCUSDT", "from_id": 5, "to_id": 6, "status": "open", "missing": 2}
        times = {"after": 1_767_225_600_123, "before": 1_767_225_600_456, "seen": 1_767_225_600_500, "ended": None}
        return httpx2.Response(200, json={"gaps": [{**gap, **times}] * 2, "next": "c" if len(asked) == 1 else None})

    table = client_of(answer).gaps("BTCUSDT", status="open")
    assert len(table) == 4
    assert table["after"].iloc[0] == pd.Timestamp("2026-01-01T00:00:00.123Z")
    assert table["ended"].isna().all()
    assert asked == [
        {"limit": "10000", "symbol": "BTCUSDT", "status": "open"},
        {"limit": "10000", "cursor": "c", "symbol": "BTCUSDT", "status": "open"},
    ]
    asked.clear()
    assert len(client_of(answer).gaps(limit=1)) == 1
    assert [page["limit"] for page in asked] == ["1"]
