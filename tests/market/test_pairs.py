"""Settings of a pair that cannot be computed are refused by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.errors import InputError
from pairscope.market.pairs import PairSettings


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"x": "AUSDT"}, "x"),
        ({"timeframe": "7m"}, "timeframe"),
        ({"lookback": 2}, "lookback"),
        ({"lookback": 10_001}, "lookback"),
        ({"window": 1}, "window"),
        ({"lookback": 50, "window": 51}, "window"),
        ({"method": "median"}, "method"),
        ({"price_space": "square"}, "price_space"),
        ({"entry": 1.0, "exit": 1.0}, "exit"),
        ({"entry": float("nan")}, "exit"),
        ({"exit": -0.1}, "exit"),
    ],
)
def test_each_wrong_setting_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        PairSettings(**{"y": "AUSDT", "x": "BUSDT"} | wrong)
    assert caught.value.loc == field


def test_a_pair_and_its_mirror_are_two_pairs() -> None:
    assert PairSettings("AUSDT", "BUSDT").key == "AUSDT:BUSDT" != PairSettings("BUSDT", "AUSDT").key
