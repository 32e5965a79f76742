"""The market's time: a multiple of elapsed time, or where it is set."""

from __future__ import annotations

import pytest

from pairscope.errors import InputError
from pairscope.feed.replay_clock import ReplayClock, parse_speed


def test_time_stands_until_it_begins_and_then_runs_at_its_speed():
    now = [100.0]
    clock = ReplayClock(1_000, speed=10.0, monotonic_s=lambda: now[0])
    now[0] = 150.0
    assert (clock.running, clock.target_ms()) == (False, 1_000)
    clock.begin(5_000)
    now[0] = 150.5
    assert (clock.running, clock.target_ms()) == (True, 10_000)


def test_without_a_speed_time_goes_nowhere_by_itself():
    clock = ReplayClock(1_000, speed=None, monotonic_s=lambda: 5.0)
    clock.begin(1_000)
    assert clock.target_ms() == 1_000


@pytest.mark.parametrize("text", ["0", "-1", "fast", "", "inf", "nan"])
def test_a_speed_that_cannot_be_is_refused(text: str):
    with pytest.raises(InputError, match="speed"):
        parse_speed(text)
