"""A job on its way, as every part of the page draws it: how far it is, and the button that cancels it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from pairscope.dashboard.pair_words import plain

__all__ = ["show_job_card"]


def show_job_card(
    share: float,
    words: str,
    *,
    key: str,
    cancel_key: str,
    stopping: bool,
    problem: str,
    cancel: Callable[..., None],
    args: tuple[Any, ...],
) -> None:
    """Draw the bar with its words and what the API last complained of; ``cancel`` is called with ``args``."""
    late = f" {plain(problem)}" if problem else ""
    with st.container(border=True, gap="small", key=key):
        st.progress(share, text=f"{'Cancelling… ' if stopping else ''}{words}{late}")
        st.button("Cancel", icon=":material/close:", key=cancel_key, on_click=cancel, args=args, disabled=stopping)
