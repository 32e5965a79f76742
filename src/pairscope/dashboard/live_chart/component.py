"""The component that carries a live view into the page: a few lines that load its script, and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import streamlit as st

from pairscope.dashboard.live_chart.assets import LIBRARY, PREFIX, VERSION

__all__ = ["LiveApi", "View", "live_view"]

View = Literal[
    "status", "board", "access", "pair_board", "watch_list", "scanner", "backtest_chart", "backtest_curves",
    "alert_table", "alert_feed", "monitoring", "download",
]  # fmt: skip

_HERE: Final = Path(__file__).parent
_STYLES: Final = ("live.css", "pair.css", "scanner.css", "backtest.css", "alert.css", "monitoring.css", "download.css")

# Streamlit makes a module of this text by itself, so what views share (one WebSocket a page) must come from modules
# with an address of their own.
_LOADER: Final = """
export default async function (component) {
  const { mount } = await import(new URL(component.data.module, document.baseURI));
  return mount(component);
}
"""


@dataclass(frozen=True, slots=True)
class LiveApi:
    """How a viewer's browser reaches the API: a whole address, or the page's own host and this port.

    ``tickets`` says that the API asks for a key, which the browser does not get: it calls with tickets instead.
    """

    url: str
    port: int
    stall_s: float
    tickets: bool = False


def live_view(view: View, *, api: LiveApi, key: str, **settings: Any) -> Any:
    """Show a live view; a change of its settings is applied in place, never by building it anew.

    Settings named ``on_…_change`` are called when the view asks for something.
    """
    folder = f"{PREFIX}/{VERSION}"
    data: Mapping[str, Any] = {
        "module": f"{folder}/{view}.js",
        "library": f"{folder}/{LIBRARY}",
        "api": {"url": api.url, "port": api.port, "tickets": api.tickets},
        "stall_ms": round(api.stall_s * 1000),
        **{name: value for name, value in settings.items() if not callable(value)},
    }
    calls = {name: value for name, value in settings.items() if callable(value)}
    return _component()(data=data, key=key, **calls)


def _component() -> Any:
    """Return the component's mount; registering it again with the same text changes nothing."""
    return st.components.v2.component(
        "pairscope_live_view",
        css="".join((_HERE / name).read_text(encoding="utf-8") for name in _STYLES),
        js=_LOADER,
        isolate_styles=False,
    )
