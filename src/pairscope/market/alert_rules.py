"""What a person asks to be told of, and what is known of it: rules of conditions, how they stand, their firings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pairscope.errors import InputError
from pairscope.market.alert_conditions import CONDITION_FIELDS, AlertCondition, refuse_unknown
from pairscope.market.alert_terms import FREQUENCIES, plain_number, plain_time_ns, plain_word
from pairscope.market.bars import timeframe_ns

__all__ = [
    "CONDITION_FIELDS",
    "MOST_CONDITIONS",
    "RECENT",
    "RULE_FIELDS",
    "STORM_NS",
    "AlertCondition",
    "AlertFiring",
    "AlertRule",
    "AlertState",
]

RULE_FIELDS: Final = ("join", "conditions", "frequency", "once", "cooldown_s", "expires")
"""The fields of a rule beside those of its only condition."""
MOST_CONDITIONS: Final = 8
RECENT: Final = 15
"""As many firings within ``STORM_NS`` are a storm: the rule is paused."""
STORM_NS: Final = 180_000_000_000
_COOLDOWN_S: Final = 60.0
_MOST_COOLDOWN_S: Final = 366 * 86_400.0
_NS: Final = 1_000_000_000
_MS: Final = 1_000_000
_NO_CLOSES: Final = ("funding", "staleness", "cointegration")


@dataclass(frozen=True, slots=True)
class AlertRule:
    """What a person asks for: conditions joined by ``and`` or ``or``, how often to be told, for how long.

    ``frequency``: ``every`` time it becomes true, ``once``, ``once_per_bar`` and ``once_per_bar_close`` of the first
    condition's timeframe. ``cooldown_ns`` of event time after a firing nothing is told. From ``expires_ns`` on it is
    done.

    >>> rule = AlertRule.from_document("a", {"type": "zscore", "y": "ETHUSDT", "x": "BTCUSDT", "condition": "above",
    ...     "threshold": 2, "once": True})
    >>> rule.frequency, rule.cooldown_ns, AlertRule.from_document("a", rule.document()) == rule
    ('once', 60000000000, True)
    """

    id: str
    conditions: tuple[AlertCondition, ...]
    join: Literal["and", "or"] = "and"
    frequency: str = "every"
    cooldown_ns: int = 60 * _NS
    expires_ns: int | None = None

    @classmethod
    def from_document(cls, id: str, document: Mapping[str, Any]) -> AlertRule:  # noqa: A002 - what everybody calls it
        """Return the rule that the API's fields describe; ``InputError`` names the field that cannot be.

        A single condition's fields lie flat beside the rule's own, several in a list under ``conditions``, whose
        fields are named ``conditions[0].threshold`` and so on.
        """
        refuse_unknown(document, (*CONDITION_FIELDS, *RULE_FIELDS))
        several = document.get("conditions")
        flat = {name: document[name] for name in CONDITION_FIELDS if document.get(name) is not None}
        if several is None:
            if document.get("join") is not None:
                raise InputError("join: has no meaning without conditions", loc="join")
            conditions: tuple[AlertCondition, ...] = (AlertCondition.from_document(flat),)
            join = "and"
        else:
            if flat:
                name = next(iter(flat))
                raise InputError(f"{name}: each of the conditions has its own", loc=name)
            conditions, join = _conditions(several), plain_word(document, "join", ("and", "or"), "and")
        frequency = _frequency(document)
        if frequency == "once_per_bar_close":
            for one in conditions:
                if one.type in _NO_CLOSES:
                    raise InputError(f"frequency: {one.type} has no bars that close", loc="frequency")
        cooldown_s = plain_number(document, "cooldown_s")
        cooldown_s = _COOLDOWN_S if cooldown_s is None else cooldown_s
        if not 0.0 <= cooldown_s <= _MOST_COOLDOWN_S:
            raise InputError(f"cooldown_s: must be 0 to {_MOST_COOLDOWN_S:.0f}", loc="cooldown_s")
        expires_ns = plain_time_ns(document, "expires")
        return cls(id, conditions, join, frequency, round(cooldown_s * _NS), expires_ns)  # type: ignore[arg-type]  # a word

    def document(self) -> dict[str, Any]:
        """Return the fields that describe this rule; ``from_document`` reads them back."""
        if len(self.conditions) == 1:
            made = self.conditions[0].document()
        else:
            made = {"join": self.join, "conditions": [one.document() for one in self.conditions]}
        cooldown_s = self.cooldown_ns / _NS
        return made | {
            "frequency": self.frequency,
            "once": self.frequency == "once",
            "cooldown_s": int(cooldown_s) if cooldown_s.is_integer() else cooldown_s,
            "expires": None if self.expires_ns is None else self.expires_ns // _MS,
        }

    def changed(self, fields: Mapping[str, Any]) -> AlertRule:
        """Return the rule with some fields changed, as a PATCH names them.

        >>> one = AlertRule.from_document("a", {"type": "price", "symbol": "B", "condition": "above", "threshold": 5})
        >>> one.changed({"condition": "enters", "threshold": None, "lower": 4, "upper": 5, "once": True}).frequency
        'once'
        """
        made = self.document()
        if "once" in fields or "frequency" in fields:
            was_once = made.pop("once")
            frequency = made.pop("frequency")
            if "frequency" not in fields:
                made["frequency"] = "every" if was_once else frequency
        if fields.get("conditions") is not None:
            made = {name: value for name, value in made.items() if name in RULE_FIELDS}
        elif fields.get("type") is not None and len(self.conditions) > 1:
            made = {name: value for name, value in made.items() if name in RULE_FIELDS[2:]}
        return AlertRule.from_document(self.id, made | dict(fields))

    @property
    def timeframe(self) -> str:
        """The timeframe of the first condition: whose bars are meant by ``once_per_bar``."""
        return self.conditions[0].timeframe

    @property
    def step_ns(self) -> int:
        """How long a bar of that timeframe is."""
        return timeframe_ns(self.timeframe)

    @property
    def at_closes(self) -> bool:
        """Whether only values at closes of bars count."""
        return self.frequency == "once_per_bar_close"


@dataclass(frozen=True, slots=True)
class AlertState:
    """How a rule stands: what is to be kept over a restart so that it neither repeats nor forgets.

    ``status`` is ``active``, ``paused`` or ``done``, ``reason`` why. ``fired`` and ``suppressed`` count firings, and
    those that a cooldown or a bar kept back; ``last_ns`` is the newest firing's event time (-1 before the first) and
    ``recent`` those of the newest 15. ``conditions`` holds the phase of each condition's machine.
    """

    status: str = "active"
    reason: str = ""
    fired: int = 0
    suppressed: int = 0
    last_ns: int = -1
    recent: tuple[int, ...] = ()
    conditions: tuple[int, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the state as JSON holds it, exactly."""
        return {
            "status": self.status,
            "reason": self.reason,
            "fired": self.fired,
            "suppressed": self.suppressed,
            "last_ns": self.last_ns,
            "recent": list(self.recent),
            "conditions": list(self.conditions),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> AlertState:
        """Return the state that a document holds.

        >>> state = AlertState(fired=2, last_ns=5, recent=(4, 5), conditions=(2,))
        >>> AlertState.from_document(state.document()) == state
        True
        """
        lists = {name: tuple(document[name]) for name in ("recent", "conditions")}
        return cls(**{**document, **lists})

    def paused(self, reason: str = "paused") -> AlertState:
        """Return the state of the rule when somebody pauses it."""
        return replace(self, status="paused", reason=reason)

    def resumed(self) -> AlertState:
        """Return the state of the rule when it goes on: as if new, but for its counts and its cooldown."""
        return AlertState("active", "", self.fired, self.suppressed, self.last_ns)


@dataclass(frozen=True, slots=True)
class AlertFiring:
    """A rule has come true: the ``number``-th time, by its condition ``condition`` (an index).

    ``time_ns`` is the event's time, ``recv_ns`` when the newest tick known by then had come (that tick itself, where
    one did it), ``watermark_ns`` how far the book's time was. ``symbol`` is whose tick it was, the pair's name for an
    event of the screen, empty otherwise; ``trade_id`` that tick's, -1 otherwise. ``values`` are those of all
    conditions, NaN where none is known. ``late``: found in ticks that came by back-fill. ``storm``: the rule was
    paused by it.

    >>> AlertFiring("a", 3, 0, 0, 0, "BTCUSDT", 7, 0, 101.0, 100.0, (101.0,)).id
    'a-3'
    """

    rule_id: str
    number: int
    time_ns: int
    recv_ns: int
    watermark_ns: int
    symbol: str
    trade_id: int
    condition: int
    value: float
    threshold: float
    values: tuple[float, ...]
    late: bool = False
    storm: bool = False

    @property
    def id(self) -> str:
        """The firing's own name: the same whenever it is worked out again."""
        return f"{self.rule_id}-{self.number}"


def _conditions(several: Any) -> tuple[AlertCondition, ...]:
    """Return the conditions of a list; errors name the place in it."""
    if not isinstance(several, list | tuple) or not 2 <= len(several) <= MOST_CONDITIONS:
        raise InputError(f"conditions: must be a list of 2 to {MOST_CONDITIONS}", loc="conditions")
    made = []
    for i, one in enumerate(several):
        if not isinstance(one, Mapping):
            raise InputError(f"conditions[{i}]: must have fields", loc=f"conditions[{i}]")
        try:
            made.append(AlertCondition.from_document(one))
        except InputError as error:
            where = f"conditions[{i}].{error.loc}"
            raise InputError(f"conditions[{i}].{error}", loc=where) from None
    return tuple(made)


def _frequency(document: Mapping[str, Any]) -> str:
    """Return how often to tell; the contract's ``once`` is one of the ways to say it."""
    once = document.get("once")
    if once is not None and not isinstance(once, bool):
        raise InputError("once: must be true or false", loc="once")
    frequency = plain_word(document, "frequency", FREQUENCIES, "once" if once else "every")
    if once and frequency == "every":
        return "once"
    if once is not None and once != (frequency == "once"):
        raise InputError(f"frequency: {frequency} contradicts once", loc="frequency")
    return frequency
