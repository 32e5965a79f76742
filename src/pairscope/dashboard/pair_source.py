"""What the API says of pairs, asked once for all viewers, and the last answer while it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pairscope.client import Client
from pairscope.errors import PairscopeError

__all__ = ["Heard", "ask", "forget", "forget_watchlist", "hear", "pair_report", "watched_pairs"]


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: the newest document, or the last one before a ``problem``; ``passing`` where it may pass by itself."""

    document: Any = None
    problem: str = ""
    passing: bool = False


def hear(name: str, key: str, call: Callable[[], Any]) -> Heard:
    """Call the API; where it refuses or is away, return the last answer to the same ``key`` with the reason."""
    kept: Any = st.session_state.get(f"_heard_{name}")
    try:
        document = call()
    except PairscopeError as error:
        last = kept[1] if kept is not None and kept[0] == key else None
        return Heard(last, _sentence(str(error), error.hint), error.retry)
    st.session_state[f"_heard_{name}"] = (key, document)
    return Heard(document)


def ask(client: Client, path: str, **params: Any) -> Any:
    """Return a GET's JSON; asked again by anybody within some seconds, it is not fetched again."""
    return _asked(client.base_url, path, tuple(sorted(params.items())), _client=client)


def forget(client: Client, path: str, **params: Any) -> None:
    """Let the next call of ``ask`` fetch this anew."""
    _asked.clear(client.base_url, path, tuple(sorted(params.items())), _client=client)


def _ask(address: str, path: str, params: tuple[tuple[str, Any], ...], _client: Client) -> Any:
    return _client.get(path, **dict(params))


_asked = st.cache_data(ttl=8, max_entries=128, show_spinner=False)(_ask)


def pair_report(client: Client, key: str, params: Mapping[str, Any]) -> Heard:
    """Return what ``/api/analytics/pair`` says, by the stream's recursions; ``key`` is all that it depends on."""
    return hear("pair", key, lambda: ask(client, "/api/analytics/pair", **params, recursion="live"))


def watched_pairs(client: Client) -> Heard:
    """Return the watch-list's entries without their live values."""

    def call() -> list[dict[str, Any]]:
        return _watched(client.base_url, _client=client)  # type: ignore[no-any-return]

    return hear("watchlist", client.base_url, call)


def _watch(address: str, _client: Client) -> list[dict[str, Any]]:
    pairs = _client.get("/api/watchlist")["pairs"]
    return [{name: value for name, value in pair.items() if name != "live"} for pair in pairs]


_watched = st.cache_data(ttl=4, max_entries=4, show_spinner=False)(_watch)


def forget_watchlist() -> None:
    """Let the next call ask anew: the list was changed from here."""
    _watched.clear()


def _sentence(text: str, hint: str = "") -> str:
    """Make a sentence of an error's words.

    >>> _sentence("x: a pair needs two different symbols")
    'X: a pair needs two different symbols.'
    """
    told = f"{text}: {hint}" if hint and hint not in text else text
    told = told[:1].upper() + told[1:]
    return told if told.endswith((".", "?", "!")) else f"{told}."
