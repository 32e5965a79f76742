"""Backtests as a service: asked in a document, read from the store, run as jobs, judged, and kept."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from hashlib import blake2b
from itertools import count
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import structlog

from pairscope.errors import UnknownRun
from pairscope.ports import Clock, LiveView, Records, TickStore
from pairscope.ports_research import JobHandle, Jobs, JobView
from pairscope.research.background import quiet_threads
from pairscope.research.backtest_grid import (
    Grid,
    asked_document,
    check_effort,
    check_work,
    grid_of,
    heatmap_document,
    kept_table,
)
from pairscope.research.backtest_kernels import prepare_backtests
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_runs import KeptRuns, pack_run
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import PairBars
from pairscope.research.pair_gaps import gap_head, gap_words
from pairscope.research.pair_reading import Exchange, first_of_ticks, read_pair
from pairscope.research.sweep import sweep_request
from pairscope.research.sweep_asked import longest_warmup
from pairscope.research.walk_forward import walk_forward

__all__ = ["WALK_FIELDS", "Backtester"]

WALK_FIELDS: Final = ("folds", "train", "test", "purge", "metric", "anchored")
"""What a walk-forward's document has besides a sweep's."""

PREPARED_AFTER_S: Final = 10.0
CLOSING_S: Final = 5.0
_MS: Final = 1_000_000

_log = structlog.get_logger(__name__)


class _Answer(NamedTuple):
    """What a computation says: its line in the list, its document, and how many rules it tried."""

    line: Mapping[str, Any]
    document: Mapping[str, Any]
    tried: int


class _Question(NamedTuple):
    """What is computed: ``request`` names pair, range and terms, ``grid`` what varies, ``options`` what else."""

    kind: str
    request: BacktestRequest
    grid: Grid
    options: Mapping[str, Any]
    warmup: int
    compute: Callable[[BacktestRequest, PairBars, int, JobHandle], _Answer]


class Backtester:
    """``Backtests`` over a store, an engine's newest bars, jobs and records; ``exchange`` is asked for its terms."""

    def __init__(
        self,
        *,
        store: TickStore,
        live: LiveView,
        records: Records,
        jobs: Jobs,
        clock: Clock,
        source: Callable[[], str],
        exchange: Exchange | None = None,
        prepare: Callable[[Executor], Awaitable[None]] = prepare_backtests,
    ) -> None:
        self._store = store
        self._live = live
        self._jobs = jobs
        self._clock = clock
        self._source = source
        self._exchange = exchange
        self._prepare = prepare
        self._preparing: asyncio.Future[None] | None = None
        self._runs = KeptRuns(records)
        self._numbers = count()
        self._keeping: set[asyncio.Task[None]] = set()
        self._cores = max(1, (os.cpu_count() or 1) - 1)
        self._threads = quiet_threads(self._cores, "sweep")

    async def restore(self) -> None:
        """Take up the kept runs."""
        await self._runs.restore()

    async def run(self, *, after_s: float = PREPARED_AFTER_S) -> None:
        """Have compiled what backtests need, a while after the start, so that no caller waits for it."""
        await asyncio.sleep(after_s)
        try:
            await self._ready()
        except Exception:  # noqa: BLE001 - logged in full; the live market must not end with what nobody has asked for
            _log.exception("what backtests need could not be compiled; the first one will try again")

    async def settled(self) -> None:
        """Wait until every run that has ended is in the records."""
        while self._keeping:
            await asyncio.wait(set(self._keeping))

    async def close(self) -> None:
        """Put into the records what is not there yet, and take nothing more to compute; jobs have ended by now."""
        if self._keeping:
            await asyncio.wait(set(self._keeping), timeout=CLOSING_S)
        if self._preparing is not None:
            self._preparing.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- Backtests -----------------------------------------------------------------------------------------------------

    def backtest(self, document: Mapping[str, Any]) -> JobView:
        """Start a backtest; ``InputError`` names the field that cannot be."""
        request = BacktestRequest.from_document(document)

        def compute(request: BacktestRequest, bars: PairBars, earlier: int, handle: JobHandle) -> _Answer:
            check_effort(request, len(bars))
            judged = judge_backtest(
                request,
                bars,
                trials=earlier + 1,
                threads=self._cores,
                progress=handle.progress,
                cancelled=handle.cancelled,
            ).document()
            return _Answer({"metrics": judged["metrics"], "verdict": judged["verdict"]}, judged, 1)

        return self._start(_Question("backtest", request, {}, {}, request.warmup_bars(), compute))

    def sweep(self, document: Mapping[str, Any]) -> JobView:
        """Start a sweep: a list in the document is what varies."""
        request, grid = grid_of(document)

        def compute(request: BacktestRequest, bars: PairBars, earlier: int, handle: JobHandle) -> _Answer:
            check_work(grid, len(bars))
            table = sweep_request(
                request,
                grid,
                bars,
                executor=self._threads,
                progress=handle.progress,
                cancelled=handle.cancelled,
            )
            table = replace(table, trials=earlier + len(table))
            table.overfitting(cancelled=handle.cancelled)
            told = {**table.document(), "combinations": len(table), "columns": list(table.columns)}
            kept = ("grid", "best", "combinations", "skipped", "trials", "deflated_sharpe", "pbo")
            return _Answer({name: told[name] for name in kept}, told, len(table))

        warmup = longest_warmup(request, grid).warmup_bars()
        return self._start(_Question("sweep", request, grid, {}, warmup, compute))

    def walk_forward(self, document: Mapping[str, Any]) -> JobView:
        """Start a walk-forward: a sweep's document, and ``folds``, ``train``, ``test``, ``purge``, ``metric``."""
        request, grid = grid_of({name: value for name, value in document.items() if name not in WALK_FIELDS})
        options = {name: document[name] for name in WALK_FIELDS if document.get(name) is not None}
        combinations = prod(len(values) for values in grid.values())

        def compute(request: BacktestRequest, bars: PairBars, earlier: int, handle: JobHandle) -> _Answer:
            check_work(grid, len(bars))
            walked = walk_forward(
                request,
                grid,
                bars,
                **options,
                executor=self._threads,
                progress=handle.progress,
                cancelled=handle.cancelled,
            ).document()
            trials = earlier + combinations
            line = {name: walked[name] for name in ("grid", "metrics", "metric", "purge")}
            line |= {"combinations": combinations, "trials": trials, "folds": len(walked["folds"])}
            return _Answer(line, {**walked, "combinations": combinations, "trials": trials}, combinations)

        warmup = longest_warmup(request, grid).warmup_bars()
        return self._start(_Question("walk_forward", request, grid, options, warmup, compute))

    def runs(
        self, *, kind: str | None, y: str | None, x: str | None, limit: int, before: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the newest kept runs' lines."""
        return self._runs.lines(kind=kind, y=y, x=x, limit=limit, before=before)

    async def packed(self, run_id: str) -> bytes | None:
        """Return a run's document as packed JSON."""
        return await self._runs.packed(run_id)

    async def heatmap(self, run_id: str, metric: str, a: str, b: str, *, best: bool = False) -> Mapping[str, Any]:
        """Return one metric of a kept sweep over two parameters."""
        packed = await self._runs.packed(run_id)
        if packed is None:
            raise UnknownRun(run_id)

        def draw() -> Mapping[str, Any]:
            return heatmap_document(kept_table(orjson.loads(gzip.decompress(packed))).heatmap(metric, a, b, best=best))

        return await asyncio.to_thread(draw)

    async def delete(self, run_id: str) -> bool:
        """Forget a run."""
        return await self._runs.delete(run_id)

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of the kept runs, for ``/api/stats``."""
        return self._runs.counters()

    # -- running -------------------------------------------------------------------------------------------------------

    def _start(self, question: _Question) -> JobView:
        """Start a job that reads, computes and packs; what it made is kept when it has ended."""
        kind, request = question.kind, question.request
        created_ms = self._clock() // _MS
        run_id = f"{created_ms:013d}-{next(self._numbers) % 10_000:04d}"
        rule = _digest_of(question)
        read: dict[str, Any] = {}

        async def reading() -> None:
            read["bars"], read["missing"] = await read_pair(
                self._store, self._live, self._exchange, request, warmup=question.warmup, source=self._source()
            )
            read["earlier"] = await self._runs.trials(request.y, request.x, rule)
            await self._ready()

        def work(handle: JobHandle) -> int:
            bars, missing = read.pop("bars"), read.pop("missing")
            asked = _from_first_traded(request, bars, question.warmup)
            answer = question.compute(asked, bars, read.pop("earlier"), handle)
            grid = {name: list(values) for name, values in question.grid.items()}
            head = {
                "id": run_id,
                "kind": kind,
                "created": created_ms,
                "source": bars.source,
                "request": {**asked_document(asked, question.grid), **question.options},
                "gaps": bars.open_gaps,
                **({"grid": grid} if kind != "backtest" else {}),
            }
            gaps = gap_head(bars)
            document = {**head, **gaps, **answer.document}
            lacking = gap_words(gaps, asked.y, asked.x)
            told = {**missing, **({"gaps": lacking} if lacking else {})}
            if told:
                document["assumptions"] = {**document.get("assumptions", {}), **told}
            summary = {
                **head,
                **({"gap": True} if gaps else {}),
                **{name: getattr(asked, name) for name in ("y", "x", "timeframe")},
                **answer.line,
            }
            self._runs.hold(pack_run(run_id, summary, document))
            return answer.tried

        title = f"{kind.replace('_', '-')} of {request.y} on {request.x}, {request.timeframe}"
        view = self._jobs.start(kind, title, work, result=f"/api/backtests/{run_id}", id=run_id, read=reading)
        task = asyncio.create_task(self._keep(request, rule, self._jobs.wait(run_id), run_id))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return view

    async def _ready(self) -> None:
        """Wait until the kernels are there; whoever is first has them compiled."""
        task = self._preparing
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._preparing = asyncio.ensure_future(self._prepare(self._threads))
        await asyncio.shield(task)

    async def _keep(self, request: BacktestRequest, rule: str, made: Awaitable[int], run_id: str) -> None:
        """Wait for a run and keep it; one that failed leaves nothing."""
        ended = asyncio.ensure_future(made)
        await asyncio.wait({ended})
        if ended.cancelled() or ended.exception() is not None:
            return  # told to who waits, and in the job
        await self._runs.note_trials(request.y, request.x, rule, ended.result())
        await self._runs.keep(run_id)


def _from_first_traded(request: BacktestRequest, bars: PairBars, warmup: int) -> BacktestRequest:
    """Return a request that says from when on it trades: by default from the first bar that can be traded."""
    if request.start_ns is not None or len(bars) < warmup + 2:
        return request
    first = max(warmup, int(np.searchsorted(bars.times_ns, first_of_ticks(bars))))
    return replace(request, start_ns=int(bars.times_ns[min(first, len(bars) - 1)]))


def _digest_of(question: _Question) -> str:
    """Return what tells a rule, or a grid of rules, from others, whatever time they are tried on."""
    asked = {name: value for name, value in question.request.document().items() if name not in ("start", "end")}
    parts = [question.kind, asked, dict(question.grid), dict(question.options)]
    return blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
