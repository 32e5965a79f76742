"""The rule of a pair trade: what each z-score decides, given what is held and what came before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairscope.analytics.signals import (
    SIGNAL_ENTER,
    SIGNAL_EXIT,
    SIGNAL_MAX_HOLDING,
    SIGNAL_POSITION,
    SIGNAL_STAY,
    SIGNAL_STOP,
    signal_rule,
    signal_state,
    signal_step,
)


def decide(zscores: list[float], *, allowed: bool = True, **terms: Any) -> list[int]:
    rule, state = signal_rule(**{"entry": 2.0, "exit": 0.5, **terms}), signal_state()
    return [signal_step(state, rule, z, z, allowed) for z in zscores]


def test_a_high_spread_is_sold_and_a_low_one_bought() -> None:
    for z, side in ((2.0, -1.0), (-2.0, 1.0)):
        state = signal_state()
        assert signal_step(state, signal_rule(entry=2.0, exit=0.5), z, np.nan, True) == SIGNAL_ENTER
        assert state[SIGNAL_POSITION] == side


def test_a_position_is_closed_when_its_spread_comes_back_or_crosses_over() -> None:
    assert decide([2.5, 0.6, 0.5])[1:] == [SIGNAL_STAY, SIGNAL_EXIT]
    assert decide([-2.5, -0.6, 3.0])[1:] == [SIGNAL_STAY, SIGNAL_EXIT]


def test_a_position_is_judged_by_the_spread_that_it_holds() -> None:
    rule, state = signal_rule(entry=2.0, exit=0.5), signal_state()
    signal_step(state, rule, 2.5, np.nan, True)
    assert signal_step(state, rule, 0.0, 1.5, True) == SIGNAL_STAY
    assert signal_step(state, rule, 3.0, 0.4, True) == SIGNAL_EXIT


def test_a_stop_closes_and_forbids_entries_for_the_cooldown() -> None:
    assert decide([2.5, 4.0, 2.5, 2.5, 2.5], stop=4.0, cooldown=2) == [
        SIGNAL_ENTER,
        SIGNAL_STOP,
        SIGNAL_STAY,
        SIGNAL_STAY,
        SIGNAL_ENTER,
    ]


def test_nothing_is_entered_at_the_stop_or_beyond() -> None:
    assert decide([4.0, -9.0, 3.9], stop=4.0) == [SIGNAL_STAY, SIGNAL_STAY, SIGNAL_ENTER]


def test_a_position_is_closed_after_so_many_bars() -> None:
    assert decide([2.5, 2.5, 2.5, 2.5], max_holding=3) == [SIGNAL_ENTER, SIGNAL_STAY, SIGNAL_STAY, SIGNAL_MAX_HOLDING]


def test_a_zscore_that_is_not_known_decides_nothing_while_time_counts() -> None:
    assert decide([np.nan, 2.5, np.nan, np.nan], max_holding=2) == [
        SIGNAL_STAY,
        SIGNAL_ENTER,
        SIGNAL_STAY,
        SIGNAL_MAX_HOLDING,
    ]


def test_a_closed_gate_keeps_entries_out_and_lets_exits_through() -> None:
    assert decide([2.5, 3.0], allowed=False) == [SIGNAL_STAY, SIGNAL_STAY]
    rule, state = signal_rule(entry=2.0, exit=0.5), signal_state()
    signal_step(state, rule, 2.5, np.nan, True)
    assert signal_step(state, rule, 0.0, 0.0, False) == SIGNAL_EXIT


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("entry", {"entry": 0.5}),
        ("entry", {"entry": float("nan")}),
        ("exit", {"exit": -1.0}),
        ("stop", {"stop": 2.0}),
        ("stop", {"stop": float("inf")}),
        ("max_holding", {"max_holding": 0}),
        ("max_holding", {"max_holding": 1.5}),
        ("cooldown", {"cooldown": -1}),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(name: str, terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        decide([], **terms)
