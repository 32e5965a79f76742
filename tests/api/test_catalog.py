"""The names that the API knows: the store is asked for them by one request at a time."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any

from pairscope.api.catalog import Catalog
from pairscope.ports import SymbolSummary

from .market import Market


async def test_what_was_brought_while_the_store_was_being_asked_is_asked_for_again(market: Market) -> None:
    """The store answers as it was before; that is as good for who asked then, and for nobody later."""
    held, asked, answer = ["BTCUSDT"], asyncio.Event(), asyncio.Event()

    async def symbols() -> list[SymbolSummary]:
        found = [SymbolSummary(name, 3, 1, 2) for name in held]
        asked.set()
        await answer.wait()
        return found

    async def uploaded() -> list[Any]:
        return [SimpleNamespace(symbol=summary.symbol) for summary in await symbols()]

    store: Any = SimpleNamespace(symbols=symbols, uploaded=uploaded)
    catalog = Catalog(dataclasses.replace(market.services(), store=store))
    for look in (catalog.stored, catalog.uploaded):
        early = asyncio.create_task(look())
        await asked.wait()
        held.append("NEWUSDT")
        catalog.forget()
        answer.set()
        assert list(await early) == ["BTCUSDT"]
        assert "NEWUSDT" in await look()
        held.pop()
        asked.clear(), answer.clear()


async def test_requests_that_come_together_ask_the_store_once(market: Market) -> None:
    asked, answer = 0, asyncio.Event()

    async def symbols() -> list[SymbolSummary]:
        nonlocal asked
        asked += 1
        await answer.wait()
        return [SymbolSummary("BTCUSDT", 3, 1, 2)]

    store: Any = SimpleNamespace(symbols=symbols)
    catalog = Catalog(dataclasses.replace(market.services(), store=store))
    waiting = [asyncio.create_task(catalog.stored()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # who asked first hangs up
    await asyncio.gather(waiting[0], return_exceptions=True)
    answer.set()
    found = await asyncio.gather(*waiting[1:])
    assert [list(each) for each in found] == [["BTCUSDT"]] * 4
    assert asked == 2, "once for who hung up, once for all the others"
