"""Looking at a damaged database: each damage is named, mended as far as it can be, and gone at a second look."""

from __future__ import annotations

import pytest
from tests.storage.days import FIRST_DAY, SYMBOLS, all_rows, bars_of_day, ticks_of_day

from pairscope.storage.postgres_store import PostgresStore

NAME = "symbol = 'BTCUSDT'"
DAMAGES = {
    "ledger": f"UPDATE continuity SET tick_count = 7, first_id = 3, version = version + 1 WHERE {NAME}",
    "bars differ": (
        f"UPDATE resampled_data SET volume = volume + 1 WHERE {NAME} AND timeframe = '1m' "
        "AND first_id BETWEEN 10 AND 90"
    ),
    "bar": f"UPDATE resampled_data SET high = low - 1 WHERE {NAME} AND timeframe = '1m' AND first_id = 5",
    "duplicate": (
        "INSERT INTO tick_data SELECT symbol, timestamp + interval '1 ms', id, price, size, buyer_is_maker, "
        f"received_ns + 1, rest_ns FROM tick_data WHERE {NAME} AND id = 77"
    ),
}
LASTING = {
    "tick": f"UPDATE tick_data SET price = 'NaN' WHERE {NAME} AND id = 40",
    "hole": f"DELETE FROM tick_data WHERE {NAME} AND id BETWEEN 60 AND 69",
}


@pytest.fixture
async def store(postgres_url):
    found = await PostgresStore.open(postgres_url)
    ticks = ticks_of_day(0)
    await found.append(ticks, bars_of_day(ticks))
    yield found
    await found.close()


async def damage(store, statement: str) -> None:
    await store._pool.write(lambda session: session.run(statement))


async def look(store, *, repair: bool):
    report = await store.upkeep.check(repair=repair)
    return report, {each["kind"] for each in report["findings"]}


async def test_every_damage_that_can_be_mended_is_named_and_leaves_the_store_as_it_was(store):
    before = await all_rows(store)
    report, kinds = await look(store, repair=False)
    assert (report["ok"], kinds, report["aside"]) == (True, set(), None)
    assert report["checked"] == {"symbols": 2, "ticks": before["rows"][0], "bars": before["rows"][1], "files": 0}
    for kind, statement in DAMAGES.items():
        await damage(store, statement)
        assert kind in (await look(store, repair=False))[1]
        report, kinds = await look(store, repair=True)
        assert kind in kinds and report["left"] == 0, report
        assert await all_rows(store) == before, kind
        assert (await look(store, repair=False))[0]["ok"]
    assert report["aside"] == "table set_aside"


async def test_what_is_gone_becomes_a_hole_that_the_feed_may_ask_for(store):
    for kind, statement in LASTING.items():
        await damage(store, statement)
        report, kinds = await look(store, repair=True)
        assert kind in kinds and report["left"] == 0, report
    gaps = await store.gaps("BTCUSDT", unrepaired=True)
    assert [(gap.from_id, gap.to_id, gap.status) for gap in gaps] == [(40, 40, "open"), (60, 69, "open")]
    [aside] = await store._pool.read(lambda session: session.rows("SELECT kind, row->>'id' AS id FROM set_aside"))
    assert (aside["kind"], aside["id"]) == ("tick_data", "40")
    ticks = ticks_of_day(0)
    lost = (ticks.symbol_id == SYMBOLS.find("BTCUSDT")) & (
        (ticks.trade_id == 40) | ((ticks.trade_id >= 60) & (ticks.trade_id <= 69))
    )
    assert (await store.append(ticks.take(lost))).new.all()
    assert await store.gaps("BTCUSDT", unrepaired=True) == []
    assert (await store.upkeep.days("BTCUSDT"))[0].day == FIRST_DAY
    assert (await store.upkeep.days("BTCUSDT"))[0].ticks == int((ticks.symbol_id == 0).sum())
