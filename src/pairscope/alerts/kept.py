"""A rule as it is kept: what it watches for, whom it tells and in which words; and how a body makes or changes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from pairscope.alerts.words import check_template
from pairscope.delivery import restored
from pairscope.errors import InputError
from pairscope.market.alert_rules import AlertRule, AlertState
from pairscope.market.alert_terms import BANDS, EVENTS, PAIR_TYPES
from pairscope.market.pairs import PairSettings

__all__ = ["MOST_NOTE", "MOST_TARGETS", "KeptAlert", "changed", "check_expiry", "made", "state_after", "state_of"]

MOST_TARGETS: Final = 8
"""Targets of a rule."""
MOST_NOTE: Final = 500
"""Characters of a note."""

_BY_HAND: Final = "paused by hand"
_OWN: Final = ("notify", "note", "message")
"""Fields that the rule's machine knows nothing of."""
_PAIR_SETTINGS: Final = ("timeframe", "lookback", "window", "method", "price_space")
_CORRELATION: Final = ("timeframe", "window")


@dataclass(frozen=True, slots=True)
class KeptAlert:
    """A rule with what belongs to it; ``revision`` counts how often it began to watch for something else.

    A state that is kept belongs to one revision. ``fired`` and ``last_ns`` are how often, and when last (-1: never),
    the rule had fired when this one began: firings are numbered on, and no cooldown is left.
    """

    rule: AlertRule
    notify: tuple[str, ...]
    note: str
    message: str
    created_ms: int
    revision: int = 1
    fired: int = 0
    last_ns: int = -1

    @property
    def id(self) -> str:
        """What it is known by."""
        return self.rule.id

    def document(self) -> bytes:
        """Return what is kept."""
        return orjson.dumps(
            {
                "rule": self.rule.document(),
                "notify": self.notify,
                "note": self.note,
                "message": self.message,
                "created": self.created_ms,
                "revision": self.revision,
                "fired": self.fired,
                "last_ns": self.last_ns,
            }
        )

    @classmethod
    def from_document(cls, alert_id: str, body: bytes) -> KeptAlert:
        """Return what was kept; ``ValueError``, ``KeyError`` or ``TypeError`` where it cannot be read."""
        kept = orjson.loads(body)
        return cls(
            AlertRule.from_document(alert_id, kept["rule"]),
            tuple(kept["notify"]),
            kept["note"],
            kept["message"],
            kept["created"],
            kept["revision"],
            kept["fired"],
            kept["last_ns"],
        )


def made(
    alert_id: str, document: Mapping[str, Any], created_ms: int, watched: Iterable[PairSettings] = ()
) -> KeptAlert:
    """Return the rule that a body asks for; ``InputError`` names the field that cannot be.

    What a pair's condition leaves open is taken from the pair's entry in the watch-list.
    """
    given = {name: value for name, value in document.items() if value is not None}
    rule = AlertRule.from_document(alert_id, _settled(_machine(given), watched))
    return KeptAlert(rule, *_own(given, ()), created_ms)


def changed(kept: KeptAlert, changes: Mapping[str, Any], watched: Iterable[PairSettings] = ()) -> KeptAlert:
    """Return a rule with some fields changed, None for a field's default.

    What it watched for before and no longer fits (the threshold where a band is asked for, the symbol where a pair is)
    goes. It is of the same revision where it watches for the same.
    """
    gone = _misfits(kept.rule, changes)
    fields = {**gone, **_machine(changes)}
    if gone or changes.get("conditions") is not None:
        fields = _settled(fields, watched)
    rule = kept.rule.changed(fields) if fields else kept.rule
    own: dict[str, Any] = {"notify": kept.notify, "note": kept.note, "message": kept.message}
    own |= {name: value for name, value in changes.items() if name in _OWN}
    notify, note, message = _own({name: value for name, value in own.items() if value is not None}, kept.notify)
    revision = kept.revision + (_watches(rule) != _watches(kept.rule))
    return replace(kept, rule=rule, notify=notify, note=note, message=message, revision=revision)


def check_expiry(rule: AlertRule, now_ns: int) -> None:
    """Refuse an expiry that is over: ``InputError`` names ``expires``."""
    if rule.expires_ns is not None and rule.expires_ns <= now_ns:
        raise InputError("expires: must lie ahead", loc="expires")


def state_of(kept: KeptAlert, body: bytes | None) -> AlertState:
    """Return how a rule stood; where only an earlier revision's state is kept, it begins anew."""
    found = None if body is None else orjson.loads(body)
    if found is None or found["revision"] != kept.revision:
        return AlertState(fired=kept.fired)
    return AlertState.from_document(found["state"])


def state_after(before: KeptAlert, after: KeptAlert, state: AlertState, status: str | None) -> AlertState:
    """Return how a rule stands after a change: it begins anew where it watches for something else.

    A rule that is done goes on where what ended it is no more: its expiry moved, it is not for once any longer.
    """
    if after.revision != before.revision:
        new = AlertState(fired=state.fired, suppressed=state.suppressed)
        held = status == "paused" or (status is None and state.status == "paused")
        return new.paused(state.reason if state.status == "paused" else _BY_HAND) if held else new
    if status == "paused":
        return state if state.status == "paused" else state.paused(_BY_HAND)
    lifted = state.status == "done" and (
        after.rule.expires_ns != before.rule.expires_ns or after.rule.frequency != before.rule.frequency
    )
    return state.resumed() if lifted or (status == "active" and state.status != "active") else state


def _watches(rule: AlertRule) -> tuple[Any, ...]:
    """Return what the state of a rule is about."""
    return rule.conditions, rule.join, rule.at_closes


def _machine(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _OWN}


def _own(given: Mapping[str, Any], held: tuple[str, ...]) -> tuple[tuple[str, ...], str, str]:
    """Return targets, note and template of a body."""
    notify, note, message = given.get("notify", ()), given.get("note", ""), given.get("message", "")
    if not isinstance(notify, list | tuple) or not all(isinstance(target, str) for target in notify):
        raise InputError("notify: a list of addresses", loc="notify")
    if len(notify) > MOST_TARGETS:
        raise InputError(f"notify: at most {MOST_TARGETS} targets", loc="notify")
    if not isinstance(note, str) or len(note) > MOST_NOTE:
        raise InputError(f"note: a text of at most {MOST_NOTE} characters", loc="note")
    if not isinstance(message, str):
        raise InputError("message: a text", loc="message")
    targets = dict.fromkeys(restored(target.strip(), held) for target in notify if target.strip())
    return tuple(targets), note.strip(), check_template(message.strip())


def _settled(document: dict[str, Any], watched: Iterable[PairSettings]) -> dict[str, Any]:
    """Return a body in which the conditions of watched pairs have the settings of the watch-list."""
    entries = {(entry.y, entry.x): entry for entry in watched}
    if isinstance(document.get("conditions"), list):
        conditions = [_with_entry(part, entries) for part in document["conditions"]]
        return {**document, "conditions": conditions}
    return dict(_with_entry(document, entries))


def _with_entry(part: Any, entries: Mapping[tuple[Any, Any], PairSettings]) -> Any:
    if not isinstance(part, Mapping):
        return part
    y, x, kind = part.get("y"), part.get("x"), part.get("type")
    if not (isinstance(y, str) and isinstance(x, str)) or kind not in PAIR_TYPES or kind == "cointegration":
        return part
    entry = entries.get((y, x))
    if entry is None:
        return part
    names = _CORRELATION if kind == "correlation" else _PAIR_SETTINGS
    return {**part, **{name: getattr(entry, name) for name in names if part.get(name) is None}}


def _misfits(rule: AlertRule, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return, as None, the fields of a rule of one condition that its changed type or condition has no use for.

    Where another type of the same pair is asked for, the pair too.
    """
    if len(rule.conditions) > 1 or changes.get("conditions") is not None:
        return {}
    [before] = rule.conditions
    gone: set[str] = set()
    kind, comparison = changes.get("type") or before.type, changes.get("condition") or before.condition
    if kind != before.type:
        gone |= {"timeframe", "window", "baseline", "lookback", "method", "price_space", "hysteresis"}
        gone |= {"symbol"} if kind in PAIR_TYPES else {"y", "x"}
    if comparison != before.condition:
        gone |= {"hysteresis"}
        gone |= {"threshold"} if comparison in {*BANDS, *EVENTS} else set()
        gone |= {"lower", "upper"} if comparison not in BANDS else set()
    same_pair = kind != before.type and kind in PAIR_TYPES and before.y
    return dict.fromkeys(gone) | ({"type": kind, "y": before.y, "x": before.x} if same_pair else {})
