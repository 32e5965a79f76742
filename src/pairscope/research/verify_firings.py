"""The kept history of firings against those that a replay of the journal found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from pairscope.engine.alerts import ALERTS_KIND
from pairscope.engine.rerun import Difference
from pairscope.market.alert_rules import AlertFiring
from pairscope.research.recorded import Recorded, ended
from pairscope.schemas.journal import Entry

__all__ = ["FIRINGS", "Covered", "verify_firings"]

FIRINGS: Final = "alert_firings"
"""The collection that keeps the history."""
_MS: Final = 1_000_000


class Covered:
    """The stretches of receive time of which every tick was played again."""

    def __init__(self) -> None:
        self._stretches: list[list[int]] = []
        self._reached_ns: int | None = None

    def add(self, entry: Entry) -> None:
        """Note an entry that was played; before a start, and before lost entries, nobody knows what was told."""
        cut = any(note.kind in {"start", "hole"} for note in entry.notes)
        if self._reached_ns is not None and not cut:
            if self._stretches and self._stretches[-1][1] == self._reached_ns:
                self._stretches[-1][1] = entry.recv_ns
            else:
                self._stretches.append([self._reached_ns, entry.recv_ns])
        began_ns = max((note.end_ns for note in entry.notes if note.kind == "start"), default=0)
        self._reached_ns = max(entry.recv_ns, began_ns)

    def __contains__(self, received_ms: int) -> bool:
        return any(low // _MS < received_ms < high // _MS for low, high in self._stretches)


async def verify_firings(
    source: Recorded,
    fired: Mapping[str, AlertFiring],
    covered: Covered,
    rules_since: Mapping[str, int],
    on_difference: Callable[[Difference], None],
) -> int:
    """Hold every kept firing against the one of the same id that was told again; return how many were compared.

    ``fired`` are those that were told live as they were told again. One of them that is not kept, and one that is kept
    and was not told though its time was played again, with its rule (``rules_since``: id and receive time), are
    differences; older ones than are kept are not.
    """
    left = dict(fired)
    oldest_ms = 1 << 62
    compared = 0
    async with ended(source.scan(FIRINGS)) as documents:
        async for _, body in documents:
            kept = msgspec.json.decode(body)
            oldest_ms = min(oldest_ms, kept["timestamp"])
            if kept.get("test"):
                continue
            again = left.pop(kept["id"], None)
            if again is not None:
                compared += 1
                found = _difference(kept, again)
                if found is not None:
                    on_difference(found)
            elif kept["received"] > rules_since.get(kept["alert_id"], 1 << 62) // _MS and kept["received"] in covered:
                what = f"{_said(kept['value'])} in the history as {kept['id']}, not told by the replay"
                on_difference(Difference(ALERTS_KIND, kept["alert_id"], "", kept["timestamp"] * _MS, None, None, what))
    for firing in left.values():
        if firing.time_ns // _MS >= oldest_ms or not compared:
            what = f"{_said(firing.value)} told as {firing.id}, not in the history"
            on_difference(Difference(ALERTS_KIND, firing.rule_id, "", firing.time_ns, None, None, what))
    return compared


def _difference(kept: Mapping[str, Any], again: AlertFiring) -> Difference | None:
    """Return how a kept firing differs from the one that was told again."""
    value = None if again.value != again.value else again.value
    sides = {
        "timestamp": (kept["timestamp"], again.time_ns // _MS),
        "value": (kept["value"], value),
        "late": (bool(kept.get("late")), again.late),
    }
    told = [f"{name} {_said(a)} in the history, {_said(b)} replayed" for name, (a, b) in sides.items() if a != b]
    if not told:
        return None
    what = f"{kept['id']}: {'; '.join(told)}"
    return Difference(ALERTS_KIND, again.rule_id, "", again.time_ns, kept["value"], value, what)


def _said(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
