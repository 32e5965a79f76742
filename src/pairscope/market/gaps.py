"""Holes in the trade ids of a symbol, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pairscope.market.id_ranges import Range

__all__ = ["Gap", "GapStatus", "HeldGap", "HeldIds"]

GapStatus = Literal["open", "repaired", "unrepairable"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in the trade ids of a symbol: ``from_id`` to ``to_id``, both inclusive.

    ``missing`` is how many of them are still missing. ``after_ns`` and ``before_ns`` are the event times of the ticks
    on either side (0 where unknown), ``seen_ns`` the receive time of the tick that revealed it, ``ended_ns`` that of
    the tick that completed it or of the verdict that nothing can.
    """

    symbol: str
    from_id: int
    to_id: int
    status: GapStatus
    missing: int
    after_ns: int = 0
    before_ns: int = 0
    seen_ns: int = 0
    ended_ns: int = 0


@dataclass(frozen=True, slots=True)
class HeldIds:
    """Trade ids of a symbol that are all there: ``from_id`` to ``to_id``, both inclusive."""

    symbol: str
    from_id: int
    to_id: int


HeldGap = tuple[Gap, list[Range]]
"""A gap with the ranges of its ids that are missing, ascending."""
