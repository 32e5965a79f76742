"""Alerts through the API: make them, see how they stand, and read what they told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pairscope.client.asking import Ask, Caller, Steps, call, changed, plain, read, segment
from pairscope.client.frames import FrameKind, table_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AlertCalls"]

TARGETS_S: Final = 30.0
"""So long is waited for an answer that tells what came of messages."""
_TOLD: Final = ("id", "alert_id", "seq", "timestamp", "received", "value", "threshold", "message")
_STANDING: Final = ("id", "type", "condition", "status")
_STANDING_TIMES: Final = ("created", "last_fired", "expires")


class AlertCalls(Caller):
    """What is asked of alerts."""

    @call
    def create_alert(
        self,
        /,
        type: str,  # noqa: A002 - what the API calls it
        condition: str,
        threshold: float | None = None,
        **fields: Any,
    ) -> Steps[dict[str, Any]]:
        """Make an alert of one condition and return it; ``symbol`` or ``y`` and ``x``, ``window``, ``notify``, ``note``
        and the others as the API has them. ``delivery`` says what came of a test message to each target.
        """  # noqa: D205
        body = {"type": type, "condition": condition, "threshold": threshold, **fields}
        return dict((yield from _made("POST", "/api/alerts", plain(body))))

    @call
    def create_joined_alert(
        self, /, *conditions: Mapping[str, Any], join: str = "and", **fields: Any
    ) -> Steps[dict[str, Any]]:
        """Make an alert of two to eight conditions joined by ``and`` or ``or``, and return it."""
        body = {"join": join, "conditions": [dict(one) for one in conditions], **fields}
        return dict((yield from _made("POST", "/api/alerts", plain(body))))

    @call
    def alerts(self, /, *, frame: FrameKind | None = None, **which: Any) -> Steps[pd.DataFrame]:
        """Return all alerts and how they stand, the newest first, a row each; ``status`` and ``symbol`` choose."""
        rows = (yield from read("/api/alerts", **which))["alerts"]
        return table_of(self.kind(frame), rows, columns=_STANDING, times=_STANDING_TIMES, index="id")

    @call
    def alert(self, id: str) -> Steps[dict[str, Any]]:  # noqa: A002 - what everybody calls it
        """Return an alert and how it stands."""
        return dict((yield from read(f"/api/alerts/{segment(id)}")))

    @call
    def change_alert(self, /, id: str, **fields: Any) -> Steps[dict[str, Any]]:  # noqa: A002
        """Change fields of an alert, None for a field's default; ``status`` paused or active pauses and resumes it."""
        return dict((yield from _made("PATCH", f"/api/alerts/{segment(id)}", fields)))

    @call
    def delete_alert(self, id: str) -> Steps[None]:  # noqa: A002
        """Delete an alert; what it told stays."""
        yield from changed(Ask("DELETE", f"/api/alerts/{segment(id)}"))

    @call
    def test_alert(self, id: str) -> Steps[dict[str, Any]]:  # noqa: A002
        """Fire an alert for a test; ``delivery`` says what came of each message."""
        return dict((yield from _made("POST", f"/api/alerts/{segment(id)}/test")))

    @call
    def preview_alert(self, /, hours: float = 24.0, **fields: Any) -> Steps[dict[str, Any]]:
        """Return how an alert would stand now, and when it would have fired in the hours before."""
        return dict((yield from _made("POST", "/api/alerts/preview", plain({**fields, "hours": hours}))))

    @call
    def triggered(
        self, /, limit: int | None = None, *, frame: FrameKind | None = None, **which: Any
    ) -> Steps[pd.DataFrame]:
        """Return what alerts told, the newest first, a row each; ``since``, ``alert_id`` and ``symbol`` choose."""
        rows: list[Mapping[str, Any]] = []
        cursor = None
        while limit is None or len(rows) < limit:
            page = yield from read("/api/alerts/triggered", cursor=cursor, limit=500, **which)
            rows += page["alerts"]
            cursor = page["next"]
            if cursor is None:
                break
        return table_of(self.kind(frame), rows[:limit], columns=_TOLD, times=["timestamp", "received"], index="id")


def _made(verb: str, path: str, body: Any = None) -> Steps[Any]:
    answer = yield from changed(Ask(verb, path, body=body, timeout=TARGETS_S))
    return answer.json()
