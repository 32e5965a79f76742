"""Exact decimals against Python's own decimals and fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.exact import EXACT, plus, quote_of, units_of, value_of

decimals_as_sent = st.builds(
    lambda units, places: Decimal(units).scaleb(-places), st.integers(1, 10**15 - 1), st.integers(0, 15)
)
positive = st.floats(min_value=1e-5, max_value=1e20)


@given(decimals_as_sent, st.integers(0, 18))
def test_a_decimal_of_fifteen_digits_is_read_back_exactly_whatever_the_hint(sent: Decimal, hint: int) -> None:
    units, places = units_of(float(sent), hint)
    assert Fraction(units, 10**places) == Fraction(sent)


@given(positive)
def test_a_number_that_is_no_short_decimal_keeps_its_first_sixteen_digits(x: float) -> None:
    units, places = units_of(x, 0)
    value = Fraction(units) / Fraction(10) ** places
    assert abs(value / Fraction(x) - 1) < Fraction(1, 4 * 10**15)
    assert value_of(units, places) == pytest.approx(x, rel=3e-16)


@pytest.mark.parametrize("x", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_what_is_not_positive_and_finite_counts_as_nothing(x: float) -> None:
    assert units_of(x, 3) == (0, 0)


@given(st.lists(decimals_as_sent, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_sums_are_exact_and_the_same_in_every_order(sent: list[Decimal], random: object) -> None:
    def total(values: list[Decimal]) -> tuple[int, int, int]:
        units = places = lost = 0
        for value in values:
            units, places, more = plus(units, places, *units_of(float(value), 0))
            lost |= more
        return units, places, lost

    first = total(sent)
    random.shuffle(sent)  # type: ignore[attr-defined]
    again = total(sent)
    true = sum((Fraction(value) for value in sent), Fraction(0))
    if not first[2]:
        assert Fraction(first[0], 10 ** first[1]) == true
    assert again[2] == first[2]
    assert value_of(first[0], first[1]) == pytest.approx(float(true), rel=5e-16)


def test_a_sum_beyond_its_bound_says_that_digits_were_lost_and_stays_close() -> None:
    units, places, lost = plus(3 * 10**18, 2, 12345, 6)
    assert lost == 1
    assert value_of(units, places) == pytest.approx(3e16 + 0.012345, rel=1e-15)


@pytest.mark.parametrize("bits", [20, 53, 62])
def test_the_one_division_rounds_to_the_nearest_float(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for units, places in zip(rng.integers(0, min(2**bits, 4 * 10**18), 500), rng.integers(0, 23, 500), strict=True):
        assert value_of(int(units), int(places)) == float(Fraction(int(units), 10 ** int(places)))


@given(decimals_as_sent, decimals_as_sent)
def test_price_times_size_is_exact_where_it_fits(price: Decimal, size: Decimal) -> None:
    p, s = float(price), float(size)
    product, places, lost = quote_of(p, s, *units_of(p, 0), *units_of(s, 0))
    true = Fraction(price) * Fraction(size)
    if lost:
        assert value_of(product, places) == pytest.approx(float(true), rel=5e-16)
    else:
        assert Fraction(product, 10**places) == true


def test_a_real_symbol_s_numbers_are_far_from_the_bound() -> None:
    units, places = units_of(64_321.1, 0)
    lots, lot_places = units_of(1_234.567, 0)
    assert (units, places, lots, lot_places) == (643_211, 1, 1_234_567, 3)
    assert quote_of(64_321.1, 1_234.567, units, places, lots, lot_places) == (643_211 * 1_234_567, 4, 0)
    assert units * lots < EXACT


def test_every_eight_byte_decimal_of_a_tiny_price_is_read_exactly() -> None:
    prices = np.arange(1, 20_000) / 1e8
    assert all(units_of(float(price), 8) == (k + 1, 8) for k, price in enumerate(prices))
