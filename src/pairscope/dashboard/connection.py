"""The dashboard's own line to the API: what it last said, and the one warning while it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.errors import PairscopeError

__all__ = ["Market", "hand_out_tickets", "keep_watch", "look", "reachable_api"]

_WATCH_S = 2.0
_TICKET_S = 15.0
_TICKET = "_ticket"
_MARKET = "_market"
_REACHED = "_api_reached"


def reachable_api(host: str, port: int | str) -> str:
    """Return the API's address as this process reaches it; a wildcard address is reached over loopback.

    >>> reachable_api("0.0.0.0", 8000), reachable_api("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


@dataclass(frozen=True, slots=True)
class Market:
    """What the page needs to know before anything is live: symbols with their tick counts, and the source's word."""

    symbols: Mapping[str, int]
    source: str


def look(client: Client) -> Market:
    """Return the market as the API tells it; what was last known where it does not answer."""
    try:
        rows = client.get("/api/symbols")
        source = str(client.health().get("source", ""))
    except PairscopeError:
        st.session_state[_REACHED] = False
    else:
        st.session_state[_MARKET] = Market({row["symbol"]: int(row["tick_count"]) for row in rows}, source)
        st.session_state[_REACHED] = True
    known: Market = st.session_state.get(_MARKET, Market({}, ""))
    return known


def _watch(client: Client) -> None:
    """Warn once while the API is not well; draw the page again once it is back."""
    try:
        health = client.health()
    except PairscopeError as error:
        st.session_state[_REACHED] = False
        st.warning(f"{str(error).capitalize()}. What you see is the last that came; trying again every 2 s.")
        return
    ailing = {name: check for name, check in health["checks"].items() if check.get("status") != "ok"}
    if ailing:
        st.warning(_told(ailing))
    known: Market | None = st.session_state.get(_MARKET)
    if not st.session_state.get(_REACHED) or known is None or not known.symbols or known.source != health["source"]:
        st.rerun(scope="app")


def _bring_ticket(client: Client, api: LiveApi) -> None:
    """Give the page a fresh ticket, by the clock and whenever it asks for one."""
    try:
        st.session_state[_TICKET] = client.ws_ticket()
    except PairscopeError:
        st.session_state.setdefault(_TICKET, "")  # the watch warns; the page keeps the ticket that it has
    live_view("access", api=api, key="access", ticket=st.session_state[_TICKET], on_wanted_change=_nothing)


def _nothing() -> None:
    """Let the fragment run again, no more."""


keep_watch = st.fragment(run_every=_WATCH_S)(_watch)
"""Ask for the API's health every 2 s."""

hand_out_tickets = st.fragment(run_every=_TICKET_S)(_bring_ticket)
"""Where the API asks for keys: bring the browser tickets, which live for half a minute."""


def _told(ailing: dict[str, dict[str, object]]) -> str:
    """Say which parts are not well, in their own words where they have any."""
    parts = []
    for name, check in ailing.items():
        why = next((str(check[word]) for word in ("detail", "reason", "message") if check.get(word)), "")
        parts.append(f"{name} {check.get('status')}" + (f" ({why})" if why else ""))
    return f"Pairscope is not quite well: {', '.join(parts)}."
