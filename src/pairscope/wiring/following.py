"""Which symbols a process follows: those that the settings name, else the busiest, as the exchange says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from pairscope.config import Settings
from pairscope.errors import FeedError
from pairscope.feed.rest import ExchangeRest
from pairscope.market.symbols import normalize_symbol

__all__ = ["whom_to_follow"]

_log = structlog.get_logger(__name__)

ASK_AGAIN_S: Final = 5.0


async def whom_to_follow(settings: Settings, rest: ExchangeRest, waiting_for: Callable[[str], None]) -> list[str]:
    """Return the symbols to follow, asking the exchange until it answers where that is needed."""
    if settings.symbols:
        return list(dict.fromkeys(normalize_symbol(s) for s in settings.symbols))
    while True:
        waiting_for("the exchange, to learn which symbols are the busiest")
        try:
            return await rest.busiest(10_000 if settings.all_symbols else settings.top)
        except FeedError as error:
            _log.warning("the exchange does not say which symbols it has", error=str(error), again_in_s=ASK_AGAIN_S)
            await asyncio.sleep(ASK_AGAIN_S)
