"""Backtests as a service: asked in a document, read from the store, run as jobs, judged, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import count
from typing import Any, Final

import orjson

from pairscope.ports import Clock, LiveView, Records, TickStore
from pairscope.ports_research import JobHandle, Jobs, JobView
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_runs import KeptRuns, pack_run
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import PairBars, pair_bars
from pairscope.research.pair_reading import Exchange, read_pair

__all__ = ["Backtester"]

_MS: Final = 1_000_000

Answer = tuple[Mapping[str, Any], Mapping[str, Any]]
"""What a computation says: its line in the list, and its document."""


class Backtester:
    """``Backtests`` over a store, an engine's newest bars, jobs and records; ``exchange`` is asked for funding."""

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
    ) -> None:
        self._store = store
        self._live = live
        self._jobs = jobs
        self._clock = clock
        self._source = source
        self._exchange = exchange
        self._runs = KeptRuns(records)
        self._numbers = count()
        self._keeping: set[asyncio.Task[None]] = set()

    async def restore(self) -> None:
        """Take up the kept runs."""
        await self._runs.restore()

    async def close(self) -> None:
        """Put into the records what is not there yet."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    # -- Backtests -----------------------------------------------------------------------------------------------------

    def backtest(self, document: Mapping[str, Any]) -> JobView:
        """Start a backtest; ``InputError`` names the field that cannot be."""
        request = BacktestRequest.from_document(document)

        def compute(request: BacktestRequest, bars: PairBars, trials: int, handle: JobHandle) -> Answer:
            judged = judge_backtest(
                request, bars, trials=trials, progress=handle.progress, cancelled=handle.cancelled
            ).document()
            line = {"metrics": judged["metrics"], "verdict": judged["verdict"]}
            return line, judged

        return self._start("backtest", request, {}, 1, compute)

    def runs(
        self, *, kind: str | None, y: str | None, x: str | None, limit: int, before: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the newest kept runs' lines."""
        return self._runs.lines(kind=kind, y=y, x=x, limit=limit, before=before)

    async def packed(self, run_id: str) -> bytes | None:
        """Return a run's document as packed JSON."""
        return await self._runs.packed(run_id)

    async def delete(self, run_id: str) -> bool:
        """Forget a run."""
        return await self._runs.delete(run_id)

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of the kept runs, for ``/api/stats``."""
        return self._runs.counters()

    # -- running -------------------------------------------------------------------------------------------------------

    def _start(
        self,
        kind: str,
        request: BacktestRequest,
        grid: Mapping[str, Any],
        tried: int,
        compute: Callable[[BacktestRequest, PairBars, int, JobHandle], Answer],
    ) -> JobView:
        """Start a job that reads, computes and packs; what it made is kept when it has ended."""
        created_ms = self._clock() // _MS
        run_id = f"{created_ms:013d}-{next(self._numbers) % 10_000:04d}"
        rule = _digest_of(request, grid)
        read: dict[str, Any] = {}

        async def reading() -> None:
            read["bars"], read["missing"] = await self._read(request)
            read["trials"] = await self._runs.trials(request.y, request.x, rule, tried)

        def work(handle: JobHandle) -> str:
            bars, missing, trials = read.pop("bars"), read.pop("missing"), read.pop("trials")
            asked = _from_first_traded(request, bars)
            line, document = compute(asked, bars, trials, handle)
            head = {
                "id": run_id,
                "kind": kind,
                "created": created_ms,
                "source": bars.source,
                "request": asked.document() | dict(grid),
                "gaps": bars.open_gaps,
            }
            if missing and "assumptions" in document:
                document = {**document, "assumptions": {**document["assumptions"], **missing}}
            summary = {**head, **{name: getattr(asked, name) for name in ("y", "x", "timeframe")}, **line}
            self._runs.hold(pack_run(run_id, summary, {**head, **document}))
            return run_id

        title = f"{kind.replace('_', '-')} of {request.y} on {request.x}, {request.timeframe}"
        view = self._jobs.start(kind, title, work, result=f"/api/backtests/{run_id}", id=run_id, read=reading)
        task = asyncio.create_task(self._keep(request, rule, tried, self._jobs.wait(run_id), run_id))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return view

    async def _keep(self, request: BacktestRequest, rule: str, tried: int, made: Awaitable[Any], run_id: str) -> None:
        """Wait for a run and keep it; one that failed leaves nothing."""
        ended = asyncio.ensure_future(made)
        await asyncio.wait({ended})
        if ended.cancelled() or ended.exception() is not None:
            return  # told to who waits, and in the job
        await self._runs.note_trials(request.y, request.x, rule, tried)
        await self._runs.keep(run_id)

    async def _read(self, request: BacktestRequest) -> tuple[PairBars, Mapping[str, str]]:
        """Return the bars that a request is about, and what the exchange did not say."""
        found = await read_pair(
            self._store,
            self._live,
            self._exchange,
            y=request.y,
            x=request.x,
            timeframe=request.timeframe,
            start_ns=request.start_ns,
            end_ns=request.end_ns,
            warmup=request.warmup_bars(),
            funding=request.funding,
            steps=request.round_steps,
        )
        bars = pair_bars(
            found.y,
            found.x,
            funding=found.funding,
            step_y=found.step_y,
            step_x=found.step_x,
            source=self._source(),
            open_gaps=found.gaps,
        )
        return bars, found.missing


def _from_first_traded(request: BacktestRequest, bars: PairBars) -> BacktestRequest:
    """Return a request that says from when on it trades: by default from the first bar after the warm-up."""
    warmup = request.warmup_bars()
    if request.start_ns is not None or len(bars) < warmup + 2:
        return request
    return replace(request, start_ns=int(bars.times_ns[warmup]))


def _digest_of(request: BacktestRequest, grid: Mapping[str, Any]) -> str:
    """Return what tells a rule, or a grid of rules, from others, whatever time they are tried on."""
    asked = {name: value for name, value in request.document().items() if name not in ("start", "end")}
    return blake2b(orjson.dumps([asked, dict(grid)], option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
