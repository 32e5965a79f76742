"""Messages over a crash, a store that refuses, documents that are none, and more of them than there is room for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from pairscope.delivery import DELIVERIES, OUTBOX
from pairscope.delivery.outbox import UNREADABLE
from pairscope.storage.duckdb_store import DuckDBStore


async def test_a_crash_between_the_answer_and_its_record_repeats_the_message_under_the_same_id(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin()
    house.box.refuses = True  # the answer comes, its record does not
    house.fire(receiver.url())
    await house.until(lambda: house.box.refused and receiver.posts)
    await house.die()
    house.box.refuses = False
    assert len(receiver.posts) == 1
    assert house.ended == []

    await house.begin()
    await house.until(lambda: house.ended and not house.waits)
    assert len(receiver.posts) == 2
    assert receiver.posts[0].headers["webhook-id"] == receiver.posts[1].headers["webhook-id"]
    assert receiver.posts[0].body == receiver.posts[1].body


async def test_a_restart_after_the_record_repeats_nothing(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended)
    assert house.waits == []  # one transaction has moved it
    await house.die()
    await house.begin()
    assert house.courier.counters()["waiting"] == 0
    house.fire(receiver.url())
    await house.until(lambda: len(house.ended) == 2)
    assert [post.document["id"] for post in receiver.posts] == ["rule-1", "rule-2"]


async def test_what_failed_before_a_restart_goes_on_where_it_was(house: Any) -> None:
    receiver = await house.receiver(lambda _: 500)
    await house.begin(until_s=100.0)
    house.fire(receiver.url())
    await house.until(lambda: len(receiver.posts) >= 6 and house.waits[0]["next_ms"] > house.clock.now_ns // 1_000_000)
    await house.die()
    before = house.waits[0]
    receiver.answer = lambda _: 200
    await house.begin()
    await house.until(lambda: house.ended)
    attempts = house.ended[0]["attempts"]
    assert attempts[: len(before["attempts"])] == before["attempts"]
    assert attempts[-1]["ok"]
    assert attempts[-1]["at"] >= before["next_ms"]


async def test_while_the_store_refuses_messages_go_out_once_and_are_recorded_when_it_is_back(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin()
    house.box.refuses = True
    for _ in range(20):
        house.fire(receiver.url())
    await house.until(lambda: len(receiver.posts) == 20)
    await house.until(lambda: house.courier.counters()["unwritten"] == 20)
    assert house.courier.counters()["waiting"] == 0
    house.box.refuses = False
    await house.until(lambda: len(house.ended) == 20 and not house.waits)
    assert len(receiver.posts) == 20
    assert house.courier.counters()["unwritten"] == 0


async def test_a_message_whose_document_lies_in_the_spool_still_is_sent(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin(most_bodies=0)  # its document is read when it is sent
    house.fire(receiver.url())
    (key,) = house.box.held
    held = house.box.held.pop(key)
    house.clock.passed = lambda: _put_back(house, key, held)
    await house.until(lambda: house.ended)
    assert len(receiver.posts) == 1


async def _put_back(house: Any, key: tuple[str, str], held: bytes) -> None:
    if key not in house.box.held and (DELIVERIES, key[1]) not in house.box.held:
        house.box.held[key] = held


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"firing": 1, "target": "https://a.example"}', b'{"firing": {}}', b"null"]
)
async def test_a_document_that_is_none_is_put_aside_and_the_others_go_on(house: Any, body: bytes) -> None:
    receiver = await house.receiver()
    house.box.held[OUTBOX, "00000000000000000000:0"] = body
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended and (UNREADABLE, "00000000000000000000:0") in house.box.held)
    assert house.box.held[UNREADABLE, "00000000000000000000:0"] == body
    assert (OUTBOX, "00000000000000000000:0") not in house.box.held
    assert house.courier.counters()["unreadable"] == 1
    assert len(receiver.posts) == 1


async def test_a_target_that_is_not_allowed_any_more_is_given_up_unsent(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin(run=False)
    house.fire(receiver.url())
    await house.begin(private=False)
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "given_up"
    assert house.ended[0]["attempts"][0]["refused"]
    assert receiver.posts == []


async def test_more_than_there_is_room_for_waits_in_the_store_and_is_sent_in_time(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin(run=False, most_waiting=10, most_bodies=3)
    for _ in range(100):
        house.fire(receiver.url())
    assert house.courier.counters()["waiting"] == 10
    assert house.courier.counters()["more_in_store"] is True
    await house.begin(most_waiting=10, most_bodies=3)
    most = 0

    def all_there() -> bool:
        nonlocal most
        most = max(most, house.courier.counters()["waiting"])
        return len(house.ended) == 100

    await house.until(all_there)
    assert most <= 10
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == len(receiver.posts) == 100


async def test_the_outbox_of_a_real_store_survives_a_restart(house: Any, tmp_path: Path) -> None:
    receiver = await house.receiver(lambda _: 500)
    store = await DuckDBStore.open(tmp_path / "outbox.duckdb", threads=1)
    house.box = store
    await house.begin(run=False)
    body = {"firing": {"id": "rule-1"}, "target": receiver.url(), "attempts": [], "made": 0, "next_ms": 0}
    await store.put(OUTBOX, "00000000000000000001:0", orjson.dumps(body))
    await house.begin(until_s=5.0)
    await house.until(lambda: len(receiver.posts) >= 2)
    await house.die()
    await store.close()

    house.box = store = await DuckDBStore.open(tmp_path / "outbox.duckdb", threads=1)
    receiver.answer = lambda _: 200
    await house.begin()

    async def delivered() -> bool:
        key = "00000000000000000001:0"
        return await store.get(DELIVERIES, key) is not None and await store.get(OUTBOX, key) is None

    while not await delivered():
        await asyncio.sleep(0.01)
    (said,) = await house.courier.deliveries(1, 1)
    assert said["status"] == "delivered"
    assert said["attempts"] >= 2
    await house.end()
    await store.close()
