"""The courier: takes what waits in the outbox to its targets, at least once each, and records every attempt."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from pairscope.delivery.attempts import GIVE_UP_S, Outcome, again_in_s, fault_of
from pairscope.delivery.guard import Resolve
from pairscope.delivery.lines import Lines, Waiting
from pairscope.delivery.outbox import DELIVERIES, OUTBOX, UNREADABLE, key_of_message, message_id, read, statuses
from pairscope.delivery.sending import SERVICE_S, WEBHOOK_S, Sender
from pairscope.delivery.targets import Target, masked
from pairscope.errors import StorageError
from pairscope.ports import Clock, Document, Records

__all__ = ["Courier"]

_log = structlog.get_logger(__name__)

MOST_IN_FLIGHT: Final = 8
PER_TARGET: Final = 2
MOST_WAITING: Final = 100_000
MOST_BODIES: Final = 1000
TEST_S: Final = 5.0
STOP_S: Final = 2.0
STORE_AGAIN_S: Final = 1.0
MOST_AT_ONCE: Final = 500
"""Documents of so many messages are written in one transaction."""
_MS: Final = 1_000_000
_S: Final = 1_000_000_000


class Courier:
    """Sends what ``kept`` or ``restore`` finds in the outbox, until it is taken or a day has gone by.

    A message that ended is recorded after the answer: a crash in between sends it again under the same id. At most
    ``most_in_flight`` are on their way, two of one target, and one at a time of a target that fails, which is then
    left alone for longer and longer. Of those that wait, ``most_waiting`` are known here; the rest stays in the records
    and is read when there is room. ``private`` allows targets in the own network; ``secret`` signs (``secret_of``).
    ``may_send`` is asked before each message: no, where another process sends them by now.
    """

    def __init__(
        self,
        records: Records,
        clock: Clock,
        *,
        secret: str,
        private: bool = False,
        may_send: Callable[[], Awaitable[bool]] | None = None,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        timer: Clock = time.perf_counter_ns,
        rng: random.Random | None = None,
        webhook_s: float = WEBHOOK_S,
        service_s: float = SERVICE_S,
        most_in_flight: int = MOST_IN_FLIGHT,
        most_waiting: int = MOST_WAITING,
        most_bodies: int = MOST_BODIES,
    ) -> None:
        self._sender = Sender(
            clock,
            secret=secret,
            private=private,
            resolve=resolve,
            trust=trust,
            webhook_s=webhook_s,
            service_s=service_s,
        )
        self._records = records
        self._may_send = may_send
        self._clock = clock
        self._sleep = sleep
        self._timer = timer
        self._rng = rng or random.Random()
        self._most_in_flight = most_in_flight
        self._most_waiting = most_waiting
        self._most_bodies = most_bodies
        self._lines = Lines(per_target=PER_TARGET)
        self._sending: set[asyncio.Task[None]] = set()
        self._unwritten: dict[str, list[Document]] = {}
        self._woken = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tests = asyncio.Semaphore(most_in_flight)
        self._bodies = 0
        self._more = False
        self._store_ns = 0
        self._counts = dict.fromkeys(("delivered", "failed", "refused", "given_up", "unreadable"), 0)

    # -- what others call ----------------------------------------------------------------------------------------------

    async def check(self, url: str) -> Target:
        """Read a target and look at the addresses of its host; ``InputError`` where it may not be called.

        A host that is not found now is no error: a test message tells.
        """
        return await self._sender.check(url)

    async def test(self, url: str, firing: Mapping[str, Any]) -> dict[str, Any]:
        """Send a firing to a target once, now, and say what came of it within five seconds; raises nothing."""
        began_ns = self._timer()
        try:
            async with asyncio.timeout(TEST_S), self._tests:
                outcome = await self._sender.send(url, firing, f"test-{uuid4().hex}")
        except TimeoutError:
            outcome = Outcome(ok=False, error=f"no answer within {TEST_S:g} s")
        ms = round((self._timer() - began_ns) / _MS, 1)
        said = {"ok": outcome.ok, "error": outcome.error, "status": outcome.status, "ms": ms}
        return {"target": masked(url), **said}

    def kept(self, documents: Sequence[Document]) -> None:
        """Take up what of some documents that are stored now is to be sent; never waits."""
        for collection, key, body in documents:
            if collection == OUTBOX and body is not None:
                self._take_up(key, body, fresh=True)
        self._woken.set()

    async def deliveries(self, seq: int, count: int) -> list[dict[str, Any]]:
        """Return what became of a firing's messages (see ``statuses``)."""
        return (await statuses(self._records, {seq: count}))[seq]

    async def forget(self, before_seq: int) -> int:
        """Forget messages that have ended of firings before a ``seq``; return how many."""
        end, gone = key_of_message(before_seq, 0), []
        async for key, _ in self._records.scan(DELIVERIES):
            if key >= end:
                break
            gone.append(Document(DELIVERIES, key, None))
        for start in range(0, len(gone), MOST_AT_ONCE):
            await self._records.put_many(gone[start : start + MOST_AT_ONCE])
        return len(gone)

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of messages and attempts, for ``/api/stats``."""
        return {
            "waiting": sum(not message.ended for message in self._lines.waiting.values()),
            "in_flight": len(self._sending),
            **self._counts,
            "unwritten": len(self._unwritten),
            "failing_targets": self._lines.failing(),
            "more_in_store": self._more,
        }

    # -- life ----------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what an earlier run left in the outbox."""
        self._more = False
        async for key, body in self._records.scan(OUTBOX):
            if key in self._lines.waiting:
                continue
            if len(self._lines.waiting) >= self._most_waiting:
                self._more = True
                break
            self._take_up(key, body)
        self._woken.set()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 - logged; what waits must not wait for ever because of one fault
                _log.error("a fault among deliveries", fault=fault_of(error))
                await self._sleep(STORE_AGAIN_S)

    async def close(self) -> None:
        """Let what is on its way end, for two seconds, and write what has come of it."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=STOP_S)
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        try:
            await self._write()
        except StorageError as error:
            _log.warning("the last deliveries are not recorded, and will be repeated", error=str(error))
        await self._sender.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        """Start what is due and may be, then wait for something to change."""
        self._woken.clear()
        if (self._unwritten or self._more) and self._clock() >= self._store_ns:
            await self._with_store(self._catch_up)
        while len(self._sending) < self._most_in_flight:
            message = self._lines.next(self._clock())
            if message is None:
                break
            task = asyncio.create_task(self._deliver(message), name="delivery")
            self._sending.add(task)
            task.add_done_callback(self._ended)
        await self._pause()

    async def _catch_up(self) -> None:
        """Write what the store has refused so far, and read what there was no room for."""
        await self._write()
        if self._more and len(self._lines.waiting) <= self._most_waiting // 2:
            await self.restore()

    async def _with_store(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do what needs the store; where that refuses, leave it alone for a second, and go on without."""
        try:
            await work()
            self._store_ns = 0
        except StorageError as error:
            if not self._store_ns:
                _log.warning("what came of deliveries waits for the store", error=str(error))
            self._store_ns = self._clock() + int(STORE_AGAIN_S * _S)

    async def _pause(self) -> None:
        """Wait until the next message is due, or the store may be asked again, unless something happens before."""
        due = [self._store_ns] if self._unwritten and self._store_ns else []
        next_ns = self._lines.next_ns() if len(self._sending) < self._most_in_flight else None
        due += [] if next_ns is None else [next_ns]
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._woken.wait())]
        if due:
            waits.append(asyncio.ensure_future(_await(self._sleep(max(0.0, (min(due) - self._clock()) / _S)))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a delivery ended unexpectedly", fault=fault_of(error))

    def _take_up(self, key: str, body: bytes, *, fresh: bool = False) -> None:
        """Let a document of the outbox wait for its turn."""
        if key in self._lines.waiting:
            return
        if len(self._lines.waiting) >= self._most_waiting:
            self._more = True
            return
        try:
            made = read(body)
        except ValueError as error:
            self._put_aside(key, body, error)
            return
        message = Waiting(
            key,
            made["target"],
            (made["made"] or self._clock() // _MS) * _MS,
            made["next_ms"] * _MS,
            failures=len(made["attempts"]),
        )
        self._hold(message, body)
        self._lines.put(message, fresh=fresh)

    def _put_aside(self, key: str, body: bytes, error: Exception) -> None:
        """Move a document that cannot be read out of the way."""
        _log.error("a message of the outbox cannot be read and is put aside", key=key, error=str(error))
        self._counts["unreadable"] += 1
        self._unwritten[key] = [Document(UNREADABLE, key, body), Document(OUTBOX, key, None)]

    def _hold(self, message: Waiting, body: bytes | None) -> None:
        """Keep a message's document at hand where there is room."""
        if message.body is not None:
            self._bodies -= 1
        message.body = body if self._bodies < self._most_bodies else None
        if message.body is not None:
            self._bodies += 1

    async def _deliver(self, message: Waiting) -> None:
        """Send a message once and record what came of it."""
        try:
            if self._may_send is not None and not await self._may_send():
                self._again(message, None, self._clock() + int(STORE_AGAIN_S * _S))
                return
            body = message.body or await self._records.get(OUTBOX, message.key)
            if body is None:
                self._missing(message)
                return
            made = read(body)
            now_ns = self._clock()
            if now_ns - message.made_ns >= GIVE_UP_S * _S and self._lines.failures(message.target):
                self._end(message, made, "given_up", "not delivered within a day")
            else:
                await self._attempt(message, made, now_ns)
        except (StorageError, ValueError) as error:
            _log.warning("a message could not be read", key=message.key, error=str(error))
            self._again(message, None, self._clock() + int(STORE_AGAIN_S * _S))
        finally:
            self._lines.came_back(message)
        if not self._store_ns:
            await self._with_store(self._write)

    async def _attempt(self, message: Waiting, made: dict[str, Any], now_ns: int) -> None:
        began_ns = self._timer()
        outcome = await self._sender.send(message.target, made["firing"], message_id(made["firing"], message.target))
        ms = (self._timer() - began_ns) / _MS
        made["attempts"].append(outcome.document(now_ns // _MS, ms))
        if outcome.ok:
            if self._lines.failures(message.target):
                _log.info("a target takes messages again", target=masked(message.target))
            self._lines.works(message.target, self._clock())
            self._end(message, made, "delivered", "")
            return
        self._counts["failed"] += 1
        self._counts["refused"] += outcome.refused
        message.failures += 1
        if message.failures == 1 or outcome.final:
            _log.warning("not delivered", target=masked(message.target), final=outcome.final, error=outcome.error)
        now_ns = self._clock()
        pause_s = again_in_s(message.failures, self._rng, outcome.retry_after_s)
        if outcome.final:
            self._end(message, made, "given_up", outcome.error)
            return
        failures = self._lines.failures(message.target) + 1
        opens_ns = now_ns + int(again_in_s(failures, self._rng, outcome.retry_after_s) * _S)
        self._lines.fails(message.target, now_ns, opens_ns, asked=bool(outcome.retry_after_s))
        if now_ns - message.made_ns >= GIVE_UP_S * _S:
            self._end(message, made, "given_up", "not delivered within a day")
            return
        due_ns = now_ns + int(pause_s * _S)
        made["next_ms"] = due_ns // _MS
        self._again(message, made, due_ns)

    def _end(self, message: Waiting, made: dict[str, Any], status: str, reason: str) -> None:
        """Move a message from the outbox to those that have ended."""
        message.ended = True
        self._counts[status] += 1
        made |= {"status": status, "reason": reason, "ended": self._clock() // _MS}
        self._hold(message, None)
        self._unwritten[message.key] = [
            Document(DELIVERIES, message.key, orjson.dumps(made)),
            Document(OUTBOX, message.key, None),
        ]

    def _again(self, message: Waiting, made: Mapping[str, Any] | None, due_ns: int) -> None:
        """Let a message wait once more; its document is written with the attempt."""
        message.due_ns = due_ns
        if made is not None:
            body = orjson.dumps(made)
            self._hold(message, body)
            self._unwritten[message.key] = [Document(OUTBOX, message.key, body)]
        self._lines.put(message)

    def _missing(self, message: Waiting) -> None:
        """Wait for a document that is not in the records: it may lie in the spool still; for a day."""
        now_ns = self._clock()
        if now_ns - message.made_ns < GIVE_UP_S * _S:
            self._again(message, None, now_ns + int(60 * _S))
            return
        _log.error("a message that was to be sent is not in the records", key=message.key)
        self._lines.forget(message.key)

    async def _write(self) -> None:
        """Record what came of messages, each whole; what the store refuses waits."""
        async with self._writing:
            taken = dict(islice(self._unwritten.items(), MOST_AT_ONCE))
            if not taken:
                return
            await self._records.put_many([document for documents in taken.values() for document in documents])
            for key, documents in taken.items():
                if self._unwritten.get(key) is documents:
                    del self._unwritten[key]
                    message = self._lines.waiting.get(key)
                    if message is not None and message.ended:
                        self._lines.forget(key)


async def _await(what: Awaitable[object]) -> None:
    await what
