"""Alerts through the API: make them, see how they stand, and read what they told, as DataFrames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AlertCalls"]

TARGETS_S: Final = 30.0
"""So long is waited for an answer that tells what came of messages."""
_COLUMNS: Final = ("id", "alert_id", "seq", "timestamp", "received", "value", "threshold", "message")


class AlertCalls(ABC):
    """The alerts' part of :class:`~pairscope.client.Client`."""

    @abstractmethod
    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET."""

    @abstractmethod
    def send(self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """Send what changes something and return the JSON of its answer, None where it has none."""

    def create_alert(self, type: str, condition: str, threshold: float | None = None, **fields: Any) -> dict[str, Any]:  # noqa: A002 - what the API calls it
        """Make an alert of one condition and return it; ``symbol`` or ``y`` and ``x``, ``window``, ``notify``, ``note``
        and the others as the API has them. ``delivery`` says what came of a test message to each target.
        """  # noqa: D205
        body = {"type": type, "condition": condition, "threshold": threshold, **fields}
        return dict(self.send("POST", "/api/alerts", _given(body), timeout=TARGETS_S))

    def create_joined_alert(self, *conditions: Mapping[str, Any], join: str = "and", **fields: Any) -> dict[str, Any]:
        """Make an alert of two to eight conditions joined by ``and`` or ``or``, and return it."""
        body = {"join": join, "conditions": [dict(one) for one in conditions], **fields}
        return dict(self.send("POST", "/api/alerts", _given(body), timeout=TARGETS_S))

    def alerts(self, **which: Any) -> pd.DataFrame:
        """Return all alerts and how they stand, the newest first, a row each; ``status`` and ``symbol`` choose."""
        table = _table(self.get("/api/alerts", **which)["alerts"], ("id", "type", "condition", "status"))
        for name in ("created", "last_fired", "expires"):
            if name in table:
                table[name] = _as_time(table[name])
        return table.set_index("id")

    def alert(self, id: str) -> dict[str, Any]:  # noqa: A002 - what everybody calls it
        """Return an alert and how it stands."""
        return dict(self.get(f"/api/alerts/{quote(id, safe='')}"))

    def change_alert(self, id: str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        """Change fields of an alert, None for a field's default; ``status`` paused or active pauses and resumes it."""
        return dict(self.send("PATCH", f"/api/alerts/{quote(id, safe='')}", fields, timeout=TARGETS_S))

    def delete_alert(self, id: str) -> None:  # noqa: A002
        """Delete an alert; what it told stays."""
        self.send("DELETE", f"/api/alerts/{quote(id, safe='')}")

    def test_alert(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Fire an alert for a test; ``delivery`` says what came of each message."""
        return dict(self.send("POST", f"/api/alerts/{quote(id, safe='')}/test", timeout=TARGETS_S))

    def preview_alert(self, hours: float = 24.0, **fields: Any) -> dict[str, Any]:
        """Return how an alert would stand now, and when it would have fired in the hours before."""
        return dict(self.send("POST", "/api/alerts/preview", _given({**fields, "hours": hours}), timeout=TARGETS_S))

    def triggered(self, limit: int | None = None, **which: Any) -> pd.DataFrame:
        """Return what alerts told, the newest first, a row each; ``since``, ``alert_id`` and ``symbol`` choose."""
        rows: list[Mapping[str, Any]] = []
        cursor = None
        while limit is None or len(rows) < limit:
            page = self.get("/api/alerts/triggered", cursor=cursor, limit=500, **which)
            rows += page["alerts"]
            cursor = page["next"]
            if cursor is None:
                break
        table = _table(rows[:limit], _COLUMNS)
        for name in ("timestamp", "received"):
            table[name] = _as_time(table[name])
        return table.set_index("id")


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with times written out, and without what is None."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in body.items()
        if value is not None
    }


def _table(rows: list[Mapping[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=None if rows else list(columns))


def _as_time(column: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(column.astype("Int64"), unit="ms", utc=True)
