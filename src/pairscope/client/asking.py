"""What a call asks of the API, step by step and without a socket, so that one text serves both clients.

A call is a generator: it yields what is to be sent (:class:`Ask`) or waited (:class:`Pause`), is given the answers, and
returns what the caller wants. :class:`call` makes of it a method that returns on ``Client`` and is awaited on
``AsyncClient``.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from typing import Any, BinaryIO, Concatenate, Final, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload
from urllib.parse import quote

import httpx2

from pairscope.client.frames import FrameKind, checked_kind
from pairscope.client.problems import error_of
from pairscope.errors import ApiUnreachable

__all__ = [
    "PAGE",
    "Ask",
    "Awaited",
    "Blocking",
    "Caller",
    "Moment",
    "Pause",
    "Sink",
    "Steps",
    "answered",
    "call",
    "changed",
    "file_ask",
    "plain",
    "read",
    "segment",
    "written",
]

Moment: TypeAlias = int | str | datetime
"""A time parameter: milliseconds since the epoch, ISO 8601, or a datetime (naive means UTC)."""

PAGE: Final = 10_000
"""Rows that one request may ask for."""

_RETRIES: Final = 2
_FIRST_PAUSE_S: Final = 0.1

P = ParamSpec("P")
R = TypeVar("R")


class Sink(Protocol):
    """Takes an answer's body as it comes, so that it need not fit into memory."""

    def begin(self, answer: httpx2.Response) -> None: ...

    def write(self, part: bytes) -> object: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``body`` goes as JSON, ``files`` and ``form`` as multipart; a ``sink`` takes the answer's body."""

    verb: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, Any, str]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Time to let pass."""

    seconds: float


Steps: TypeAlias = Generator[Ask | Pause, Any, R]
"""A call on its way: it yields wishes, is given an ``httpx2.Response`` for each ``Ask``, and returns its result."""


class Blocking(ABC):
    """A client whose methods return."""

    @abstractmethod
    def run(self, steps: Steps[R]) -> R:
        """Do what a call wishes, step by step, and return what it returns."""


class Awaited(ABC):
    """A client whose methods are awaited."""

    @abstractmethod
    async def run(self, steps: Steps[R]) -> R:
        """Do what a call wishes, step by step, and return what it returns."""


class call(Generic[P, R]):  # noqa: N801 - reads as what it makes of a method
    """Makes a method of a generator: one that returns on a blocking client, a coroutine on an awaited one."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[R]]) -> None:
        @wraps(steps)
        def now(self: Blocking, *args: P.args, **options: P.kwargs) -> R:
            return self.run(steps(self, *args, **options))

        @wraps(steps)
        async def later(self: Awaited, *args: P.args, **options: P.kwargs) -> R:
            return await self.run(steps(self, *args, **options))

        signature = inspect.signature(steps)
        returned = str(signature.return_annotation).removeprefix("Steps[").removesuffix("]")
        self._now: Any = now
        self._later: Any = later
        both: tuple[Any, Any] = (now, later)
        for made in both:
            made.__signature__ = signature.replace(return_annotation=returned)
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, client: None, kind: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Blocking, kind: object = None) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: Awaited, kind: object = None) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, client: Any, kind: Any = None) -> Any:
        made = self._later if issubclass(kind or type(client), Awaited) else self._now
        return made if client is None else made.__get__(client, kind)


class Caller:
    """What every part of a client may rely on."""

    base_url: str
    frame: FrameKind

    def kind(self, frame: FrameKind | None) -> FrameKind:
        """Return what a table is to be made of: as this call says, else as the client was made."""
        return self.frame if frame is None else checked_kind(frame)


def answered(ask: Ask, *, tries: int = _RETRIES + 1) -> Steps[httpx2.Response]:
    """Send a GET, again where the connection failed and not where time ran out; what it answers may be an error."""
    for attempt in range(tries):
        try:
            answer: httpx2.Response = yield ask
            return answer
        except ApiUnreachable as error:
            if attempt == tries - 1 or isinstance(error.__cause__, httpx2.TimeoutException):
                raise
        yield Pause(_FIRST_PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")


def read(path: str, **params: Any) -> Steps[Any]:
    """GET a document as JSON; parameters that are None are left out, times and lists are written out."""
    answer = yield from answered(Ask("GET", path, written(params)))
    if answer.is_success:
        return answer.json()
    raise error_of(answer)


def changed(ask: Ask) -> Steps[httpx2.Response]:
    """Send what changes something, once: nobody knows whether one that broke has been heard."""
    answer: httpx2.Response = yield ask
    if answer.is_success:
        return answer
    raise error_of(answer)


def file_ask(
    path: str, name: str, content: bytes | BinaryIO, fields: Mapping[str, Any], *, timeout: float | None = None
) -> Ask:
    """Return the request that posts a file with the fields of a form."""
    files = {"file": (name, content, "application/octet-stream")}
    return Ask("POST", path, form=written(fields), files=files, timeout=timeout)


def written(params: Mapping[str, Any]) -> dict[str, str]:
    """Write parameters as the API reads them, without those that are None.

    >>> written({"fill": True, "names": ["sma:20", "rsi:14"], "end": None})
    {'fill': 'true', 'names': 'sma:20,rsi:14'}
    """
    return {name: _text(value) for name, value in params.items() if value is not None}


def plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with times written out, and without what is None.

    >>> plain({"start": datetime(2026, 1, 1), "stop": None, "entry": 2})
    {'start': '2026-01-01T00:00:00', 'entry': 2}
    """
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in body.items()
        if value is not None
    }


def segment(*names: str | Iterable[str]) -> str:
    """Make names safe as segments of a path; they may hold letters outside ASCII.

    >>> segment("A/B", "ETHUSDT")
    'A%2FB/ETHUSDT'
    """
    return "/".join(quote(name if isinstance(name, str) else ",".join(name), safe="") for name in names)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)
