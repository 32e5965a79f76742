"""``pairscope backtest``: trades a pair's past by a rule, or by a grid of them, and says what to think of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from threading import Event
from types import MappingProxyType
from typing import Any, Final, TypeVar

import orjson

from pairscope.client import Client
from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, UnknownSymbol
from pairscope.market_closes import market_pair, patiently
from pairscope.research.backtest_flags import (
    EXCHANGE,
    USUAL_NULLS,
    Asked,
    body_of,
    named_pair,
    question_of,
    tries_several,
    walk_options,
    with_choice,
)
from pairscope.research.backtest_grid import Grid
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_text import backtest_lines, source_words
from pairscope.research.backtest_through_api import run_through_api
from pairscope.research.backtest_written import extension_of, write_report, write_table
from pairscope.research.closes import iso
from pairscope.research.executor import working_executor
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import PairBars
from pairscope.research.pair_file import read_funding_file, read_pair_file
from pairscope.research.pair_gaps import gap_head, gap_words
from pairscope.research.sweep import sweep_request
from pairscope.research.sweep_asked import longest_warmup
from pairscope.research.sweep_table import SWEPT
from pairscope.research.sweep_text import sweep_lines, walk_lines
from pairscope.research.walk_forward import walk_forward
from pairscope.supervisor import already_running
from pairscope.terminal import Meter

__all__ = ["EXCHANGE", "USUAL_NULLS", "Asked", "backtest", "named_pair"]

Say = Callable[[str], None]
T = TypeVar("T")

_FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {"method": "--hedge", "beta": "--hedge", "prices": "--bars", "metric": "--sort", "folds": "--walk-forward"}
)
_LEAST_FIRST: Final = frozenset(
    {"fees", "slippage", "funding", "turnover", "longest_drawdown", "sharpe_stderr", "skipped"}
)
_PATIENCE_S: Final = 120.0


def backtest(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Backtest as asked: the answer goes to ``show``, what is said of it to ``say``; return the exit code.

    Interrupted, it writes no file, clears its line on the terminal and raises.
    """
    meter, stopped = Meter(), Event()
    try:
        with _flags():
            request, grid = question_of(asked)
            running = None if asked.bars is not None else already_running(settings.data_dir)
            if running is not None and _can_run_there(asked):
                document = _run_there(settings, running, request, asked, say=say, meter=meter, stopped=stopped)
                meter.clear()
                _answer(document, asked, say=say, show=show)
                return 0
            widest = longest_warmup(request, grid)
            bars = _bars(settings, asked, widest, say=say, meter=meter)
            meter.clear()
            start_ns = _first_traded(widest, bars)
            request = replace(request, timeframe=bars.timeframe, start_ns=start_ns)
            _say_what_is_traded(request, bars, say)
            cluster = asked.cluster or settings.cluster_url or None
            document = _cancellable(partial(_computed, request, grid, bars, asked, cluster, meter, stopped), stopped)
        meter.clear()
        _answer(document, asked, say=say, show=show)
    finally:
        meter.clear()
    return 0


@contextmanager
def _flags() -> Iterator[None]:
    """Let errors name the flag at fault."""
    try:
        yield
    except ConfigError as error:
        error.loc = "--cluster" if error.loc == "cluster" else error.loc
        raise
    except InputError as error:
        name = error.loc.removeprefix("hedge.")
        flag = _FLAGS.get(name, f"--{name.replace('_', '-')}" if name and not name.startswith("-") else name)
        error.loc = flag
        if error.args and name and str(error.args[0]).startswith(f"{name}: "):
            error.args = (f"{flag} {str(error.args[0]).removeprefix(f'{name}: ')}",)
        raise


def _bars(settings: Settings, asked: Asked, request: BacktestRequest, *, say: Say, meter: Meter) -> PairBars:
    """Return the bars of the file, or of the market that the data directory has."""
    if asked.funding is not None and str(asked.funding) == EXCHANGE:
        raise InputError(
            "only a running Pairscope asks the exchange", loc="funding", hint="start it, or give a file of the rates"
        )
    funding = None if asked.funding is None else read_funding_file(asked.funding)
    if asked.bars is not None:
        return read_pair_file(asked.bars, request.y, request.x, timeframe=asked.timeframe, funding=funding)
    return market_pair(
        settings.data_dir,
        settings.database_url,
        request,
        funding=funding,
        api_key=settings.dashboard_key,
        say=say,
        progress=meter.of("reading"),
    )


def _can_run_there(asked: Asked) -> bool:
    """Whether a running instance can do it all: it reads no files, and its nulls and trials are its own."""
    own_files = asked.funding is not None and str(asked.funding) != EXCHANGE
    return not own_files and asked.cluster is None and asked.nulls == USUAL_NULLS and not asked.trials


def _run_there(
    settings: Settings,
    running: Mapping[str, Any],
    request: BacktestRequest,
    asked: Asked,
    *,
    say: Say,
    meter: Meter,
    stopped: Event,
) -> dict[str, Any]:
    """Return the document of what a running instance makes of it, with its tick store, its exchange, its own trials."""
    body = body_of(asked)
    kind = "walk_forward" if asked.walk_forward else "sweep" if tries_several(body) else "backtest"
    body |= walk_options(asked) if asked.walk_forward else {}
    address = str(running["api"])
    say(f"run by the Pairscope at {address} (source {running.get('source', 'unknown')})")

    def run(api: Client, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        told = meter.of("running there")
        return _cancellable(
            partial(run_through_api, api, kind, body, ask=patiently, progress=told, stopped=stopped), stopped
        )

    with Client(address, api_key=settings.dashboard_key or None, timeout=_PATIENCE_S) as api:
        try:
            document = run(api, kind, body)
            if kind == "sweep" and document.get("best"):
                start_ns = document["request"]["start"] * 1_000_000
                best = {name: document["best"][name] for name in document["grid"]}
                rule = with_choice(replace(request, start_ns=start_ns), best)
                document["best_run"] = run(api, "backtest", rule.document())
        except UnknownSymbol as error:
            error.loc = "y" if request.y in str(error) else "x"
            raise
    meter.clear()
    say(f"prices: {source_words(str(document['source']))}")
    lacking = gap_words(document, request.y, request.x)
    if lacking:
        say(lacking)
    say(f"kept there as {document['id']}")
    return document


def _cancellable(work: Callable[[], T], stopped: Event) -> T:
    """Return what ``work`` does in a thread of its own: an interrupt tells it to stop, and waits until it has."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="backtest")
    try:
        return pool.submit(work).result()
    except KeyboardInterrupt:
        stopped.set()
        raise
    finally:
        pool.shutdown()


def _first_traded(request: BacktestRequest, bars: PairBars) -> int | None:
    """Return from when on is traded: by default from the first bar after the warm-up; None where there is none."""
    warmup = request.warmup_bars()
    if request.start_ns is not None or len(bars) < warmup + 2:
        return request.start_ns
    return int(bars.times_ns[warmup])


def _say_what_is_traded(request: BacktestRequest, bars: PairBars, say: Say) -> None:
    """Say which bars of which pair are traded, whose they are, and what is not known of them."""
    if not len(bars):
        return
    first, last = iso(int(bars.times_ns[0])), iso(int(bars.times_ns[-1]))
    say(f"{request.y} on {request.x}: {len(bars):,} bars of {bars.timeframe} that both have, {first} to {last}")
    if request.start_ns is not None:
        say(f"traded from {iso(request.start_ns)} on; the bars before are warm-up")
    say(f"prices: {source_words(bars.source)}")
    if bars.open_gaps:
        say(f"{bars.open_gaps:,} holes in the recorded trades of that time are still open")
    lacking = gap_words(gap_head(bars), request.y, request.x)
    if lacking:
        say(lacking)
    if request.funding:
        for name, rates in ((request.y, bars.funding_y), (request.x, bars.funding_x)):
            if rates is None:
                say(f"no funding of {name} is known for that time; none is charged")


def _computed(
    request: BacktestRequest,
    grid: Grid,
    bars: PairBars,
    asked: Asked,
    cluster: str | None,
    meter: Meter,
    stopped: Event,
) -> dict[str, Any]:
    """Return the document of what was asked for."""
    head = {"source": bars.source, "gaps": bars.open_gaps, **gap_head(bars)}
    if not grid:
        return {"kind": "backtest", **head, **_judged(request, bars, asked.trials + 1, asked, meter, stopped)}
    several, count = {name: list(values) for name, values in grid.items()}, prod(map(len, grid.values()))
    if asked.walk_forward:
        with working_executor(cluster) as executor:
            walked = walk_forward(
                request,
                grid,
                bars,
                **walk_options(asked),
                executor=executor,
                progress=meter.of("choosing and trying"),
                cancelled=stopped.is_set,
            ).document()
        several |= walk_options(asked)
        more = {"combinations": count, "trials": asked.trials + count}
        return {"kind": "walk_forward", **head, "request": request.document() | several, **walked, **more}
    with working_executor(cluster) as executor:
        table = sweep_request(
            request,
            grid,
            bars,
            executor=executor,
            progress=meter.of("trying combinations"),
            cancelled=stopped.is_set,
            trials=asked.trials + count if asked.trials else None,
        )
    meter.clear()
    best = table.best()
    document: dict[str, Any] = {
        "kind": "sweep",
        **head,
        "request": request.document() | several,
        "grid": {name: list(values) for name, values in table.grid.items()},
        "rows": table.rows(),
        "best": best,
        "deflated_sharpe": table.deflated_sharpe,
        "pbo": table.pbo,
        "skipped": table.skipped,
        "trials": table.trials,
    }
    if best is not None:
        rule = with_choice(request, {name: best[name] for name in table.grid})
        document["best_run"] = _judged(rule, bars, table.trials, asked, meter, stopped)
    return document


def _judged(
    request: BacktestRequest, bars: PairBars, trials: int, asked: Asked, meter: Meter, stopped: Event
) -> dict[str, Any]:
    """Return the document of one rule's backtest."""
    judged = judge_backtest(
        request,
        bars,
        trials=trials,
        nulls=asked.nulls,
        progress=meter.of("trying the rule on pairs of chance"),
        cancelled=stopped.is_set,
    )
    return judged.document()


def _answer(document: Mapping[str, Any], asked: Asked, *, say: Say, show: Say) -> None:
    """Show the answer and write the file."""
    several = "rows" in document
    ranked = {**document, "rows": _ranked(document["rows"], asked.sort)} if several else document
    if asked.out is not None:
        if extension_of(asked.out) == ".html":
            write_report(asked.out, ranked)
            say(f"report written to {asked.out}")
        else:
            rows = document["rows" if several else "trades"]
            write_table(asked.out, rows)
            say(f"{len(rows):,} {'rows' if several else 'trades'} written to {asked.out}")
    if asked.json:
        show(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    if not several:
        walked = document["kind"] == "walk_forward"
        for line in walk_lines(document) if walked else backtest_lines(document, limit=asked.limit):
            show(line)
        return
    for line in sweep_lines(ranked, limit=asked.limit):
        show(line)
    if 0 < asked.limit < len(document["rows"]):
        say(f"{asked.limit:,} of {len(document['rows']):,} rows shown; --limit 0 shows all, --out FILE keeps all")


def _ranked(rows: Sequence[Mapping[str, Any]], sort: str) -> list[Mapping[str, Any]]:
    """Return rows by a metric, the better first, or by a parameter; those without a value last."""
    sign = -1.0 if sort in SWEPT and sort not in _LEAST_FIRST else 1.0

    def place(row: Mapping[str, Any]) -> tuple[bool, Any]:
        value = row[sort]
        return value is None, "" if value is None else sign * value if isinstance(value, (int, float)) else str(value)

    return sorted(rows, key=place)
