"""A server that speaks the exchange's market protocol, WebSocket and REST on one port, from any source.

What REST shows is what the streams have printed: one market time rules both. With a speed, the market follows the
clock, and a client that does not keep up is cut off at a stated number of unsent bytes; at speed ``max`` it waits for
the slowest reader.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import structlog

from pairscope.errors import ConfigError, InputError
from pairscope.feed.agg_trades import AggTrades
from pairscope.feed.market_source import MarketSource
from pairscope.feed.replay_clock import ReplayClock
from pairscope.feed.replay_connection import Connection, accept
from pairscope.feed.replay_events import Events
from pairscope.feed.replay_faults import ConnectionFaults, Fault
from pairscope.feed.replay_http import HttpFront
from pairscope.feed.replay_printer import Listener, Printer
from pairscope.feed.replay_rest import Answer, RestApi
from pairscope.feed.replay_streams import Limits, Session, parse_target
from pairscope.feed.replay_weight import WeightPool

__all__ = ["ReplayServer", "serve"]

_log = structlog.get_logger()
_WAIT_S = 0.02
_KEEP_S = 0.1
_CHUNK = 4000
_HIGH_WATER = 1 << 20


class ReplayServer:
    """A running server. Made by :func:`serve`; ends with :meth:`close`.

    ``port`` is where it listens, ``counters`` what it did, ``now_ms`` the market's time: everything printed before it
    is visible. ``finished`` is set when a source that ends has been played.
    """

    def __init__(
        self,
        source: MarketSource,
        *,
        clock: ReplayClock,
        limits: Limits,
        faults: Sequence[Fault],
        seed: int,
        weight_limit: int,
        wait: bool,
        settle_s: float,
        shift_to_now: bool,
        max_unsent: int,
        tick_s: float,
    ) -> None:
        self.source = source
        self.port = 0
        self.counters: Counter[str] = Counter()
        self.finished = asyncio.Event()
        self.started = asyncio.Event()
        self._clock = clock
        self._limits = limits
        self._faults = tuple(faults)
        self._seed = seed
        self._wait = wait
        self._settle_s = settle_s
        self._shift_to_now = shift_to_now
        self._max_unsent = max_unsent
        self._tick_s = tick_s
        self._weights = WeightPool(lambda: time.time_ns() // 1_000_000, limit=weight_limit)
        self._rest = RestApi(source, lambda: self.now_ms, weights=self._weights)
        self._events = Events(source)
        self._printer = Printer(source, self.counters)
        self._connections: dict[Connection, Listener] = {}
        self._fronts: set[HttpFront] = set()
        self._changed_s = time.monotonic()
        self._numbers = 0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="replay")
        self._eventing: asyncio.Task[None] | None = None
        self._evented_ms = 0
        self._changed_rows: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self.now_ms = self._start_ms = clock.target_ms()

    # -- what tests and callers look at ---------------------------------------------------------------------------

    def truth(self) -> AggTrades:
        """Return everything that was printed since the start, whoever listened."""
        return self.source.between(self._start_ms, self.now_ms)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The clients that are connected now."""
        return tuple(self._connections)

    # -- life -----------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> None:
        """Open the port and let the market go, or wait for its first subscriber."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._warm_up)
        try:
            self._server = await loop.create_server(
                lambda: HttpFront(self._respond, self._upgrade, self._fronts), host, port
            )
        except OSError as error:
            self._executor.shutdown(wait=False)
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}", loc="port", hint="choose another with --port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        if not self._wait:
            self._begin()
        self._tasks = [loop.create_task(self._play()), loop.create_task(self._keep())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _warm_up(self) -> None:
        """Do once what every print does, so that compiling the first time holds up no client."""
        self._printer.encode(self.source.between(self._start_ms, self._start_ms + 1000))
        self.source.day(0, self._start_ms)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Make a market that broke down visible: every client is cut off, and the reason is logged."""
        if task.cancelled() or task.exception() is None:
            return
        self.counters["crashes"] += 1
        _log.error("the replay server broke down", exc_info=task.exception())
        for connection in self.connections:
            connection.cut()

    async def close(self) -> None:
        """Stop the market, say goodbye to the clients and free the port."""
        for task in [*self._tasks, *([self._eventing] if self._eventing else [])]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            connection.end(1001, "Going away")
        for front in tuple(self._fronts):
            front.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.sleep(0)

    def _begin(self) -> None:
        """Let the market's time go."""
        if self._shift_to_now:
            ahead_ms = self._start_ms - self.source.start_ms
            self.source.shift_to(time.time_ns() // 1_000_000 - ahead_ms)
            self.now_ms = self._start_ms = self.source.start_ms + ahead_ms
        self._clock.begin(self.now_ms)
        self._evented_ms = self.now_ms
        for connection in self.connections:
            connection.afflicted_s = time.monotonic()
        self.started.set()

    # -- the market's time ----------------------------------------------------------------------------------------

    async def _play(self) -> None:
        """Print what is due, for ever."""
        while True:
            if not self._clock.running:
                if self._settled():
                    self._begin()
                else:
                    await asyncio.sleep(_WAIT_S)
                    continue
            if self._clock.speed is None:
                await self._play_chunk()
            else:
                await asyncio.sleep(self._tick_s)
                await self._play_until(self._clock.target_ms())

    async def _play_chunk(self) -> None:
        """Print as much as the slowest reader takes, while anybody listens."""
        end_ms = self.source.end_ms
        if (end_ms is not None and self.now_ms >= end_ms) or not self._audience():
            await asyncio.sleep(_WAIT_S)
            return
        upto = self.source.chunk_end(self.now_ms, _CHUNK)
        self._advance(upto if end_ms is None else min(upto, end_ms))
        if self._eventing is not None:
            await self._eventing
        for connection in self.connections:
            if connection.unsent > _HIGH_WATER:
                await connection.ready.wait()
        await asyncio.sleep(0)

    async def _play_until(self, target_ms: int) -> None:
        """Print up to a moment, in pieces that leave the loop air."""
        while self.now_ms < target_ms:
            self._advance(min(target_ms, self.source.chunk_end(self.now_ms, _CHUNK)))
            for connection in self.connections:
                if connection.unsent > self._max_unsent:
                    self.counters["slow_readers_cut"] += 1
                    connection.cut()
            await asyncio.sleep(0)

    def _advance(self, upto_ms: int) -> None:
        """Print everything of [now, upto) to whom it concerns, then move the market's time there."""
        since_ms = self.now_ms
        listeners = [x for x in self._connections.items() if x[0].open and not self._silent(x[0])]
        slow = any(listener.slow for _, listener in listeners)
        if slow or any(listener.wanting for _, listener in listeners):
            trades = self.source.between(since_ms, upto_ms)
            if slow:
                self._changed_rows.update(np.unique(trades.symbol_id).tolist())
            if len(trades):
                self._printer.agg_trades(trades, listeners)
        if any(listener.public for _, listener in listeners):
            self._printer.public(self.source.public_between(since_ms, upto_ms), listeners)
        self.now_ms = upto_ms
        if slow and self._eventing is None:
            self._eventing = asyncio.get_running_loop().create_task(self._print_events(upto_ms))
            self._eventing.add_done_callback(self._ended)
        end_ms = self.source.end_ms
        if end_ms is not None and upto_ms >= end_ms:
            self.finished.set()

    def _silent(self, connection: Connection) -> bool:
        """Return whether a requested stall keeps data from a connection now."""
        silent = bool(connection.faults) and connection.faults.stalled(time.monotonic() - connection.afflicted_s)
        self.counters["stalled_prints"] += silent
        return silent

    async def _print_events(self, now_ms: int) -> None:
        """Compute the slow streams in a thread and send them."""
        try:
            streams = sorted({stream for listener in self._connections.values() for stream in listener.slow})
            loop = asyncio.get_running_loop()
            since_ms, self._evented_ms = self._evented_ms, now_ms
            changed, self._changed_rows = self._changed_rows, set()
            events = await loop.run_in_executor(self._executor, self._events.due, streams, changed, since_ms, now_ms)
            listeners = [x for x in self._connections.items() if x[0].open and not self._silent(x[0])]
            self._printer.events(events, listeners)
        finally:
            self._eventing = None

    # -- clients --------------------------------------------------------------------------------------------------

    def _audience(self) -> bool:
        """Return whether anybody is subscribed to anything that the market prints."""
        return any(listener.listening for listener in self._connections.values())

    def _settled(self) -> bool:
        """Return whether somebody listens on /market and the subscribing has come to rest."""
        heard = any(listener.market for listener in self._connections.values())
        return heard and time.monotonic() - self._changed_s >= self._settle_s

    def joined(self, connection: Connection) -> None:
        """Take a new client."""
        self.counters["connections"] += 1
        if self._clock.running:
            connection.afflicted_s = connection.born_s
        self.changed(connection)

    def changed(self, connection: Connection) -> None:
        """Note what a client is subscribed to."""
        self._connections[connection] = Listener(connection.session, self._printer.rows)
        self._changed_s = time.monotonic()

    def left(self, connection: Connection) -> None:
        """Forget a client and keep the count of its faults."""
        self._connections.pop(connection, None)
        self.counters.update(connection.faults.counts)
        self._events.forget({stream for listener in self._connections.values() for stream in listener.slow})

    async def _keep(self) -> None:
        """Look after pings, ages and requested cuts."""
        while True:
            await asyncio.sleep(_KEEP_S)
            now_s = time.monotonic()
            for connection in self.connections:
                was_open = connection.open
                connection.keep(now_s)
                self.counters["ended"] += was_open and not connection.open

    def _upgrade(self, transport: asyncio.Transport, head: bytes) -> None:
        """Accept a WebSocket handshake."""
        target = head.split(b" ", 2)[1].decode("utf-8", "replace") if head.count(b" ") > 1 else "/"
        parsed = parse_target(target)
        connection = None
        if parsed is not None:
            route, combined, streams = parsed
            self._numbers += 1
            session = Session(route, combined=combined, streams=streams, limits=self._limits)
            faults = ConnectionFaults(self._faults, seed=self._seed, connection=self._numbers)
            connection = Connection(self._numbers, self, session, faults, self._limits)
        accept(transport, head, connection)

    async def _respond(self, method: str, target: str) -> Answer:
        """Answer a REST request in a thread, so that the streams go on."""
        self.counters["requests"] += 1
        answer = await asyncio.get_running_loop().run_in_executor(self._executor, self._rest.answer, method, target)
        self.counters["requests_refused"] += answer.status in {418, 429}
        return answer


async def serve(
    source: MarketSource,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float | None = 1.0,
    start_ms: int | None = None,
    wait: bool | None = None,
    settle_s: float = 0.3,
    shift_to_now: bool = False,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    limits: Limits | None = None,
    weight_limit: int = 2400,
    max_unsent: int = 64 << 20,
    tick_s: float = 0.01,
) -> ReplayServer:
    """Serve a source until :meth:`ReplayServer.close`.

    ``speed`` is a factor, None plays as fast as clients read. A recording begins, unless ``wait`` says otherwise, when
    its first subscriber on /market has been subscribed for ``settle_s`` seconds; the synthetic market begins at once,
    by default now. ``start_ms`` is the market time to begin at; what lies before it is history. ``shift_to_now`` moves
    all times so that it begins at the present. ``faults`` befall every connection, each drawn from ``seed``; those by
    the clock count from when it and a running market are there. Port 0 takes a free one. With a speed the market
    prints every ``tick_s`` seconds. Raises ``ConfigError`` where the port cannot be had.
    """
    if start_ms is None:
        start_ms = source.start_ms if source.waits else time.time_ns() // 1_000_000
    end_ms = source.end_ms
    if start_ms < source.start_ms or (end_ms is not None and start_ms >= end_ms):
        raise InputError("start: lies outside what there is to play", loc="start")
    server = ReplayServer(
        source,
        clock=ReplayClock(start_ms, speed=speed, monotonic_s=time.monotonic),
        limits=limits or Limits(),
        faults=faults,
        seed=seed,
        weight_limit=weight_limit,
        wait=source.waits if wait is None else wait,
        settle_s=settle_s,
        shift_to_now=shift_to_now,
        max_unsent=max_unsent,
        tick_s=tick_s,
    )
    await server.listen(host, port)
    return server
