"""The dashboard's own line to the API: what it last said, and the one warning while it says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.errors import PairscopeError

__all__ = ["Market", "busiest_first", "hand_out_tickets", "keep_watch", "look", "reachable_api", "turnover"]

_WATCH_S = 2.0
_TICKET_S = 15.0
_TICKET = "_ticket"
_MARKET = "_market"
_REACHED = "_api_reached"
_FEW = 60


def reachable_api(host: str, port: int | str) -> str:
    """Return the API's address as this process reaches it; a wildcard address is reached over loopback.

    >>> reachable_api("0.0.0.0", 8000), reachable_api("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


@dataclass(frozen=True, slots=True)
class Market:
    """What the page needs to know before anything is live: symbols, busiest first, and the source's word."""

    symbols: Sequence[str]
    source: str


def look(client: Client) -> Market:
    """Return the market as the API tells it; what was last known where it does not answer."""
    try:
        counts = {str(row["symbol"]): int(row["tick_count"]) for row in client.get("/api/symbols")}
        source = str(client.health().get("source", ""))
        market = Market(busiest_first(turnover(client, counts)), source)
    except PairscopeError:
        st.session_state[_REACHED] = False
    else:
        st.session_state[_MARKET] = market
        st.session_state[_REACHED] = True
    known: Market = st.session_state.get(_MARKET, Market((), ""))
    return known


def busiest_first(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return names by falling weight, equal ones by name.

    >>> busiest_first({"AUSDT": 3, "BUSDT": 9, "CUSDT": 3})
    ('BUSDT', 'AUSDT', 'CUSDT')
    """
    return tuple(sorted(weights, key=lambda name: (-weights[name], name)))


def turnover(client: Client, counts: Mapping[str, int]) -> Mapping[str, float]:
    """Return what each symbol traded in 24 hours in quote units; of many symbols, how many trades are stored."""
    if len(counts) > _FEW:
        return counts
    found: Mapping[str, float] = _kept_turnover(client.base_url, tuple(sorted(counts)), _client=client)
    return found


def _turnover(address: str, symbols: Sequence[str], _client: Client) -> Mapping[str, float]:
    prices = [_client.price(symbol) for symbol in symbols]
    return {str(p["symbol"]): (p["price"] or 0.0) * (p["volume_24h"] or 0.0) for p in prices}


_kept_turnover = st.cache_data(ttl=30, max_entries=4, show_spinner=False)(_turnover)


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
