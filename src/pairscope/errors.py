"""The error tree: does a retry help, which HTTP status it becomes, what to do about it.

    PairscopeError                     retry  HTTP   what to do
    ├── ConfigError                    no     500    the message names the setting; exit code 2
    ├── InputError                     no     422    the message names the parameter
    │   ├── UnknownSymbol              no     404    lists close names
    │   ├── NotWatched                 no     404    the pair is not on the watch-list
    │   ├── UnknownJob                 no     404    no such job, or it was long ago; start it again
    │   ├── UnknownRun                 no     404    no such backtest was kept, or it was forgotten
    │   ├── UnknownRule                no     404    no such paper position, or it was deleted
    │   ├── UnknownAlert               no     404    no such alert, or it was deleted
    │   ├── NotEnoughData              no     422    says have / need
    │   └── ForeignFile                no     422    says what was expected
    ├── FeedError                      yes    503
    │   ├── ConnectionLost             yes    503    back off, connect again
    │   ├── FeedSilent                 yes    503    connect again at once
    │   ├── SubscriptionRefused        no     502    stop, say which stream
    │   ├── MalformedFrame             no     502    count it, go on
    │   └── ExchangeRefused            maybe  502    the exchange answered with an error
    ├── StorageError                   yes    503
    │   ├── StoreUnavailable           yes    503    the writer holds or spools what it has
    │   ├── StoreRefused           no     422    what was given cannot be stored, whenever it is asked
    │   ├── StoreLocked                no     503    another process holds it; exit code 2
    │   ├── StoreDamaged               no     503    the message says what was set aside
    │   ├── WriterOverflow             yes    503    policy decides, a counter tells
    │   ├── Superseded                 yes    503    another replica is the desk now; ask again
    │   └── SchemaMismatch             no     500    says which migration
    ├── CacheUnavailable               yes    503    the store answers instead
    ├── Busy                           yes    503    too many heavy answers at once; ask again
    ├── DeskAway                       yes    503    no replica can be reached that is the desk; ask again
    ├── JobCancelled                   no     409    somebody cancelled what was being waited for; start it again
    ├── ApiUnreachable                 yes    503    nobody answers at the API's address; start it, check the address
    ├── ApiRefused                     maybe  502    the API answered with an error that none of the others names
    └── NumericalError                 no     422
        ├── DegenerateSeries           no     422    constant or not finite
        └── NotConverged               no     422    iterations and last step

Whatever is not in this tree is a bug: it is logged, counted and ends the task that met it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

__all__ = [
    "ApiRefused",
    "ApiUnreachable",
    "Busy",
    "CacheUnavailable",
    "ConfigError",
    "ConnectionLost",
    "DegenerateSeries",
    "DeskAway",
    "ExchangeRefused",
    "FeedError",
    "FeedSilent",
    "ForeignFile",
    "InputError",
    "JobCancelled",
    "MalformedFrame",
    "NotConverged",
    "NotEnoughData",
    "NotWatched",
    "NumericalError",
    "PairscopeError",
    "SchemaMismatch",
    "StorageError",
    "StoreDamaged",
    "StoreLocked",
    "StoreRefused",
    "StoreUnavailable",
    "SubscriptionRefused",
    "Superseded",
    "UnknownAlert",
    "UnknownJob",
    "UnknownRule",
    "UnknownRun",
    "UnknownSymbol",
    "WriterOverflow",
]


class PairscopeError(Exception):
    """Anything that Pairscope reports on purpose.

    ``loc`` names the parameter, setting or file at fault where there is one; ``hint`` is the next step for a person.
    ``problem`` is the whole problem document where an API answered it: the rows that an upload was refused for.
    """

    retry: ClassVar[bool] = False
    status: ClassVar[int] = 500
    hint: str = ""
    problem: Mapping[str, Any] | None = None

    def __init__(self, message: str, *, loc: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.loc = loc
        if hint:
            self.hint = hint

    def line(self) -> str:
        """Return the message and the hint as one line for a terminal."""
        return f"{self}: {self.hint}" if self.hint else str(self)


class ConfigError(PairscopeError):
    """A setting is missing, malformed or contradicts another."""

    @classmethod
    def key_wanted(cls) -> Self:
        """Return the error of a command whose running instance asks for a key that it was not given."""
        return cls(
            "the Pairscope that runs here asks for a key",
            loc="PAIRSCOPE_DASHBOARD_KEY",
            hint="set it to one of its keys",
        )


class InputError(PairscopeError, ValueError):
    """What the caller sent cannot be used; ``loc`` names the parameter. A ``ValueError`` for those who call Python."""

    status = 422


class UnknownSymbol(InputError):
    """No such symbol is known here."""

    status = 404

    def __init__(self, symbol: str, close: tuple[str, ...] = ()) -> None:
        also = f"; did you mean {', '.join(close)}?" if close else ""
        super().__init__(f"unknown symbol {symbol!r}{also}", loc="symbol")
        self.symbol = symbol
        self.close = close


class NotWatched(InputError):
    """The pair is not on the watch-list."""

    status = 404
    hint = "POST it to /api/watchlist first"

    def __init__(self, y: str, x: str) -> None:
        super().__init__(f"the pair {y}, {x} is not on the watch-list", loc="y")


class UnknownJob(InputError):
    """No job of this id is known, or it ended so long ago that it was forgotten."""

    status = 404
    hint = "GET /api/jobs lists those that are known"

    def __init__(self, id: str) -> None:  # noqa: A002 - what everybody calls it
        super().__init__(f"there is no job {id[:64]!r}", loc="id")


class UnknownRule(InputError):
    """No rule of this id is followed on paper: there never was one, or it was deleted."""

    status = 404
    hint = "GET /api/paper lists those that are followed"

    def __init__(self, id: str) -> None:  # noqa: A002 - what everybody calls it
        super().__init__(f"there is no paper position {id[:64]!r}", loc="id")


class UnknownAlert(InputError):
    """No alert of this id is kept: there never was one, or it was deleted."""

    status = 404
    hint = "GET /api/alerts lists those that are kept"

    def __init__(self, id: str) -> None:  # noqa: A002 - what everybody calls it
        super().__init__(f"there is no alert {id[:64]!r}", loc="id")


class UnknownRun(InputError):
    """No backtest of this id is kept: there never was one, or it was deleted, or it was among the oldest."""

    status = 404
    hint = "GET /api/backtests lists those that are kept"

    def __init__(self, id: str) -> None:  # noqa: A002 - what everybody calls it
        super().__init__(f"there is no backtest {id[:64]!r}", loc="id")


class NotEnoughData(InputError):
    """Fewer observations than the computation needs."""

    def __init__(self, what: str, *, need: int, have: int) -> None:
        super().__init__(f"{what} needs {need}, has {have}")
        self.need = need
        self.have = have


class ForeignFile(InputError):
    """A file is not what it should be, or ends too early."""


class FeedError(PairscopeError):
    """The exchange could not be heard."""

    retry, status = True, 503


class ConnectionLost(FeedError):
    """The socket closed or could not be opened."""


class FeedSilent(FeedError):
    """The socket is open and nothing arrives."""


class SubscriptionRefused(FeedError):
    """The exchange refused a stream; asking again changes nothing."""

    retry, status = False, 502


class MalformedFrame(FeedError):
    """A frame is not what the protocol says; it is counted and left out."""

    retry, status = False, 502


class ExchangeRefused(FeedError):
    """The exchange answered a request with an error of its own.

    ``code`` is the exchange's (-1121 invalid symbol, ...), ``http_status`` the response's.
    """

    status = 502

    def __init__(
        self, message: str, *, code: int = 0, http_status: int = 0, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status
        self.retry_after_s = retry_after_s


class StorageError(PairscopeError):
    """The store could not do what was asked."""

    retry, status = True, 503


class StoreUnavailable(StorageError):
    """The store did not answer; ticks wait in the writer's queue or in the spool meanwhile."""

    hint = "check the disk and PAIRSCOPE_DATABASE_URL"


class StoreRefused(StorageError):
    """What was given cannot be stored, however often it is tried; the writer keeps it aside and goes on."""

    retry, status = False, 422


class StoreLocked(StorageError):
    """Another process holds the store."""

    retry = False


class StoreDamaged(StorageError):
    """The store's file cannot be read."""

    retry = False


class WriterOverflow(StorageError):
    """The writer's queue and the spool are full."""


class Superseded(StorageError):
    """What was to be stored is another's to store by now: another replica has become the desk."""

    hint = "ask again in a moment"


class SchemaMismatch(StorageError):
    """The store was made by a version whose tables this one does not know."""

    retry, status = False, 500


class CacheUnavailable(PairscopeError):
    """The cache did not answer."""

    retry, status = True, 503


class Busy(PairscopeError):
    """As many heavy answers as may be are being computed, and as many wait."""

    retry, status = True, 503
    hint = "ask again in a moment"
    retry_after_s = 1.0


class DeskAway(PairscopeError):
    """No replica that is the desk could be reached: one is about to become it."""

    retry, status = True, 503
    hint = "ask again in a moment"
    retry_after_s = 2.0

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the error of a desk that was asked and did not answer."""
        return cls(f"the replica that is the desk does not answer: {type(error).__name__}")


class JobCancelled(PairscopeError):
    """The job that was being waited for was cancelled."""

    status = 409
    hint = "start it again"


class ApiUnreachable(PairscopeError):
    """Nobody answered at the API's address, or not in time."""

    retry, status = True, 503
    hint = "start it with `pairscope run`, or check the address"


class ApiRefused(PairscopeError):
    """The API answered with an error that no other class names; ``http_status`` is the answer's."""

    status = 502

    def __init__(
        self, message: str, *, http_status: int, loc: str = "", retry_after_s: float | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, loc=loc, hint=hint)
        self.http_status = http_status
        self.retry_after_s = retry_after_s


class NumericalError(PairscopeError, ValueError):
    """The numbers given have no answer. A ``ValueError`` for those who call Python."""

    status = 422


class DegenerateSeries(NumericalError):
    """A series is constant, not finite or collinear with another."""


class NotConverged(NumericalError):
    """An iteration ended without reaching its tolerance."""
