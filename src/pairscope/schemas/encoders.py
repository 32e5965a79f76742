"""Columns and values to JSON, fast, each number as the decimal that the exchange sent.

A number is written as the shortest decimal that names its float64, in positional notation: what the exchange sent as
``0.00001234`` leaves as ``0.00001234``, and 65000 as ``65000.0``. NaN and infinities become ``null``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch, Origin
from pairscope.market.ticks import TickBatch

__all__ = [
    "encode_bar",
    "encode_bars",
    "encode_indicator_update",
    "encode_indicators",
    "encode_price",
    "encode_price_update",
    "encode_ticks",
    "number",
    "plain_json",
]

_MS = 1_000_000
_ARRAY = orjson.OPT_SERIALIZE_NUMPY


def number(x: float) -> bytes:
    """Return one number as JSON, in positional notation; ``null`` for NaN and infinities.

    >>> number(0.00000125), number(65000.0), number(float("nan"))
    (b'0.00000125', b'65000.0', b'null')
    """
    text = orjson.dumps(float(x))
    return _positional(text) if b"e" in text else text


def plain_json(value: Any) -> bytes:
    """Return any document as JSON without an exponent in a number; slower than the encoders of columns.

    >>> plain_json({"low": 1e-7, "note": "1e-7"})
    b'{"low":0.0000001,"note":"1e-7"}'
    """
    return orjson.dumps(_with_fragments(value), option=_ARRAY)


def encode_price(view: Mapping[str, Any]) -> bytes:
    """Return what ``/api/price`` says, without ``age_ms`` and ``source``: the data of the ``price`` topic.

    ``view`` has symbol, price, size, timestamp (ms), change_24h, volume_24h and received (ms: when our socket saw it);
    what is missing or None is null.
    """
    parts = (
        b'{"symbol":' + orjson.dumps(view["symbol"]),
        b'"price":' + _optional(view.get("price")),
        b'"size":' + _optional(view.get("size")),
        b'"timestamp":' + orjson.dumps(view.get("timestamp")),
        b'"change_24h":' + _optional(view.get("change_24h")),
        b'"volume_24h":' + _optional(view.get("volume_24h")),
        b'"received":' + orjson.dumps(view.get("received")) + b"}",
    )
    return b",".join(parts)


def encode_price_update(view: Mapping[str, Any]) -> bytes:
    """Return the data of the ``price`` topic: the same document, so that cache and stream can share its bytes."""
    return encode_price(view)


def encode_bar(batch: BarBatch, i: int, *, closed: bool, revised: bool = False, gap: bool = False) -> bytes:
    """Return bar ``i`` of a batch with its symbol and timeframe: the data of the ``bar`` topic.

    ``gap`` says that trades of it are missing; the field is there only then.
    """
    volume = float(batch.volume[i])
    quote, bought = float(batch.quote_volume[i]), float(batch.buy_volume[i])
    if volume > 0 and quote == 0 and batch.origin[i] == Origin.UPLOAD:  # as ``BarBatch.untold`` has it
        quote = bought = float("nan")
    values = (
        b"%d" % (int(batch.ts_open_ns[i]) // _MS),
        number(batch.open[i]),
        number(batch.high[i]),
        number(batch.low[i]),
        number(batch.close[i]),
        number(volume),
        b"%d" % int(batch.trades[i]),
        number(quote / volume if volume > 0 else float("nan")),
        number(quote),
        number(bought),
        b"true" if closed else b"false",
        _ORIGINS[int(batch.origin[i])],
    )
    return b'{"symbol":%b,"timeframe":"%b",%b,"revised":%b%b}' % (
        orjson.dumps(batch.symbols[int(batch.symbol_id[i])]),
        batch.timeframe.encode(),
        (_BAR_ROW % values)[1:-1],
        b"true" if revised else b"false",
        _GAP if gap else b"",
    )


def encode_bars(
    symbol: str,
    bars: BarBatch,
    *,
    closed: Sequence[bool] | NDArray[np.bool_],
    next_cursor: str | None,
    gaps: NDArray[np.bool_] | None = None,
) -> bytes:
    """Return a page of bars of one symbol as JSON. 10,000 bars take some 8 ms.

    ``gaps`` says which bars lack trades: they, and no others, have ``"gap": true``.
    """
    rows: list[bytes] = []
    if len(bars):
        columns = (
            _integers(bars.ts_open_ns // _MS),
            *(_decimals(c) for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)),
            _integers(bars.trades),
            _decimals(bars.vwap),
            *(_decimals(np.where(bars.untold, np.nan, c)) for c in (bars.quote_volume, bars.buy_volume)),
            _flags(closed),
            [_ORIGINS[origin] for origin in bars.origin.tolist()],
        )
        rows = [_BAR_ROW % row for row in zip(*columns, strict=True)]
    for i in np.flatnonzero(gaps).tolist() if gaps is not None else ():
        rows[i] = b"%b%b}" % (rows[i][:-1], _GAP)
    return b'{"symbol":%b,"timeframe":"%b","bars":[%b],"next":%b}' % (
        orjson.dumps(symbol),
        bars.timeframe.encode(),
        b",".join(rows),
        orjson.dumps(next_cursor),
    )


def encode_ticks(symbol: str, ticks: TickBatch, *, next_cursor: str | None) -> bytes:
    """Return a page of ticks of one symbol as JSON. 10,000 ticks take some 4 ms."""
    rows: list[bytes] = []
    if len(ticks):
        columns = (
            _integers(ticks.trade_id),
            _integers(ticks.ts_event_ns // _MS),
            _decimals(ticks.price),
            _decimals(ticks.size),
            _flags(ticks.buyer_is_maker),
        )
        rows = [_TICK_ROW % row for row in zip(*columns, strict=True)]
    return b'{"symbol":%b,"ticks":[%b],"next":%b}' % (
        orjson.dumps(symbol),
        b",".join(rows),
        orjson.dumps(next_cursor),
    )


def encode_indicators(
    symbol: str,
    timeframe: str,
    ts_open_ns: NDArray[np.int64],
    closed: Sequence[bool] | NDArray[np.bool_],
    values: Mapping[str, NDArray[np.float64]],
    *,
    next_cursor: str | None,
) -> bytes:
    """Return a page of indicators of one symbol as columns; warm-up (NaN) is null."""
    columns = b",".join(orjson.dumps(name) + b":[" + b",".join(_decimals(x)) + b"]" for name, x in values.items())
    return b'{"symbol":%b,"timeframe":"%b","timestamp":[%b],"closed":[%b],"values":{%b},"next":%b}' % (
        orjson.dumps(symbol),
        timeframe.encode(),
        b",".join(_integers(ts_open_ns // _MS)),
        b",".join(_flags(closed)),
        columns,
        orjson.dumps(next_cursor),
    )


def encode_indicator_update(bars: BarBatch, values: Mapping[str, NDArray[np.float64]], *, closed: bool) -> bytes:
    """Return the newest value of each indicator over bars of one symbol: the data of the ``indicators`` topic."""
    now = b",".join(orjson.dumps(name) + b":" + number(x[-1]) for name, x in values.items())
    return b'{"symbol":%b,"timeframe":"%b","timestamp":%d,"closed":%b,"values":{%b}}' % (
        orjson.dumps(bars.symbols[int(bars.symbol_id[-1])]),
        bars.timeframe.encode(),
        int(bars.ts_open_ns[-1]) // _MS,
        b"true" if closed else b"false",
        now,
    )


_ORIGINS = tuple(origin.name.lower().encode() for origin in Origin)
_BAR_ROW = (
    b'{"timestamp":%b,"open":%b,"high":%b,"low":%b,"close":%b,"volume":%b,"trades":%b,"vwap":%b,'
    b'"quote_volume":%b,"buy_volume":%b,"closed":%b,"origin":"%b"}'
)
_GAP = b',"gap":true'
_TICK_ROW = b'{"id":%b,"timestamp":%b,"price":%b,"size":%b,"buyer_is_maker":%b}'


def _positional(text: bytes) -> bytes:
    """Write a JSON number with an exponent out in full, as a float is written: with a point."""
    plain = format(Decimal(text.decode()), "f")
    return (plain if "." in plain else f"{plain}.0").encode()


def _optional(x: float | None) -> bytes:
    return b"null" if x is None else number(x)


def _decimals(column: NDArray[np.float64]) -> list[bytes]:
    """Write a column of floats; only the cells that came out with an exponent take the slow way."""
    text = orjson.dumps(np.ascontiguousarray(column, np.float64), option=_ARRAY)[1:-1]
    cells = text.split(b",") if text else []
    return [_positional(cell) if b"e" in cell else cell for cell in cells] if b"e" in text else cells


def _integers(column: NDArray[Any]) -> list[bytes]:
    """Write a column in one go and cut it into its cells."""
    text = orjson.dumps(np.ascontiguousarray(column), option=_ARRAY)[1:-1]
    return text.split(b",") if text else []


def _flags(column: Sequence[bool] | NDArray[np.bool_]) -> list[bytes]:
    return [b"true" if flag else b"false" for flag in column]


def _with_fragments(value: Any) -> Any:
    """Replace floats that orjson would write with an exponent by their positional text."""
    if isinstance(value, float):
        text = orjson.dumps(float(value))
        return orjson.Fragment(_positional(text)) if b"e" in text else float(value)
    if isinstance(value, Mapping):
        return {str(key): _with_fragments(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_fragments(item) for item in value]
    if isinstance(value, np.generic):
        return _with_fragments(value.item())
    if isinstance(value, np.ndarray):
        return [_with_fragments(item) for item in value.tolist()]
    return value
