"""The two ends of a recording: ``pairscope record`` writes it, ``pairscope replay serve`` plays it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError
from pairscope.feed.recording import FrameRecorder
from pairscope.feed.replay_clock import parse_speed
from pairscope.feed.replay_faults import parse_fault
from pairscope.feed.replay_server import serve
from pairscope.feed.replay_source import open_source
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.process import configure_logs, loop_factory, stop_event
from pairscope.wiring.following import whom_to_follow

__all__ = ["Playing", "parse_time_ms", "record_feed", "serve_replay"]

Say = Callable[[str], None]


def parse_time_ms(text: str) -> int:
    """Return a time given as milliseconds since the epoch or as ISO 8601 (UTC where it says nothing else).

    >>> parse_time_ms("1723161600000"), parse_time_ms("2024-08-09")
    (1723161600000, 1723161600000)
    """
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no time", loc="--start", hint="use ISO 8601 or milliseconds") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Playing:
    """How ``replay serve`` was asked to play, as the command line has it."""

    host: str
    port: int
    speed: str
    loop: bool
    start: str | None
    shift: bool
    at_once: bool
    faults: Sequence[str]


def serve_replay(words: Sequence[str], playing: Playing, *, say: Say) -> int:
    """Serve recordings or the synthetic market until asked to stop; return the exit code."""
    speed, faults = parse_speed(playing.speed), [parse_fault(text) for text in playing.faults]
    start_ms = None if playing.start is None else parse_time_ms(playing.start)
    source = open_source(words, loop=playing.loop)

    async def run() -> int:
        stop = stop_event()
        server = await serve(
            source,
            host=playing.host,
            port=playing.port,
            speed=speed,
            start_ms=start_ms,
            wait=False if playing.at_once else None,
            shift_to_now=playing.shift,
            faults=faults,
        )
        say(
            f"playing {', '.join(words)} at speed {playing.speed}\n"
            f"  PAIRSCOPE_EXCHANGE_WS_URL=ws://{playing.host}:{server.port}\n"
            f"  PAIRSCOPE_EXCHANGE_REST_URL=http://{playing.host}:{server.port}"
        )
        await stop.wait()
        await server.close()
        return 0

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run())


def record_feed(settings: Settings, path: Path, *, seconds: float | None, say: Say) -> int:
    """Write the live feed's frames to a file until asked to stop or for so many seconds; return the exit code."""
    configure_logs(settings)
    if path.exists():
        raise ConfigError(
            f"{path} is there already", loc="PATH", hint="choose another file; recordings are not overwritten"
        )

    async def run() -> int:
        stop = stop_event()
        rest = ExchangeRest(settings.exchange_rest_url, clock=time.time_ns)
        asking = asyncio.create_task(whom_to_follow(settings, rest, lambda what: say(f"waiting for {what}")))
        stopping = asyncio.create_task(_stopped(stop, None), name="stop")
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                say("stopped before there was anything to record")
                return 1
            return await _recorded(settings, path, asking.result(), rest, stop, seconds, say)
        finally:
            await _ended(asking, stopping)
            await rest.close()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run())


async def _recorded(
    settings: Settings,
    path: Path,
    follow: Sequence[str],
    rest: ExchangeRest,
    stop: asyncio.Event,
    seconds: float | None,
    say: Say,
) -> int:
    """Record some symbols until asked to stop; return the exit code, 1 where the disk did not take all of it."""
    recorder = FrameRecorder(path, url=settings.exchange_ws_url)
    feed = WebSocketFeed(
        Symbols(),
        follow,
        ws_url=settings.exchange_ws_url,
        rest=rest,
        continuity=Continuity(),
        stall_seconds=settings.stall_seconds,
        recorder=recorder,
    )
    say(f"recording {len(follow)} symbols to {path}; Ctrl-C stops")
    ticks = 0

    async def listen() -> None:
        nonlocal ticks
        async for batch in feed.batches():
            ticks += len(batch)
            if recorder.failure is not None:
                return

    listening = asyncio.create_task(listen(), name="record")
    stopping = asyncio.create_task(_stopped(stop, seconds), name="stop")
    try:
        await asyncio.wait({listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await feed.close()
        await listening
    finally:
        await _ended(stopping)
        recorder.close()
    if recorder.dropped:
        why = "the disk was too slow" if recorder.failure is None else recorder.failure.strerror
        say(f"{path}: {recorder.written:,} frames, and {recorder.dropped:,} that were lost: {why}")
        return 1
    say(f"{path}: {ticks:,} trades")
    return 0


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stopped(stop: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
