"""However ticks are cut into batches, every closed bar, price and statistic is the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pairscope.analytics.moments import extend, extend_pair, merge, moments, pair_moments
from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.market.bars import BarBatch, concat_bars
from pairscope.market.ticks import TickBatch


def last_words(updates: list[Updates], kind: str) -> dict[tuple[str, int, int], tuple[Any, ...]]:
    """Every bar that closed or was corrected, by its last version."""
    found = {}
    for update in updates:
        for bars in getattr(update, kind):
            for i in range(len(bars)):
                row = tuple(getattr(bars, name)[i].item() for name in list(BarBatch.__dataclass_fields__)[2:])
                found[bars.timeframe, row[0], row[1]] = row
    return found


def split(batch: TickBatch, before_ns: int, rng: np.random.Generator) -> list[TickBatch]:
    """Cut a batch into pieces; all but the last carry the watermark that was there before."""
    cuts = np.sort(rng.integers(0, len(batch) + 1, 3)).tolist()
    pieces = [batch.take(slice(a, b)).with_watermark(before_ns) for a, b in zip([0, *cuts[:-1]], cuts, strict=True)]
    return [*pieces, batch.take(slice(cuts[-1], None))]


@settings(max_examples=20, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32), span_s=st.sampled_from([30, 600, 20_000]))
def test_cutting_batches_into_pieces_changes_no_bit_late_ticks_or_not(
    market_rows: Any,
    ticks_of: Callable[..., TickBatch],
    in_batches: Any,
    assert_same_state: Callable[[DataProcessor, DataProcessor], None],
    seed: int,
    span_s: int,
) -> None:
    rng = np.random.default_rng(seed)
    ticks = ticks_of(market_rows(seed=seed, trades=500, span_s=span_s))
    # Where a batch spans more than five minutes, a piece of it drags its watermark along; what comes late then differs.
    late = 0.1 if span_s <= 600 else 0.0
    delay = np.where(rng.random(len(ticks)) < late, rng.integers(0, span_s * 300_000_000, len(ticks)), 0)
    ticks = ticks.take(np.argsort(ticks.ts_event_ns + delay, kind="stable"))
    whole, pieces = (DataProcessor(ticks.symbols, windows=(3, 20)) for _ in range(2))
    ours: list[Updates] = []
    theirs: list[Updates] = []
    for batch in in_batches(ticks, rng.integers(1, 60, 40)):
        before_ns = whole.watermark_ns()
        ours.append(whole.on_batch(batch))
        theirs += [pieces.on_batch(piece) for piece in split(batch, before_ns, rng)]
        assert ours[-1].late == sum(update.late for update in theirs[-4:])
        assert {r for u in theirs[-4:] for r in minutes_of(u)} == set(minutes_of(ours[-1]))
        now, then = statistics([ours[-1]]), statistics(theirs[-4:])
        newest = {symbol: max(at for name, at in then if name == symbol) for symbol, _ in then}
        assert all(then[key] == now[key] for key in newest.items())
    for kind in ("closed", "revised"):
        assert last_words(ours, kind) == last_words(theirs, kind)
    assert_same_state(whole, pieces)


def minutes_of(update: Updates) -> list[tuple[str, int]]:
    return [(symbol, at) for symbol, start, end in update.rebuild for at in range(start, end, 60_000_000_000)]


def statistics(updates: list[Updates]) -> dict[tuple[int, int], bytes]:
    """The last statistics of each symbol and minute."""
    return {
        (int(stats.symbol_id[i]), int(stats.ts_open_ns[i])): b"".join(
            column[i].tobytes()
            for column in (stats.mean, stats.std, stats.min, stats.zscore, stats.volatility, stats.vwap)
        )
        for stats in (update.stats for update in updates)
        for i in range(len(stats))
    }


@settings(max_examples=20, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_two_feeds_that_flush_at_other_moments_close_the_same_bars(
    market_rows: Any, ticks_of: Callable[..., TickBatch], in_batches: Any, seed: int, sizes: list[int]
) -> None:
    ticks = ticks_of(market_rows(seed=seed, trades=300))
    engines = [DataProcessor(ticks.symbols) for _ in range(2)]
    rest = len(ticks) - min(sum(sizes), len(ticks))
    ours, theirs = (
        [engine.on_batch(batch) for batch in in_batches(ticks, cut)]
        for engine, cut in zip(engines, ([*sizes, rest], [7] * 43), strict=True)
    )
    assert last_words(ours, "closed") == last_words(theirs, "closed")
    assert statistics(ours) == statistics(theirs)
    assert not any(update.revised for update in (*ours, *theirs))


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 200))
def test_moments_grow_to_the_same_bits_however_cut_and_merge_to_the_same_value(seed: int, cut: int) -> None:
    x, y = np.random.default_rng(seed).standard_normal((2, 200)) + 60_000
    assert extend(moments(x[:cut]), x[cut:]) == moments(x)
    assert extend_pair(pair_moments(x[:cut], y[:cut]), x[cut:], y[cut:]) == pair_moments(x, y)
    np.testing.assert_allclose(merge(moments(x[:cut]), moments(x[cut:])), moments(x), rtol=1e-9, atol=1e-9)


def test_the_last_price_is_that_of_the_highest_id_in_any_order(
    market_rows: Any, ticks_of: Callable[..., TickBatch]
) -> None:
    ticks = ticks_of(market_rows(trades=200, span_s=100))
    for order in (np.arange(200), np.arange(200)[::-1], np.random.default_rng(0).permutation(200)):
        engine = DataProcessor(ticks.symbols)
        prices = [engine.on_batch(ticks.take(order[at : at + 50])).prices for at in range(0, 200, 50)]
        assert max(len(part) for part in prices) <= 2
        for symbol in ticks.symbols:
            own = ticks.of_symbol(symbol)
            view = engine.price(symbol)
            assert view is not None and view["price"] == own.price[own.trade_id.argmax()]
    assert len(concat_bars([engine.recent_bars("BTCUSDT", "1s", 999, with_open=True)])) > 0
