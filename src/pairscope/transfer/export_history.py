"""What the instance told and did, as tables: the firings of alerts, the trades of kept backtests, those on paper."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, Literal

import orjson

from pairscope.ports import Records
from pairscope.transfer.export_source import Mark, Page, Size, digest_of_pages
from pairscope.transfer.export_table import Kind, table_of_records

__all__ = ["HISTORIES", "History", "HistorySource"]

History = Literal["alerts", "backtests", "paper"]

_MS: Final = 1_000_000
_TRADE: Final = (
    ("y", Kind.TEXT), ("x", Kind.TEXT), ("timeframe", Kind.TEXT), ("side", Kind.TEXT),
    ("entry_timestamp", Kind.TIME), ("exit_timestamp", Kind.TIME), ("entry_zscore", Kind.DECIMAL),
    ("exit_zscore", Kind.DECIMAL), ("beta", Kind.DECIMAL), ("quantity_y", Kind.DECIMAL), ("quantity_x", Kind.DECIMAL),
    ("pnl", Kind.DECIMAL), ("return", Kind.DECIMAL), ("fees", Kind.DECIMAL), ("reason", Kind.TEXT),
)  # fmt: skip
HISTORIES: Final[Mapping[History, tuple[tuple[str, Kind], ...]]] = {
    "alerts": (
        ("seq", Kind.INTEGER), ("timestamp", Kind.TIME), ("received", Kind.TIME), ("id", Kind.TEXT),
        ("alert_id", Kind.TEXT), ("type", Kind.TEXT), ("condition", Kind.TEXT), ("symbol", Kind.TEXT),
        ("y", Kind.TEXT), ("x", Kind.TEXT), ("value", Kind.DECIMAL), ("threshold", Kind.DECIMAL),
        ("message", Kind.TEXT), ("note", Kind.TEXT), ("late", Kind.FLAG), ("test", Kind.FLAG),
    ),
    "backtests": (("run", Kind.TEXT), *_TRADE),
    "paper": (("position", Kind.TEXT), *_TRADE),
}  # fmt: skip
"""The columns of each history."""

HISTORY_PAGE: Final = 8192
"""Rows after which a page ends; one backtest's trades stay together."""

Row = dict[str, Any]


class HistorySource:
    """Firings (newest first), or trades by run or position, whose time lies in [start, end).

    The time of a trade is that of its entry. What is kept in the records is told: with a sweep no single trades are.
    """

    def __init__(
        self, records: Records, kind: History, start_ns: int, end_ns: int, *, rows: int = HISTORY_PAGE
    ) -> None:
        self._records = records
        self._kind: History = kind
        self._most = rows
        self._start_ms = -(-start_ns // _MS)
        self._end_ms = -(-end_ns // _MS)
        self.asked = ("history", kind, start_ns, end_ns)

    async def page(self, mark: Mark | None, *, most: int | None = None) -> Page:
        """Return the first page, or the one behind the record that a mark names."""
        rows: list[Row] = []
        following: Mark | None = None
        time = "timestamp" if self._kind == "alerts" else "entry_timestamp"
        async with aclosing(self._rows(str(mark[0]) if mark else "")) as found:  # type: ignore[type-var]
            async for key, batch in found:
                rows += [row for row in batch if self._start_ms <= (row.get(time) or 0) < self._end_ms]
                if len(rows) >= (self._most if most is None else most):
                    following = (key,)
                    break
        return Page(table_of_records(HISTORIES[self._kind], [row.get for row in rows]), following)

    async def fingerprint(self) -> str | None:
        """Return a digest of every row."""
        return await digest_of_pages(self)

    async def size(self) -> Size:
        """Return how many rows there are, counted."""
        rows, mark = 0, None
        while True:
            page = await self.page(mark)
            rows += len(page.table)
            mark = page.following
            if mark is None:
                return Size(rows, None, None, exact=True)

    def _rows(self, after: str) -> AsyncIterator[tuple[str, list[Row]]]:
        match self._kind:
            case "alerts":
                return self._firings(after)
            case "backtests":
                return self._backtests(after)
            case _:
                return self._paper(after)

    async def _firings(self, after: str) -> AsyncIterator[tuple[str, list[Row]]]:
        async for key, body in self._records.scan("alert_firings", after):
            yield key, [orjson.loads(body)]

    async def _backtests(self, after: str) -> AsyncIterator[tuple[str, list[Row]]]:
        async for key, _ in self._records.scan("backtest_summaries", after):
            packed = await self._records.get("backtests", key)
            document = {} if packed is None else orjson.loads(gzip.decompress(packed))
            trades, asked = document.get("trades"), document.get("request") or {}
            if isinstance(trades, list):
                named = {"run": key, **{name: asked.get(name) for name in ("y", "x", "timeframe")}}
                yield key, [{**trade, **named} for trade in trades]

    async def _paper(self, after: str) -> AsyncIterator[tuple[str, list[Row]]]:
        rules: dict[str, Mapping[str, Any]] = {}
        async for key, body in self._records.scan("paper"):
            rules[key] = orjson.loads(body).get("request") or {}
        async for key, body in self._records.scan("paper_events", after):
            said = orjson.loads(body)
            fields = said["fields"]
            if said["kind"] == "fill" and "exit_value" in fields and said["id"] in rules:
                named = {name: rules[said["id"]].get(name) for name in ("y", "x", "timeframe")}
                times = {"entry_timestamp": fields["entry_ns"] // _MS, "exit_timestamp": said["time_ns"] // _MS}
                side = "long" if fields["side"] > 0 else "short"
                yield key, [{**fields, **named, **times, "side": side, "reason": said["order"], "position": said["id"]}]
