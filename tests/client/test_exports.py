"""Downloads: whole files under their own name, taken up where they broke, and never two versions in one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from pairscope.client import Client
from pairscope.errors import ApiUnreachable, InputError

from .test_clients import client_of, problem

FILE = bytes(range(256)) * 40


class Breaking(httpx2.SyncByteStream):
    """A body whose connection breaks after so many bytes."""

    def __init__(self, content: bytes, breaks_after: int | None) -> None:
        self._content, self._end = content, breaks_after

    def __iter__(self) -> Iterator[bytes]:
        content = self._content if self._end is None else self._content[: self._end]
        for at in range(0, len(content), 1000):
            yield content[at : at + 1000]
        if self._end is not None:
            raise httpx2.ReadError("gone")


class Server:
    """Gives a file in parts as Range asks, and breaks when told."""

    def __init__(self, *breaks: int | None) -> None:
        self.file, self.etag = FILE, '"one"'
        self.asked: list[dict[str, str]] = []
        self.queries: list[dict[str, str]] = []
        self._breaks = list(breaks)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append({name: request.headers.get(name, "") for name in ("range", "if-range", "accept-encoding")})
        self.queries.append(dict(request.url.params))
        first = int(self.asked[-1]["range"].removeprefix("bytes=").rstrip("-") or 0)
        first = first if self.asked[-1]["if-range"] == self.etag else 0
        headers = {"ETag": self.etag, "Content-Length": str(len(self.file) - first)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(self.file) - 1}/{len(self.file)}"
        breaks = self._breaks.pop(0) if self._breaks else None
        return httpx2.Response(206 if first else 200, headers=headers, stream=Breaking(self.file[first:], breaks))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pairscope.client.clients.time", SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic)
    )


def test_a_download_that_breaks_goes_on_where_it_stood(tmp_path: Path) -> None:
    server, seen = Server(3000, 2000, None), []
    path = client_of(server).export(
        "BTCUSDT", tmp_path / "t.csv.gz", timeframe="tick", progress=lambda have, of: seen.append((have, of))
    )
    assert path.read_bytes() == FILE
    assert [one["range"] for one in server.asked] == ["", "bytes=3000-", "bytes=5000-"]
    assert {one["accept-encoding"] for one in server.asked} == {"identity"}
    assert server.queries[0] == {"timeframe": "tick", "format": "csv", "compression": "gzip"}
    assert seen[-1] == (len(FILE), len(FILE))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert list(tmp_path.iterdir()) == [path]


def test_what_another_call_left_is_taken_up_and_what_changed_meanwhile_is_not(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    dead = Server(4000, *[0] * 10)
    with pytest.raises(ApiUnreachable):
        client_of(dead).export("BTCUSDT", path)
    assert not path.exists()
    assert (tmp_path / "t.parquet.part").stat().st_size == 4000
    again = Server()
    client_of(again).export("BTCUSDT", path)
    assert path.read_bytes() == FILE
    assert again.asked[0]["range"] == "bytes=4000-"

    path.unlink()
    with pytest.raises(ApiUnreachable):
        client_of(Server(4000, *[0] * 10)).export("BTCUSDT", path)
    newer = Server()
    newer.file, newer.etag = FILE[::-1] + b"more", '"two"'
    client_of(newer).export("BTCUSDT", path)
    assert path.read_bytes() == newer.file
    assert not (tmp_path / "t.parquet.part").exists()


def test_the_part_of_another_question_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(ApiUnreachable):
        client_of(Server(4000, *[0] * 10)).export("BTCUSDT", path)
    other = Server()
    client_of(other).export("ETHUSDT", path)
    assert other.asked[0]["range"] == ""
    assert path.read_bytes() == FILE


def test_an_instance_with_its_hands_full_is_asked_again_when_it_says(tmp_path: Path) -> None:
    answers = iter([problem(503, "4 exports are under way already", kind="busy", **{"Retry-After": "1"}), None])
    server = Server()
    api = client_of(lambda request: next(answers) or server(request))
    assert api.export("BTCUSDT", tmp_path / "t.jsonl").read_bytes() == FILE


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", {"format": "csv"}),
        ("a.2026.csv.zst", {"format": "csv", "compression": "zstd"}),
        ("a.ndjson", {"format": "jsonl"}),
        ("A.PARQUET", {"format": "parquet"}),
        ("a.arrow", {"format": "arrow"}),
    ],
)
def test_the_format_is_what_the_files_name_says(name: str, form: dict[str, str], tmp_path: Path) -> None:
    server = Server()
    client_of(server).export(["BTCUSDT", "ETHUSDT"], tmp_path / name)
    assert server.queries[0] == {"timeframe": "1m", **form}


def test_a_refusal_leaves_no_file_and_a_name_without_a_format_is_one(tmp_path: Path) -> None:
    refused = client_of(lambda _: problem(422, "timeframe: must be one of …", loc=["query", "timeframe"]))
    with pytest.raises(InputError, match="timeframe"):
        refused.export("BTCUSDT", tmp_path / "a.csv", timeframe="7m")
    with pytest.raises(InputError, match="no format is known"):
        Client().export("BTCUSDT", tmp_path / "a.xlsx")
    assert list(tmp_path.iterdir()) == []
