"""Backtests that were run, kept: what each said, whole, and a line of each for the list; the oldest are forgotten."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from pairscope.errors import StorageError
from pairscope.ports import Records

__all__ = ["DOCUMENTS", "MOST_BYTES", "MOST_RUNS", "SUMMARIES", "TRIALS", "KeptRun", "KeptRuns", "pack_run"]

DOCUMENTS: Final = "backtests"
SUMMARIES: Final = "backtest_summaries"
TRIALS: Final = "backtest_trials"
MOST_RUNS: Final = 500
"""Runs that are kept."""
MOST_BYTES: Final = 256 << 20
"""What the documents of all that are kept may weigh, packed."""
MOST_HELD: Final = 8
"""Runs that wait in memory for records that refuse; of more, the oldest is lost."""
_MOST_SEEN: Final = 1000
_PACKING: Final = 3
_PIECE: Final = 1000
_AS_IT_IS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_MOST_POINTS: Final = 100_000
"""Points of a curve in a document; of a longer one every so manieth bar is told."""

_CURVES: Final = ("equity", "series")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeptRun:
    """One run: its line in the list, and its document as packed JSON (gzip)."""

    id: str
    summary: Mapping[str, Any]
    packed: bytes


def pack_run(run_id: str, summary: Mapping[str, Any], document: Mapping[str, Any]) -> KeptRun:
    """Return a run as it is kept; what is not a finite number is null. Not for the event loop.

    >>> gzip.decompress(pack_run("7", {}, {"metrics": {"sharpe": float("nan")}}).packed)
    b'{"metrics":{"sharpe":null}}'
    """
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=_PACKING, mtime=0) as file:
        for place, (name, value) in enumerate(_thinned(document).items()):
            file.write(b"%b%b:" % (b"," if place else b"{", orjson.dumps(name)))
            for part in _parts(value):
                file.write(part)
        file.write(b"}")
    return KeptRun(run_id, {**summary, "bytes": packed.tell()}, packed.getvalue())


def _parts(value: Any) -> Iterator[bytes]:
    """Yield a value as JSON in pieces, so that a long list holds nobody up for long."""
    if not isinstance(value, list):
        yield orjson.dumps(value, option=_AS_IT_IS)
        return
    for start in range(0, len(value) or 1, _PIECE):
        inner = orjson.dumps(value[start : start + _PIECE], option=_AS_IT_IS)[1:-1]
        yield b"%b%b" % (b"," if start else b"[", inner)
    yield b"]"


def _thinned(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document whose curves are no longer than can be drawn, and which says so; the last bar stays."""
    made = dict(document)
    for name in _CURVES:
        columns = document.get(name)
        if not isinstance(columns, Mapping):
            continue
        size = max((len(column) for column in columns.values()), default=0)
        if size > _MOST_POINTS:
            every = -(-size // _MOST_POINTS)
            made[name] = {key: column[(size - 1) % every :: every] for key, column in columns.items()}
            made["assumptions"] = {
                **made.get("assumptions", {}),
                "curves": f"every {every}th of {size:,} bars is told; figures and trades are of all",
            }
    return made


class KeptRuns:
    """Runs in records, newest first; at most ``MOST_RUNS`` of ``MOST_BYTES`` together, and how many rules were tried.

    ``hold`` may be called from any thread and shows a run at once; ``keep`` puts it into the records.
    """

    def __init__(self, records: Records, *, most: int = MOST_RUNS, most_bytes: int = MOST_BYTES) -> None:
        self._records = records
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._counting = asyncio.Lock()
        self._lines: dict[str, Mapping[str, Any]] = {}
        self._held: dict[str, KeptRun] = {}
        self._forgotten = 0
        self._refused = 0

    async def restore(self) -> None:
        """Take up the list as it was kept."""
        try:
            async for key, line in self._records.scan(SUMMARIES):
                try:
                    found = orjson.loads(line)
                    self._lines[key] = {**found, "id": key, "bytes": int(found["bytes"])}
                except (KeyError, TypeError, ValueError) as error:
                    _log.warning("a kept backtest cannot be read", run=key, error=str(error))
        except StorageError as error:
            _log.warning("the kept backtests cannot be read", error=str(error))

    def hold(self, run: KeptRun) -> None:
        """Show a run from now on, though the records do not have it yet."""
        with self._lock:
            self._held[run.id] = run
            self._lines[run.id] = run.summary
            while len(self._held) > MOST_HELD:
                lost = next(iter(self._held))
                del self._held[lost]
                self._lines.pop(lost, None)
                self._forgotten += 1

    async def keep(self, run_id: str) -> None:
        """Put a run into the records, and let go of the oldest where they are too many; refusals are counted."""
        with self._lock:
            run = self._held.get(run_id)
        if run is None:
            return
        try:
            await self._records.put(DOCUMENTS, run_id, run.packed)
            await self._records.put(SUMMARIES, run_id, orjson.dumps(run.summary))
        except StorageError as error:
            self._refused += 1
            _log.warning("a backtest could not be kept", run=run_id, error=str(error))
            return
        with self._lock:
            deleted = self._held.pop(run_id, None) is None
        if deleted:  # while it was being written
            await self._erase(run_id)
        await self._forget_oldest()

    async def delete(self, run_id: str) -> bool:
        """Forget a run; False where there is none. What was tried stays tried."""
        with self._lock:
            there = self._lines.pop(run_id, None) is not None
            self._held.pop(run_id, None)
        if there:
            await self._erase(run_id)
        return there

    async def packed(self, run_id: str) -> bytes | None:
        """Return a run's document as packed JSON; None where there is none."""
        with self._lock:
            run, known = self._held.get(run_id), run_id in self._lines
        if run is not None:
            return run.packed
        return await self._records.get(DOCUMENTS, run_id) if known else None

    def line(self, run_id: str) -> Mapping[str, Any] | None:
        """Return a run's line in the list."""
        return self._lines.get(run_id)

    def lines(
        self, *, kind: str | None, y: str | None, x: str | None, limit: int, before: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the lines of the newest runs, of one kind or pair where that is named, older than ``before``."""
        with self._lock:
            newest = sorted(self._lines.items(), reverse=True)
        wanted = {name: value for name, value in (("kind", kind), ("y", y), ("x", x)) if value is not None}
        found = (
            line
            for key, line in newest
            if (before is None or key < before) and all(line.get(name) == value for name, value in wanted.items())
        )
        return [line for line, _ in zip(found, range(limit), strict=False)]

    async def trials(self, y: str, x: str, rule: str) -> int:
        """Return how many rules were tried on a pair before, less those of the question whose digest is ``rule``.

        The same question again is no further trial, whatever the time that it is asked of.
        """
        known = await self._tried(y, x)
        return max(0, int(known["trials"]) - int(known["seen"].get(rule, 0)))

    async def note_trials(self, y: str, x: str, rule: str, count: int) -> None:
        """Count what a question tried; it stays counted when the run is forgotten."""
        async with self._counting:
            known = await self._tried(y, x)
            seen = dict(known["seen"])
            before = seen.pop(rule, 0)
            if before >= count:
                return
            seen[rule] = count
            kept = dict(list(seen.items())[-_MOST_SEEN:])
            document = {"trials": known["trials"] - before + count, "seen": kept}
            try:
                await self._records.put(TRIALS, f"{y}:{x}", orjson.dumps(document))
            except StorageError as error:
                self._refused += 1
                _log.warning("the trials of a pair could not be counted", pair=f"{y}:{x}", error=str(error))

    async def _tried(self, y: str, x: str) -> Mapping[str, Any]:
        try:
            known = await self._records.get(TRIALS, f"{y}:{x}")
            found = orjson.loads(known) if known else {}
            seen = {str(rule): int(count) for rule, count in found.get("seen", {}).items()}
            return {"trials": int(found.get("trials", 0)), "seen": seen}
        except (StorageError, AttributeError, TypeError, ValueError) as error:
            self._refused += 1
            _log.warning("the trials of a pair cannot be read", pair=f"{y}:{x}", error=str(error))
            return {"trials": 0, "seen": {}}

    def counters(self) -> Mapping[str, int]:
        """Return how many are kept, what they weigh, and how many were forgotten or refused."""
        with self._lock:
            weight = sum(int(line["bytes"]) for line in self._lines.values())
            return {
                "kept": len(self._lines),
                "capacity": self._most,
                "bytes": weight,
                "waiting": len(self._held),
                "forgotten": self._forgotten,
                "refused": self._refused,
            }

    async def _forget_oldest(self) -> None:
        while True:
            with self._lock:
                weight = sum(int(line["bytes"]) for line in self._lines.values())
                settled = sorted(key for key in self._lines if key not in self._held)
                if len(settled) < 2 or (len(self._lines) <= self._most and weight <= self._most_bytes):
                    return
                del self._lines[settled[0]]
                self._forgotten += 1
            await self._erase(settled[0])

    async def _erase(self, run_id: str) -> None:
        try:
            await self._records.delete(SUMMARIES, run_id)
            await self._records.delete(DOCUMENTS, run_id)
        except StorageError as error:
            self._refused += 1
            _log.warning("a backtest could not be deleted", run=run_id, error=str(error))
