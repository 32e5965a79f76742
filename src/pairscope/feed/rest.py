"""The exchange's REST answers as values, within its request weight and its temper."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import httpx2
import msgspec
import structlog
from msgspec import Struct

from pairscope.errors import ConfigError, ConnectionLost, ExchangeRefused, MalformedFrame
from pairscope.feed.reconnect import backoff, can_retry
from pairscope.feed.weight import Priority, WeightBudget
from pairscope.feed.wire import AggTradeRow, decode_agg_trades

__all__ = ["ExchangeRest", "ExchangeSymbol", "Filter", "Funding", "Kline", "Ticker"]

_log = structlog.get_logger(__name__)

WEIGHT_PER_MINUTE: Final = 2400
OUR_SHARE: Final = 0.8
LONGEST_WAIT_S: Final = 65.0
"""A refusal that ends later than this is raised in place of being waited for."""
BAN_S: Final = 120.0
WALL_S: Final = 300.0
_MOST_FUNDINGS: Final = 1000

T = TypeVar("T")


class Filter(Struct, frozen=True, rename="camel"):
    """One of the rules that orders of a symbol must keep; of all their fields only the quantity's step."""

    filter_type: str = ""
    step_size: float = 0.0


class ExchangeSymbol(Struct, frozen=True, rename="camel"):
    """One instrument of ``/fapi/v1/exchangeInfo``; unknown states and types are kept as they are."""

    symbol: str
    status: str = ""
    contract_type: str = ""
    quote_asset: str = ""
    st: int = 1
    filters: list[Filter] = []

    @property
    def step(self) -> float | None:
        """The step of a market order's quantity, in base units; None where the exchange does not say it."""
        steps = {rule.filter_type: rule.step_size for rule in self.filters if rule.step_size > 0.0}
        return steps.get("MARKET_LOT_SIZE", steps.get("LOT_SIZE"))

    @property
    def followable(self) -> bool:
        """A perpetual that is traded now and margined in its quote asset."""
        usd_margined = self.st != 2 and self.quote_asset != "USD"
        return self.status == "TRADING" and self.contract_type == "PERPETUAL" and usd_margined


class _ExchangeInfo(Struct, frozen=True):
    symbols: list[ExchangeSymbol] = []


class Ticker(Struct, frozen=True, rename="camel"):
    """One symbol's last 24 hours; ``last_id`` is its newest raw trade id, -1 where there is none."""

    symbol: str
    quote_volume: float = 0.0
    last_id: int = -1
    st: int = 1


class Kline(Struct, frozen=True, array_like=True):
    """One candle, in the exchange's order of fields; times in ms, ``close_ms`` is the last one within."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_ms: int
    quote_volume: float
    trades: int
    buy_volume: float


class Funding(Struct, frozen=True, rename="camel"):
    """What the long paid the short of a symbol at a time (ms), as a share of the position's value."""

    symbol: str
    funding_time: int
    funding_rate: float


class _Time(Struct, frozen=True, rename="camel"):
    server_time: int


class _Refusal(Struct, frozen=True):
    code: int = 0
    msg: str = ""


class ExchangeRest:
    """Asks the exchange over REST; every method may wait for the weight budget or for the end of a refusal.

    Errors: ``ConnectionLost`` (no answer, or a server's fault, after ``attempts``), ``ExchangeRefused`` (an answer
    that says no; ``can_retry`` tells if later may help), ``MalformedFrame``. HTTP 429 and 418 stop every request
    until the exchange's own time is over.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        weight_per_minute: int = WEIGHT_PER_MINUTE,
        share: float = OUR_SHARE,
        timeout_s: float = 10.0,
        attempts: int = 3,
        rng: random.Random | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.budget = WeightBudget(int(weight_per_minute * share), clock=clock, sleep=sleep)
        self.requests = 0
        self.refused = 0
        self.failed = 0
        self._clock = clock
        self._sleep = sleep
        self._attempts = attempts
        self._rng = rng or random.Random()
        self._blocked_until_ns = 0
        self._block_reason = ""
        try:
            self._client = httpx2.AsyncClient(
                base_url=base_url.rstrip("/"),
                timeout=timeout_s,
                transport=transport,
                trust_env=False,
                limits=httpx2.Limits(max_connections=16, max_keepalive_connections=8),
            )
        except httpx2.InvalidURL as error:
            raise _bad_address(base_url) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def blocked_s(self) -> float:
        """Seconds until the exchange listens to us again; 0 where it does."""
        return max(0.0, (self._blocked_until_ns - self._clock()) / 1e9)

    async def ping(self, *, timeout_s: float | None = None) -> None:
        """Ask for a sign of life, once."""
        await self._get("/fapi/v1/ping", {}, weight=1, attempts=1, timeout_s=timeout_s)

    async def time(self) -> int:
        """Return the exchange's time in ns."""
        return self._read(await self._get("/fapi/v1/time", {}, weight=1), _Time).server_time * 1_000_000

    async def exchange_info(self) -> list[ExchangeSymbol]:
        """Return every instrument."""
        return self._read(await self._get("/fapi/v1/exchangeInfo", {}, weight=1), _ExchangeInfo).symbols

    async def ticker_24h(self) -> list[Ticker]:
        """Return the last 24 hours of every USD-margined symbol in one call."""
        rows = self._read(await self._get("/fapi/v1/ticker/24hr", {}, weight=40), list[Ticker])
        return [row for row in rows if row.st != 2]

    async def busiest(self, n: int) -> list[str]:
        """Return the ``n`` followable symbols with the largest quote volume of 24 hours, largest first.

        A symbol that the ticker lacks comes last.
        """
        instruments, tickers = await asyncio.gather(self.exchange_info(), self.ticker_24h())
        volume = {ticker.symbol: ticker.quote_volume for ticker in tickers}
        names = [instrument.symbol for instrument in instruments if instrument.followable]
        return sorted(names, key=lambda name: (-volume.get(name, -1.0), name))[:n]

    async def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int = 1000,
        priority: Priority = Priority.REPAIR,
    ) -> list[AggTradeRow]:
        """Return aggregate trades, oldest first: from an id on, or of a range [start, end) of less than an hour."""
        params: dict[str, str | int] = {"symbol": symbol, "limit": limit}
        if from_id is not None:
            params["fromId"] = from_id
        params |= _range(start_ns, end_ns)
        return decode_agg_trades(await self._get("/fapi/v1/aggTrades", params, weight=20, priority=priority))

    async def klines(
        self,
        symbol: str,
        timeframe: str,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int = 500,
        priority: Priority = Priority.HISTORY,
    ) -> list[Kline]:
        """Return candles that open in [start, end), oldest first; the last one may be unfinished."""
        params: dict[str, str | int] = {"symbol": symbol, "interval": timeframe, "limit": limit}
        params |= _range(start_ns, end_ns)
        weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        body = await self._get("/fapi/v1/klines", params, weight=weight, priority=priority)
        return self._read(body, list[Kline])

    async def funding_rates(
        self, symbol: str, start_ns: int, end_ns: int, *, priority: Priority = Priority.URGENT
    ) -> list[Funding]:
        """Return the funding rates of a symbol that fell due in [start, end), oldest first."""
        found: list[Funding] = []
        while start_ns < end_ns:
            params: dict[str, str | int] = {"symbol": symbol, "limit": _MOST_FUNDINGS, **_range(start_ns, end_ns)}
            page = self._read(
                await self._get("/fapi/v1/fundingRate", params, weight=1, priority=priority), list[Funding]
            )
            found += [row for row in page if start_ns <= row.funding_time * 1_000_000 < end_ns]
            if len(page) < _MOST_FUNDINGS:
                break
            start_ns = (max(row.funding_time for row in page) + 1) * 1_000_000
        return found

    def _read(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedFrame(f"the exchange's answer is not what was asked for: {error}") from error

    async def _get(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        weight: int,
        priority: Priority = Priority.URGENT,
        attempts: int | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Ask until there is an answer or no more patience."""
        delays = backoff(first_s=0.5, cap_s=10.0, rng=self._rng)
        left = self._attempts if attempts is None else attempts
        while True:
            try:
                return await self._ask(path, params, weight, priority, timeout_s)
            except (ConnectionLost, ExchangeRefused) as error:
                left -= 1
                if left <= 0 or not can_retry(error):
                    raise
                _log.info("exchange_request_failed", path=path, error=str(error), attempts_left=left)
                await self._sleep(next(delays))

    async def _ask(
        self, path: str, params: Mapping[str, str | int], weight: int, priority: Priority, timeout_s: float | None
    ) -> bytes:
        """Ask once, as soon as budget and exchange allow."""
        await self._wait_out()
        await self.budget.spend(weight, priority)
        await self._wait_out()
        window = self.budget.window
        self.requests += 1
        timeout = httpx2.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s
        try:
            response = await self._client.get(path, params=params, timeout=timeout)
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise _bad_address(str(self._client.base_url)) from error
        except httpx2.HTTPError as error:
            self.failed += 1
            raise ConnectionLost(f"{path}: {type(error).__name__} {error}".rstrip()) from error
        used = response.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdecimal():
            self.budget.report(int(used), window=window)
        if response.status_code != 200:
            raise self._refusal(path, response)
        return response.content

    async def _wait_out(self) -> None:
        """Wait until the exchange listens again, unless that is too long."""
        while (wait_s := self.blocked_s) > 0:
            if wait_s > LONGEST_WAIT_S:
                raise ExchangeRefused(f"{self._block_reason}; {wait_s:.0f} s to go", retry_after_s=wait_s)
            await self._sleep(wait_s)

    def _refusal(self, path: str, response: httpx2.Response) -> ConnectionLost | ExchangeRefused:
        """Turn an answer other than 200 into an error, and stop asking where the exchange says so."""
        status = response.status_code
        try:
            said = msgspec.json.decode(response.content, type=_Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = _Refusal()
        text = f"{path}: HTTP {status} {said.code or ''} {said.msg}".rstrip()
        if status >= 500 or status == 408:
            self.failed += 1
            return ConnectionLost(text)
        self.refused += 1
        retry_after_s = None
        if status in {403, 418, 429} or said.code == -1003:
            retry_after_s = self._pause_s(status, response, said.msg)
            self._blocked_until_ns = max(self._blocked_until_ns, self._clock() + int(retry_after_s * 1e9))
            self._block_reason = f"the exchange refuses all requests (HTTP {status})"
            _log.warning("exchange_refuses", path=path, status=status, seconds=round(retry_after_s, 1))
        return ExchangeRefused(text, code=said.code, http_status=status, retry_after_s=retry_after_s)

    def _pause_s(self, status: int, response: httpx2.Response, message: str) -> float:
        """Tell how long to be silent: as the exchange says, else until the next minute, longer after a ban."""
        said = response.headers.get("Retry-After", "")
        if said.isdecimal():
            return float(said)
        banned = re.search(r"banned until (\d{12,14})", message)
        if banned:
            return max(1.0, int(banned[1]) / 1000 - self._clock() / 1e9)
        if status in {403, 418}:
            return WALL_S if status == 403 else BAN_S
        return 60.0 - self._clock() / 1e9 % 60.0 + 0.1


def _range(start_ns: int | None, end_ns: int | None) -> dict[str, str | int]:
    """Write [start, end) in the exchange's inclusive milliseconds."""
    found: dict[str, str | int] = {}
    if start_ns is not None:
        found["startTime"] = -(-start_ns // 1_000_000)
    if end_ns is not None:
        found["endTime"] = -(-end_ns // 1_000_000) - 1
    return found


def _bad_address(base_url: str) -> ConfigError:
    return ConfigError(f"{base_url!r} is no address of a REST service", loc="PAIRSCOPE_EXCHANGE_REST_URL")
