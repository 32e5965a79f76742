"""How a rule stands: what its conditions' edges come to, and whether a firing may be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan

from pairscope.engine.alert_gauges import Gauge, Moment, Watch
from pairscope.engine.alert_machine import FAR, UNSEEN, holds
from pairscope.market.alert_conditions import AlertCondition
from pairscope.market.alert_rules import RECENT, STORM_NS, AlertFiring, AlertRule, AlertState
from pairscope.market.alert_terms import BANDS

__all__ = ["Edge", "Standing", "standing_of"]

Edge = tuple[int, float]
"""A condition has come true: which one (its index), and at which value."""


@dataclass(slots=True, eq=False)
class Standing:
    """A rule with its counts; ``watches`` and ``gauges`` are its conditions' machines and what they watch."""

    rule: AlertRule
    watches: tuple[Watch, ...]
    gauges: list[Gauge] = field(default_factory=list)
    status: str = "active"
    reason: str = ""
    fired: int = 0
    suppressed: int = 0
    last_ns: int = -1
    recent: list[int] = field(default_factory=list)
    storms: int = 0

    def state(self) -> AlertState:
        """Return what is to be kept of the rule."""
        phases = tuple(watch.phase for watch in self.watches)
        recent = tuple(self.recent)
        return AlertState(self.status, self.reason, self.fired, self.suppressed, self.last_ns, recent, phases)

    def take(self, edges: Sequence[Edge], moment: Moment) -> list[AlertFiring]:
        """Return the firings that edges of one moment come to; none where the conditions' join says otherwise."""
        conditions = self.rule.conditions
        if len(conditions) > 1 and self.rule.join == "and":
            if any(one.crossing for one in conditions):
                edges = [edge for edge in edges if conditions[edge[0]].crossing]
            came_true = {index for index, _ in edges}
            others = (watch for i, watch in enumerate(self.watches) if i not in came_true)
            if not edges or not all(holds(watch.phase) for watch in others):
                return []
            edges = edges[-1:]
        found = []
        for index, value in edges:
            if self.status == "active" and self._may(moment):
                found.append(self._fire(index, value, moment))
        return found

    def expire(self) -> None:
        """End the rule: its time is over."""
        self.status, self.reason = "done", "expired"

    def _may(self, moment: Moment) -> bool:
        """Return whether a firing of a moment may be told; count it where it may not."""
        rule, time_ns = self.rule, moment.time_ns
        if rule.expires_ns is not None and time_ns >= rule.expires_ns:
            return False
        before = self.recent if moment.late else ([self.last_ns] if self.last_ns >= 0 else [])
        near = any(abs(time_ns - fired_ns) < rule.cooldown_ns for fired_ns in before)
        if rule.frequency == "once_per_bar":
            near = near or any(time_ns // rule.step_ns == fired_ns // rule.step_ns for fired_ns in before)
        self.suppressed += near
        return not near

    def _fire(self, index: int, value: float, moment: Moment) -> AlertFiring:
        rule, time_ns = self.rule, moment.time_ns
        self.fired += 1
        self.last_ns = max(self.last_ns, time_ns)
        self.recent = sorted([*self.recent, time_ns])[-RECENT:]
        storm = len(self.recent) == RECENT and self.recent[-1] - self.recent[0] <= STORM_NS
        if rule.frequency == "once":
            self.status, self.reason = "done", "fired once"
        elif storm:
            self.status, self.reason = "paused", f"fired {RECENT} times within {STORM_NS // 60_000_000_000} minutes"
            self.storms += 1
        values = [gauge.value for gauge in self.gauges] or [nan]
        values[index] = value
        return AlertFiring(
            rule.id,
            self.fired,
            time_ns,
            moment.recv_ns,
            moment.watermark_ns,
            moment.symbol,
            moment.trade_id,
            index,
            value,
            _threshold(rule.conditions[index], value),
            tuple(values),
            moment.late,
            storm,
        )


def standing_of(rule: AlertRule, watches: tuple[Watch, ...], state: AlertState | None) -> Standing:
    """Return a rule as a state says that it stood; its machines' phases with it."""
    made = Standing(rule, watches)
    if state is None:
        return made
    made.status, made.reason = state.status, state.reason
    made.fired, made.suppressed, made.last_ns = state.fired, state.suppressed, state.last_ns
    made.recent = list(state.recent)
    if len(state.conditions) == len(watches):
        for watch, phase in zip(watches, state.conditions, strict=True):
            watch.phase, watch.kept = (phase if UNSEEN < phase <= FAR + 1 else UNSEEN), True
    return made


def _threshold(condition: AlertCondition, value: float) -> float:
    """Return the threshold that a value has passed: of a band the edge that it is nearer to."""
    lower, upper = condition.lower, condition.upper
    if condition.condition not in BANDS or lower is None or upper is None:
        return condition.level
    return lower if abs(value - lower) <= abs(value - upper) else upper
