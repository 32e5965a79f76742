"""What the API says of alerts, and what is asked of it; a refusal comes back with the field that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.errors import PairscopeError

__all__ = [
    "Told",
    "change_alert",
    "create_alert",
    "delete_alert",
    "delivery_words",
    "preview_of",
    "rule_of",
    "try_alert",
]

_LONG_H: Final = 1.0
_PLACED: Final = re.compile(r"conditions[.\[](\d+)")
_QUOTED: Final = re.compile(r"^[\w.\[\]]+: ")


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, or a ``problem`` with the field (``loc``) and the condition (``place``) that it is about."""

    document: Any = None
    problem: str = ""
    loc: str = ""
    place: int = 0
    passing: bool = False


def create_alert(client: Client, body: Mapping[str, Any]) -> Told:
    """Create an alert; the document is the rule, with what came of its test messages."""
    return _tell(lambda: client.send("POST", "/api/alerts", body))


def change_alert(client: Client, rule_id: str, body: Mapping[str, Any]) -> Told:
    """Change some fields of an alert."""
    return _tell(lambda: client.send("PATCH", f"/api/alerts/{rule_id}", body))


def delete_alert(client: Client, rule_id: str) -> Told:
    """Delete an alert; what it told stays in the history."""
    return _tell(lambda: client.send("DELETE", f"/api/alerts/{rule_id}"))


def try_alert(client: Client, rule_id: str) -> Told:
    """Send a test message to each of an alert's targets."""
    return _tell(lambda: client.send("POST", f"/api/alerts/{rule_id}/test", {}))


def rule_of(client: Client, rule_id: str) -> Told:
    """Return a rule as it stands."""
    return _tell(lambda: client.get(f"/api/alerts/{rule_id}"))


def preview_of(client: Client, body: Mapping[str, Any], *, hours: float) -> Told:
    """Return where an alert would stand and how often it would have fired in so many hours; remembered for a while."""
    asked = json.dumps({**body, "hours": hours}, sort_keys=True)
    look = _looked if hours >= _LONG_H else _stood
    return _tell(lambda: look(client.base_url, asked, _client=client))


def _preview(address: str, body: str, _client: Client) -> Any:
    return _client.send("POST", "/api/alerts/preview", json.loads(body))


_stood = st.cache_data(ttl=3, max_entries=64, show_spinner=False)(_preview)
_looked = st.cache_data(ttl=55, max_entries=64, show_spinner=False)(_preview)


def delivery_words(delivery: Any) -> str:
    r"""Say what came of test messages, target by target, as Markdown; empty where there was nobody to tell.

    >>> delivery_words([{"target": "tgram://***", "ok": True}, {"target": "slack://***", "ok": False, "error": "404"}])
    '✓ `tgram://***`  \n✗ `slack://***`: 404'
    """
    if not isinstance(delivery, Sequence):
        return ""
    lines = []
    for one in delivery:
        why = str(one.get("error") or "no reason given")
        target = str(one.get("target", "")).replace("`", "")
        lines.append(f"✓ `{target}`" if one.get("ok") else f"✗ `{target}`: {why}")
    return "  \n".join(lines)


def _tell(call: Callable[[], Any]) -> Told:
    try:
        return Told(call())
    except PairscopeError as error:
        text = str(error)
        place = _PLACED.search(text)
        loc = str(error.loc or "").rpartition(".")[2]
        hint = f": {error.hint}" if error.hint and error.hint not in text else ""
        return Told(None, _sentence(_QUOTED.sub("", text) + hint), loc, int(place[1]) if place else 0, error.retry)


def _sentence(text: str) -> str:
    """Make a sentence of an error's words.

    >>> _sentence("must be a number")
    'Must be a number.'
    """
    told = text[:1].upper() + text[1:]
    return told if told.endswith((".", "?", "!")) else f"{told}."
