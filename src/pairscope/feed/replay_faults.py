"""What can go wrong between the exchange and a client, on request and repeatable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError
from pairscope.market.ticks import I8

__all__ = ["ConnectionFaults", "Fault", "parse_fault"]

FaultKind = Literal["drop", "duplicate", "reorder", "malformed", "disconnect", "stall"]

_DEFAULTS = {"drop": 0.001, "duplicate": 0.01, "reorder": 0.01, "malformed": 0.001}
_TIMED = ("disconnect", "stall")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    ``probability`` is that of a frame to be dropped, sent twice, swapped with its successor or cut off.
    ``after_s`` is the age of a connection, in seconds, at which it is cut, or falls silent for ``for_s`` seconds
    (0: until the client gives up).
    """

    kind: FaultKind
    probability: float = 0.0
    after_s: float = 0.0
    for_s: float = 0.0


def parse_fault(text: str) -> Fault:
    """Read ``drop:0.001``, ``duplicate``, ``reorder:0.01``, ``malformed``, ``disconnect:30s`` or ``stall:60s/20s``.

    Raises ``InputError`` that lists them.

    >>> parse_fault("drop:0.001")
    Fault(kind='drop', probability=0.001, after_s=0.0, for_s=0.0)
    >>> parse_fault("stall:60s/20s").for_s
    20.0
    """
    kind, _, value = text.strip().partition(":")
    if kind in _DEFAULTS:
        try:
            probability = float(value) if value else _DEFAULTS[kind]
        except ValueError:
            probability = -1.0
        if 0.0 <= probability <= 1.0:
            return Fault(kind, probability=probability)  # type: ignore[arg-type]
    if kind in _TIMED:
        after, slash, silent = value.partition("/")
        after_s, for_s = _span(after), _span(silent) if slash else 0.0
        if after_s and for_s is not None and not (slash and kind == "disconnect"):
            return Fault(kind, after_s=after_s, for_s=for_s)  # type: ignore[arg-type]
    raise InputError(
        f"cannot read the fault {text!r}",
        loc="fault",
        hint="use drop:P, duplicate:P, reorder:P, malformed:P (P a probability), disconnect:30s or stall:60s[/20s]",
    )


def _span(text: str) -> float | None:
    """Read a length of time in seconds; None where it is none."""
    match = _SPAN.fullmatch(text)
    return None if match is None else float(match[1]) * _UNIT_S[match[2]]


class ConnectionFaults:
    """The faults of one connection, drawn from a generator of its own."""

    def __init__(self, faults: Iterable[Fault], *, seed: int, connection: int) -> None:
        self._faults = tuple(faults)
        self._random = np.random.default_rng([seed, connection])
        self.counts = dict.fromkeys(("dropped", "duplicated", "reordered", "malformed"), 0)
        timed = {fault.kind: fault for fault in self._faults if fault.kind in _TIMED}
        self.cut_after_s = timed["disconnect"].after_s if "disconnect" in timed else None
        self._stall = timed.get("stall")

    def __bool__(self) -> bool:
        return bool(self._faults)

    def stalled(self, age_s: float) -> bool:
        """Return whether a connection of that age is silent."""
        stall = self._stall
        return stall is not None and age_s >= stall.after_s and (not stall.for_s or age_s < stall.after_s + stall.for_s)

    def disturb(self, rows: I8) -> I8:
        """Return the rows to send in place of the given ones."""
        for fault in self._faults:
            if fault.probability == 0.0 or fault.kind == "malformed" or rows.size == 0:
                continue
            hit = self._random.random(rows.size) < fault.probability
            if fault.kind == "drop":
                self.counts["dropped"] += int(hit.sum())
                rows = rows[~hit]
            elif fault.kind == "duplicate":
                self.counts["duplicated"] += int(hit.sum())
                rows = np.repeat(rows, np.where(hit, 2, 1))
            else:
                rows = self._swapped(rows, hit)
        return rows

    def _swapped(self, rows: I8, hit: NDArray[np.bool_]) -> I8:
        """Exchange each hit row with its successor."""
        places = np.flatnonzero(hit[:-1])
        places = places[np.diff(places, prepend=-2) > 1]
        out = rows.copy()
        out[places], out[places + 1] = rows[places + 1], rows[places]
        self.counts["reordered"] += int(places.size)
        return out

    def spoil(self, frames: NDArray[np.uint8], offsets: I8) -> None:
        """Break some frames in place: the last brace is lost, so the JSON ends too early."""
        for fault in self._faults:
            if fault.kind == "malformed" and offsets.size > 1:
                hit = np.flatnonzero(self._random.random(offsets.size - 1) < fault.probability)
                frames[offsets[hit + 1] - 1] = ord(" ")
                self.counts["malformed"] += int(hit.size)
