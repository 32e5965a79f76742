"""nginx as deploy/ sets it up: what its checkers say, and what it really does in front of two replicas."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.deploy.nginx_here import PLACE, UNCHECKED, Front, agreed, free_ports, nginx, running, written
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve


class Replica(ThreadingHTTPServer):
    """Says who it is and what it was asked; with ``status`` it says that to everything."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        self.name, self.status, self.asked = name, 200, list[str]()
        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        replica = self.server
        assert isinstance(replica, Replica)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        replica.asked.append(f"{self.command} {self.path}")
        body = json.dumps({"from": replica.name, "headers": dict(self.headers)}).encode()
        self.send_response(replica.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if replica.status == 503:
            self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Be quiet."""


class House:
    """Two replicas and a dashboard behind nginx."""

    def __init__(self, front: Front, replicas: list[Replica], dashboard: Replica) -> None:
        self.front, self.replicas, self.dashboard = front, replicas, dashboard

    def ask(self, path: str, *, verb: str = "GET", body: bytes | None = None, **headers: str) -> HTTPResponse:
        connection = HTTPSConnection("127.0.0.1", self.front.tls, context=UNCHECKED, timeout=30)
        connection.request(verb, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    nginx()  # before anything is begun that a skipped test would leave running
    replicas, dashboard = [Replica("api-0"), Replica("api-1")], Replica("dashboard")
    ports = [each.server_address[1] for each in (*replicas, dashboard)]
    hosts = {"api-0:8000": ports[:1], "api-1:8000": ports[1:2], "dashboard:8501": ports[2:], "grafana:3000": ports[2:]}
    place, front = written(tmp_path, hosts)
    with running(place, front):
        yield House(front, replicas, dashboard)
    for each in (*replicas, dashboard):
        each.shutdown()
        each.server_close()


def test_nginx_takes_the_file_and_refuses_a_misspelt_one(tmp_path: Path) -> None:
    hosts = {name: free_ports(1) for name in ("api-0:8000", "api-1:8000", "dashboard:8501", "grafana:3000")}
    place, _ = written(tmp_path, hosts)
    said = agreed(place)
    assert said.returncode == 0, said.stderr
    place.write_text(place.read_text().replace("limit_req_status", "limit_req_state"))
    assert 'unknown directive "limit_req_state"' in agreed(place).stderr


def test_gixy_finds_nothing_and_would_find_what_tells_the_version(tmp_path: Path) -> None:
    gixy = [str(Path(sys.executable).with_name("gixy")), "-f", "json"]
    said = subprocess.run([*gixy, PLACE / "nginx.conf"], capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, json.loads(said.stdout)) == (0, []), said.stdout
    (tmp_path / "nginx.conf").write_text(
        (PLACE / "nginx.conf").read_text().replace("server_tokens off", "server_tokens on")
    )
    said = subprocess.run([*gixy, tmp_path / "nginx.conf"], capture_output=True, text=True, timeout=60, check=False)
    assert "version_disclosure" in said.stdout


def test_one_origin_has_the_page_and_the_api_and_hides_the_metrics(house: House) -> None:
    assert json.load(house.ask("/"))["from"] == "dashboard"
    assert json.load(house.ask("/_stcore/health"))["from"] == "dashboard"
    for path in ("/api/health", "/api/export/BTCUSDT", "/docs", "/openapi.json"):
        assert json.load(house.ask(path))["from"].startswith("api-"), path
    assert house.ask("/metrics").status == 404
    assert not any("/metrics" in asked for each in (*house.replicas, house.dashboard) for asked in each.asked)


def test_what_is_safe_to_repeat_goes_to_the_other_replica_where_one_is_not_ready_or_gone(house: House) -> None:
    house.replicas[0].status = 503
    assert {json.load(house.ask("/api/symbols"))["from"] for _ in range(6)} == {"api-1"}
    house.replicas[0].shutdown()
    house.replicas[0].server_close()
    assert [house.ask("/api/symbols").status for _ in range(6)] == [200] * 6
    assert [house.ask("/api/alerts", verb="POST", body=b"{}").status for _ in range(6)] == [200] * 6, "never sent"


def test_a_refusal_that_all_replicas_give_reaches_the_caller_and_takes_none_out(house: House) -> None:
    for each in house.replicas:
        each.status = 503
    answers = [house.ask("/api/ohlc/BTCUSDT") for _ in range(8)]
    assert [(answer.status, answer.headers["Retry-After"]) for answer in answers] == [(503, "5")] * 8
    for each in house.replicas:
        each.status = 200
    assert {json.load(house.ask("/api/price/BTCUSDT"))["from"] for _ in range(6)} == {"api-0", "api-1"}


def test_what_changes_something_is_sent_once(house: House) -> None:
    for each in house.replicas:
        each.status = 503
    assert house.ask("/api/backtest", verb="POST", body=b"{}").status == 503
    assert sum(len(each.asked) for each in house.replicas) == 1


def test_a_caller_is_named_to_the_api_and_cannot_name_himself(house: House) -> None:
    said = json.load(house.ask("/api/health", X_Forwarded_For="6.6.6.6", X_Request_ID="mine-1"))["headers"]
    assert said["X-Forwarded-For"] == "127.0.0.1"
    assert (said["X-Request-ID"], said["Host"]) == ("mine-1", f"127.0.0.1:{house.front.tls}")
    assert len(json.load(house.ask("/api/health", X_Request_ID="no good"))["headers"]["X-Request-ID"]) == 32
    house.ask("/api/health?key=secret", X_Request_ID="mine-2").read()
    lines = [json.loads(line) for line in house.front.lines.read_text().splitlines()]
    assert lines[0]["request_id"] == "mine-1" and lines[0]["path"] == "/api/health" and lines[0]["status"] == 200
    assert "secret" not in house.front.lines.read_text()


def test_who_calls_too_often_is_refused_at_once(tmp_path: Path) -> None:
    nginx()
    replica = Replica("api-0")
    port = [replica.server_address[1]]
    hosts = dict.fromkeys(("api-0:8000", "api-1:8000", "dashboard:8501", "grafana:3000"), port)
    place, front = written(tmp_path, hosts)
    place.write_text(place.read_text().replace("rate=50r/s", "rate=1r/m"))
    with running(place, front):
        connection = HTTPSConnection("127.0.0.1", front.tls, context=UNCHECKED, timeout=30)
        statuses = []
        for _ in range(110):
            connection.request("GET", "/api/symbols")
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    assert statuses[:101] == [200] * 101, "a page may ask for much at once"
    assert set(statuses[103:]) == {429}
    assert len(replica.asked) == statuses.count(200)
    replica.shutdown()
    replica.server_close()


def test_without_tls_a_caller_is_sent_to_it_and_the_page_says_what_browsers_may(house: House) -> None:
    import http.client

    plain = http.client.HTTPConnection("127.0.0.1", house.front.plain)
    plain.request("GET", "/a?b=c", headers={"Host": "pairscope.example.com"})
    moved = plain.getresponse()
    assert (moved.status, moved.headers["Location"]) == (308, "https://pairscope.example.com/a?b=c")
    page = house.ask("/").headers
    assert page["X-Frame-Options"] == "SAMEORIGIN" and "frame-ancestors 'self'" in page["Content-Security-Policy"]
    assert "max-age" in page["Strict-Transport-Security"] and page["Server"] == "nginx"
    assert house.ask("/api/upload/ohlc", verb="POST", Content_Length=str(70 << 20)).status == 413
    inner = http.client.HTTPConnection("127.0.0.1", house.front.inner)
    inner.request("GET", "/_stcore/health")
    assert inner.getresponse().status == 404, "only the API is there"


async def test_a_websocket_passes_both_ways(tmp_path: Path) -> None:
    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = [next(iter(server.sockets)).getsockname()[1]]
        hosts = dict.fromkeys(("api-0:8000", "api-1:8000", "dashboard:8501", "grafana:3000"), port)
        place, front = await asyncio.to_thread(written, tmp_path, hosts)
        with running(place, front):
            for path in ("/ws/updates", "/_stcore/stream"):
                async with connect(f"wss://127.0.0.1:{front.tls}{path}", ssl=UNCHECKED) as client:
                    await client.send("there and back")
                    assert await client.recv() == "there and back"
