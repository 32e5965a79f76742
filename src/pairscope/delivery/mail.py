"""A message handed to a mail server, over a connection to an address that was looked at before."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final

from pairscope.delivery.attempts import Outcome
from pairscope.delivery.words import Words

__all__ = ["Mail", "send_mail"]

STEP_S: Final = 5.0
"""How long any one answer of the server may take."""
_NOT_YET: Final = 500


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server, how to enter it (``mode`` starttls, ssl or insecure), and who writes to whom."""

    host: str
    port: int
    mode: str
    user: str
    password: str
    sender: tuple[str, str]
    to: tuple[str, ...]
    copies: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()

    def message(self, words: Words) -> EmailMessage:
        """Return the message; its Message-ID is the same at every attempt, so that mailboxes can drop a repetition."""
        made = EmailMessage()
        name, _, domain = self.sender[1].rpartition("@")
        made["From"] = Address(display_name=self.sender[0], username=name, domain=domain)
        made["To"] = ", ".join(self.to)
        if self.copies:
            made["Cc"] = ", ".join(self.copies)
        if self.reply:
            made["Reply-To"] = ", ".join(self.reply)
        made["Subject"] = " ".join(words.title.split())
        made["Date"] = formatdate(usegmt=True)
        made["Message-ID"] = f"<{words.message_id}@{domain}>"
        made["Auto-Submitted"] = "auto-generated"
        made.set_content(words.text)
        return made


class _Plain(smtplib.SMTP):
    """SMTP over a connection to a given address, under the server's own name."""

    def __init__(self, address: str, host: str, port: int) -> None:
        self._address = address
        super().__init__(host, port, local_hostname="localhost", timeout=STEP_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._address, port), timeout)


class _Secured(_Plain):
    """The same with TLS from the first byte."""

    def __init__(self, address: str, host: str, port: int, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(address, host, port)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._context.wrap_socket(super()._get_socket(host, port, timeout), server_hostname=host)


def send_mail(mail: Mail, addresses: Sequence[str], words: Words, trust: ssl.SSLContext | None = None) -> Outcome:
    """Hand a message to the server at the first of its addresses that answers; blocks, for a thread.

    What the server refuses for good (5xx) is final; where it takes the message for some of those it is meant for, it
    counts as sent and says for whom not.
    """
    context = trust or ssl.create_default_context()
    message = mail.message(words)
    last = Outcome(ok=False, error="no address")
    for address in addresses:
        try:
            server = _enter(mail, address, context)
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error)
        except (OSError, smtplib.SMTPException) as error:
            last = Outcome(ok=False, error=f"no connection: {error}"[:200])
            continue
        try:
            missed = server.send_message(message, to_addrs=[*mail.to, *mail.copies, *mail.blind])
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            return _refused(code, said)
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error)
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(ok=False, error=f"no answer: {error}"[:200])
        finally:
            _leave(server)
        return Outcome(ok=True, error=f"refused for {len(missed)} of those it is meant for" if missed else "")
    return last


def _enter(mail: Mail, address: str, context: ssl.SSLContext) -> smtplib.SMTP:
    server: smtplib.SMTP
    if mail.mode == "ssl":
        server = _Secured(address, mail.host, mail.port, context)
    else:
        server = _Plain(address, mail.host, mail.port)
    try:
        if mail.mode == "starttls":
            server.starttls(context=context)
        if mail.user and mail.password:
            server.login(mail.user, mail.password)
    except BaseException:
        server.close()
        raise
    return server


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (OSError, smtplib.SMTPException):
        server.close()


def _refused(code: int, said: Any) -> Outcome:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return Outcome(
        ok=False, error=f"answered {code} {' '.join(text.split())}"[:200], status=code, final=code >= _NOT_YET
    )
