"""Documents of the outbox: their order, what is read of them, and what became of the messages of many firings."""

from __future__ import annotations

from pathlib import Path

import orjson

from pairscope.delivery.outbox import DELIVERIES, OUTBOX, key_of_message, message_id, read, statuses, waiting
from pairscope.storage.duckdb_store import DuckDBStore


def test_keys_are_in_the_order_of_firings() -> None:
    keys = [key_of_message(seq, index) for seq in (1, 9, 10, 99, 10**12) for index in (0, 1, 7)]
    assert keys == sorted(keys)


def test_a_message_says_what_to_whom_and_since_when_and_is_read_as_it_was_written() -> None:
    key, body = waiting(7, 1, {"id": "rule-1", "message": "now"}, "https://example.com/hook", 1234)
    assert key == "00000000000000000007:1"
    made = read(body)
    assert (made["firing"]["id"], made["target"], made["made"], made["next_ms"], made["attempts"]) == (
        "rule-1", "https://example.com/hook", 1234, 1234, [],
    )  # fmt: skip


def test_a_message_s_id_differs_by_firing_and_by_target_only() -> None:
    first = message_id({"id": "rule-1", "value": 1.0}, "https://example.com/hook")
    assert message_id({"id": "rule-1", "value": 2.0}, "https://example.com/hook") == first
    assert message_id({"id": "rule-2"}, "https://example.com/hook") != first
    assert message_id({"id": "rule-1"}, "https://example.com/other") != first
    assert "." not in first  # it is parted from the rest of what is signed by one


async def test_what_became_of_messages_is_read_for_a_page_of_firings_near_and_far(tmp_path: Path) -> None:
    store = await DuckDBStore.open(tmp_path / "outbox.duckdb", threads=1)
    for seq in (1, 2, 3, 5000, 5001):
        for index in range(2):
            key, body = waiting(seq, index, {"id": f"rule-{seq}"}, f"https://example.com/{index}", 0)
            if seq == 2 or index:
                await store.put(OUTBOX, key, body)
            else:
                ended = {
                    **orjson.loads(body),
                    "status": "delivered",
                    "reason": "",
                    "attempts": [{"at": 5, "error": ""}],
                }
                await store.put(DELIVERIES, key, orjson.dumps(ended))
    found = await statuses(store, {5001: 2, 3: 1, 2: 2, 77: 1})
    assert {
        seq: [(one["status"], one["attempts"], one["at"]) for one in messages] for seq, messages in found.items()
    } == {
        5001: [("delivered", 1, 5), ("waiting", 0, None)],
        3: [("delivered", 1, 5)],
        2: [("waiting", 0, None), ("waiting", 0, None)],
        77: [],
    }
    assert all(one["target"].startswith("https://example.com/…") for messages in found.values() for one in messages)
    await store.close()
