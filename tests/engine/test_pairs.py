"""Live pairs: stepped at common bars, looked at between them, honest about what is missing or stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook, Wanted, warm_up
from pairscope.market.bars import BarBatch, bars_of
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

from .conftest import MINUTE, SECOND, exchange_bars

Y, X = "ETHUSDT", "BTCUSDT"
PAIR = PairSettings(Y, X, "1s", lookback=50, window=10)


class Desk:
    """An engine with one pair, fed a second at a time."""

    def __init__(self, ticks_of: Callable[..., TickBatch], noon_ns: int, settings: PairSettings = PAIR) -> None:
        self.symbols = Symbols([Y, X])
        self.engine = DataProcessor(self.symbols)
        self.noon_ns, self.ticks_of, self.number = noon_ns, ticks_of, 0
        self.batch([], -1.0)
        self.book = PairBook(self.symbols, self.engine)
        self.book.put(settings)
        for wanted in self.book.lacking():
            self.read(wanted)
        self.book.settle()

    def read(self, wanted: Wanted, bars: BarBatch | None = None) -> None:
        asked = self.book.begin(wanted)
        assert asked is not None
        self.book.fill(wanted, asked[1], BarBatch.empty(self.symbols, wanted.timeframe) if bars is None else bars)

    def batch(self, trades: list[tuple[str, float, float]], until_s: float) -> TickBatch:
        """Trades as (symbol, seconds after noon, price), under a watermark."""
        rows = []
        for symbol, at_s, price in trades:
            self.number += 1
            rows.append((symbol, self.number, self.noon_ns + round(at_s * SECOND), str(price), "1", True))
        batch = self.ticks_of(rows, symbols=self.symbols, watermark_ns=self.noon_ns + round(until_s * SECOND))
        updates = self.engine.on_batch(batch)
        if hasattr(self, "book"):
            self.book.take(updates)
        return batch

    def second(self, i: int, y: float | None, x: float | None) -> None:
        """One second with a trade of each leg that has a price, then the watermark passes it."""
        prices = ((Y, y), (X, x))
        self.batch([(s, i + 0.5, price) for s, price in prices if price is not None], i + 1.0)

    def view(self, *, closed: bool = False) -> Mapping[str, Any]:
        view = self.book.view(Y, X, closed=closed)
        assert view is not None
        return view


@pytest.fixture
def desk(ticks_of: Callable[..., TickBatch], noon_ns: int) -> Desk:
    return Desk(ticks_of, noon_ns)


def prices(n: int, seed: int = 5) -> list[tuple[float, float]]:
    rng = np.random.default_rng(seed)
    x = 60_000 + np.cumsum(rng.standard_normal(n) * 10)
    y = 3_000 * (x / 60_000) ** 1.2 + rng.standard_normal(n)
    return list(zip(y.round(2).tolist(), x.round(1).tolist(), strict=True))


def test_before_its_history_is_there_a_pair_says_so(noon_ns: int) -> None:
    symbols = Symbols([Y, X])
    book = PairBook(symbols, DataProcessor(symbols))
    book.put(PAIR)
    view = book.view(Y, X)
    assert view is not None
    assert (view["reason"].startswith("history is being read"), view["spread"]["zscore"]) == (True, None)
    assert sorted(wanted.symbol for wanted in book.lacking()) == [X, Y]
    assert book.view(X, Y) is None


def test_too_few_bars_in_common_are_counted_aloud(desk: Desk) -> None:
    for i, (y, x) in enumerate(prices(12)):
        desk.second(i, y, x if i % 2 else None)
    view = desk.view(closed=True)
    assert (view["n"], view["spread"]["zscore"]) == (6, None)
    assert view["reason"] == "needs 30 bars in common, has 6"


def test_a_pair_steps_at_bars_that_both_legs_have(desk: Desk) -> None:
    told: list[int] = []
    desk.book.moved()
    for i, (y, x) in enumerate(prices(40)):
        desk.second(i, y, x if i % 4 else None)
        told.append(len(desk.book.moved()))
    assert told == [int(i % 4 > 0) for i in range(40)]
    view = desk.view(closed=True)
    assert (view["n"], view["timestamp"]) == (30, desk.noon_ns // 1_000_000 + 39_000)
    assert view["hedge_ratio"]["ols"]["beta"] == pytest.approx(1.2, abs=0.3)
    assert (view["prices"]["y"], view["prices"]["x"]) == prices(40)[-1]


@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
@pytest.mark.parametrize("space", ["log", "linear"])
def test_what_a_pair_says_of_an_open_bar_is_what_it_says_when_that_bar_has_closed(
    ticks_of: Callable[..., TickBatch], noon_ns: int, method: Any, space: Any
) -> None:
    desk = Desk(ticks_of, noon_ns, PairSettings(Y, X, "1s", 50, 10, method, space))
    for i, (y, x) in enumerate(prices(130)):
        desk.batch([(Y, i + 0.2, y), (X, i + 0.3, x)], i + 0.4)
        if i % 7 or i < 60:
            continue
        before = desk.view(closed=True)
        early = dict(desk.view())
        assert early["timestamp"] == desk.noon_ns // 1_000_000 + i * 1000
        assert early["spread"]["zscore"] != before["spread"]["zscore"]
        assert desk.view(closed=True) == before
        desk.batch([], i + 1.0)
        late = desk.view(closed=True)
        assert (early["closed"], late["closed"]) == (False, True)
        for part in ("spread", "correlation", "prices", "timestamp", "n"):
            assert early[part] == late[part], part
        assert early["hedge_ratio"]["kalman"] == late["hedge_ratio"]["kalman"]
        used = late["hedge_ratio"][method]
        y_now, x_now = (np.log(p) if space == "log" else p for p in (y, x))
        assert late["spread"]["last"] == pytest.approx(y_now - used["alpha"] - used["beta"] * x_now, abs=1e-7)


def test_a_leg_that_no_longer_trades_makes_the_pair_stale_and_is_named(desk: Desk) -> None:
    for i, (y, x) in enumerate(prices(40)):
        desk.second(i, y, x)
    fresh = desk.view(closed=True)
    assert (fresh["stale"], fresh["stale_leg"], fresh["age_ms"], fresh["reason"]) == (False, None, 500, None)
    for i in range(40, 101):
        desk.second(i, 3000.0 + i, None)
    view = desk.view(closed=True)
    assert (view["stale"], view["stale_leg"], view["ages_ms"]) == (True, "x", {"y": 500, "x": 61_500})
    assert view["age_ms"] == 61_500
    assert "BTCUSDT last traded 62 s ago" in view["reason"]


def test_a_pair_without_a_bar_in_common_for_a_lookback_has_no_figures(desk: Desk) -> None:
    for i, (y, x) in enumerate(prices(40)):
        desk.second(i, y, x)
    for i in range(40, 91):
        desk.second(i, 3000.0 + i, None)
    view = desk.view()
    assert (view["n"], view["timestamp"], view["spread"]["zscore"]) == (0, None, None)
    assert view["reason"].startswith("no bar in common within the last 50 bars")


def test_a_late_tick_that_moves_a_close_recomputes_the_pair_and_one_that_does_not_leaves_it(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    late, timely = Desk(ticks_of, noon_ns), Desk(ticks_of, noon_ns)
    for i, (y, x) in enumerate(prices(90)):
        timely.batch([(Y, i + 0.5, y), (X, i + 0.6, x)], i + 1.0)
        late.batch([(Y, i + 0.5, y), (X, i + 0.6, x if i != 70 else 61_234.5)], i + 1.0)
    assert late.view(closed=True) != timely.view(closed=True)
    rebuilt = late.book.counters()["rebuilt"]
    late.number += 1_000
    late.batch([(X, 70.9, prices(90)[70][1])], 90.0)
    assert late.book.counters()["rebuilt"] == rebuilt + 1
    late.number -= 1_100
    late.batch([(X, 70.1, 59_000.0)], 90.0)
    assert late.book.counters()["rebuilt"] == rebuilt + 1
    ours, theirs = late.view(closed=True), timely.view(closed=True)
    for part in ("hedge_ratio", "spread", "correlation", "sentinel"):
        assert ours[part] == theirs[part]


def test_what_closes_while_history_is_being_read_is_kept_over_it(desk: Desk) -> None:
    for i, (y, x) in enumerate(prices(60)):
        desk.second(i, y, x)
    before = desk.view(closed=True)
    desk.book.reload([X])
    [wanted] = desk.book.lacking()
    asked = desk.book.begin(wanted)
    assert asked is not None
    assert desk.book.lacking() == []
    desk.second(60, 3001.0, 60_001.0)
    ticks = desk.ticks_of([(X, 1, desk.noon_ns + 60 * SECOND, "1", "1", True)], symbols=desk.symbols)
    desk.book.fill(wanted, asked[1], bars_of(ticks, "1s"))
    desk.book.settle()
    view = desk.view(closed=True)
    assert (view["prices"]["x"], view["n"], before["n"]) == (60_001.0, 50, 50)


def test_the_exchange_s_bar_of_a_minute_that_has_not_closed_counts_when_it_has(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    desk = Desk(ticks_of, noon_ns, PairSettings(Y, X, "1m", lookback=40, window=5))
    closes = [[row[leg] for row in prices(41)] for leg in (0, 1)]
    for leg, symbol in enumerate((Y, X)):
        desk.book.reload([symbol])
        bars = exchange_bars(desk.symbols, symbol, noon_ns - 40 * MINUTE, closes[leg])
        desk.read(Wanted(symbol, "1m"), bars)
    desk.book.settle()
    assert desk.view(closed=True)["timestamp"] == (noon_ns - 2 * MINUTE) // 1_000_000
    desk.batch([], 0.0)
    assert desk.view(closed=True)["timestamp"] == (noon_ns - MINUTE) // 1_000_000
    desk.batch([], 60.0)
    view = desk.view(closed=True)
    assert (view["timestamp"], view["prices"]["y"], view["n"]) == (noon_ns // 1_000_000, closes[0][-1], 40)


def test_after_a_long_silence_of_the_whole_market_a_pair_stands_where_one_that_starts_now_does(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    desk = Desk(ticks_of, noon_ns)
    rows = prices(400)
    for i, (y, x) in enumerate(rows[:100]):
        desk.second(i, y, x)
    both = [row for i, (y, x) in enumerate(rows) if i >= 100 for row in ((Y, i + 0.5, y), (X, i + 0.6, x))]
    desk.batch(both, 400.0)
    view = desk.view(closed=True)
    desk.book.put(PairSettings(Y, X, "1s", lookback=51, window=10))
    desk.book.put(PAIR)
    bars = [desk.engine.recent_bars(symbol, "1s", 600) for symbol in (Y, X)]
    for symbol, held in zip((Y, X), bars, strict=True):
        desk.book.reload([symbol])
        desk.read(Wanted(symbol, "1s"), held)
    desk.book.settle()
    assert desk.view(closed=True) == view


def test_a_longer_lookback_reads_more_history_and_a_pair_that_is_let_go_gives_its_rows_back(desk: Desk) -> None:
    assert desk.book.lacking() == []
    desk.book.put(PairSettings(Y, X, "1s", lookback=500))
    assert {wanted.symbol for wanted in desk.book.lacking()} == {Y, X}
    assert desk.book.remove(Y, X)
    assert not desk.book.remove(Y, X)
    assert (desk.book.lacking(), desk.book.view(Y, X), desk.book.counters()["pairs"]) == ([], None, 0)


def test_a_hedge_that_does_not_vary_and_a_spread_that_does_not_are_told_apart(
    ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    flat, straight = (Desk(ticks_of, noon_ns, PairSettings(Y, X, "1s", 50, 10, price_space="linear")) for _ in range(2))
    for i, (y, x) in enumerate(prices(60)):
        flat.second(i, y, 60_000.0)
        straight.second(i, 2 * x, x)
    assert flat.view(closed=True)["reason"].startswith("no hedge ratio by ols: BTCUSDT does not vary")
    view = straight.view(closed=True)
    assert view["hedge_ratio"]["ols"]["beta"] == pytest.approx(2.0)
    assert view["reason"] == "the spread is constant over 10 bars"
    assert view["sentinel"]["status"] == "training"


def test_kernels_can_be_compiled_before_anybody_waits_for_them() -> None:
    warm_up()
