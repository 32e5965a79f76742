"""What can be played, by the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pairscope.errors import InputError
from pairscope.feed.market_source import MarketSource
from pairscope.feed.stored_ticks import tape_of_ticks
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.feed.synthetic_source import SyntheticSource
from pairscope.feed.tape import load_tape
from pairscope.feed.tape_source import TapeSource

__all__ = ["MarketSource", "SyntheticSource", "TapeSource", "open_source", "tape_of_ticks"]


def open_source(words: Sequence[str], *, loop: bool = False) -> MarketSource:
    """Return what a command line names: recordings, or ``synthetic[:seed=7,symbols=600,rate=6000]``.

    Raises ``InputError`` that says what is wrong with which word.
    """
    if not words:
        raise InputError("nothing to play", loc="path", hint="name recordings, or `synthetic`")
    if any(word == "synthetic" or word.startswith("synthetic:") for word in words):
        if len(words) > 1:
            raise InputError("the synthetic market cannot be mixed with recordings", loc="path")
        return SyntheticSource(_market_of(words[0]))
    return TapeSource(load_tape([Path(word) for word in words]), loop=loop)


def _market_of(word: str) -> SyntheticMarket:
    """Return the market that ``synthetic:key=value,…`` describes."""
    options: dict[str, float] = {}
    for part in filter(None, word.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        try:
            if key not in {"seed", "symbols", "rate"}:
                raise ValueError
            options[key] = float(value) if key == "rate" else int(value)
        except ValueError:
            raise InputError(
                f"synthetic market: cannot read {part!r}", loc="path", hint="use synthetic:seed=7,symbols=600,rate=6000"
            ) from None
    seed, symbols = int(options.get("seed", 7)), int(options.get("symbols", 600))
    return SyntheticMarket(seed=seed, symbols=symbols, ticks_per_second=options.get("rate"))
