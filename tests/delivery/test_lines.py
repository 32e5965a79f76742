"""Lines of messages: whose turn it is, how many of one target at once, and what a failure does to its line alone."""

from __future__ import annotations

import random

from pairscope.delivery.lines import Lines, Waiting

S = 1_000_000_000


def message(key: str, target: str, due_s: float = 0.0) -> Waiting:
    return Waiting(key, target, made_ns=0, due_ns=int(due_s * S))


def taken(lines: Lines, now_s: float) -> list[str]:
    found = []
    while (next_one := lines.next(int(now_s * S))) is not None:
        found.append(next_one.key)
    return found


def test_messages_of_a_target_go_in_the_order_of_their_turn_two_at_once() -> None:
    lines = Lines(per_target=2)
    for n in (3, 1, 2):
        lines.put(message(f"a{n}", "a", n))
    assert taken(lines, 0) == []
    assert lines.next_ns() == S
    assert taken(lines, 5) == ["a1", "a2"]
    assert lines.next_ns() is None
    lines.came_back(lines.waiting["a1"])
    assert taken(lines, 5) == ["a3"]


def test_targets_take_turns() -> None:
    lines = Lines(per_target=2)
    for n in range(5):
        lines.put(message(f"a{n}", "a"))
    lines.put(message("b0", "b"))
    assert taken(lines, 1) == ["a0", "b0", "a1"]


def test_a_target_that_fails_gets_one_message_at_a_time_after_its_pause_and_others_notice_nothing() -> None:
    lines = Lines(per_target=2)
    for n in range(3):
        lines.put(message(f"a{n}", "a"))
        lines.put(message(f"b{n}", "b"))
    first = lines.next(0)
    assert first is not None
    assert first.key == "a0"
    lines.fails("a", 0, 10 * S)
    first.due_ns = 1 * S
    lines.put(first)
    lines.came_back(first)
    assert lines.failing() == 1
    assert taken(lines, 9) == ["b0", "b1"]
    assert taken(lines, 10) == ["a1"]
    assert taken(lines, 11) == []
    lines.works("a", 11 * S)
    lines.forget("a1")
    lines.came_back(message("a1", "a"))
    assert taken(lines, 11) == ["a2", "a0"]


def test_after_an_outage_all_that_waited_is_due_at_once_and_after_one_failure_it_is_not() -> None:
    for failures, expected in ((3, ["a1"]), (1, [])):
        lines = Lines(per_target=2)
        lines.put(message("a0", "a"))
        lines.put(message("a1", "a", 500))
        assert taken(lines, 0) == ["a0"]
        for n in range(failures):
            lines.fails("a", n, n)
        lines.works("a", 2 * S)
        lines.came_back(lines.waiting["a0"])
        assert taken(lines, 2) == expected


def test_nothing_is_lost_or_taken_twice_whatever_the_order_of_events() -> None:
    rng = random.Random(3)
    lines = Lines(per_target=2)
    out: list[Waiting] = []
    ended: list[str] = []
    for n in range(400):
        lines.put(message(str(n), f"t{rng.randrange(6)}", rng.randrange(50)), fresh=True)
    now = 0
    while len(ended) < 400:
        now += rng.randrange(2 * S)
        while len(out) < 8 and (next_one := lines.next(now)) is not None:
            assert next_one.due_ns <= now
            assert sum(one.target == next_one.target for one in out) < 2
            out.append(next_one)
        if not out:
            continue
        back = out.pop(rng.randrange(len(out)))
        if rng.random() < 0.3:
            lines.fails(back.target, now, now + rng.randrange(20 * S), asked=rng.random() < 0.2)
            back.due_ns = now + rng.randrange(20 * S)
            lines.put(back)
        else:
            lines.works(back.target, now)
            lines.forget(back.key)
            ended.append(back.key)
        lines.came_back(back)
    assert sorted(map(int, ended)) == list(range(400))
    assert lines.waiting == {}
    assert lines.next_ns() is None
    assert lines.failing() == 0
