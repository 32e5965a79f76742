"""What the embedded store answers: ranges of ticks and bars, read in windows so that cost follows the answer's size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from pairscope.market.bars import BarBatch, concat_bars, resample, timeframe_ns
from pairscope.market.continuity import Gap
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.storage.ledger import LedgerView
from pairscope.storage.tables import Connection, Tables

__all__ = [
    "bars", "base_bars",  "gaps", "portions", "quarter_hours", "received_between", "received_portions",
    "ticks", "ticks_between",
]  # fmt: skip

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_QUARTER_NS: Final = 15 * _MINUTE_NS
_GROWTH: Final = 8
_PORTION: Final = 200_000
_MINUTE_BASED: Final = timeframe_ns("1m")


def windows(start_ns: int, end_ns: int, first_ns: int, width_ns: int, *, newest: bool) -> Iterator[tuple[int, int]]:
    """Cut [start_ns, end_ns) into ever wider windows, from the end where rows begin (``first_ns``) on.

    ``first_ns`` is only a hint: whatever lies beyond it is in the first window.
    """
    if newest:
        high, low = end_ns, min(first_ns, end_ns) - width_ns
        while high > start_ns:
            yield max(low, start_ns), high
            width_ns *= _GROWTH
            high, low = low, low - width_ns
    else:
        low, high = start_ns, max(first_ns, start_ns) + width_ns
        while low < end_ns:
            yield low, min(high, end_ns)
            width_ns *= _GROWTH
            low, high = high, high + width_ns


def quarter_hours(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """Cut a range at quarters of an hour, so that no transaction over it is long."""
    while start_ns < end_ns:
        cut = min((start_ns // _QUARTER_NS + 1) * _QUARTER_NS, end_ns)
        yield start_ns, cut
        start_ns = cut


def ticks(
    connection: Connection,
    view: LedgerView,
    symbol: str,
    start_ns: int,
    end_ns: int,
    limit: int,
    *,
    after_id: int | None,
    newest: bool,
) -> TickBatch:
    """Return a symbol's ticks by (event time, trade id)."""
    tables = Tables(view.symbols)
    watermark_ns = view.watermark_ns
    symbol_id = view.find(symbol)
    if symbol_id is None or limit <= 0:
        return TickBatch.empty(view.symbols, watermark_ns)
    first_ns, last_ns, count = view.tick_span(symbol_id)
    if not count:
        return TickBatch.empty(view.symbols, watermark_ns)
    behind = ""
    behind_values: tuple[int, ...] = ()
    if after_id is not None:
        at = _time_of(connection, symbol_id, after_id, start_ns, end_ns)
        if at is None:
            behind, behind_values = " AND id > ?", (after_id,)
        else:
            start_ns = max(start_ns, at)
            behind, behind_values = " AND (ts_event_ns > ? OR id > ?)", (at, after_id)
    width_ns = max(2 * limit * max(last_ns - first_ns, 1) // count, 1_000_000_000)
    hint = last_ns if newest else first_ns
    parts: list[TickBatch] = []
    left = limit
    for low, high in windows(start_ns, end_ns, hint, width_ns, newest=newest):
        part = tables.ticks(
            connection,
            "symbol_id = ? AND ts_event_ns >= ? AND ts_event_ns < ?" + behind,
            (symbol_id, low, high, *behind_values),
            order="ts_event_ns DESC, id DESC" if newest else "ts_event_ns, id",
            limit=left,
        )
        parts.append(part.take(slice(None, None, -1)) if newest else part)
        left -= len(part)
        if left <= 0:
            break
    if not parts:
        return TickBatch.empty(view.symbols, watermark_ns)
    return concat_ticks(parts[::-1] if newest else parts).with_watermark(watermark_ns)


def _time_of(connection: Connection, symbol_id: int, trade_id: int, start_ns: int, end_ns: int) -> int | None:
    """Return the event time of a stored tick, looked up in the minutes whose bars hold its id, else everywhere."""
    minutes = connection.execute(
        "SELECT ts_open_ns FROM bar_1m WHERE symbol_id = ? AND first_id <= ? AND last_id >= ? "
        "AND ts_open_ns >= ? AND ts_open_ns < ?",
        [symbol_id, trade_id, trade_id, start_ns - _MINUTE_NS, end_ns],
    ).fetchall()
    for low, high in [*((at, at + _MINUTE_NS) for (at,) in minutes), (start_ns, end_ns)]:
        found = connection.execute(
            "SELECT ts_event_ns FROM tick WHERE symbol_id = ? AND id = ? AND ts_event_ns >= ? AND ts_event_ns < ?",
            [symbol_id, trade_id, low, high],
        ).fetchone()
        if found is not None:
            return int(found[0])
    return None


def bars(
    connection: Connection,
    view: LedgerView,
    symbol: str,
    timeframe: str,
    start_ns: int,
    end_ns: int,
    limit: int,
    *,
    newest: bool,
) -> BarBatch:
    """Return a symbol's closed bars, longer ones built from the base bars under them."""
    base = base_of(timeframe)
    length = timeframe_ns(timeframe)
    start_ns = -(-start_ns // length) * length
    symbol_id = view.find(symbol)
    if symbol_id is None or limit <= 0:
        return BarBatch.empty(view.symbols, timeframe)
    end_ns = min(-(-end_ns // length), view.horizon_ns(symbol_id) // length) * length
    oldest, newest_ns = view.bar_span(symbol_id, base)
    if newest_ns < 0 or end_ns <= start_ns:
        return BarBatch.empty(view.symbols, timeframe)
    hint = (newest_ns // length + 1) * length if newest else oldest // length * length
    tables = Tables(view.symbols)
    parts: list[BarBatch] = []
    left = limit
    for low, high in windows(start_ns, end_ns, hint, limit * length, newest=newest):
        part = tables.bars(
            connection,
            base,
            "symbol_id = ? AND ts_open_ns >= ? AND ts_open_ns < ?",
            (symbol_id, low, high),
            order="ts_open_ns",
        )
        part = lengthen(part, timeframe)
        part = part.take(slice(max(len(part) - left, 0), None) if newest else slice(left))
        parts.append(part)
        left -= len(part)
        if left <= 0 or (newest and low <= oldest - length) or (not newest and high > newest_ns):
            break
    return concat_bars(parts[::-1] if newest else parts)


def base_of(timeframe: str) -> str:
    """Return the stored timeframe that a timeframe follows from."""
    return "1s" if timeframe_ns(timeframe) < _MINUTE_BASED else "1m"


def lengthen(bars: BarBatch, timeframe: str) -> BarBatch:
    """Return bars of a timeframe from the base bars under them."""
    return bars if timeframe == bars.timeframe else resample(bars, timeframe)


def base_bars(connection: Connection, view: LedgerView, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
    """Return the stored bars of every symbol, by (symbol id, time)."""
    return Tables(view.symbols).bars(
        connection, timeframe, "ts_open_ns >= ? AND ts_open_ns < ?", (start_ns, end_ns), order="symbol_id, ts_open_ns"
    )


def portions(connection: Connection, start_ns: int) -> list[tuple[int, int]]:
    """Cut the ticks from a time on into ranges of whole minutes that hold a bounded number each."""
    rows = connection.execute(
        "SELECT ts_event_ns // ? AS minute, count(*) FROM tick WHERE ts_event_ns >= ? GROUP BY minute ORDER BY minute",
        [_MINUTE_NS, start_ns],
    ).fetchall()
    return [(max(low, start_ns), high) for low, high in _gathered(rows, _MINUTE_NS)]


def received_portions(connection: Connection, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Cut the ticks received in a range into ranges of whole seconds of receive time that hold a bounded number each.

    A second in which more than that came, as a market does that is played as fast as it can be, is one range.
    """
    rows = connection.execute(
        "SELECT ts_recv_ns // ? AS second, count(*) FROM tick WHERE ts_recv_ns >= ? AND ts_recv_ns < ? "
        "GROUP BY second ORDER BY second",
        [_SECOND_NS, start_ns, end_ns],
    ).fetchall()
    return [(max(low, start_ns), min(high, end_ns)) for low, high in _gathered(rows, _SECOND_NS)]


def _gathered(rows: list[tuple[int, int]], width_ns: int) -> list[tuple[int, int]]:
    """Join neighbouring spans, given with how many ticks each holds, as long as they are few together."""
    found: list[tuple[int, int]] = []
    held = 0
    for at, count in rows:
        low, high = at * width_ns, (at + 1) * width_ns
        if found and held + count <= _PORTION:
            found[-1] = found[-1][0], high
            held += count
        else:
            found.append((low, high))
            held = count
    return found


def ticks_between(connection: Connection, view: LedgerView, start_ns: int, end_ns: int) -> TickBatch:
    """Return every symbol's ticks of a range by (event time, trade id)."""
    found = Tables(view.symbols).ticks(
        connection, "ts_event_ns >= ? AND ts_event_ns < ?", (start_ns, end_ns), order="ts_event_ns, id, symbol_id"
    )
    return found.with_watermark(int(np.max(found.ts_event_ns, initial=0)))


def received_between(connection: Connection, view: LedgerView, start_ns: int, end_ns: int) -> TickBatch:
    """Return every symbol's ticks received in a range by receive time."""
    return Tables(view.symbols).ticks(
        connection, "ts_recv_ns >= ? AND ts_recv_ns < ?", (start_ns, end_ns), order="ts_recv_ns, symbol_id, id"
    )


def gaps(connection: Connection, view: LedgerView, symbol: str | None) -> list[Gap]:
    """Return the gaps of one symbol or of all, by (symbol, from_id)."""
    symbol_id = None if symbol is None else view.find(symbol)
    if symbol is not None and symbol_id is None:
        return []
    where = "true" if symbol_id is None else f"symbol_id = {symbol_id}"
    return [gap for gap, _ in Tables(view.symbols).gaps(connection, where)]
