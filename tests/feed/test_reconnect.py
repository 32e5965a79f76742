"""Delays before a retry, and which failures a retry can help."""

from __future__ import annotations

import random
import ssl
from itertools import islice

import pytest

from pairscope.errors import ConnectionLost, ExchangeRefused, FeedSilent, MalformedFrame, SubscriptionRefused
from pairscope.feed.reconnect import backoff, can_retry


def test_delays_are_spread_over_the_whole_of_a_bound_that_doubles_up_to_the_cap() -> None:
    runs = [list(islice(backoff(first_s=0.5, cap_s=8.0, rng=random.Random(seed)), 10)) for seed in range(2000)]
    for k, bound in enumerate([0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8]):
        column = sorted(run[k] for run in runs)
        assert 0 <= column[0] < 0.02 * bound
        assert 0.98 * bound < column[-1] <= bound
        assert sum(column) / len(column) == pytest.approx(bound / 2, rel=0.05)


def test_an_hour_of_failures_makes_a_bounded_number_of_attempts() -> None:
    for seed in range(20):
        elapsed, attempts = 0.0, 0
        for delay in backoff(rng=random.Random(seed)):
            elapsed += delay
            attempts += 1
            if elapsed > 3600:
                break
        assert attempts <= 320


@pytest.mark.parametrize(
    "error",
    [
        ConnectionLost("closed 1006"),
        FeedSilent("silent"),
        ConnectionResetError(),
        ConnectionRefusedError(),
        TimeoutError(),
        OSError("no route to host"),
        ssl.SSLError("handshake cut"),
        ExchangeRefused("slow down", http_status=429),
        ExchangeRefused("banned", http_status=418),
        ExchangeRefused("wall", http_status=403),
        ExchangeRefused("maintenance", http_status=503),
    ],
)
def test_what_may_pass_is_retried(error: BaseException) -> None:
    assert can_retry(error)


@pytest.mark.parametrize(
    "error",
    [
        ExchangeRefused("not here", http_status=404),
        ExchangeRefused("not in your country", http_status=451),
        ExchangeRefused("bad request", code=-1121, http_status=400),
        ssl.SSLCertVerificationError("self-signed"),
    ],
)
def test_what_the_exchange_will_always_answer_is_final_unless_it_has_answered_better_before(
    error: BaseException,
) -> None:
    assert not can_retry(error)
    assert can_retry(error, delivered=True)


@pytest.mark.parametrize(
    "error",
    [SubscriptionRefused("too many"), MalformedFrame("?"), ValueError("a bug"), KeyError("a bug"), RuntimeError()],
)
def test_a_bug_and_a_broken_rule_are_final_always(error: BaseException) -> None:
    assert not can_retry(error)
    assert not can_retry(error, delivered=True)
