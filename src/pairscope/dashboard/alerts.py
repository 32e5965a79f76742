"""Alerts & Monitoring: be told when a level is reached, and see how the system is doing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard import monitoring
from pairscope.dashboard.alert_choice import AlertChoice
from pairscope.dashboard.alert_fields import Fields
from pairscope.dashboard.alert_form import choose_alert
from pairscope.dashboard.alert_kinds import kinds_for_views
from pairscope.dashboard.alert_source import Told, create_alert, delivery_words, preview_of
from pairscope.dashboard.alert_table import show_alerts
from pairscope.dashboard.alert_words import (
    condition_words,
    distance_words,
    fired_words,
    span_words,
    times_words,
    value_words,
)
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_words import plain
from pairscope.dashboard.price_monitor import palette_chosen

__all__ = ["TAB", "show"]

TAB: Final = "Alerts & Monitoring"

_REFRESH_S: Final = 4
_PAST_REFRESH_S: Final = 60
_NOW_H: Final = 0.001  # nothing to look back on: only where it stands, which is told at once
_PAST_H: Final = 24.0
_LOOKED: Final = "_alert_looked_back"
_OUTCOME: Final = "_alert_outcome"


def show(api: LiveApi, client: Client, known: Sequence[str]) -> None:
    """Draw the tab."""
    side, main = st.columns([0.3, 0.7], gap="medium")
    with side:
        st.subheader("New alert", anchor=False)
        if known:
            _form(client, known)
        else:
            st.info(
                "No symbol is followed yet. An alert can be made as soon as the first trades arrive; "
                "`pairscope run` starts the feed, `pairscope doctor` says what keeps it from starting."
            )
    with main:
        show_alerts(api, client, known)
        st.subheader("Triggered", anchor=False)
        live_view("alert_feed", api=api, key="alert_feed", kinds=kinds_for_views(), palette=palette_chosen())
    monitoring.show(api)


def _new(client: Client, known: Sequence[str]) -> None:
    """Draw the form, its button, and where such an alert would stand."""
    fields = Fields("alert")
    choice = choose_alert(client, known, fields)
    pressed = st.button(
        "Create alert", type="primary", icon=":material/add_alert:", key="create-alert", width="stretch"
    )
    if pressed:
        words = "Creating it, and sending a test message to each target…" if choice.notify else "Creating it…"
        with st.spinner(words):
            st.session_state[_OUTCOME] = (_asked(choice), create_alert(client, choice.body()))
    _outcome(choice, fields)
    heard = preview_of(client, choice.watched(), hours=_NOW_H) if choice.complete else Told()
    if heard.problem and heard.loc:
        fields.refuse(heard)
        return
    with st.container(border=True, gap="small", key="alert-preview"):
        if not choice.complete:
            st.caption("Fill in the threshold to see where the alert would stand, and how often it would have fired.")
            return
        _standing(client, choice)
        _looked_back(client, choice)


_form = st.fragment(_new)


def _asked(choice: AlertChoice) -> Mapping[str, Any]:
    """Return what makes one request another one than the last: not the moment that an expiry is counted from."""
    return {name: value for name, value in choice.body().items() if name != "expires"}


def _outcome(choice: AlertChoice, fields: Fields) -> None:
    """Say what came of the button, for as long as the form stays as it was."""
    asked, told = st.session_state.get(_OUTCOME, (None, Told()))
    if asked != _asked(choice):
        return
    if told.problem:
        fields.refuse(told)
        return
    rule = told.document or {}
    delivery = rule.get("delivery")
    failed = isinstance(delivery, Sequence) and any(not one.get("ok") for one in delivery)
    say = st.warning if failed else st.success
    lines = delivery_words(delivery)
    words = "Alert created; not every target took its test message." if failed else "Alert created."
    say("  \n".join(filter(None, (words, lines))), icon=":material/notifications_active:")


def _stand(client: Client, choice: AlertChoice) -> None:
    """Say where the alert would stand now."""
    heard = preview_of(client, choice.watched(), hours=_NOW_H)
    if heard.problem:
        passing = "The preview comes as soon as the API answers" if heard.passing else "There is no preview"
        st.caption(f":orange[▲ {passing}: {plain(heard.problem)}]")
        return
    document: Mapping[str, Any] = heard.document or {}
    _figures(choice, document)
    if document.get("reason") and document.get("fired") is not None:
        st.caption(f":orange[▲ {plain(str(document['reason']))}]")


_standing = st.fragment(run_every=_REFRESH_S)(_stand)


def _look_back(client: Client, choice: AlertChoice) -> None:
    """Say how often the alert would have fired over the stored past."""
    body = choice.watched()
    again = st.session_state.get(_LOOKED) == body  # what stands there stays until it is known anew
    with contextlib.nullcontext() if again else st.spinner("Looking back over the last 24 h…"):
        heard = preview_of(client, body, hours=_PAST_H)
    st.session_state[_LOOKED] = body
    document: Mapping[str, Any] = heard.document or {}
    if document.get("fired") is not None:
        st.metric(f"Would have fired in {span_words(document)}", fired_words(document))
    st.caption(times_words(document))


_looked_back = st.fragment(run_every=_PAST_REFRESH_S)(_look_back)


def _figures(choice: AlertChoice, document: Mapping[str, Any]) -> None:
    """Draw value and distance of each condition."""

    def at(name: str, place: int) -> Any:
        found = document.get(name) or ()
        return found[place] if place < len(found) else None

    for place, condition in enumerate(choice.conditions):
        if condition.type == "cointegration":
            st.caption("It fires when a screen of the market says so: there is no value to look at before.")
            continue
        if len(choice.conditions) > 1:
            st.caption(plain(condition_words(condition)))
        value = at("values", place)
        with st.grid(2, min_column_width=330):
            st.metric(
                "Now", value_words(condition.type, condition.condition, value, condition.symbol, condition.baseline)
            )
            st.metric(
                "Until it fires",
                distance_words(condition, value, at("distance", place), holds=bool(at("holds", place))),
            )
