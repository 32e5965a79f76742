"""Where recursions begin: at the same slots for everybody, a lookback apart, spread over pairs by their names."""

from __future__ import annotations

import numpy as np

from pairscope.market.anchors import anchor_of, epoch_of, even_slots, offset_of


def test_an_epoch_is_a_lookback_of_slots_from_its_anchor_on() -> None:
    lookback, offset = 7, 3
    slots = np.arange(-20, 40)
    epochs = epoch_of(slots, lookback, offset)
    for epoch in range(-2, 5):
        mine = slots[epochs == epoch]
        assert (mine[0], mine.size) == (anchor_of(epoch, lookback, offset), lookback)
        assert {epoch_of(int(slot), lookback, offset) for slot in mine} == {epoch}


def test_names_spread_the_anchors_of_many_pairs_over_the_lookback() -> None:
    offsets = np.array([offset_of(f"A{i}USDT:BTCUSDT", 1000) for i in range(1000)])
    assert (offsets.min(), offsets.max()) >= (0, 900)
    assert np.histogram(offsets, bins=10, range=(0, 1000))[0].min() > 50
    assert offset_of("ETHUSDT:BTCUSDT", 1000) != offset_of("BTCUSDT:ETHUSDT", 1000)


def test_rows_without_times_end_with_an_epoch() -> None:
    for size in (1, 6, 7, 30):
        slots = even_slots(size, 7, 3)
        assert (slots.size, int(slots[0]) >= 0) == (size, True)
        assert epoch_of(int(slots[-1]) + 1, 7, 3) == epoch_of(int(slots[-1]), 7, 3) + 1
