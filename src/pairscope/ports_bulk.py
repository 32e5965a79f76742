"""The interface of bulk history: long ranges that are fetched or read from files, beside the live feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["BulkHistory"]


class BulkHistory(Protocol):
    """Back-fills and the exchange's archive files, as jobs. Documents have the API's field names."""

    def counters(self) -> Mapping[str, Any]:
        """What was fetched and read, for ``/api/stats``."""
        ...
