"""Services through apprise: a real ntfy server's part is played on loopback; tokens stay out of words and logs."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from pairscope.delivery.services import said_without
from pairscope.errors import InputError

FIRING = {"id": "rule-1", "symbol": "BTCUSDT", "message": "BTCUSDT is above 70000", "note": "sell", "timestamp": 0}
OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"id": "a b"}'


async def test_a_service_is_told_the_subject_the_message_and_the_note(house: Any) -> None:
    server = await house.receiver(lambda _: OK)
    await house.begin()
    house.fire(f"ntfy://127.0.0.1:{server.port}/my-topic", note="sell half")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "delivered", house.ended
    (post,) = server.posts
    assert post.document["topic"] == "my-topic"
    assert post.document["title"] == "Pairscope: BTCUSDT"
    assert post.document["message"] == "BTCUSDT is above 70000\nsell half\n2025-10-09 08:53:20 UTC"


async def test_a_service_that_fails_is_told_again_until_it_takes_the_message(house: Any) -> None:
    server = await house.receiver(lambda post: OK if post.at_s > 5 else 503)
    await house.begin()
    house.fire(f"ntfy://127.0.0.1:{server.port}/my-topic")
    await house.until(lambda: house.ended)
    attempts = house.ended[0]["attempts"]
    assert [a["ok"] for a in attempts] == [False] * (len(attempts) - 1) + [True]
    assert attempts[0]["status"] == 503
    assert len(server.posts) == len(attempts)  # it tries no more by itself


async def test_a_service_that_says_that_the_key_is_wrong_is_not_bothered_again(house: Any) -> None:
    server = await house.receiver(lambda _: 403)
    await house.begin()
    house.fire(f"ntfy://127.0.0.1:{server.port}/my-topic")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "given_up"
    assert [a["status"] for a in house.ended[0]["attempts"]] == [403]
    assert len(server.posts) == 1


async def test_a_service_s_redirect_is_not_followed(house: Any) -> None:
    inside = await house.receiver(lambda _: OK)
    redirect = b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n" % inside.port
    server = await house.receiver(lambda _: redirect)
    await house.begin(run=False)
    said = await house.courier.test(f"ntfy://127.0.0.1:{server.port}/my-topic", FIRING)
    assert not said["ok"]
    assert len(server.posts) == 1
    assert inside.posts == []


async def test_neither_words_nor_logs_hold_the_token_of_a_service(
    house: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await house.receiver(lambda _: 500)
    port = server.port
    await server.stop()  # the library's own error quotes the address that it could not reach
    await house.begin(run=False)
    with caplog.at_level(logging.DEBUG):
        house.fire(f"gotify://127.0.0.1:{port}/SecretToken123")
        said = await house.courier.test(f"gotify://127.0.0.1:{port}/SecretToken123", FIRING)
    assert not said["ok"]
    assert said["error"]
    assert "SecretToken123" not in str(said)
    assert "secrettoken123" not in caplog.text.lower()
    printed = capsys.readouterr()
    assert "secrettoken123" not in (printed.out + printed.err).lower()


async def test_an_address_that_a_service_could_not_use_is_refused_with_where_to_read(house: Any) -> None:
    await house.begin(run=False, private=False)
    for url in ("tgram://nonsense/1", "discord://1", "pover://user"):
        with pytest.raises(InputError, match="incomplete") as caught:
            await house.courier.check(url)
        assert caught.value.loc == "notify"
        assert "appriseit.com" in caught.value.hint
    for url in (
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "https://ntfy.sh/my-alerts",
        "ntfy://my-alerts",
    ):
        assert (await house.courier.check(url)).kind == "service"


def test_what_a_service_said_is_shown_without_the_target_s_own_parts() -> None:
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    said = "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /services/T1JJ3T3L2 (reset)"
    assert said_without(url, [said]) == "HTTPSConnectionPool(host='x', port=443): Max retries exceeded …"
    assert said_without(url, ["bad token TIIAJKDNLAZKCOXRIDEVI7FQ"]) == "bad token …"
    assert said_without(url, []) == "it did not take the message"
    assert len(said_without(url, ["word " * 1000])) <= 200


def test_the_library_that_speaks_to_services_is_imported_only_when_one_is_told() -> None:
    code = "import sys, pairscope.delivery; print([m for m in ('apprise', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
