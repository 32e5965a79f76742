"""What is stored leaves as a file: exact, streamed, resumable, and nothing is left behind by who hangs up."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
from decimal import Decimal
from typing import Any

import httpx2
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pairscope.api.answers import ARROW
from pairscope.api.export_answer import Exports
from pairscope.errors import Busy
from pairscope.transfer.export import Export
from pairscope.transfer.export_format import Format
from pairscope.transfer.export_source import Mark, Page, TickSource

from .market import START_MS, Market

STORED_MS = START_MS + 3 * 3_600_000 - 5_000


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("symbol", ["btcusdt", "PEPEUSDT"])
async def test_every_trade_leaves_as_the_decimals_that_the_exchange_sent(
    api: httpx2.AsyncClient, market: Market, symbol: str
) -> None:
    answer = await api.get(f"/api/export/{symbol}", params={"timeframe": "tick"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{symbol.upper()}_tick.csv"'
    assert answer.headers["x-source"] == "synthetic"
    rows = rows_of(answer.text)
    sent = [t for t in market.sent[symbol.upper()] if t.timestamp < STORED_MS]
    assert list(rows[0]) == ["id", "timestamp", "price", "size", "buyer_is_maker"]
    told = [(int(r["id"]), Decimal(r["price"]), Decimal(r["size"]), r["buyer_is_maker"] == "true") for r in rows]
    assert told == [(t.id, t.price, t.size, t.buyer_is_maker) for t in sent]
    assert "e" not in "".join(r["price"] + r["size"] for r in rows).lower()


async def test_closed_bars_of_a_range_are_those_of_the_api(api: httpx2.AsyncClient) -> None:
    asked = {"timeframe": "5m", "start": START_MS + 600_000, "end": "2024-08-08T01:00:00Z"}
    rows = rows_of((await api.get("/api/export/PEPEUSDT", params=asked)).text)
    bars = (await api.get("/api/ohlc/PEPEUSDT", params=asked)).json()["bars"]
    assert list(rows[0]) == ["timestamp", "open", "high", "low", "close", "volume", "trades"]
    assert rows[0]["timestamp"] == "2024-08-08T00:10:00.000Z"
    assert [[float(r[name]) for name in list(r)[1:]] for r in rows] == [[b[n] for n in list(rows[0])[1:]] for b in bars]


async def test_lines_of_json_carry_times_in_milliseconds_and_all_that_is_stored(api: httpx2.AsyncClient) -> None:
    asked = {"timeframe": "1h", "format": "jsonl", "columns": "all"}
    answer = await api.get("/api/export/BTCUSDT,PEPEUSDT", params=asked)
    rows = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [(row["symbol"], row["timestamp"]) for row in rows][:1] == [("BTCUSDT", START_MS)]
    assert {row["symbol"] for row in rows} == {"BTCUSDT", "PEPEUSDT"}
    assert rows[0]["origin"] == "own"
    assert rows[0]["gap"] is False
    assert rows[0]["vwap"] == pytest.approx(rows[0]["quote_volume"] / rows[0]["volume"])


async def test_who_accepts_arrow_and_names_no_format_is_sent_arrow(api: httpx2.AsyncClient) -> None:
    accepts = {"Accept": ARROW}
    answer = await api.get("/api/export/BTCUSDT", headers=accepts)
    assert answer.content == (await api.get("/api/export/BTCUSDT", params={"format": "arrow"})).content
    assert (answer.headers["content-type"], answer.headers["vary"]) == (ARROW, "Accept")
    named = await api.get("/api/export/BTCUSDT", params={"format": "csv"}, headers=accepts)
    assert named.headers["content-type"] == "text/csv; charset=utf-8"


async def test_a_file_is_packed_by_what_is_asked_for_and_not_by_what_a_browser_accepts(api: httpx2.AsyncClient) -> None:
    accepts = {"Accept-Encoding": "gzip"}
    plain = await api.get("/api/export/BTCUSDT", headers=accepts)
    packed = await api.get("/api/export/BTCUSDT", params={"compression": "gzip"}, headers=accepts)
    assert "content-encoding" not in plain.headers | packed.headers
    assert packed.headers["content-type"] == "application/gzip"
    assert packed.headers["content-disposition"].endswith('_1m.csv.gz"')
    assert gzip.decompress(packed.content) == plain.content


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("BTCUSD", {}, 404, "symbol"),
    ("BTCUSDT,BTCUSDT", {}, 422, "symbol"),
    ("BTCUSDT", {"timeframe": "7m"}, 422, "timeframe"),
    ("BTCUSDT", {"format": "xlsx"}, 422, "format"),
    ("BTCUSDT", {"format": "arrow", "compression": "gzip"}, 422, "compression"),
    ("BTCUSDT", {"columns": "few"}, 422, "columns"),
    ("BTCUSDT", {"start": 5, "end": 5}, 422, "end"),
    ("BTCUSDT", {"limit": 5}, 422, "limit"),
    ("BTCUSD/estimate", {}, 404, "symbol"),
    ("pair/BTCUSDT/BTCUSDT", {}, 422, "x"),
    ("pair/BTCUSDT/NOUSDT", {}, 404, "x"),
    ("pair/BTCUSDT/PEPEUSDT", {"window": 99, "lookback": 50}, 422, "window"),
    ("history/wishes", {}, 422, "kind"),
]


async def test_what_cannot_be_exported_names_the_parameter(api: httpx2.AsyncClient) -> None:
    for path, asked, status, named in REFUSED:
        answer = await api.get(f"/api/export/{path}", params=asked)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert [error["loc"][-1] for error in answer.json()["errors"]] == [named]


async def test_an_estimate_names_rows_bytes_and_the_file(api: httpx2.AsyncClient, market: Market) -> None:
    asked = {"timeframe": "tick", "format": "csv"}
    told = (await api.get("/api/export/BTCUSDT/estimate", params=asked)).json()
    sent = [t for t in market.sent["BTCUSDT"] if t.timestamp < STORED_MS]
    whole = (await api.get("/api/export/BTCUSDT", params=asked)).content
    assert told == {
        "rows": len(sent),
        "bytes": len(whole),
        "first_timestamp": sent[0].timestamp,
        "last_timestamp": sent[-1].timestamp,
        "filename": "BTCUSDT_tick.csv",
        "exact": True,
    }


async def test_a_pair_leaves_bar_by_bar_and_ends_with_what_the_api_says_of_it(api: httpx2.AsyncClient) -> None:
    asked = {"lookback": 60, "window": 20}
    end = {"end": START_MS + 2 * 3_600_000}
    rows = rows_of((await api.get("/api/export/pair/BTCUSDT/PEPEUSDT", params=asked | end)).text)
    said = (await api.get("/api/analytics/pair", params=asked | end | {"y": "BTCUSDT", "x": "PEPEUSDT"})).json()
    assert list(rows[0])[:5] == ["timestamp", "price_y", "price_x", "alpha", "beta"]
    assert float(rows[-1]["zscore"]) == said["spread"]["zscore"]
    assert float(rows[-1]["beta"]) == said["hedge_ratio"]["ols"]["beta"]


async def test_histories_leave_with_their_words_disarmed_and_their_numbers_as_they_are(
    api: httpx2.AsyncClient, market: Market
) -> None:
    firing = {
        "seq": 1, "id": "f1", "alert_id": "a1", "timestamp": START_MS, "received": START_MS + 5, "type": "spread",
        "condition": "below", "y": "BTCUSDT", "x": "PEPEUSDT", "value": -0.0000123, "threshold": 0.0,
        "message": "=cmd|'/c calc'!A1", "note": "@me, please", "late": False, "test": True,
    }  # fmt: skip
    trade = {"entry_timestamp": START_MS, "exit_timestamp": START_MS + 60_000, "side": "long", "pnl": -1.5}
    run = {"request": {"y": "BTCUSDT", "x": "PEPEUSDT", "timeframe": "1m"}, "trades": [trade]}
    await market.records.put("alert_firings", "0999", orjson.dumps(firing))
    await market.records.put("alert_firings", "0998", orjson.dumps(firing | {"seq": 2, "timestamp": START_MS + 9}))
    await market.records.put("backtest_summaries", "r1", b"{}")
    await market.records.put("backtests", "r1", gzip.compress(orjson.dumps(run)))
    alerts = rows_of((await api.get("/api/export/history/alerts", params={"end": START_MS + 9})).text)
    assert [(r["seq"], r["message"], r["note"]) for r in alerts] == [("1", "'=cmd|'/c calc'!A1", "'@me, please")]
    assert (alerts[0]["value"], alerts[0]["threshold"], alerts[0]["symbol"]) == ("-0.0000123", "0.0", "")
    trades = rows_of((await api.get("/api/export/history/backtests")).text)
    assert [(r["run"], r["y"], r["side"], r["pnl"], r["exit_zscore"]) for r in trades] == [
        ("r1", "BTCUSDT", "long", "-1.5", "")
    ]
    fill = {"kind": "fill", "id": "p1", "time_ns": (START_MS + 60_000) * 1_000_000, "order": "stop"}
    held = {"side": -1.0, "exit_value": 5.0, "entry_ns": START_MS * 1_000_000, "pnl": 2.5, "beta": 0.7}
    await market.records.put("paper", "p1", orjson.dumps({"request": run["request"]}))
    await market.records.put("paper_events", "p1:1:1", orjson.dumps(fill | {"fields": {"beta": 0.7}}))
    await market.records.put("paper_events", "p1:1:2", orjson.dumps(fill | {"fields": held}))
    told = rows_of((await api.get("/api/export/history/paper")).text)
    assert [(r["position"], r["x"], r["side"], r["pnl"], r["reason"]) for r in told] == [
        ("p1", "PEPEUSDT", "short", "2.5", "stop")
    ]


@pytest.mark.parametrize(
    ("form", "rows"),
    [(Format("csv", "gzip"), 1000), (Format("parquet"), 1000), (Format("csv"), 100_000)],
    ids=["gzip, streamed", "parquet, streamed", "in one piece"],
)
async def test_the_part_that_is_asked_for_is_sent(market: Market, form: Format, rows: int) -> None:
    async with served(market, form, rows) as (client, _):
        whole = await client.get("/file")
        etag, size = whole.headers["etag"], len(whole.content)
        assert whole.headers["accept-ranges"] == "bytes"
        for asked, low, high in (
            ("bytes=0-", 0, size), ("bytes=1000-1999", 1000, 2000), (f"bytes={size - 7}-", size - 7, size),
            ("bytes=-100", size - 100, size), (f"bytes=10-{10 * size}", 10, size),
        ):  # fmt: skip
            part = await client.get("/file", headers={"Range": asked, "If-Range": etag})
            assert part.status_code == 206
            assert part.headers["content-range"] == f"bytes {low}-{high - 1}/{size}"
            assert part.headers["content-length"] == str(high - low)
            assert part.content == whole.content[low:high]
        past = await client.get("/file", headers={"Range": f"bytes={size}-"})
        assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{size}")
        for odd in ("bytes=5-3", "bytes=1-2,5-6", "lines=1-2", "bytes=-"):
            assert (await client.get("/file", headers={"Range": odd})).content == whole.content
        other = await client.get("/file", headers={"Range": "bytes=5-", "If-Range": '"other"'})
        assert (other.status_code, other.content) == (200, whole.content)
        assert (await client.get("/file", headers={"If-None-Match": etag})).status_code == 304


async def test_a_file_that_broke_off_goes_on_without_being_written_from_its_beginning(market: Market) -> None:
    async with served(market, Format("csv"), 500) as (client, source):
        whole = await client.get("/file")
        source.marks.clear()
        rest = await client.get(
            "/file", headers={"Range": f"bytes={len(whole.content) - 50}-", "If-Range": whole.headers["etag"]}
        )
        assert rest.content == whole.content[-50:]
        assert len(source.marks) <= 3  # the first, to see whether one page is all, and the last


async def test_when_rows_came_since_the_whole_file_is_sent_anew(fresh_market: Market) -> None:
    market = fresh_market
    async with served(market, Format("csv"), 500) as (client, _):
        before = await client.get("/file")
        last = market.sent["PEPEUSDT"][-1]
        late = type(last)(last.id + 1, last.timestamp + 1, last.price, last.size, last.buyer_is_maker)
        await market.store.append(market.batch([("PEPEUSDT", late)], 0))
        after = await client.get("/file", headers={"Range": "bytes=100-", "If-Range": before.headers["etag"]})
        assert after.status_code == 200
        assert after.headers["etag"] != before.headers["etag"]
        assert after.content.startswith(before.content)
        assert after.content.count(b"\n") == before.content.count(b"\n") + 1


async def test_who_hangs_up_half_way_leaves_nothing_open(market: Market) -> None:
    served_here = served(market, Format("csv"), 200)
    tasks = asyncio.all_tasks()
    sent: list[int] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(len(message.get("body", b"")))
        if len(sent) == 4:
            gone.set()
            await asyncio.Event().wait()  # a socket that takes no more

    await served_here.app(request_scope(), receive, send)
    assert len(sent) == 4
    assert served_here.exports.under_way == 0
    await until(lambda: asyncio.all_tasks() == tasks)
    read = len(served_here.source.marks)
    assert read <= 6
    assert (await market.store.ticks("PEPEUSDT", 0, 1 << 62, limit=1)).trade_id.size == 1
    assert len(served_here.source.marks) == read


async def test_beyond_a_few_at_once_an_export_is_told_to_come_again(market: Market) -> None:
    crowded = served(market, Format("csv"), 200, at_once=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        begun.set()
        await go_on.wait()

    first = asyncio.create_task(crowded.app(request_scope(), receive, send))
    await begun.wait()
    async with crowded as (client, _):
        with pytest.raises(Busy):
            await client.get("/file")
        go_on.set()
        await first
        assert (await client.get("/file")).status_code == 200


class Counted(TickSource):
    """Trades, with a note of every page that was read."""

    marks: list[Mark | None]

    async def page(self, mark: Mark | None, *, most: int | None = None) -> Page:
        self.marks.append(mark)
        return await super().page(mark, most=most)


class served:
    """A file of pages that are small enough to be many, at ``/file``."""

    def __init__(self, market: Market, form: Format, rows: int, **more: Any) -> None:
        self.exports = Exports(lambda: "synthetic", **more)
        self.source = Counted(market.store, ["PEPEUSDT"], 0, 1 << 62, rows=rows)
        marks = self.source.marks = []

        async def file(request: Request) -> Response:
            self.source = Counted(market.store, ["PEPEUSDT"], 0, 1 << 62, rows=rows)
            self.source.marks = marks
            return await self.exports.answer(request, Export(self.source, form), f"all{form.ending}")

        self.app = Starlette(routes=[Route("/file", file)])
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://api")

    async def __aenter__(self) -> tuple[httpx2.AsyncClient, Counted]:
        return self._client, self.source

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


def request_scope() -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET", "path": "/file",
        "raw_path": b"/file", "query_string": b"", "headers": [], "root_path": "", "scheme": "http",
        "http_version": "1.1", "server": ("api", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)
