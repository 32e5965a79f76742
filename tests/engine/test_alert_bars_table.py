"""Rule type × condition of volumes and volatilities against hand-written paths: a star marks where the rule must fire.

A volume's path has what is traded in each second, ``-`` where nothing is; the rule must fire when a starred second has
closed. A volatility's path has a price a second, the rule must fire when a starred second's bar has closed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.price_stats import realized_volatility
from pairscope.market.ticks import TickBatch

from .alert_paths import Legs, X, Y, bars_like, second_of
from .walking import NOON_NS, SECOND, path_of

YEAR_S = 365 * 86_400
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND

VOLUME: list[tuple[str, dict[str, Any], str]] = [
    ("above, of the open bar", {"condition": "above", "threshold": 4}, "1 2 3* 1 1 1 2 3* 1 1"),
    (
        "above is strict, and decimals are exact",
        {"condition": "above", "threshold": 0.3},
        "0.1 0.2 - - - 0.2 0.1 0.01*",
    ),
    ("above, two bars", {"condition": "above", "threshold": 7, "window": 2}, "1 1 1 1 1 1 1 1* 1 1 1 1 1* 1 1 - - - 1"),
    ("above, holds on over a bar's end", {"condition": "above", "threshold": 4, "window": 2}, "1 2 3* 1 1 1 2 3 1 1"),
    ("below", {"condition": "below", "threshold": 3}, "1* 2 3 1 1 1* 2 3 1 1"),
    (
        "below, where nobody trades any more",
        {"condition": "below", "threshold": 3, "window": 2},
        "3 3 3 - - - - - - - - - - - -*",
    ),
    ("crosses above", {"condition": "crosses_above", "threshold": 4}, "1 2 3* 1 1 1 2 3* 1 1"),
    ("crosses above needs the other side", {"condition": "crosses_above", "threshold": 4}, "9 1 1 1 1 1 2 3* 1 1"),
    ("crosses below", {"condition": "crosses_below", "threshold": 4}, "1 2 3 1 1 1* 2 3 1 1 9 - - - - 1*"),
    ("enters", {"condition": "enters", "lower": 3, "upper": 5}, "1 2* 3 1 1 1 2* 1 1 1"),
    ("leaves", {"condition": "leaves", "lower": 2, "upper": 5}, "2 2 3* 1 1 1 1 9* 1 1"),
    ("with hysteresis", {"condition": "above", "threshold": 4, "hysteresis": 3}, "5* 1 1 1 1 2 3 1 1 1 1 4* 1 1 1"),
    (
        "against the mean of the bars before",
        {"condition": "above", "threshold": 2, "baseline": 2},
        "1 1 1 1 1 1 1 1 - - 2 1 6* 1 1 3 3 9* - -",
    ),
    (
        "two bars against the mean of the two before",
        {"condition": "above", "threshold": 1.5, "window": 2, "baseline": 2},
        "1 1 1 1 1 1 1 1 1 1 1 1 1* 1 1 - 9 2* - -",
    ),
    (
        "at closes alone",
        {"condition": "above", "threshold": 4, "frequency": "once_per_bar_close"},
        "1 2 3 1 1* 1 1 - 1 - 9 - - - -*",
    ),
    (
        "once a bar",
        {"condition": "crosses_above", "threshold": 4, "frequency": "once_per_bar"},
        "1 2 3* 1 1 1 2 3* 1 1",
    ),
]

VOLATILITY: list[tuple[str, dict[str, Any], str]] = [
    # Two returns; a step of a hundredth makes sqrt(0.01² / 2) a second: about 0.00704 before it is annualised.
    ("above", {"condition": "above", "threshold": 0.006}, "100 100 101* 101 101 102.01*"),
    ("above, at once as there are two returns", {"condition": "above", "threshold": 0.006}, "100 101 101*"),
    ("below", {"condition": "below", "threshold": 0.006}, "100 101 101 101* 102.01 102.01 102.01*"),
    ("crosses above", {"condition": "crosses_above", "threshold": 0.006}, "100 101 101 101 102.01* 102.01"),
    ("crosses below", {"condition": "crosses_below", "threshold": 0.006}, "100 100 100 101 101 101*"),
    ("enters", {"condition": "enters", "lower": 0.006, "upper": 0.008}, "100 100 100 101* 102.01 102.01*"),
    ("leaves", {"condition": "leaves", "lower": 0.006, "upper": 0.008}, "100 101 101 101* 102.01 103.03*"),
    ("seconds without a trade are passed over", {"condition": "above", "threshold": 0.006}, "100 - 100 - - 101* - -"),
]


@pytest.mark.parametrize(("fields", "path"), [row[1:] for row in VOLUME], ids=[row[0] for row in VOLUME])
def test_a_volume_fires_when_starred_seconds_have_closed_and_then_alone(fields: dict[str, Any], path: str) -> None:
    walk = Legs("5s", before={Y: [100.0] * 30} if "baseline" not in fields else {})
    walk.rule("a", **({"type": "volume", "symbol": Y, "timeframe": "5s"} | fields))
    quiet(walk)
    sizes, starred = sizes_of(path)
    for i, size in enumerate(sizes):
        walk.sizes([(Y, i + 0.5, 100.0, size)] if size else [], until_s=i + 1)
    assert [second_of(one.time_ns) - 1 for one in walk.fired] == starred
    assert {one.symbol for one in walk.fired} == {Y}


@pytest.mark.parametrize(("fields", "path"), [row[1:] for row in VOLATILITY], ids=[row[0] for row in VOLATILITY])
def test_a_volatility_fires_at_the_closes_of_starred_bars_alone(fields: dict[str, Any], path: str) -> None:
    walk = Legs()
    scaled = {k: v * math.sqrt(YEAR_S) if isinstance(v, float) else v for k, v in fields.items()}
    walk.rule("a", type="volatility", symbol=Y, timeframe="1s", window=2, **scaled)
    walk.read()
    prices, starred = sizes_of(path)
    for i, price in enumerate(prices):
        walk.trades(walk.numbered([(Y, i + 0.5, price)] if price else []), until_s=i + 1)
    assert [second_of(one.time_ns) - 1 for one in walk.fired] == starred


def sizes_of(path: str) -> tuple[list[float], list[int]]:
    """A path in which ``-`` is nothing."""
    return path_of(path.replace("-", "0"))


def quiet(walk: Legs) -> None:
    """Read history in which nothing was traded for long, but a bar is known before it."""
    for wanted in walk.book.lacking():
        asked = walk.book.begin(wanted)
        assert asked is not None
        opens = [NOON_NS - 20 * 5 * SECOND]
        bars = bars_like(walk.engine.symbols_table, wanted.symbol, wanted.timeframe, opens, [100.0], volume=0.0)
        walk.book.fill(wanted, asked[1], bars)


# -- values -----------------------------------------------------------------------------------------------------------


def view(walk: Legs, rule_id: str = "a") -> tuple[float | None, str]:
    said = walk.book.view(rule_id)
    assert said is not None
    return said["values"][0], said["reason"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_volatility_is_that_of_the_statistics_to_the_last_bit_and_of_a_plain_computation(seed: int) -> None:
    walk = Legs("1m")
    rng = np.random.default_rng(seed)
    for window in (20, 60):
        walk.rule(str(window), type="volatility", symbol=Y, window=window, condition="above", threshold=1e9)
    walk.read()
    closes: list[float] = []
    for i in range(130):
        if rng.random() < 0.8:
            closes.append(round(100 + rng.standard_normal(), 2))
            walk.trades(walk.numbered([(Y, 60 * i + 30, closes[-1])]), until_s=60 * i + 31)
        seen: list[Any] = []
        walk.between = seen.append
        walk.trades([], until_s=60 * (i + 1))
        stats = seen[0].stats
        for at, window in enumerate(stats.windows[:2] if len(stats) else ()):
            value, reason = view(walk, str(window))
            if value is None:
                assert reason == f"needs {window + 1} bars, has {len(closes)}"
                assert np.isnan(stats.annual_volatility[0, at])
            else:
                assert value == stats.annual_volatility[0, at]
                plain = realized_volatility(np.array(closes[-window - 1 :]), periods_per_year=525_600)
                assert value == pytest.approx(plain, rel=1e-12)
    assert len(closes) > 61


def test_windows_that_no_ring_holds_are_read_from_the_store() -> None:
    rng = np.random.default_rng(3)
    days = (100 * np.exp(np.cumsum(rng.standard_normal(60) * 0.02))).tolist()
    hours = (100 * np.exp(np.cumsum(rng.standard_normal(200) * 0.01))).tolist()
    walk = Legs("1d", before={Y: days})
    walk.rule("d", type="volatility", symbol=Y, timeframe="1d", window=20, condition="above", threshold=0.0)
    walk.rule("v", type="volume", symbol=Y, timeframe="1d", window=10, condition="above", threshold=8.5)
    walk.read()
    walk.timeframe, walk.before = "1h", {Y: hours}
    walk.rule("h", type="volatility", symbol=Y, timeframe="1h", window=60, condition="above", threshold=0.0)
    walk.read()
    fired = walk.trades([], until_s=0.5)
    assert sorted(one.rule_id for one in fired) == ["d", "h", "v"]
    assert view(walk, "d")[0] == pytest.approx(realized_volatility(np.array(days[-21:]), periods_per_year=365))
    assert view(walk, "h")[0] == pytest.approx(realized_volatility(np.array(hours[-61:]), periods_per_year=8760))


def test_what_was_traded_in_an_open_hour_before_the_rule_was_made_counts() -> None:
    walk = Legs("1h", before={Y: [100.0] * 200})
    for minute in range(7):
        walk.sizes([(Y, 60 * minute + 30.5, 100.0, 1.5)], until_s=60 * (minute + 1))
    walk.sizes([(Y, 421.5, 100.0, 0.25)], until_s=423)
    walk.rule("a", type="volume", symbol=Y, timeframe="1h", condition="above", threshold=1e9)
    walk.rule("b", type="volume", symbol=Y, timeframe="1h", window=3, condition="above", threshold=1e9)
    walk.read()
    assert (view(walk, "a"), view(walk, "b")) == ((10.75, ""), (12.75, ""))
    walk.sizes([(Y, 423.5, 100.0, 0.5)], until_s=425)
    assert (view(walk, "a"), view(walk, "b")) == ((11.25, ""), (13.25, ""))


def test_a_late_tick_counts_in_the_open_bar_and_in_closed_ones() -> None:
    walk = Legs("5s", before={Y: [100.0] * 30})
    walk.rule("a", type="volume", symbol=Y, timeframe="5s", window=2, condition="above", threshold=1e9)
    walk.read()
    for i in range(8):
        walk.sizes([(Y, i + 0.5, 100.0, 1.0)], until_s=i + 1)
    assert view(walk) == (8.0, "")
    walk.sizes([(Y, 2.6, 100.0, 0.5)], until_s=8.2)
    walk.sizes([(Y, 6.6, 100.0, 0.25)], until_s=8.4)
    assert view(walk) == (8.75, "")
    walk.sizes([(Y, 8.5, 100.0, 1.0)], until_s=9)
    assert view(walk) == (9.75, "")


def test_a_corrected_close_is_in_the_next_volatility() -> None:
    walk = Legs()
    walk.rule("a", type="volatility", symbol=Y, timeframe="1s", window=2, condition="above", threshold=1e9)
    walk.read()
    for i, price in enumerate([100.0, 100.0, 100.0]):
        walk.trades([(Y, 10 * i + 1, i + 0.5, price)], until_s=i + 1)
    assert view(walk) == (0.0, "")
    walk.trades([(Y, 22, 2.6, 101.0)], until_s=3.2)
    assert view(walk)[0] == pytest.approx(math.log(1.01) * math.sqrt(YEAR_S / 2))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "volume", "window": 3}, "no bar is known from the beginning of the 3 bars that it needs"),
        ({"type": "volume", "baseline": 9}, "no bar is known from the beginning of the 10 bars that it needs"),
        ({"type": "volatility", "window": 9}, "needs 10 bars, has 2"),
    ],
)
def test_before_it_is_warm_a_rule_counts_what_is_missing(fields: dict[str, Any], reason: str) -> None:
    walk = Legs()
    walk.rule("a", symbol=Y, timeframe="5s", condition="above", threshold=0, **fields)
    assert view(walk) == (None, "history is being read")
    walk.read()
    for i in range(7):
        walk.sizes([(Y, i + 0.5, 100.0, 1.0)], until_s=i + 1)
    walk.sizes([], until_s=10)
    assert view(walk) == (None, reason)
    assert walk.fired == []


def test_a_share_of_nothing_is_no_value() -> None:
    walk = Legs()
    walk.rule("a", symbol=Y, timeframe="5s", type="volume", baseline=3, condition="above", threshold=0)
    quiet(walk)
    walk.sizes([(Y, 0.5, 100.0, 1.0)], until_s=1)
    assert view(walk) == (None, "nothing is known to have been traded in the 3 bars before the window")


@pytest.mark.parametrize("restart_at", [None, 3, 57, 140])
def test_volumes_and_volatilities_equal_a_plain_sum_and_a_restart_changes_nothing(restart_at: int | None) -> None:
    """Beside each rule a sum over all ticks, by hand; more rules than one a symbol, of several timeframes."""
    rng = np.random.default_rng(7)
    walk = Legs("5s", before={Y: [100.0] * 60, X: [100.0] * 60})
    asked = [(Y, "5s", 1), (Y, "5s", 4), (Y, "1m", 1), (X, "5s", 2), (X, "15s", 1), (X, "1s", 3)]
    for i, (symbol, timeframe, window) in enumerate(asked):
        fields = {"condition": "crosses_above", "threshold": 1e9}
        walk.rule(f"r{i}", type="volume", symbol=symbol, timeframe=timeframe, window=window, **fields)
    walk.read()
    lengths = {"1s": 1, "5s": 5, "15s": 15, "1m": 60}
    traded: list[tuple[str, float, float]] = []
    for i in range(160):
        if i == restart_at:
            walk.restart()
        trades = [
            (name, i + 0.1 + 0.3 * k, 100.0, round(float(rng.exponential()), 3))
            for k, name in enumerate((Y, X))
            if rng.random() < 0.7
        ]
        walk.sizes(trades, until_s=i + 1)
        traded += [(name, at_s, size) for name, at_s, _, size in trades]
        for r, (symbol, timeframe, window) in enumerate(asked):
            step = lengths[timeframe]
            mine = [(at_s, size) for name, at_s, size in traded if name == symbol]
            in_the_bar = (i + 1) % step == 0 or any(at_s >= i // step * step for at_s, _ in mine)
            newest = i // step if in_the_bar else i // step - 1
            value, _ = view(walk, f"r{r}")
            start = (newest - window + 1) * step
            if start > 0 and value is not None:
                assert value == pytest.approx(sum(size for at_s, size in mine if at_s >= start), rel=1e-12)
    assert all(view(walk, f"r{r}")[0] is not None for r in range(len(asked)))


def test_a_jump_of_time_over_many_bars_looks_at_the_last_of_them() -> None:
    walk = Legs("5s", before={Y: [100.0] * 30})
    walk.rule("a", type="volume", symbol=Y, timeframe="5s", condition="below", threshold=1)
    walk.read()
    walk.sizes([(Y, 0.5, 100.0, 2.0)], until_s=1)
    assert walk.fired == []
    walk.take(TickBatch.empty(walk.engine.symbols_table, NOON_NS + 600 * SECOND))
    assert [second_of(one.time_ns) for one in walk.fired] == [600]


def test_ten_thousand_gauges_are_kept_in_order_as_rules_come_and_go() -> None:
    walk = Legs("5s", before={Y: [100.0] * 60, X: [100.0] * 60})
    for i in range(300):
        fields = {"timeframe": "5s", "window": 1 + i % 7, "condition": "above", "threshold": 0.5 + i % 11}
        walk.rule(
            f"r{i}", type="volume" if i % 3 else "volatility", symbol=(Y, X)[i % 2], **fields | {"window": 2 + i % 7}
        )
    walk.read()
    for i in range(0, 300, 2):
        walk.book.remove(f"r{i}")
    walk.sizes([(Y, 0.5, 100.0, 3.0), (X, 0.6, 100.0, 4.0)], until_s=1)
    volumes = {f"r{i}": 1 + i % 7 + 4.0 for i in range(1, 300, 2) if i % 3}
    assert {one.rule_id: one.value for one in walk.fired} == {
        rule_id: value for rule_id, value in volumes.items() if value > 0.5 + int(rule_id[1:]) % 11
    }


def test_rules_that_end_while_others_are_fed_take_nothing_with_them() -> None:
    """Joined rules that fire once end in the middle of a tick, a second or a close, on gauges that others watch too."""
    rng = np.random.default_rng(9)
    walk = Legs("1s", before={Y: (100 + rng.random(200)).tolist(), X: (100 + rng.random(200)).tolist()})
    pair = {"y": Y, "x": X, "timeframe": "1s", "window": 5, "lookback": 40, "condition": "above", "threshold": 0.2}
    kinds: list[dict[str, Any]] = [pair | {"type": type_} for type_ in ("zscore", "correlation", "spread")]
    kinds += [{"type": "volume", "symbol": Y, "timeframe": "5s", "condition": "above", "threshold": 2.5}]
    kinds += [{"type": "volatility", "symbol": X, "timeframe": "1s", "window": 5, "condition": "above", "threshold": 9}]
    kinds += [{"type": "price", "symbol": X, "condition": "above", "threshold": 100.5}]
    for i in range(60):
        two = rng.permutation(len(kinds))[:2].tolist()
        conditions = [kinds[k] | {"threshold": kinds[k]["threshold"] * rng.uniform(0.5, 1.5)} for k in two]
        walk.rule(f"r{i:02d}", conditions=conditions, join=("and", "or")[i % 2], once=True)
    walk.read()
    for i in range(60):
        prices = (100 + rng.random(6)).round(2).tolist()
        trades = [((Y, X)[k % 2], i + 0.1 + 0.1 * k, price, 1.0) for k, price in enumerate(prices)]
        walk.sizes(trades, until_s=i + 1)
    assert len({one.rule_id for one in walk.fired}) == len(walk.fired) > 30
    states = [walk.book.state(rule.id) for rule in walk.book.rules()]
    assert sum(state.status == "done" for state in states) == len(walk.fired)
