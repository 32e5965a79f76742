"""Numbers as people write them for a sweep: lists, ranges, words, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.errors import InputError
from pairscope.research.written_grid import MOST_VALUES, written_values


def test_a_range_has_both_its_ends_and_no_rounding_of_its_own() -> None:
    assert written_values("0:1:0.1", loc="exit") == [i / 10 for i in range(11)]
    assert written_values("1:2:0.3", loc="entry") == [1.0, 1.3, 1.6, 1.9]
    assert written_values("10:12", loc="window", whole=True) == [10, 11, 12]
    assert written_values("-1:1:1", loc="hedge") == [-1.0, 0.0, 1.0]


def test_lists_ranges_and_words_go_together_and_nothing_stands_twice() -> None:
    assert written_values("2, 1:2:0.5,none", loc="stop", optional=True) == [2.0, 1.0, 1.5, None]
    assert written_values("OLS,kalman,0.9", loc="hedge", words=("ols", "kalman")) == ["ols", "kalman", 0.9]
    assert written_values("4/2,1", loc="fee_bps", words=("/",)) == [(4.0, 2.0), 1.0]


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        ("", {}, "'' is no number"),
        ("1,,2", {}, "'' is no number"),
        ("two", {}, "'two' is no number"),
        ("nan", {}, "no number to work with"),
        ("1e400", {}, "no number to work with"),
        ("none", {}, "'none' is no number"),
        ("2.5", {"whole": True}, "2.5 is no whole number"),
        ("3:1:0.5", {}, "no range that ends"),
        ("1:3:0", {}, "no range that ends"),
        ("1:2:3:4", {}, "'1:2:3:4' is no range"),
        ("1:x:1", {}, "'x' is no number"),
        ("0:1:0.0001", {}, "10,001 values"),
        ("0:600,600:1200", {"whole": True}, f"more than {MOST_VALUES:,} values"),
        ("1/2", {}, "'1/2' is no number"),
        ("1/2/3", {"words": ("/",)}, "not one number of y and one of x"),
    ],
)
def test_what_is_no_number_is_refused_and_its_place_is_named(text: str, more: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        written_values(text, loc="entry", **more)
    assert refused.value.loc == "entry"
