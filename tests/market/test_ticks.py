"""Batches of ticks: taking, joining, naming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

Make = Callable[..., TickBatch]
COLUMNS = [field.name for field in fields(TickBatch)][1:8]


@pytest.fixture
def ticks(ticks_of: Make, market_rows: Any) -> TickBatch:
    return ticks_of(market_rows(trades=50), watermark_ns=7)


def columns(batch: TickBatch) -> list[list[Any]]:
    return [getattr(batch, name).tolist() for name in COLUMNS]


@pytest.mark.parametrize("at", [0, 1, 25, 50])
def test_parts_of_a_batch_join_to_the_whole(ticks: TickBatch, at: int) -> None:
    joined = concat_ticks([ticks.take(slice(0, at)), ticks.take(slice(at, None)).with_watermark(3)])
    assert columns(joined) == columns(ticks)
    assert joined.watermark_ns == 7
    assert [getattr(joined, name).dtype for name in COLUMNS] == [getattr(ticks, name).dtype for name in COLUMNS]


def test_taking_by_mask_index_and_slice_agrees(ticks: TickBatch) -> None:
    mask = np.arange(50) % 3 == 0
    by_mask, by_index, by_slice = ticks.take(mask), ticks.take(np.flatnonzero(mask)), ticks.take(slice(0, 50, 3))
    assert columns(by_mask) == columns(by_index) == columns(by_slice)
    assert len(by_mask) == 17


def test_ticks_of_a_symbol_are_its_own_in_their_order(ticks: TickBatch) -> None:
    own = ticks.of_symbol("btcusdt")
    rows = [k for k in range(50) if ticks.symbols[int(ticks.symbol_id[k])] == "BTCUSDT"]
    assert own.trade_id.tolist() == ticks.trade_id[rows].tolist()
    assert len(ticks.of_symbol("XRPUSDT")) == 0


def test_void_ids_are_kept_by_every_way_of_taking_and_joining(ticks: TickBatch) -> None:
    with_void = replace(ticks, void=((0, 5), (1, 6)))
    assert with_void.take(slice(0, 1)).void == with_void.void
    assert concat_ticks([with_void, replace(ticks, void=((0, 9),))]).void == ((0, 5), (1, 6), (0, 9))


def test_an_empty_batch_carries_time_and_the_columns_of_any_other(ticks: TickBatch) -> None:
    empty = TickBatch.empty(Symbols(), 12)
    assert (len(empty), empty.watermark_ns) == (0, 12)
    assert [getattr(empty, name).dtype for name in COLUMNS] == [getattr(ticks, name).dtype for name in COLUMNS]


def test_a_batch_cannot_be_changed(ticks: TickBatch) -> None:
    with pytest.raises(FrozenInstanceError):
        ticks.watermark_ns = 1  # type: ignore[misc]


def test_joining_nothing_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="batches"):
        concat_ticks([])
