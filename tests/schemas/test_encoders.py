"""Numbers leave as the decimal that was sent, in positional notation, whatever their size."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope import schemas
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

SYMBOLS = Symbols(["BTCUSDT", "币安人生USDT", 'A"B\\C'])
FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
MODERATE = st.sampled_from([math.nan, math.inf, 0.0]) | st.floats(1e-150, 1e150) | st.floats(-1e150, -1e-150)
SENT = st.decimals(min_value="0.00000001", max_value="99999999", places=8).map(
    lambda d: d.quantize(Decimal(10) ** -min(8, max(0, 14 - max(0, d.adjusted()))))
)


def exact(raw: bytes) -> Any:
    text = raw.decode()
    assert not re.search(r"\d[eE]", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)), text
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=pytest.fail)


def same(written: Decimal | None, x: float) -> bool:
    """Whether a JSON value names this float64 by its shortest decimal."""
    return written is None if not math.isfinite(x) else written == Decimal(repr(x))


@given(FLOATS)
def test_any_float_leaves_as_its_shortest_decimal_or_null(x: float) -> None:
    assert same(exact(schemas.number(x)), x)


@given(SENT)
def test_a_decimal_that_an_exchange_sends_comes_back_as_it_was(sent: Decimal) -> None:
    assert exact(schemas.number(float(str(sent)))) == sent


def test_what_json_libraries_get_wrong_comes_out_right() -> None:
    cases = {
        0.00001234: b"0.00001234",
        1e-7: b"0.0000001",
        1.234e-10: b"0.0000000001234",
        5e-324: b"0." + b"0" * 323 + b"5",
        1e16: b"10000000000000000.0",
        1.7976931348623157e308: b"17976931348623157" + b"0" * 292 + b".0",
        65000.0: b"65000.0",
        0.1 + 0.2: b"0.30000000000000004",
    }
    assert {x: schemas.number(x) for x in cases} == cases


def bars_of(columns: list[list[float]], count: int) -> BarBatch:
    o, h, low, c, v, q, b = (np.array(column) for column in columns)
    i = np.arange(count)
    return BarBatch(
        SYMBOLS, "1m", np.ones(count, np.int32), i * 60_000_000_000, o, h, low, c, v, q, b, i * 3, i, i,
        np.zeros(count, np.int32), (i % 3).astype(np.int8),
    )  # fmt: skip


@given(
    st.integers(0, 8).flatmap(lambda n: st.lists(st.lists(MODERATE, min_size=n, max_size=n), min_size=7, max_size=7))
)
def test_columns_of_bars_and_single_bars_say_the_same_as_the_numbers_one_by_one(columns: list[list[float]]) -> None:
    count = len(columns[0])
    bars = bars_of(columns, count)
    closed = [i % 2 == 0 for i in range(count)]
    page = exact(schemas.encode_bars("币安人生USDT", bars, closed=closed, next_cursor="5"))
    assert (page["symbol"], page["timeframe"], page["next"]) == ("币安人生USDT", "1m", "5")
    assert len(page["bars"]) == count
    with np.errstate(all="ignore"):
        vwap = bars.vwap
    for i, bar in enumerate(page["bars"]):
        for name in ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume"):
            # What an uploaded bar's file did not tell is null and not 0.
            untold = name in {"quote_volume", "buy_volume"} and bars.untold[i]
            assert same(bar[name], float("nan") if untold else float(getattr(bars, name)[i]))
        assert same(bar["vwap"], float(vwap[i]))
        assert (bar["timestamp"], bar["trades"], bar["closed"]) == (60_000 * i, 3 * i, closed[i])
        assert bar["origin"] == ("own", "exchange", "upload")[i % 3]
        live = exact(schemas.encode_bar(bars, i, closed=closed[i], revised=True))
        assert live == {"symbol": "币安人生USDT", "timeframe": "1m", **bar, "revised": True}


@given(st.lists(st.tuples(FLOATS, FLOATS, st.booleans()), max_size=8))
def test_columns_of_ticks_say_the_same_as_the_numbers_one_by_one(rows: list[tuple[float, float, bool]]) -> None:
    n = len(rows)
    i = np.arange(n, dtype=np.int64)
    ticks = TickBatch(
        SYMBOLS, np.zeros(n, np.int32), i * 1_000_000, i, i + 2**53, np.array([r[0] for r in rows], np.float64),
        np.array([r[1] for r in rows], np.float64), np.array([r[2] for r in rows], np.bool_), 0,
    )  # fmt: skip
    page = exact(schemas.encode_ticks("BTCUSDT", ticks, next_cursor=None))
    assert page["next"] is None
    for k, (tick, (price, size, maker)) in enumerate(zip(page["ticks"], rows, strict=True)):
        assert same(tick["price"], price)
        assert same(tick["size"], size)
        assert (tick["id"], tick["timestamp"], tick["buyer_is_maker"]) == (k + 2**53, k, maker)


def test_columns_that_are_views_of_others_are_written_in_their_order() -> None:
    columns = [[float(i) for i in range(10)]] * 7
    bars = bars_of(columns, 10)
    backwards = bars.take(slice(None, None, -2))
    page = exact(schemas.encode_bars("BTCUSDT", backwards, closed=[True] * 5, next_cursor=None))
    assert [bar["open"] for bar in page["bars"]] == [9, 7, 5, 3, 1]


@given(FLOATS, st.none() | FLOATS)
def test_a_price_document_has_every_field_and_null_where_a_number_is_missing(
    price: float, change: float | None
) -> None:
    view = {"symbol": 'A"B\\C', "price": price, "size": None, "timestamp": 5, "change_24h": change}
    document = exact(schemas.encode_price(view))
    assert list(document) == ["symbol", "price", "size", "timestamp", "change_24h", "volume_24h", "received"]
    assert document["symbol"] == 'A"B\\C'
    assert same(document["price"], price)
    assert document["change_24h"] is None if change is None else same(document["change_24h"], change)
    assert document["size"] is None
    assert document["volume_24h"] is None


def test_indicators_leave_as_columns_and_as_their_newest_values() -> None:
    bars = bars_of([[1.0, 2.0, 3.0]] * 7, 3)
    values = {"sma:2": np.array([np.nan, 1.5e-9, 2.5]), "macd:12:26:9.signal": np.array([0.0, 1.0, np.inf])}
    page = exact(
        schemas.encode_indicators("BTCUSDT", "1m", bars.ts_open_ns, [True, True, False], values, next_cursor=None)
    )
    assert page["timestamp"] == [0, 60_000, 120_000]
    assert page["closed"] == [True, True, False]
    assert page["values"] == {
        "sma:2": [None, Decimal("0.0000000015"), Decimal("2.5")],
        "macd:12:26:9.signal": [0, 1, None],
    }
    now = exact(schemas.encode_indicator_update(bars, values, closed=False))
    assert (now["symbol"], now["timestamp"], now["closed"]) == ("币安人生USDT", 120_000, False)
    assert now["values"] == {"sma:2": Decimal("2.5"), "macd:12:26:9.signal": None}


@given(st.recursive(st.none() | st.booleans() | FLOATS | st.integers(-(2**53), 2**53) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))  # fmt: skip
def test_any_document_leaves_without_an_exponent(document: Any) -> None:
    def like(written: Any, meant: Any) -> bool:
        if isinstance(meant, dict):
            return written.keys() == meant.keys() and all(like(written[k], v) for k, v in meant.items())
        if isinstance(meant, list):
            return len(written) == len(meant) and all(map(like, written, meant))
        return same(written, meant) if isinstance(meant, float) else written == meant

    assert like(exact(schemas.plain_json(document)), document)


def test_a_document_may_hold_numpy_values() -> None:
    document = {"n": np.int64(3), "x": np.float64(1e-9), "y": np.array([1.0, np.nan]), "t": (True, np.bool_(False))}
    assert exact(schemas.plain_json(document)) == {"n": 3, "x": Decimal("1e-9"), "y": [1, None], "t": [True, False]}


def test_a_page_of_ten_thousand_tiny_prices_has_each_as_the_exchange_wrote_it() -> None:
    price = np.round(np.random.default_rng(5).uniform(1e-8, 1e-6, 10_000), 10)
    bars = replace(bars_of([price.tolist()] * 7, 10_000))
    page = schemas.encode_bars("BTCUSDT", bars, closed=[True] * 10_000, next_cursor=None).decode()
    said = [bar["close"] for bar in json.loads(page, parse_float=str)["bars"]]
    assert said == [f"{value:.10f}".rstrip("0") for value in price.tolist()]
