"""Frames to columns: what is taken, what is left out and why, and that nothing a socket says can raise."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pairscope.errors import MalformedFrame
from pairscope.feed.wire import Decoder, Reply, Shutdown, agg_trades_batch, decode_agg_trades
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols

T = 1_723_161_256_222
RECV = 1_723_161_255_163_182_267
NAMES = ["BTCUSDT", "ETHUSDT", "币安人生USDT", "1000PEPEUSDT", "BTCUSDT_261225"]
TRADE: dict[str, Any] = {
    "e": "aggTrade",
    "E": T + 130,
    "s": "BTCUSDT",
    "a": 2_500_000_001,
    "p": "61800.30",
    "q": "0.006",
    "nq": "0.005",
    "f": 5_266_583_930,
    "l": 5_266_583_935,
    "T": T,
    "m": True,
    "st": 1,
}


def combined(**other: Any) -> bytes:
    data = {key: value for key, value in (TRADE | other).items() if value is not None}
    return json.dumps({"stream": "btcusdt@aggTrade", "data": data}, ensure_ascii=False).encode()


def decoder(**options: Any) -> Decoder:
    return Decoder(Symbols(NAMES), **options)


def test_a_combined_frame_becomes_one_row() -> None:
    d = decoder()
    assert d.feed(combined(), RECV) is None
    batch = d.take(77)
    assert batch.symbols[int(batch.symbol_id[0])] == "BTCUSDT"
    assert batch.ts_event_ns.tolist() == [T * 1_000_000]
    assert batch.ts_recv_ns.tolist() == [RECV]
    assert batch.trade_id.tolist() == [2_500_000_001]
    assert batch.price.tolist() == [61800.30]
    assert batch.size.tolist() == [0.006]
    assert batch.buyer_is_maker.tolist() == [True]
    assert (batch.watermark_ns, batch.void) == (77, ())
    assert len(d) == 0
    assert len(d.take(78)) == 0


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer_will_do_and_nothing_of_it_is_kept(wrap: Any) -> None:
    buffer = bytearray(combined())
    d = decoder()
    d.feed(wrap(buffer), RECV)
    buffer[:] = b"x" * len(buffer)
    assert d.take(0).trade_id.tolist() == [2_500_000_001]


def test_raw_frames_and_frames_with_their_keys_in_another_order_are_read_too() -> None:
    d = decoder()
    d.feed(json.dumps(TRADE).encode(), RECV)
    d.feed(json.dumps({"data": TRADE, "stream": "x"}).encode(), RECV)
    d.feed(json.dumps({"stream": "x", "data": dict(reversed(TRADE.items()))}, indent=1).encode(), RECV)
    assert len(d) == 3
    assert not d.rejected


def test_what_is_new_in_the_protocol_may_be_absent_or_joined_by_more() -> None:
    d = decoder()
    d.feed(combined(nq=None, st=None), RECV)
    d.feed(combined(ps="BTCUSDT", later={"x": [1]}), RECV)
    assert len(d) == 2


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_name_finds_its_symbol(name: str) -> None:
    d = decoder()
    d.feed(combined(s=name), RECV)
    batch = d.take(0)
    assert [batch.symbols[i] for i in batch.symbol_id.tolist()] == [name]


@pytest.mark.parametrize(
    ("other", "reason", "void"),
    [
        ({"p": "0"}, "not_positive", True),
        ({"q": "0.000"}, "not_positive", True),
        ({"p": "-1.5"}, "not_positive", True),
        ({"p": "NaN"}, "not_finite", False),
        ({"q": "Infinity"}, "not_finite", False),
        ({"q": "-inf"}, "not_finite", False),
        ({"p": "1e308"}, "out_of_range", False),
        ({"p": "1e999"}, "malformed", False),
        ({"p": "0x1"}, "malformed", False),
        ({"p": None}, "malformed", False),
        ({"q": None}, "malformed", False),
        ({"p": ["1"]}, "malformed", False),
        ({"a": None}, "malformed", False),
        ({"a": -1}, "malformed", False),
        ({"a": 1 << 70}, "malformed", False),
        ({"T": None}, "malformed", False),
        ({"T": 1 << 62}, "malformed", False),
        ({"m": "yes"}, "malformed", False),
        ({"s": 5}, "malformed", False),
        ({"s": "NOSUCHUSDT"}, "not_followed", False),
        ({"s": "btcusdt"}, "not_followed", False),
        ({"st": 2}, "coin_margined", False),
        ({"E": T + 60_001}, "time_apart", False),
        ({"E": T - 60_001}, "time_apart", False),
    ],
)
def test_what_must_not_count_is_counted_by_reason(other: dict[str, Any], reason: str, void: bool) -> None:
    d = decoder()
    assert d.feed(combined(**other), RECV) is None
    batch = d.take(0)
    assert len(batch) == 0
    assert dict(d.rejected) == {reason: 1}
    assert batch.void == (((0, TRADE["a"]),) if void else ())


def test_a_trade_a_minute_from_its_event_is_still_taken() -> None:
    d = decoder()
    d.feed(combined(E=T + 60_000), RECV)
    assert len(d) == 1


def test_a_zero_size_keeps_its_id_so_that_no_hole_is_seen() -> None:
    d, ledger = decoder(), Continuity()
    for number, size in [(10, "1"), (11, "0"), (12, "1")]:
        d.feed(combined(a=number, q=size), RECV)
    admission = ledger.admit(d.take(0))
    assert admission.changed == ()
    assert ledger.next_id("BTCUSDT") == 13


def test_off_book_prints_of_the_trade_stream_are_void() -> None:
    d = decoder(stream="trade")
    shape = {"e": "trade", "E": T, "T": T, "s": "BTCUSDT", "p": "61800.30", "q": "0.006", "m": False}
    for number, kind in enumerate(["MARKET", "INSURANCE_FUND", "ADL", "NA", "MARKET"]):
        bare = shape | {"t": number, "X": kind} | ({"p": "0", "q": "0"} if kind == "NA" else {})
        d.feed(json.dumps({"stream": "btcusdt@trade", "data": bare}).encode(), RECV)
    batch = d.take(0)
    assert batch.trade_id.tolist() == [0, 4]
    assert batch.void == ((0, 1), (0, 2), (0, 3))
    assert dict(d.rejected) == {"off_book": 3}
    assert d.last_raw_id("BTCUSDT") == 4


def test_a_stream_that_is_not_followed_is_ignored_since_its_ids_are_others() -> None:
    d = decoder()
    d.feed(
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}}', 1
    )
    assert (len(d), d.ignored) == (0, 1)


def test_the_newest_raw_id_is_kept_for_the_audit_of_tails() -> None:
    d = decoder()
    assert d.last_raw_id("ETHUSDT") == -1
    for last in (40, 52, 47):
        d.feed(combined(s="ETHUSDT", l=last), RECV)
    assert d.last_raw_id("ETHUSDT") == 52
    assert d.last_raw_id("NOSUCHUSDT") == -1


def test_only_the_followed_symbols_of_a_table_are_taken_and_more_may_follow() -> None:
    d = Decoder(Symbols(NAMES), ["ETHUSDT"])
    d.feed(combined(), RECV)
    d.follow(["BTCUSDT", "NEWUSDT"])
    d.feed(combined(), RECV)
    d.feed(combined(s="NEWUSDT"), RECV)
    assert d.rejected == {"not_followed": 1}
    assert len(d) == 2


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        ({"result": None, "id": 1}, Reply(1)),
        ({"result": ["btcusdt@aggTrade"], "id": "a-uuid"}, Reply("a-uuid", ["btcusdt@aggTrade"])),
        ({"code": 2, "msg": "Invalid request"}, Reply(None, None, 2, "Invalid request")),
        ({"code": 2, "msg": "Invalid request", "id": 3}, Reply(3, None, 2, "Invalid request")),
        (
            {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19},
            Reply(19, None, 4, "Too many subscriptions"),
        ),
        ({"id": None, "error": {"code": 3, "msg": "Invalid json"}}, Reply(None, None, 3, "Invalid json")),
        ({"code": 0, "msg": "Unknown property"}, Reply(None, None, -1, "Unknown property")),
    ],
)
def test_answers_to_control_messages_are_read_in_both_shapes(frame: dict[str, Any], reply: Reply) -> None:
    assert decoder().feed(json.dumps(frame).encode(), RECV) == reply


@pytest.mark.parametrize(
    "frame",
    [
        {"e": "serverShutdown", "E": T},
        {"event": {"e": "serverShutdown", "E": T}},
        {"stream": "x", "data": {"e": "serverShutdown", "E": T}},
    ],
)
def test_an_announced_shutdown_is_told(frame: dict[str, Any]) -> None:
    assert decoder().feed(json.dumps(frame).encode(), RECV) == Shutdown()


@pytest.mark.parametrize(
    "frame",
    [
        b'{"stream":"!markPrice@arr","data":[{"e":"markPriceUpdate","s":"BTCUSDT"}]}',
        b'{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1","T":1,"E":1}',
        b"[]",
        b"5",
        b"null",
        b"{}",
        b'{"data":null}',
        b'{"stream":"x","data":"y"}',
    ],
)
def test_anything_else_is_ignored_and_counted(frame: bytes) -> None:
    d = decoder()
    assert d.feed(frame, RECV) is None
    assert (d.ignored, len(d), sum(d.rejected.values())) == (1, 0, 0)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"\xff\xfe",
        combined()[:-9],
        b'{"stream":"\xff"}',
        b"[" * 100_000,
        b'{"data":' * 50_000,
        b'{"stream":"x","data":',
    ],
)
def test_what_is_no_json_is_malformed(frame: bytes) -> None:
    d = decoder()
    assert d.feed(frame, RECV) is None
    assert d.rejected == {"malformed": 1}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*TRADE, "data", "event", "id", "error", "code", "X"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=80))
def test_no_bytes_can_raise(frame: bytes) -> None:
    decoder().feed(frame, RECV)


@given(
    st.dictionaries(st.sampled_from([*TRADE, "X", "t"]), json_values, max_size=6),
    st.sampled_from(["aggTrade", "trade"]),
)
@example({"a": True}, "aggTrade")
@example({"e": "trade", "t": 1}, "trade")
def test_no_well_formed_message_can_raise_and_each_is_accounted_for(changes: dict[str, Any], stream: Any) -> None:
    for frame in (TRADE | changes, {"stream": "x", "data": TRADE | changes}, changes):
        d = decoder(stream=stream)
        signal = d.feed(json.dumps(frame).encode(), RECV)
        batch = d.take(0)
        assert len(batch) + sum(d.rejected.values()) + d.ignored + (signal is not None) == 1
        assert len(batch.void) <= sum(d.rejected.values())


@given(st.integers(0, 400), st.integers(0, 255))
def test_one_changed_byte_never_raises(at: int, byte: int) -> None:
    frame = bytearray(combined())
    frame[at % len(frame)] = byte
    decoder().feed(frame, RECV)


@given(st.decimals(min_value="0.00000001", max_value="99999999", allow_nan=False, places=8))
def test_prices_are_the_nearest_float_to_the_decimals_sent(price: Decimal) -> None:
    text = format(price, "f")
    d = decoder()
    d.feed(combined(p=text, q=text), RECV)
    assert d.take(0).price.tolist() == [float(text)]


def test_a_page_of_rest_has_the_same_columns_as_the_stream() -> None:
    rows = [{"a": 7, "p": "1.25", "q": "2", "nq": "2", "f": 1, "l": 3, "T": T, "m": False}]
    batch = agg_trades_batch(decode_agg_trades(json.dumps(rows).encode()), Symbols(["X"]), "ETHUSDT", RECV)
    assert batch.symbols[int(batch.symbol_id[0])] == "ETHUSDT"
    assert (batch.trade_id.tolist(), batch.price.tolist(), batch.size.tolist()) == ([7], [1.25], [2.0])
    assert (batch.ts_event_ns.tolist(), batch.ts_recv_ns.tolist()) == ([T * 1_000_000], [RECV])


def test_unusable_rows_of_rest_are_void_and_broken_ones_left_out() -> None:
    row = {"a": 7, "p": "1.25", "q": "2", "f": 1, "l": 3, "T": T, "m": False}
    rows = [
        row,
        row | {"a": 8, "q": "0.0"},
        row | {"a": 9, "p": "nan"},
        row | {"a": 10, "p": "x"},
        {"b": 1},
        row | {"a": 11},
    ]
    batch = agg_trades_batch(decode_agg_trades(json.dumps(rows).encode()), Symbols(["BTCUSDT"]), "BTCUSDT", RECV)
    assert batch.trade_id.tolist() == [7, 11]
    assert batch.void == ((0, 8), (0, 9))


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"null", b'"x"'])
def test_a_body_that_is_no_page_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_agg_trades(body)


DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="real recordings are not here")
def test_genuine_frames_of_four_thin_symbols_are_all_understood() -> None:
    d = Decoder(Symbols(["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"]))
    truth = []
    with gzip.open(DATA / "shapes" / "um_aggtrade_kline_2021-07-22.ws.gz", "rb") as file:
        for line in file:
            frame = line.partition(b": ")[2]
            if not frame.startswith(b"{"):
                continue
            d.feed(frame, RECV)
            message = json.loads(frame)
            if message.get("data", {}).get("e") == "aggTrade":
                truth.append(message["data"])
    batch = d.take(0)
    assert len(truth) > 10
    assert not d.rejected
    assert batch.trade_id.tolist() == [t["a"] for t in truth]
    assert [batch.symbols[i] for i in batch.symbol_id.tolist()] == [t["s"] for t in truth]
    assert batch.price.tolist() == [float(t["p"]) for t in truth]
    assert batch.ts_event_ns.tolist() == [t["T"] * 1_000_000 for t in truth]
    assert Continuity().admit(batch).changed == ()


@pytest.mark.skipif(not DATA.is_dir(), reason="real recordings are not here")
def test_the_trade_tape_is_read_whole_and_its_ids_have_no_hole() -> None:
    d = Decoder(Symbols(["BTCUSDT"]), stream="trade")
    expected, frames = 0, []
    with gzip.open(DATA / "tape" / "um_btcusdt_2024-08-08.gz", "rb") as file:
        for line in file:
            received, _, frame = line.partition(b" ")
            if b'"trade"' in frame:
                d.feed(frame, int(received))
                t = msgspec.json.decode(frame)["data"]
                expected += t["X"] == "MARKET"
                frames.append(t["t"])
    batch = d.take(0)
    assert len(batch) == expected
    assert len(batch) + len(batch.void) == len(frames) == 21_313
    assert Continuity().admit(batch).changed == ()
