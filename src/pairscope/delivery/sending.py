"""One message to one target, within a time, by whatever that target speaks; all that goes wrong is an outcome."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog

from pairscope.delivery.attempts import Outcome, fault_of
from pairscope.delivery.guard import Guard, Resolve
from pairscope.delivery.services import Services
from pairscope.delivery.targets import Target, check_target, masked
from pairscope.delivery.threads import Threads
from pairscope.delivery.webhook import Webhooks, key_of
from pairscope.delivery.words import words_of
from pairscope.errors import InputError
from pairscope.ports import Clock

__all__ = ["SERVICE_S", "WEBHOOK_S", "Sender"]

_log = structlog.get_logger(__name__)

WEBHOOK_S: Final = 5.0
SERVICE_S: Final = 20.0
CHECK_S: Final = 2.0
LOAD_S: Final = 15.0
"""How long the library of the services may take to load, the first time; a second on an idle machine."""


class Sender:
    """Sends once. ``private`` allows targets in the own network, ``secret`` signs what webhooks get.

    ``resolve`` and ``trust`` stand in for the system's names and certificates.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        secret: str,
        private: bool,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        webhook_s: float = WEBHOOK_S,
        service_s: float = SERVICE_S,
    ) -> None:
        threads = Threads()
        self._guard = Guard(private=private, threads=threads, resolve=resolve)
        self._webhooks = Webhooks(self._guard, key=key_of(secret), clock=clock, trust=trust)
        self._services = Services(self._guard, threads, trust=trust)
        self._limits = {"webhook": webhook_s, "service": service_s, "mail": service_s}

    async def check(self, url: str) -> Target:
        """Read a target and look at the addresses of its host; ``InputError`` where it may not be called.

        A host that is not found within two seconds is no error: a test message tells.
        """
        target = check_target(url, private=self._guard.private)
        host, port = target.host, target.port
        try:
            if target.kind != "webhook":
                async with asyncio.timeout(LOAD_S):
                    host, port = await self._services.check(target)
            if host:
                async with asyncio.timeout(CHECK_S):
                    await self._guard.addresses(host, port)
        except (OSError, UnicodeError) as error:  # a time that is over is an OSError too
            _log.info("a target could not be looked up", target=masked(url), error=str(error))
        return target

    async def send(self, url: str, firing: Mapping[str, Any], name: str) -> Outcome:
        """Send a firing to a target once; ``name`` is what tells the message from others at every attempt."""
        limit_s = 0.0
        try:
            target = check_target(url, private=self._guard.private)
            limit_s = self._limits[target.kind]
            async with asyncio.timeout(limit_s):
                if target.kind == "webhook":
                    return await self._webhooks.send(target, name, orjson.dumps(firing))
                return await self._services.send(target, words_of(firing, name))
        except InputError as error:
            return Outcome(ok=False, error=str(error), refused=True, final=True)
        except TimeoutError:
            return Outcome(ok=False, error=f"no answer within {limit_s:g} s")
        except Exception as error:  # noqa: BLE001 - logged, recorded, and tried again
            _log.error("a fault while delivering", target=masked(url), fault=fault_of(error))
            return Outcome(ok=False, error=f"a fault of ours: {type(error).__name__}")

    async def close(self) -> None:
        """Let go of connections."""
        await self._webhooks.close()
