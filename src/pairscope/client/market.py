"""The market through the API: prices, bars, trades, indicators and statistics, and how the instance does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pairscope.client.asking import (
    PAGE,
    Ask,
    Caller,
    Moment,
    Steps,
    answered,
    call,
    changed,
    file_ask,
    read,
    segment,
    written,
)
from pairscope.client.frames import FrameKind, arrow_of, frame_of, table_of
from pairscope.client.problems import error_of, json_object

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MarketCalls"]

_ARROW: Final = "application/vnd.apache.arrow.stream"
_BARS: Final = ("timestamp", "open", "high", "low", "close", "volume", "trades", "vwap", "closed")
_TICKS: Final = ("id", "timestamp", "price", "size", "buyer_is_maker")


class MarketCalls(Caller):
    """What is asked of the market as it is and was."""

    @call
    def get(self, /, path: str, **params: Any) -> Steps[Any]:
        """Return the JSON of a GET; parameters that are None are left out, times and lists are written out."""
        return (yield from read(path, **params))

    @call
    def send(
        self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Steps[Any]:
        """Send what changes something, once, and return the JSON of the answer; None where it has none."""
        answer = yield from changed(Ask(verb, path, body=body, timeout=timeout))
        return answer.json() if answer.content else None

    @call
    def post_file(
        self,
        path: str,
        name: str,
        content: bytes | BinaryIO,
        fields: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Steps[Any]:
        """Send a file with the fields of a form, once, and return the JSON of the answer."""
        answer = yield from changed(file_ask(path, name, content, fields or {}, timeout=timeout))
        return answer.json()

    @call
    def ws_ticket(self) -> Steps[str]:
        """Return a ticket that opens one WebSocket and serves as a bearer for reads, for half a minute."""
        answer = yield from changed(Ask("POST", "/api/ws-ticket"))
        return str(answer.json()["ticket"])

    @call
    def health(self) -> Steps[dict[str, Any]]:
        """Return the state of feed, store and cache; also when the API says that it is down."""
        answer = yield from answered(Ask("GET", "/api/health"))
        body = json_object(answer)
        if "checks" in body:
            return body
        raise error_of(answer)

    @call
    def stats(self) -> Steps[dict[str, Any]]:
        """Return the counters of the running instance: ticks stored, rates, queues, gaps."""
        return dict((yield from read("/api/stats")))

    @call
    def monitoring(self, *, minutes: float | None = None, frame: FrameKind | None = None) -> Steps[pd.DataFrame]:
        """Return how the instance did in the last hour, a column a measure, indexed by the samples' times (UTC).

        ``units``, ``about``, ``ranges``, ``now`` and ``checks`` as the API has them are in ``.attrs``.
        """
        said = dict((yield from read("/api/monitoring", minutes=minutes)))
        columns = {"timestamp": said.pop("timestamp"), **said.pop("columns")}
        kind = self.kind(frame)
        table = table_of(kind, columns, times=["timestamp"], index="timestamp", attrs=said)
        return table.astype("float64") if kind == "pandas" else table

    @call
    def symbols(self, *, frame: FrameKind | None = None) -> Steps[pd.DataFrame]:
        """Return every symbol known: ``status``, ``last_timestamp`` (UTC; NaT before the first), ``tick_count``."""
        columns = ("symbol", "status", "last_timestamp", "tick_count")
        rows = yield from read("/api/symbols")
        return table_of(self.kind(frame), rows, columns=columns, times=["last_timestamp"], index="symbol")

    @call
    def price(self, symbol: str) -> Steps[dict[str, Any]]:
        """Return the last price with its age, 24 h change (relative) and 24 h volume (base units)."""
        return dict((yield from read(f"/api/price/{segment(symbol)}")))

    @call
    def ohlc(
        self,
        symbol: str,
        timeframe: str = "1m",
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        fill: bool | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return bars indexed by their open time (UTC), oldest first.

        Without a range the newest ``limit`` (the server's default: 500); with one, all of it, or its first ``limit``.
        A column ``gap`` is there where a bar touches trades that are missing.
        """
        path, given = f"/api/ohlc/{segment(symbol)}", {"timeframe": timeframe, "fill": fill, "start": start, "end": end}
        table = yield from _listed(path, "bars", _BARS, limit=limit, **given)
        return frame_of(self.kind(frame), table, index="timestamp")

    @call
    def ticks(
        self,
        symbol: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return trades as ``id, timestamp (UTC), price, size, buyer_is_maker``; ranges as in ``ohlc``.

        Days of a busy symbol come sooner through ``export``, which asks once.
        """
        table = yield from _listed(f"/api/ticks/{segment(symbol)}", "ticks", _TICKS, limit=limit, start=start, end=end)
        return frame_of(self.kind(frame), table)

    @call
    def indicators(
        self,
        symbol: str,
        names: Sequence[str],
        timeframe: str = "1m",
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        frame: FrameKind | None = None,
    ) -> Steps[pd.DataFrame]:
        """Return indicators as columns, indexed by bar (UTC): ``indicators("BTCUSDT", ["sma:20", "rsi:14"])``."""
        given = {"names": names, "timeframe": timeframe, "start": start, "end": end, "limit": limit}
        answer = yield from read(f"/api/indicators/{segment(symbol)}", **given)
        columns = {"timestamp": answer["timestamp"], **answer["values"]}
        return table_of(self.kind(frame), columns, times=["timestamp"], index="timestamp")

    @call
    def volume(self, /, symbol: str, **params: Any) -> Steps[dict[str, Any]]:
        """Return the analysis of a symbol's volume: against its usual, bought and sold, by price."""
        return dict((yield from read(f"/api/volume/{segment(symbol)}", **params)))

    @call
    def symbol_analytics(self, /, symbol: str, timeframe: str = "1m", **params: Any) -> Steps[dict[str, Any]]:
        """Return what closed bars say of one symbol; ``window``, ``lookback`` and ``end`` as the API has them."""
        return dict((yield from read("/api/analytics/symbol", symbol=symbol, timeframe=timeframe, **params)))

    @call
    def statistics(
        self,
        /,
        symbol: str | None = None,
        *,
        y: str | None = None,
        x: str | None = None,
        timeframe: str = "1m",
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        frame: FrameKind | None = None,
        **params: Any,
    ) -> Steps[pd.DataFrame]:
        """Return a symbol or a pair bar by bar, indexed by the bars' open times (UTC); ranges as in ``ohlc``."""
        columns: dict[str, list[Any]] = {}
        given = {"symbol": symbol, "y": y, "x": x, "timeframe": timeframe, "start": start, "end": end, **params}
        whole, cursor = start is not None or end is not None, None
        size = min(limit or PAGE, PAGE) if whole else limit
        while True:
            page = yield from read("/api/analytics/statistics", limit=size, cursor=cursor, **given)
            for name, column in page["series"].items():
                columns.setdefault(name, []).extend(column)
            cursor = page.get("next")
            if cursor is None or not whole or (limit is not None and len(columns["timestamp"]) >= limit):
                break
        cut = {name: column[:limit] for name, column in columns.items()}
        return table_of(self.kind(frame), cut, times=["timestamp"], index="timestamp")


def _listed(path: str, name: str, columns: Sequence[str], *, limit: int | None, **given: Any) -> Steps[Any]:
    """Gather the pages of a listing as one Arrow table: until ``limit`` rows, or all where a range is asked for."""
    whole = given["start"] is not None or given["end"] is not None
    size, cursor, rows = (min(limit or PAGE, PAGE) if whole else limit), None, 0
    parts = []
    while True:
        query = written({**given, "limit": size, "cursor": cursor})
        answer = yield from answered(Ask("GET", path, query, headers={"Accept": f"{_ARROW}, application/json;q=0.5"}))
        if not answer.is_success:
            raise error_of(answer)
        part, cursor = _part(answer, name, columns)
        parts.append(part)
        rows += part.num_rows
        if cursor is None or not whole or (limit is not None and rows >= limit):
            break
    import pyarrow as pa

    table = pa.concat_tables(parts, promote_options="permissive")
    return table if limit is None else table.slice(0, limit)


def _part(answer: Any, name: str, columns: Sequence[str]) -> tuple[Any, str | None]:
    """Return a page's rows as an Arrow table, and where the next page begins."""
    if answer.headers.get("Content-Type", "").startswith(_ARROW):
        import pyarrow as pa

        table = pa.ipc.open_stream(answer.content).read_all().replace_schema_metadata(None)
        return table, answer.headers.get("X-Next-Cursor")
    said = answer.json()
    return arrow_of(said[name], columns=columns, times=["timestamp"]), said.get("next")
