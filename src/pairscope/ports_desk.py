"""The interface of the desk: the one of several replicas that judges alerts, follows positions and runs jobs."""

from __future__ import annotations

from typing import Protocol

__all__ = ["DeskSeat"]


class DeskSeat(Protocol):
    """Which of several replicas is the desk."""

    @property
    def here(self) -> bool:
        """Whether this replica is it."""
        ...

    async def address(self, *, fresh: bool = False) -> str:
        """The URL at which other replicas reach the desk, empty where none is known; ``fresh`` asks again now."""
        ...
