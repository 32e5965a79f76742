"""When sending is tried again: statuses that are final, pauses that grow, pauses that a receiver asks for."""

from __future__ import annotations

import random

import pytest

from pairscope.delivery.attempts import again_in_s, fault_of, of_status, retry_after_s


@pytest.mark.parametrize(
    ("status", "ok", "final", "refused"),
    [(200, True, False, False), (204, True, False, False), (299, True, False, False), (301, False, False, True),
     (308, False, False, True), (400, False, True, False), (401, False, False, False), (404, False, False, False),
     (408, False, False, False), (410, False, True, False), (413, False, True, False), (415, False, True, False),
     (422, False, True, False), (425, False, False, False), (429, False, False, False), (500, False, False, False),
     (503, False, False, False), (599, False, False, False), (100, False, False, False)],
)  # fmt: skip
def test_a_status_says_if_it_arrived_and_if_it_ever_may(status: int, ok: bool, final: bool, refused: bool) -> None:
    outcome = of_status(status)
    assert (outcome.ok, outcome.final, outcome.refused) == (ok, final, refused)
    assert bool(outcome.error) is not ok


def test_pauses_double_up_to_five_minutes_and_differ_by_chance() -> None:
    rng = random.Random(7)
    for failures in range(1, 400):
        full = min(300.0, 2.0 ** min(failures - 1, 12))
        drawn = [again_in_s(failures, rng) for _ in range(20)]
        assert all(full / 2 <= pause <= full for pause in drawn)
        assert len(set(drawn)) > 1


def test_a_pause_that_is_asked_for_is_kept_up_to_an_hour_and_never_shortens_ours() -> None:
    rng = random.Random(7)
    assert again_in_s(1, rng, 90.0) == 90.0
    assert again_in_s(1, rng, 1e9) == 3600.0
    assert again_in_s(20, rng, 0.0) >= 150.0


@pytest.mark.parametrize(
    ("header", "pause"),
    [("0", 0.0), ("30", 30.0), (" 30 ", 30.0), ("Sat, 28 Nov 2026 00:01:00 GMT", 60.0),
     ("Sat, 28 Nov 2026 00:00:00 +0000", 0.0), ("Fri, 27 Nov 2026 00:00:00 GMT", 0.0), ("", None), ("-5", None),
     ("1.5", None), ("soon", None), ("9" * 400, None), ("٣", None), ("Sat, 99 Nov 2026 00:00:00 GMT", None)],
)  # fmt: skip
def test_a_retry_after_header_is_read_or_left_alone(header: str, pause: float | None) -> None:
    assert retry_after_s(header, 1_795_824_000.0) == pause  # 2026-11-28 00:00 UTC


def test_a_fault_is_named_by_its_kind_and_place_and_not_by_its_words() -> None:
    try:
        raise ValueError("https://example.com/secret")
    except ValueError as error:
        said = fault_of(error)
    assert said.startswith("ValueError < test_attempts.py:")
    assert "secret" not in said
