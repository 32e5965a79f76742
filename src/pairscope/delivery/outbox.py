"""The outbox: a document for each firing and target that is still to be sent, and one for each that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from pairscope.delivery.targets import masked, tag_of
from pairscope.ports import Records

__all__ = ["DELIVERIES", "OUTBOX", "UNREADABLE", "key_of_message", "message_id", "read", "statuses", "waiting"]

OUTBOX: Final = "outbox"
DELIVERIES: Final = "deliveries"
UNREADABLE: Final = "outbox_unreadable"
"""Documents of the outbox that are none, put here so that they hold nothing up."""


def waiting(seq: int, index: int, firing: Mapping[str, Any], target: str, now_ms: int) -> tuple[str, bytes]:
    """Return key and document of a message that is to be sent: the ``index``-th target of the firing ``seq``."""
    made = {"firing": firing, "target": target, "attempts": [], "made": now_ms, "next_ms": now_ms}
    return key_of_message(seq, index), orjson.dumps(made)


def key_of_message(seq: int, index: int) -> str:
    """Return a message's key, in the order of firings and of their targets.

    >>> key_of_message(12, 3)
    '00000000000000000012:3'
    """
    return f"{seq:020d}:{index}"


def message_id(firing: Mapping[str, Any], target: str) -> str:
    """Return what names a message at every attempt: the firing's id and a tag of the target."""
    return f"{firing.get('id', 'firing')}-{tag_of(target)}"


def read(body: bytes) -> dict[str, Any]:
    """Return a document of the outbox; ``ValueError`` where it is none."""
    made = orjson.loads(body)
    if not (
        isinstance(made, dict)
        and isinstance(made.get("firing"), dict)
        and isinstance(made.get("target"), str)
        and isinstance(made.setdefault("attempts", []), list)
        and isinstance(made.setdefault("made", 0), int)
        and isinstance(made.setdefault("next_ms", 0), int)
    ):
        raise ValueError("not a message that waits: it lacks its firing or its target")  # noqa: TRY004 - what orjson raises for other bad documents
    return made


async def statuses(records: Records, wanted: Mapping[int, int]) -> dict[int, list[dict[str, Any]]]:
    """Return what became of the messages of firings: of each ``seq`` in ``wanted`` so many targets.

    Each is ``target`` (masked), ``status`` (waiting, delivered or given_up), ``attempts`` (how many), ``at`` (ms of the
    last one, or None), ``error`` (why the last one failed). Messages that were forgotten are left out.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    for seq, count in wanted.items():
        found[seq] = []
        for index in range(count):
            key = key_of_message(seq, index)
            body = await records.get(DELIVERIES, key) or await records.get(OUTBOX, key)
            if body is not None:
                found[seq].append(_status(orjson.loads(body)))
    return found


def _status(made: Mapping[str, Any]) -> dict[str, Any]:
    attempts: Sequence[Mapping[str, Any]] = made.get("attempts", [])
    last = attempts[-1] if attempts else {}
    return {
        "target": masked(str(made.get("target", ""))),
        "status": made.get("status", "waiting"),
        "attempts": len(attempts),
        "at": last.get("at"),
        "error": last.get("error") or made.get("reason", ""),
    }
