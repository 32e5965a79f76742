"""What a backtest of a pair needs, read from where it lies: both legs' closed bars, holes, funding, quantity steps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from pairscope.errors import FeedError, InputError
from pairscope.gap_flags import touched_bars
from pairscope.market.align import common_bars
from pairscope.market.bars import BarBatch, concat_bars, timeframe_ns
from pairscope.market.continuity import Gap
from pairscope.market.holes import holes_of
from pairscope.market.symbols import Symbols
from pairscope.ports import LiveView, TickStore
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import LegTicks, PairBars, pair_bars

__all__ = ["MOST_BARS", "MOST_TICKS", "USUAL_BARS", "Exchange", "FundingRow", "first_of_ticks", "read_pair"]

MOST_BARS: Final = 1_000_000
"""Bars of a leg that one backtest may run over."""

MOST_TICKS: Final = 1_000_000
"""Trades of a leg that one backtest may be filled from."""

USUAL_BARS: Final = 20_160
"""Bars that are traded where no start is given: two weeks of minutes."""

FundingRow = tuple[str, int, float]
"""Symbol, time (ms), rate."""

_UNSTORED: Final = 120
_SPARE: Final = 60
_DEEPEST: Final = 4
_EVER_NS: Final = 9_223_372_036_854 * 1_000_000
_PATIENCE_S: Final = 15.0
_LONGEST_WAIT_NS: Final = 3600 * 1_000_000_000


class Exchange(Protocol):
    """What only the exchange can say; ``FeedError`` where it does not answer."""

    async def funding(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[FundingRow]:
        """The funding rates of a symbol that fell due in [start, end), oldest first."""
        ...

    async def steps(self) -> Mapping[str, float]:
        """The step of a market order's quantity by symbol."""
        ...


async def read_pair(
    store: TickStore,
    live: LiveView,
    exchange: Exchange | None,
    request: BacktestRequest,
    *,
    warmup: int,
    source: str = "",
    funding: Sequence[FundingRow] | None = None,
) -> tuple[PairBars, Mapping[str, str]]:
    """Return what a backtest over [start, end) needs, and what the exchange did not say of it, with the reason.

    ``warmup`` common bars before the range are read too, where there are any; without a start the newest
    ``USUAL_BARS`` and the warm-up. ``funding`` is taken where it is given, else asked for. ``InputError`` names
    ``start`` where there are more than ``MOST_BARS``.
    """
    y, x, timeframe, length = request.y, request.x, request.timeframe, timeframe_ns(request.timeframe)
    end_ns = _EVER_NS if request.end_ns is None else min(request.end_ns, _EVER_NS)
    if request.start_ns is None:
        legs = await _newest(store, live, y, x, timeframe, end_ns, USUAL_BARS + warmup)
    else:
        legs = await _between(store, live, y, x, timeframe, request.start_ns, end_ns)
        before = await _newest(store, live, y, x, timeframe, request.start_ns, warmup)
        legs = _joined(before[0], legs[0]), _joined(before[1], legs[1])
    both = common_bars(*legs)
    missing: dict[str, str] = {}
    if not len(both[0]):
        return pair_bars(*both, source=source), missing
    first_ns, last_ns = int(both[0].ts_open_ns[0]), int(both[0].ts_open_ns[-1]) + length
    ledger = await asyncio.gather(*(store.gaps(name, unrepaired=True) for name in (y, x)))
    rates = funding
    if funding is None and request.funding:
        rates = await _funding(exchange, (y, x), first_ns, last_ns, missing)
    known = await _steps(exchange, missing) if request.round_steps else {}
    bars = pair_bars(*both, funding=rates, step_y=known.get(y), step_x=known.get(x), source=source)
    lacking = [
        (await touched_bars(store, name, leg, holes_of(gaps))).flags
        for name, leg, gaps in zip((y, x), both, ledger, strict=True)
    ]
    open_gaps = _open_gaps([*ledger[0], *ledger[1]], first_ns, last_ns)
    bars = replace(bars, gap_y=lacking[0], gap_x=lacking[1], open_gaps=open_gaps)
    if request.latency_ms is None:
        return bars, missing
    traded_ns = first_ns if request.start_ns is None else request.start_ns
    until_ns = last_ns + request.latency_ms * 1_000_000 + _LONGEST_WAIT_NS
    ticks_y = await _ticks(store, y, traded_ns, until_ns)
    ticks_x = await _ticks(store, x, traded_ns, until_ns)
    bars = replace(bars, ticks_y=ticks_y, ticks_x=ticks_x)
    if request.start_ns is not None and request.start_ns + length < first_of_ticks(bars):
        when = datetime.fromtimestamp(first_of_ticks(bars) / 1e9, UTC).isoformat(timespec="seconds")
        raise InputError(
            f"start: the recorded trades of {y} and {x} begin only at {when}",
            loc="start",
            hint="begin there, or leave latency_ms out",
        )
    return bars, missing


def first_of_ticks(bars: PairBars) -> int:
    """Return the time from which on both legs' trades are known; 0 where none are asked for or there."""
    if bars.ticks_y is None or bars.ticks_x is None:
        return 0
    return max(int(bars.ticks_y.times_ns[0]), int(bars.ticks_x.times_ns[0]))


async def _ticks(store: TickStore, symbol: str, start_ns: int, end_ns: int) -> LegTicks | None:
    """Return a symbol's trades in [start, end); None where there are none."""
    found = await store.ticks(symbol, start_ns, end_ns, limit=MOST_TICKS + 1)
    if len(found) > MOST_TICKS:
        raise InputError(
            f"start: there are more than {MOST_TICKS:,} trades of {symbol} in the range",
            loc="start",
            hint="choose a shorter range, or leave latency_ms out",
        )
    return LegTicks(found.ts_event_ns, found.price) if len(found) else None


async def _between(
    store: TickStore, live: LiveView, y: str, x: str, timeframe: str, start_ns: int, end_ns: int
) -> tuple[BarBatch, BarBatch]:
    """Return each leg's closed bars that open in [start, end)."""
    found = []
    for symbol in (y, x):
        bars = await store.bars(symbol, timeframe, start_ns, end_ns, limit=MOST_BARS + 1)
        if len(bars) > MOST_BARS:
            raise InputError(
                f"start: there are more than {MOST_BARS:,} {timeframe} bars of {symbol} in the range",
                loc="start",
                hint="choose a shorter range or a longer timeframe",
            )
        found.append(_with_live(live, bars, symbol, timeframe, start_ns, end_ns))
    return found[0], found[1]


async def _newest(
    store: TickStore, live: LiveView, y: str, x: str, timeframe: str, end_ns: int, count: int
) -> tuple[BarBatch, BarBatch]:
    """Return the newest ``count`` bars that both have before a time; of thin legs more are read, up to four times."""
    none = BarBatch.empty(Symbols([y]), timeframe), BarBatch.empty(Symbols([x]), timeframe)
    if count <= 0 or end_ns <= 0:
        return none
    limit, most = count + _SPARE, _DEEPEST * (count + _SPARE)
    while True:
        legs = []
        for symbol in (y, x):
            bars = await store.bars(symbol, timeframe, 0, end_ns, limit=limit, newest=True)
            legs.append(_with_live(live, bars, symbol, timeframe, 0, end_ns))
        both = common_bars(*legs)
        if len(both[0]) >= count or limit >= most or not _older_in_common(legs[0], legs[1], limit):
            rows = slice(max(0, len(both[0]) - count), None)
            return both[0].take(rows), both[1].take(rows)
        limit = min(most, 2 * limit)


def _older_in_common(a: BarBatch, b: BarBatch, limit: int) -> bool:
    """Whether older bars of both may be there; a leg that has no more than was read ends what can be common."""
    if not (len(a) and len(b)) or max(len(a), len(b)) < limit:
        return False
    oldest_a, oldest_b = int(a.ts_open_ns[0]), int(b.ts_open_ns[0])
    return not ((len(a) < limit and oldest_a >= oldest_b) or (len(b) < limit and oldest_b >= oldest_a))


def _with_live(live: LiveView, stored: BarBatch, symbol: str, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
    """Put behind stored bars what the engine has closed since."""
    recent = live.recent_bars(symbol, timeframe, _UNSTORED)
    after_ns = int(stored.ts_open_ns[-1]) if len(stored) else start_ns - 1
    return _joined(stored, recent.take((recent.ts_open_ns > after_ns) & (recent.ts_open_ns < end_ns)), symbol)


def _joined(first: BarBatch, second: BarBatch, symbol: str | None = None) -> BarBatch:
    """Join bars of one symbol that come from different symbol tables."""
    table = first.symbols if symbol is None else Symbols([symbol])
    parts = [replace(part, symbols=table, symbol_id=part.symbol_id * 0) for part in (first, second)]
    return concat_bars(parts)


def _open_gaps(ledger: Sequence[Gap], start_ns: int, end_ns: int) -> int:
    """Return how many holes in the trades of a time are still open, or stay so for ever."""
    return sum(
        gap.missing > 0 and gap.after_ns < end_ns and (gap.before_ns or gap.seen_ns or end_ns) > start_ns
        for gap in ledger
        if gap.status != "repaired"
    )


async def _funding(
    exchange: Exchange | None, names: Sequence[str], start_ns: int, end_ns: int, missing: dict[str, str]
) -> Sequence[FundingRow] | None:
    """Return both legs' funding rates of a time, None where they cannot be had."""
    if exchange is None:
        missing["funding"] = "there is no exchange to ask for it"
        return None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return [row for name in names for row in await exchange.funding(name, start_ns, end_ns)]
    except (FeedError, TimeoutError) as error:
        missing["funding"] = f"the exchange did not tell it: {str(error) or 'no answer in time'}"
        return None


async def _steps(exchange: Exchange | None, missing: dict[str, str]) -> Mapping[str, float]:
    """Return the quantity steps that are known."""
    if exchange is None:
        missing["steps"] = "there is no exchange to ask for them"
        return {}
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await exchange.steps()
    except (FeedError, TimeoutError) as error:
        missing["steps"] = f"the exchange did not tell them: {str(error) or 'no answer in time'}"
        return {}
