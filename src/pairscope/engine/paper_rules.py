"""What is followed on paper: a rule on a pair with its terms, what it does, and what is kept of it over a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from pairscope.analytics.pair_terms import PairTerms
from pairscope.analytics.signals import SignalRule
from pairscope.market.anchors import anchor_of, epoch_of, offset_of
from pairscope.market.bars import timeframe_ns
from pairscope.market.ticks import F8

__all__ = ["Kept", "PaperEvent", "PaperRule", "begin_of", "need_of", "rule_of_text", "rule_text"]


@dataclass(frozen=True, slots=True)
class PaperRule:
    """A rule on a pair. Bars from ``begin_ns`` on are its history, those from ``since_ns`` on are decided on.

    ``method`` is ols, huber, kalman or fixed, whose hedge ratio is ``beta``.
    """

    id: str
    y: str
    x: str
    timeframe: str
    method: str
    beta: float
    lookback: int
    window: int
    rule: SignalRule
    terms: PairTerms
    begin_ns: int
    since_ns: int


class Kept(NamedTuple):
    """What a rule goes on from: the bar that it decides next, the bar of its last entry's fill, its state."""

    next_ns: int
    entry_ns: int
    state: F8


@dataclass(frozen=True, slots=True)
class PaperEvent:
    """What a rule did at a bar (its open time): ``decision`` or ``fill``, which order, and the numbers of it.

    ``number`` counts the events of one bar; ``fields`` are z-score, hedge ratio and prices of the moment, of a fill
    that closed a position the whole trade; ``kept`` is how the rule stood after the bar.
    """

    id: str
    time_ns: int
    number: int
    kind: str
    order: str
    fields: Mapping[str, float | str]
    kept: Kept


def begin_of(key: str, timeframe: str, lookback: int, since_ns: int) -> int:
    """Return where the history of a rule begins: at the pair's anchor between one and two lookbacks before its start.

    >>> minute = 60_000_000_000
    >>> begin_of("ETHUSDT:BTCUSDT", "1m", 1440, 5000 * minute) // minute
    3136
    """
    step_ns = timeframe_ns(timeframe)
    offset = offset_of(key, lookback)
    epoch = epoch_of(since_ns // step_ns, lookback, offset)
    return max(0, anchor_of(epoch - 1, lookback, offset)) * step_ns


def need_of(rule: PaperRule) -> int:
    """Return how many bars a rule reads at a step, and one."""
    return max(rule.lookback if rule.method in ("ols", "huber") else 0, rule.window) + 1


def rule_text(rule: PaperRule, kept: Kept | None = None) -> str:
    """Return a rule and how it stands as text; ``rule_of_text`` reads it back, to the last bit."""
    made = {**asdict(rule), "rule": rule.rule._asdict(), "terms": rule.terms._asdict()}
    stands = None if kept is None else {**kept._asdict(), "state": kept.state.tolist()}
    return json.dumps({"rule": made, "kept": stands})


def rule_of_text(text: str) -> tuple[PaperRule, Kept | None]:
    """Return the rule that a text stands for, and how it stands; None where it has not begun."""
    made, kept = (json.loads(text)[name] for name in ("rule", "kept"))
    rule = PaperRule(**{**made, "rule": SignalRule(**made["rule"]), "terms": PairTerms(**made["terms"])})
    return rule, None if kept is None else Kept(kept["next_ns"], kept["entry_ns"], np.array(kept["state"]))
