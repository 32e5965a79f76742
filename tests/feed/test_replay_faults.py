"""Faults: read from words, drawn from a seed, and no others than asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pairscope.errors import InputError
from pairscope.feed.replay_faults import ConnectionFaults, Fault, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop:0.001", Fault("drop", probability=0.001)),
        ("duplicate", Fault("duplicate", probability=0.01)),
        ("reorder:0.5", Fault("reorder", probability=0.5)),
        ("malformed:1", Fault("malformed", probability=1.0)),
        ("disconnect:30s", Fault("disconnect", after_s=30.0)),
        ("disconnect:500ms", Fault("disconnect", after_s=0.5)),
        ("stall:1m", Fault("stall", after_s=60.0)),
        ("stall:60s/20s", Fault("stall", after_s=60.0, for_s=20.0)),
    ],
)
def test_a_fault_is_read_from_its_words(text: str, fault: Fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text", ["", "drop:2", "drop:x", "drop:-0.1", "drop:nan", "disconnect", "stall:0s", "explode", "disconnect:30s/5s"]
)
def test_what_is_no_fault_is_refused_with_the_list_of_them(text: str):
    with pytest.raises(InputError, match="fault") as refusal:
        parse_fault(text)
    assert "disconnect:30s" in refusal.value.line()


def test_the_same_seed_and_connection_have_the_same_faults_and_another_has_others():
    def rows(connection: int) -> list[int]:
        faults = ConnectionFaults([parse_fault("drop:0.3"), parse_fault("reorder:0.2")], seed=5, connection=connection)
        return faults.disturb(np.arange(500)).tolist()

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_about_the_stated_share_is_dropped_or_sent_twice():
    drop = ConnectionFaults([parse_fault("drop:0.1")], seed=1, connection=1)
    kept = drop.disturb(np.arange(100_000))
    assert kept.size == 100_000 - drop.counts["dropped"]
    assert 9_500 < drop.counts["dropped"] < 10_500
    assert np.all(np.diff(kept) > 0)
    twice = ConnectionFaults([parse_fault("duplicate:0.1")], seed=1, connection=1)
    sent = twice.disturb(np.arange(100_000))
    assert np.array_equal(np.unique(sent), np.arange(100_000))
    assert sent.size == 100_000 + twice.counts["duplicated"]


def test_reordering_loses_nothing_and_moves_by_one():
    faults = ConnectionFaults([parse_fault("reorder:0.3")], seed=1, connection=1)
    sent = faults.disturb(np.arange(10_000))
    assert np.array_equal(np.sort(sent), np.arange(10_000))
    assert np.abs(sent - np.arange(10_000)).max() == 1
    assert faults.counts["reordered"] > 1000


def test_a_malformed_frame_is_no_json_and_its_neighbours_are_untouched():
    payloads = [json.dumps({"a": i}).encode() for i in range(50)]
    frames = np.frombuffer(bytearray(b"".join(payloads)), np.uint8)
    offsets = np.cumsum([0, *map(len, payloads)])
    faults = ConnectionFaults([parse_fault("malformed:0.2")], seed=1, connection=1)
    faults.spoil(frames, offsets)
    broken = 0
    for i in range(50):
        text = frames[offsets[i] : offsets[i + 1]].tobytes()
        try:
            assert json.loads(text) == {"a": i}
        except json.JSONDecodeError:
            broken += 1
    assert broken == faults.counts["malformed"] > 0


def test_a_stall_begins_and_ends_with_the_age_of_the_connection():
    faults = ConnectionFaults([parse_fault("stall:10s/5s")], seed=1, connection=1)
    assert [faults.stalled(age) for age in (0.0, 9.9, 10.0, 14.9, 15.0)] == [False, False, True, True, False]
    for_good = ConnectionFaults([parse_fault("stall:10s")], seed=1, connection=1)
    assert for_good.stalled(1e6)


def test_without_faults_nothing_happens():
    faults = ConnectionFaults([], seed=1, connection=1)
    assert not faults
    assert faults.disturb(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert not faults.stalled(1e9)
    assert faults.cut_after_s is None
