"""The history of firings: the newest in memory, all that are kept in the records, each with a number of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from pairscope.ports import Document, Records
from pairscope.ports_alerts import FiringQuery
from pairscope.schemas import encode_alert

__all__ = ["COLLECTION", "MOST_KEPT", "FiringHistory", "firing_key"]

COLLECTION: Final = "alert_firings"
MOST_KEPT: Final = 200_000
"""Firings that are kept; older ones are forgotten."""
MOST_LOOKED_AT: Final = 20_000
"""Firings that one page looks at in the records; where few of them are asked for, a page may hold fewer than fit."""
IN_MEMORY: Final = 5000
CHUNK: Final = 500
_TURNS: Final = 10**18
_EARLY_MS: Final = 60_000
"""How much later than we received it an event may say that it happened: clocks differ."""

Firing = Mapping[str, Any]


def firing_key(seq: int) -> str:
    """Return the key of a firing in the records: the newest comes first.

    >>> firing_key(2) < firing_key(1), seq_of(firing_key(41))
    (True, 41)
    """
    return f"{_TURNS - seq:019d}"


def seq_of(key: str) -> int:
    """Return the number of the firing that a key names."""
    return _TURNS - int(key)


class FiringHistory:
    """Firings by their ``seq``, which grows by one a firing and over restarts.

    ``add`` numbers a firing and returns the document that keeps it; from then on it is told, whenever it is stored.
    """

    def __init__(self, records: Records, *, in_memory: int = IN_MEMORY, most: int = MOST_KEPT) -> None:
        self._records = records
        self._most = most
        self._newest: deque[tuple[int, bytes]] = deque(maxlen=in_memory)
        self.seq = 0
        """The last number that was given; 0 before the first."""

    async def restore(self) -> None:
        """Take up the newest of what an earlier run kept."""
        found: list[tuple[int, bytes]] = []
        async for key, body in self._records.scan(COLLECTION):
            found.append((seq_of(key), body))
            if len(found) == self._newest.maxlen:
                break
        self._newest.extend(found[::-1])
        self.seq = found[0][0] if found else 0

    def add(self, firing: dict[str, Any]) -> tuple[int, bytes, Document]:
        """Number a firing; return its ``seq``, the document as it is told, and as it is to be kept."""
        self.seq += 1
        body = encode_alert({**firing, "seq": self.seq})
        self._newest.append((self.seq, body))
        return self.seq, body, Document(COLLECTION, firing_key(self.seq), body)

    def forget(self, seqs: Sequence[int]) -> None:
        """Forget firings that were added and are not kept, since another had kept them.

        The newest numbers are given again, so that there is no hole.
        """
        gone = set(seqs)
        while self.seq in gone:
            self.seq -= 1
        left = [item for item in self._newest if item[0] not in gone]
        self._newest.clear()
        self._newest.extend(left)

    async def last_kept(self) -> int:
        """Ask the records for the newest number, 0 where there is none."""
        async for key, _ in self._records.scan(COLLECTION):
            return seq_of(key)
        return 0

    async def kept_behind(self, after: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield every firing behind ``after`` as the records have them, oldest first: for who did not add them."""
        newest = await self.last_kept()
        low = max(after, newest - self._most)
        while low < newest:
            high, chunk = min(low + CHUNK, newest), []
            async for key, body in self._records.scan(COLLECTION, firing_key(high + 1)):
                if seq_of(key) <= low:
                    break
                chunk.append((seq_of(key), body))
            for item in reversed(chunk):
                yield item
            low = high

    async def page(self, query: FiringQuery) -> tuple[list[dict[str, Any]], int | None]:
        """Return the firings that are asked for, newest first, and what to ask for the page behind them."""
        found: list[dict[str, Any]] = []
        last = query.before
        looked_at = 0
        async for seq, body in self._backwards(query.before):
            if seq <= query.after:
                break
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                return found, last
            firing = _wanted(body, query)
            if firing is _TOO_OLD:
                break
            if firing is not None:
                if len(found) == query.limit:
                    return found, last
                found.append(firing)
            last = seq
        return found, None

    async def missed(self, after: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield every kept firing behind ``after``, oldest first; what is added meanwhile may be among them."""
        low = max(after + 1, self.oldest)
        while low <= self.seq:
            if self._newest and low >= self._newest[0][0]:
                ahead = [item for item in self._newest if item[0] >= low]
                for seq, body in ahead:
                    yield seq, body
                    low = seq + 1
                if not ahead:
                    return
                continue
            high = min(low + CHUNK, self._newest[0][0] if self._newest else self.seq + 1) - 1
            chunk: list[tuple[int, bytes]] = []
            async for key, body in self._records.scan(COLLECTION, firing_key(high + 1)):
                if seq_of(key) < low:
                    break
                chunk.append((seq_of(key), body))
            for seq, body in reversed(chunk):
                yield seq, body
            low = high + 1

    @property
    def oldest(self) -> int:
        """The number of the oldest firing that is kept, where there are so many."""
        return max(1, self.seq - self._most + 1)

    async def outdated(self, most: int) -> list[Document]:
        """Return, as documents without a body, up to ``most`` firings that are older than is kept."""
        gone: list[Document] = []
        if self.seq > self._most:
            async for key, _ in self._records.scan(COLLECTION, firing_key(self.oldest)):
                gone.append(Document(COLLECTION, key, None))
                if len(gone) == most:
                    break
        return gone

    def in_memory(self) -> int:
        """Return how many firings are at hand without the records."""
        return len(self._newest)

    async def _backwards(self, before: int | None) -> AsyncIterator[tuple[int, bytes]]:
        """Yield firings with a number below ``before``, newest first, from memory as far as that reaches."""
        last = self.seq + 1 if before is None else before
        for seq, body in list(self._from_memory(last)):
            yield seq, body
            last = seq
        if last > 1:
            async for key, body in self._records.scan(COLLECTION, firing_key(last)):
                if seq_of(key) < last:
                    yield seq_of(key), body

    def _from_memory(self, before: int) -> Iterator[tuple[int, bytes]]:
        if self._newest and before > self._newest[0][0]:
            yield from (item for item in reversed(self._newest) if item[0] < before)


_TOO_OLD: Final[dict[str, Any]] = {}


def _wanted(body: bytes, query: FiringQuery) -> dict[str, Any] | None:
    """Return a firing where a query asks for it; ``_TOO_OLD`` where none behind it can be."""
    for name in (query.alert_id, query.symbol):
        if name is not None and orjson.dumps(name) not in body:
            return None
    firing: dict[str, Any] = orjson.loads(body)
    if query.since_ns is not None:
        if (firing["received"] + _EARLY_MS) * 1_000_000 < query.since_ns:
            return _TOO_OLD
        if firing["timestamp"] * 1_000_000 < query.since_ns:
            return None
    if query.alert_id not in {None, firing["alert_id"]}:
        return None
    if query.symbol is not None and query.symbol not in {firing.get(name) for name in ("symbol", "y", "x")}:
        return None
    return firing
