"""The outbox: a document for each firing and target that is still to be sent, and one for each that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from pairscope.delivery.targets import masked, tag_of
from pairscope.ports import Records

__all__ = [
    "DELIVERIES",
    "OUTBOX",
    "UNREADABLE",
    "key_of_message",
    "message_id",
    "read",
    "seq_of_message",
    "statuses",
    "waiting",
]

OUTBOX: Final = "outbox"
DELIVERIES: Final = "deliveries"
FEW: Final = 20
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


def seq_of_message(key: str) -> int:
    """Return the number of the firing that a message's key names.

    >>> seq_of_message(key_of_message(12, 3))
    12
    """
    return int(key.partition(":")[0])


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
    made: dict[str, bytes] = {}
    for stretch in _stretches(sorted(wanted)):
        for collection in (OUTBOX, DELIVERIES):  # in this order: one that has just ended is seen as such
            last = key_of_message(stretch[-1] + 1, 0)
            async for key, body in records.scan(collection, f"{stretch[0]:020d}"):
                if key >= last:
                    break
                made[key] = body
    keys = {seq: [key_of_message(seq, index) for index in range(count)] for seq, count in wanted.items()}
    return {seq: [_status(orjson.loads(made[key])) for key in keys[seq] if key in made] for seq in wanted}


def _stretches(seqs: Sequence[int]) -> list[list[int]]:
    """Part numbers in order where more than a few lie between two, which then are not worth reading.

    >>> _stretches([1, 2, 4, 900, 901])
    [[1, 2, 4], [900, 901]]
    """
    found: list[list[int]] = []
    for seq in seqs:
        if found and seq - found[-1][-1] <= FEW:
            found[-1].append(seq)
        else:
            found.append([seq])
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
