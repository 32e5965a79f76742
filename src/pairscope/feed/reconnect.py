"""When to connect again: which failures a retry can help, and how long to wait before each one."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator
from typing import Final

from pairscope.errors import ConnectionLost, ExchangeRefused, FeedError

__all__ = ["backoff", "can_retry"]

_FINAL_STATUS: Final = frozenset({400, 401, 404, 405, 410, 414, 426, 451})


def backoff(*, first_s: float = 0.5, cap_s: float = 30.0, rng: random.Random | None = None) -> Iterator[float]:
    """Yield delays for ever: uniform between 0 and a bound that doubles from ``first_s`` to ``cap_s`` (full jitter).

    Full jitter spreads the clients of a server that went down over the whole interval.

    >>> delays = backoff(rng=random.Random(1))
    >>> all(0 <= next(delays) <= 30 for _ in range(100))
    True
    """
    draw = rng or random.Random()
    bound = first_s
    while True:
        yield draw.uniform(0.0, bound)
        bound = min(cap_s, bound * 2.0)


def can_retry(error: BaseException, *, delivered: bool = False) -> bool:
    """Tell if the same request may succeed later.

    What the exchange will always answer (a bad address, HTTP 400, 401, 404, 451 …, a certificate that is not trusted)
    is final, unless this address has ``delivered`` before: then the answer is that of something in between, and it
    may pass. Anything that is not a failure of network or protocol is a bug and final.
    """
    if isinstance(error, ExchangeRefused):
        return delivered or error.http_status not in _FINAL_STATUS
    if isinstance(error, ssl.SSLCertVerificationError):
        return delivered
    if isinstance(error, FeedError):
        return error.retry
    return isinstance(error, ConnectionLost | OSError | TimeoutError)
