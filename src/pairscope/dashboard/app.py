"""The page: header, five tabs, one warning where the API does not answer. Streamlit runs this file as its script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from pairscope.client import Client
from pairscope.config import Settings
from pairscope.dashboard import alerts, backtesting, data_management, pair_analytics, price_monitor
from pairscope.dashboard.connection import hand_out_tickets, keep_watch, look, reachable_api
from pairscope.dashboard.data_download import ApiDoor
from pairscope.dashboard.kept_fields import whole_run
from pairscope.dashboard.live_chart import LiveApi, live_view

TABS = ("Price Monitor", "Pair Analytics", "Backtesting", "Alerts & Monitoring", "Data Management")


def _new_client(address: str, key: str, timeout_s: float) -> Client:
    return Client(address, api_key=key or None, timeout=timeout_s)


api_client = st.cache_resource(max_entries=4)(_new_client)  # one, with its connections, for all viewers
PATIENCE_S = 3.0
LONG_PATIENCE_S = 20.0  # tests of thousands of bars, at a busy time


def main() -> None:
    """Draw the page."""
    given: dict[str, Any] = {}
    settings = Settings(**given)
    st.set_page_config(
        page_title="Pairscope",
        page_icon=str(Path(__file__).with_name("icon.png")),
        layout="wide",
        initial_sidebar_state="collapsed",
    )
    st.html(Path(__file__).with_name("page.css"))
    address = settings.api_url.rstrip("/") or reachable_api(settings.host, settings.port)
    client = api_client(address, settings.dashboard_key, PATIENCE_S)
    patient = api_client(address, settings.dashboard_key, LONG_PATIENCE_S)
    api = LiveApi(
        url=settings.public_api_url,
        port=int(settings.port),
        stall_s=settings.stall_seconds,
        tickets=bool(settings.api_keys or settings.dashboard_key),
    )
    if api.tickets:
        hand_out_tickets(client, api)
    market = look(client)
    palette = price_monitor.palette_chosen()
    live_view(
        "status",
        api=api,
        key="status",
        palette=palette,
        source=market.source,
        symbol_count=len(market.symbols),
        on_alerts_change=_open_alerts,
    )
    keep_watch(client)
    opened = st.tabs(TABS, key="tab", bind="query-params")
    bodies: tuple[Callable[[], None], ...] = (
        lambda: price_monitor.show(api, market.symbols),
        lambda: pair_analytics.show(api, patient, market.symbols),
        lambda: backtesting.show(api, patient, market.symbols),
        lambda: alerts.show(api, patient, market.symbols),
        lambda: data_management.show(api, patient, market.symbols, ApiDoor(address, settings.dashboard_key)),
    )
    with whole_run():
        for tab, body in zip(opened, bodies, strict=True):
            if tab.open:
                with tab:
                    body()


def _open_alerts() -> None:
    """Turn to the alerts: a person has pressed the bell, or what it told."""
    st.session_state["tab"] = alerts.TAB


if __name__ == "__main__":
    main()
