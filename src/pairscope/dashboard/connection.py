"""The dashboard's own line to the API: what it last said, and the one warning while it says nothing."""

from __future__ import annotations

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.errors import PairscopeError

__all__ = ["hand_out_tickets", "keep_watch", "reachable_api", "symbols_known"]

_WATCH_S = 2.0
_TICKET_S = 15.0
_TICKET = "_ticket"
_SYMBOLS = "_symbols_known"
_REACHED = "_api_reached"


def reachable_api(host: str, port: int | str) -> str:
    """Return the API's address as this process reaches it; a wildcard address is reached over loopback.

    >>> reachable_api("0.0.0.0", 8000), reachable_api("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def symbols_known(client: Client) -> dict[str, int]:
    """Return the symbols with their tick counts; what was last known where the API does not answer."""
    try:
        rows = client.get("/api/symbols")
    except PairscopeError:
        st.session_state[_REACHED] = False
    else:
        st.session_state[_SYMBOLS] = {row["symbol"]: int(row["tick_count"]) for row in rows}
        st.session_state[_REACHED] = True
    known: dict[str, int] = st.session_state.get(_SYMBOLS, {})
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
    if not st.session_state.get(_REACHED) or not st.session_state.get(_SYMBOLS):
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
