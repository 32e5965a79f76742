"""The courier over real sockets: receivers that are down, fail, are slow or redirect, and what came of it all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from itertools import pairwise
from typing import Any

import pytest

from pairscope.ports import Document

KEY = bytes(range(32))
DAY = 86_400.0


def signed(post: Any) -> bool:
    """Whether a post bears the signature that the Standard Webhooks ask for, worked out by hand."""
    said = post.headers
    text = f"{said['webhook-id']}.{said['webhook-timestamp']}.".encode() + post.body
    right = base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
    return bool(said["webhook-signature"] == f"v1,{right}")


async def test_a_firing_arrives_signed_as_json_and_its_record_says_when(house: Any) -> None:
    receiver = await house.receiver()
    await house.begin()
    name = house.fire(receiver.url("/hook?a=b"))
    await house.until(lambda: house.ended)

    (post,) = receiver.posts
    assert post.path == "/hook?a=b"
    assert post.document["id"] == name
    assert post.document["message"] == "BTCUSDT is above 70000"
    assert post.headers["content-type"] == "application/json"
    assert post.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert post.headers["webhook-id"].startswith(f"{name}-")
    assert signed(post)
    (ended,) = house.ended
    assert ended["status"] == "delivered"
    assert [(a["ok"], a["status"], a["at"]) for a in ended["attempts"]] == [
        (True, 204, house.clock.now_ns // 1_000_000)
    ]
    await house.until(lambda: not house.waits)


async def test_a_receiver_that_is_down_for_a_minute_gets_it_when_it_is_back_under_one_id(house: Any) -> None:
    receiver = await house.receiver()
    await receiver.stop()  # nobody listens there now

    async def back() -> None:
        if house.clock.s >= 60.0 and receiver._server is None:
            await receiver.start()

    house.clock.passed = back
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended)

    (ended,) = house.ended
    times = [(a["at"] - ended["made"]) / 1000 for a in ended["attempts"]]
    assert [a["ok"] for a in ended["attempts"]] == [False] * (len(times) - 1) + [True]
    assert all("no connection" in a["error"] for a in ended["attempts"][:-1])
    for n, (before, after) in enumerate(pairwise(times)):
        assert 0.5 * 2.0**n - 0.002 <= after - before <= 2.0**n + 0.002  # doubled each time, less up to half
    assert 60.0 <= times[-1] <= 130.0
    assert len(receiver.posts) == 1
    assert signed(receiver.posts[0])


async def test_a_receiver_that_answers_500_is_asked_again_with_the_same_id_and_body(house: Any) -> None:
    receiver = await house.receiver(lambda post: 500 if post.at_s < 20 else 200)
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended)

    assert len(receiver.posts) > 3
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    assert len({post.body for post in receiver.posts}) == 1
    assert len({post.headers["webhook-timestamp"] for post in receiver.posts}) > 1
    assert all(map(signed, receiver.posts))
    statuses = [a["status"] for a in house.ended[0]["attempts"]]
    assert statuses == [500] * (len(statuses) - 1) + [200]
    assert house.courier.counters()["failed"] == len(statuses) - 1


async def test_a_receiver_that_is_slower_than_the_limit_is_hung_up_on_and_asked_again(house: Any) -> None:
    receiver = await house.receiver(lambda _: None if len(receiver.posts) < 3 else 200)
    await house.begin(webhook_s=1.0)
    house.fire(receiver.url())
    await house.until(lambda: house.ended)

    attempts = house.ended[0]["attempts"]
    assert [a["error"] for a in attempts[:2]] == ["no answer within 1 s"] * 2
    assert attempts[-1]["ok"]
    assert {post.headers["webhook-id"] for post in receiver.posts} == {receiver.posts[0].headers["webhook-id"]}


async def test_a_redirect_to_loopback_is_not_followed_and_recorded_as_refused(house: Any) -> None:
    inside = await house.receiver()
    redirect = b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:%d/admin\r\ncontent-length: 0\r\n\r\n" % inside.port
    receiver = await house.receiver(lambda post: redirect if post.at_s < 3 else 200)
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended)

    attempts = house.ended[0]["attempts"]
    assert len(attempts) >= 3
    assert attempts[0]["refused"] is True
    assert attempts[0]["status"] == 307
    assert f"http://127.0.0.1:{inside.port}/admin" in attempts[0]["error"]
    assert "not followed" in attempts[0]["error"]
    assert attempts[-1]["ok"]
    assert inside.posts == []
    assert house.courier.counters()["refused"] == len(attempts) - 1


async def test_a_name_that_points_elsewhere_after_the_check_is_not_called(house: Any, certificates: Any) -> None:
    receiver = await house.receiver(tls=certificates.server("hooks.example"))
    answers = {"hooks.example": ["93.184.215.14"]}
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[host]

    await house.begin(private=False, resolve=resolve, trust=certificates.trust)
    url = f"https://hooks.example:{receiver.port}/hook"
    await house.courier.check(url)
    answers["hooks.example"] = ["93.184.215.14", "127.0.0.1"]  # one that may be called, one that may not
    house.fire(url)
    await house.until(lambda: house.ended)  # a day goes by

    (ended,) = house.ended
    assert ended["status"] == "given_up"
    assert all(a["refused"] and a["status"] is None for a in ended["attempts"])
    assert ended["attempts"][0]["error"] == "hooks.example (127.0.0.1) is not called: its address is loopback"
    assert receiver.posts == []
    assert len(asked) == 1 + len(ended["attempts"])  # looked up once for each, never again in between


async def test_the_address_that_was_looked_at_is_the_one_that_is_called_under_the_name_of_the_target(
    house: Any, certificates: Any
) -> None:
    receiver = await house.receiver(tls=certificates.server("hooks.example"))
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    await house.begin(resolve=resolve, trust=certificates.trust)
    house.fire(f"https://hooks.example:{receiver.port}/hook")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "delivered"
    assert receiver.posts[0].headers["host"] == f"hooks.example:{receiver.port}"
    assert asked == [("hooks.example", receiver.port)]


async def test_a_certificate_of_another_name_or_of_nobody_is_not_believed(house: Any, certificates: Any) -> None:
    receiver = await house.receiver(tls=certificates.server("evil.example"))

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    await house.begin(resolve=resolve, trust=certificates.trust, run=False)
    said = await house.courier.test(f"https://hooks.example:{receiver.port}/hook", {"id": "a-1"})
    assert not said["ok"]
    assert "certificate" in said["error"].lower()
    stranger = await house.begin(resolve=resolve, run=False)  # the system's certificates, which know none of ours
    said = await stranger.test(f"https://evil.example:{receiver.port}/hook", {"id": "a-1"})
    assert not said["ok"]
    assert "certificate" in said["error"].lower()
    assert receiver.posts == []


async def test_a_receiver_that_never_answers_holds_up_two_messages_of_its_own_and_nobody_else_s(house: Any) -> None:
    hanging = await house.receiver(lambda _: None)
    quick = await house.receiver()
    await house.begin(webhook_s=60.0)
    for _ in range(30):
        house.fire(hanging.url())
    await house.until(lambda: len(hanging.posts) == 2)
    for _ in range(30):
        house.fire(quick.url())
    await house.until(lambda: len(house.ended) == 30)
    assert {ended["target"] for ended in house.ended} == {quick.url()}
    assert hanging.most_open == 2
    assert quick.most_open <= 2
    assert house.courier.counters()["in_flight"] == 2
    await house.die()


async def test_a_target_that_fails_is_asked_by_one_message_at_a_time_however_many_wait(house: Any) -> None:
    receiver = await house.receiver(lambda post: 503 if post.at_s < 100 else 200)
    await house.begin()
    for _ in range(500):
        house.fire(receiver.url())
    await house.until(lambda: len(house.ended) == 500)
    failed = [post for post in receiver.posts if post.at_s < 100]
    assert len(failed) < 20  # not five hundred times as many
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 500
    assert len(receiver.posts) == 500 + len(failed)
    assert max(post.at_s for post in receiver.posts) < 300  # all of them when it was back


async def test_a_new_message_asks_a_target_that_failed_for_long_again_within_ten_seconds(house: Any) -> None:
    up = False
    receiver = await house.receiver(lambda _: 200 if up else 500)
    await house.begin(until_s=3600.0)
    house.fire(receiver.url())
    await house.until(lambda: len(receiver.posts) > 15)
    up = True
    seen, at = len(receiver.posts), house.clock.s
    house.fire(receiver.url())
    await house.until(lambda: len(house.ended) == 2)
    assert receiver.posts[seen].at_s <= max(at, receiver.posts[seen - 1].at_s + 10.0) + 0.001
    assert {ended["status"] for ended in house.ended} == {"delivered"}


async def test_what_can_never_be_taken_is_given_up_at_once_and_says_why(house: Any) -> None:
    receiver = await house.receiver(lambda post: int(post.path[1:]))
    await house.begin()
    for status in (410, 400, 422):
        house.fire(receiver.url(f"/{status}"))
    await house.until(lambda: len(house.ended) == 3)
    assert [(ended["status"], ended["reason"], len(ended["attempts"])) for ended in house.ended] == [
        ("given_up", "answered 410, gone", 1),
        ("given_up", "answered 400", 1),
        ("given_up", "answered 422", 1),
    ]
    assert house.courier.counters()["given_up"] == 3


async def test_a_pause_that_the_receiver_asks_for_is_kept_also_for_new_messages(house: Any) -> None:
    busy = b"HTTP/1.1 429 Slow\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n"
    receiver = await house.receiver(lambda post: busy if post.at_s < 1 else 200)
    await house.begin(until_s=1.0)  # the pause is not over before the second one is there
    house.fire(receiver.url())
    await house.until(lambda: receiver.posts and house.waits[0]["attempts"])
    house.fire(receiver.url())
    house.go_on()
    await house.until(lambda: len(house.ended) == 2)
    assert [post.at_s >= 600 for post in receiver.posts] == [False, True, True]


async def test_after_a_day_a_message_is_given_up_with_every_attempt_recorded(house: Any) -> None:
    receiver = await house.receiver(lambda _: 500)
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended)
    (ended,) = house.ended
    assert (ended["status"], ended["reason"]) == ("given_up", "not delivered within a day")
    assert len(ended["attempts"]) == len(receiver.posts)
    times = [(a["at"] - ended["made"]) / 1000 for a in ended["attempts"]]
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) <= 300.1
    assert min(gaps[10:]) >= 149.9
    assert DAY - 301 <= times[-1] <= DAY
    assert DAY <= (ended["ended"] - ended["made"]) / 1000 <= DAY + 301
    assert house.waits == []


async def test_a_message_that_one_receiver_cannot_digest_does_not_hold_up_the_others_for_it(house: Any) -> None:
    receiver = await house.receiver(lambda post: 500 if post.document["id"] == "rule-1" else 200)
    await house.begin(until_s=900.0)
    for _ in range(40):
        house.fire(receiver.url())
    await house.until(lambda: len(house.ended) == 39)
    assert max(post.at_s for post in receiver.posts if post.document["id"] != "rule-1") < 10
    assert [wait["firing"]["id"] for wait in house.waits] == ["rule-1"]


async def test_a_test_message_says_what_came_of_it_and_is_neither_kept_nor_repeated(house: Any) -> None:
    good = await house.receiver()
    bad = await house.receiver(lambda _: 404)
    await house.begin(run=False)
    said = await house.courier.test(good.url(), {"id": "a-1", "test": True})
    assert (said["ok"], said["status"], said["error"]) == (True, 204, "")
    assert said["target"].startswith(f"http://127.0.0.1:{good.port}/…#")
    said = await house.courier.test(bad.url(), {"id": "a-1", "test": True})
    assert (said["ok"], said["status"], said["error"]) == (False, 404, "answered 404")
    hanging = await house.receiver(lambda _: None)
    await house.begin(run=False, webhook_s=1.0)
    said = await house.courier.test(hanging.url(), {"id": "a-1", "test": True})
    assert (said["ok"], said["error"]) == (False, "no answer within 1 s")
    said = await house.courier.test("json://127.0.0.1", {"id": "a-1", "test": True})
    assert not said["ok"]
    assert "not allowed" in said["error"]
    assert house.box.held == {}
    assert len(bad.posts) == 1


async def test_documents_of_other_collections_and_removals_are_nothing_to_send(house: Any) -> None:
    await house.begin(run=False)
    house.courier.kept([Document("alert_firings", "1", b"{}"), Document("outbox", "1", None)])
    assert house.courier.counters()["waiting"] == 0


@pytest.mark.parametrize("answer", [b"", b"\x00\xff" * 100, b"HTTP/1.1 200", b"HTTP/1.1 999 What\r\n\r\n" + b"x" * 9])
async def test_what_is_no_answer_counts_as_none_and_the_courier_goes_on(house: Any, answer: bytes) -> None:
    receiver = await house.receiver(lambda _: answer if len(receiver.posts) == 1 else 200)
    await house.begin()
    house.fire(receiver.url())
    await house.until(lambda: house.ended)
    assert [a["ok"] for a in house.ended[0]["attempts"]] == [False, True]


async def test_an_endless_answer_is_read_to_its_bound_and_counts_by_its_status(house: Any) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    poured = []

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(chunk)
                await writer.drain()
                poured.append(len(chunk))
        except OSError:
            writer.close()  # the other side has had enough

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    await house.begin()
    house.fire(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "delivered"
    assert len(house.ended[0]["attempts"]) == 1
    assert sum(poured) < 32 << 20  # what the sockets between us hold, and no second's worth of it
    server.close()


async def test_what_became_of_a_firing_s_messages_can_be_asked_for_and_forgotten(house: Any) -> None:
    good = await house.receiver()
    bad = await house.receiver(lambda _: 500)
    await house.begin(until_s=30.0)
    house.fire(good.url(), bad.url())
    await house.until(lambda: house.ended and len(bad.posts) > 2 and len(house.waits[0]["attempts"]) > 2)
    delivered, waits = await house.courier.deliveries(1, 2)
    assert (delivered["status"], delivered["attempts"], delivered["error"]) == ("delivered", 1, "")
    assert (waits["status"], waits["error"]) == ("waiting", "answered 500")
    assert waits["attempts"] > 2
    assert "/hook" not in delivered["target"]
    assert await house.courier.forget(1) == 0
    assert await house.courier.forget(2) == 1
    assert [one["status"] for one in await house.courier.deliveries(1, 2)] == ["waiting"]


async def test_closing_lets_what_is_on_its_way_arrive(house: Any) -> None:
    got = asyncio.Event()
    receiver = await house.receiver(lambda _: got.set() or 200)
    await house.begin()
    house.fire(receiver.url())
    await got.wait()
    await house.end()
    assert house.ended[0]["status"] == "delivered"
    assert house.waits == []
