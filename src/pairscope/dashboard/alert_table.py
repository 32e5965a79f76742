"""The alerts that stand: a live table, and what its buttons ask for: pause, resume, edit, try out, delete."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.alert_choice import AlertChoice, changes, conditions_of
from pairscope.dashboard.alert_fields import Fields
from pairscope.dashboard.alert_form import choose_alert, first_of
from pairscope.dashboard.alert_kinds import kinds_for_views
from pairscope.dashboard.alert_source import (
    Told,
    change_alert,
    delete_alert,
    delivery_words,
    rule_of,
    try_alert,
)
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_words import plain
from pairscope.dashboard.price_monitor import palette_chosen

__all__ = ["show_alerts"]

_VIEW: Final = "alert_table"
_EDITED: Final = "_alert_edited"
_SAID: Final = "_alert_said"
_VERSION: Final = "_alert_version"


def _table(api: LiveApi, client: Client, known: Sequence[str]) -> None:
    """Draw the table, and the dialog of the alert that is edited."""
    st.subheader("Active alerts", anchor=False)

    def paused() -> None:
        _change(client, _told("paused"), {"status": "paused"}, "paused")

    def resumed() -> None:
        _change(client, _told("resumed"), {"status": "active"}, "resumed")

    def removed() -> None:
        rule_id = _told("removed")
        if rule_id:
            _say(rule_id, delete_alert(client, rule_id), "")

    def tried() -> None:
        rule_id = _told("tried")
        if rule_id:
            told = try_alert(client, rule_id)
            delivery = (told.document or {}).get("delivery")
            _say(rule_id, told, _plain_delivery(delivery))

    def edited() -> None:
        rule_id = _told("edited")
        if rule_id:
            st.session_state[_EDITED] = (rule_id, time.monotonic_ns())

    live_view(
        "alert_table",
        api=api,
        key=_VIEW,
        kinds=kinds_for_views(),
        palette=palette_chosen(),
        version=st.session_state.get(_VERSION, 0),
        said=st.session_state.get(_SAID),
        on_paused_change=paused,
        on_resumed_change=resumed,
        on_removed_change=removed,
        on_tried_change=tried,
        on_edited_change=edited,
    )
    asked = st.session_state.pop(_EDITED, None)
    if asked is not None:
        _edit(client, known, *asked)


show_alerts = st.fragment(_table)
"""Draw the alerts that stand."""


def _edit(client: Client, known: Sequence[str], rule_id: str, opening: int) -> None:
    """Draw the form of an alert that stands, in a dialog."""
    heard = rule_of(client, rule_id)
    if heard.document is None:
        st.warning(f"The alert cannot be read: {plain(heard.problem)}")
        return
    fields = Fields(f"edit{opening}", first_of(heard.document))
    before = _as_chosen(heard.document)

    def body() -> None:
        choice = choose_alert(client, known, fields)
        outcome = st.container()
        asked = changes(before.body(), choice.body())
        st.caption("A changed condition is watched from anew." if "condition" in asked or "conditions" in asked else "")
        if st.button("Save changes", type="primary", key=fields.key("save"), disabled=not asked, width="stretch"):
            with st.spinner("Saving…"):
                told = change_alert(client, rule_id, asked)
            if not told.problem:
                delivery = (told.document or {}).get("delivery")
                _say(rule_id, told, f"changed; {_plain_delivery(delivery)}" if delivery else "changed")
                st.rerun()
            with outcome:
                fields.refuse(told)

    st.dialog("Edit alert", width="medium")(body)()


def _as_chosen(rule: Mapping[str, Any]) -> AlertChoice:
    """Return a rule as the form would have made it."""
    expires = rule.get("expires")
    return AlertChoice(
        conditions_of(rule),
        join=str(rule.get("join") or "and"),
        frequency=str(rule.get("frequency") or "every"),
        cooldown_s=int(rule.get("cooldown_s", 60)),
        expires=int(expires) if isinstance(expires, int | float) else None,
        notify=tuple(str(target) for target in rule.get("notify") or ()),
        note=str(rule.get("note") or ""),
        message=str(rule.get("message") or ""),
    )


def _told(name: str) -> str:
    """Return the id that the table just told of."""
    return str(getattr(st.session_state.get(_VIEW), name, None) or "")


def _change(client: Client, rule_id: str, body: Mapping[str, Any], word: str) -> None:
    if rule_id:
        _say(rule_id, change_alert(client, rule_id, body), word)


def _say(rule_id: str, told: Told, word: str) -> None:
    """Let the table read anew, and say beside the alert what came of it."""
    st.session_state[_VERSION] = st.session_state.get(_VERSION, 0) + 1
    text = f"Not done: {told.problem}" if told.problem else word
    st.session_state[_SAID] = {
        "id": rule_id, "text": text, "bad": bool(told.problem), "nonce": st.session_state[_VERSION],
    }  # fmt: skip


def _plain_delivery(delivery: Any) -> str:
    """Say what came of test messages, in one line."""
    lines = delivery_words(delivery).replace("`", "").replace("  \n", "; ")
    return f"test message: {lines}" if lines else "it goes to no target: it was shown on this page only"
