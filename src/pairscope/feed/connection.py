"""One share of the streams, kept connected: connect, subscribe, watch for silence, rotate, back off."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from pairscope.errors import ConnectionLost, ExchangeRefused, FeedError, FeedSilent
from pairscope.feed.reconnect import backoff, can_retry
from pairscope.feed.subscription import SUBSCRIBE_EVERY_S, ConnectionPlan
from pairscope.feed.wire import Frame, Shutdown, Signal

__all__ = ["Connection", "Line", "Opener", "Receiver", "Socket"]

_log = structlog.get_logger(__name__)

OVERLAP_S: Final = 1.0
"""How long two lines both speak: one may be ahead of the other by what is on its way."""
STEADY_SHARE: Final = 0.5
"""A line that delivered for this share of the stall time was a good one: the next attempt does not wait long."""
CERTAIN: Final = 20.0
"""Frames that should have come, by the usual rate, when silence is no accident (a chance of e^-20)."""
HICCUP_NS: Final = 500_000_000
"""No silence shorter than this means anything."""
LONGEST_PATIENCE_NS: Final = 60_000_000_000
"""A line that was quiet for good reason is asked about less and less often, down to once in this time."""
MEMORY_NS: Final = 30_000_000_000
"""Over which the usual rate of frames is taken."""


class Socket(Protocol):
    """An open WebSocket, as far as a connection uses it."""

    def send(self, message: bytes) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


class Receiver(Protocol):
    """Who hears a socket."""

    def on_frames(self, payloads: Sequence[Frame]) -> None:
        """Called with the frames that came in one read."""
        ...

    def on_close(self, reason: str) -> None: ...


Take = Callable[[Sequence[Frame]], Sequence[Signal]]
"""Takes frames that came at one moment and gives back what they ask of their connection."""
Opener = Callable[[str, Receiver], Awaitable[Socket]]
"""Opens a socket to an address. Raises ``ConnectionLost``, ``ExchangeRefused`` (an HTTP answer) or ``OSError``."""


class Line:
    """The life of one socket: frames go to ``take``; ``trouble`` gets the reason when it must be replaced."""

    __slots__ = (
        "_monotonic",
        "_take",
        "closed",
        "first_ns",
        "frames",
        "last_ns",
        "opened_ns",
        "paused",
        "socket",
        "trouble",
    )

    def __init__(self, take: Take, monotonic: Callable[[], int]) -> None:
        self._take = take
        self._monotonic = monotonic
        self.socket: Socket | None = None
        self.opened_ns = self.last_ns = monotonic()
        self.first_ns = 0
        self.frames = 0
        self.paused = False
        self.closed = ""
        self.trouble: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_frames(self, payloads: Sequence[Frame]) -> None:
        """Take in frames and note when they came; an answer to our own message proves nothing about the streams."""
        signals = self._take(payloads)
        fresh = len(payloads) - len(signals)
        if fresh:
            self.frames += fresh
            self.last_ns = self._monotonic()
            self.first_ns = self.first_ns or self.last_ns
        for signal in signals:
            self._heed(signal)

    def on_close(self, reason: str) -> None:
        """Note that the other side is gone."""
        self.closed = reason or "closed"
        self.replace_for(f"closed: {self.closed}")

    def replace_for(self, reason: str) -> None:
        """Have this line replaced by a new one."""
        if not self.trouble.done():
            self.trouble.set_result(reason)

    def _heed(self, signal: Signal) -> None:
        if isinstance(signal, Shutdown):
            self.replace_for("the server announced its shutdown")
        elif signal.code:
            _log.warning("exchange_refused_message", code=signal.code, message=signal.message, request=signal.request)
            self.replace_for(f"refused: {signal.code} {signal.message}")

    def delivered_ns(self) -> int:
        """Return for how long frames came."""
        return self.last_ns - self.first_ns if self.frames else -1

    def close(self) -> None:
        """Hang up."""
        if self.socket is not None and not self.closed:
            self.socket.close()


class Connection:
    """Keeps the streams of one plan coming, on one line at a time, or two while one takes over from the other.

    A handshake or an agreement proves nothing: a line is alive when frames come. When they stop for ``stall_ns`` and
    by the usual rate ``CERTAIN`` of them are missing, the line is replaced; a quiet line is judged by ``behind``
    (does the exchange have trades that did not come?), and so is a new one that has not spoken yet: a market may have
    stopped. Replacement is make-before-break, so that nothing is lost where
    the old line still speaks; what comes twice is dropped by id.
    """

    def __init__(
        self,
        plan: ConnectionPlan,
        *,
        opener: Opener,
        take: Take,
        behind: Callable[[Connection], Awaitable[bool]],
        on_live: Callable[[], None],
        monotonic: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]],
        stall_ns: int,
        rotate_ns: int,
        rng: random.Random,
    ) -> None:
        self.plan = plan
        self.attempts = 0
        self.lines = 0
        self.reason = "connecting"
        self.line: Line | None = None
        self.retired: Line | None = None
        self._opener = opener
        self._take = take
        self._behind = behind
        self._on_live = on_live
        self._monotonic = monotonic
        self._sleep = sleep
        self._stall_ns = stall_ns
        self._rotate_ns = rotate_ns
        self._rng = rng
        self._delays = backoff(rng=rng)
        self._delivered = False
        self._heard_ns = 0
        self._rate = 0.0
        self._counted = 0
        self._counted_ns = 0
        self._verified_ns = 0
        self._patience_ns = stall_ns

    async def run(self) -> None:
        """Keep the streams coming for ever; raises where no retry can help."""
        self.hang_up()
        wait = False
        while True:
            fresh = await self._connect(wait=wait)
            self.retired, self.line = self.line, fresh
            self._counted, self._counted_ns = 0, self._monotonic()
            await self._subscribe(fresh)
            if self.retired is not None:
                await self._take_over(self.retired, fresh)
                self.retired = None
            self.reason = await self._watch(fresh)
            if fresh.frames:
                self._delivered, self._heard_ns = True, fresh.last_ns
            _log.info("feed_line_replaced", reason=self.reason, frames=fresh.frames)
            if fresh.closed:
                self.line = None
            steady = fresh.delivered_ns() >= STEADY_SHARE * self._stall_ns
            if steady:
                self._delays = backoff(rng=self._rng)
            wait = bool(fresh.closed) or not steady

    def hang_up(self) -> None:
        """Close every line."""
        for line in (self.line, self.retired):
            if line is not None:
                line.close()
        self.line = self.retired = None

    def pause(self) -> None:
        """Let what comes wait on its way."""
        for line in self.lines_open():
            if line.socket is not None:
                line.paused = True
                line.socket.pause()

    def resume(self) -> None:
        """Go on reading; the silence in between was ours."""
        for line in self.lines_open():
            if line.socket is not None and line.paused:
                line.paused, line.last_ns = False, self._monotonic()
                line.socket.resume()

    def lines_open(self) -> list[Line]:
        """Return the lines that may deliver."""
        return [line for line in (self.line, self.retired) if line is not None and not line.closed]

    def replace(self, reason: str) -> None:
        """Have the line replaced, make-before-break."""
        if self.line is not None:
            self.line.replace_for(reason)

    def last_frame_ns(self) -> int:
        """Return the monotonic time of the newest frame, 0 before the first."""
        return max((line.last_ns for line in self.lines_open() if line.frames), default=self._heard_ns)

    def sighted(self, now_ns: int, *, bear_ns: int = HICCUP_NS) -> bool:
        """Tell if what the market prints is believed to arrive now; a silence up to ``bear_ns`` means nothing."""
        for line in self.lines_open():
            silence_ns = now_ns - max(line.last_ns, self._verified_ns)
            known = line.frames > 0 or self._verified_ns >= line.opened_ns
            if line.paused or (known and (silence_ns < bear_ns or self._missed(silence_ns) < CERTAIN)):
                return True
        return False

    def _missed(self, silence_ns: int) -> float:
        """Return how many frames a silence should have brought."""
        return self._rate * silence_ns / 1e9

    async def _connect(self, *, wait: bool) -> Line:
        """Open a line, as often as it takes."""
        while True:
            if wait:
                await self._sleep(next(self._delays))
            self.attempts += 1
            line = Line(self._take, self._monotonic)
            try:
                line.socket = await self._opener(self.plan.url, line)
            except (ConnectionLost, ExchangeRefused, OSError, TimeoutError) as error:
                if not can_retry(error, delivered=self._delivered):
                    raise error if isinstance(error, FeedError) else ConnectionLost(str(error)) from error
                self.reason = f"no connection: {error}"
                _log.info("feed_connect_failed", error=str(error), attempt=self.attempts)
                wait = True
                continue
            self.lines += 1
            line.opened_ns = self._monotonic()
            line.last_ns = max(line.last_ns, line.opened_ns)
            return line

    async def _subscribe(self, line: Line) -> None:
        """Ask for the streams that the address had no room for, slowly."""
        for message in self.plan.subscribe:
            if line.closed or line.socket is None:
                return
            line.socket.send(message)
            await self._sleep(SUBSCRIBE_EVERY_S)

    async def _take_over(self, old: Line, fresh: Line) -> None:
        """Let the old line speak, while silence is borne, until the new one does and what was on its way has come."""
        deadline_ns = self._monotonic() + self._stall_ns
        while not (fresh.frames or fresh.closed or old.closed) and self._monotonic() < deadline_ns:
            await self._sleep(0.02)
        if fresh.frames and not old.closed:
            await self._sleep(OVERLAP_S)
        old.close()

    async def _watch(self, line: Line) -> str:
        """Wait until the line must be replaced; return why."""
        check_s = min(1.0, self._stall_ns / 4e9)
        live = False
        while True:
            await asyncio.wait({line.trouble}, timeout=check_s if live else check_s / 4)
            if line.trouble.done():
                return line.trouble.result()
            now_ns = self._monotonic()
            if line.frames and not live:
                live, self.reason = True, ""
                self._on_live()
            if now_ns - line.opened_ns >= self._rotate_ns:
                return "rotation before the exchange ends the connection"
            if line.paused:
                continue
            self._measure(line, now_ns)
            silence_ns = now_ns - max(line.last_ns, self._verified_ns)
            if line.last_ns > self._verified_ns:
                self._patience_ns = self._stall_ns
            if silence_ns < self._patience_ns:
                continue
            silent = FeedSilent(f"no frame for {(now_ns - line.last_ns) / 1e9:.1f} s")
            if line.frames and self._missed(silence_ns) >= CERTAIN:
                return str(silent)
            self.reason = str(silent)
            if await self._behind(self):
                return str(silent)
            self._verified_ns, self.reason = self._monotonic(), ""
            self._rate = 0.0 if not line.frames else self._rate
            self._patience_ns = min(2 * self._patience_ns, max(self._stall_ns, LONGEST_PATIENCE_NS))

    def _measure(self, line: Line, now_ns: int) -> None:
        """Follow the usual rate of frames, from nothing up; silence counts when it is over."""
        came, elapsed_ns = line.frames - self._counted, now_ns - self._counted_ns
        if came <= 0 or elapsed_ns <= 0:
            return
        weight = 1.0 - math.exp(-elapsed_ns / MEMORY_NS)
        self._rate += weight * (came * 1e9 / elapsed_ns - self._rate)
        self._counted, self._counted_ns = line.frames, now_ns
