"""Kept runs: shown at once, kept over a restart, bounded in number and weight, the oldest forgotten first."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import orjson

from pairscope.errors import StoreUnavailable
from pairscope.research.backtest_runs import DOCUMENTS, SUMMARIES, KeptRuns, pack_run


class Notebook:
    """Records in a dictionary, which may refuse."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.refuses = False

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        if self.refuses:
            raise StoreUnavailable("not now")
        new = (collection, key) not in self.kept
        self.kept[collection, key] = document
        return new

    async def get(self, collection: str, key: str) -> bytes | None:
        return self.kept.get((collection, key))

    async def delete(self, collection: str, key: str) -> bool:
        return self.kept.pop((collection, key), None) is not None

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for (kind, key), document in sorted(self.kept.items()):
            if kind == collection and key > after:
                yield key, document

    def keys(self, collection: str) -> list[str]:
        return sorted(key for kind, key in self.kept if kind == collection)


async def keep(runs: KeptRuns, key: str, **document: Any) -> None:
    runs.hold(pack_run(key, {"id": key, "kind": "backtest", "y": "AUSDT", "x": "BUSDT"}, document or {"id": key}))
    await runs.keep(key)


def listed(runs: KeptRuns, **which: Any) -> list[str]:
    asked = {"kind": None, "y": None, "x": None, "limit": 100, "before": None, **which}
    return [str(line["id"]) for line in runs.lines(**asked)]


def unpacked(run: bytes | None) -> Any:
    assert run is not None
    return orjson.loads(gzip.decompress(run))


def test_a_document_packed_in_pieces_is_the_document() -> None:
    long: list[Any] = [{"entry": n / 7, "sharpe": None, "name": 'a "quoted" one'} for n in range(2501)]
    document = {"rows": long, "none": [], "one": [1], "nested": {"a": [1, {"b": None}]}, "text": "é\n", "zero": 0}
    assert unpacked(pack_run("7", {}, document).packed) == document


def test_what_is_not_a_finite_number_is_null_and_columns_are_lists() -> None:
    document = {"equity": {"equity": np.array([1.0, np.nan, np.inf])}, "metrics": {"sharpe": float("nan")}}
    made = unpacked(pack_run("7", {}, document).packed)
    assert made == {"equity": {"equity": [1.0, None, None]}, "metrics": {"sharpe": None}}


def test_a_curve_longer_than_can_be_drawn_is_thinned_to_its_last_bar_and_says_so() -> None:
    size = 250_001
    columns = {"timestamp": list(range(size)), "equity": [float(n) for n in range(size)]}
    made = unpacked(pack_run("7", {}, {"equity": columns, "assumptions": {"fill": "next"}}).packed)
    times = made["equity"]["timestamp"]
    assert len(times) <= 100_000
    assert (times[-1], made["equity"]["equity"][-1]) == (size - 1, size - 1.0)
    assert set(np.diff(times).tolist()) == {3}
    assert "250,001" in made["assumptions"]["curves"]
    assert made["assumptions"]["fill"] == "next"


async def test_a_run_is_shown_before_the_records_have_it() -> None:
    records = Notebook()
    runs = KeptRuns(records)
    runs.hold(pack_run("1", {"id": "1"}, {"a": 1}))
    assert listed(runs) == ["1"]
    assert unpacked(await runs.packed("1")) == {"a": 1}
    assert records.kept == {}
    await runs.keep("1")
    assert (records.keys(DOCUMENTS), records.keys(SUMMARIES)) == (["1"], ["1"])
    assert unpacked(await runs.packed("1")) == {"a": 1}


async def test_runs_are_there_again_after_a_restart_but_for_what_cannot_be_read() -> None:
    records = Notebook()
    first = KeptRuns(records)
    for key in ("1", "2"):
        await keep(first, key)
    records.kept[SUMMARIES, "3"] = b"{"
    second = KeptRuns(records)
    await second.restore()
    assert listed(second) == ["2", "1"]
    assert unpacked(await second.packed("2")) == {"id": "2"}


async def test_of_too_many_the_oldest_are_forgotten_also_in_the_records() -> None:
    records = Notebook()
    runs = KeptRuns(records, most=3)
    for key in "12345":
        await keep(runs, key)
    assert listed(runs) == ["5", "4", "3"]
    assert records.keys(DOCUMENTS) == records.keys(SUMMARIES) == ["3", "4", "5"]
    assert (runs.counters()["kept"], runs.counters()["forgotten"]) == (3, 2)
    assert await runs.packed("1") is None


async def test_of_too_heavy_ones_the_oldest_are_forgotten_but_never_the_newest() -> None:
    heavy = np.random.default_rng(1).standard_normal(5000)
    runs = KeptRuns(Notebook(), most_bytes=90_000)
    for key in "123":
        await keep(runs, key, equity={"equity": heavy})
    assert listed(runs) == ["3", "2"] or listed(runs) == ["3"]
    assert runs.counters()["bytes"] <= 90_000
    alone = KeptRuns(Notebook(), most_bytes=10)
    await keep(alone, "1", equity={"equity": heavy})
    assert listed(alone) == ["1"]


async def test_a_run_deleted_while_it_is_written_stays_deleted() -> None:
    records = Notebook()
    runs = KeptRuns(records)
    runs.hold(pack_run("1", {"id": "1"}, {}))
    assert await runs.delete("1")
    await runs.keep("1")
    assert (listed(runs), records.kept) == ([], {})
    assert not await runs.delete("1")


async def test_what_refusing_records_do_not_take_is_held_but_not_without_bound() -> None:
    records = Notebook()
    records.refuses = True
    runs = KeptRuns(records)
    for key in "123456789":
        await keep(runs, key)
    assert listed(runs) == list("98765432")
    assert runs.counters()["waiting"] == 8
    assert runs.counters()["refused"] == 9


async def test_trials_are_rules_not_runs_and_stay_when_runs_are_forgotten() -> None:
    records = Notebook()
    runs = KeptRuns(records)
    assert await runs.trials("AUSDT", "BUSDT", "a") == 0
    await runs.note_trials("AUSDT", "BUSDT", "a", 1)
    await runs.note_trials("AUSDT", "BUSDT", "a", 1)
    await runs.note_trials("AUSDT", "BUSDT", "sweep", 500)
    again = KeptRuns(records)
    assert await again.trials("AUSDT", "BUSDT", "new") == 501
    assert await again.trials("AUSDT", "BUSDT", "a") == 500, "beside itself"
    assert await again.trials("BUSDT", "AUSDT", "a") == 0
