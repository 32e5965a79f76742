"""Connections to Redis, made anew where they break and judged by their last answer. Alone in knowing the driver."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import redis.asyncio
import structlog
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import LockNotOwnedError, ReadOnlyError, RedisError, ResponseError

from pairscope.errors import CacheUnavailable, ConfigError

__all__ = ["RedisClient", "RedisLife", "RedisLock", "uninterrupted"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

ANSWER_S: Final = 1.0
"""A server that accepts and says nothing for so long counts as away."""
CONNECT_S: Final = 1.0
CONNECTIONS: Final = 32
"""So many at a time; who comes then waits for one, for as long as an answer may take."""
PAUSE_S: Final = 0.25
"""Behind a failure nobody is asked again for so long: who wants something hears at once that Redis is away."""
REPLICA_PAUSE_S: Final = 5.0
REFUSED_S: Final = 10.0
"""So long a server that refused something (its memory is full, it is read-only) is said to do so."""


class RedisLife(NamedTuple):
    """A run of the server: its name, and the whole seconds that it is old."""

    run: str
    age_s: float


class RedisClient:
    """One server, and where there is one a replica of it for reads. Nothing is sent before something is asked.

    ``url`` is ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and database as usual. A failing
    replica is left alone for a while and the server itself asked. Every failure leaves as ``CacheUnavailable``: that
    of a server that is away, behind which nobody is asked for a moment, and that of one that refuses what it is asked.
    """

    def __init__(self, url: str, *, replica_url: str = "", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._server = _connected(url, "PAIRSCOPE_REDIS_URL")
        self._replica = _connected(replica_url, "PAIRSCOPE_REDIS_REPLICA_URL") if replica_url else None
        self._monotonic = monotonic
        self._trouble = ""
        self._pause_until_s = 0.0
        self._replica_pause_until_s = 0.0
        self._away_since_s: float | None = None
        self._refusal = ""
        self._refused_until_s = 0.0
        self._counters = {
            "asked_total": 0,
            "failures_total": 0,
            "refusals_total": 0,
            "replica_failures_total": 0,
            "outages_total": 0,
        }

    async def start(self) -> None:
        """Look whether the server answers; where it does not, say so in the log and go on."""
        with suppress(CacheUnavailable):
            await self.ask(lambda server: server.ping())

    async def ask(self, work: Callable[[Any], Awaitable[T]], *, reading: bool = False) -> T:
        """Do something with the server, or its replica where ``reading``; ``CacheUnavailable`` where it is away."""
        if reading and self._replica is not None and self._monotonic() >= self._replica_pause_until_s:
            try:
                return await uninterrupted(work(self._replica))
            except (RedisError, OSError, TimeoutError):
                self._counters["replica_failures_total"] += 1
                self._replica_pause_until_s = self._monotonic() + REPLICA_PAUSE_S
        if self._monotonic() < self._pause_until_s:
            raise CacheUnavailable(self._trouble or "Redis did not answer a moment ago")
        self._counters["asked_total"] += 1
        try:
            answer = await self._answer(work)
        except ResponseError as error:
            self._answered()
            raise CacheUnavailable(self._refused(error)) from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise CacheUnavailable(self._trouble) from error
        self._answered()
        return answer

    async def _answer(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something, and once more where the connection turns out to have been closed since it was used last."""
        try:
            return await uninterrupted(work(self._server))
        except redis.exceptions.ConnectionError as error:
            if type(error) is not redis.exceptions.ConnectionError:  # a wrong password, a server that still loads
                raise
            return await uninterrupted(work(self._server))

    def subscription(self) -> Any:
        """Return a Pub/Sub connection of its own; its errors are those of the driver, see ``is_failure``."""
        return self._server.pubsub(ignore_subscribe_messages=True)

    async def hang_up(self, subscription: Any) -> None:
        """Close a Pub/Sub connection, also one that is broken."""
        with suppress(RedisError, OSError, TimeoutError):
            await subscription.aclose()

    @staticmethod
    def is_failure(error: BaseException) -> bool:
        """Whether an error says that the server is away or refuses, and not that the program is wrong."""
        return isinstance(error, RedisError | OSError | TimeoutError | CacheUnavailable)

    def lock(self, name: str, *, ttl_s: float) -> RedisLock:
        """Return a lock of redis-py under a name, which lapses where it is not taken again within ``ttl_s``."""
        return RedisLock(self, Lock(self._server, name, timeout=ttl_s, blocking=False, thread_local=False))

    async def life(self) -> RedisLife:
        """Return what the server says of its present run: another one has forgotten what it was not told to keep."""
        told: Any = await self.ask(lambda server: server.info("server"))
        return RedisLife(str(told.get("run_id", "")), float(told.get("uptime_in_seconds", 0)))

    def status(self) -> Mapping[str, Any]:
        """Return the check of health: degraded while the server is away, for nothing is wrong, only slower."""
        reason = self._trouble or (self._refusal if self._monotonic() < self._refused_until_s else "")
        found: dict[str, Any] = {"status": "degraded" if reason else "ok", "kind": "Redis"}
        if reason:
            found["reason"] = reason
        if self._replica is not None:
            found["replica"] = "ok" if self._monotonic() >= self._replica_pause_until_s else "does not answer"
        return found

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
        words = _words(error)
        if not self._trouble:
            self._counters["outages_total"] += 1
            self._away_since_s = self._monotonic()
            _log.warning("Redis does not answer; slower, not wrong", reason=words)
        self._trouble = f"Redis does not answer: {words}"
        self._pause_until_s = self._monotonic() + PAUSE_S

    def _refused(self, error: ResponseError) -> str:
        """Take note of a server that answers, and will not: others may still be served."""
        self._counters["refusals_total"] += 1
        words = "it is a read-only replica" if isinstance(error, ReadOnlyError) else _words(error)
        if self._monotonic() >= self._refused_until_s:
            _log.warning("Redis refuses what it is asked; slower, not wrong", reason=words)
        self._refusal = f"Redis refuses: {words}"
        self._refused_until_s = self._monotonic() + REFUSED_S
        return self._refusal

    def _answered(self) -> None:
        if self._trouble:
            _log.info("Redis answers again", after_s=round(self._monotonic() - (self._away_since_s or 0.0), 1))
        self._trouble = ""
        self._away_since_s = None


class RedisLock:
    """redis-py's lock, with one answer in place of exceptions; ``CacheUnavailable`` where nobody can say.

    Its token stays the same: a lock that was taken while the answer was lost is known again as ours.
    """

    def __init__(self, client: RedisClient, lock: Any) -> None:
        self._client = client
        self._lock = lock
        self._token = secrets.token_hex(16)

    async def take(self) -> bool:
        """Take the lock; False where somebody else has it."""
        return bool(await self._client.ask(lambda _: self._lock.acquire(blocking=False, token=self._token)))

    async def keep(self) -> bool:
        """Have the lock for its whole time again; False where it is no longer ours."""
        self._lock.local.token = self._token.encode()

        async def again(_: Any) -> bool:
            try:
                return bool(await self._lock.reacquire())
            except LockNotOwnedError:
                return False

        return await self._client.ask(again)

    async def let_go(self) -> None:
        """Give the lock up, where it is ours and the server answers within a second."""
        self._lock.local.token = self._token.encode()
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await uninterrupted(self._lock.release())


async def uninterrupted(answer: Awaitable[T]) -> T:
    """Await something of the driver without its hiding that the task was cancelled meanwhile.

    Before Python 3.12 ``asyncio.wait_for``, by which the driver sends, forgets a cancellation that comes when it is
    through, and the task would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    result = await answer
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _connected(url: str, name: str) -> Any:
    try:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=CONNECT_S,
            health_check_interval=0,
            max_connections=CONNECTIONS,
            timeout=ANSWER_S,
            client_name="pairscope",
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        return redis.asyncio.Redis.from_pool(pool)
    except ValueError as error:
        raise ConfigError(
            f"{name.removeprefix('PAIRSCOPE_')}: not the address of a Redis server",
            loc=name,
            hint="write it like redis://host:6379/0, rediss:// for TLS, unix:///path",
        ) from error
