"""The interface of the alerts: rules that people make, and the firings that came of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Alerts", "FiringQuery"]


@dataclass(frozen=True, slots=True)
class FiringQuery:
    """Which firings are asked for, the newest first: ``limit`` of those with a ``seq`` below ``before``.

    ``since_ns`` leaves out what happened before that time, ``after`` what has that ``seq`` or a lower one, ``alert_id``
    and ``symbol`` (one leg of a pair is enough) what is another's.
    """

    limit: int = 500
    before: int | None = None
    after: int = 0
    since_ns: int | None = None
    alert_id: str | None = None
    symbol: str | None = None


class Alerts(Protocol):
    """Rules that are kept over a restart, and the history of their firings. Documents have the API's field names."""

    async def create(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a rule of a body whose symbols are known, and tell its targets; ``InputError`` names what cannot be.

        Returns the rule with how it stands and, as ``delivery``, what came of a test message to each target.
        """
        ...

    async def change(self, alert_id: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change fields of a rule, None for a field's default; ``UnknownAlert`` where there is none.

        What it watches for begins anew where that changes; all else goes on. ``status`` pauses and resumes.
        """
        ...

    async def remove(self, alert_id: str) -> bool:
        """Delete a rule; its firings stay. False where there is none."""
        ...

    def ids(self) -> Sequence[str]:
        """The ids of all rules, the newest first."""
        ...

    def view(self, alert_id: str) -> Mapping[str, Any] | None:
        """One rule and how it stands; None where there is none."""
        ...

    async def test(self, alert_id: str) -> Mapping[str, Any]:
        """Fire a rule for a test: told and kept as such, and sent to each target at once; says what came of it."""
        ...

    async def preview(self, document: Mapping[str, Any], hours: float) -> Mapping[str, Any]:
        """How a rule would stand now, and when it would have fired in the hours before."""
        ...

    async def history(self, query: FiringQuery) -> tuple[Sequence[Mapping[str, Any]], int | None]:
        """A page of firings, the newest first, and the ``before`` of the next page; None at the end."""
        ...

    def missed(self, after: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """(``seq``, document) of every firing that is kept with a ``seq`` above ``after``, oldest first."""
        ...

    def counters(self) -> Mapping[str, Any]:
        """The numbers of rules and firings, for ``/api/stats``."""
        ...
