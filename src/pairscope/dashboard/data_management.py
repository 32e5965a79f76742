"""Data Management: the way in and out for bars and trades, what is stored, what is missing, and what is thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_download import ApiDoor
from pairscope.dashboard.data_export import show_export
from pairscope.dashboard.data_figures import show_figures
from pairscope.dashboard.data_gaps import show_gaps
from pairscope.dashboard.data_history import show_history
from pairscope.dashboard.data_store import show_store
from pairscope.dashboard.data_upload import show_upload, show_uploads
from pairscope.dashboard.live_chart import LiveApi

__all__ = ["VIEWS", "show"]

VIEWS: Final[Sequence[str]] = ("Export and upload", "Back-fill", "Gaps", "Store")


def show(api: LiveApi, client: Client, known: Sequence[str], door: ApiDoor) -> None:
    """Draw the tab."""
    show_figures(client)
    view = st.segmented_control(
        "View of the data",
        VIEWS,
        default=VIEWS[0],
        required=True,
        key="data_view",
        bind="query-params",
        label_visibility="collapsed",
    )
    views: Mapping[str, Callable[[], Any]] = {
        "Export and upload": lambda: _in_and_out(api, client, known, door),
        "Back-fill": lambda: show_history(client, known),
        "Gaps": lambda: show_gaps(client, known),
        "Store": lambda: show_store(client),
    }
    views[str(view)]()


def _in_and_out(api: LiveApi, client: Client, known: Sequence[str], door: ApiDoor) -> None:
    out, into = st.columns(2, gap="large")
    with out:
        show_export(api, client, known, door)
    with into:
        show_upload(client)
    show_uploads(client)
