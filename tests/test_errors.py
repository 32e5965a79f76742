"""The error tree as its module draws it."""

from __future__ import annotations

import re

import pytest

from pairscope import errors


def drawn() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\s*[│├└─ ]*(\w+)\s+(yes|no|maybe)\s+(\d{3})", errors.__doc__ or "", re.MULTILINE)
    return [(name, retry, status) for name, retry, status in rows]


@pytest.mark.parametrize(("name", "retry", "status"), drawn())
def test_a_class_is_what_the_drawing_says(name, retry, status):
    kind = getattr(errors, name)
    assert kind.status == int(status)
    if retry != "maybe":
        assert kind.retry is (retry == "yes")


def test_every_error_is_drawn():
    kinds = set(errors.__all__) - {"PairscopeError"}
    assert {name for name, _, _ in drawn()} == kinds


def test_the_line_for_a_terminal_carries_the_hint():
    assert errors.PairscopeError("broken", hint="mend it").line() == "broken: mend it"


def test_an_unknown_symbol_names_close_ones():
    assert "did you mean BTCUSDT?" in str(errors.UnknownSymbol("BTCUSD", ("BTCUSDT",)))
