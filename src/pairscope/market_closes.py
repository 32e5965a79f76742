"""The closes that a command works on: a running Pairscope's, through its API, else the store's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from pairscope.client import Client
from pairscope.errors import ApiRefused, ConfigError, UnknownSymbol
from pairscope.market.bars import timeframe_ns
from pairscope.market.ticks import F8, I8
from pairscope.research.closes import Closes, closes_of
from pairscope.supervisor import already_running

if TYPE_CHECKING:
    from pairscope.ports import TickStore

__all__ = ["closes_from_api", "closes_from_store", "market_closes", "store_to_read"]

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
    running = already_running(data_dir)
    if running is not None:
        say(f"reading from the Pairscope that runs at {running['api']} (source {running.get('source', 'unknown')})")
        with Client(str(running["api"]), api_key=api_key or None, timeout=_PATIENCE_S) as api:
            return closes_from_api(api, symbols=symbols, timeframe=timeframe, bars=bars, progress=progress)
    url = store_to_read(data_dir, database_url)
    say(f"reading from the store {url.removeprefix('duckdb:///')}")
    return asyncio.run(_from_url(url, symbols=symbols, timeframe=timeframe, bars=bars, progress=progress))


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
    end_ns = max((summary.last_ns for summary in summaries), default=0) + timeframe_ns(timeframe)
    start_ns = max(end_ns - _reach(bars) * timeframe_ns(timeframe), 0)
    times, closes = [], []
    for place, name in enumerate(names):
        found = await store.bars(name, timeframe, start_ns, end_ns, limit=_reach(bars), newest=True)
        times.append(found.ts_open_ns)
        closes.append(found.close)
        progress(place + 1, len(names))
    return closes_of(names, times, closes)


def closes_from_api(api: Client, *, symbols: Sequence[str], timeframe: str, bars: int, progress: Progress) -> Closes:
    """Return the same as ``closes_from_store`` of a running instance; it is asked more slowly where it says so."""
    known = _asked(lambda: api.get("/api/symbols"))
    names = _chosen(symbols, [row["symbol"] for row in known])
    length_ms = timeframe_ns(timeframe) // 1_000_000
    newest_ms = max((row["last_timestamp"] or 0 for row in known), default=0)
    start_ms = max(newest_ms - (_reach(bars) - 1) * length_ms, 0)
    times: list[I8] = []
    closes: list[F8] = []
    for place, name in enumerate(names):
        table = _asked(partial(api.ohlc, name, timeframe, start=start_ms))
        table = table[table["closed"].astype(bool)]
        times.append(table.index.to_numpy("datetime64[ns]").astype(np.int64))
        closes.append(np.asarray(table["close"], np.float64))
        progress(place + 1, len(names))
    return closes_of(names, times, closes)


def _reach(bars: int) -> int:
    """Return how many bars back to read."""
    return bars + int(bars * _SPARE) + 2


def _chosen(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """Return the symbols to read; ``UnknownSymbol`` of one that is not there."""
    for name in wanted:
        if name not in there:
            error = UnknownSymbol(name, tuple(get_close_matches(name, there, 3)))
            error.loc = "--symbols"
            raise error
    return list(wanted or sorted(there))


def _asked(ask: Callable[[], T]) -> T:
    """Return an answer of the API, after the pause that it asks for where it is asked too often."""
    for _ in range(_TRIES):
        try:
            return ask()
        except ApiRefused as error:
            if error.http_status == 401:
                raise ConfigError(
                    "the Pairscope that runs here asks for a key",
                    loc="PAIRSCOPE_DASHBOARD_KEY",
                    hint="set it to one of its keys",
                ) from error
            if error.http_status != 429:
                raise
            time.sleep(error.retry_after_s or 1.0)
    return ask()
