"""Alerts that were told live are told again from what is stored, at the same ticks, over restarts and crashes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.schemas.journal import Entry, ValuesTold, pack_entries, unpack_entries
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.verification import Verdict, lines, verify_source

from .live_house import SECOND, START_NS, LiveHouse, as_it_came, synthetic_ticks

FLUSH_NS = 250_000_000
SECONDS = int(os.environ.get("RECORDED_SECONDS", "300"))
"""How long a stretch of the synthetic market is told and told again; longer under ``make soak``."""


@pytest.fixture(scope="module")
def ticks() -> TickBatch:
    return synthetic_ticks(seed=9, symbols=5, rate=20.0, seconds=SECONDS)


def alerts(ticks: TickBatch) -> list[dict[str, Any]]:
    """About thirty rules, of every type and condition."""
    names = list(ticks.symbols)
    prices = {name: ticks.of_symbol(name).price for name in names}
    low, middle, high = (float(np.quantile(prices[names[0]], q)) for q in (0.3, 0.5, 0.7))
    one = {"type": "price", "symbol": names[0], "cooldown_s": 5}
    pair = {"y": names[0], "x": names[1], "timeframe": "1s", "lookback": 60, "window": 20, "cooldown_s": 10}
    quick = {"timeframe": "1s", "window": 10, "cooldown_s": 5}
    other = {"y": names[2], "x": names[1], "timeframe": "5s", "lookback": 30, "window": 10, "cooldown_s": 10}
    made: list[dict[str, Any]] = [
        {**one, "condition": "above", "threshold": high},
        {**one, "condition": "below", "threshold": low, "hysteresis": (middle - low) / 2},
        {**one, "condition": "crosses_above", "threshold": middle},
        {**one, "condition": "crosses_below", "threshold": middle, "cooldown_s": 0, "frequency": "once_per_bar"},
        {**one, "condition": "enters", "lower": low, "upper": high},
        {
            **one,
            "condition": "leaves",
            "lower": low,
            "upper": high,
            "frequency": "once_per_bar_close",
            "timeframe": "1s",
        },
        {**one, "condition": "moves", "threshold": 0.0004, "timeframe": "1s", "window": 20},
        {**one, "condition": "above", "threshold": low, "once": True},
        {
            **one,
            "condition": "crosses_above",
            "threshold": middle,
            "expires": (START_NS + SECONDS // 3 * SECOND) // 1_000_000,
        },
    ]
    for name in names[1:4]:
        level = float(np.median(prices[name]))
        made.append({**one, "symbol": name, "condition": "crosses_above", "threshold": level})
    for condition in ("above", "crosses_below"):
        change = {"type": "price_change", "symbol": names[1], "timeframe": "1s", "window": 15, "cooldown_s": 8}
        made.append({**change, "condition": condition, "threshold": 0.0002})
    made += [
        {**quick, "type": "volume", "symbol": names[0], "condition": "above", "threshold": 1.5, "baseline": 20},
        {"type": "volume", "symbol": names[2], "condition": "crosses_above", "threshold": 1.0, "timeframe": "1m"},
        {**quick, "type": "volatility", "symbol": names[1], "condition": "crosses_above", "threshold": 0.5},
        {"type": "staleness", "symbol": names[4], "condition": "above", "threshold": 1, "cooldown_s": 0},
        {"type": "funding", "symbol": names[0], "condition": "above", "threshold": 0.0002},
        {"type": "cointegration", "condition": "found"},
        {"type": "cointegration", "y": names[0], "x": names[1], "condition": "lost"},
    ]  # fmt: skip
    made += [{**pair, "type": "zscore", "condition": condition, "threshold": level} for condition, level in (
        ("above", 1.5), ("crosses_below", -1.0), ("crosses_above", 0.0))]  # fmt: skip
    made += [
        {**pair, "type": "spread", "condition": "crosses_above", "threshold": 0.0},
        {**other, "type": "zscore", "condition": "crosses_above", "threshold": 0.5, "method": "kalman"},
        {**pair, "type": "correlation", "condition": "below", "threshold": 0.5},
        {**pair, "type": "hedge_drift", "condition": "above", "threshold": 0.01},
        {**pair, "type": "half_life", "condition": "below", "threshold": 10.0},
        {**pair, "type": "sentinel", "condition": "above"},
    ]
    both = [{k: v for k, v in one.items() if k != "cooldown_s"} | {"condition": "above", "threshold": middle}]
    both.append(
        {k: v for k, v in pair.items() if k != "cooldown_s"}
        | {"type": "zscore", "condition": "above", "threshold": 0.0}
    )
    made += [{"join": join, "conditions": both, "cooldown_s": 15} for join in ("and", "or")]
    return made


def event(kind: str, y: str, x: str, at_ns: int) -> dict[str, Any]:
    return {
        "event": kind, "y": y, "x": x, "timestamp": at_ns // 1_000_000, "timeframe": "1m", "lookback": 1440,
        "qvalue": 0.01,
    }  # fmt: skip


async def recorded(folder: Path, batches: Sequence[TickBatch], rules: Sequence[dict[str, Any]], *, crash: bool) -> None:
    """Live over a restart in the middle; on the way rules are changed, paused, let go and put beside the others."""
    symbols = batches[0].symbols
    names = list(symbols)
    part = len(batches) // 6
    house = await LiveHouse.open(folder / "market.duckdb", symbols)
    await house.feed(batches[:part])
    made = [(await house.alerts.create(rule))["id"] for rule in rules]
    house.rates[names[0]] = [(names[0], START_NS // 1_000_000, 0.0003)]
    await house.catch_up()
    await house.feed(batches[part : 2 * part])
    house.screens.events.append(event("entered", names[0], names[1], START_NS + 100 * SECOND))
    await house.catch_up()
    await house.alerts.change(made[2], {"status": "paused"})
    await house.feed(batches[2 * part : 3 * part], settle_every=7)
    house.screens.events.append(event("left", names[0], names[1], START_NS + 150 * SECOND))
    await house.alerts.change(made[2], {"status": "active"})
    await house.alerts.change(made[3], {"threshold": float(rules[3]["threshold"]) * 1.0001})
    await house.catch_up()
    await (house.crash() if crash else house.close())
    at_ns = int(batches[3 * part].ts_recv_ns.min()) - 1
    house = await LiveHouse.open(folder / "market.duckdb", symbols, now_ns=at_ns)
    await house.feed(batches[3 * part : 4 * part])
    await house.alerts.remove(made[4])
    await house.alerts.create(rules[0])
    await house.feed(batches[4 * part :])
    await house.writer.drain()
    await house.close()


async def verdict_of(path: Path, **asked: Any) -> Verdict:
    store = await DuckDBStore.open(path, threads=1)
    try:
        return await verify_source(store, **asked)
    finally:
        await store.close()


async def kept(path: Path, collection: str) -> list[tuple[str, bytes]]:
    """The documents of a collection by key."""
    store = await DuckDBStore.open(path, threads=1)
    found = [item async for item in store.scan(collection)]
    await store.close()
    return found


async def put(path: Path, collection: str, key: str, document: bytes | None) -> None:
    """Write one document over another, or take it away."""
    store = await DuckDBStore.open(path, threads=1)
    if document is None:
        await store.delete(collection, key)
    else:
        await store.put(collection, key, document)
    await store.close()


async def history(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The firings that are kept, oldest first."""
    return [(key, orjson.loads(body)) for key, body in (await kept(path, "alert_firings"))[::-1]]


def held_back(batches: Sequence[TickBatch]) -> list[TickBatch]:
    """Batches as of a feed that keeps some ticks back for a while, and then lets them out behind younger ones."""
    made, held = [], list[TickBatch]()
    for i, batch in enumerate(batches):
        kept = slice(0, 2) if i % 9 == 4 else slice(0, 0)
        parts = [batch.take(slice(kept.stop, None)), *(held if i % 9 == 7 else ())]
        made.append(concat_ticks(parts).with_watermark(batch.watermark_ns))
        held = [batch.take(kept)] if i % 9 == 4 else held
    return made


@pytest.mark.parametrize(
    ("late", "crash", "held"), [(0.0, False, False), (0.02, False, False), (0.02, True, False), (0.0, False, True)]
)
async def test_all_alerts_that_were_told_over_a_restart_are_told_again(
    ticks: TickBatch, tmp_path: Path, late: float, crash: bool, held: bool
) -> None:
    batches = as_it_came(ticks, seed=1, flush_ns=FLUSH_NS, late=late, most_late_s=30.0)
    batches = held_back(batches) if held else batches
    await recorded(tmp_path, batches, alerts(ticks), crash=crash)
    firings = [firing for _, firing in await history(tmp_path / "market.duckdb")]
    verdict = await verdict_of(tmp_path / "market.duckdb")
    assert lines(verdict)[-1] == "0 differences", "\n".join(lines(verdict))
    fired = {firing["type"] for firing in firings}
    assert fired >= {
        "price", "price_change", "volume", "volatility", "staleness", "funding", "cointegration", "zscore", "spread",
        "correlation", "hedge_drift",
    }, f"only {fired} fired"  # fmt: skip
    assert len(firings) > 60
    written = 0.4 if crash else 0.99  # what waited for its ticks to be stored is gone with a crash
    assert verdict.compared["alerts"] >= written * len(firings)
    assert verdict.compared["firings kept"] >= written * len(firings)
    if late:
        assert any(firing["late"] for firing in firings)
    part = await verdict_of(tmp_path / "market.duckdb", since_ns=START_NS + SECONDS // 4 * SECOND)
    assert part.differences == 0, "\n".join(lines(part))
    assert part.foreign["alerts"] > 0, "of rules that were put before that nothing is known until the next start"
    assert 0 < part.compared["alerts"] < verdict.compared["alerts"]


async def test_a_firing_that_was_altered_or_left_out_of_the_history_is_found(ticks: TickBatch, tmp_path: Path) -> None:
    path = tmp_path / "market.duckdb"
    await recorded(tmp_path, as_it_came(ticks, seed=1, flush_ns=FLUSH_NS), alerts(ticks), crash=False)
    key, firing = (await history(path))[20]
    invented = orjson.dumps({**firing, "id": f"{firing['alert_id']}-77"})
    await put(path, "alert_firings", "9" * 19, invented)
    [found] = (await verdict_of(path)).examples
    assert (found.kind, found.key) == ("alerts", firing["alert_id"])
    assert "not told by the replay" in found.what
    await put(path, "alert_firings", "9" * 19, None)
    for what, altered in (
        ("value", {**firing, "value": firing["value"] + 1.0}),
        ("timestamp", {**firing, "timestamp": firing["timestamp"] + 1}),
        ("not in the history", None),
    ):
        await put(path, "alert_firings", key, None if altered is None else orjson.dumps(altered))
        [found] = (await verdict_of(path)).examples
        told = found.kind, found.key, found.time_ns // 1_000_000
        assert told == ("alerts", firing["alert_id"], firing["timestamp"])
        assert what in found.what
        assert firing["id"] in found.what
    await put(path, "alert_firings", key, orjson.dumps(firing))
    assert (await verdict_of(path)).differences == 0


async def test_a_firing_that_was_told_otherwise_than_it_is_told_again_is_found(
    ticks: TickBatch, tmp_path: Path
) -> None:
    path = tmp_path / "market.duckdb"
    await recorded(tmp_path, as_it_came(ticks, seed=1, flush_ns=FLUSH_NS), alerts(ticks), crash=False)
    for change, what in ((without_alert, "not told live"), (other_time, "not told by the replay")):
        for key, document in await kept(path, "journal"):
            entries = unpack_entries(document)
            at = next((i for i, entry in enumerate(entries) if any(v.kind == "alerts" for v in entry.values)), None)
            if at is not None:
                entries[at] = change(entries[at])
                await put(path, "journal", key, pack_entries(entries))
                break
        verdict = await verdict_of(path)
        assert {difference.kind for difference in verdict.examples} == {"alerts"}
        assert any(what in difference.what for difference in verdict.examples), lines(verdict)
        await put(path, "journal", key, document)


def without_alert(entry: Entry) -> Entry:
    """The entry as if nothing had been told of alerts."""
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return Entry(**{**fields, "values": [told for told in entry.values if told.kind != "alerts"]})


def other_time(entry: Entry) -> Entry:
    """The entry as if the alerts had been told a second later."""
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    values = []
    for told in entry.values:
        times = np.frombuffer(told.times, "<i8") + (SECOND if told.kind == "alerts" else 0)
        values.append(ValuesTold(told.kind, told.keys, times.astype("<i8").tobytes(), told.digests, told.numbers))
    return Entry(**{**fields, "values": values})
