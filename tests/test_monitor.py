"""The monitor: a sample each five seconds by its own clock, an hour kept, and nothing made up where nobody knows."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import psutil
import pytest

from pairscope.errors import StoreUnavailable
from pairscope.monitor import CAPACITY, MEASURES, Machine, Monitor
from pairscope.ports import StoreStats

START_NS = 1_760_000_000_000_000_000
S = 1_000_000_000


class House:
    """The parts that a monitor reads, and a time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.late_s: list[float] = []
        self.said: dict[str, Any] = {}
        self.checks: dict[str, Any] = {"feed": {"status": "ok"}, "store": {"status": "ok"}}
        self.store_error: Exception | None = None
        self.slow_ns = 0
        self.asleep_s: list[float] = []
        self.end_ns = math.inf
        self.monitor = Monitor(
            self.counters,
            health=lambda: self.checks,
            store=self,
            machine=lambda: {"cpu_percent": 37.5, "memory_bytes": 100.0, "memory_capacity_bytes": 1000.0},
            clock=lambda: START_NS + self.now_ns,
            stall_s=4.0,
            timer=lambda: self.now_ns,
            sleep=self.sleep,
        )

    def counters(self) -> dict[str, Any]:
        return self.said

    async def stats(self) -> StoreStats:
        if self.store_error is not None:
            raise self.store_error
        self.now_ns += self.slow_ns
        return StoreStats("DuckDB", 5, 0, 4096, "here")

    async def sleep(self, seconds: float) -> None:
        self.asleep_s.append(seconds)
        self.now_ns += round((seconds + (self.late_s.pop(0) if self.late_s else 0.0)) * S)
        if self.now_ns >= self.end_ns:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    async def run(self, seconds: float) -> dict[str, Any]:
        """Let so much time pass, and return what the monitor shows then."""
        self.end_ns = self.now_ns + (seconds + 0.4) * S
        with pytest.raises(asyncio.CancelledError):
            await self.monitor.run()
        return self.monitor.view()


@pytest.fixture
def house() -> House:
    return House()


def column(view: dict[str, Any], name: str) -> list[float]:
    values: list[float] = view["columns"][name]
    return values


async def test_a_sample_is_taken_each_five_seconds_and_the_first_minute_is_as_long_as_it_is(house: House) -> None:
    assert house.monitor.view()["timestamp"] == []
    view = await house.run(15)
    assert view["timestamp"] == [START_NS // 1_000_000 + ms for ms in (5000, 10_000, 15_000)]
    assert len(view["columns"]) == len(MEASURES)
    assert {len(values) for values in view["columns"].values()} == {3}


async def test_an_hour_is_kept_and_what_is_older_makes_room(house: House) -> None:
    for second in range(5, 5 * (CAPACITY + 3), 5):
        house.now_ns = second * S
        house.said = {"rates": {"ticks_per_second": second}}
        await house.monitor.sample()
    view = house.monitor.view()
    assert column(view, "ticks_per_second") == list(range(15, 5 * (CAPACITY + 3), 5))
    assert view["timestamp"][-1] - view["timestamp"][0] == 3_595_000
    assert column(house.monitor.view(minutes=1), "ticks_per_second") == list(range(3555, 3615, 5))


async def test_a_chart_that_has_the_rest_is_given_what_is_behind_it(house: House) -> None:
    view = await house.run(30)
    since = view["timestamp"][3]
    assert house.monitor.view(since_ms=since)["timestamp"] == view["timestamp"][4:]
    assert house.monitor.view(since_ms=view["timestamp"][-1])["timestamp"] == []
    assert house.monitor.view(since_ms=0)["timestamp"] == view["timestamp"]


async def test_what_is_counted_is_shown_as_what_came_since_the_sample_before(house: House) -> None:
    for seconds, total in ((0, 100), (5, 100), (10, 103)):
        house.now_ns = seconds * S
        house.said = {
            "reconnects": total,
            "bus": {"published_total": 10 * total},
            "engine": {"busy_ms_total": 5.0 * total, "batches_total": 2 * total},
        }
        await house.monitor.sample()
    view = house.monitor.view()
    assert column(view, "reconnects")[1:] == [0, 3]
    assert column(view, "bus_published")[1:] == [0, 6]
    assert column(view, "engine_step_ms")[2] == 2.5
    unknown = [column(view, "reconnects")[0], column(view, "bus_published")[0], *column(view, "engine_step_ms")[:2]]
    assert all(math.isnan(value) for value in unknown)


async def test_what_nobody_says_is_unknown_and_never_a_nought(house: House) -> None:
    house.checks = {"feed": {}}
    house.said = {"last_tick_age_ms": None, "feed": 7, "writer": {"depth": "many"}}
    await house.monitor.sample()
    view = house.monitor.view()
    for name in (
        "tick_age_ms",
        "open_gaps",
        "queue_depth",
        "feed_status",
        "store_status",
        "alert_rules",
        "loop_lag_ms",
    ):
        assert math.isnan(column(view, name)[0]), name
        assert view["now"][name] == {"value": None, "status": None}, name


@pytest.mark.parametrize("error", [StoreUnavailable("away"), TimeoutError()])
async def test_a_store_that_does_not_answer_leaves_its_size_unknown_and_the_rest_is_there(
    house: House, error: Exception
) -> None:
    house.store_error, house.said = error, {"rates": {"ticks_per_second": 3.0}}
    view = await house.run(5)
    assert math.isnan(column(view, "store_bytes")[0])
    assert column(view, "ticks_per_second") == [3.0]
    house.store_error = None
    assert column(await house.run(5), "store_bytes")[-1] == 4096


async def test_a_part_that_fails_costs_its_sample_and_the_watch_goes_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    good = house.counters

    def fails() -> dict[str, Any]:
        raise KeyError("a bug")

    house.monitor.join("stream", fails)
    assert (await house.run(10))["timestamp"] == []
    assert house.monitor.counters() == {"samples_total": 0, "failures_total": 2}
    house.monitor.join("stream", good)
    assert len((await house.run(5))["timestamp"]) == 1


async def test_a_late_wake_is_the_loops_lag_of_its_sample_and_is_not_made_up_for(house: House) -> None:
    house.late_s = [0, 0, 0.12, 0.03] + [0] * 6 + [0] * 10 + [3.0] + [0] * 9
    view = await house.run(18.0)
    assert column(view, "loop_lag_ms") == [120, 0, 3000]
    assert house.asleep_s[4] == pytest.approx(0.47)  # it is back in step after a little delay
    assert house.asleep_s[21] == pytest.approx(0.5)  # and begins anew after a long one
    assert [view["now"]["loop_lag_ms"][name] for name in ("value", "status")] == [3000, "critical"]


async def test_waiting_for_a_slow_store_is_no_lag_of_the_loop(house: House) -> None:
    house.slow_ns = 900_000_000
    assert column(await house.run(12), "loop_lag_ms") == [0, 0]


async def test_values_are_judged_by_ranges_which_may_be_shares_of_a_capacity(house: House) -> None:
    house.said = {
        "last_tick_age_ms": 2500,
        "writer": {"depth": 400, "capacity": 512, "last_flush_ms": 8.5},
        "feed": {"gaps_pending": 1},
    }
    house.checks["store"]["status"] = "down"
    await house.monitor.sample(20.0)
    view = house.monitor.view()
    now = {name: view["now"][name]["status"] for name in view["now"]}
    assert now["tick_age_ms"] == "warning"  # more than half of what counts as a stall
    assert now["queue_depth"] == "critical"
    assert now["flush_ms"] == now["memory_bytes"] == now["loop_lag_ms"] == now["feed_status"] == "ok"
    assert now["open_gaps"] == "warning"
    assert now["store_status"] == "critical"
    assert now["ticks_per_second"] is None
    assert view["ranges"]["queue_depth"] == {"healthy": [0, 128], "tolerable": [0, 384]}
    assert view["ranges"]["spool_bytes"] == {"healthy": [0, 0], "tolerable": [0, None]}
    assert set(view["units"]) == set(view["about"]) == set(view["now"]) == set(view["columns"])


async def test_a_part_may_join_later(house: House) -> None:
    await house.monitor.sample()
    house.monitor.join("stream", lambda: {"clients": 3})
    await house.monitor.sample()
    clients = column(house.monitor.view(), "clients")
    assert math.isnan(clients[0]) and clients[1] == 3


def test_the_machine_says_what_this_process_takes_of_it(tmp_path: Path) -> None:
    read = Machine(tmp_path)()
    assert 10_000_000 < read["memory_bytes"] < read["memory_capacity_bytes"] == psutil.virtual_memory().total
    assert 0 <= read["machine_cpu_percent"] <= 100
    assert read["cpu_percent"] >= 0
    assert 0 < read["disk_free_bytes"] <= psutil.disk_usage(str(tmp_path)).total
    assert "disk_free_bytes" not in Machine(tmp_path / "to come")()
