"""How the instance has done over the last hour: every five seconds one value of each measure, kept in a ring."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import psutil
import structlog

from pairscope.errors import StorageError
from pairscope.ports import Clock, TickStore

__all__ = ["CAPACITY", "MEASURES", "PERIOD_S", "Machine", "Measure", "Monitor"]

_log = structlog.get_logger(__name__)

PERIOD_S: Final = 5.0
CAPACITY: Final = 720
"""Samples that are kept: an hour of them."""

_WAKES: Final = 10
_WAKE_NS: Final = int(PERIOD_S * 1e9) // _WAKES
_STORE_PATIENCE_S: Final = 1.0
_RANK: Final = ("ok", "degraded", "down")
_MS: Final = 1_000_000
_GIB: Final = 1 << 30
_NEVER: Final = (0.0, 0.0)
_ANY: Final = (0.0, math.inf)

Keys = tuple[str, ...]
Range = tuple[float, float]
Counters = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Measure:
    """One value a sample: where in the parts' counters it stands, and when it is well.

    ``kind`` level is the number at ``path``, change its growth since the sample before, rate that a second, and mean
    that for each one that ``per`` has grown by. A value inside ``healthy`` is ok, one inside ``tolerable`` a warning,
    any other critical; with ``of``, both ranges are shares of that measure. Without ``healthy`` no value is judged.
    """

    name: str
    unit: str
    about: str
    path: Keys
    kind: Literal["level", "change", "rate", "mean"] = "level"
    per: Keys = ()
    healthy: Range | None = None
    tolerable: Range = _ANY
    of: str = ""

    def status(self, value: float, scale: float = 1.0) -> str | None:
        """Judge a value: ok, warning or critical; None where it is unknown or there is nothing to judge it by.

        >>> lag = Measure("lag_ms", "ms", "", (), healthy=(0.0, 500.0), tolerable=(0.0, 2000.0))
        >>> [lag.status(value) for value in (500.0, 501.0, 2001.0, math.nan)]
        ['ok', 'warning', 'critical', None]
        """
        if self.healthy is None or math.isnan(value) or math.isnan(scale):
            return None
        for status, (low, high) in (("ok", self.healthy), ("warning", self.tolerable)):
            if low * scale <= value <= high * scale:
                return status
        return "critical"


MEASURES: Final[Sequence[Measure]] = (
    Measure(
        "feed_lag_ms", "ms", "How old the newest trade was when it reached us, by the exchange's clock and ours",
        ("feed_lag_ms",), healthy=(-250.0, 500.0), tolerable=(-1000.0, 2000.0),
    ),
    Measure(
        "tick_age_ms", "ms", "Time since a trade of any symbol reached us",
        ("last_tick_age_ms",), healthy=(0.0, 5000.0), tolerable=(0.0, 10_000.0),
    ),
    Measure("ticks_per_second", "ticks/s", "Trades a second, all symbols together", ("rates", "ticks_per_second")),
    Measure("late_ticks", "ticks", "Trades that came after their bar had closed", ("late_ticks",), "change"),
    Measure(
        "open_gaps", "gaps", "Holes in the trade ids that are being fetched again",
        ("feed", "gaps_pending"), healthy=_NEVER, tolerable=(0.0, 100.0),
    ),
    Measure(
        "reconnects", "connections", "Connections to the exchange that had to be made again",
        ("reconnects",), "change", healthy=_NEVER, tolerable=(0.0, 2.0),
    ),
    Measure(
        "feed_status", "status", "The feed's health: 0 ok, 1 degraded, 2 down",
        ("checks", "feed"), healthy=_NEVER, tolerable=(0.0, 1.0),
    ),
    Measure(
        "queue_depth", "batches", "Batches of trades that wait to be stored",
        ("writer", "depth"), healthy=(0.0, 0.25), tolerable=(0.0, 0.75), of="queue_capacity",
    ),
    Measure("queue_capacity", "batches", "Batches that may wait before the feed is slowed", ("writer", "capacity")),
    Measure(
        "flush_ms", "ms", "How long the newest write to the store took",
        ("writer", "last_flush_ms"), healthy=(0.0, 500.0), tolerable=(0.0, 2000.0),
    ),
    Measure(
        "spool_bytes", "bytes", "Trades that wait on disk because the store refuses them",
        ("writer", "spool_bytes"), healthy=_NEVER,
    ),
    Measure("store_bytes", "bytes", "Size of the store", ("store", "bytes")),
    Measure(
        "store_status", "status", "The store's health: 0 ok, 1 degraded, 2 down",
        ("checks", "store"), healthy=_NEVER, tolerable=(0.0, 1.0),
    ),
    Measure("cache_entries", "entries", "Values in the cache", ("cache", "entries")),
    Measure(
        "cache_evictions", "entries", "Values that had to leave the cache before their time",
        ("cache", "evicted_total"), "change", healthy=_NEVER,
    ),
    Measure("bus_published", "messages/s", "Updates told to who listens", ("bus", "published_total"), "rate"),
    Measure(
        "bus_conflated", "messages", "Updates that a newer one replaced before a slow listener took them",
        ("bus", "conflated_total"), "change",
    ),
    Measure(
        "bus_closed", "clients", "Listeners that were hung up on for being too slow",
        ("bus", "closed_slow_total"), "change", healthy=_NEVER,
    ),
    Measure("clients", "clients", "Connections to the stream of updates", ("stream", "clients")),
    Measure(
        "engine_step_ms", "ms", "How long the engine took for a batch of trades, on average",
        ("engine", "busy_ms_total"), "mean", ("engine", "batches_total"),
        healthy=(0.0, 20.0), tolerable=(0.0, 100.0),
    ),
    Measure(
        "pair_step_ms", "ms", "How long the newest step of all live pairs took",
        ("pairs", "last_step_ms"), healthy=(0.0, 50.0), tolerable=(0.0, 250.0),
    ),
    Measure(
        "loop_lag_ms", "ms", "How late the process came to a thing that was due, at the worst",
        ("loop_lag_ms",), healthy=(0.0, 100.0), tolerable=(0.0, 500.0),
    ),
    Measure("cpu_percent", "%", "Processor time that Pairscope takes; 100 is one core", ("machine", "cpu_percent")),
    Measure(
        "machine_cpu_percent", "%", "Processor time that everything on this machine takes; 100 is all cores",
        ("machine", "machine_cpu_percent"), healthy=(0.0, 80.0),
    ),
    Measure(
        "memory_bytes", "bytes", "Memory that Pairscope takes",
        ("machine", "memory_bytes"), healthy=(0.0, 0.5), tolerable=(0.0, 0.8), of="memory_capacity_bytes",
    ),
    Measure("memory_capacity_bytes", "bytes", "Memory that the machine has", ("machine", "memory_capacity_bytes")),
    Measure(
        "disk_free_bytes", "bytes", "Free space where the store is",
        ("machine", "disk_free_bytes"), healthy=(2.0 * _GIB, math.inf), tolerable=(0.5 * _GIB, math.inf),
    ),
    Measure("alert_rules", "rules", "Alert rules that are followed", ("alerts", "rules")),
    Measure("alert_firings", "firings", "Alerts that fired", ("alerts", "firings"), "change"),
    Measure(
        "outbox_waiting", "messages", "Messages of alerts that are still to be sent",
        ("delivery", "waiting"), healthy=(0.0, 20.0), tolerable=(0.0, 200.0),
    ),
)  # fmt: skip
"""What is watched. *Since the sample before* is meant wherever a sentence counts what happened."""


class Machine:
    """What this process takes of its machine, and what that has left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = psutil.Process(os.getpid())
        self._process.cpu_percent(None)  # what the next call compares with
        psutil.cpu_percent(None)

    def __call__(self) -> Mapping[str, float]:
        """Read it; the processor's shares are of the time since the call before. About 0.2 ms."""
        found = {
            "cpu_percent": float(self._process.cpu_percent(None)),
            "machine_cpu_percent": float(psutil.cpu_percent(None)),
            "memory_bytes": float(self._process.memory_info().rss),
            "memory_capacity_bytes": float(psutil.virtual_memory().total),
        }
        if self._folder.exists():
            found["disk_free_bytes"] = float(psutil.disk_usage(str(self._folder)).free)
        return found


class Monitor:
    """Takes a sample of every measure each ``PERIOD_S`` and keeps ``CAPACITY`` of them.

    ``counters`` is what ``/api/stats`` has of the running parts, ``health`` the checks of ``/api/health``; a part that
    comes later joins by :meth:`join`. A part that says nothing leaves its measures unknown. ``clock`` stamps samples,
    ``timer`` is monotonic; both in ns. ``stall_s`` of silence are critical.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        health: Callable[[], Mapping[str, Mapping[str, Any]]],
        store: TickStore,
        machine: Callable[[], Mapping[str, float]],
        clock: Clock,
        stall_s: float = 10.0,
        timer: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._parts: dict[str, Counters] = {"": counters}
        self._health = health
        self._store = store
        self._machine = machine
        self._clock = clock
        self._timer = timer
        self._sleep = sleep
        quiet, silent = (0.0, stall_s * 500.0), (0.0, stall_s * 1000.0)
        self.measures = tuple(
            replace(m, healthy=quiet, tolerable=silent) if m.name == "tick_age_ms" else m for m in MEASURES
        )
        self._at = {measure.name: row for row, measure in enumerate(self.measures)}
        self._values = np.full((len(self.measures), CAPACITY), np.nan)
        self._times_ms = np.zeros(CAPACITY, np.int64)
        self._taken = 0
        self._failures = 0
        self._before: Mapping[Keys, float] = {}
        self._before_ns = 0

    def join(self, name: str, counters: Counters) -> None:
        """Let a part's counters be read as ``name`` from now on."""
        self._parts[name] = counters

    async def run(self) -> None:
        """Take a sample each period until cancelled; a failure is told and counted, and the next one comes.

        It wakes more often than it takes samples, and keeps how late the latest of these wakes was: so long did
        everything else in the event loop have to wait too.
        """
        due_ns = self._timer()
        while True:
            worst_ns = 0
            for _ in range(_WAKES):
                due_ns += _WAKE_NS
                await self._sleep(max(due_ns - self._timer(), 0) / 1e9)
                late_ns = self._timer() - due_ns
                worst_ns = max(worst_ns, late_ns)
                if late_ns > _WAKE_NS:
                    due_ns += late_ns  # what was slept through is not made up for
            try:
                await self.sample(worst_ns / 1e6)
            except Exception:  # noqa: BLE001 - logged in full; one part that fails must not end the watch over the others
                self._failures += 1
                _log.exception("a sample for monitoring could not be taken")
            due_ns = max(due_ns, self._timer())  # waiting for a slow store is no lag of the loop

    async def sample(self, loop_lag_ms: float = math.nan) -> None:
        """Take a sample now."""
        read = await self._read(loop_lag_ms)
        now_ns = self._timer()
        elapsed_s = (now_ns - self._before_ns) / 1e9
        place = self._taken % CAPACITY
        for row, measure in enumerate(self.measures):
            self._values[row, place] = _value(measure, read, self._before, elapsed_s)
        self._times_ms[place] = self._clock() // _MS
        self._before, self._before_ns = read, now_ns
        self._taken += 1

    async def _read(self, loop_lag_ms: float) -> Mapping[Keys, float]:
        """Read every number that a measure needs."""
        said: dict[str, Any] = dict(self._parts[""]())
        said |= {name: counters() for name, counters in self._parts.items() if name}
        said["checks"] = {name: _rank(check.get("status")) for name, check in self._health().items()}
        said["machine"] = self._machine()
        said["store"] = {"bytes": await self._store_bytes()}
        said["loop_lag_ms"] = loop_lag_ms
        return {path: _number(said, path) for m in self.measures for path in (m.path, m.per) if path}

    async def _store_bytes(self) -> float:
        try:
            async with asyncio.timeout(_STORE_PATIENCE_S):
                return float((await self._store.stats()).bytes)
        except (StorageError, TimeoutError):
            return math.nan  # the writer's check says why

    def view(self, *, minutes: float = 60.0, since_ms: int | None = None) -> dict[str, Any]:
        """Return the samples of the last ``minutes``, or of those the ones behind ``since_ms``, as columns.

        NaN in ``columns`` and None elsewhere stand for what is not known. About 2 ms for a whole hour.
        """
        kept = min(self._taken, CAPACITY)
        order = np.arange(self._taken - kept, self._taken) % CAPACITY
        times_ms = self._times_ms[order]
        if kept:
            after_ms = max(int(times_ms[-1] - minutes * 60_000), -1 if since_ms is None else since_ms)
            order = order[times_ms > after_ms]
        newest = self._values[:, (self._taken - 1) % CAPACITY]
        values = np.round(self._values[:, order], 3)  # finer than anybody reads
        return {
            "period_s": PERIOD_S,
            "timestamp": self._times_ms[order].tolist(),
            "columns": {m.name: values[row].tolist() for row, m in enumerate(self.measures)},
            "units": {m.name: m.unit for m in self.measures},
            "about": {m.name: m.about for m in self.measures},
            "ranges": {m.name: self._range(m) for m in self.measures if m.healthy is not None},
            "now": {
                m.name: {"value": _or_none(value), "status": m.status(value, self._scale(m))}
                for m, value in zip(self.measures, newest.tolist(), strict=True)
            },
        }

    def counters(self) -> Mapping[str, int]:
        """Return how many samples were taken, and how many could not be."""
        return {"samples_total": self._taken, "failures_total": self._failures}

    def _scale(self, measure: Measure) -> float:
        """Return what a measure's ranges are shares of."""
        if not measure.of:
            return 1.0
        return float(self._values[self._at[measure.of], (self._taken - 1) % CAPACITY])

    def _range(self, measure: Measure) -> dict[str, list[float | None]]:
        """Return the ranges of a measure in its own unit; an end that is open is None."""
        scale = self._scale(measure)
        ranges = (("healthy", measure.healthy or _ANY), ("tolerable", measure.tolerable))
        return {name: [_or_none(end * scale) for end in ends] for name, ends in ranges}


def _value(measure: Measure, now: Mapping[Keys, float], before: Mapping[Keys, float], elapsed_s: float) -> float:
    """Return a measure's value from what was read now and the time before; NaN where that does not tell it."""
    value = now[measure.path]
    if measure.kind == "level":
        return value
    grown = value - before.get(measure.path, math.nan)
    if measure.kind == "change":
        return grown
    over = elapsed_s if measure.kind == "rate" else now[measure.per] - before.get(measure.per, math.nan)
    return grown / over if over > 0 else math.nan


def _number(said: Mapping[str, Any], path: Keys) -> float:
    """Return the number at a path; NaN where there is none."""
    found: Any = said
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, (int, float)) else math.nan


def _rank(status: Any) -> float:
    return float(_RANK.index(status)) if status in _RANK else math.nan


def _or_none(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
