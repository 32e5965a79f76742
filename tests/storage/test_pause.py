"""Pauses between tries: none at first, then twice as long each time, up to a bound."""

from __future__ import annotations

from pairscope.storage.pause import Pause


def test_a_pause_doubles_up_to_its_bound_and_is_forgotten_when_it_ends(hand_clock):
    pause = Pause(clock=hand_clock, shortest_s=0.25, longest_s=1.0)
    assert pause.is_over
    lengths = []
    for _ in range(5):
        pause.lengthen()
        assert not pause.is_over
        lengths.append((pause.ends_ns - hand_clock()) / 1e9)
        hand_clock.pass_s(lengths[-1])
        assert pause.is_over
    assert lengths == [0.25, 0.5, 1.0, 1.0, 1.0]
    pause.lengthen()
    pause.end()
    assert pause.is_over
    pause.lengthen()
    assert pause.ends_ns - hand_clock() == 250_000_000
