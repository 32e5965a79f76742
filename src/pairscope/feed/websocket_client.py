"""The live feed: sockets, decoder, ledger and repairs put together, one batch a flush."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import picows
import structlog

from pairscope.errors import ConnectionLost, ExchangeRefused
from pairscope.feed.backfill import Backfill, Repairs
from pairscope.feed.connection import Connection, Opener, Receiver, Socket
from pairscope.feed.intake import Intake, next_flush_ns
from pairscope.feed.rate import Rate
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.silence import SymbolSilence
from pairscope.feed.subscription import MAX_STREAMS, plan_connections
from pairscope.feed.supervision import TaskCrew
from pairscope.feed.tail_audit import TailAudit
from pairscope.feed.wire import Frame, Signal
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = ["Recorder", "WebSocketFeed", "open_socket"]

_log = structlog.get_logger(__name__)

MAX_FRAME_BYTES: Final = 1 << 20
MAX_PENDING: Final = 200_000
"""Ticks that may wait for a flush; then the sockets are not read any further until they are taken."""
DOWN_AFTER_NS: Final = 60_000_000_000
OPEN_S: Final = 10.0


class Recorder(Protocol):
    """Who keeps raw frames."""

    def write(self, ts_recv_ns: int, frame: bytes) -> None: ...


class _Listener(picows.WSListener):  # type: ignore[misc]
    """picows' callbacks, joined to a receiver; a message in several frames is put together first."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._on_frames = receiver.on_frames
        self._on_close = receiver.on_close
        self._read: list[bytes] = []
        self._keep = self._read.append
        self._parts, self._opened, self._farewell = bytearray(), False, ""

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._opened = True

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is _TEXT and frame.fin:
            self._keep(frame.get_payload_as_bytes())
        else:
            self._on_other(transport, frame)
        if frame.last_in_buffer:
            self._hand_on()

    def _hand_on(self) -> None:
        """Give out what one read brought."""
        read = tuple(self._read)
        self._read.clear()
        if read:
            self._on_frames(read)

    def _on_other(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind is picows.WSMsgType.CLOSE:
            said = frame.get_payload_as_bytes()
            code = int.from_bytes(said[:2], "big")
            self._farewell = f"{code} {said[2:].decode('utf-8', 'replace')}".strip()
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
        elif kind in _IN_PARTS:
            self._parts += frame.get_payload_as_bytes()
            if len(self._parts) > MAX_FRAME_BYTES:
                transport.send_close(picows.WSCloseCode.MESSAGE_TOO_BIG)
                transport.disconnect()
            elif frame.fin:
                message, self._parts = bytes(self._parts), bytearray()
                self._keep(message)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._hand_on()
        if self._opened:
            self._on_close(self._farewell or "without a word")


_TEXT: Final = picows.WSMsgType.TEXT
_IN_PARTS: Final = (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION)


class _PicowsSocket:
    """A picows transport as a :class:`Socket`."""

    def __init__(self, transport: picows.WSTransport) -> None:
        self._transport = transport

    def send(self, message: bytes) -> None:
        self._transport.send(_TEXT, message)

    def pause(self) -> None:
        if not self._ended:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        if not self._ended:
            self._transport.underlying_transport.resume_reading()

    def close(self) -> None:
        self._transport.send_close(picows.WSCloseCode.OK)
        self._transport.disconnect()

    @property
    def _ended(self) -> bool:
        return bool(self._transport.is_disconnected or self._transport.underlying_transport.is_closing())


async def open_socket(url: str, receiver: Receiver) -> Socket:
    """Open a WebSocket whose frames go to ``receiver``; pings are answered by themselves."""
    try:
        async with asyncio.timeout(OPEN_S):
            transport, _ = await picows.ws_connect(
                lambda: _Listener(receiver),
                url,
                websocket_handshake_timeout=OPEN_S,
                max_frame_size=MAX_FRAME_BYTES,
                max_redirects=0,
            )
    except picows.WSInvalidURL as error:
        raise ExchangeRefused(str(error), http_status=400) from error
    except picows.WSHandshakeError as error:
        status = int(error.response.status) if error.response is not None else 0
        if status >= 400:
            raise ExchangeRefused(f"HTTP {status} to the WebSocket handshake", http_status=status) from error
        raise ConnectionLost(f"handshake: {error}") from error
    except picows.WSError as error:
        raise ConnectionLost(str(error)) from error
    return _PicowsSocket(transport)


class WebSocketFeed:
    """Every trade of the followed symbols, once and in batches, with the holes found and repaired (port ``Feed``).

    ``clock`` gives ns since the epoch, ``monotonic`` ns of a clock that never jumps. ``continuity`` is the ledger to
    go on from; what it lacks is asked for over ``rest``. ``on_verdict`` hears of gaps that no tick tells of: declared
    tails and what nothing can repair.

    The watermark stands while the feed knows itself blind (a line is down, or silent where by its rate it could not
    be), until frames come again, the tails have been audited and the holes of the blindness are filled, at most
    ``hold_seconds``: a bar that is being missed should not close empty and be revised a moment later. Up to
    ``max_pending`` ticks wait for a flush; beyond that the sockets are not read, and the exchange's side must wait.
    """

    def __init__(
        self,
        symbols: Symbols,
        follow: Sequence[str],
        *,
        ws_url: str,
        rest: ExchangeRest,
        continuity: Continuity,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
        flush_ms: int = 25,
        lateness_ms: int = 300,
        stall_seconds: float = 10.0,
        recorder: Recorder | None = None,
        on_verdict: Callable[[Gap], None] = lambda _: None,
        streams_per_connection: int = MAX_STREAMS,
        rotate_seconds: float = 23 * 3600.0,
        hold_seconds: float = 60.0,
        audit_seconds: float = 60.0,
        settle_seconds: float = 2.0,
        grace_seconds: float = 0.5,
        max_pending: int = MAX_PENDING,
        opener: Opener = open_socket,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.symbols = symbols
        self.follow = tuple(dict.fromkeys(symbols[symbols.id_of(name)] for name in follow))
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._flush_ns = flush_ms * 1_000_000
        self._stall_ns = int(stall_seconds * 1e9)
        self._recorder = recorder
        self._on_verdict = on_verdict
        self._max_pending = max_pending
        self._silence = SymbolSilence()
        self._intake = intake = Intake(
            symbols,
            self.follow,
            continuity,
            lateness_ns=lateness_ms * 1_000_000,
            hold_ns=int(hold_seconds * 1e9),
        )
        self._decoder = intake.decoder
        rng = rng or random.Random()
        repairs = Repairs(rest, continuity, symbols, intake.deliver, self._verdict, clock, monotonic, sleep)
        self._backfill = Backfill(
            repairs, time_ns=lambda: intake.watermark.time_at(monotonic()), grace_s=grace_seconds, rng=rng
        )
        intake.on_gaps = self._backfill.notice
        self._audit = TailAudit(
            repairs, self.follow, self._decoder.last_raw_id, every_s=audit_seconds, settle_s=settle_seconds
        )
        plans = plan_connections(ws_url, self.follow, streams_per_connection=streams_per_connection)
        self._connections = [
            Connection(
                plan,
                opener=opener,
                take=self._take,
                behind=self._behind,
                on_live=self._audit.ask,
                monotonic=monotonic,
                sleep=sleep,
                stall_ns=self._stall_ns,
                rotate_ns=int(rotate_seconds * 1e9),
                rng=rng,
            )
            for plan in plans
        ]
        self._share = {name: self._connections[i // streams_per_connection] for i, name in enumerate(self.follow)}
        self._crew = TaskCrew(sleep=sleep, rng=rng)
        self._rate = Rate()
        self._started_ns = 0
        self._pauses = 0
        self._paused = False
        self._closing = False

    async def batches(self) -> AsyncIterator[TickBatch]:
        """Yield new ticks, and time where there are none, until closed; raises what no retry can help."""
        self._started_ns = due_ns = self._monotonic()
        jobs: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            (f"feed connection {i}", connection.run) for i, connection in enumerate(self._connections)
        ]
        jobs += [("feed backfill", self._backfill.run), ("feed tail audit", self._audit.run)]
        self._crew.start([*jobs, ("feed silence", self._watch_symbols)])
        try:
            while True:
                due_ns = next_flush_ns(due_ns, self._flush_ns, self._monotonic(), self._clock())
                await self._sleep((due_ns - self._monotonic()) / 1e9)
                if self._crew.failure is not None:
                    raise self._crew.failure
                last = self._closing
                batch = self._flush()
                if batch is not None:
                    yield batch
                if last:
                    return
        finally:
            await self._crew.stop()
            for connection in self._connections:
                connection.hang_up()

    async def close(self) -> None:
        """Hang up for good, as another line would begin behind a hole; :meth:`batches` yields what came and ends."""
        self._closing = True
        for connection in self._connections:
            connection.hang_up()
        await self._crew.stop()

    def stand_by(self, waits: bool) -> None:  # noqa: FBT001 - the one thing that it says
        """Leave holes open, and ask the exchange for nothing, while another process follows the same symbols."""
        self._backfill.stand_by(waits)
        self._audit.waits = waits
        if not waits:
            self._audit.ask()

    async def deliver(self, batch: TickBatch) -> None:
        """Take ticks that were had otherwise into the stream; those that fill no hole are repeats."""
        await self._intake.deliver(batch)

    def status(self) -> dict[str, Any]:
        """Return the feed's check of ``/api/health``."""
        now_ns = self._monotonic()
        seen = [connection.sighted(now_ns, bear_ns=self._stall_ns) for connection in self._connections]
        last_ns = max((connection.last_frame_ns() for connection in self._connections), default=0)
        reasons = [c.reason for c, ok in zip(self._connections, seen, strict=True) if c.reason and not ok]
        status = "ok" if all(seen) else "degraded"
        silent_ns = now_ns - (last_ns or self._started_ns)
        if self._crew.failure is not None or self._closing or (not any(seen) and silent_ns > DOWN_AFTER_NS):
            status = "down"
        if self._crew.failure is not None:
            reasons.insert(0, str(self._crew.failure))
        return {
            "status": status,
            "reason": "; ".join(dict.fromkeys(reasons)) or ("silence" if status != "ok" else ""),
            "connections": sum(bool(c.lines_open()) for c in self._connections),
            "connections_wanted": len(self._connections),
            "last_frame_age_ms": round((now_ns - last_ns) / 1e6) if last_ns else None,
            "open_gaps": self._backfill.pending,
            "watermark_held": self._intake.watermark.held(now_ns),
        }

    def counters(self) -> dict[str, Any]:
        """Return what has been counted since the start."""
        counts, rejected = self._intake.counts, dict(self._decoder.rejected)
        if self._intake.guard.dropped:
            rejected["leap"] = self._intake.guard.dropped
        return {
            "frames": self._decoder.frames,
            "ignored": self._decoder.ignored,
            "ticks": counts["ticks"],
            "rate": round(self._rate.value, 1),
            "rejected": rejected,
            "repeats": counts["repeats"],
            "reconnects": sum(max(0, c.lines - 1) for c in self._connections),
            "connect_attempts": sum(c.attempts for c in self._connections),
            "gaps_opened": counts["gaps_opened"],
            "gaps_repaired": counts["gaps_repaired"],
            "gaps_unrepairable": self._backfill.unrepairable,
            "gaps_pending": self._backfill.pending,
            "pauses": self._pauses,
            "audits": self._audit.audits,
            "audits_failed": self._audit.failures,
            "crashes": dict(self._crew.crashes),
        }

    def _take(self, payloads: Sequence[Frame]) -> Sequence[Signal]:
        """Take the frames of one read of any line; none any more while closing."""
        if self._closing:
            return ()
        now_ns = self._clock()
        if self._recorder is not None:
            for payload in payloads:
                self._recorder.write(now_ns, bytes(payload))
        signals = self._decoder.feed_all(payloads, now_ns)
        if len(self._decoder) >= self._max_pending and not self._paused:
            self._pause()
        return signals

    def _pause(self) -> None:
        """Stop reading until what waits has been taken."""
        self._paused = True
        self._pauses += 1
        for connection in self._connections:
            connection.pause()

    def _verdict(self, gap: Gap) -> None:
        if gap.status == "open":
            self._backfill.notice([gap])
        self._on_verdict(gap)

    async def _behind(self, connection: Connection) -> bool:
        """Tell if trades were printed that a connection did not bring; so too where nobody says."""
        found = await self._audit.audit()
        return found is None or any(self._share[symbol] is connection for symbol in found)

    def _flush(self) -> TickBatch | None:
        """Return the next batch; None where there is nothing to tell yet."""
        now_ns, clock_ns, intake = self._monotonic(), self._clock(), self._intake
        live = intake.gather(now_ns, clock_ns)
        self._silence.note(live.symbol_id, now_ns)
        if self._paused:
            self._paused = False
            for connection in self._connections:
                connection.resume()
        batch = intake.admit(live)
        sighted = all(connection.sighted(now_ns) for connection in self._connections)
        intake.look(now_ns, clock_ns, sighted=sighted, audited=self._audited)
        return intake.release(batch, now_ns)

    def _audited(self, since_ns: int) -> bool:
        """Tell if tails were audited since the newest line was opened, if one was since a time."""
        opened_ns = max((line.opened_ns for c in self._connections for line in c.lines_open()), default=0)
        return opened_ns < since_ns or self._audit.attempted_ns >= opened_ns

    async def _watch_symbols(self) -> None:
        """Once a second, look for symbols that fell silent while the market goes on, and have their tails audited."""
        while True:
            await self._sleep(1.0)
            now_ns = self._monotonic()
            self._rate.step(self._intake.counts["ticks"], now_ns)
            self._silence.step(now_ns)
            ids = [
                i
                for i in self._silence.suspicious(now_ns, stall_ns=self._stall_ns)
                if self._share[self.symbols[i]].sighted(now_ns)
            ]
            if not ids:
                continue
            found = await self._audit.audit()
            if found is None:
                continue
            self._silence.verified(ids, self._monotonic())
            for symbol in found & {self.symbols[i] for i in ids}:
                self._share[symbol].replace(f"the stream of {symbol} fell silent")
