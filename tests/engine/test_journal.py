"""Where the journal's entries end: so that whoever reads them gives an engine the same ticks in the same order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.journal import Journal
from pairscope.market.ticks import TickBatch

MS = 1_000_000


def batches_of(ticks_of: Callable[..., TickBatch], noon_ns: int) -> list[TickBatch]:
    """One symbol's ticks, a batch each, 30 ms apart within a second, so that none closes anything."""
    rows = [("BTCUSDT", 100 + i, noon_ns + i * 30 * MS, "60000.5", "0.01", False) for i in range(8)]
    ticks = ticks_of(rows)
    return [ticks.take(slice(i, i + 1)).with_watermark(noon_ns + i * 30 * MS) for i in range(8)]


def test_batches_that_tell_nothing_share_an_entry_with_the_one_that_does(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    batches = batches_of(ticks_of, noon_ns)
    engine = DataProcessor(batches[0].symbols)
    journal = Journal(engine.symbols_table)
    made = [journal.take(batch, engine.on_batch(batch)) for batch in batches]
    assert [len(entries) for entries in made] == [1, *[0] * 7], "the first one says when it began"
    after = TickBatch.empty(engine.symbols_table, noon_ns + 2_000 * MS)
    [entry] = journal.take(after, engine.on_batch(after))
    assert (entry.ticks, entry.watermark_ns, len(entry.bars) > 0) == (7, noon_ns + 2_000 * MS, True)


def test_what_the_engine_is_given_ends_the_entry_of_the_silent_batches_before_it(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    batches = batches_of(ticks_of, noon_ns)
    engine = DataProcessor(batches[0].symbols)
    journal = Journal(engine.symbols_table)
    for batch in batches[:4]:
        journal.take(batch, engine.on_batch(batch))
    journal.note("alert", "{}")
    silent, noted = journal.take(batches[4], engine.on_batch(batches[4]))
    assert (silent.ticks, silent.notes, silent.watermark_ns) == (3, [], batches[3].watermark_ns)
    assert (noted.ticks, [note.kind for note in noted.notes]) == (1, ["alert"])
    assert silent.recv_ns < noted.recv_ns


def test_ticks_that_had_been_received_before_those_of_earlier_batches_stand_alone(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    batches = batches_of(ticks_of, noon_ns)
    batches[5] = replace(batches[5], ts_recv_ns=np.array([int(batches[2].ts_recv_ns[0]) + 1]))
    engine = DataProcessor(batches[0].symbols)
    journal = Journal(engine.symbols_table)
    made = [journal.take(batch, engine.on_batch(batch)) for batch in batches]
    assert [len(entries) for entries in made] == [1, 0, 0, 0, 0, 2, 0, 0]
    silent, held = made[5]
    assert (silent.ticks, silent.stragglers) == (4, [])
    assert (held.ticks, held.stragglers) == (1, [("BTCUSDT", 105)])


def test_a_second_in_which_nobody_traded_ends_an_entry_too(ticks_of: Callable[..., TickBatch], noon_ns: int) -> None:
    engine = DataProcessor(batches_of(ticks_of, noon_ns)[0].symbols)
    journal = Journal(engine.symbols_table)
    rows = [
        ("BTCUSDT", 100, noon_ns + 100 * MS, "1.5", "1", False),
        ("BTCUSDT", 101, noon_ns + 1500 * MS, "2", "1", True),
    ]
    ticks = ticks_of(rows, symbols=engine.symbols_table)
    first, late = ticks.take(slice(1)), replace(ticks, ts_recv_ns=ticks.ts_recv_ns + 5000 * MS).take(slice(1, None))
    came = [first.with_watermark(noon_ns + 200 * MS)]
    came += [TickBatch.empty(engine.symbols_table, noon_ns + ms * MS) for ms in (1100, 1600, 2100, 2400, 3050)]
    came.append(late.with_watermark(noon_ns + 3100 * MS))
    made = [journal.take(batch, engine.on_batch(batch)) for batch in came]
    assert [len(entries) for entries in made] == [1, 1, 0, 1, 0, 1, 1]
    told = [
        (bars.timeframe, bars.revised, len(bars.each)) for entries in made for entry in entries for bars in entry.bars
    ]
    assert told == [("1s", False, 1), ("1s", True, 1)], (
        "the second that was silent is revised, as the journal's reader sees"
    )
