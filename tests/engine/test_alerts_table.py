"""Rule type × condition against hand-written paths: a star marks each tick at which the rule must fire, and no other.

One trade a second; each second's bar has closed before the next trade comes. Cooldown 0 where a row does not say it.
"""

from __future__ import annotations

from typing import Any

import pytest

from .walking import Walk, path_of, walk_path

PRICE: list[tuple[str, dict[str, Any], str]] = [
    # -- levels: at the first value where they hold, then when they become true again --------------------------------
    ("above holds already", {"condition": "above", "threshold": 100}, "101* 102 103"),
    ("above becomes true", {"condition": "above", "threshold": 100}, "99 100 101* 102 101"),
    ("above is strict", {"condition": "above", "threshold": 100}, "100 100 100"),
    ("above again after it ended", {"condition": "above", "threshold": 100}, "99 101* 100 101* 99 101*"),
    (
        "above with hysteresis",
        {"condition": "above", "threshold": 100, "hysteresis": 2},
        "101* 99 101 98 101* 98.01 101",
    ),
    ("below holds already", {"condition": "below", "threshold": 100}, "99* 98 99"),
    ("below becomes true", {"condition": "below", "threshold": 100}, "101 100 99* 98 100 99*"),
    (
        "below with hysteresis",
        {"condition": "below", "threshold": 100, "hysteresis": 2},
        "99* 101 99 102 99* 101.99 99",
    ),
    # -- crossings: the other side has to be seen first -------------------------------------------------------------
    ("crosses above needs the other side", {"condition": "crosses_above", "threshold": 100}, "101 102 99 101*"),
    (
        "crosses above ignores equal values",
        {"condition": "crosses_above", "threshold": 100},
        "100 101 100 101 99 100 101*",
    ),
    ("crosses above again", {"condition": "crosses_above", "threshold": 100}, "99 101* 100 101 99 101* 102"),
    (
        "crosses above with hysteresis",
        {"condition": "crosses_above", "threshold": 100, "hysteresis": 2},
        "99 101* 99 101 98 101 97 101*",
    ),
    ("crosses below needs the other side", {"condition": "crosses_below", "threshold": 100}, "99 98 101 99*"),
    (
        "crosses below ignores equal values",
        {"condition": "crosses_below", "threshold": 100},
        "100 99 100 99 101 100 99*",
    ),
    (
        "crosses below with hysteresis",
        {"condition": "crosses_below", "threshold": 100, "hysteresis": 2},
        "101 99* 101 99 102 99 103 99*",
    ),
    # -- bands: their edges are inside ------------------------------------------------------------------------------
    ("enters a band from below", {"condition": "enters", "lower": 100, "upper": 110}, "99 100* 105 110 111 110*"),
    ("enters needs to have been outside", {"condition": "enters", "lower": 100, "upper": 110}, "105 106 111 109*"),
    ("enters, jumped over", {"condition": "enters", "lower": 100, "upper": 110}, "99 111 99 105*"),
    (
        "enters with hysteresis",
        {"condition": "enters", "lower": 100, "upper": 110, "hysteresis": 2},
        "99 105* 99 105 97 105* 112 105 112.5 105*",
    ),
    ("leaves a band either way", {"condition": "leaves", "lower": 100, "upper": 110}, "105 111* 112 110 99* 100 99*"),
    ("leaves needs to have been inside", {"condition": "leaves", "lower": 100, "upper": 110}, "99 98 111 105 111*"),
    (
        "leaves with hysteresis",
        {"condition": "leaves", "lower": 100, "upper": 110, "hysteresis": 2},
        "105 111* 109 111 108 111* 101 99 102 99*",
    ),
    # -- moves within a window of closed bars -----------------------------------------------------------------------
    (
        "moves up from the window's lowest close",
        {"condition": "moves", "threshold": 0.01, "timeframe": "1s", "window": 3},
        "100 100.5 100.9 101* 101 101.5 102.5*",
    ),
    (
        "moves down from the window's highest close",
        {"condition": "moves", "threshold": 0.01, "timeframe": "1s", "window": 3},
        "100 99.5 99* 99 99 99 99",
    ),
    (
        "moves no more once the window has passed",
        {"condition": "moves", "threshold": 0.01, "timeframe": "1s", "window": 2},
        "100 101* 101 101 102.5* 102.5 102.5",
    ),
    (
        "moves with hysteresis",
        {"condition": "moves", "threshold": 0.02, "timeframe": "1s", "window": 1, "hysteresis": 0.015},
        "100 102* 103.02 105.1 105.2 108*",
    ),
    # -- the change over a window: against the close so many bars ago -----------------------------------------------
    (
        "price change above",
        {"type": "price_change", "condition": "above", "threshold": 0.01, "timeframe": "1s", "window": 2},
        "100 105 101 101.5 103* 103 103",
    ),
    (
        "price change below, as a fall",
        {"type": "price_change", "condition": "below", "threshold": -0.01, "timeframe": "1s", "window": 1},
        "100 99.5 98* 97 96.9 95*",
    ),
    (
        "price change crosses above",
        {"type": "price_change", "condition": "crosses_above", "threshold": 0, "timeframe": "1s", "window": 1},
        "100 99 98 99* 100 99 100*",
    ),
    (
        "price change crosses below",
        {"type": "price_change", "condition": "crosses_below", "threshold": 0, "timeframe": "1s", "window": 1},
        "100 101 102 101* 100 101 100*",
    ),
    (
        "price change leaves a band",
        {"type": "price_change", "condition": "leaves", "lower": -0.01, "upper": 0.01, "timeframe": "1s", "window": 1},
        "100 100.5 102* 104 104 100*",
    ),
    (
        "price change enters a band",
        {"type": "price_change", "condition": "enters", "lower": -0.01, "upper": 0.01, "timeframe": "1s", "window": 1},
        "100 105 105* 105 100 100*",
    ),
    # -- how often --------------------------------------------------------------------------------------------------
    ("once", {"condition": "above", "threshold": 100, "once": True}, "99 101* 99 101 99 101"),
    (
        "a cooldown swallows what comes within it",
        {"condition": "crosses_above", "threshold": 100, "cooldown_s": 3},
        "99 101* 99 101 99 101* 99 101 99",
    ),
    (
        "once a bar",
        {"condition": "crosses_above", "threshold": 100, "frequency": "once_per_bar", "timeframe": "5s"},
        "99 101* 99 101 99 101* 99 101 99 101 99 101*",
    ),
    (
        "once a bar close: closes of bars alone count",
        {"condition": "above", "threshold": 100, "frequency": "once_per_bar_close", "timeframe": "5s"},
        "99 101 102 103 99 101 99 99 99 101* 101 99 101 99 101 99 99 99 99 99 1 1 1 1 101*",
    ),
    (
        "expired",
        {"condition": "above", "threshold": 100, "expires": 1_722_513_604_000},
        "99 101* 99 101* 99 101 99 101",
    ),
]


@pytest.mark.parametrize(("fields", "path"), [row[1:] for row in PRICE], ids=[row[0] for row in PRICE])
def test_a_rule_fires_at_the_starred_ticks_alone(fields: dict[str, Any], path: str) -> None:
    prices, starred = path_of(path)
    walk = Walk()
    walk.rule(**fields)
    assert walk_path(walk, prices) == starred
    assert [firing.number for firing in walk.fired] == list(range(1, len(starred) + 1))
    if fields.get("type") is None and fields["condition"] != "moves":
        assert [firing.value for firing in walk.fired] == [prices[i] for i in starred]


SILENCE: list[tuple[str, dict[str, Any], list[float], list[int]]] = [
    ("above", {"condition": "above", "threshold": 3}, [0, 10], [4, 14]),
    ("above counts from the trade itself", {"condition": "above", "threshold": 3}, [0.5, 10], [4, 14]),
    ("above a fraction", {"condition": "above", "threshold": 0.4}, [0.5, 4.7, 5.3], [1, 6]),
    ("above with hysteresis", {"condition": "above", "threshold": 3, "hysteresis": 2.5}, [0, 4.2, 8.8], [4, 12]),
    ("below", {"condition": "below", "threshold": 1}, [0.5, 5.5, 12.5], [1, 6, 13]),
    ("crosses above", {"condition": "crosses_above", "threshold": 3}, [0, 6], [4, 10]),
    ("crosses below", {"condition": "crosses_below", "threshold": 3}, [0, 6.2], [7]),
    ("enters a band", {"condition": "enters", "lower": 3, "upper": 5}, [0, 9.5], [3, 13]),
    ("leaves a band", {"condition": "leaves", "lower": 0, "upper": 5}, [0, 9.5], [6, 15]),
]


@pytest.mark.parametrize("hurried", [False, True], ids=["second by second", "all at once"])
@pytest.mark.parametrize(("fields", "trades", "seconds"), [row[1:] for row in SILENCE], ids=[row[0] for row in SILENCE])
def test_silence_fires_at_these_whole_seconds_alone(
    fields: dict[str, Any], trades: list[float], seconds: list[int], *, hurried: bool
) -> None:
    walk = Walk()
    walk.rule(type="staleness", **fields)
    walk.trades([("BTCUSDT", 1, trades[0], 100.0)], until_s=0)
    rest = [("BTCUSDT", 2 + i, at_s, 100.0) for i, at_s in enumerate(trades[1:])]
    if hurried:
        walk.trades(rest, until_s=15.5)
    else:
        for step in range(1, 32):
            now = step / 2
            walk.trades([one for one in rest if now - 0.5 <= one[2] < now], until_s=now)
    assert [(firing.time_ns // 10**9) % 3600 for firing in walk.fired] == seconds
