"""One instance for all examples: a synthetic market on a port of its own, which moves while somebody watches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.served_api import served_api

from pairscope.feed.synthetic import SyntheticMarket

from .market import END_MS, LISTED, open_synthetic_market, play

LONGEST_MS = 3_600_000


@dataclass
class Instance:
    """Where it is, and whether trades come."""

    address: str = ""
    watched: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    market = asyncio.run(open_synthetic_market(tmp_path_factory.mktemp("market")))
    found, source = Instance(), SyntheticMarket(symbols=LISTED)

    async def trade() -> None:
        for at in range(END_MS, END_MS + LONGEST_MS, 1000):
            while not found.watched.is_set():
                await asyncio.sleep(0.02)
            await play(market, source, at, at + 1000)

    with served_api(market.services(), beside=trade) as found.address:
        yield found
    asyncio.run(market.store.close())
