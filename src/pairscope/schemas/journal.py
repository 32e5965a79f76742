"""The journal of what was told live: digests of every value, and what the engine took in between, as packed bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from pairscope.errors import StoreDamaged

__all__ = ["BarsTold", "Entry", "Note", "ValuesTold", "pack_entries", "unpack_entries"]

_VERSION = 1
_LEVEL = 1


class Note(msgspec.Struct, frozen=True, array_like=True):
    """What the engine or its pairs were given between two batches that was no tick, once ``recv_ns`` had been received.

    ``kind``: ``start`` (a process began with what the store held up to ``start_ns``, at ``end_ns`` of its clock),
    ``history`` (the exchange's bars of symbol ``name`` in a range came), ``rebuilt`` (the store made the bars of a
    range anew), ``pair`` and ``unpaired`` (a pair was taken up, or let go), ``filled`` (the bars of a symbol were read
    for pairs), ``paper``, ``unpaper`` and ``paper_filled`` (the same of rules on paper), ``alert`` (an alert rule was
    taken up: ``name`` is JSON with its ``id``, its ``rule`` and the ``state`` in which it stood, null for a new one),
    ``unalert`` (let go), ``alert_event`` (``name`` is JSON: ``kind``, ``name``, ``value``, ``timeframe``, ``lookback``;
    it happened at ``start_ns``), ``alert_reload`` and ``alert_filled`` (bars of a symbol were no longer right, and were
    read, for alerts), ``aside`` (trades of symbol ``name`` came that no stream brought: all were stored as received at
    ``start_ns``, also later ones), ``hole`` (entries before this one are lost).
    """

    kind: str
    name: str = ""
    timeframe: str = ""
    start_ns: int = 0
    end_ns: int = 0
    recv_ns: int = 0


class BarsTold(msgspec.Struct, frozen=True, array_like=True):
    """Bars of one timeframe that were told at once: how many, a digest of all, and of each its digest's lowest byte.

    In the order of their own digests' keys (symbol's name, time), so that it does not depend on any symbol's number.
    """

    timeframe: str
    revised: bool
    digest: int
    each: bytes


class ValuesTold(msgspec.Struct, frozen=True, array_like=True):
    """Values of one kind (statistics, pairs, paper, alerts) that were told at once, a row a value.

    ``keys`` says whose each is; ``times`` (ns, int64), ``digests`` (uint64) and ``numbers`` (float64: the one that a
    person looks at) are columns of little-endian values.
    """

    kind: str
    keys: list[str]
    times: bytes
    digests: bytes
    numbers: bytes


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One batch at which something was told: how far its ticks and its time reached, and what was told.

    Its ticks are those received up to ``recv_ns`` that no entry before has, less those that a later entry names among
    its ``stragglers`` (symbol, trade id); ``ticks`` counts them. ``notes`` came before the batch.
    """

    watermark_ns: int
    recv_ns: int
    ticks: int
    stragglers: list[tuple[str, int]] = []
    notes: list[Note] = []
    bars: list[BarsTold] = []
    values: list[ValuesTold] = []


class _Chunk(msgspec.Struct, frozen=True, array_like=True):
    version: int
    entries: list[Entry]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Chunk)


def pack_entries(entries: Sequence[Entry]) -> bytes:
    """Return entries as one document.

    >>> unpack_entries(pack_entries([Entry(60, 61, 3)]))[0].ticks
    3
    """
    return zlib.compress(_encoder.encode(_Chunk(_VERSION, list(entries))), _LEVEL)


def unpack_entries(document: bytes) -> list[Entry]:
    """Return the entries of a document; ``StoreDamaged`` where it is none of this version."""
    try:
        chunk = _decoder.decode(zlib.decompress(document))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise StoreDamaged(f"the journal of what was told live cannot be read: {error}") from error
    if chunk.version != _VERSION:
        raise StoreDamaged(f"the journal of what was told live is of version {chunk.version}, not {_VERSION}")
    return chunk.entries
