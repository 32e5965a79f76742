"""Symbols and the small integers that stand for them on the hot path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["Symbols", "normalize_symbol"]


def normalize_symbol(text: str) -> str:
    """Return a symbol in the exchange's spelling: trimmed, upper case.

    >>> normalize_symbol(" btcusdt ")
    'BTCUSDT'
    >>> normalize_symbol("币安人生usdt")
    '币安人生USDT'
    """
    return text.strip().upper()


class Symbols:
    """An append-only table: a symbol's place in it is its ``symbol_id`` for the life of the process.

    Batches carry a reference to it, so that ids can be read as names anywhere. Not persisted: a store keeps
    ids of its own. Names are normalised on the way in.

    >>> symbols = Symbols(["BTCUSDT"])
    >>> symbols.id_of("ethusdt"), symbols.id_of("BTCUSDT"), symbols[1], len(symbols)
    (1, 0, 'ETHUSDT', 2)
    >>> symbols.find("XRPUSDT") is None
    True
    """

    __slots__ = ("_ids", "_names")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        for name in names:
            self.id_of(name)

    def id_of(self, symbol: str) -> int:
        """Return the id of a symbol, giving it the next one if it is new. O(1)."""
        known = self._ids.get(symbol)
        if known is not None:
            return known
        name = normalize_symbol(symbol)
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = len(self._names)
            self._names.append(name)
        return known

    def find(self, symbol: str) -> int | None:
        """Return the id of a symbol, or None where it is not in the table."""
        return self._ids.get(normalize_symbol(symbol))

    def __getitem__(self, symbol_id: int) -> str:
        return self._names[symbol_id]

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and normalize_symbol(symbol) in self._ids
