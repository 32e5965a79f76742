"""Symbols that fall silent, judged by their own usual rate."""

from __future__ import annotations

import numpy as np

from pairscope.feed.silence import SymbolSilence

S = 1_000_000_000
STALL = 10 * S


def after(rates: dict[int, float], seconds: int) -> tuple[SymbolSilence, int]:
    """Let symbol ids tick at steady rates for a while."""
    silence = SymbolSilence()
    credit = dict.fromkeys(rates, 0.0)
    for second in range(1, seconds + 1):
        now = second * S
        for symbol, rate in rates.items():
            credit[symbol] += rate
            due, credit[symbol] = int(credit[symbol]), credit[symbol] % 1
            silence.note(np.full(due, symbol, np.int32), now)
        silence.step(now)
    return silence, seconds * S


def test_a_busy_symbol_is_suspicious_after_the_stall_time_and_not_before() -> None:
    silence, now = after({0: 20.0, 1: 20.0}, 600)
    silence.note(np.full(5, 1, np.int32), now + 9 * S)
    assert silence.suspicious(now + 9 * S, stall_ns=STALL) == []
    assert silence.suspicious(now + 11 * S, stall_ns=STALL) == [0]


def test_a_thin_symbol_is_left_alone_for_as_long_as_its_rate_excuses() -> None:
    silence, now = after({0: 0.05}, 3600)
    assert silence.suspicious(now + 300 * S, stall_ns=STALL) == []
    assert silence.suspicious(now + 450 * S, stall_ns=STALL) == [0]


def test_a_symbol_that_never_ticked_is_not_suspicious() -> None:
    silence, now = after({3: 5.0}, 100)
    assert silence.suspicious(now + 1000 * S, stall_ns=STALL) == [3]


def test_a_verified_silence_is_asked_about_less_and_less_often() -> None:
    silence, now = after({0: 5.0}, 600)
    asked = []
    for second in range(1, 7200):
        silence.step(now + second * S)
        if silence.suspicious(now + second * S, stall_ns=STALL):
            asked.append(second)
            silence.verified([0], now + second * S)
    waits = np.diff(asked)
    assert len(asked) < 120
    assert waits[-1] > 10 * waits[0]


def test_nothing_noted_costs_nothing() -> None:
    silence = SymbolSilence()
    silence.note(np.empty(0, np.int32), S)
    silence.step(S)
    assert silence.suspicious(100 * S, stall_ns=STALL) == []
