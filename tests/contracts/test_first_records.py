"""What records of several desks must do: all that is new or nothing, and nothing for who is the desk no longer."""

from __future__ import annotations

import asyncio

import pytest

from pairscope.errors import Superseded
from pairscope.ports import Document

TERM = Document("desk", "term", b"one")


def first(key: str, body: bytes = b"mine") -> Document:
    return Document("claims", key, body)


async def kept(store, collection):
    return [(key, body) async for key, body in store.scan(collection)]


async def test_what_is_new_is_stored_with_all_that_goes_with_it(store, home):
    await store.put("others", "gone", b"0")
    documents = [Document("others", "a", b"1"), Document("others", "gone", None), Document("others", "a", b"2")]
    assert await store.put_firsts([first("x"), first("y")], documents) == []
    for reopened in (False, True):
        if reopened:
            store = await home.reopen(store)
        assert await kept(store, "claims") == [("x", b"mine"), ("y", b"mine")]
        assert await kept(store, "others") == [("a", b"2")]


async def test_where_one_was_there_nothing_is_stored_and_it_is_returned_as_it_stands(store):
    await store.put_firsts([first("x", b"theirs")])
    assert await store.put_firsts([first("w"), first("x")], [Document("others", "a", b"1")]) == [first("x", b"theirs")]
    assert await kept(store, "claims") == [("x", b"theirs")]
    assert await kept(store, "others") == []


async def test_documents_alone_are_put_as_ever(store):
    assert await store.put_firsts([], [Document("others", "a", b"1")]) == []
    assert await kept(store, "others") == [("a", b"1")]


async def test_who_is_the_desk_no_longer_stores_nothing(store):
    for stands in (None, b"another"):
        if stands is not None:
            await store.put(*TERM[:2], stands)
        with pytest.raises(Superseded):
            await store.put_firsts([first("x")], [Document("others", "a", b"1")], guard=TERM)
    assert await kept(store, "claims") == await kept(store, "others") == []
    await store.put(*TERM)
    assert await store.put_firsts([first("x")], guard=TERM) == []


async def test_of_two_that_put_the_same_at_once_one_is_first(store):
    async def put(who: bytes) -> list[Document]:
        both = [first("x", who), first("y", who)]
        return await store.put_firsts(both if who == b"a" else both[::-1], [Document("others", who.decode(), who)])

    for _ in range(10):
        told = await asyncio.gather(put(b"a"), put(b"b"))
        assert sorted(len(each) for each in told) == [0, 2]
        [(winner, _)] = await kept(store, "others")
        assert await kept(store, "claims") == [("x", winner.encode()), ("y", winner.encode())]
        gone = [Document("others", winner, None), Document("claims", "x", None), Document("claims", "y", None)]
        await store.put_many(gone)
