"""Fields that keep what was entered while they are away: on another tab, in another view, or left out by a choice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import streamlit as st

__all__ = ["kept", "whole_run"]

_NOW: Final = "_fields_drawn_now"
_BEFORE: Final = "_fields_drawn_before"


@contextlib.contextmanager
def whole_run() -> Iterator[None]:
    """Know which fields a run of the whole page draws; one that is stopped on its way draws none."""
    drawn: set[str] = set()
    st.session_state[_NOW] = drawn
    yield
    st.session_state[_BEFORE] = drawn


def kept(key: str) -> dict[str, Any]:
    """Return what makes a widget keep its value, to be passed to it where it is drawn.

    One that comes back is told its value again. Streamlit does so by itself only where the browser's last message did
    not speak of the widget; it does where a person comes back before the browser has let go of the widget, which then
    stands there empty and is taken at its word.
    """
    state = st.session_state
    before: set[str] = state.get(_BEFORE, set())
    if key in state and key not in before:
        state[key] = state[key]
    state.get(_NOW, before).add(key)
    return {"key": key, "persist_state": "session"}
