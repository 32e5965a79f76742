"""The widgets of the alert form: each keeps what was entered while it is not drawn, and can say what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from pairscope.dashboard.alert_source import Told
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.pair_words import plain

__all__ = ["Fields"]


class Fields:
    """The fields of one form; ``prefix`` keeps those of the page and of the dialog apart."""

    def __init__(self, prefix: str, first: Mapping[str, Any] | None = None) -> None:
        self._prefix = prefix
        self._first = first or {}
        self._slots: dict[tuple[str, int], Any] = {}

    def value(self, name: str, otherwise: Any = None) -> Any:
        """Return what a field holds now, drawn or not."""
        key = self.key(name)
        return st.session_state[key] if key in st.session_state else self._first.get(name, otherwise)

    def set(self, name: str, value: Any) -> None:
        """Fill a field that is not drawn yet in this run."""
        st.session_state[self.key(name)] = value

    def choose(self, label: str, name: str, words: Mapping[Any, str], first: Any = None, **more: Any) -> Any:
        """Draw a choice of one; what was chosen before and is no more to be had gives way to the first."""
        options = list(words)
        first = options[0] if first is None else first
        if self.value(name, first) not in options:
            self.set(name, first)
        return self._drawn(
            name,
            first,
            lambda **kept: st.selectbox(label, options, format_func=lambda one: words[one], **kept, **more),
        )

    def search(self, label: str, name: str, options: Sequence[str], first: str | None = None) -> str | None:
        """Draw the search of a symbol."""
        held = self.value(name, first)
        options = sorted({*options, held} if held else options)
        found = self._drawn(
            name,
            first,
            lambda **kept: st.selectbox(label, options, index=None, placeholder="Search a symbol", **kept),
        )
        return str(found) if found else None

    def number(
        self, label: str, name: str, first: float | None, *, step: float, least: float | None = None, **more: Any
    ) -> float | None:
        """Draw a number; empty where there is none."""
        found = self._drawn(
            name, first, lambda **kept: st.number_input(label, least, value=None, step=step, **kept, **more)
        )
        return None if found is None else float(found)

    def count(
        self,
        label: str,
        name: str,
        first: int | None,
        *,
        least: int = 1,
        most: int = 10_000,
        step: int = 1,
        **more: Any,
    ) -> int | None:
        """Draw a whole number; empty where there is none."""
        found = self._drawn(
            name, first, lambda **kept: st.number_input(label, least, most, value=None, step=step, **kept, **more)
        )
        return None if found is None else int(found)

    def text(self, label: str, name: str, *, lines: bool = False, **more: Any) -> str:
        """Draw a line of text, or several."""
        widget = st.text_area if lines else st.text_input
        return str(self._drawn(name, "", lambda **kept: widget(label, **kept, **more)) or "").strip()

    def toggle(self, label: str, name: str, **more: Any) -> bool:
        """Draw a switch."""
        return bool(self._drawn(name, False, lambda **kept: st.toggle(label, **kept, **more)))

    def moment(self, label: str, name: str, first: datetime) -> datetime | None:
        """Draw a date and a time."""
        found = self._drawn(name, first, lambda **kept: st.datetime_input(label, None, **kept))
        return found if isinstance(found, datetime) else None

    def beside(self, *names: str, place: int = 0) -> None:
        """Keep room here for what is refused of these fields."""
        slot = st.empty()
        for name in names:
            self._slots[name, place] = slot

    def refuse(self, told: Told) -> None:
        """Say what was refused: beside the field where it is drawn, else here."""
        if not told.problem:
            return
        slot = self._slots.get((told.loc, told.place)) or self._slots.get((told.loc, 0))
        if slot is not None:
            slot.caption(f":red[▲ {plain(told.problem)}]")
            return
        named = f"{told.loc}: {told.problem}" if told.loc and told.loc not in {"body", "id"} else told.problem
        st.warning(plain(named))

    def _drawn(self, name: str, first: Any, draw: Callable[..., Any]) -> Any:
        """Draw a widget with what it held."""
        key = self.key(name)
        if key not in st.session_state:
            st.session_state[key] = self.value(name, first)
        return draw(**kept(key))

    def key(self, name: str) -> str:
        """Return the key of a field's widget."""
        return f"{self._prefix}_{name}"
