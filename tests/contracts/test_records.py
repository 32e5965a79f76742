"""What every Records must do."""

from __future__ import annotations


async def test_a_document_is_found_under_its_collection_and_key(store, home):
    assert await store.put("alerts", "a1", b'{"x": 1}')
    assert await store.put("watch", "a1", b"")
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert await store.get("alerts", "a1") == b'{"x": 1}'
        assert await store.get("watch", "a1") == b""
        assert await store.get("alerts", "a2") is None
        assert await store.get("other", "a1") is None


async def test_a_document_is_replaced_unless_it_is_to_stay(store):
    assert await store.put("c", "k", b"one", replace=False)
    assert not await store.put("c", "k", b"two", replace=False)
    assert await store.get("c", "k") == b"one"
    assert not await store.put("c", "k", b"three")
    assert await store.get("c", "k") == b"three"


async def test_a_deleted_document_is_gone(store):
    await store.put("c", "k", b"x")
    assert await store.delete("c", "k")
    assert not await store.delete("c", "k")
    assert await store.get("c", "k") is None
    assert await store.put("c", "k", b"y")


async def test_a_scan_gives_every_document_by_key_behind_a_key(store):
    keys = [f"{k:05d}" for k in range(30)]
    for key in reversed(keys):
        await store.put("c", key, key.encode())
    await store.put("b", "00001", b"other")
    assert [(key, bytes(document)) async for key, document in store.scan("c")] == [(k, k.encode()) for k in keys]
    assert [key async for key, _ in store.scan("c", keys[27])] == keys[28:30]
    assert [key async for key, _ in store.scan("c", "zzz")] == []


async def test_a_scan_of_many_pages_misses_none(store):
    for k in range(300):
        await store.put("c", f"{k:05d}", b"")
    assert len([key async for key, _ in store.scan("c")]) == 300


async def test_any_bytes_and_any_key_are_kept(store):
    document, key = bytes(range(256)) * 4, "币安:人生' \" \\ %"
    await store.put("c", key, document)
    assert await store.get("c", key) == document
    assert [entry async for entry in store.scan("c")] == [(key, document)]
