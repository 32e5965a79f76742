"""Signed JSON over HTTP: a firing is posted to a receiver of one's own, as the Standard Webhooks say."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import secrets
import ssl
from pathlib import Path
from typing import Final

import httpx2

from pairscope.delivery.attempts import Outcome, of_status, retry_after_s
from pairscope.delivery.guard import Guard
from pairscope.delivery.targets import Target
from pairscope.errors import ConfigError, InputError
from pairscope.ports import Clock

__all__ = ["MOST_ANSWER_BYTES", "Webhooks", "key_of", "secret_of", "sign"]

MOST_ANSWER_BYTES: Final = 65_536
CONNECT_S: Final = 2.0
"""How long one of several addresses may take to connect before the next one is tried."""
_PREFIX: Final = "whsec_"
_LONGEST_LOCATION: Final = 200


def sign(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """Return a message's signature: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.

    Reference: https://www.standardwebhooks.com.

    >>> sign(b"key", "a-1", 1700000000, b"{}")
    'v1,VH0k838/oLRzpuSavUmRHveg1efVN8a3hN/4iE49ovU='
    """
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that a secret spells: base64 of 24 to 64 bytes, ``whsec_`` before it or not."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise ConfigError(
            "the webhook secret is not base64 of 24 to 64 bytes",
            loc="PAIRSCOPE_WEBHOOK_SECRET",
            hint="unset it, and one is made",
        )
    return key


def secret_of(given: str, path: Path) -> str:
    """Return the secret that was given, else the one that a file holds, else a new one, which the file holds then.

    Only its owner can read the file.
    """
    if given:
        key_of(given)
        return given
    try:
        kept = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        made = _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(made + "\n")
        beside.replace(path)
        return made
    key_of(kept)
    return kept


class Webhooks:
    """Posts messages, each over a connection of its own to an address that the guard let through.

    ``trust``: whose certificates are believed; by default those of the system.
    """

    def __init__(self, guard: Guard, *, key: bytes, clock: Clock, trust: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._key = key
        self._clock = clock
        self._trust = trust
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def send(self, target: Target, webhook_id: str, body: bytes) -> Outcome:
        """Post a message once. Redirects are not followed; of the answer at most 64 KB are read."""
        try:
            addresses = await self._guard.addresses(target.host, target.port)
        except InputError as error:
            return Outcome(ok=False, error=str(error), refused=True)
        except (OSError, UnicodeError) as error:
            return Outcome(ok=False, error=f"{target.host} was not found: {error}")
        last = Outcome(ok=False, error="no address")
        connect_s = CONNECT_S if len(addresses) > 1 else None
        for address in addresses:
            try:
                return await self._post(target, address, webhook_id, body, connect_s)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                last = Outcome(ok=False, error=f"no connection: {_reason(error)}")
            except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
                return Outcome(ok=False, error=f"no answer: {_reason(error)}")
        return last

    async def close(self) -> None:
        """Let go of the connections."""
        if self._transport is not None:
            await self._transport.aclose()

    async def _post(
        self, target: Target, address: str, webhook_id: str, body: bytes, connect_s: float | None
    ) -> Outcome:
        now_s = self._clock() // 1_000_000_000
        url = httpx2.URL(target.url)
        host = f"[{target.host}]" if ":" in target.host else target.host
        headers = {
            "Host": host if target.port == (443 if target.secure else 80) else f"{host}:{target.port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": "Pairscope",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign(self._key, webhook_id, now_s, body),
        }
        request = httpx2.Request(
            "POST",
            url.copy_with(host=address, port=target.port, fragment=None),
            headers=headers,
            content=body,
            extensions={"sni_hostname": target.host, "timeout": {"connect": connect_s}},
        )
        response = await self._over().handle_async_request(request)
        try:
            outcome = of_status(
                response.status_code,
                location=response.headers.get("location", "")[:_LONGEST_LOCATION],
                pause_s=retry_after_s(response.headers.get("retry-after", ""), float(now_s)),
            )
            await _drain(response)
        finally:
            await response.aclose()
        return outcome

    def _over(self) -> httpx2.AsyncHTTPTransport:
        """Return the transport: no connection is used twice, so that each goes where the guard has just looked."""
        if self._transport is None:
            self._transport = httpx2.AsyncHTTPTransport(
                verify=True if self._trust is None else self._trust,
                trust_env=False,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self._transport


async def _drain(response: httpx2.Response) -> None:
    """Read what an answer says besides its status, so that a receiver is not cut off; no more than 64 KB."""
    seen = 0
    try:
        async with asyncio.timeout(1.0):
            async for part in response.aiter_raw():
                seen += len(part)
                if seen >= MOST_ANSWER_BYTES:
                    return
    except (httpx2.HTTPError, TimeoutError):
        return  # the status has been read; it decides


def _reason(error: Exception) -> str:
    """Return an error in a few words that name no path."""
    return (str(error) or type(error).__name__)[:200]
