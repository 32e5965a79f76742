"""Paper positions step as a backtest does, whatever the method; what was decided stays where a bar is corrected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import backtest_pair
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.paper import PaperBook
from pairscope.engine.paper_rules import Kept, PaperEvent, PaperRule, rule_of_text, rule_text
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.research.paper_check import COMPARED, paper_request, paper_terms

SECOND = 1_000_000_000
START = 1_760_000_000 * SECOND
BARS = 400
NAMES = ("YUSDT", "XUSDT")
METHODS = ("ols", "huber", "kalman", "fixed")


def closes(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = 100.0 * np.exp(np.cumsum(rng.standard_normal(BARS)) * 1e-3)
    gap = np.sin(np.arange(BARS) / 9.0) * 2e-3 + rng.standard_normal(BARS) * 4e-4
    return np.round(50.0 * (x / 100.0) ** 0.8 * np.exp(gap), 4), np.round(x, 4)


def ticks_at(symbols: Symbols, second: int, y: float, x: float, *, first_id: int) -> TickBatch:
    times = np.full(2, START + second * SECOND + 500_000_000)
    return TickBatch(
        symbols, np.array([0, 1], np.int32), times, times, np.array([first_id, first_id]), np.array([y, x]),
        np.ones(2), np.zeros(2, np.bool_), START + second * SECOND,
    )  # fmt: skip


def rule_of(method: str, *, since: int = 150, **terms: Any) -> PaperRule:
    hedge = 0.8 if method == "fixed" else {"method": method, "lookback": 60}
    body = {"y": NAMES[0], "x": NAMES[1], "timeframe": "1s", "hedge": hedge, "window": 20, "entry": 1.2, "exit": 0.2}
    request = paper_request({**body, **terms})
    rule, made = paper_terms(request)
    return PaperRule(
        f"{method}-1", *NAMES, "1s", method, request.beta or 0.0, request.lookback, request.window, rule, made,
        START + 20 * SECOND, START + since * SECOND,
    )  # fmt: skip


class Live:
    """An engine over one-second bars of two symbols, and a book beside it."""

    def __init__(self) -> None:
        self.symbols = Symbols(NAMES)
        self.engine = DataProcessor(self.symbols)
        self.book = PaperBook(self.symbols)
        self.events: list[PaperEvent] = []
        self.y, self.x = closes()

    def run(self, start: int, end: int) -> None:
        for second in range(start, end):
            batch = ticks_at(self.symbols, second, self.y[second], self.x[second], first_id=second + 1)
            self.take(batch)

    def take(self, batch: TickBatch) -> None:
        updates = self.engine.on_batch(batch)
        self.book.take(updates)
        self.read()

    def read(self) -> None:
        for rule in self.book.lacking():
            self.book.begin(rule.id)
            legs = [self.engine.recent_bars(name, "1s", 10_000) for name in NAMES]
            self.book.fill(rule.id, *legs)
        self.events += self.book.events()


def trades_of(events: list[PaperEvent]) -> list[Any]:
    return [event for event in events if event.kind == "fill" and "exit_value" in event.fields]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("terms", [{}, {"fill": "open", "stop": 3.0, "cooldown": 4, "max_holding": 25}])
def test_a_paper_position_is_the_backtest_of_the_same_stretch_to_the_last_bit(
    method: str, terms: dict[str, Any]
) -> None:
    live, rule = Live(), rule_of(method, **terms)
    live.run(0, 151)
    live.book.put(rule)
    live.run(151, BARS)
    stands = live.book.view(rule.id)
    assert stands is not None
    decided = (stands["next_ns"] - START) // SECOND
    y, x = live.y[20:decided], live.x[20:decided]
    gate = np.arange(20, decided) >= 150
    columns = {"open_y": y, "open_x": x} if terms else {}
    hedge: Any = 0.8 if method == "fixed" else method
    tested = backtest_pair(
        y, x, hedge=hedge, lookback=60, window=20, entry=1.2, exit=0.2, fee_bps=4.0, slippage_bps=1.0, gate=gate,
        timestamps=START + SECOND * np.arange(20, decided), **terms, **columns,
    )  # fmt: skip
    closed = [trade for trade in tested.trades if trade.reason != "end"]
    events = trades_of(live.events)
    assert len(events) == len(closed) >= 5
    for event, trade in zip(events, closed, strict=True):
        fields = {**event.fields, "side": "long" if event.fields["side"] == 1.0 else "short", "reason": event.order}
        assert {name: fields[name] for name in COMPARED} == {name: trade[name] for name in COMPARED}
        assert (event.fields["entry_ns"], event.time_ns) == (trade.entry_timestamp, trade.exit_timestamp)
    assert stands["equity"] == tested.equity["equity"][-1]
    entered = [event.fields for event in live.events if event.order == "enter" and event.kind == "decision"]
    assert [fields["zscore"] for fields in entered][: len(closed)] == [trade.entry_zscore for trade in closed]


def test_what_was_decided_stays_where_a_late_tick_corrects_its_bar_and_what_follows_sees_the_correction() -> None:
    live, rule = Live(), rule_of("ols")
    live.run(0, 151)
    live.book.put(rule)
    live.run(151, 300)
    before, trades = list(live.events), len(trades_of(live.events))
    late = ticks_at(live.symbols, 200, live.y[200] * 1.01, live.x[200], first_id=201)
    late = replace(late.take(slice(0, 1)), trade_id=np.array([1_000]))  # the bar's last trade: its close is another now
    live.take(late.with_watermark(START + 299 * SECOND))
    live.read()
    assert live.events == before
    other = Live()
    other.run(0, 151)
    other.book.put(rule)
    other.run(151, 300)
    live.run(300, 301)
    other.run(300, 301)
    ours, theirs = (one.book.view(rule.id) for one in (live, other))
    assert ours is not None
    assert theirs is not None
    assert ours["beta"] == theirs["beta"], "the corrected bar lies before the lookback of 60"
    live.take(replace(late, ts_event_ns=late.ts_event_ns + 90 * SECOND, trade_id=np.array([1_001])).with_watermark(0))
    live.read()
    live.run(301, 302)
    other.run(301, 302)
    ours, theirs = (one.book.view(rule.id) for one in (live, other))
    assert ours is not None
    assert theirs is not None
    assert ours["beta"] != theirs["beta"]
    assert len(trades_of(live.events)) >= trades


@pytest.mark.parametrize("method", METHODS)
def test_a_rule_that_is_taken_up_from_what_was_kept_goes_on_as_if_it_had_never_stopped(method: str) -> None:
    lasting, rule = Live(), rule_of(method)
    lasting.run(0, 151)
    lasting.book.put(rule)
    lasting.run(151, 260)
    kept = lasting.book.kept(rule.id)
    assert kept is not None
    again, stands = rule_of_text(rule_text(rule, kept))
    assert again == rule
    assert stands is not None
    np.testing.assert_array_equal(stands.state, kept.state)
    restored = Live()
    restored.run(0, 280)
    restored.events.clear()
    restored.book.put(again, Kept(kept.next_ns, kept.entry_ns, stands.state))
    restored.read()
    restored.run(280, BARS)
    done = len(lasting.events)
    lasting.run(260, BARS)

    def bare(events: list[PaperEvent]) -> list[Any]:
        return [(event.time_ns, event.number, event.kind, event.order, dict(event.fields)) for event in events]

    np.testing.assert_equal(bare(restored.events), bare(lasting.events[done:]))
    np.testing.assert_equal(restored.book.view(rule.id), lasting.book.view(rule.id))


def test_a_bar_that_one_leg_alone_has_is_no_bar_of_the_pair() -> None:
    live, rule = Live(), rule_of("fixed")
    live.run(0, 151)
    live.book.put(rule)
    live.run(151, 200)
    stands = live.book.view(rule.id)
    batch = ticks_at(live.symbols, 200, live.y[200], live.x[200], first_id=201)
    live.take(batch.take(slice(0, 1)))
    live.run(201, 203)
    after = live.book.view(rule.id)
    assert stands is not None
    assert after is not None
    assert after["bars"] == stands["bars"] + 2
    assert live.book.remove(rule.id)
    assert not live.book.remove(rule.id)
    assert live.book.view(rule.id) is None
