"""``pairscope ingest``: a shard's process from its settings to its exit code, with health and metrics on a port."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from pairscope.api_settings import api_options
from pairscope.config import Settings, spool_name
from pairscope.errors import ConfigError
from pairscope.process import configure_logs, guard_host, loop_factory, stop_event
from pairscope.sharding import Shard
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.tick_storage import open_store
from pairscope.supervisor import take_port
from pairscope.wiring.patience import until_stored
from pairscope.wiring.server_mode import demand_servers
from pairscope.wiring.shard_ingest import ShardIngest
from pairscope.wiring.verdict import until_one_ends

__all__ = ["run_ingest"]


STOP_S: Final = 4.5
MAX_PLACES: Final = 64


def run_ingest(settings: Settings) -> int:
    """Follow a shard, or stand by for it, until asked to stop; return the exit code.

    ``ConfigError`` where the shard is none, a server is not named, the port is taken or anybody could reach it.
    """
    shard = Shard.parse(settings.shard)
    demand_servers(settings, "ingest")
    guard_host(settings, settings.host, "--host")
    port = take_port(settings.host, settings.ingest_port, 8010, "--port")
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{settings.data_dir} cannot be made: {error.strerror}", loc="--data-dir") from error
    configure_logs(settings)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        place, claim = _claim(settings.data_dir / f"{spool_name(settings.store_url)}-{shard.index}-{shard.count}")
        with claim:
            return runner.run(_Process(settings, shard, port, place).run())


def _claim(name: Path) -> tuple[Path, IO[bytes]]:
    """Return a spool directory that no other process uses while the file that comes with it is open.

    Several processes of a shard may share a data directory. Each takes the first place that is free, and with it what
    a process that died has left there.
    """
    import fcntl

    for number in range(MAX_PLACES):
        place = name.with_name(f"{name.name}-{number}")
        file = place.with_suffix(".lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return place, file
    raise ConfigError(f"{MAX_PLACES} processes use {name.parent} already", loc="--data-dir")


class _Process:
    """One run of the process."""

    def __init__(self, settings: Settings, shard: Shard, port: int, place: Path) -> None:
        self._place = place
        self._settings = settings
        self._shard = shard
        self._port = port
        self._ingest: ShardIngest | None = None

    async def run(self) -> int:
        """Serve the probe, work, stop in order: hang up, flush, publish, let go of the lock."""
        from pairscope.api.probe import create_probe
        from pairscope.api.server import make_server

        settings = self._settings
        stop = stop_event()
        probe = create_probe(
            health=self._health,
            stats=self._stats,
            waits_for=lambda: "the store" if self._ingest is None else self._ingest.waiting_for,
            source=settings.source,
            clock=time.time_ns,
            options=api_options(settings),
        )
        server = make_server(probe, host=settings.host, port=self._port)
        serving = asyncio.create_task(server.serve(), name="probe")
        working = asyncio.create_task(self._work(), name="ingest")
        asked = asyncio.create_task(stop.wait(), name="stop")
        code = 0
        try:
            code = await until_one_ends(working, serving, asked)
        finally:
            await self._stop(working)
            server.should_exit = True
            asked.cancel()
            await asyncio.gather(serving, asked, return_exceptions=True)
        return code

    async def _work(self) -> None:
        settings = self._settings
        redis = RedisClient(settings.redis_url, replica_url=settings.redis_replica_url)
        await redis.start()
        url, replica = settings.store_url, settings.database_replica_url
        store = await until_stored(partial(open_store, url, replica_url=replica, pool=settings.database_pool))
        self._ingest = ShardIngest(settings, self._shard, store, redis, spool=self._place)
        gc.collect()
        gc.freeze()  # what a start leaves in memory stays; looking through it again would hold everything up
        try:
            await self._ingest.run()
        finally:
            await self._ingest.close()
            await store.close()
            await redis.close()

    async def _stop(self, working: asyncio.Task[None]) -> None:
        """Hang up and let what has come take its way."""
        if self._ingest is not None:
            await self._ingest.hang_up()
            await asyncio.wait({working}, timeout=STOP_S)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    def _health(self) -> Mapping[str, Mapping[str, Any]]:
        if self._ingest is None:
            return {"store": {"status": "degraded", "reason": "waiting for the store"}}
        return self._ingest.health()

    def _stats(self) -> Mapping[str, Any]:
        return {} if self._ingest is None else self._ingest.stats()
