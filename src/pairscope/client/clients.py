"""The two clients: the same calls over a blocking transport and over one that is awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, Final, Self

import httpx2

from pairscope.client.alerts import AlertCalls
from pairscope.client.asking import Ask, Awaited, Blocking, Pause, R, Steps
from pairscope.client.backtests import BacktestCalls
from pairscope.client.exports import ExportCalls
from pairscope.client.frames import FrameKind, checked_kind
from pairscope.client.jobs import JobCalls
from pairscope.client.market import MarketCalls
from pairscope.client.pairs import PairCalls
from pairscope.client.stored import StoredCalls
from pairscope.client.streaming import Update, updates, updates_awaited
from pairscope.client.uploads import UploadCalls
from pairscope.errors import ApiUnreachable, PairscopeError

__all__ = ["AsyncClient", "Client"]

_TAKEN: Final = frozenset({200, 206})
_NOT_NOW: Final = frozenset({429, 503})


class _Calls(MarketCalls, PairCalls, BacktestCalls, AlertCalls, ExportCalls, UploadCalls, StoredCalls, JobCalls):
    """Every call, and what both clients know of the API that they ask."""

    def __init__(self, base_url: str, frame: FrameKind, api_key: str | None, patience_s: float) -> None:
        self.base_url = base_url.rstrip("/")
        self.frame = checked_kind(frame)
        self._patience_s = patience_s
        self._headers = {"Accept": "application/json", "User-Agent": "pairscope-client"}
        if api_key:
            self._headers["X-API-Key"] = api_key

    def _again_in(self, wish: Ask | Pause, answer: httpx2.Response | None, since: float) -> Pause | None:
        """Return how long to wait before what was refused for now is asked again; None where it is not to be."""
        if answer is None or answer.status_code not in _NOT_NOW or not isinstance(wish, Ask) or wish.files is not None:
            return None
        told = answer.headers.get("Retry-After", "")
        left_s = self._patience_s - (time.monotonic() - since)
        return Pause(min(max(float(told), 0.1), left_s)) if told.isdigit() and left_s > 0 else None

    def _unheard(self, error: httpx2.TransportError) -> ApiUnreachable:
        if isinstance(error, httpx2.TimeoutException):
            return ApiUnreachable(f"the API at {self.base_url} did not answer in time")
        return ApiUnreachable(f"no API answers at {self.base_url}")


class Client(_Calls, Blocking):
    """Asks one Pairscope API and returns tables; ``get`` returns the JSON underneath.

    ``frame`` says what tables are made of: ``pandas``, ``polars`` or ``arrow``; every call that returns a table takes
    it too. Outside pandas, what is said to be an index is a column. An instance may say that it is busy, as at every
    first start while it compiles: for ``patience_s`` such a call is made again when the instance says.

    Errors are of the :class:`~pairscope.errors.PairscopeError` family and carry the server's own words:
    ``UnknownSymbol`` (404), ``InputError`` (422, ``loc`` names the parameter), ``StoreUnavailable`` (503),
    ``ApiRefused`` (any other status, as ``http_status``) and ``ApiUnreachable``. A GET that could not connect, or
    whose connection broke, is tried again twice; one that timed out is not. Safe to share between threads.

    >>> with Client("http://127.0.0.1:8000") as api:      # doctest: +SKIP
    ...     api.ohlc("BTCUSDT", "1m").close.iloc[-1]
    67012.4
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 10.0,
        frame: FrameKind = "pandas",
        patience_s: float = 0.0,
    ) -> None:
        super().__init__(base_url, frame, api_key, patience_s)
        self._http = httpx2.Client(base_url=self.base_url, headers=self._headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def stream(
        self, topics: str | Sequence[str], *, since: int | None = None, patience_s: float = 60.0
    ) -> Generator[Update]:
        """Yield what topics say, for ever: ``for update in api.stream(["price:BTCUSDT", "alerts"])``.

        Each :class:`Update` has its ``topic``, ``seq`` and ``data``, the topic's whole current value. A connection that
        broke is made again for ``patience_s``, also where a topic cannot be had for now; alerts told meanwhile are not
        lost, and ``since`` (the ``seq`` of the last one known) asks for those before. ``InputError`` for a topic that
        is not there. Leaving the loop closes the connection once the generator is gone; ``contextlib.closing`` makes
        that a certain moment.
        """
        return updates(self.base_url, self._headers, topics, since=since, patience_s=patience_s)

    def run(self, steps: Steps[R]) -> R:
        """Do what a call wishes, step by step, and return what it returns."""
        try:
            wish = next(steps)
            while True:
                try:
                    answer, since = self._granted(wish), time.monotonic()
                    while pause := self._again_in(wish, answer, since):
                        self._granted(pause)
                        answer = self._granted(wish)
                except PairscopeError as error:
                    wish = steps.throw(error)
                else:
                    wish = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed's StopIteration knows no type
        finally:
            steps.close()

    def _granted(self, wish: Ask | Pause) -> httpx2.Response | None:
        if isinstance(wish, Pause):
            time.sleep(wish.seconds)
            return None
        try:
            with self._http.stream(wish.verb, wish.path, **_options(wish)) as answer:
                if wish.sink is None or answer.status_code not in _TAKEN:
                    answer.read()
                    return answer
                wish.sink.begin(answer)
                for part in answer.iter_raw():
                    wish.sink.write(part)
                return answer
        except httpx2.TransportError as error:
            raise self._unheard(error) from error


class AsyncClient(_Calls, Awaited):
    """The same for asyncio: every method of :class:`Client` by the same name, awaited.

    >>> async with AsyncClient(frame="polars") as api:      # doctest: +SKIP
    ...     (await api.ohlc("BTCUSDT", "1m"))["close"][-1]
    67012.4
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 10.0,
        frame: FrameKind = "pandas",
        patience_s: float = 0.0,
    ) -> None:
        super().__init__(base_url, frame, api_key, patience_s)
        self._http = httpx2.AsyncClient(base_url=self.base_url, headers=self._headers, timeout=timeout, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def stream(
        self, topics: str | Sequence[str], *, since: int | None = None, patience_s: float = 60.0
    ) -> AsyncGenerator[Update]:
        """Yield what topics say, for ever, as :meth:`Client.stream` does; ``contextlib.aclosing`` closes it."""
        return updates_awaited(self.base_url, self._headers, topics, since=since, patience_s=patience_s)

    async def run(self, steps: Steps[R]) -> R:
        """Do what a call wishes, step by step, and return what it returns."""
        try:
            wish = next(steps)
            while True:
                try:
                    answer, since = await self._granted(wish), time.monotonic()
                    while pause := self._again_in(wish, answer, since):
                        await self._granted(pause)
                        answer = await self._granted(wish)
                except PairscopeError as error:
                    wish = steps.throw(error)
                else:
                    wish = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed's StopIteration knows no type
        finally:
            steps.close()

    async def _granted(self, wish: Ask | Pause) -> httpx2.Response | None:
        if isinstance(wish, Pause):
            await asyncio.sleep(wish.seconds)
            return None
        try:
            async with self._http.stream(wish.verb, wish.path, **_options(wish)) as answer:
                if wish.sink is None or answer.status_code not in _TAKEN:
                    await answer.aread()
                    return answer
                wish.sink.begin(answer)
                async for part in answer.aiter_raw():
                    wish.sink.write(part)
                return answer
        except httpx2.TransportError as error:
            raise self._unheard(error) from error


def _options(wish: Ask) -> dict[str, Any]:
    """Return a request as httpx takes it."""
    options: dict[str, Any] = {"params": wish.query or None, "json": wish.body, "headers": dict(wish.headers)}
    if wish.files is not None:
        options |= {"files": dict(wish.files), "data": dict(wish.form or {})}
    if wish.timeout is not None:
        options["timeout"] = wish.timeout
    return options
