"""Connections to Redis, made anew where they break and judged by their last answer. Alone in knowing the driver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import redis.asyncio
import structlog
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import LockNotOwnedError, ReadOnlyError, RedisError

from pairscope.errors import CacheUnavailable, ConfigError

__all__ = ["RedisClient", "RedisLock"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

ANSWER_S: Final = 2.0
"""A server that accepts and says nothing for so long counts as away."""
CONNECT_S: Final = 1.0
PAUSE_S: Final = 0.25
"""Behind a failure nobody is asked again for so long: who wants something hears at once that Redis is away."""


class RedisClient:
    """One server, and where there is one a replica of it for reads. Nothing is sent before something is asked.

    ``url`` is ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and database as usual. A failing
    replica is left alone for a while and the server itself asked. Every failure leaves as ``CacheUnavailable``.
    """

    def __init__(self, url: str, *, replica_url: str = "", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._server = _connected(url, "PAIRSCOPE_REDIS_URL")
        self._replica = _connected(replica_url, "PAIRSCOPE_REDIS_REPLICA_URL") if replica_url else None
        self._monotonic = monotonic
        self._trouble = ""
        self._pause_until_s = 0.0
        self._replica_pause_until_s = 0.0
        self._away_since_s: float | None = None
        self._counters = {"asked_total": 0, "failures_total": 0, "replica_failures_total": 0, "outages_total": 0}

    async def start(self) -> None:
        """Look whether the server answers; where it does not, say so in the log and go on."""
        with suppress(CacheUnavailable):
            await self.ask(lambda server: server.ping())

    async def ask(self, work: Callable[[Any], Awaitable[T]], *, reading: bool = False) -> T:
        """Do something with the server, or its replica where ``reading``; ``CacheUnavailable`` where it is away."""
        if reading and self._replica is not None and self._monotonic() >= self._replica_pause_until_s:
            try:
                return await work(self._replica)
            except (RedisError, OSError, TimeoutError):
                self._counters["replica_failures_total"] += 1
                self._replica_pause_until_s = self._monotonic() + 5.0
        if self._monotonic() < self._pause_until_s:
            raise CacheUnavailable(self._trouble)
        self._counters["asked_total"] += 1
        try:
            answer = await work(self._server)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise CacheUnavailable(self._trouble) from error
        self._answered()
        return answer

    def subscription(self) -> Any:
        """Return a Pub/Sub connection of its own; its errors are those of the driver, see ``is_failure``."""
        return self._server.pubsub(ignore_subscribe_messages=True)

    @staticmethod
    def is_failure(error: BaseException) -> bool:
        """Whether an error says that the server is away or refuses, and not that the program is wrong."""
        return isinstance(error, RedisError | OSError | TimeoutError | CacheUnavailable)

    def lock(self, name: str, *, ttl_s: float) -> RedisLock:
        """Return a lock of redis-py under a name, which lapses where it is not taken again within ``ttl_s``."""
        return RedisLock(self, Lock(self._server, name, timeout=ttl_s, blocking=False, thread_local=False))

    async def life(self) -> str:
        """Return the name of the server's present run: another one has forgotten what it was not told to keep."""
        told: Any = await self.ask(lambda server: server.info("server"))
        return str(told.get("run_id", ""))

    def status(self) -> Mapping[str, Any]:
        """Return the check of health: degraded while the server is away, for nothing is wrong, only slower."""
        if not self._trouble:
            return {"status": "ok", "kind": "Redis"}
        return {"status": "degraded", "kind": "Redis", "reason": self._trouble}

    def counters(self) -> Mapping[str, int]:
        """Return how often the server was asked and failed, and how many outages there were."""
        return dict(self._counters)

    async def close(self) -> None:
        """Close every connection."""
        for each in filter(None, (self._server, self._replica)):
            with suppress(RedisError, OSError, TimeoutError):
                await each.aclose()

    def _failed(self, error: BaseException) -> None:
        self._counters["failures_total"] += 1
        words = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, ReadOnlyError):
            words = "it is a read-only replica"
        if not self._trouble:
            self._counters["outages_total"] += 1
            self._away_since_s = self._monotonic()
            _log.warning("Redis does not answer; slower, not wrong", reason=words)
        self._trouble = f"Redis does not answer: {words}"
        self._pause_until_s = self._monotonic() + PAUSE_S

    def _answered(self) -> None:
        if self._trouble:
            _log.info("Redis answers again", after_s=round(self._monotonic() - (self._away_since_s or 0.0), 1))
        self._trouble = ""
        self._away_since_s = None


class RedisLock:
    """redis-py's lock, with one answer in place of exceptions; ``CacheUnavailable`` where nobody can say."""

    def __init__(self, client: RedisClient, lock: Any) -> None:
        self._client = client
        self._lock = lock

    async def take(self) -> bool:
        """Take the lock; False where somebody else has it."""
        return bool(await self._client.ask(lambda _: self._lock.acquire(blocking=False)))

    async def keep(self) -> bool:
        """Have the lock for its whole time again; False where it is no longer ours."""

        async def again(_: Any) -> bool:
            try:
                return bool(await self._lock.reacquire())
            except LockNotOwnedError:
                return False

        return await self._client.ask(again)

    async def let_go(self) -> None:
        """Give the lock up, where it is ours and the server answers within a second."""
        if self._lock.local.token is None:
            return
        with suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._lock.release(), 1.0)


def _connected(url: str, name: str) -> Any:
    try:
        return redis.asyncio.Redis.from_url(
            url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=CONNECT_S,
            socket_keepalive=True,
            health_check_interval=0,
            max_connections=32,
            client_name="pairscope",
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError as error:
        raise ConfigError(
            f"{name.removeprefix('PAIRSCOPE_')}: not the address of a Redis server",
            loc=name,
            hint="write it like redis://host:6379/0, rediss:// for TLS, unix:///path",
        ) from error
