"""Symbols belong to one shard each, about as many to each, and stay there when a shard is added."""

from __future__ import annotations

from collections import Counter

import pytest

from pairscope.errors import ConfigError
from pairscope.sharding import Shard, shard_of

MARKET = [f"COIN{i}USDT" for i in range(600)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_symbol_belongs_to_one_shard_and_keeps_its_place_in_the_order(count: int) -> None:
    shares = [Shard(index, count).share(MARKET) for index in range(count)]
    assert sorted(symbol for share in shares for symbol in share) == sorted(MARKET)
    assert all(share == sorted(share, key=MARKET.index) for share in shares)


def test_shards_get_about_as_many_symbols_each() -> None:
    sizes = Counter(shard_of(symbol, 4) for symbol in MARKET)
    assert all(120 <= size <= 180 for size in sizes.values())


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_shard_more_takes_its_share_and_moves_nothing_between_the_others(count: int) -> None:
    moved = [symbol for symbol in MARKET if shard_of(symbol, count) != shard_of(symbol, count + 1)]
    assert {shard_of(symbol, count + 1) for symbol in moved} == {count}
    assert 0.7 < len(moved) * (count + 1) / len(MARKET) < 1.3


def test_a_symbol_s_shard_is_the_same_in_every_process_and_version() -> None:
    """Whoever changes this loses the hold that a standby has on what the active one writes."""
    assert [shard_of(symbol, 5) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT")] == [2, 4, 4, 1]


@pytest.mark.parametrize("text", ["", "1", "3/2", "0/0", "a/b", "-1/2", "1/2/3", "0.5/2"])
def test_what_is_no_shard_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="is no shard") as told:
        Shard.parse(text)
    assert "0/2" in told.value.line()


def test_who_counts_from_one_gets_every_shard_as_well() -> None:
    assert {Shard.parse(f"{i}/3") for i in (1, 2, 3)} == {Shard.parse(f"{i}/3") for i in (0, 1, 2)}
