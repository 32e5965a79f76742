"""Frames and rows: what is encoded reads back as what it was."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.feed.agg_trades import AggTrades, Listing, decimal_text, klines_of
from pairscope.feed.wire_encode import AggTradeEncoder, agg_trade_rows, kline_payload, kline_rows, text_frame, wrap

LISTINGS = (
    Listing("BTCUSDT", 2, 3, tick=10),
    Listing("PEPEUSDT", 8, 0),
    Listing("币安人生USDT", 5, 2),
    Listing("XUSDT", 0, 0),
)

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2**42),
        st.integers(0, 2**53),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.integers(-1, 2**40),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


def columns(rows: list[tuple[Any, ...]]) -> AggTrades:
    symbol, ms, ids, price, size, net, maker = (list(column) for column in zip(*rows, strict=True))
    return AggTrades(
        np.array(symbol, np.int32),
        np.array(ms, np.int64) + 7,
        np.array(ms, np.int64),
        np.array(ids, np.int64),
        np.array(ids, np.int64),
        np.array(ids, np.int64) + 2,
        np.array(price, np.int64),
        np.array(size, np.int64),
        np.array(net, np.int64),
        np.array(maker, np.bool_),
    )


def unframe(data: bytes) -> list[bytes]:
    """Take WebSocket frames apart as RFC 6455 says."""
    out, at = [], 0
    while at < len(data):
        assert data[at] == 0x81
        n, at = data[at + 1], at + 2
        if n == 126:
            n, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        elif n == 127:
            n, at = int.from_bytes(data[at : at + 8], "big"), at + 8
        out.append(data[at : at + n])
        at += n
    return out


@given(rows=ROWS, combined=st.booleans(), stamped=st.booleans())
def test_frames_read_back_as_the_trades_that_they_were(rows: list[tuple[Any, ...]], combined: bool, stamped: bool):
    trades = columns(rows)
    frames, offsets = AggTradeEncoder(LISTINGS, stamped=stamped).frames(trades, np.arange(len(rows)), combined=combined)
    payloads = unframe(frames.tobytes())
    assert len(payloads) == len(rows) == offsets.size - 1
    for i, payload in enumerate(payloads):
        listing = LISTINGS[rows[i][0]]
        event = json.loads(payload)
        if combined:
            assert event["stream"] == listing.symbol.lower() + "@aggTrade"
            event = event["data"]
        expected = {
            "e": "aggTrade",
            "E": rows[i][1] + 7,
            "s": listing.symbol,
            "a": rows[i][2],
            "p": decimal_text(rows[i][3], listing.price_decimals),
            "q": decimal_text(rows[i][4], listing.size_decimals),
            "f": rows[i][2],
            "l": rows[i][2] + 2,
            "T": rows[i][1],
            "m": rows[i][6],
        }
        if rows[i][5] >= 0:
            expected["nq"] = decimal_text(rows[i][5], listing.size_decimals)
        if stamped:
            expected["st"] = 1
        assert event == expected


def test_offsets_say_where_each_frame_begins():
    trades = columns([(0, 1, 1, 1, 1, -1, True), (1, 2**41, 2**50, 2**40, 2**40, 5, False)])
    frames, offsets = AggTradeEncoder(LISTINGS, stamped=True).frames(trades, np.array([1, 0, 1]), combined=False)
    pieces = [frames[a:b].tobytes() for a, b in pairwise(offsets)]
    assert [json.loads(unframe(piece)[0])["s"] for piece in pieces] == ["PEPEUSDT", "BTCUSDT", "PEPEUSDT"]
    assert pieces[0] == pieces[2]


def test_no_rows_make_no_frames():
    frames, offsets = AggTradeEncoder(LISTINGS, stamped=True).frames(
        AggTrades.empty(), np.empty(0, np.int64), combined=True
    )
    assert (frames.size, offsets.tolist()) == (0, [0])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_text_frame_has_the_header_of_its_length(size: int):
    assert unframe(text_frame(b"x" * size)) == [b"x" * size]


def test_rows_of_rest_carry_the_same_texts():
    trades = columns([(0, 1_700_000_000_000, 55, 6_180_030, 6, 5, True)])
    assert agg_trade_rows(trades, LISTINGS[0]) == [
        {"a": 55, "p": "61800.30", "q": "0.006", "nq": "0.005", "f": 55, "l": 57, "T": 1_700_000_000_000, "m": True}
    ]


def test_a_kline_row_has_twelve_values_and_the_event_the_same_ones():
    trades = columns([(0, 60_500, 55, 6_180_030, 6, -1, True), (0, 61_000, 56, 6_180_100, 4, -1, False)])
    klines = klines_of(trades, step_ms=60_000, start_ms=60_000, end_ms=120_000)
    row = kline_rows(klines, LISTINGS[0], 60_000)[0]
    quote, paid = "618.00580", "247.20400"
    assert row == [
        60_000,
        "61800.30",
        "61801.00",
        "61800.30",
        "61801.00",
        "0.010",
        119_999,
        quote,
        6,
        "0.004",
        paid,
        "0",
    ]
    event = kline_payload(klines, 0, LISTINGS[0], interval="1m", step_ms=60_000, event_ms=61_000, closed=False)
    k = event["k"]
    assert [k[x] for x in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")] == row
    assert (k["f"], k["L"], k["x"], k["i"], event["E"]) == (55, 58, False, "1m", 61_000)


def test_a_combined_payload_is_wrapped_under_its_stream():
    assert json.loads(wrap("币安人生usdt@trade", b'{"a":1}')) == {"stream": "币安人生usdt@trade", "data": {"a": 1}}
