"""Discoveries: in at the rate that is asked for, out at twice that, bounded, and the same after a restart."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pairscope.research.discoveries import Discoveries

MINUTE = 60_000


def screened(at: int, qvalues: dict[str, float], excluded: dict[str, str] | None = None) -> Any:
    """A screen whose tests have these q-values, by ``Y:X``."""
    ranked = sorted(qvalues.items(), key=lambda item: item[1])
    legs = [name.split(":") for name, _ in ranked]
    symbols = tuple(sorted({leg for pair in legs for leg in pair}))
    q = np.array([value for _, value in ranked])
    numbers = dict.fromkeys(("qvalue", "pvalue", "half_life", "zscore", "beta", "correlation"), q)
    y, x = (np.array([symbols.index(pair[i]) for pair in legs], np.int32) for i in (0, 1))
    return SimpleNamespace(
        as_of_ms=at * MINUTE,
        timeframe="1m",
        lookback=60,
        symbols=symbols,
        y=y,
        x=x,
        numbers=numbers,
        excluded=excluded or {},
        head=SimpleNamespace(tests=q.size),
    )


def told(kept: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(event["event"], event["y"], event["x"]) for event in kept["events"]]


def test_a_pair_enters_at_the_rate_and_leaves_above_twice_that() -> None:
    found = Discoveries(fdr=0.05)
    story = [(0.2, []), (0.05, ["entered"]), (0.09, []), (0.02, []), (0.1, []), (0.11, ["left"]), (0.07, [])]
    for at, (q, events) in enumerate(story):
        kept = found.take(screened(at, {"A:B": q, "B:A": 0.5}))
        assert [event["event"] for event in kept["events"]] == events
    assert [event["event"] for event in found.events(10)] == ["left", "entered"]
    assert found.events(10)[0]["reason"] == "its q-value is 0.11, above 0.1"
    assert found.discovered() == 0


def test_a_pair_is_told_once_as_the_direction_that_is_better_and_stays_by_either() -> None:
    found = Discoveries()
    assert told(found.take(screened(0, {"B:A": 0.01, "A:B": 0.02}))) == [("entered", "B", "A")]
    assert told(found.take(screened(1, {"B:A": 0.5, "A:B": 0.03}))) == []
    assert told(found.take(screened(2, {"B:A": 0.5, "A:B": 0.3}))) == [("left", "B", "A")]
    history = found.history("A", "B")
    assert history is not None
    assert history["timestamp"] == [0, MINUTE, 2 * MINUTE]
    assert history["qvalue"] == pytest.approx([0.02, 0.03, 0.3])
    assert found.history("B", "A")["qvalue"] == pytest.approx([0.01, 0.5, 0.5])
    assert found.history("A", "C") is None


def test_a_pair_that_is_not_tested_any_more_leaves_with_the_reason() -> None:
    found = Discoveries()
    found.take(screened(0, {"A:B": 0.01, "B:A": 0.01, "A:C": 0.6}))
    kept = found.take(screened(1, {"A:C": 0.6, "C:A": 0.7}, {"B": "lacks 9 of the last 60 bars"}))
    assert told(kept) == [("left", "A", "B")]
    assert kept["events"][0]["reason"] == "it is not tested any more: B lacks 9 of the last 60 bars"
    assert kept["events"][0]["qvalue"] is None
    assert np.isnan(found.history("A", "B")["qvalue"][-1])


def test_who_has_left_longest_ago_makes_room_and_who_finds_none_is_counted() -> None:
    found = Discoveries(most=2)
    found.take(screened(0, {"A:B": 0.01, "A:C": 0.02, "A:D": 0.03}))
    assert (found.discovered(), found.unfollowed) == (2, 1)
    assert found.history("A", "D") is None
    found.take(screened(1, {"A:B": 0.9, "A:C": 0.02, "A:D": 0.9}))
    assert told(found.take(screened(2, {"A:B": 0.9, "A:C": 0.02, "A:D": 0.03}))) == [("entered", "A", "D")]
    assert found.history("A", "B") is None
    assert np.isnan(found.history("A", "D")["qvalue"][:2]).all()


def test_the_history_reaches_back_so_many_screens() -> None:
    found = Discoveries(kept=3)
    for at in range(5):
        found.take(screened(at, {"A:B": 0.01 + 0.001 * at}))
    history = found.history("A", "B")
    assert history["timestamp"] == [2 * MINUTE, 3 * MINUTE, 4 * MINUTE]
    assert history["qvalue"] == pytest.approx([0.012, 0.013, 0.014])


def test_a_screen_of_the_same_bar_takes_the_place_of_the_last_one_and_loses_no_event() -> None:
    found = Discoveries()
    found.take(screened(0, {"A:B": 0.01, "A:C": 0.6}))
    kept = found.take(screened(0, {"A:B": 0.02, "A:C": 0.03}))
    assert told(kept) == [("entered", "A", "B"), ("entered", "A", "C")]
    assert found.history("A", "B")["qvalue"] == pytest.approx([0.02])


def test_time_that_goes_back_takes_the_later_screens_with_it() -> None:
    found = Discoveries()
    for at in (5, 6, 7):
        found.take(screened(at, {"A:B": 0.01}))
    found.take(screened(6, {"A:B": 0.02}))
    assert found.history("A", "B")["timestamp"] == [5 * MINUTE, 6 * MINUTE]


def test_what_was_kept_restores_it() -> None:
    found, documents = Discoveries(), []
    story = [{"A:B": 0.01, "B:A": 0.3}, {"A:B": 0.2, "A:C": 0.04}, {"A:B": 0.2, "A:C": 0.06, "C:B": 0.01}]
    for at, qvalues in enumerate(story):
        documents.append(json.loads(json.dumps(found.take(screened(at, qvalues)))))
    again = Discoveries()
    again.restore(documents)
    assert again.events(10) == found.events(10)
    assert again.discovered() == found.discovered() == 2
    for pair in ("AB", "BA", "AC", "BC", "CB"):
        np.testing.assert_allclose(
            again.history(*pair)["qvalue"], found.history(*pair)["qvalue"], rtol=1e-5, equal_nan=True
        )
    nxt = screened(3, {"A:B": 0.01, "A:C": 0.2, "C:B": 0.01})
    assert told(again.take(nxt)) == told(found.take(nxt)) == [("left", "A", "C"), ("entered", "A", "B")]
