"""Which shard a symbol belongs to: the one that weighs most for it, so that a new shard takes its share and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from pairscope.errors import ConfigError

__all__ = ["Shard", "shard_of"]


def shard_of(symbol: str, count: int) -> int:
    """Return the shard, 0 to ``count`` - 1, that a symbol belongs to, in every process and version the same.

    Rendezvous hashing: each shard has a weight for each symbol, a hash of both, and the heaviest has it. With one shard
    more a symbol stays where it is or moves to the new one, which is 1/(``count`` + 1) of them. O(``count``).
    Reference: Thaler and Ravishankar (1998), *Using name-based mappings to increase hit rates*.

    >>> [shard_of("BTCUSDT", count) for count in (1, 2, 3, 4)]
    [0, 0, 2, 2]
    """
    return max(range(count), key=lambda shard: _weight(symbol, shard))


def _weight(symbol: str, shard: int) -> bytes:
    return blake2b(f"{shard}/{symbol}".encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` shards of the market, ``index`` from 0 on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``; ``n/n`` is shard 0, for those who count from 1. ``ConfigError`` for anything else.

        >>> Shard.parse("1/2"), Shard.parse("2/2")
        (Shard(index=1, count=2), Shard(index=0, count=2))
        """
        match = re.fullmatch(r"\s*(\d{1,4})\s*/\s*(\d{1,4})\s*", text)
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if count < 1 or index > count:
            raise ConfigError(
                f"{text!r} is no shard",
                loc="--shard",
                hint="give i/n, like 0/2 and 1/2 for the two halves of the market",
            )
        return cls(index % count, count)

    def __str__(self) -> str:
        """Return ``i/n``."""
        return f"{self.index}/{self.count}"

    def share(self, symbols: Iterable[str]) -> list[str]:
        """Return the symbols that belong to this shard, in the order given.

        >>> [Shard(i, 2).share(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]) for i in (0, 1)]
        [['BTCUSDT', 'XRPUSDT'], ['ETHUSDT', 'SOLUSDT']]
        """
        return [symbol for symbol in symbols if shard_of(symbol, self.count) == self.index]
