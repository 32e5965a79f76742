"""The SQL of the server store, all of it: what a transaction writes and what a read reads."""

from __future__ import annotations

from pairscope.market.gaps import Gap
from pairscope.storage.postgres_bars import BarTables
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_ticks import TickTables

__all__ = ["PostgresTables"]


class PostgresTables(TickTables, BarTables):
    """Ticks and bars of one session; ``symbols`` gives the names that ids stand for."""

    def unrepaired(self, session: Session, symbol_id: int) -> list[Gap]:
        """Return the gaps of a symbol that lack ids, by their first."""
        return [gap for gap, _ in self.gaps(session, self._symbols[symbol_id], unrepaired=True)]
