"""Decoder, guard, ledger and watermark put together: what leaves, when, and under which time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pairscope.feed.intake import EMPTY_EVERY_NS, Intake
from pairscope.feed.wire import AggTradeRow, agg_trades_batch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

Simulate = Callable[[Awaitable[None]], None]
T_MS = 1_700_000_000_000
S = 1_000_000_000


class Desk:
    """An intake, and frames numbered for it; its clock is the time of the newest frame."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.intake = Intake(
            Symbols(["BTCUSDT", "ETHUSDT"]),
            ["BTCUSDT", "ETHUSDT"],
            Continuity(),
            lateness_ns=300_000_000,
            hold_ns=60 * S,
            on_gaps=self.gaps.extend,
        )
        self.now_ns = 0
        self.out: list[TickBatch] = []

    def frame(self, number: int, *, symbol: str = "BTCUSDT", size: str = "1", at_ms: int | None = None) -> None:
        t = T_MS + (self.now_ns // 1_000_000 if at_ms is None else at_ms)
        row = {
            "e": "aggTrade",
            "E": t,
            "s": symbol,
            "a": number,
            "p": "5",
            "q": size,
            "f": 1,
            "l": 1,
            "T": t,
            "m": True,
        }
        self.intake.decoder.feed(json.dumps(row).encode(), self.clock_ns())

    def clock_ns(self) -> int:
        return T_MS * 1_000_000 + self.now_ns

    def flush(self, elapsed_ns: int = 25_000_000, *, sighted: bool = True, audited: bool = True) -> TickBatch | None:
        self.now_ns += elapsed_ns
        live = self.intake.gather(self.now_ns, self.clock_ns())
        batch = self.intake.admit(live)
        self.intake.look(self.now_ns, self.clock_ns(), sighted=sighted, audited=lambda _: audited)
        out = self.intake.release(batch, self.now_ns)
        if out is not None:
            self.out.append(out)
        return out

    def begin(self) -> None:
        """Let time be known."""
        for number in range(8):
            self.frame(number)
            self.frame(number, symbol="ETHUSDT")
        self.flush()

    def ids(self, symbol: str = "BTCUSDT") -> list[int]:
        return [int(i) for batch in self.out for i in batch.of_symbol(symbol).trade_id]


def test_nothing_leaves_before_a_tenth_of_a_second_when_nothing_came() -> None:
    desk = Desk()
    desk.begin()
    assert [desk.flush() is None for _ in range(3)] == [True, True, True]
    empty = desk.flush(EMPTY_EVERY_NS)
    assert empty is not None
    assert len(empty) == 0
    assert empty.watermark_ns == T_MS * 1_000_000 + desk.now_ns - 25_000_000 - 300_000_000


def test_repeats_are_dropped_and_holes_told() -> None:
    desk = Desk()
    desk.begin()
    for number in (8, 8, 3, 10, 9, 10):
        desk.frame(number)
    desk.flush()
    assert desk.ids() == [*range(9), 10, 9]
    assert desk.intake.counts["repeats"] == 3
    assert [(gap.from_id, gap.status) for gap in desk.gaps] == [(9, "repaired")]


def test_what_rest_brings_is_in_the_ledger_when_the_delivery_returns(simulate: Simulate) -> None:
    async def main() -> None:
        desk = Desk()
        desk.begin()
        desk.frame(12)
        desk.flush()
        rows = [AggTradeRow(n, 5.0, 1.0, 1, T_MS, True) for n in range(8, 12)]
        delivery = asyncio.create_task(
            desk.intake.deliver(agg_trades_batch(rows, desk.intake.decoder.symbols, "BTCUSDT", 1))
        )
        await asyncio.sleep(0)
        assert not delivery.done()
        desk.flush()
        await delivery
        assert desk.intake.continuity.open_gaps() == []
        assert desk.ids() == [*range(8), 12, 8, 9, 10, 11]
        assert [gap.status for gap in desk.gaps] == ["open", "repaired"]

    simulate(main())


def test_what_rest_brings_does_not_move_the_watermark(simulate: Simulate) -> None:
    async def main() -> None:
        desk = Desk()
        desk.begin()
        before = desk.out[-1].watermark_ns
        rows = [AggTradeRow(8, 5.0, 1.0, 1, T_MS + 3_600_000, True)]
        task = asyncio.create_task(
            desk.intake.deliver(agg_trades_batch(rows, desk.intake.decoder.symbols, "BTCUSDT", 1))
        )
        await asyncio.sleep(0)
        out = desk.flush()
        assert out is not None
        assert out.watermark_ns == before + 25_000_000
        await task

    simulate(main())


def test_void_ids_wait_for_the_next_batch_with_ticks() -> None:
    desk = Desk()
    desk.begin()
    desk.frame(8, size="0")
    assert desk.flush(EMPTY_EVERY_NS).void == ()  # type: ignore[union-attr]
    desk.frame(8, symbol="ETHUSDT")
    out = desk.flush()
    assert out is not None
    assert out.void == ((0, 8),)
    desk.frame(9)
    assert desk.flush().void == ()  # type: ignore[union-attr]
    assert desk.gaps == []


def test_blind_the_watermark_stands_and_after_it_until_the_tails_are_audited_and_the_holes_filled() -> None:
    desk = Desk()
    desk.begin()
    desk.flush(sighted=False)
    stood = desk.flush(EMPTY_EVERY_NS, sighted=False)
    assert stood is not None
    desk.frame(10)
    assert desk.flush(audited=False).watermark_ns == stood.watermark_ns  # type: ignore[union-attr]
    assert desk.flush(EMPTY_EVERY_NS).watermark_ns == stood.watermark_ns  # type: ignore[union-attr]
    desk.frame(8)
    desk.frame(9)
    assert desk.flush().watermark_ns > stood.watermark_ns  # type: ignore[union-attr]


def test_before_the_first_tick_nothing_is_held() -> None:
    desk = Desk()
    for _ in range(3):
        desk.flush(EMPTY_EVERY_NS, sighted=False)
    for number in range(8):
        desk.frame(number)
    assert desk.flush(audited=False).watermark_ns > 0  # type: ignore[union-attr]


def test_lines_renewed_since_all_was_well_for_the_last_time_must_have_been_audited() -> None:
    desk = Desk()
    desk.begin()
    well_ns = desk.now_ns
    asked: list[int] = []
    for sighted in (False, False, True):
        desk.now_ns += 10_000_000
        desk.intake.look(
            desk.now_ns, desk.clock_ns(), sighted=sighted, audited=lambda since_ns: bool(asked.append(since_ns))
        )
    assert asked == [well_ns]


def test_a_hole_from_before_the_blindness_does_not_prolong_it() -> None:
    desk = Desk()
    desk.begin()
    desk.frame(10)
    desk.flush(S)
    desk.flush(S, sighted=False)
    stood = desk.out[-1].watermark_ns
    assert desk.flush(S).watermark_ns > stood  # type: ignore[union-attr]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1), st.booleans(), st.booleans()), max_size=80))
def test_however_frames_come_each_id_leaves_once_and_time_never_goes_back(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    desk = Desk()
    desk.begin()
    given_ids: dict[str, set[int]] = {"BTCUSDT": set(range(8)), "ETHUSDT": set(range(8))}
    for number, symbol, flush, sighted in steps:
        name = ("BTCUSDT", "ETHUSDT")[symbol]
        desk.frame(number, symbol=name)
        given_ids[name].add(number)
        if flush:
            desk.flush(sighted=sighted)
    desk.flush()
    for name, numbers in given_ids.items():
        assert sorted(desk.ids(name)) == sorted(numbers)
    marks: list[Any] = [batch.watermark_ns for batch in desk.out]
    assert marks == sorted(marks)
