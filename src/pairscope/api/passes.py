"""What a replica signs for a request that it hands on: it was let in, and counted, already."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from pairscope.ports import Clock

__all__ = ["HANDED_ON", "PASS_S", "Passes"]

HANDED_ON: Final = "X-Pairscope-Handed-On"
"""The header that carries a pass; a request that has it is handed on no further."""
PASS_S: Final = 30
"""So long a pass is good; the clocks of two replicas may be that far apart."""

_PURPOSE: Final = b"a request that was handed on\0"


class Passes:
    """Passes under the secret that replicas share: good for one method, path and holder of a key, for half a minute.

    Who has the secret may write passes; without one that is shared nobody's pass is good here but one's own.

    >>> passes = Passes("a secret", lambda: 10**18)
    >>> made = passes.issue("GET", "/api/jobs", "dashboard")
    >>> passes.holder(made, "GET", "/api/jobs"), passes.holder(made, "GET", "/api/alerts")
    ('dashboard', None)
    """

    def __init__(self, secret: str, clock: Clock) -> None:
        self._key = hashlib.sha256(_PURPOSE + (secret or secrets.token_urlsafe(32)).encode()).digest()
        self._clock = clock

    def issue(self, method: str, path: str, holder: str) -> str:
        """Return a pass for a request of the holder of a key, who is empty where no key is asked for."""
        now_s = self._clock() // 1_000_000_000
        return f"{now_s}.{self._sign(now_s, method, path, holder)}.{holder}"

    def holder(self, handed: str, method: str, path: str) -> str | None:
        """Return whose request it is; None where the pass is forged, too old or another request's."""
        said, _, rest = handed.partition(".")
        signature, _, holder = rest.partition(".")
        if not (said.isascii() and said.isdecimal() and len(said) <= 12 and signature.isascii()):
            return None
        if abs(self._clock() // 1_000_000_000 - int(said)) > PASS_S:
            return None
        return holder if hmac.compare_digest(signature, self._sign(int(said), method, path, holder)) else None

    def _sign(self, at_s: int, method: str, path: str, holder: str) -> str:
        text = f"{at_s}\n{method}\n{path}\n{holder}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
