"""What tests of alerts share: paths of prices that say themselves where a rule must fire, and the walk along them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.updates import Updates
from pairscope.market.alert_rules import AlertFiring, AlertRule, AlertState
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

NOON_NS = 1_722_513_600_000_000_000
SECOND = 1_000_000_000
MS = 1_000_000

Trade = tuple[str, int, float, float]
"""Symbol, trade id, seconds after noon, price."""


class Walk:
    """An engine with its book of alerts, taken along a path batch by batch, as the pipeline does it."""

    def __init__(self, names: Iterable[str] = ("BTCUSDT",), *, remember: bool = False) -> None:
        self.engine = DataProcessor(Symbols(names))
        self.book = AlertBook(self.engine.symbols_table, self.engine, remember=remember)
        self.fired: list[AlertFiring] = []
        self.between: Callable[[Updates], None] = lambda _: None

    def rule(self, id: str = "rule", *, state: AlertState | None = None, **fields: Any) -> AlertRule:  # noqa: A002
        """Follow a rule, of the price of BTCUSDT and without a cooldown where it does not say otherwise."""
        rule = rule_of(id, fields)
        self.book.put(rule, state)
        return rule

    def trades(self, trades: Sequence[Trade], *, until_s: float | None = None) -> list[AlertFiring]:
        """Take trades as one batch, with the time up to ``until_s`` (the newest trade where it is left out)."""
        newest = max((at_s for _, _, at_s, _ in trades), default=0.0)
        watermark_ns = NOON_NS + round((newest if until_s is None else until_s) * SECOND)
        return self.take(batch_of(self.engine.symbols_table, trades, watermark_ns))

    def take(self, batch: TickBatch) -> list[AlertFiring]:
        """Take a batch; return what fired."""
        self.book.on_ticks(batch)
        updates = self.engine.on_batch(batch)
        self.between(updates)
        self.book.on_updates(updates)
        fired = self.book.firings()
        self.fired += fired
        return fired

    def restart(self) -> None:
        """Let a new book take up the rules where the old one leaves them, by way of what the records hold."""
        import json

        old, table = self.book, self.engine.symbols_table
        self.book = AlertBook(table, self.engine)
        for rule in old.rules():
            document, state = (json.loads(json.dumps(d)) for d in (rule.document(), old.state(rule.id).document()))
            self.book.put(AlertRule.from_document(rule.id, document), AlertState.from_document(state))


def rule_of(id: str, fields: Mapping[str, Any]) -> AlertRule:  # noqa: A002
    """A rule of the price of BTCUSDT without a cooldown, where its fields do not say otherwise."""
    own: dict[str, Any] = {"cooldown_s": 0}
    if "conditions" not in fields:
        own |= {"type": "price"}
        own |= {} if "y" in fields else {"symbol": "BTCUSDT"}
    return AlertRule.from_document(id, own | dict(fields))


def batch_of(symbols: Symbols, trades: Sequence[Trade], watermark_ns: int) -> TickBatch:
    """Trades as a batch, each received a millisecond after it happened, one microsecond after another."""
    n = len(trades)
    times = np.array([NOON_NS + round(at_s * SECOND) for _, _, at_s, _ in trades], np.int64)
    came = np.maximum.accumulate(times + MS) + np.arange(n) * 1000 if n else times
    return TickBatch(
        symbols,
        np.array([symbols.id_of(name) for name, *_ in trades], np.int32),
        times,
        came,
        np.array([trade_id for _, trade_id, _, _ in trades], np.int64),
        np.array([price for *_, price in trades], np.float64),
        np.ones(n),
        np.zeros(n, np.bool_),
        watermark_ns,
    )


def path_of(text: str) -> tuple[list[float], list[int]]:
    """Return the prices of a path, and the places of those with a star: there the rule must fire."""
    words = text.split()
    return [float(word.rstrip("*")) for word in words], [i for i, word in enumerate(words) if word.endswith("*")]


def walk_path(walk: Walk, prices: Sequence[float], *, first_id: int = 1, first_s: float = 0.0) -> list[int]:
    """Take one trade a second, each second's bar closed before the next; return the places at which something fired."""
    places = []
    for i, price in enumerate(prices):
        fired = walk.trades([("BTCUSDT", first_id + i, first_s + i, price)])
        fired += walk.trades([], until_s=first_s + i + 1)
        places += [i for _ in fired]
    return places
