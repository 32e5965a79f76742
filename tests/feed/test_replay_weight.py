"""The request weight: 429 over the limit, 418 for who goes on, and a fresh minute."""

from __future__ import annotations

from pairscope.feed.replay_weight import WeightPool


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = 1_790_510_400_000

    def __call__(self) -> int:
        return self.ms


def test_weights_add_up_within_a_clock_minute_and_start_anew_in_the_next():
    wall = Wall()
    pool = WeightPool(wall, limit=100)
    assert [pool.take(20) for _ in range(5)] == [None] * 5
    assert pool.headers() == {"X-MBX-USED-WEIGHT-1M": "100"}
    wall.ms += 45_000
    refused = pool.take(1)
    assert refused is not None
    assert (refused.status, refused.headers["Retry-After"]) == (429, "15")
    assert "100 requests per minute" in refused.text
    wall.ms += 15_000
    assert pool.take(20) is None
    assert pool.headers() == {"X-MBX-USED-WEIGHT-1M": "20"}


def test_who_goes_on_is_banned_until_the_time_that_the_answer_names():
    wall = Wall()
    pool = WeightPool(wall, limit=10, patience=3, ban_s=120)
    pool.take(10)
    assert [answer.status for answer in (pool.take(1) for _ in range(5)) if answer] == [429, 429, 429, 418, 418]
    wall.ms += 119_000
    still = pool.take(1)
    assert still is not None
    assert (still.status, still.headers["Retry-After"]) == (418, "1")
    assert f"IP banned until {1_790_510_400_000 + 120_000}" in still.text
    wall.ms += 1_000
    assert pool.take(1) is None
    assert pool.refused == 6
