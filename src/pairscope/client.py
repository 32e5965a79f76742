"""The API as DataFrames, for notebooks and for the dashboard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx2

from pairscope.client_alerts import AlertCalls
from pairscope.client_backtests import BacktestCalls
from pairscope.errors import ApiRefused, ApiUnreachable, InputError, PairscopeError, StoreUnavailable, UnknownSymbol

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Client", "Moment"]

Moment = int | str | datetime
"""A time parameter: milliseconds since the epoch, ISO 8601, or a datetime (naive means UTC)."""

PAGE: Final = 10_000
"""Rows that one request may ask for."""

_RETRIES: Final = 2
_SCREEN_TRIES: Final = 3
_SCREEN_COLUMNS: Final = (
    "y", "x", "alpha", "beta", "statistic", "pvalue", "qvalue", "lags", "half_life", "zscore", "spread_std",
    "correlation", "discovery",
)  # fmt: skip
_FIRST_PAUSE_S: Final = 0.1


class Client(BacktestCalls, AlertCalls):
    """Asks one Pairscope API and returns tables; ``get`` returns the JSON underneath.

    Errors are of the :class:`~pairscope.errors.PairscopeError` family and carry the server's own words:
    ``UnknownSymbol`` (404), ``InputError`` (422, ``loc`` names the parameter), ``StoreUnavailable`` (503),
    ``ApiRefused`` (any other status, as ``http_status``) and ``ApiUnreachable``. A GET that could not connect, or
    whose connection broke, is tried again twice; one that timed out is not. Safe to share between threads.

    >>> with Client("http://127.0.0.1:8000") as api:      # doctest: +SKIP
    ...     api.ohlc("BTCUSDT", "1m").close.iloc[-1]
    67012.4
    """

    def __init__(
        self, base_url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout: float = 10.0
    ) -> None:
        self.base_url = base_url.rstrip("/")
        headers = {"Accept": "application/json", "User-Agent": "pairscope-client"}
        if api_key:
            headers["X-API-Key"] = api_key
        self._http = httpx2.Client(base_url=self.base_url, headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET; parameters that are None are left out, times and lists are written out."""
        query = {name: _written(value) for name, value in params.items() if value is not None}
        answer = self._send(path, query)
        if answer.is_success:
            return answer.json()
        raise _error_of(answer)

    def ws_ticket(self) -> str:
        """Return a ticket that opens one WebSocket and serves as a bearer for reads, for half a minute."""
        return str(self._change("POST", "/api/ws-ticket").json()["ticket"])

    def health(self) -> dict[str, Any]:
        """Return the state of feed, store and cache; also when the API says that it is down."""
        answer = self._send("/api/health", {})
        body = _json_object(answer)
        if "checks" in body:
            return body
        raise _error_of(answer)

    def stats(self) -> dict[str, Any]:
        """Return the counters of the running instance: ticks stored, rates, queues, gaps."""
        return dict(self.get("/api/stats"))

    def monitoring(self, *, minutes: float | None = None) -> pd.DataFrame:
        """Return how the instance did in the last hour, a column a measure, indexed by the samples' times (UTC).

        ``units``, ``about``, ``ranges``, ``now`` and ``checks`` as the API has them are in ``.attrs``.
        """
        said = dict(self.get("/api/monitoring", minutes=minutes))
        columns = {"timestamp": said.pop("timestamp"), **said.pop("columns")}
        table = _indexed_by_time(_frame(columns, ("timestamp",))).astype("float64")
        table.attrs = said
        return table

    def symbols(self) -> pd.DataFrame:
        """Return every symbol known: ``status``, ``last_timestamp`` (UTC; NaT before the first), ``tick_count``."""
        table = _frame(self.get("/api/symbols"), ("symbol", "status", "last_timestamp", "tick_count"))
        table["last_timestamp"] = _as_time(table["last_timestamp"])
        return table.set_index("symbol")

    def price(self, symbol: str) -> dict[str, Any]:
        """Return the last price with its age, 24 h change (relative) and 24 h volume (base units)."""
        return dict(self.get(f"/api/price/{_segment(symbol)}"))

    def ohlc(
        self,
        symbol: str,
        timeframe: str = "1m",
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        fill: bool | None = None,
    ) -> pd.DataFrame:
        """Return bars indexed by their open time (UTC), oldest first.

        Without a range the newest ``limit`` (the server's default: 500); with one, all of it, or its first ``limit``.
        """
        bars = self._rows(
            f"/api/ohlc/{_segment(symbol)}",
            "bars",
            limit=limit,
            whole=start is not None or end is not None,
            timeframe=timeframe,
            start=start,
            end=end,
            fill=fill,
        )
        columns = ("timestamp", "open", "high", "low", "close", "volume", "trades", "vwap", "closed")
        return _indexed_by_time(_frame(bars, columns))

    def ticks(
        self, symbol: str, *, start: Moment | None = None, end: Moment | None = None, limit: int | None = None
    ) -> pd.DataFrame:
        """Return trades as ``id, timestamp (UTC), price, size, buyer_is_maker``; ranges as in ``ohlc``."""
        rows = self._rows(
            f"/api/ticks/{_segment(symbol)}",
            "ticks",
            limit=limit,
            whole=start is not None or end is not None,
            start=start,
            end=end,
        )
        table = _frame(rows, ("id", "timestamp", "price", "size", "buyer_is_maker"))
        table["timestamp"] = _as_time(table["timestamp"])
        return table

    def indicators(
        self,
        symbol: str,
        names: Sequence[str],
        timeframe: str = "1m",
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return indicators as columns, indexed by bar (UTC): ``indicators("BTCUSDT", ["sma:20", "rsi:14"])``."""
        answer = self.get(
            f"/api/indicators/{_segment(symbol)}",
            names=names,
            timeframe=timeframe,
            start=start,
            end=end,
            limit=limit,
        )
        return _indexed_by_time(_frame({"timestamp": answer["timestamp"], **answer["values"]}, ("timestamp",)))

    def volume(self, symbol: str, **params: Any) -> dict[str, Any]:
        """Return the analysis of a symbol's volume: against its usual, bought and sold, by price."""
        return dict(self.get(f"/api/volume/{_segment(symbol)}", **params))

    def symbol_analytics(self, symbol: str, timeframe: str = "1m", **params: Any) -> dict[str, Any]:
        """Return what closed bars say of one symbol; ``window``, ``lookback`` and ``end`` as the API has them."""
        return dict(self.get("/api/analytics/symbol", symbol=symbol, timeframe=timeframe, **params))

    def pair(self, y: str, x: str, timeframe: str = "1m", **params: Any) -> dict[str, Any]:
        """Return all that is said of a pair: hedge ratios, spread, correlation, tests, sentinel, ages, warnings.

        ``lookback``, ``window``, ``method``, ``price_space``, ``recursion`` and ``end`` as the API has them.
        """
        return dict(self.get("/api/analytics/pair", y=y, x=x, timeframe=timeframe, **params))

    def pair_series(self, y: str, x: str, timeframe: str = "1m", **params: Any) -> pd.DataFrame:
        """Return a pair bar by bar, indexed by the bars' open times (UTC); each value as it was known at its bar."""
        return _indexed_by_time(_frame(self.pair(y, x, timeframe, **params, series=True)["series"], ("timestamp",)))

    def correlation(self, symbols: Sequence[str], timeframe: str = "1m", **params: Any) -> pd.DataFrame:
        """Return the matrix of returns' correlations, by symbol; ``window``, ``kind`` as the API has them."""
        import pandas as pd

        said = self.get("/api/analytics/correlation", symbols=list(symbols), timeframe=timeframe, **params)
        return pd.DataFrame(said["matrix"], said["symbols"], said["symbols"], dtype="float64")

    def screen(
        self, timeframe: str = "1m", lookback: int = 1440, *, limit: int | None = None, **params: Any
    ) -> pd.DataFrame:
        """Return the market-wide screen, a row a directed pair, best first; all rows, or the first ``limit``.

        ``fdr``, ``sort``, ``only``, ``symbol`` and the others as the API has them. What was tested and what was left
        out is in ``.attrs``: ``as_of`` (ms), ``universe``, ``tests``, ``discoveries``, ``excluded``, ``family`` …
        """
        for _ in range(_SCREEN_TRIES):
            pages: list[dict[str, Any]] = []
            given = {"timeframe": timeframe, "lookback": lookback, "limit": min(limit or PAGE, PAGE), **params}
            for page in self._pages("/api/analytics/screen", **given):
                pages.append(page)
                if page["screen"] != pages[0]["screen"] or (limit is not None and len(pages) * PAGE >= limit):
                    break
            if pages[-1]["screen"] == pages[0]["screen"]:
                rows = [row for page in pages for row in page["pairs"]]
                table = _frame(rows[:limit], _SCREEN_COLUMNS)
                table.attrs = {name: value for name, value in pages[0].items() if name not in {"pairs", "next"}}
                return table
        raise ApiRefused("a newer screen comes before one is read whole", http_status=409, hint="ask for fewer rows")

    def discoveries(self, **params: Any) -> dict[str, Any]:
        """Return the pairs that entered and left the discoveries of the continuous screens, newest first."""
        return dict(self.get("/api/analytics/screen/discoveries", **params))

    def statistics(
        self,
        symbol: str | None = None,
        *,
        y: str | None = None,
        x: str | None = None,
        timeframe: str = "1m",
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """Return a symbol or a pair bar by bar, indexed by the bars' open times (UTC); ranges as in ``ohlc``."""
        columns: dict[str, list[Any]] = {}
        given = {"symbol": symbol, "y": y, "x": x, "timeframe": timeframe, "start": start, "end": end, **params}
        whole = start is not None or end is not None
        size = min(limit or PAGE, PAGE) if whole else limit
        for page in self._pages("/api/analytics/statistics", limit=size, **given):
            for name, column in page["series"].items():
                columns.setdefault(name, []).extend(column)
            if not whole or (limit is not None and len(columns["timestamp"]) >= limit):
                break
        return _indexed_by_time(_frame(columns, ("timestamp",))).iloc[:limit]

    def watchlist(self) -> list[dict[str, Any]]:
        """Return the pairs that are watched: their settings, and ``live``, what is known of each now."""
        return list(self.get("/api/watchlist")["pairs"])

    def watch(self, y: str, x: str, **settings: Any) -> dict[str, Any]:
        """Put a pair on the watch-list, or change the settings of one that is there; return its entry."""
        answer = self._change("POST", "/api/watchlist", {"y": y, "x": x, **settings})
        return _json_object(answer)

    def unwatch(self, y: str, x: str) -> None:
        """Take a pair off the watch-list; ``ApiRefused`` (404) where it is not on it."""
        self._change("DELETE", f"/api/watchlist/{_segment(y)}/{_segment(x)}")

    def send(self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """Send what changes something, once, and return the JSON of the answer; None where it has none."""
        answer = self._change(verb, path, body, timeout=timeout)
        return answer.json() if answer.content else None

    def _change(
        self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> httpx2.Response:
        """Send what changes something, once: nobody knows whether one that broke has been heard."""
        patience = httpx2.USE_CLIENT_DEFAULT if timeout is None else timeout
        try:
            answer = self._http.request(verb, path, json=body, timeout=patience)
        except httpx2.TimeoutException as error:
            raise ApiUnreachable(f"the API at {self.base_url} did not answer in time") from error
        except httpx2.TransportError as error:
            raise ApiUnreachable(f"no API answers at {self.base_url}") from error
        if answer.is_success:
            return answer
        raise _error_of(answer)

    def _rows(self, path: str, name: str, *, limit: int | None, whole: bool, **params: Any) -> list[dict[str, Any]]:
        """Gather the pages of a listing until ``limit`` rows, or all of them where a ``whole`` range is asked for."""
        if not whole:
            return list(self.get(path, limit=limit, **params)[name])
        rows: list[dict[str, Any]] = []
        for page in self._pages(path, limit=min(limit or PAGE, PAGE), **params):
            rows.extend(page[name])
            if limit is not None and len(rows) >= limit:
                return rows[:limit]
        return rows

    def _pages(self, path: str, **params: Any) -> Iterator[Any]:
        cursor = None
        while True:
            page = self.get(path, cursor=cursor, **params)
            yield page
            cursor = page.get("next")
            if cursor is None:
                return

    def _send(self, path: str, query: Mapping[str, str]) -> httpx2.Response:
        """Send a GET, again where the connection failed; ``ApiUnreachable`` where it will not be."""
        for attempt in range(_RETRIES + 1):
            try:
                return self._http.get(path, params=query)
            except httpx2.TimeoutException as error:
                raise ApiUnreachable(f"the API at {self.base_url} did not answer in time") from error
            except httpx2.TransportError as error:
                if attempt == _RETRIES:
                    raise ApiUnreachable(f"no API answers at {self.base_url}") from error
            time.sleep(_FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("unreachable")


def _written(value: Any) -> str:
    """Write a parameter as the API reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        from datetime import UTC

        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def _segment(symbol: str) -> str:
    """Make a symbol safe as one segment of a path; it may hold letters outside ASCII."""
    return quote(symbol, safe="")


def _json_object(answer: httpx2.Response) -> dict[str, Any]:
    """Return the body where it is a JSON object, else an empty one."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error_of(answer: httpx2.Response) -> PairscopeError:
    """Make the error that a problem+json answer tells of, in the server's own words."""
    problem = _json_object(answer)
    kind = str(problem.get("type", "")).rpartition(":")[2]
    faults = [fault for fault in problem.get("errors") or [] if isinstance(fault, dict)]
    where = faults[0].get("loc") if faults else None
    loc = str(where[-1]) if isinstance(where, list) and where else str(where or "")
    detail = str(problem.get("detail") or problem.get("title") or answer.reason_phrase or "no reason given")
    hint = str(problem.get("hint") or "")
    error: PairscopeError
    match answer.status_code:
        case 404 if kind == "unknown-symbol" or loc == "symbol":
            error = UnknownSymbol("")
            error.args = (detail,)
        case 422:
            error = InputError(detail, loc=loc, hint=hint)
        case 503 if kind != "busy":
            error = StoreUnavailable(detail, hint=hint)
        case status:
            after = answer.headers.get("Retry-After", "")
            after_s = float(after) if after.isdigit() else None
            error = ApiRefused(detail, http_status=status, loc=loc, retry_after_s=after_s, hint=hint)
    return error


def _frame(rows: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Make a table that has these columns also when there are no rows."""
    import pandas as pd

    table = pd.DataFrame(rows)
    return table if len(table.columns) else pd.DataFrame({name: pd.Series(dtype="float64") for name in columns})


def _as_time(column: Any) -> Any:
    """Turn milliseconds since the epoch into UTC timestamps."""
    import pandas as pd

    return pd.to_datetime(column, unit="ms", utc=True)


def _indexed_by_time(table: pd.DataFrame) -> pd.DataFrame:
    table["timestamp"] = _as_time(table["timestamp"])
    return table.set_index("timestamp")
