"""Tables leave as JSON or Arrow, packed on request, and are kept by who asked where they cannot change."""

from __future__ import annotations

import gzip
import io
from decimal import Decimal

import httpx2
import pyarrow as pa
import pytest

from pairscope.api.answers import Kept

from .conftest import exact
from .market import HOURS, MS, START_MS, Market

END_MS = START_MS + HOURS * 3_600_000
ARROW = {"Accept": "application/vnd.apache.arrow.stream"}
CLOSED = {"start": START_MS, "end": START_MS + 3_600_000, "limit": 1000}


@pytest.mark.parametrize("path", ["/api/ohlc/BTCUSDT", "/api/ticks/BTCUSDT"])
async def test_a_closed_range_is_kept_and_answered_with_304_while_it_is_the_same(
    api: httpx2.AsyncClient, path: str
) -> None:
    first = await api.get(path, params=CLOSED)
    etag = first.headers["etag"]
    assert etag.startswith('"')
    assert "max-age" in first.headers["cache-control"]
    assert "private" in first.headers["cache-control"]
    for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await api.get(path, params=CLOSED, headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await api.get(path, params=CLOSED, headers={"If-None-Match": '"other"'})).status_code == 200
    other = await api.get(path, params=CLOSED | {"limit": 10})
    assert other.headers["etag"] != etag


@pytest.mark.parametrize(
    "query",
    [{}, {"start": START_MS}, {"start": END_MS - 120_000, "end": END_MS}, {"start": START_MS, "end": END_MS + 10}],
)
@pytest.mark.parametrize("path", ["/api/ohlc/BTCUSDT", "/api/ticks/BTCUSDT"])
async def test_a_range_that_may_still_grow_is_not_kept(
    api: httpx2.AsyncClient, path: str, query: dict[str, int]
) -> None:
    answer = await api.get(path, params=query)
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


async def test_ticks_on_their_way_to_the_store_make_no_range_of_ticks_that_may_be_kept(
    api: httpx2.AsyncClient, market: Market
) -> None:
    """The bars of the range are all there, from memory; its ticks are not."""
    query = {"start": END_MS - 60_000, "end": END_MS - 1_000, "timeframe": "1s"}
    assert await market.store.watermark_ns() < query["end"] * MS < market.engine.watermark_ns()
    assert (await api.get("/api/ohlc/BTCUSDT", params=query)).headers["cache-control"] == Kept.MOMENTS.value
    query.pop("timeframe")
    assert (await api.get("/api/ticks/BTCUSDT", params=query)).headers["cache-control"] == Kept.NOT.value


def test_a_range_is_kept_the_longer_the_less_it_can_change() -> None:
    day = 86_400_000_000_000
    assert Kept.of(10 * day, 10 * day - 1) is Kept.NOT
    assert Kept.of(10 * day, 10 * day) is Kept.MOMENTS
    assert Kept.of(10 * day, 12 * day - 1) is Kept.MOMENTS
    assert Kept.of(10 * day, 12 * day) is Kept.HOUR


async def test_what_may_yet_be_filled_is_not_kept_and_what_may_be_corrected_only_for_moments(
    api: httpx2.AsyncClient,
) -> None:
    empty = await api.get("/api/ohlc/BTCUSDT", params={"start": START_MS - 3_600_000, "end": START_MS})
    assert (empty.json()["bars"], empty.headers["cache-control"]) == ([], "no-store")
    filled = await api.get("/api/ohlc/BTCUSDT", params=CLOSED)
    assert filled.headers["cache-control"] == "private, max-age=5"


async def test_a_packed_answer_has_an_etag_of_its_own_and_either_revalidates(api: httpx2.AsyncClient) -> None:
    plain = await api.get("/api/ohlc/BTCUSDT", params=CLOSED, headers={"Accept-Encoding": "identity"})
    packed = await api.get("/api/ohlc/BTCUSDT", params=CLOSED, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.text == plain.text
    assert {"Accept", "Accept-Encoding"} <= {v.strip() for v in packed.headers["vary"].split(",")}
    again = await api.get("/api/ohlc/BTCUSDT", params=CLOSED, headers={"If-None-Match": packed.headers["etag"]})
    assert again.status_code == 304


async def test_a_big_answer_is_packed_and_a_small_one_is_not(market: Market, api: httpx2.AsyncClient) -> None:
    async with api.stream("GET", "/api/ohlc/BTCUSDT", params={"limit": 180}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert len(raw) < 0.4 * len(gzip.decompress(raw))
    assert "content-encoding" not in (await api.get("/api/price/BTCUSDT")).headers


async def test_arrow_holds_the_same_bars(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/ohlc/PEPEUSDT", params={"limit": 100}, headers=ARROW)
    assert answer.headers["content-type"] == ARROW["Accept"]
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    bars = exact((await api.get("/api/ohlc/PEPEUSDT", params={"limit": 100})).text)["bars"]
    assert table.schema.field("timestamp").type == pa.timestamp("ms", tz="UTC")
    assert set(table.column_names) == set(bars[0])
    for name in set(bars[0]) - {"timestamp"}:
        assert table[name].to_pylist() == [float(b[name]) if isinstance(b[name], Decimal) else b[name] for b in bars]
    assert table["timestamp"].cast(pa.int64()).to_pylist() == [b["timestamp"] for b in bars]


async def test_arrow_pages_like_json_and_says_what_is_missing_as_null(api: httpx2.AsyncClient) -> None:
    query = {"start": START_MS, "limit": 30, "fill": "true"}
    answer = await api.get("/api/ohlc/币安人生USDT", params=query, headers=ARROW)
    page = (await api.get("/api/ohlc/币安人生USDT", params=query)).json()
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert answer.headers["x-next-cursor"] == page["next"] == table.schema.metadata[b"next"].decode()
    assert table.schema.metadata[b"symbol"].decode() == "币安人生USDT"
    assert table["vwap"].to_pylist() == [bar["vwap"] for bar in page["bars"]]
    assert table["vwap"].null_count > 0


async def test_arrow_holds_the_same_ticks_also_none(api: httpx2.AsyncClient) -> None:
    for query in ({"limit": 50}, {"start": 0, "end": 1}):
        answer = await api.get("/api/ticks/BTCUSDT", params=query, headers=ARROW)
        table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
        ticks = (await api.get("/api/ticks/BTCUSDT", params=query)).json()["ticks"]
        assert table["id"].to_pylist() == [t["id"] for t in ticks]
        assert table["price"].to_pylist() == [t["price"] for t in ticks]
        assert table["buyer_is_maker"].to_pylist() == [t["buyer_is_maker"] for t in ticks]
