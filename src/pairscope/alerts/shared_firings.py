"""What firings need where several replicas may be the desk: a claim each, and a mark of how far was judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import orjson

from pairscope.alerts.history import COLLECTION, seq_of
from pairscope.delivery import OUTBOX, seq_of_message
from pairscope.market.alert_rules import AlertFiring
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document, Records

__all__ = ["CLAIMS", "SharedFirings", "claim_key", "number_of"]

CLAIMS: Final = "alert_claims"
CLAIMED_MS: Final = 86_400_000
"""How long a claim is kept.

Only a tick that is judged twice can fire twice, and a desk judges again at most what a replica remembers, half a
minute, or what it reads of the streams, from a minute before the store's end on. A day leaves room for clocks.
"""
MARK: Final = ("desk", "judged")
MARK_NS: Final = 1_000_000_000
"""How far was judged is written down at least so often, while ticks come."""


def claim_key(firing: AlertFiring) -> str:
    """Return what a firing is known by, whoever finds it: its rule, and the tick that did it, else the time.

    >>> claim_key(AlertFiring("a", 3, 5, 0, 0, "BTCUSDT", 7, 0, 101.0, 100.0, (101.0,)))
    'a/BTCUSDT/7'
    >>> claim_key(AlertFiring("a", 3, 5, 0, 0, "", -1, 0, 101.0, 100.0, (101.0,)))
    'a//at5'
    """
    tick = str(firing.trade_id) if firing.trade_id >= 0 else f"at{firing.time_ns}"
    return f"{firing.rule_id}/{firing.symbol}/{tick}"


def number_of(document: Document) -> int | None:
    """Return the ``seq`` of the firing that a document belongs to; None for every other document."""
    if document.collection == COLLECTION:
        return seq_of(document.key)
    return seq_of_message(document.key) if document.collection == OUTBOX else None


class SharedFirings:
    """Firings that wait until the store has them, since another replica may have told them already.

    ``term`` gives the document under which the desk writes: it goes with everything. With what came of a batch goes
    how far was judged, by receive time, so that the next desk judges what came behind it and nothing twice.
    """

    def __init__(self, term: Callable[[], Document]) -> None:
        self._term = term
        self._untold: dict[int, tuple[int, str, bytes]] = {}
        self._marked_ns = 0
        self.judged_ns = 0
        """The newest receive time that was judged: by this desk, or at its start by the one before."""
        self.is_desk = False

    async def restore(self, records: Records) -> None:
        """Take up how far the desk before had come."""
        stands = await records.get(*MARK)
        self.judged_ns = self._marked_ns = 0 if stands is None else int(orjson.loads(stands))
        self._untold.clear()
        self.is_desk = True

    def seeing(self, judge: Callable[[TickBatch], None]) -> Callable[[TickBatch], None]:
        """Return what judges a batch, and has it known how far was judged."""

        def judging(batch: TickBatch) -> None:
            judge(batch)
            if len(batch):
                self.judged_ns = max(self.judged_ns, int(batch.ts_recv_ns.max()))

        return judging

    def claim(self, firing: AlertFiring, seq: int, now_ms: int) -> Document:
        """Return the document that makes a firing this desk's, and the only one of its rule and tick."""
        return Document(CLAIMS, claim_key(firing), b"%d %b %d" % (seq, self._term().body or b"", now_ms))

    async def outdated(self, records: Records, now_ms: int) -> list[Document]:
        """Return, as documents without a body, the claims that are older than is kept. Reads them all."""
        oldest_ms = now_ms - CLAIMED_MS
        return [Document(CLAIMS, key, None) async for key, body in records.scan(CLAIMS) if _put_ms(body) < oldest_ms]

    def beside(self, documents: Sequence[Document]) -> list[Document]:
        """Return what goes with documents that came of a batch, or a second after the last ones."""
        if not documents and self.judged_ns - self._marked_ns < MARK_NS:
            return []
        self._marked_ns = self.judged_ns
        return [Document(*MARK, orjson.dumps(self.judged_ns)), self._term()]

    def wait(self, seq: int, came_ns: int, key: str, body: bytes) -> None:
        """Have a firing told once it is stored."""
        self._untold[seq] = came_ns, key, body

    def stored(self, documents: Sequence[Document]) -> list[tuple[int, int, str, bytes]]:
        """Return (``seq``, when it came, key, body) of the firings among documents that were not told yet, in order."""
        seqs = sorted(seq_of(each.key) for each in documents if each.collection == COLLECTION and each.body is not None)
        return [(seq, *self._untold.pop(seq)) for seq in seqs if seq in self._untold]

    def refused(self, seqs: Sequence[int]) -> None:
        """Forget firings that another desk has told."""
        for seq in seqs:
            self._untold.pop(seq, None)


def _put_ms(claim: bytes) -> int:
    """Return when a claim was put; 0 where it does not say."""
    return int([*claim.split(), b"0"][2])
