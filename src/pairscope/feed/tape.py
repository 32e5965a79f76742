"""Recordings as a market: what was traded, in the order of printing, with consecutive aggregate ids.

Recorded aggTrade frames are taken as they are. Where a symbol has @trade frames alone, adjacent market trades of one
price and side within 100 ms of the first become one aggregate trade, as the exchange does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from pairscope.errors import ForeignFile
from pairscope.feed.agg_trades import AggTrades, Listing, concat_trades
from pairscope.feed.recording import read_frames
from pairscope.market.kernel import kernel
from pairscope.market.ticks import B1, I8

__all__ = ["PublicFrame", "Tape", "aggregate", "load_tape"]

AGGREGATION_MS = 100

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PublicFrame:
    """A frame of the /public route as recorded: ``kind`` is the stream's suffix, ``trade`` or ``bookTicker``."""

    event_ms: int
    symbol: str
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """What recordings hold: aggregate trades by time of printing, and the frames of the /public route."""

    listings: tuple[Listing, ...]
    trades: AggTrades
    public: tuple[PublicFrame, ...]
    stamped: bool
    truncated: bool


class _Trade(msgspec.Struct):
    e: str
    E: int
    s: str
    T: int = 0
    p: str = ""
    q: str = ""
    m: bool = False
    a: int = -1
    f: int = -1
    l: int = -1  # noqa: E741 - the exchange's name
    t: int = -1
    X: str = "MARKET"
    nq: str = ""
    st: int = 0


class _Quote(msgspec.Struct):
    e: str
    E: int
    s: str


class _Envelope(msgspec.Struct):
    data: msgspec.Raw


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TRADE = msgspec.json.Decoder(_Trade)
_QUOTE = msgspec.json.Decoder(_Quote)


@dataclass(slots=True)
class _Rows:
    """Trades of one symbol while a recording is read; prices and sizes still as text."""

    event_ms: list[int] = field(default_factory=list)
    trade_ms: list[int] = field(default_factory=list)
    agg_id: list[int] = field(default_factory=list)
    first_id: list[int] = field(default_factory=list)
    last_id: list[int] = field(default_factory=list)
    price: list[str] = field(default_factory=list)
    size: list[str] = field(default_factory=list)
    net_size: list[str] = field(default_factory=list)
    maker: list[bool] = field(default_factory=list)

    def add(self, trade: _Trade, agg_id: int, first_id: int, last_id: int) -> None:
        self.event_ms.append(trade.E)
        self.trade_ms.append(trade.T)
        self.agg_id.append(agg_id)
        self.first_id.append(first_id)
        self.last_id.append(last_id)
        self.price.append(trade.p)
        self.size.append(trade.q)
        self.net_size.append(trade.nq)
        self.maker.append(trade.m)


def load_tape(paths: Iterable[Path | str], *, public: bool = True) -> Tape:
    """Read recordings into one tape, merged by time of printing; ``public=False`` leaves the /public frames out.

    A recording that ends early gives what is whole. Raises ``ForeignFile`` where a file is no recording or holds no
    trade. About 5 us a frame; all in memory, some 100 bytes a trade.
    """
    made: dict[str, _Rows] = {}
    counts = False
    raw: dict[str, _Rows] = {}
    frames: list[PublicFrame] = []
    stamped, truncated, names = False, False, []
    for path in paths:
        reader = read_frames(path)
        names.append(str(path))
        bad = 0
        for _, body in reader:
            try:
                event = _decode(body, quotes=public)
                if isinstance(event, _Trade):
                    counts = event.X == "MARKET" and float(event.p) > 0 and float(event.q) > 0
            except (msgspec.MsgspecError, ValueError):
                bad += 1
                continue
            if event is None:
                continue
            symbol = event.s.upper()
            if isinstance(event, _Trade) and event.e == "aggTrade":
                stamped = stamped or event.st > 0
                made.setdefault(symbol, _Rows()).add(event, event.a, event.f, event.l)
                continue
            if isinstance(event, _Trade) and counts:
                raw.setdefault(symbol, _Rows()).add(event, -1, event.t, event.t)
            if public:
                frames.append(PublicFrame(event.E, symbol, event.e, _payload(body)))
        truncated = truncated or reader.truncated
        if bad:
            _log.warning("frames left out that cannot be read", path=str(path), frames=bad)
    if not made and not any(rows.price for rows in raw.values()):
        raise ForeignFile(f"{', '.join(names)}: holds no trade: expected aggTrade or trade frames", loc="path")
    listings, trades = _tape_of(made, {symbol: rows for symbol, rows in raw.items() if symbol not in made})
    frames.sort(key=lambda frame: frame.event_ms)
    return Tape(listings, trades, tuple(frames), stamped, truncated)


def _payload(body: bytes) -> bytes:
    """Return what a frame carries, taken out of its combined envelope."""
    return bytes(_ENVELOPE.decode(body).data) if body.startswith(b'{"stream"') else body


def _decode(body: bytes, *, quotes: bool) -> _Trade | _Quote | None:
    """Return the trade or quote in a frame, None where it is something else."""
    if b'"e":"aggTrade"' in body or b'"e":"trade"' in body:
        return _TRADE.decode(_payload(body))
    if quotes and b'"e":"bookTicker"' in body:
        return _QUOTE.decode(_payload(body))
    return None


def _tape_of(made: dict[str, _Rows], raw: dict[str, _Rows]) -> tuple[tuple[Listing, ...], AggTrades]:
    """Return the listings and the trades of all symbols in order of printing."""
    listings: list[Listing] = []
    parts = []
    for symbol, rows in sorted((made | raw).items()):
        if not rows.price:
            continue
        listing, trades = _columns(symbol, len(listings), rows)
        parts.append(_unrepeated(trades) if symbol in made else aggregate(trades))
        listings.append(listing)
    trades = concat_trades(parts)
    return tuple(listings), trades.take(np.argsort(trades.event_ms, kind="stable"))


def _columns(symbol: str, symbol_id: int, rows: _Rows) -> tuple[Listing, AggTrades]:
    """Turn text into integer units; the grid is what the prices and sizes show."""
    price, price_decimals = _units(rows.price)
    size, size_decimals = _units(rows.size)
    net = np.full(size.size, -1, np.int64)
    have = np.array([bool(text) for text in rows.net_size])
    if have.any():
        net[have] = _units_at([text for text in rows.net_size if text], size_decimals)
    listing = Listing(
        symbol,
        price_decimals,
        size_decimals,
        tick=max(1, int(np.gcd.reduce(price))),
        step=max(1, int(np.gcd.reduce(size))),
    )
    event_ms, trade_ms = np.array(rows.event_ms, np.int64), np.array(rows.trade_ms, np.int64)
    agg_id, first_id, last_id = (np.array(x, np.int64) for x in (rows.agg_id, rows.first_id, rows.last_id))
    owner = np.full(price.size, symbol_id, np.int32)
    maker = np.array(rows.maker, np.bool_)
    return listing, AggTrades(owner, event_ms, trade_ms, agg_id, first_id, last_id, price, size, net, maker)


def _units(texts: list[str]) -> tuple[I8, int]:
    """Return decimals as integers of their finest digit, and how many digits that is."""
    decimals = max(len(text.partition(".")[2]) for text in texts)
    return _units_at(texts, decimals), decimals


def _units_at(texts: list[str], decimals: int) -> I8:
    """Return decimals as integers of ``10**-decimals``."""
    out = np.empty(len(texts), np.int64)
    for i, text in enumerate(texts):
        whole, _, part = text.partition(".")
        out[i] = int(whole + part[:decimals].ljust(decimals, "0"))
    return out


def _unrepeated(trades: AggTrades) -> AggTrades:
    """Return recorded aggregate trades by id, each once."""
    _, first = np.unique(trades.agg_id, return_index=True)
    return trades.take(first)


@kernel
def _groups(trade_ms: I8, price: I8, maker: B1, within_ms: int) -> NDArray[np.bool_]:  # pragma: no cover - compiled
    """Mark the trades that begin an aggregate."""
    begins = np.zeros(price.size, np.bool_)
    start = 0
    for i in range(price.size):
        if i == 0 or price[i] != price[start] or maker[i] != maker[start] or trade_ms[i] - trade_ms[start] > within_ms:
            begins[i] = True
            start = i
    return begins


def aggregate(trades: AggTrades) -> AggTrades:
    """Return the aggregates of one symbol's market trades, in order of trade id, as the exchange makes them.

    Adjacent trades of one price and side within 100 ms of the first are one. Ids are consecutive and begin at the
    first trade's id, so that two recordings of one symbol do not share any. The aggregate is printed at the time of
    its first trade, so that a minute is complete as soon as it is over.
    """
    begins = _groups(trades.trade_ms, trades.price, trades.buyer_is_maker, AGGREGATION_MS)
    at = np.flatnonzero(begins)
    if at.size == 0:
        return trades
    first = trades.take(at)
    ends = np.append(at[1:], len(trades)) - 1
    size = np.add.reduceat(trades.size, at)
    agg_id = int(trades.first_id[0]) + np.arange(at.size)
    event_ms = np.maximum.accumulate(first.trade_ms)
    return AggTrades(
        first.symbol_id,
        event_ms,
        first.trade_ms,
        agg_id,
        first.first_id,
        trades.last_id[ends],
        first.price,
        size,
        np.full(at.size, -1, np.int64),
        first.buyer_is_maker,
    )
