"""What is told of a firing: the words of each condition in the decimals of its own symbol."""

from __future__ import annotations

from tests.engine.walking import Walk

from pairscope.alerts.kept import KeptAlert
from pairscope.alerts.telling import PriceDecimals, firing_document


def test_each_price_of_a_joined_rule_has_the_decimals_of_its_own_symbol() -> None:
    walk = Walk(["BTCUSDT", "XRPUSDT"])
    walk.trades([("BTCUSDT", 1, 0, 67060.1), ("XRPUSDT", 1, 0.1, 0.75133)])
    parts = [
        {"type": "price", "symbol": name, "condition": "above", "threshold": level}
        for name, level in (("XRPUSDT", 0.5), ("BTCUSDT", 67000))
    ]
    told = {}
    for join in ("and", "or"):
        rule = walk.rule(join, join=join, conditions=parts)
        for firing in walk.trades([("BTCUSDT", 2 + len(told), 1.0 + len(told), 67060.1)]):
            document = firing_document(KeptAlert(rule, (), "", "", 0), firing, PriceDecimals(walk.engine))
            told[firing.rule_id, firing.condition] = document["message"]
    btc, xrp = "BTCUSDT: price 67060.1 is above 67000.0", "XRPUSDT: price 0.75133 is above 0.50000"
    assert told.pop(("or", 0)) == xrp
    assert told.pop(("or", 1)) == btc
    (both,) = told.values()
    assert sorted(both.split(" and ")) == [btc, xrp]
