"""The figures above the tab: how much is stored, how fast more comes, and what is missing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_source import stats_now, stored
from pairscope.dashboard.data_words import count_words, size_words
from pairscope.dashboard.pair_words import MISSING, duration, number_at, plain

__all__ = ["figures_of", "show_figures"]

_REFRESH_S: Final = 3


def _show(client: Client) -> None:
    heard = stats_now(client)
    if heard.document is None:
        st.caption("The figures come as soon as the API answers." if heard.passing else plain(heard.problem))
        return
    kept = stored(client, start=_recent(heard.document))
    with st.grid(6, min_column_width=150):
        for label, value, why in figures_of(heard.document, kept.document or {}):
            st.metric(label, value, help=why or None, border=True)


show_figures = st.fragment(run_every=_REFRESH_S)(_show)
"""Draw the figures, again every few seconds."""


def _recent(stats: Mapping[str, Any]) -> int | None:
    """Return a time behind all days: of the store only the sums are wanted here."""
    now = number_at(stats, "timestamp")
    return None if now is None else int(now) // 86_400_000 * 86_400_000


def figures_of(stats: Mapping[str, Any], storage: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return label, value and explanation of each figure.

    >>> figures_of({"ticks": 12_000, "symbols": 2, "uptime_s": 90, "rates": {"ticks_per_second": 8.25},
    ...             "reconnects": 1, "gaps": [], "store": {"bytes": 5_000_000}}, {})[0][:2]
    ('Trades stored', '12,000')
    """
    ticks, symbols, size = number_at(stats, "ticks"), number_at(stats, "symbols"), number_at(storage, "bytes")
    size = number_at(stats, "store", "bytes") if size is None else size
    archived, free = number_at(storage, "archive", "bytes"), number_at(storage, "free_bytes")
    rate = number_at(stats, "rates", "ticks_per_second")
    gaps: Sequence[Mapping[str, Any]] = stats.get("gaps") or ()
    lacking = [gap for gap in gaps if gap.get("status") != "repaired"]
    missing = sum(int(gap.get("missing") or 0) for gap in lacking)
    reconnects = number_at(stats, "reconnects")
    where = f"{size_words(archived)} of them in the archive" if archived else "in the store; the archive is empty"
    both = None if size is None else size + (archived or 0)
    room = f"; {size_words(free)} are free on the disk" if free is not None else ""
    return [
        ("Trades stored", MISSING if ticks is None else f"{ticks:,.0f}", "In the store and in the archive."),
        ("Symbols", MISSING if symbols is None else f"{symbols:,.0f}", ""),
        ("Coming in", MISSING if rate is None else f"{_rate(rate)}/s", "Trades a second, over the last seconds."),
        ("On disk", size_words(both), f"What is stored takes this much, {where}{room}."),
        (
            "Missing trades",
            f"{missing:,}",
            f"Ids that the exchange gave and that are not here, in {count_words(len(lacking), 'hole')}. The view "
            "Gaps tells on which days.",
        ),
        (
            "Running for",
            duration(number_at(stats, "uptime_s"), 1),
            f"Since Pairscope was started; {count_words(reconnects, 'reconnection')} to the market since then.",
        ),
    ]


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.1f}"
