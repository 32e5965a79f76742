"""``pairscope doctor``: looks at everything that a start depends on, or through a store, and says what to do."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from pairscope.config import Settings, spool_name
from pairscope.errors import PairscopeError, StorageError
from pairscope.supervisor import already_running, http_json, is_free
from pairscope.terminal import Meter, spoken

__all__ = ["Finding", "examine", "examine_store"]

_LOW_DISK = 2 * 2**30
_CLOCK_OFF_S = 2.0
_OLDEST_POSTGRES: Final = 15
_POLL_S: Final = 0.5
_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found: ``level`` ok, warning or failed, what was seen, and what to do about it."""

    name: str
    level: str
    said: str
    advice: str = ""

    @property
    def failed(self) -> bool:
        """Whether a start would fail."""
        return self.level == "failed"

    @property
    def mark(self) -> str:
        """A sign for the terminal."""
        return {"ok": "✓", "warning": "!", "failed": "✗"}[self.level]


def examine(settings: Settings) -> list[Finding]:
    """Look at settings, ports, disk, store, cache, exchange and clock, in this order, and change nothing."""
    running = already_running(settings.data_dir)
    looks: list[Callable[[], Finding]] = [
        lambda: _settings(settings),
        lambda: _port("port", settings.host, settings.port, "--port", running=running is not None),
        lambda: _port(
            "dashboard",
            settings.dashboard_host,
            settings.dashboard_port,
            "--dashboard-port",
            running=running is not None,
        ),
        lambda: _disk(settings.data_dir),
        lambda: _store(settings, str(running["api"]) if running else ""),
        *([lambda: _replica(settings)] if settings.database_replica_url else []),
        lambda: _cache(settings),
        lambda: _exchange(settings),
        lambda: _clock(settings),
    ]
    return [look() for look in looks]


def _settings(settings: Settings) -> Finding:
    loopback = settings.host in {"127.0.0.1", "localhost", "::1"}
    if not loopback and not settings.api_keys:
        return Finding(
            "settings",
            "failed",
            f"HOST is {settings.host} and API_KEYS is empty",
            "set PAIRSCOPE_API_KEYS=sha256:<hex of a key>",
        )
    given = sorted(settings.model_fields_set)
    return Finding("settings", "ok", f"valid; set: {', '.join(given) if given else 'none, all defaults'}")


def _port(name: str, host: str, port: int | str, flag: str, *, running: bool) -> Finding:
    if port in {"auto", 0}:
        return Finding(name, "ok", "the next free port will be taken")
    if is_free(host, int(port)):
        return Finding(name, "ok", f"{host}:{port} is free")
    if running:
        return Finding(name, "ok", f"{host}:{port} is held by the Pairscope that runs on this data directory")
    return Finding(
        name, "failed", f"{host}:{port} is taken by another program", f"stop it, or use {flag} N or {flag} auto"
    )


def _disk(data_dir: Path) -> Finding:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / f".doctor-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return Finding(
            "disk", "failed", f"{data_dir} cannot be written: {error.strerror}", "choose another with --data-dir"
        )
    free = shutil.disk_usage(data_dir).free
    said = f"{data_dir.resolve()} is writable, {free / 2**30:.1f} GiB free"
    if free < _LOW_DISK:
        return Finding("disk", "warning", said, "a busy market stores about 10 GiB a day; free some space")
    return Finding("disk", "ok", said)


def _store(settings: Settings, api: str) -> Finding:
    if api:
        return Finding("store", "ok", f"open in the Pairscope that runs at {api}")
    if settings.store_url.startswith("postgres"):
        return _server(settings)
    import asyncio

    from pairscope.storage.tick_storage import open_store

    files = [settings.store_url] if settings.database_url else _files(settings.data_dir)
    if not files:
        return Finding("store", "ok", "none yet; the first start makes it")

    async def look() -> str:
        said = []
        for url in files:
            store = await open_store(url)
            stats = await store.stats()
            await store.close()
            said.append(f"{stats.location}: {stats.ticks:,} ticks, {stats.bars:,} bars")
        return "; ".join(said)

    try:
        return Finding("store", "ok", asyncio.run(look()))
    except PairscopeError as error:
        return Finding("store", "failed", str(error), error.hint)


def _files(data_dir: Path) -> list[str]:
    return [f"duckdb:///{path.resolve()}" for path in sorted(data_dir.glob("*.duckdb"))]


def _server(settings: Settings) -> Finding:
    """Look at PostgreSQL: what keeps a process from starting, then what it would regret."""
    import asyncio

    from pairscope.storage.postgres_state import state_of

    try:
        state = asyncio.run(state_of(settings.store_url))
    except PairscopeError as error:
        return Finding("store", "failed", str(error), error.hint)
    said = f"PostgreSQL {state.version}, database {state.database}: {state.ticks:,} ticks, {state.bars:,} bars, "
    said += f"{state.bytes / 1e9:.1f} GB; {state.used} of {state.connections} connections in use"
    if state.standby:
        return Finding("store", "failed", f"{said}; it is a standby", "name the primary, or promote this one")
    if state.major < _OLDEST_POSTGRES:
        return Finding("store", "failed", said, f"PostgreSQL {_OLDEST_POSTGRES} or newer is needed")
    if not state.made:
        return Finding("store", "ok", f"{said}; the first start makes the tables")
    if state.pending:
        return Finding(
            "store",
            "warning",
            f"{said}; migrations to come: {', '.join(state.pending)}",
            "the next process that starts makes them, and older ones cannot start any more; back up first",
        )
    if not state.durable:
        return Finding("store", "warning", f"{said}; fsync is off", "a power cut may destroy it: set fsync = on")
    if state.connections - state.used < settings.database_pool:
        return Finding(
            "store",
            "warning",
            said,
            f"a process takes up to {settings.database_pool} (PAIRSCOPE_DATABASE_POOL): raise max_connections, or pool",
        )
    if abs(state.ahead_s) > _CLOCK_OFF_S:
        return Finding(
            "store", "warning", f"{said}; its clock is {state.ahead_s:+.1f} s off ours", "set both clocks by NTP"
        )
    return Finding("store", "ok", said)


def _replica(settings: Settings) -> Finding:
    import asyncio

    from pairscope.storage.postgres_state import state_of

    try:
        state = asyncio.run(state_of(settings.database_replica_url, name="PAIRSCOPE_DATABASE_REPLICA_URL"))
    except PairscopeError as error:
        return Finding("replica", "warning", str(error), "the primary answers meanwhile")
    if not state.standby:
        return Finding("replica", "warning", "it is no standby, and is never asked", "name a standby of the primary")
    return Finding("replica", "ok", f"a standby, PostgreSQL {state.version}")


def _cache(settings: Settings) -> Finding:
    if not settings.redis_url:
        if settings.store_url.startswith("postgres"):
            return Finding("cache", "warning", "in process", "server mode needs PAIRSCOPE_REDIS_URL; `run` does not")
        return Finding("cache", "ok", "in process")
    import asyncio

    from pairscope.storage.redis_client import RedisClient

    async def look() -> tuple[Mapping[str, Any], float]:
        client = RedisClient(settings.redis_url)
        try:
            told = await client.ask(lambda server: server.info())
            before_s = time.time()
            seconds, micros = await client.ask(lambda server: server.time())
            return told, seconds + micros / 1e6 - (before_s + time.time()) / 2
        finally:
            await client.close()

    try:
        told, ahead_s = asyncio.run(look())
    except PairscopeError as error:
        return Finding("cache", "failed", str(error), error.hint or "see whether PAIRSCOPE_REDIS_URL is up")
    most, policy = int(told.get("maxmemory", 0)), str(told.get("maxmemory_policy", "noeviction"))
    said = f"Redis {told.get('redis_version', '')}: {int(told.get('used_memory', 0)) / 1e6:.0f} MB"
    said += f" of {most / 1e6:.0f} MB" if most else ", without a bound"
    if told.get("role") != "master":
        return Finding("cache", "failed", f"{said}; it is a replica, which takes no writes", "name its master")
    if policy != "noeviction":
        return Finding(
            "cache",
            "warning",
            f"{said}; when full it drops keys ({policy}), locks and streams too",
            "set maxmemory-policy noeviction",
        )
    if abs(ahead_s) > _CLOCK_OFF_S:
        return Finding("cache", "warning", f"{said}; its clock is {ahead_s:+.1f} s off ours", "set both clocks by NTP")
    return Finding("cache", "ok", said)


def _exchange(settings: Settings) -> Finding:
    began = time.monotonic()
    answer = http_json(f"{settings.exchange_rest_url}/fapi/v1/ping", 3.0)
    if answer is None:
        return Finding(
            "exchange",
            "warning",
            f"{settings.exchange_rest_url} does not answer within 3 s",
            "without it `pairscope run` plays the synthetic market; the way must be direct, not through a proxy",
        )
    return Finding(
        "exchange", "ok", f"{settings.exchange_rest_url} answers in {(time.monotonic() - began) * 1e3:.0f} ms"
    )


def _clock(settings: Settings) -> Finding:
    before = time.time()
    answer = http_json(f"{settings.exchange_rest_url}/fapi/v1/time", 3.0)
    if not isinstance(answer, dict) or "serverTime" not in answer:
        return Finding("clock", "ok", "no exchange to compare with; event times come from the exchange anyway")
    off_s = float(answer["serverTime"]) / 1e3 - (before + time.time()) / 2
    if abs(off_s) > _CLOCK_OFF_S:
        return Finding(
            "clock",
            "warning",
            f"{off_s:+.1f} s against the exchange",
            "set the clock by NTP; ages shown are off by as much",
        )
    return Finding("clock", "ok", f"{off_s:+.2f} s against the exchange")


def examine_store(
    settings: Settings, *, repair: bool, as_json: bool, say: Callable[[str], None], show: Callable[[str], None]
) -> int:
    """Look through the store, or have the instance do it that has it open; return 1 where something is left.

    What was found goes to ``show``, the rest to ``say``.
    """
    from pairscope.market_closes import store_to_read

    running = already_running(settings.data_dir)
    meter = Meter()
    try:
        if running is not None:
            api = str(running["api"])
            say(f"looking through the store in the Pairscope that runs at {api}")
            report = _checked_by(api, settings.dashboard_key, repair=repair, progress=meter.of("checking"))
        else:
            url = store_to_read(settings.data_dir, settings.database_url)
            say(f"looking through the store {spoken(url)}")
            spool = settings.data_dir / spool_name(url)
            report = _checked_here(url, spool, repair=repair, progress=meter.of("checking"))
    finally:
        meter.clear()
    if as_json:
        show(orjson.dumps(report).decode())
    else:
        for line in _lines_of(report, repair=repair):
            show(line)
    return 1 if report["left"] else 0


def _checked_here(url: str, spool: Path, *, repair: bool, progress: Callable[[int, int], None]) -> Mapping[str, Any]:
    """Look through a store that nobody has open, and its spool."""
    import asyncio

    from pairscope.storage.tick_storage import open_store

    async def look() -> Mapping[str, Any]:
        store = await open_store(url)
        try:
            return await store.upkeep.check(repair=repair, progress=progress, spool=spool)
        finally:
            await store.close()

    return asyncio.run(look())


def _checked_by(api: str, key: str, *, repair: bool, progress: Callable[[int, int], None]) -> Mapping[str, Any]:
    """Have a running instance look through its store, and wait for what it finds."""
    from pairscope.client import Client

    with Client(api, api_key=key or None, timeout=_PATIENCE_S) as client:
        job: Mapping[str, Any] = client.send("POST", "/api/storage/check", {"repair": repair})
        while job["status"] in {"queued", "running"}:
            progress(job["done"], job["total"])
            time.sleep(_POLL_S)
            job = client.get(f"/api/jobs/{job['id']}")
        if job["status"] != "done":
            raise StorageError(f"the check {job['status']}: {job['error'] or 'nobody said why'}")
        report: Mapping[str, Any] = client.get(job["result"])
        return report


def _lines_of(report: Mapping[str, Any], *, repair: bool) -> list[str]:
    """Return a report on a store as lines for a terminal."""
    lines = []
    for each in report["findings"]:
        where = " ".join(word for word in (each["symbol"], each["date"]) if word)
        lines.append(f"{'✓' if each['repaired'] else '✗'} {each['kind']:<12} {where}: {each['detail']}")
        lines.append(f"  {'':<12} {each['means']}")
        lines.append(f"  {'':<12} {'done' if each['repaired'] else 'repair'}: {each['repair']}")
    if report["found"] > len(report["findings"]):
        lines.append(f"… and {report['found'] - len(report['findings']):,} more")
    looked = ", ".join(f"{count:,} {name}" for name, count in report["checked"].items())
    lines.append(f"looked at {looked}")
    if not report["found"]:
        lines.append("the store is whole")
    elif repair:
        lines.append(f"{report['found']:,} findings before, {report['left']:,} after")
    else:
        lines.append(f"{report['found']:,} findings; `pairscope doctor --store --repair` mends what can be")
    if report["aside"]:
        lines.append(f"what could not be read or contradicts itself is in {report['aside']}")
    return lines
