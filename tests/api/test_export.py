"""What is stored leaves as a file: exact, streamed, resumable, and nothing is left behind by who hangs up."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import httpx2
import pytest

from .market import START_MS, Market

STORED_MS = START_MS + 3 * 3_600_000 - 5_000


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "PEPEUSDT"])
async def test_every_trade_leaves_as_the_decimals_that_the_exchange_sent(
    api: httpx2.AsyncClient, market: Market, symbol: str
) -> None:
    answer = await api.get(f"/api/export/{symbol}", params={"timeframe": "tick"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{symbol}_tick.csv"'
    assert answer.headers["x-source"] == "synthetic"
    rows = rows_of(answer.text)
    sent = [t for t in market.sent[symbol] if t.timestamp < STORED_MS]
    assert list(rows[0]) == ["id", "timestamp", "price", "size", "buyer_is_maker"]
    told = [(int(r["id"]), Decimal(r["price"]), Decimal(r["size"]), r["buyer_is_maker"] == "true") for r in rows]
    assert told == [(t.id, t.price, t.size, t.buyer_is_maker) for t in sent]
    assert "e" not in "".join(r["price"] + r["size"] for r in rows).lower()
