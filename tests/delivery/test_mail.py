"""Mail over a real SMTP server on loopback: what arrives, under which id, over which connection, and what is final."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import ssl
from dataclasses import dataclass, field
from typing import Any

import pytest

from pairscope.errors import InputError


@dataclass
class MailServer:
    """A server that speaks just enough SMTP, with STARTTLS or TLS from the first byte, and keeps what it got."""

    tls: ssl.SSLContext
    implicit: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    messages: list[Any] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)
    port: int = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls if self.implicit else None)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = self.implicit
        try:
            writer.write(b"220 mail.example\r\n")
            while line := (await reader.readline()).decode().strip():
                verb = line.upper().split(" ")[0]
                answer = self.answers.get(verb, "250 fine")
                if verb == "EHLO":
                    answer = "250-mail.example\r\n250 AUTH PLAIN" if secure else "250-mail.example\r\n250 STARTTLS"
                elif verb == "STARTTLS":
                    writer.write(b"220 go\r\n")
                    await writer.drain()
                    await writer.start_tls(self.tls)
                    secure = True
                    continue
                elif verb == "AUTH":
                    _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                    self.logins.append((user, password, secure))
                    answer = self.answers.get(verb, "235 in")
                elif verb == "RCPT" and answer.startswith("250"):
                    self.recipients.append(line.partition("<")[2].rstrip(">"))
                elif verb == "DATA" and answer.startswith("250"):
                    writer.write(b"354 go\r\n")
                    text = (await reader.readuntil(b"\r\n.\r\n"))[:-5]
                    self.messages.append(email.message_from_bytes(text, policy=email.policy.default))
                    answer = self.answers.get("END", "250 fine")
                elif verb == "QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                writer.write(answer.encode() + b"\r\n")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side hung up
        finally:
            writer.close()


async def resolve(host: str, port: int) -> list[str]:
    return {"mail.example": ["127.0.0.1"], "mixed.example": ["127.0.0.1", "169.254.169.254"]}[host]


@pytest.fixture
async def mail(house: Any, certificates: Any) -> Any:
    servers = []

    async def make(**given: Any) -> MailServer:
        made = MailServer(certificates.server("mail.example"), **given)
        servers.append(await made.start())
        await house.begin(resolve=resolve, trust=certificates.trust)
        return made

    yield make
    await house.end()
    for server in servers:
        server.close()


async def test_a_mail_arrives_with_subject_text_and_an_id_that_names_the_message(house: Any, mail: Any) -> None:
    server = await mail()
    house.fire(f"mailtos://anna:secret@example.com:{server.port}?smtp=mail.example&to=bob@example.org", note="sell")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "delivered", house.ended
    (message,) = server.messages
    assert message["Subject"] == "Pairscope: BTCUSDT"
    assert message["To"] == "bob@example.org"
    assert message["From"] == "Pairscope <anna@example.com>"
    assert message["Message-ID"].startswith("<rule-1-")
    assert message.get_content().splitlines()[:2] == ["BTCUSDT is above 70000", "sell"]
    assert server.logins == [("anna", "secret", True)]
    assert server.recipients == ["bob@example.org"]


async def test_a_mail_goes_over_tls_from_the_first_byte_where_that_is_asked_for(house: Any, mail: Any) -> None:
    server = await mail(implicit=True)
    house.fire(f"mailtos://anna:secret@example.com:{server.port}?smtp=mail.example&mode=ssl")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "delivered", house.ended
    assert server.logins == [("anna", "secret", True)]
    assert server.messages[0]["To"] == "anna@example.com"


async def test_a_server_under_another_name_gets_neither_the_mail_nor_the_password(
    house: Any, mail: Any, certificates: Any
) -> None:
    server = await mail()
    server.tls = certificates.server("evil.example")
    url = f"mailtos://anna:secret@example.com:{server.port}?smtp=mail.example"
    await house.courier.check(url)  # loads the library: a test has five seconds
    said = await house.courier.test(url, {"id": "a-1", "message": "now"})
    assert not said["ok"]
    assert "certificate" in said["error"].lower()
    assert server.logins == []
    assert server.messages == []


async def test_what_the_server_refuses_for_good_is_given_up_and_what_it_refuses_for_now_is_tried_again(
    house: Any, mail: Any
) -> None:
    server = await mail(answers={"RCPT": "550 no such mailbox"})
    url = f"mailtos://anna:secret@example.com:{server.port}?smtp=mail.example"
    house.fire(url)
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "given_up"
    assert [(a["status"], a["error"]) for a in house.ended[0]["attempts"]] == [(550, "answered 550 no such mailbox")]

    server.answers = {"END": "451 later"}
    house.fire(url)
    await house.until(lambda: len(server.messages) >= 3)
    server.answers = {}
    await house.until(lambda: len(house.ended) == 2)
    attempts = house.ended[1]["attempts"]
    assert [a["status"] for a in attempts[:3]] == [451] * 3
    assert attempts[-1]["ok"]
    assert len({message["Message-ID"] for message in server.messages}) == 1


async def test_a_wrong_password_is_not_tried_again_and_not_told(house: Any, mail: Any) -> None:
    server = await mail(answers={"AUTH": "535 no"})
    house.fire(f"mailtos://anna:topsecret@example.com:{server.port}?smtp=mail.example")
    await house.until(lambda: house.ended)
    assert (house.ended[0]["status"], len(house.ended[0]["attempts"])) == ("given_up", 1)
    assert len(server.logins) == 1
    assert "topsecret" not in str(house.ended[0]["attempts"]) + house.ended[0]["reason"]


async def test_a_mail_server_whose_name_points_to_a_refused_address_is_not_called(house: Any, mail: Any) -> None:
    server = await mail()
    url = f"mailtos://anna:secret@example.com:{server.port}?smtp=mixed.example"
    with pytest.raises(InputError, match="link-local"):
        await house.courier.check(url)  # and loads the library: a test has five seconds
    said = await house.courier.test(url, {"id": "a-1"})
    assert said["error"] == "mixed.example (169.254.169.254) is not called: its address is link-local"
    assert server.logins == []


async def test_a_password_never_goes_unencrypted_to_a_server_outside(house: Any, certificates: Any) -> None:
    await house.begin(run=False, private=False, resolve=resolve, trust=certificates.trust)
    with pytest.raises(InputError, match="mailtos"):
        await house.courier.check("mailto://anna:secret@example.com?smtp=mail.example")
    with pytest.raises(InputError, match="port 79"):
        await house.courier.check("mailtos://anna:secret@example.com:79?smtp=mail.example")


async def test_a_line_break_in_a_rule_s_words_adds_no_header(house: Any, mail: Any) -> None:
    server = await mail()
    house.fire(
        f"mailtos://anna:secret@example.com:{server.port}?smtp=mail.example",
        symbol="BTCUSDT\r\nBcc: eve@evil.example",
        message="one\r\n.\r\nMAIL FROM:<eve@evil.example>",
    )
    await house.until(lambda: house.ended)
    (message,) = server.messages
    assert message["Bcc"] is None
    assert message["Subject"] == "Pairscope: BTCUSDT Bcc: eve@evil.example"
    assert server.recipients == ["anna@example.com"]
    assert "MAIL FROM" in message.get_content()
