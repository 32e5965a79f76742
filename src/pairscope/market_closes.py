"""The closes and the pair that a command works on: a running Pairscope's, through its API, else the store's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from pairscope.client import Client
from pairscope.errors import ApiRefused, ConfigError, UnknownSymbol
from pairscope.gap_flags import read_holes, touched_bars
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, F8, I8
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.closes import Closes, closes_of
from pairscope.research.pair_bars import FundingRate, LegBars, PairBars
from pairscope.research.pair_file import pair_of_legs
from pairscope.research.pair_reading import USUAL_BARS, read_pair
from pairscope.supervisor import already_running
from pairscope.terminal import spoken

if TYPE_CHECKING:
    from pairscope.ports import TickStore

__all__ = ["closes_from_api", "closes_from_store", "market_closes", "market_pair", "patiently", "store_to_read"]

Say = Callable[[str], None]
Progress = Callable[[int, int], None]
T = TypeVar("T")

_SPARE: Final = 0.1
"""Bars read beyond those asked for, as a share: some of the newest times may not count as bars of the market."""

_PATIENCE_S: Final = 120.0
_TRIES: Final = 5


def market_closes(
    data_dir: Path,
    database_url: str,
    *,
    symbols: Sequence[str],
    timeframe: str,
    bars: int,
    api_key: str,
    say: Say,
    progress: Progress,
) -> Closes:
    """Return the newest closes of some symbols, or of all, from whoever holds the store; says from where.

    ``ConfigError`` where there is no store, ``UnknownSymbol`` where it has none of a name.
    """
    running = _running(data_dir, say)
    if running is not None:
        with Client(str(running["api"]), api_key=api_key or None, timeout=_PATIENCE_S) as api:
            return closes_from_api(api, symbols=symbols, timeframe=timeframe, bars=bars, progress=progress)
    url = store_to_read(data_dir, database_url)
    say(f"reading from the store {spoken(url)}")
    return asyncio.run(_from_url(url, symbols=symbols, timeframe=timeframe, bars=bars, progress=progress))


def market_pair(
    data_dir: Path,
    database_url: str,
    request: BacktestRequest,
    *,
    funding: Sequence[FundingRate] | None,
    api_key: str,
    say: Say,
    progress: Progress,
) -> PairBars:
    """Return both legs' bars in the request's range, and those of its warm-up; without a start the newest two weeks'.

    From whoever holds the store, as ``market_closes`` has it; ``UnknownSymbol`` names the leg.
    """
    running = _running(data_dir, say)
    if running is not None:
        with Client(str(running["api"]), api_key=api_key or None, timeout=_PATIENCE_S) as api:
            bars = _pair_from_api(api, request, funding=funding, progress=progress)
        return replace(bars, source=str(running.get("source", "unknown")))
    url = store_to_read(data_dir, database_url)
    say(f"reading from the store {spoken(url)}")
    bars = asyncio.run(_pair_from_url(url, request, funding=funding))
    name = Path(url.removeprefix("duckdb:///")).stem
    return replace(bars, source={"pairscope": "live"}.get(name, name))


def store_to_read(data_dir: Path, database_url: str) -> str:
    """Return the address of the store to read: the one that is set, the live market's, else the only one there is."""
    if database_url:
        if database_url.startswith("duckdb:///") and not Path(database_url.removeprefix("duckdb:///")).is_file():
            raise ConfigError(f"there is no store at {database_url}", loc="PAIRSCOPE_DATABASE_URL")
        return database_url
    files = sorted(data_dir.resolve().glob("*.duckdb"))
    live = [file for file in files if file.name == "pairscope.duckdb"]
    if len(live or files) == 1:
        return f"duckdb:///{(live or files)[0]}"
    if files:
        raise ConfigError(
            f"{data_dir} holds several stores: {', '.join(file.name for file in files)}",
            loc="PAIRSCOPE_DATABASE_URL",
            hint=f"choose one with PAIRSCOPE_DATABASE_URL=duckdb:///{files[0]}",
        )
    raise ConfigError(
        f"there is no store in {data_dir}",
        loc="--data-dir",
        hint="start `pairscope run` first, or give a file with --bars FILE",
    )


async def _from_url(url: str, *, symbols: Sequence[str], timeframe: str, bars: int, progress: Progress) -> Closes:
    from pairscope.storage.tick_storage import open_store

    store = await open_store(url)
    try:
        return await closes_from_store(store, symbols=symbols, timeframe=timeframe, bars=bars, progress=progress)
    finally:
        await store.close()


async def closes_from_store(
    store: TickStore, *, symbols: Sequence[str], timeframe: str, bars: int, progress: Progress
) -> Closes:
    """Return the newest ``bars`` closes, and some to spare, of each symbol that a store holds."""
    summaries = await store.symbols()
    names = _chosen(symbols, [summary.symbol for summary in summaries])
    ends = [summary.last_ns for summary in summaries if not symbols or summary.symbol in symbols]
    end_ns = max(ends, default=0) + timeframe_ns(timeframe)
    start_ns = max(end_ns - _reach(bars) * timeframe_ns(timeframe), 0)
    holes = await read_holes(store, names)
    lacking: dict[str, I8] = {}
    times, closes = [], []
    for place, name in enumerate(names):
        found = await store.bars(name, timeframe, start_ns, end_ns, limit=_reach(bars), newest=True)
        times.append(found.ts_open_ns)
        closes.append(found.close)
        if name in holes:
            lacking[name] = (await touched_bars(store, name, found, holes[name])).times_ns
        progress(place + 1, len(names))
    return replace(closes_of(names, times, closes), lacking=lacking)


def closes_from_api(api: Client, *, symbols: Sequence[str], timeframe: str, bars: int, progress: Progress) -> Closes:
    """Return the same as ``closes_from_store`` of a running instance; it is asked more slowly where it says so."""
    known = patiently(lambda: api.get("/api/symbols"))
    names = _chosen(symbols, [row["symbol"] for row in known])
    length_ms = timeframe_ns(timeframe) // 1_000_000
    newest_ms = max((row["last_timestamp"] or 0 for row in known if row["symbol"] in names), default=0)
    start_ms = max(newest_ms - (_reach(bars) - 1) * length_ms, 0)
    times: list[I8] = []
    closes: list[F8] = []
    lacking: dict[str, I8] = {}
    for place, name in enumerate(names):
        table = patiently(partial(api.ohlc, name, timeframe, start=start_ms))
        table = table[table["closed"].astype(bool)]
        times.append(table.index.to_numpy("datetime64[ns]").astype(np.int64))
        closes.append(np.asarray(table["close"], np.float64))
        lacking[name] = times[-1][_lacking_rows(table)]
        progress(place + 1, len(names))
    return replace(closes_of(names, times, closes), lacking=lacking)


async def _pair_from_url(url: str, request: BacktestRequest, *, funding: Sequence[FundingRate] | None) -> PairBars:
    from pairscope.storage.tick_storage import open_store

    store = await open_store(url)
    try:
        there = [summary.symbol for summary in await store.symbols()]
        for flag, name in (("y", request.y), ("x", request.x)):
            _chosen([name], there, flag=flag)
        bars, _ = await read_pair(
            store, _NoEngine(), None, request, warmup=request.warmup_bars(), funding=funding or ()
        )
        return bars
    finally:
        await store.close()


class _NoEngine:
    """Stands for the engine where a store is read that nobody writes: nothing is newer than what it holds."""

    def symbols(self) -> Sequence[str]:
        return ()

    def price(self, symbol: str) -> None: ...

    def open_bar(self, symbol: str, timeframe: str) -> None: ...

    def recent_bars(self, symbol: str, timeframe: str, count: int, *, with_open: bool = False) -> BarBatch:
        return BarBatch.empty(Symbols([symbol]), timeframe)

    def watermark_ns(self) -> int:
        return 0


def _pair_from_api(
    api: Client, request: BacktestRequest, *, funding: Sequence[FundingRate] | None, progress: Progress
) -> PairBars:
    """Return the pair's closed bars as the API has them; ``volume`` besides open, high, low and close."""
    known = {row["symbol"]: row["last_timestamp"] or 0 for row in patiently(lambda: api.get("/api/symbols"))}
    for flag, name in (("y", request.y), ("x", request.x)):
        _chosen([name], [*known], flag=flag)
    length_ms = timeframe_ns(request.timeframe) // 1_000_000
    end_ms = None if request.end_ns is None else request.end_ns // 1_000_000
    newest_ms = min(known[request.y], known[request.x], *(() if end_ms is None else (end_ms,)))
    traded_ms = newest_ms - USUAL_BARS * length_ms if request.start_ns is None else request.start_ns // 1_000_000
    start_ms = max(traded_ms - _reach(request.warmup_bars()) * length_ms, 0)
    legs, lacking = [], []
    for place, name in enumerate((request.y, request.x)):
        table = patiently(partial(api.ohlc, name, request.timeframe, start=start_ms, end=end_ms))
        table = table[table["closed"].astype(bool)]
        times: I8 = table.index.to_numpy("datetime64[ns]").astype(np.int64)
        columns = [np.asarray(table[part], np.float64) for part in ("open", "high", "low", "close", "volume")]
        legs.append((times, LegBars(*columns)))
        lacking.append(times[_lacking_rows(table)])
        progress(place + 1, 2)
    bars = pair_of_legs(*legs, timeframe=request.timeframe, y=request.y, x=request.x, funding=funding)
    return replace(bars, gap_y=np.isin(bars.times_ns, lacking[0]), gap_x=np.isin(bars.times_ns, lacking[1]))


def _lacking_rows(table: Any) -> B1:
    """Return which rows of a table of the API's bars lack trades: a column that is there only where any does."""
    if "gap" not in table:
        return np.zeros(len(table), np.bool_)
    return np.asarray(table["gap"].to_numpy() == True, np.bool_)  # noqa: E712 - None where a bar is whole


def _reach(bars: int) -> int:
    """Return how many bars back to read."""
    return bars + int(bars * _SPARE) + 2


def _running(data_dir: Path, say: Say) -> Any:
    """Return the note of the instance that runs on a data directory, None where none does; says from where is read."""
    running = already_running(data_dir)
    if running is not None:
        say(f"reading from the Pairscope that runs at {running['api']} (source {running.get('source', 'unknown')})")
    return running


def _chosen(wanted: Sequence[str], there: Sequence[str], *, flag: str = "--symbols") -> list[str]:
    """Return the symbols to read; ``UnknownSymbol`` of one that is not there."""
    for name in wanted:
        if name not in there:
            error = UnknownSymbol(name, tuple(get_close_matches(name, there, 3)))
            error.loc = flag
            raise error
    return list(wanted or sorted(there))


def patiently(ask: Callable[[], T]) -> T:
    """Return an answer of the API, after the pause that it asks for where it is asked too often.

    ``ConfigError`` where it asks for a key.
    """
    for _ in range(_TRIES):
        try:
            return ask()
        except ApiRefused as error:
            if error.http_status == 401:
                raise ConfigError.key_wanted() from error
            if error.http_status != 429:
                raise
            time.sleep(error.retry_after_s or 1.0)
    return ask()
