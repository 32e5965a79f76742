"""Services through apprise: a real ntfy server's part is played on loopback; tokens stay out of words and logs."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from pairscope.delivery.services import _open, said_without
from pairscope.delivery.targets import Target
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
    await house.courier.check(f"ntfy://127.0.0.1:{server.port}/my-topic")  # loads the library: a test has five seconds
    said = await house.courier.test(f"ntfy://127.0.0.1:{server.port}/my-topic", FIRING)
    assert not said["ok"]
    assert len(server.posts) == 1
    assert inside.posts == []


async def test_neither_words_nor_logs_hold_the_token_of_a_service(
    house: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await house.receiver(lambda _: 500)
    port = server.port
    await server.stop()  # the library's own error quotes the address that it could not reach
    await house.begin(run=False)
    heard: list[logging.LogRecord] = []
    ears = logging.Handler()
    ears.emit = heard.append  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers, ears])
    with caplog.at_level(logging.DEBUG):
        house.fire(f"gotify://127.0.0.1:{port}/SecretToken123")
        said = await house.courier.test(f"gotify://127.0.0.1:{port}/SecretToken123", FIRING)
    assert not said["ok"]
    assert said["error"]
    assert "SecretToken123" not in str(said)
    assert "secrettoken123" not in caplog.text.lower()
    assert [record.getMessage() for record in heard if record.name.startswith("apprise")] == []
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


def test_the_service_s_own_reading_of_a_target_has_the_last_word_on_parameters() -> None:
    for odd in ("?template=file:///etc/passwd", "?footer=yes&+header=x", "?redirect=yes"):
        target = Target(f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ{odd}", "service", "slack")
        with pytest.raises(InputError, match="takes no parameter"):
            _open(target, private=True)


EXAMPLES = [
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "gchat://workspace/key/token",
    "ifttt://webhookid@event",
    "line://abcdefghijklmno/user12345",
    "ntfy://my-alerts",
    "ntfys://my-alerts",
    "opsgenie://apikey1234567890",
    "pagerduty://integrationkey@apikey",
    "pbul://o.gn5kj6nfhv736I7jC3cj3QLRiyhgl98b",
    "pover://uservkpnu1zzavtq3cbu9bh4h84nj@azxvkpnu1zzavtq3cbu9bh4h84njab",
    "psafers://privatekey",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
    "spush://apikey",
    "tgram://123456789:abcdefg_hijklmnop/12315544/",
    "twilio://AC123456789012345678901234567890ab:token12345678901234567890123456@15551234567/15551234568",
    "webex://" + "abcdefgh01" * 8,
    "wxteams://" + "abcdefgh01" * 8,
    "workflow://prod-1.westus.logic.azure.com:443/643e69f83c8944438d68119179a10a64/KODuebWbDGYFr0z0eu",
    "workflows://prod-1.westus.logic.azure.com:443/643e69f83c8944438d68119179a10a64/KODuebWbDGYFr0z0eu",
    "https://discordapp.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=k&token=t",
    "https://prod-1.westus.logic.azure.com:443/workflows/643e69f83c8944438d68119179a10a64/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODuebWbDGYFr0z0eu",
    "https://ntfy.sh/my-alerts",
]
HOSTS = {
    "discord.com", "chat.googleapis.com", "maker.ifttt.com", "api.line.me", "ntfy.sh", "api.opsgenie.com",
    "events.pagerduty.com", "api.pushbullet.com", "api.pushover.net", "www.pushsafer.com", "hooks.slack.com",
    "api.simplepu.sh", "api.telegram.org", "api.twilio.com", "api.ciscospark.com", "webexapis.com",
    "prod-1.westus.logic.azure.com",
}  # fmt: skip


@pytest.mark.parametrize("url", EXAMPLES)
async def test_a_service_is_called_at_its_own_host_and_nowhere_else(
    url: str, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library would call is read off its one way out, which leads nowhere here."""
    import requests

    called = []

    def call(session: Any, **given: Any) -> Any:
        called.append((urlsplit(given["url"]), given.get("allow_redirects")))
        raise requests.ConnectionError("no way out")

    monkeypatch.setattr(requests.Session, "request", call)
    await house.begin(run=False, private=False)
    await house.courier.check(url)
    said = await house.courier.test(url, FIRING)
    assert not said["ok"]
    assert called, said
    assert {(address.scheme, address.hostname in HOSTS) for address, _ in called} == {("https", True)}
    assert {follows for _, follows in called} == {False}
    loaded = {name for name in sys.modules if name.startswith("apprise.plugins.")}
    assert len(loaded) < 60  # not all of them
