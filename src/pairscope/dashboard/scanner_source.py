"""What the API says of a screen: asked whole only when there is a new one; its last word while it says nothing."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_source import Heard, ask, hear
from pairscope.dashboard.scanner_choice import MOST_ROWS, ScanChoice

__all__ = ["discovery_events", "screened"]

_PATH: Final = "/api/analytics/screen"
_EVENTS: Final = 12


def screened(client: Client, choice: ScanChoice) -> Heard:
    """Return the newest screen through the choice's filters, with the z-scores of the last bars for each row.

    One row is asked for first; only where that tells of another screen than before, all of them.
    """
    params = choice.asked()

    def call() -> Any:
        head = ask(client, _PATH, **choice.screen(), limit=1)
        version = tuple(str(head.get(name)) for name in ("screen", "as_of", "tests"))
        return _kept(client.base_url, tuple(sorted(params.items())), version, _client=client)

    return hear("screen", str(params), call)


def _whole(address: str, params: tuple[tuple[str, Any], ...], version: tuple[str, ...], _client: Client) -> Any:
    return _client.get(_PATH, **dict(params), limit=MOST_ROWS, sort="qvalue", sparkline=True)


_kept = st.cache_data(ttl=3600, max_entries=32, show_spinner=False)(_whole)


def discovery_events(client: Client, choice: ScanChoice) -> Heard:
    """Return what entered the discoveries and what left them, newest first."""
    params = {"timeframe": choice.timeframe, "lookback": choice.lookback, "limit": _EVENTS}
    return hear("discoveries", str(params), lambda: ask(client, f"{_PATH}/discoveries", **params))
