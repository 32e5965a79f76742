"""The table of symbols against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.symbols import Symbols, normalize_symbol

names = st.text(st.sampled_from("abCDE1币ß "), min_size=1, max_size=4).filter(lambda text: bool(text.strip()))


@given(st.lists(names))
def test_a_symbol_s_id_is_its_place_in_the_order_of_arrival(asked: list[str]) -> None:
    table, known = Symbols(), list[str]()
    for name in asked:
        normal = normalize_symbol(name)
        if normal not in known:
            assert table.find(name) is None and name not in table
            known.append(normal)
        assert table.id_of(name) == known.index(normal) == table.find(name)
        assert table[table.id_of(name)] == normal and name in table
    assert list(table) == known and len(table) == len(known)


def test_names_outside_ascii_keep_their_letters() -> None:
    table = Symbols(["币安人生usdt", "1000PEPEUSDT", "BTCUSDT_261225"])
    assert list(table) == ["币安人生USDT", "1000PEPEUSDT", "BTCUSDT_261225"]


def test_names_given_twice_have_one_place() -> None:
    assert len(Symbols(["BTCUSDT", " btcusdt ", "BTCUSDT"])) == 1


def test_what_is_no_name_is_not_in_the_table() -> None:
    assert 3 not in Symbols(["BTCUSDT"])
