"""Messages that wait, a line for each target, so that one that is slow or down holds up no other."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Lines", "Waiting"]

FRESH_NS: Final = 10_000_000_000
"""How soon after a target's failure a message that has just come may ask it again."""
OUTAGE: Final = 3
"""Failures in a row after which what waited through them comes at once when the target is back."""


@dataclass(slots=True)
class Waiting:
    """A message that waits: its key in the outbox, whom it is for, and when its turn comes.

    ``body`` is its document where there was room for it; else it is read again.
    """

    key: str
    target: str
    made_ns: int
    due_ns: int
    failures: int = 0
    body: bytes | None = None
    ended: bool = False


@dataclass(slots=True)
class _Line:
    """One target's messages by (due, key); after a failure one at a time, and none before ``opens_ns``.

    ``asked``: the target asked for that pause itself. ``hurry``: a message has come while another asked the target.
    """

    messages: list[tuple[int, str]] = field(default_factory=list)
    sending: int = 0
    failures: int = 0
    failed_ns: int = 0
    opens_ns: int = 0
    asked: bool = False
    hurry: bool = False
    queued_ns: int | None = None


class Lines:
    """Every line, by when its next message may be sent. All operations but a recovery cost O(log n).

    ``per_target``: how many messages of one target may be on their way at once.
    """

    def __init__(self, *, per_target: int) -> None:
        self.waiting: dict[str, Waiting] = {}
        self._per_target = per_target
        self._lines: dict[str, _Line] = {}
        self._ready: list[tuple[int, str]] = []

    def put(self, message: Waiting, *, fresh: bool = False) -> None:
        """Let a message wait, or wait again; a fresh one has a target that failed asked again before its time."""
        self.waiting[message.key] = message
        line = self._lines.setdefault(message.target, _Line())
        if fresh and not line.asked:
            line.opens_ns = min(line.opens_ns, line.failed_ns + FRESH_NS)
            line.hurry = line.sending > 0
        heapq.heappush(line.messages, (message.due_ns, message.key))
        self._queue(message.target, line, 0)

    def next(self, now_ns: int) -> Waiting | None:
        """Take a message whose turn has come; None where there is none now."""
        while self._ready and self._ready[0][0] <= now_ns:
            at_ns, target = heapq.heappop(self._ready)
            line = self._lines.get(target)
            if line is None or line.queued_ns != at_ns:
                continue  # it was queued anew
            line.queued_ns = None
            _, key = heapq.heappop(line.messages)
            line.sending += 1
            self._queue(target, line, now_ns)  # behind the lines that have waited longer
            return self.waiting[key]
        return None

    def next_ns(self) -> int | None:
        """Return when the next message's turn comes; None where none waits, or none can before another has ended."""
        while self._ready:
            at_ns, target = self._ready[0]
            line = self._lines.get(target)
            if line is not None and line.queued_ns == at_ns:
                return at_ns
            heapq.heappop(self._ready)
        return None

    def came_back(self, message: Waiting) -> None:
        """Count a message as no longer on its way."""
        line = self._lines[message.target]
        line.sending -= 1
        self._queue(message.target, line, 0)
        if not line.messages and not line.sending:
            del self._lines[message.target]

    def forget(self, key: str) -> None:
        """Drop a message that has been taken by ``next`` and does not wait again."""
        self.waiting.pop(key, None)

    def works(self, target: str, now_ns: int) -> None:
        """Note that a target takes messages; after an outage those that waited are due at once."""
        line = self._lines[target]
        if line.failures >= OUTAGE:
            line.messages = [(min(due_ns, now_ns), key) for due_ns, key in line.messages]
            heapq.heapify(line.messages)
        line.failures = line.opens_ns = 0
        line.asked = line.hurry = False

    def fails(self, target: str, now_ns: int, until_ns: int, *, asked: bool = False) -> None:
        """Note that a target does not answer as it should, and leave it alone until a time."""
        line = self._lines[target]
        line.failures += 1
        line.failed_ns = now_ns
        line.opens_ns = max(line.opens_ns, min(until_ns, now_ns + FRESH_NS) if line.hurry and not asked else until_ns)
        line.asked = asked
        line.hurry = False

    def failures(self, target: str) -> int:
        """Return how often in a row a target has failed."""
        line = self._lines.get(target)
        return 0 if line is None else line.failures

    def failing(self) -> int:
        """Return how many targets do not answer as they should."""
        return sum(line.failures > 0 for line in self._lines.values())

    def _queue(self, target: str, line: _Line, not_before_ns: int) -> None:
        """Place a line by when its first message may be sent, where one more may be on its way."""
        line.queued_ns = None
        if not line.messages or line.sending >= (1 if line.failures else self._per_target):
            return
        at_ns = max(line.messages[0][0], line.opens_ns, not_before_ns)
        line.queued_ns = at_ns
        heapq.heappush(self._ready, (at_ns, target))
