"""Who wants what of a print, and the bytes that he gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pairscope.feed.agg_trades import AggTrades
from pairscope.feed.market_source import MarketSource
from pairscope.feed.replay_connection import Connection
from pairscope.feed.replay_streams import Session
from pairscope.feed.tape import PublicFrame
from pairscope.feed.wire_encode import AggTradeEncoder, stream_symbol, text_frame, wrap

__all__ = ["Listener", "Printer"]


class Listener:
    """What a session is subscribed to, in the form in which a print looks it up.

    ``wants`` marks the rows of the source whose aggTrades go out, ``public`` and ``slow`` name the other streams.
    """

    def __init__(self, session: Session, rows: dict[str, int]) -> None:
        wanted = session.wanted()
        self.market = session.route == "market" and bool(wanted)
        self.listening = bool(wanted)
        self.wants: NDArray[np.bool_] = np.zeros(max(1, len(rows)), np.bool_)
        if self.market:
            self.wants[[rows[stream] for stream in wanted if stream in rows]] = True
        self.wanting = bool(self.wants.any())
        self.signature = self.wants.tobytes()
        self.public = frozenset(wanted if session.route == "public" else ())
        self.slow = frozenset(stream for stream in wanted if self.market and not stream.endswith("@aggTrade"))


Listeners = Sequence[tuple[Connection, Listener]]


class Printer:
    """Encodes what is printed and sends it; connections that want the same get the same bytes."""

    def __init__(self, source: MarketSource, counters: Counter[str]) -> None:
        self.rows = {stream_symbol(listing.symbol) + "@aggTrade": i for i, listing in enumerate(source.listings)}
        self._encoder = AggTradeEncoder(source.listings, stamped=source.stamped)
        self._counters = counters

    def encode(self, trades: AggTrades) -> memoryview:
        """Return the frames of all trades, combined."""
        return self._encoder.frames(trades, np.arange(len(trades)), combined=True)[0].data

    def agg_trades(self, trades: AggTrades, listeners: Listeners) -> None:
        """Send aggTrade frames, with each connection's own faults."""
        made: dict[tuple[bool, bytes], tuple[memoryview, int]] = {}
        for connection, listener in listeners:
            if not listener.wanting:
                continue
            key = connection.session.combined, listener.signature
            if connection.faults:
                sent = self._disturbed(trades, connection, listener)
            elif key in made:
                sent = made[key]
            else:
                rows = np.flatnonzero(listener.wants[trades.symbol_id])
                frames, _ = self._encoder.frames(trades, rows, combined=key[0])
                sent = made[key] = frames.data, rows.size
            if sent[1]:
                connection.send(sent[0])
                self._counters["frames"] += sent[1]
                self._counters["bytes"] += sent[0].nbytes

    def _disturbed(self, trades: AggTrades, connection: Connection, listener: Listener) -> tuple[memoryview, int]:
        """Return the frames of one connection after its faults, and how many."""
        rows = connection.faults.disturb(np.flatnonzero(listener.wants[trades.symbol_id]))
        frames, offsets = self._encoder.frames(trades, rows, combined=connection.session.combined)
        connection.faults.spoil(frames, offsets)
        return frames.data, rows.size

    def public(self, frames: Sequence[PublicFrame], listeners: Listeners) -> None:
        """Send frames of the /public route."""
        named = [(f"{stream_symbol(frame.symbol)}@{frame.kind}", frame.payload) for frame in frames]
        for connection, listener in listeners:
            self._counters["public_frames"] += _send(connection, [x for x in named if x[0] in listener.public])

    def events(self, events: Sequence[tuple[str, bytes]], listeners: Listeners) -> None:
        """Send klines, tickers and mark prices."""
        for connection, listener in listeners:
            self._counters["event_frames"] += _send(connection, [x for x in events if x[0] in listener.slow])


def _send(connection: Connection, named: Sequence[tuple[str, bytes]]) -> int:
    """Send payloads in the connection's framing, in one write; return how many."""
    combined = connection.session.combined
    if named:
        connection.send(b"".join(text_frame(wrap(stream, x) if combined else x) for stream, x in named))
    return len(named)
