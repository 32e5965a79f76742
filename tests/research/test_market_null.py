"""The market's own null: counted as the surrogates say, looked up for any p-value, the same after it was kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

import numpy as np
import orjson
import pytest

from pairscope.errors import InputError
from pairscope.research.closes import Closes, closes_of
from pairscope.research.market_null import MarketNull, market_null, null_from
from pairscope.research.screen import screen_pairs
from pairscope.research.surrogates import surrogate_market

Walks = Callable[..., tuple[np.ndarray, list[str]]]
MINUTE = 60_000_000_000


@pytest.fixture
def closes(walks: Walks) -> Closes:
    prices, symbols = walks(300, 12, 3, pairs=2)
    return closes_of(symbols, [np.arange(300) * MINUTE] * 12, list(prices.T))


@pytest.fixture
def null(closes: Closes) -> MarketNull:
    return market_null(closes, "1m", 300, surrogates=3)


def test_the_counts_are_those_of_screens_of_surrogates(closes: Closes, null: MarketNull) -> None:
    seeds = np.random.default_rng(null.as_of_ms).integers(0, 2**63 - 1, 3).tolist()
    screens = [screen_pairs(surrogate_market(closes.prices, seed), closes.symbols) for seed in seeds]
    assert (null.surrogates, null.tests) == (3, 132)
    for at in (1.0, 0.1, 0.01):
        assert null.false(at, 132).tolist() == [int((screen.pvalue <= at).sum()) for screen in screens]


def test_between_two_edges_counts_lie_between_theirs_and_a_larger_market_has_more(null: MarketNull) -> None:
    low, middle, high = (null.false(p, 132).mean() for p in (0.1, 0.1 * 10 ** (1 / 32), 0.1 * 10 ** (1 / 16)))
    assert middle == pytest.approx((low + high) / 2)
    assert null.false(0.1, 264).mean() == pytest.approx(2 * low)
    assert null.false(0.0, 132).tolist() == [0.0, 0.0, 0.0]


def test_what_is_told_compares_the_promise_with_the_surrogates(null: MarketNull) -> None:
    pvalue = np.sort(np.concatenate([np.full(4, 0.001), np.linspace(0.2, 1.0, 128)]))
    pvalue[3] = 0.1
    told = null.told(pvalue, discoveries=4, fdr=0.25)
    assert (told["pvalue"], told["false_promised"], told["fdr_promised"]) == (0.1, 1.0, 0.25)
    assert told["false_expected"] == pytest.approx(null.false(0.1, 132).mean())
    assert told["fdr_empirical"] == min(1.0, told["false_expected"] / 4)
    assert told["false_least"] <= told["false_expected"] <= told["false_most"]
    nothing = null.told(pvalue, discoveries=0, fdr=0.05)
    assert (nothing["fdr_empirical"], nothing["false_promised"]) == (None, 0.0)
    assert nothing["pvalue"] == pytest.approx(0.05 / 132)


def test_a_kept_null_says_the_same(null: MarketNull) -> None:
    again = null_from(orjson.loads(orjson.dumps(null.document())))
    assert again.key == null.key
    for at in (1e-9, 1e-3, 0.2, 1.0):
        assert again.false(at, 100).tolist() == null.false(at, 100).tolist()
    for damaged in ({}, {**null.document(), "counts": [[1, 2]]}, {**null.document(), "counts": []}):
        with pytest.raises((KeyError, ValueError)):
            null_from(damaged)


def test_it_tells_how_far_it_is_and_ends_when_it_is_cancelled(closes: Closes) -> None:
    steps: list[tuple[int, int]] = []
    market_null(closes, "1m", 300, surrogates=3, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(CancelledError):
        market_null(closes, "1m", 300, surrogates=3, cancelled=lambda: True)


@pytest.mark.parametrize("surrogates", [0, -1, 201])
def test_how_many_surrogates_cannot_be_is_said(closes: Closes, surrogates: int) -> None:
    with pytest.raises(InputError, match="empirical_null"):
        market_null(closes, "1m", 300, surrogates=surrogates)
