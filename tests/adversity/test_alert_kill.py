"""``kill -9`` at random around firings: in the store each is there once, and a webhook's receiver hears of each.

It hears of some twice, always under the same idempotency key: that is what at-least-once means. ``ALERT_KILLS`` says
how often; ``make soak`` asks for twenty.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from pairscope.feed.synthetic import SyntheticMarket

from .running import DEADLINE_S, Api, Program, Programs, until
from .webhook_receiver import Receiver

KILLS = int(os.environ.get("ALERT_KILLS", "1"))
SEED, RATE, SYMBOLS = 17, 400, 3
MARKET = SyntheticMarket(seed=SEED, symbols=SYMBOLS, ticks_per_second=RATE)
COOLDOWN_S = 20
LEVELS = (-0.0012, -0.0006, -0.0003, -0.0001, 0.0001, 0.0003, 0.0006, 0.0012)
SETTINGS = {"stall_seconds": "2", "history_minutes": "0", "alert_private_targets": "true"}
SECOND = 1_000_000_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(seed=SEED)
    yield made
    made.close()


class Ear:
    """A client of the stream that hears of firings; ``heard`` grows, ``struck`` is set at each."""

    def __init__(self, url: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self.struck = threading.Event()
        self._url = url.replace("http", "ws") + "/ws/updates"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            with connect(self._url, open_timeout=DEADLINE_S, ping_interval=None) as socket:
                socket.send(json.dumps({"op": "subscribe", "topics": ["alerts"]}))
                for text in socket:
                    message = json.loads(text)
                    if message.get("topic") == "alerts":
                        self.heard.append(message["data"])
                        self.struck.set()
        except (WebSocketException, OSError):
            return  # its server was killed

    def close(self) -> None:
        """Hear what was said until the server ended."""
        self._thread.join(10)


def start(programs: Programs, at: dict[str, str]) -> tuple[Program, Api]:
    symbols = ",".join(MARKET.symbols)
    return programs.run("--source", "live", "--symbols", symbols, "--data-dir", "d", **at, **SETTINGS)


def caught_up(api: Api) -> bool:
    """No hole is open and trades come in."""
    stats = api.stats()
    whole = not any(g["status"] == "open" for g in stats["gaps"]) and stats["feed"].get("gaps_pending") == 0
    return bool(whole and stats["rates"]["ticks_per_second"] > RATE / 4)


def ask(api: Api, method: str, path: str, document: Any = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(api.url + path, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=150) as answer:
        return json.loads(answer.read() or b"null")


def create_rules(api: Api, url: str) -> list[dict[str, Any]]:
    """Levels close around each symbol's price, upwards and downwards, so that some rule comes true every moment."""
    made = []
    for symbol in MARKET.symbols:
        price = float(api.get(f"/api/price/{symbol}")["price"])
        for i, level in enumerate(LEVELS):
            condition = ("crosses_above", "crosses_below")[i % 2]
            asked = {"type": "price", "symbol": symbol, "condition": condition, "threshold": price * (1.0 + level)}
            made.append(ask(api, "POST", "/api/alerts", {**asked, "cooldown_s": COOLDOWN_S, "notify": [url]}))
    return made


def history(api: Api) -> list[dict[str, Any]]:
    """All firings that are stored, oldest first."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = api.get(f"/api/alerts/triggered?limit=1000{cursor}")
        found += page["alerts"]
        if page["next"] is None:
            return found[::-1]
        cursor = f"&cursor={page['next']}"


@pytest.mark.timeout(400 + 120 * KILLS)
def test_a_backend_that_is_killed_around_firings_stores_each_once_and_tells_a_webhook_of_each(
    programs: Programs, receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    at = programs.serve(f"synthetic:seed={SEED},symbols={SYMBOLS},rate={RATE}")
    running, api = start(programs, at)
    until(partial(caught_up, api), what="the market")
    rules = create_rules(api, receiver.url)
    shown: dict[str, dict[str, Any]] = {}
    for turn in range(KILLS):
        ear = Ear(api.url)
        assert ear.struck.wait(DEADLINE_S), "no rule came true"
        ear.struck.clear()
        assert ear.struck.wait(DEADLINE_S), "no second rule came true"
        time.sleep(chance.choice([0.0, chance.uniform(0.0, 0.1), chance.uniform(0.0, 1.0)]))
        running.child("backend").kill()
        assert running.wait() == 1
        ear.close()
        shown |= {firing["id"]: firing for firing in ear.heard}
        running, api = start(programs, at)
        until(partial(caught_up, api), what=f"catching up after kill {turn}")
        rules += create_rules(api, receiver.url)  # around where the price is now: it may have left the others
    ear = Ear(api.url)
    assert ear.struck.wait(DEADLINE_S), "no rule came true: what a killed run told may not be in its journal"
    shown |= {firing["id"]: firing for firing in ear.heard}
    for rule in rules:
        ask(api, "PATCH", f"/api/alerts/{rule['id']}", {"status": "paused"})
    firings = history(api)
    assert api.get("/api/alerts/triggered?limit=1")["alerts"][0]["id"] == firings[-1]["id"], "paused rules fire no more"
    missing = partial(lambda ids: not ids - set(receiver.received.ids), {firing["id"] for firing in firings})
    until(missing, what="the delivery of every firing")
    assert running.stop()[0] == 0
    assert_each_firing_is_there_once(firings, shown)
    assert_the_receiver_heard_of_each(receiver, firings)
    assert_every_crossing_was_told(tmp_path / "d" / "pairscope.duckdb", rules, firings)
    verified = programs.start("verify", "--data-dir", "d")
    assert verified.wait(180) == 0, verified.said()
    assert int(re.findall(r"alerts +([\d,]+) compared", verified.said())[0].replace(",", "")) > 0
    with capsys.disabled():
        print(told(firings, receiver))


def assert_each_firing_is_there_once(firings: list[dict[str, Any]], shown: dict[str, dict[str, Any]]) -> None:
    """Ids and seqs are there once, a rule's numbers have no hole, and what a client was shown is stored as it was."""
    assert len({firing["id"] for firing in firings}) == len(firings)
    seqs = [firing["seq"] for firing in firings]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    by_rule = defaultdict(list)
    for firing in firings:
        by_rule[firing["alert_id"]].append(firing)
    for fired in by_rule.values():
        assert [firing["id"].rpartition("-")[2] for firing in fired] == [str(n + 1) for n in range(len(fired))]
        times = [firing["timestamp"] for firing in fired]
        assert all(abs(b - a) >= COOLDOWN_S * 1000 for a, b in pairwise(times))
    stored = {firing["id"]: firing for firing in firings}
    assert set(shown) <= set(stored), "what a client was shown came true again after the kill, and is stored"


def assert_the_receiver_heard_of_each(receiver: Receiver, firings: list[dict[str, Any]]) -> None:
    """Every firing came, each under one idempotency key, however often, and as it is stored."""
    received = receiver.received
    assert set(received.ids) == {firing["id"] for firing in firings}
    for firing in firings:
        assert len(set(received.ids[firing["id"]])) == 1
        for body in received.bodies[firing["id"]]:
            assert (body["timestamp"], body["seq"]) == (firing["timestamp"], firing["seq"])
            assert body["value"] == pytest.approx(float(firing["value"]), rel=1e-12)
    assert len({ids[0] for ids in received.ids.values()}) == len(firings), "no two firings share a key"


def assert_every_crossing_was_told(file: Path, rules: list[dict[str, Any]], firings: list[dict[str, Any]]) -> None:
    """Every firing stands on a stored trade beyond its level, and no crossing of the stored trades was forgotten.

    Trades that were missed while nobody listened came late and out of order, so that a crossing in them may have been
    told at a neighbour; it was told within a cooldown of itself.
    """
    times: defaultdict[str, list[int]] = defaultdict(list)
    for firing in firings:
        times[firing["alert_id"]].append(firing["timestamp"])
    with duckdb.connect(str(file), read_only=True) as store:
        for symbol in MARKET.symbols:
            rows = store.execute(
                "SELECT ts_event_ns // 1000000 AS ms, price FROM tick JOIN symbol USING (symbol_id) "
                "WHERE name = $name ORDER BY id",
                {"name": symbol},
            ).fetchnumpy()
            ms, price = rows["ms"], rows["price"]
            for rule in (rule for rule in rules if rule["symbol"] == symbol):
                side = 1.0 if rule["condition"] == "crosses_above" else -1.0
                beyond = side * (price - float(rule["threshold"]))
                fired = np.array(times[rule["id"]], np.int64)
                for at in fired.tolist():
                    assert (beyond[ms == at] > 0).any(), f"{rule} fired at {at} where no trade was beyond its level"
                crossed = ms[1:][(beyond[:-1] < 0) & (beyond[1:] > 0)]
                crossed = crossed[(crossed > rule["created"]) & (crossed < firings[-1]["timestamp"] - 5000)]
                for at in crossed.tolist():
                    near = fired.size and int(np.abs(fired - at).min()) < COOLDOWN_S * 1000
                    assert near, f"{rule} says nothing of {at}, where its level was crossed; it fired at {fired}"


def told(firings: list[dict[str, Any]], receiver: Receiver) -> str:
    """Count what the claim is about."""
    received = receiver.received
    often = Counter(len(ids) for ids in received.ids.values())
    twice = ", ".join(f"{count} {times} times" for times, count in sorted(often.items()))
    late = sum(bool(firing["late"]) for firing in firings)
    return (
        f"{KILLS} kills: {len(firings)} firings stored, each once ({late} of them late); received at the webhook: "
        f"{sum(map(len, received.ids.values()))} messages, of {len(received.ids)} firings ({twice}), "
        f"{sum(len(set(ids)) for ids in received.ids.values())} idempotency keys"
    )
