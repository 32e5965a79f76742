"""A read replica: asked while it is not far behind the primary, left alone while it is or where it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from pairscope.errors import StorageError
from pairscope.storage.postgres_pool import PostgresPool, Session

__all__ = ["PostgresReplica"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

_REST_S: Final = 5.0
"""So long a replica that failed is left alone."""
_SAMPLES: Final = 64


class PostgresReplica:
    """Reads of a replica that lags at most ``allowed_s`` behind, else of the primary.

    How far it is behind is told by positions in the log: every ``look_s``, beside the reads, the primary's is noted
    with its time, and the replica's says how old the newest one is that it has passed. So a replica that has lost its
    primary counts as behind, whatever it says of itself. Until it was looked at twice the primary answers.
    """

    def __init__(
        self, replica: PostgresPool, primary: PostgresPool, *, allowed_s: float = 3.0, look_s: float = 1.0
    ) -> None:
        self._replica = replica
        self._primary = primary
        self._allowed_s = allowed_s
        self._look_s = look_s
        self._noted: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._lag_s: float | None = None
        self._trouble = ""
        self._next_look_s = 0.0
        self._rests_until_s = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._reads = 0
        self._refused = 0

    async def read(self, work: Callable[[Session], T]) -> T:
        """Do work that changes nothing and need not see the newest."""
        self._look_when_due()
        if self.is_used:
            try:
                found = await self._replica.read(work)
            except StorageError as error:
                self._rest(error)
            else:
                self._reads += 1
                return found
        self._refused += 1
        return await self._primary.read(work)

    @property
    def is_used(self) -> bool:
        """Whether the replica answers now."""
        return self._lag_s is not None and self._lag_s <= self._allowed_s and time.monotonic() >= self._rests_until_s

    def status(self) -> Mapping[str, Any]:
        """Return whether it is ``used``, its ``lag_s`` (None where unknown), and who answered how many reads.

        With the ``reason`` where it was looked at and is not used; who asks again hears when it is.
        """
        self._look_when_due()
        found: dict[str, Any] = {
            "used": self.is_used,
            "lag_s": self._lag_s,
            "reads": self._reads,
            "reads_of_primary": self._refused,
        }
        if not self.is_used and self._trouble:
            found["reason"] = self._trouble
        return found

    async def close(self) -> None:
        """Let go of the replica; the primary has an owner of its own."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait({looking})
        await self._replica.close()

    def _look_when_due(self) -> None:
        """Have it looked at, beside whatever else there is to do."""
        now_s = time.monotonic()
        if now_s >= self._next_look_s and (self._looking is None or self._looking.done()):
            self._next_look_s = now_s + self._look_s
            self._looking = asyncio.create_task(self._look(), name="replica-lag")

    async def _look(self) -> None:
        """Note where the primary's log stands, and find out how far behind the replica is."""
        try:
            noted_s = time.monotonic()
            self._noted.append((noted_s, await self._primary.read(_written)))
        except StorageError:
            pass  # while the primary is away nothing new is written that a replica could lack
        try:
            replayed = await self._replica.read(_replayed)
        except StorageError as error:
            self._lag_s = None
            self._trouble = f"the read replica does not answer, the primary does: {error}"
            self._rest(error)
            return
        if replayed is None:
            self._lag_s = None
            self._complain("the read replica is no standby, the primary answers")
            return
        newest_s, newest = self._noted[-1] if self._noted else (0.0, 0)
        passed = [noted_s for noted_s, written in self._noted if written <= replayed]
        if self._noted and replayed >= newest:
            self._lag_s = 0.0
        else:
            self._lag_s = newest_s - passed[-1] if passed else None
        if self._lag_s is not None and self._lag_s <= self._allowed_s:
            if self._trouble:
                _log.info("the read replica answers again")
            self._trouble = ""
        elif len(self._noted) > 1:
            behind = f"{self._lag_s:.0f} s" if self._lag_s is not None else "too far"
            self._complain(f"the read replica is {behind} behind, the primary answers")

    def _complain(self, trouble: str) -> None:
        """Say why it is not used; once in the log, in health for as long as it is so."""
        if not self._trouble:
            _log.warning(trouble, setting="PAIRSCOPE_DATABASE_REPLICA_URL")
        self._trouble = trouble

    def _rest(self, error: StorageError) -> None:
        if time.monotonic() >= self._rests_until_s:
            _log.warning("read replica does not answer, the primary does", error=str(error))
        self._rests_until_s = time.monotonic() + _REST_S


def _written(session: Session) -> int:
    """Return where the log of a primary stands, in bytes."""
    return int(session.rows("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS at")[0]["at"])


def _replayed(session: Session) -> int | None:
    """Return up to where a standby has taken over the log, None where it is no standby."""
    at = session.rows(
        "SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END AS at"
    )[0]["at"]
    return None if at is None else int(at)
