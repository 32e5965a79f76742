"""The exchange of a benchmark, in a process of its own: a replay server that plays trades made in advance.

``python -m benchmarks.exchange '{"symbols": 200, "rate": 20000, "seconds": 60, "speed": null}'`` prints its port.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np

from pairscope.feed.agg_trades import AggTrades, Listing
from pairscope.feed.replay_server import serve
from pairscope.feed.replay_source import TapeSource
from pairscope.feed.synthetic import ORIGIN_S, SyntheticMarket
from pairscope.feed.tape import Tape
from pairscope.process import loop_factory

__all__ = ["even_tape", "synthetic_tape"]

START_NS = (ORIGIN_S + 86_400 * 1000) * 1_000_000_000


def synthetic_tape(*, symbols: int, rate: float, seconds: int) -> Tape:
    """The synthetic market of some seconds, with its bursts, its busy and its thin symbols."""
    market = SyntheticMarket(seed=7, symbols=symbols, ticks_per_second=rate)
    trades = market.trades(START_NS, START_NS + seconds * 1_000_000_000)
    return Tape(market.listings, trades, (), stamped=True, truncated=False)


def even_tape(*, symbols: int, rate: float, seconds: int, wave_s: float | None = None) -> Tape:
    """Trades of all symbols in turn, at even distances; the size of a trade tells its number within its symbol.

    Prices walk at random about 60,000 or, with ``wave_s``, go up and down by 20 about it once in so many seconds, each
    symbol a little after the one before.
    """
    listings = tuple(Listing(f"S{i:03d}USDT", 2, 3) for i in range(symbols))
    n = int(rate * seconds)
    row = np.arange(n) % symbols
    number = np.arange(n) // symbols + 1
    ms = START_NS // 1_000_000 + (np.arange(n) * 1000.0 / rate).astype(np.int64)
    steps = np.random.default_rng(1).integers(-3, 4, n)
    price = 6_000_000 + np.cumsum(steps)
    if wave_s is not None:
        turns = np.arange(n) / rate / wave_s + row / symbols
        price = 6_000_000 + np.rint(2000.0 * np.sin(2.0 * np.pi * turns)).astype(np.int64) + steps
    i8 = np.int64
    trades = AggTrades(
        row.astype(np.int32), ms, ms, number.astype(i8), number.astype(i8), number.astype(i8), price, number.astype(i8),
        np.full(n, -1, i8), row % 2 == 0,
    )  # fmt: skip
    return Tape(listings, trades, (), stamped=True, truncated=False)


async def play(told: dict[str, Any]) -> None:
    size = {name: told[name] for name in ("symbols", "rate", "seconds")}
    tape = even_tape(**size, wave_s=told.get("wave_s")) if told.get("even") else synthetic_tape(**size)
    speed = told.get("speed")
    server = await serve(
        TapeSource(tape), speed=speed, shift_to_now=speed is not None, weight_limit=1 << 30, settle_s=0.5
    )
    sys.stdout.write(json.dumps({"port": server.port, "ticks": len(tape.trades)}) + "\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    await server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(play(json.loads(sys.argv[1])))
