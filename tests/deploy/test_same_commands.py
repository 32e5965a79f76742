"""The compose file's commands, with its variables beside a real PostgreSQL, Redis and nginx, serve the market."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.deploy.compose_here import ComposeHere, asked, market, until
from tests.deploy.nginx_here import UNCHECKED, nginx
from tests.redis_server import RedisServer
from websockets.asyncio.client import connect

KEY = "an-operators-key"
PASSWORD = "0123456789abcdef"
NAMES = ("ingest-0", "ingest-1", "api-0", "api-1", "dashboard")


@pytest.fixture
def stack(tmp_path: Path, postgres_url: str, redis_server: RedisServer) -> Iterator[ComposeHere]:
    nginx()
    cache = redis.Redis.from_url(redis_server.url)
    cache.config_set("requirepass", PASSWORD)
    exchange, port = market(tmp_path, "synthetic:symbols=6,rate=60,seed=5")
    given = {
        "POSTGRES_PASSWORD": PASSWORD,
        "REDIS_PASSWORD": PASSWORD,
        "PAIRSCOPE_API_KEYS": "sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),
        "PAIRSCOPE_DASHBOARD_KEY": "the-dashboards-key",
        "PAIRSCOPE_JWT_SECRET": "the-same-for-all",
        "PAIRSCOPE_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4,
        "PAIRSCOPE_ARCHIVE_URL": str(tmp_path / "archive"),
        "PAIRSCOPE_PUBLIC_URL": "https://pairscope.test",
        "PAIRSCOPE_EXCHANGE_WS_URL": f"ws://127.0.0.1:{port}",
        "PAIRSCOPE_EXCHANGE_REST_URL": f"http://127.0.0.1:{port}",
        "PAIRSCOPE_TOP": "6",
    }
    servers = {
        f"pairscope:{PASSWORD}@postgres:5432/pairscope": postgres_url.partition("://")[2],
        "redis:6379": f"127.0.0.1:{redis_server.port}",
    }
    house = ComposeHere(tmp_path, given, servers, NAMES)
    try:
        house.open_door()
        house.start()
        yield house
    finally:
        house.close()
        exchange.terminate()
        exchange.wait(20)
        redis.Redis.from_url(redis_server.url, password=PASSWORD).config_set("requirepass", "")


@pytest.mark.slow
async def test_the_market_comes_through_nginx_from_both_shards_and_either_replica(stack: ComposeHere) -> None:
    front = stack.front
    assert asked(front, "/api/health", "")[0] == 200
    assert asked(front, "/api/symbols", "")[0] == 401, "a key is asked for"

    def followed() -> bool:
        status, symbols = asked(front, "/api/symbols", KEY)
        return status == 200 and len(symbols) == 6 and all(each["tick_count"] for each in symbols)

    until(followed, "symbols of both shards")
    symbols = [each["symbol"] for each in asked(front, "/api/symbols", KEY)[1]]
    for _ in range(2):  # one replica, then the other
        status, price = asked(front, f"/api/price/{symbols[0]}", KEY)
        assert status == 200 and price["price"] > 0 and price["source"] == "live"
    url = f"wss://127.0.0.1:{front.tls}/ws/updates"
    async with connect(url, ssl=UNCHECKED, additional_headers={"X-API-Key": KEY}) as socket:
        await socket.send(json.dumps({"op": "subscribe", "topics": [f"price:{each}" for each in symbols]}))
        told = set()
        while told != set(symbols):
            message = json.loads(await socket.recv())
            assert "error" not in message, message
            told.add(message["data"]["symbol"])
    upstreams = {json.loads(line)["upstream"] for line in front.lines.read_text().splitlines()}
    assert {f"127.0.0.1:{stack.ports[name]}" for name in ("api-0", "api-1")} <= upstreams
    stopped = {name: stack.stop(name) for name in ("api-0", "ingest-0")}
    assert stopped == {"api-0": 0, "ingest-0": 0}, stack.said("api-0") + stack.said("ingest-0")
    assert all(asked(front, "/api/symbols", KEY)[0] == 200 for _ in range(4)), "the other one answers"
