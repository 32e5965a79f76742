"""The interface of store keeping: what lies where, what is moved to the archive, what is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["StoreKeeping"]


class StoreKeeping(Protocol):
    """The life of stored days. Documents have the API's field names."""

    def counters(self) -> Mapping[str, Any]:
        """What was moved and deleted, for ``/api/stats``."""
        ...
