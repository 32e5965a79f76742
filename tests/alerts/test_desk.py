"""The desk on a real pipeline: a rule is made, fires once, is stored with its tick, goes on after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pairscope.alerts import desk as desk_module
from pairscope.alerts.desk import RULES, STATES
from pairscope.alerts.history import COLLECTION
from pairscope.delivery import OUTBOX
from pairscope.errors import InputError, StoreUnavailable, UnknownAlert
from pairscope.market.pairs import PairSettings
from pairscope.ports_alerts import FiringQuery

from .house import START, House, S, above

HOOK = "https://hooks.example.com/secret-path"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = await House.open(tmp_path)
    yield house
    await house.close()


async def history(house: House, **query: Any) -> list[dict[str, Any]]:
    return [dict(one) for one in (await house.desk.history(FiringQuery(**query)))[0]]


async def test_a_rule_that_comes_true_is_told_kept_and_counted_once(house: House) -> None:
    made = await house.desk.create(above(101, note="sell"))
    assert (made["status"], made["fired"], made["delivery"]) == ("active", 0, [])
    await house.trade(100.0, at_s=1)
    assert house.told() == []
    await house.trade(100.5, 101.5, 102.0, at_s=2)
    [firing] = house.told()
    assert firing["id"] == f"{made['id']}-1"
    assert (firing["value"], firing["threshold"], firing["symbol"], firing["seq"]) == (101.5, 101.0, "BTCUSDT", 1)
    assert firing["timestamp"] == (START + 2 * S) // 1_000_000
    assert firing["message"] == "BTCUSDT: price 101.5 is above 101.0 — sell"
    assert orjson.loads(await house.cache.get(f"alert:BTCUSDT:{firing['id']}") or b"") == firing
    assert await history(house) == [{**firing, "deliveries": []}]
    view = house.desk.view(made["id"])
    assert view is not None
    assert (view["fired"], view["last_fired"], view["holds"]) == (1, firing["timestamp"], [True])
    await house.trade(103.0, at_s=3)
    assert house.told() == []


async def test_a_firing_is_stored_in_the_transaction_of_its_tick(house: House) -> None:
    """Nothing is flushed until something fires; then tick, firing and state are there together."""
    await house.desk.create(above(101))
    await house.trade(100.0, at_s=1)
    assert (await house.store.stats()).ticks == 0
    await house.trade(102.0, at_s=2)
    await house.writer.drain()
    assert (await house.store.stats()).ticks == 2
    [firing] = (await house.stored(COLLECTION)).values()
    [state] = (await house.stored(STATES)).values()
    assert (firing["value"], state["state"]["fired"]) == (102.0, 1)


async def test_a_restart_neither_repeats_nor_forgets(tmp_path: Path) -> None:
    house = await House.open(tmp_path)
    made = await house.desk.create(above(101))
    await house.trade(102.0, at_s=1)
    assert house.ids() == [f"{made['id']}-1"]
    await house.close()
    house = await House.open(tmp_path)
    view = house.desk.view(made["id"])
    assert view is not None
    assert (view["fired"], view["threshold"], view["status"]) == (1, 101.0, "active")
    await house.trade(103.0, at_s=2)
    assert house.told() == [], "it has been true all the time"
    await house.trade(100.0, 104.0, at_s=3)
    [firing] = house.told()
    assert (firing["id"], firing["seq"]) == (f"{made['id']}-2", 2)
    assert [one["seq"] for one in await history(house)] == [2, 1]
    await house.close()


async def test_what_was_not_stored_when_the_process_died_fires_again_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await House.open(tmp_path)
    made = await house.desk.create(above(101))
    await house.trade(100.0, at_s=1)
    await house.writer.drain()
    put = house.writer.put

    async def without_hurry(*batch: Any, **kept: Any) -> None:
        await put(*batch, **{**kept, "hurry": False})

    monkeypatch.setattr(house.writer, "put", without_hurry)
    await house.trade(102.0, at_s=2)
    [told] = house.told()
    await house.die()
    house = await House.open(tmp_path)
    assert await history(house) == []
    await house.trade(102.0, at_s=2)
    [again] = house.told()
    assert (again["id"], again["seq"], again["timestamp"]) == (f"{made['id']}-1", told["seq"], told["timestamp"])
    await house.writer.drain()
    assert len(await house.stored(COLLECTION)) == 1
    await house.close()


async def test_changing_what_is_watched_begins_anew_and_changing_words_does_not(house: House) -> None:
    made = await house.desk.create(above(101))
    await house.trade(102.0, at_s=1)
    assert house.ids() == [f"{made['id']}-1"]
    changed = await house.desk.change(made["id"], {"note": "hold", "message": "{symbol} {value}"})
    assert (changed["note"], changed["fired"], changed["status"]) == ("hold", 1, "active")
    await house.trade(102.5, at_s=2)
    assert house.told() == []
    await house.desk.change(made["id"], {"threshold": 102})
    await house.trade(103.0, at_s=3)
    [firing] = house.told()
    assert (firing["id"], firing["message"], firing["note"]) == (f"{made['id']}-2", "BTCUSDT 102.5", "hold")
    assert len(await house.stored(RULES)) == 1


async def test_a_changed_rule_is_what_a_restart_finds(tmp_path: Path) -> None:
    house = await House.open(tmp_path)
    made = await house.desk.create(above(101, once=True))
    await house.trade(102.0, at_s=1)
    told = house.told()
    assert (house.desk.view(made["id"]) or {})["status"] == "done"
    await house.desk.change(
        made["id"], {"condition": "enters", "lower": 90, "upper": 95, "once": False, "cooldown_s": None}
    )
    await house.close()
    house = await House.open(tmp_path)
    view = house.desk.view(made["id"])
    assert view is not None
    assert (view["condition"], view["lower"], view["upper"], view["cooldown_s"]) == ("enters", 90.0, 95.0, 60)
    assert (view["frequency"], view["status"], view["fired"]) == ("every", "active", 1)
    assert view["last_fired"] == told[0]["timestamp"]
    await house.trade(100.0, 94.0, at_s=2)
    assert house.ids() == [f"{made['id']}-2"]
    await house.close()


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"threshold": "high"}, "threshold"),
        ({"condition": "found"}, "condition"),
        ({"type": "zscore"}, "y"),
        ({"condition": "enters"}, "lower"),
        ({"message": "{colour}"}, "message"),
        ({"notify": ["http://127.0.0.1/x"]}, "notify"),
        ({"notify": ["https://x.example.com/"] * 9}, "notify"),
        ({"status": "done"}, "status"),
        ({"colour": "red"}, "colour"),
        ({"join": "and"}, "join"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_by_its_field_and_changes_nothing(
    house: House, changes: dict[str, Any], loc: str
) -> None:
    made = await house.desk.create(above(101))
    with pytest.raises(InputError) as refused:
        await house.desk.change(made["id"], changes)
    assert refused.value.loc == loc
    assert house.desk.view(made["id"]) == {name: value for name, value in made.items() if name != "delivery"}


async def test_a_paused_rule_is_not_stepped_and_fires_as_new_when_it_goes_on(house: House) -> None:
    made = await house.desk.create(above(101))
    paused = await house.desk.change(made["id"], {"status": "paused"})
    assert (paused["status"], paused["reason"]) == ("paused", "paused by hand")
    await house.trade(102.0, at_s=1)
    assert house.told() == []
    assert (await house.desk.change(made["id"], {"status": "active"}))["status"] == "active"
    await house.trade(102.5, at_s=2)
    assert house.ids() == [f"{made['id']}-1"]


async def test_a_pause_holds_over_a_restart_and_over_a_change(tmp_path: Path) -> None:
    house = await House.open(tmp_path)
    made = await house.desk.create(above(101))
    await house.desk.change(made["id"], {"status": "paused"})
    await house.close()
    house = await House.open(tmp_path)
    changed = await house.desk.change(made["id"], {"threshold": 100})
    assert (changed["status"], changed["threshold"]) == ("paused", 100.0)
    await house.trade(105.0, at_s=1)
    assert house.told() == []
    await house.close()


async def test_a_rule_for_once_is_done_and_goes_on_when_it_is_made_active_or_for_every_time(house: House) -> None:
    made = await house.desk.create(above(101, once=True))
    await house.trade(102.0, at_s=1)
    await house.trade(100.0, 103.0, at_s=2)
    assert house.ids() == [f"{made['id']}-1"]
    assert (house.desk.view(made["id"]) or {})["status"] == "done"
    assert (await house.desk.change(made["id"], {"status": "active"}))["status"] == "active"
    await house.trade(104.0, at_s=3)
    assert house.ids() == [f"{made['id']}-2"]
    assert (await house.desk.change(made["id"], {"once": False}))["status"] == "active"


async def test_a_rule_ends_at_its_expiry_also_where_nothing_is_traded(house: House) -> None:
    end_ms = (START + 10 * S) // 1_000_000
    made = await house.desk.create(above(101, expires=end_ms))
    await house.time(9)
    assert (house.desk.view(made["id"]) or {})["status"] == "active"
    await house.time(10)
    view = house.desk.view(made["id"])
    assert view is not None
    assert (view["status"], view["reason"]) == ("done", "expired")
    await house.writer.drain()
    [state] = (await house.stored(STATES)).values()
    assert state["state"]["status"] == "done"
    for over in (end_ms - 1, "2020-01-01"):
        with pytest.raises(InputError) as refused:
            await house.desk.change(made["id"], {"expires": over})
        assert refused.value.loc == "expires"
        with pytest.raises(InputError):
            await house.desk.create(above(101, expires=over))
    later = await house.desk.change(made["id"], {"expires": end_ms + 60_000})
    assert later["status"] == "active"


async def test_a_deleted_rule_is_gone_and_what_it_told_stays(tmp_path: Path) -> None:
    house = await House.open(tmp_path)
    made = await house.desk.create(above(101))
    await house.trade(102.0, at_s=1)
    assert await house.desk.remove(made["id"]) is True
    assert await house.desk.remove(made["id"]) is False
    assert house.desk.view(made["id"]) is None
    with pytest.raises(UnknownAlert):
        await house.desk.change(made["id"], {"note": "x"})
    await house.trade(100.0, 103.0, at_s=2)
    assert house.ids() == [f"{made['id']}-1"]
    assert (await house.stored(RULES), await house.stored(STATES)) == ({}, {})
    await house.close()
    house = await House.open(tmp_path)
    assert house.desk.ids() == []
    assert [one["alert_id"] for one in await history(house)] == [made["id"]]
    await house.close()


async def test_what_stood_of_a_rule_that_is_not_there_is_removed_at_the_start(tmp_path: Path) -> None:
    house = await House.open(tmp_path)
    await house.store.put(STATES, "gone", b"{}")
    await house.store.put(RULES, "torn", b'{"rule": {"type": "price"}}')
    await house.close()
    house = await House.open(tmp_path)
    await house.writer.drain()
    assert await house.stored(STATES) == {}
    assert house.desk.ids() == []
    await house.close()


async def test_no_more_rules_are_kept_than_may_be(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MOST_ALERTS", 2)
    for n in range(2):
        await house.desk.create(above(101 + n))
    with pytest.raises(InputError, match="at most 2") as refused:
        await house.desk.create(above(103))
    assert refused.value.loc == "type"
    assert len(house.desk.ids()) == 2


async def test_a_price_is_told_in_its_symbol_s_decimals_whatever_else_is_watched(house: House) -> None:
    plain = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 101}
    moves = {"type": "price", "symbol": "BTCUSDT", "condition": "moves", "threshold": 0.001, "window": 5}
    await house.desk.create({"conditions": [plain, moves], "join": "or", "cooldown_s": 0})
    await house.trade(100.25, at_s=1)
    await house.time(61)
    await house.trade(102.5, at_s=62)
    assert [one["message"] for one in house.told()] == [
        "BTCUSDT: price 102.50 is above 101.00",
        "BTCUSDT: price moved by +2.24 % within 5 × 1m (alert at +0.10 %)",
    ]
    await house.trade(100.25, 103.0, at_s=63)
    assert house.told()[0]["message"] == "BTCUSDT: price 103.00 is above 101.00"


async def test_a_pair_of_the_watch_list_is_watched_by_its_settings(house: House) -> None:
    await house.watchlist.put(PairSettings("ETHUSDT", "BTCUSDT", "5m", 300, 40, "kalman", "linear"))
    pair = {"type": "zscore", "y": "ETHUSDT", "x": "BTCUSDT", "condition": "above", "threshold": 2}
    settings = ("timeframe", "lookback", "window", "method", "price_space")
    made = await house.desk.create(pair)
    assert [made[name] for name in settings] == ["5m", 300, 40, "kalman", "linear"]
    made = await house.desk.create({**pair, "window": 20, "method": "ols"})
    assert [made[name] for name in settings] == ["5m", 300, 20, "ols", "linear"]
    made = await house.desk.create({**pair, "y": "BTCUSDT", "x": "ETHUSDT"})
    assert [made[name] for name in settings] == ["1m", 1440, 60, "ols", "log"]
    plain = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 1}
    made = await house.desk.create({"join": "or", "conditions": [plain, pair]})
    assert made["conditions"][1]["window"] == 40


async def test_a_test_is_told_and_kept_as_one_and_counts_for_nothing(house: House) -> None:
    made = await house.desk.create(above(101, note="n"))
    await house.trade(100.5, at_s=1)
    said = await house.desk.test(made["id"])
    assert (said["test"], said["value"], said["delivery"]) == (True, 100.5, [])
    [told] = house.told()
    assert (told["id"], told["message"]) == (said["id"], "Test: BTCUSDT: price 100.5 is above 101.0 — n")
    assert (house.desk.view(made["id"]) or {})["fired"] == 0
    assert [one["test"] for one in await history(house)] == [True]
    await house.trade(102.0, at_s=2)
    assert [one["seq"] for one in house.told()] == [2]
    with pytest.raises(UnknownAlert):
        await house.desk.test("none")


async def test_targets_are_tried_at_once_told_masked_and_get_what_fires_through_the_outbox(house: House) -> None:
    made = await house.desk.create(above(101, notify=[HOOK, HOOK, " "]))
    [tried] = made["delivery"]
    assert tried["ok"] is False
    assert tried["error"]
    assert "secret-path" not in str(made)
    await house.trade(102.0, at_s=1)
    await house.writer.drain()
    [firing] = house.told()
    assert "secret-path" not in str(firing)
    [waiting] = (await house.stored(OUTBOX)).values()
    assert (waiting["target"], waiting["firing"]["id"], waiting["firing"]["seq"]) == (HOOK, firing["id"], 1)
    [row] = await history(house)
    assert [(one["status"], one["target"]) for one in row["deliveries"]] == [("waiting", tried["target"])]
    same = await house.desk.change(made["id"], {"notify": made["notify"], "note": "masked as it was told"})
    assert (same["notify"], same["delivery"]) == (made["notify"], [])
    assert (await house.stored(RULES))[made["id"]]["notify"] == [HOOK]
    assert (await house.desk.change(made["id"], {"notify": None}))["notify"] == []


async def test_a_store_that_takes_nothing_makes_no_rule(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(documents: Any) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(house.records, "put_many", refused)
    with pytest.raises(StoreUnavailable):
        await house.desk.create(above(101))
    assert house.desk.ids() == []
    await house.trade(102.0, at_s=1)
    assert house.told() == []


async def test_the_journal_hears_what_a_replay_has_to_know(house: House) -> None:
    made = await house.desk.create(above(101))
    await house.desk.change(made["id"], {"status": "paused"})
    await house.desk.remove(made["id"])
    kinds = [note[0] for note in house.notes]
    assert kinds == ["alert", "alert", "unalert"]
    told = [orjson.loads(note[1]) for note in house.notes[:2]]
    assert [(one["id"], one["rule"]["threshold"]) for one in told] == [(made["id"], 101.0)] * 2
    assert (told[0]["state"], told[1]["state"]["status"]) == (None, "paused")
    assert house.notes[2][1] == made["id"]


def event(what: str, at_s: int, **fields: Any) -> dict[str, Any]:
    at_ms = (START + at_s * S) // 1_000_000
    pair = {"y": "ETHUSDT", "x": "BTCUSDT", "timeframe": "1m", "lookback": 1440}
    return {"timestamp": at_ms, "event": what, "qvalue": 0.01, **pair, **fields}


async def test_what_the_screen_finds_is_told_once_also_over_a_restart(tmp_path: Path) -> None:
    house = await House.open(tmp_path)
    made = await house.desk.create({"type": "cointegration", "condition": "found", "cooldown_s": 0})
    house.screens.events = [event("entered", 60)]
    await house.desk.look()
    await house.desk.look()
    await house.time(61)
    [firing] = house.told()
    assert (firing["id"], firing["y"], firing["x"]) == (f"{made['id']}-1", "ETHUSDT", "BTCUSDT")
    assert firing["message"] == "ETHUSDT/BTCUSDT is cointegrated now, says the screen"
    house.screens.events.append(event("left", 120, qvalue=None))
    await house.desk.look()
    await house.time(121)
    await house.close()
    house = await House.open(tmp_path)
    house.screens.events = [event("entered", 60), event("left", 120), event("entered", 120, x="SOLUSDT")]
    await house.desk.look()
    await house.time(122)
    assert [one["x"] for one in house.told()] == ["SOLUSDT"], "only what was not heard before"
    await house.close()


async def test_funding_rates_are_asked_for_where_a_rule_wants_them(house: House) -> None:
    house.rates["BTCUSDT"] = [("BTCUSDT", START // 1_000_000 - 5000, 0.0003)]
    await house.desk.look()
    assert house.notes == []
    made = await house.desk.create(
        {"type": "funding", "symbol": "BTCUSDT", "condition": "above", "threshold": 0.0002, "cooldown_s": 0}
    )
    await house.desk.look()
    await house.time(1)
    [firing] = house.told()
    assert (firing["id"], firing["value"], firing["symbol"]) == (f"{made['id']}-1", 0.0003, "BTCUSDT")
    assert firing["message"] == "BTCUSDT: funding rate +0.0300 % is above +0.0200 %"
    count = len(house.notes)
    house.now_ns += 61 * S
    await house.desk.look()
    assert len(house.notes) == count, "the same rate is told once"


async def test_bars_that_a_rule_lacks_are_read_from_the_store(house: House) -> None:
    fields = {"type": "price_change", "symbol": "BTCUSDT", "condition": "above", "threshold": 0.05, "window": 60}
    await house.desk.create({**fields, "timeframe": "1h"})
    lacking = house.book.lacking()
    await house.desk.look()
    assert house.book.lacking() == []
    assert [note[:3] for note in house.notes if note[0] == "alert_filled"] == [
        ("alert_filled", one.symbol, one.timeframe) for one in lacking
    ]
    house.desk.reload(["BTCUSDT"])
    assert ("alert_reload", "BTCUSDT") in house.notes
    assert house.book.lacking() == lacking


async def test_a_preview_takes_the_same_body(house: House) -> None:
    said = await house.desk.preview(above(101, note="n", notify=[]), 12.0)
    assert (said["rule"]["threshold"], said["hours"]) == (101.0, 12.0)
    assert house.desk.ids() == []
    with pytest.raises(InputError):
        await house.desk.preview({"type": "price"}, 12.0)
