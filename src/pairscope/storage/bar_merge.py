"""What comes of bars that are put where others may be: the same in every store, whatever its tables."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch, BarOutcome, BarOutcomes, Origin
from pairscope.market.ticks import B1, I4
from pairscope.storage.ledger import Ledger
from pairscope.storage.precedence import supersedes

__all__ = ["BAR_FIELDS", "Columns", "chosen_of", "judged"]

BAR_FIELDS: Final = (
    "symbol_id", "ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume",
    "trades", "first_id", "last_id", "revision", "origin",
)  # fmt: skip
_VALUES: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "first_id", "last_id")
"""What makes two versions of a bar differ; its trades are a count of ours, whosever the bar."""

Columns = dict[str, NDArray[Any]]


def chosen_of(ledger: Ledger, bars: BarBatch) -> tuple[Columns, NDArray[np.intp], BarOutcomes, bool]:
    """Return the columns of the bars that may go in, their places, what came of the others, whether any is uploaded.

    The columns are under the ledger's symbol ids, one bar a key. Uploaded bars of a time that own ticks cover do not go
    in, also where nothing was traded in it.
    """
    outcomes = np.full(len(bars), BarOutcome.UNCHANGED, np.int8)
    columns = {field: getattr(bars, field) for field in BAR_FIELDS}
    columns["symbol_id"] = ledger.ids_of(bars.symbols)[bars.symbol_id]
    chosen = _last_word(columns)
    uploaded = chosen[columns["origin"][chosen] == Origin.UPLOAD]
    if uploaded.size:
        within = ledger.within(columns["symbol_id"][uploaded], columns["ts_open_ns"][uploaded], bars.timeframe)
        outcomes[uploaded[within]] = BarOutcome.KEPT
        chosen = chosen[outcomes[chosen] != BarOutcome.KEPT]
    return {field: values[chosen] for field, values in columns.items()}, chosen, outcomes, bool(uploaded.size)


def judged(
    ledger: Ledger, timeframe: str, columns: Columns, known: NDArray[np.intp], old: Columns, *, rebuilt: bool
) -> tuple[BarOutcomes, B1]:
    """Compare the bars at the places ``known`` with stored ones; return what comes of each, and which stored ones go.

    ``old`` has the stored bars, ``row`` of it the place within ``known`` that each stands beside. What a stored bar
    hands on to the one that replaces it is written into ``columns``.
    """
    came = np.full(known.size, BarOutcome.INSERTED, np.int8)
    at = old["row"]
    if not at.size:
        return came, np.zeros(0, np.bool_)
    rows = known[at]
    differs = np.zeros(at.size, np.bool_)
    for field in _VALUES:
        differs |= columns[field][rows] != old[field]
    wins = supersedes(
        new_origin=columns["origin"][rows],
        new_trades=columns["trades"][rows],
        new_revision=columns["revision"][rows],
        new_volume=columns["volume"][rows],
        old_origin=old["origin"],
        old_trades=old["trades"],
        old_revision=old["revision"],
        old_volume=old["volume"],
        covered=ledger.covered(old["symbol_id"], old["ts_open_ns"], timeframe),
        differs=differs,
        rebuilt=rebuilt,
    )
    wins |= _carry_over(columns, rows, old, wins)
    came[at] = np.where(wins, BarOutcome.UPDATED, np.where(differs, BarOutcome.KEPT, BarOutcome.UNCHANGED))
    return came, wins


def _carry_over(columns: Columns, rows: NDArray[np.intp], old: Columns, wins: B1) -> B1:
    """Give the bars at ``rows`` what the stored ones beside them hand on; return those stored for their count alone.

    A bar corrected by own ticks has a revision above the old one's. A foreign bar keeps the count of our trades, and
    gets it where our bar came and lost: it then goes in again with that count.
    """
    own = columns["origin"][rows] == Origin.OWN
    counted: B1 = own & ~wins & (old["origin"] != Origin.OWN) & (columns["trades"][rows] != old["trades"])
    for field in set(BAR_FIELDS) - {"trades"}:
        columns[field][rows[counted]] = old[field][counted]
    columns["trades"][rows[~own]] = old["trades"][~own]
    corrected = rows[wins]
    columns["revision"][corrected] = np.maximum(columns["revision"][corrected], (old["revision"] + own)[wins])
    return counted


def _last_word(columns: Columns) -> NDArray[np.intp]:
    """Return the rows of one bar a key, by (symbol, time): of several versions that of most ticks and revisions."""
    order = np.lexsort((columns["revision"], columns["trades"], columns["ts_open_ns"], columns["symbol_id"]))
    symbol_id: I4 = columns["symbol_id"][order]
    times = columns["ts_open_ns"][order]
    last = np.ones(order.size, np.bool_)
    last[:-1] = (symbol_id[1:] != symbol_id[:-1]) | (times[1:] != times[:-1])
    return order[last]
