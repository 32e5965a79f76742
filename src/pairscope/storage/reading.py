"""The ticks and gaps that the embedded store answers, read in windows so that cost follows the answer's size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from pairscope.market.gaps import Gap, HeldIds
from pairscope.market.id_ranges import Range, less
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.storage.archive_catalogue import Reach
from pairscope.storage.ledger import LedgerView
from pairscope.storage.tables import Connection, Tables

__all__ = [
    "gaps", "gathered", "held", "portions", "received_between", "received_portions", "symbol_portions", "tables_of",
    "ticks", "ticks_between", "windows",
]  # fmt: skip

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_QUARTER_NS: Final = 15 * _MINUTE_NS
_GROWTH: Final = 8
_PORTION: Final = 200_000


def tables_of(view: LedgerView) -> Tables:
    """Return the tables as of a view."""
    return Tables(view.symbols, view.archive)


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
    tables = Tables(view.symbols, view.archive)
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
        at = _time_of(connection, tables, symbol_id, after_id, start_ns, end_ns)
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
            reach=Reach(symbol_id, low, high),
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


def _time_of(
    connection: Connection, tables: Tables, symbol_id: int, trade_id: int, start_ns: int, end_ns: int
) -> int | None:
    """Return the event time of a stored tick, looked up in the minutes whose bars hold its id, else everywhere."""
    nearby = tables.bars_from("1m", Reach(symbol_id, start_ns - _MINUTE_NS, end_ns))
    minutes = connection.execute(
        f"SELECT ts_open_ns FROM {nearby} WHERE symbol_id = ? AND first_id <= ? AND last_id >= ? "
        "AND ts_open_ns >= ? AND ts_open_ns < ?",
        [symbol_id, trade_id, trade_id, start_ns - _MINUTE_NS, end_ns],
    ).fetchall()
    for low, high in [*((at, at + _MINUTE_NS) for (at,) in minutes), (start_ns, end_ns)]:
        found = connection.execute(
            f"SELECT ts_event_ns FROM {tables.ticks_from(Reach(symbol_id, low, high))} "
            "WHERE symbol_id = ? AND id = ? AND ts_event_ns >= ? AND ts_event_ns < ?",
            [symbol_id, trade_id, low, high],
        ).fetchone()
        if found is not None:
            return int(found[0])
    return None


def portions(connection: Connection, view: LedgerView, start_ns: int) -> list[tuple[int, int]]:
    """Cut the ticks from a time on into ranges of whole minutes that hold a bounded number each."""
    source = view.archive.ticks_from(Reach(None, start_ns))
    rows = connection.execute(
        f"SELECT ts_event_ns // ? AS minute, count(*) FROM {source} WHERE ts_event_ns >= ? "
        "GROUP BY minute ORDER BY minute",
        [_MINUTE_NS, start_ns],
    ).fetchall()
    return [(max(low, start_ns), high) for low, high in gathered(rows, _MINUTE_NS)]


def symbol_portions(
    connection: Connection, view: LedgerView, symbol_id: int, start_ns: int, end_ns: int
) -> list[tuple[int, int]]:
    """Cut a symbol's ticks in a range into ranges of quarters of an hour that hold a bounded number each."""
    source = view.archive.ticks_from(Reach(symbol_id, start_ns, end_ns))
    rows = connection.execute(
        f"SELECT ts_event_ns // ? AS quarter, count(*) FROM {source} "
        "WHERE symbol_id = ? AND ts_event_ns >= ? AND ts_event_ns < ? GROUP BY quarter ORDER BY quarter",
        [_QUARTER_NS, symbol_id, start_ns, end_ns],
    ).fetchall()
    return [(max(low, start_ns), min(high, end_ns)) for low, high in gathered(rows, _QUARTER_NS)]


def received_portions(connection: Connection, view: LedgerView, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Cut the ticks received in a range into ranges of whole seconds of receive time that hold a bounded number each.

    A second in which more than that came, as a market does that is played as fast as it can be, is one range.
    """
    source = view.archive.ticks_from(Reach(None, start_ns, end_ns, received=True))
    rows = connection.execute(
        f"SELECT ts_recv_ns // ? AS second, count(*) FROM {source} WHERE ts_recv_ns >= ? AND ts_recv_ns < ? "
        "GROUP BY second ORDER BY second",
        [_SECOND_NS, start_ns, end_ns],
    ).fetchall()
    return [(max(low, start_ns), min(high, end_ns)) for low, high in gathered(rows, _SECOND_NS)]


def gathered(rows: list[tuple[int, int]], width_ns: int) -> list[tuple[int, int]]:
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
    found = Tables(view.symbols, view.archive).ticks(
        connection,
        "ts_event_ns >= ? AND ts_event_ns < ?",
        (start_ns, end_ns),
        reach=Reach(None, start_ns, end_ns),
        order="ts_event_ns, id, symbol_id",
    )
    return found.with_watermark(int(np.max(found.ts_event_ns, initial=0)))


def received_between(connection: Connection, view: LedgerView, start_ns: int, end_ns: int) -> TickBatch:
    """Return every symbol's ticks received in a range by receive time."""
    return Tables(view.symbols, view.archive).ticks(
        connection,
        "ts_recv_ns >= ? AND ts_recv_ns < ?",
        (start_ns, end_ns),
        reach=Reach(None, start_ns, end_ns, received=True),
        order="ts_recv_ns, symbol_id, id",
    )


def gaps(connection: Connection, view: LedgerView, symbol: str | None, *, unrepaired: bool = False) -> list[Gap]:
    """Return the gaps of one symbol or of all, by (symbol, from_id); all of them, or those that lack ids."""
    symbol_id = None if symbol is None else view.find(symbol)
    if symbol is not None and symbol_id is None:
        return []
    where = "status <> 'repaired'" if unrepaired else "true"
    where += "" if symbol_id is None else f" AND symbol_id = {symbol_id}"
    return [gap for gap, _ in Tables(view.symbols, view.archive).gaps(connection, where)]


def held(connection: Connection, view: LedgerView, symbol: str | None) -> list[HeldIds]:
    """Return the intervals of consecutive ids that are stored of one symbol or of all, by (symbol, from_id)."""
    names = sorted(view.symbols[k] for k in range(view.known)) if symbol is None else [symbol]
    wanted = [(name, symbol_id) for name in names if (symbol_id := view.find(name)) is not None]
    where = "status <> 'repaired'" + (f" AND symbol_id = {wanted[0][1]}" if len(wanted) == 1 else "")
    missing: dict[str, list[Range]] = {}
    for gap, ranges in Tables(view.symbols, view.archive).gaps(connection, where):
        missing.setdefault(gap.symbol, []).extend(ranges)
    found = []
    for _, symbol_id in wanted:
        first, following = view.id_span(symbol_id)
        name = view.symbols[symbol_id]
        if first < following:
            whole = less([(first, following - 1)], sorted(missing.get(name, ())))
            found += [HeldIds(name, low, high) for low, high in whole]
    return found
