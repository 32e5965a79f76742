"""The metrics that people build dashboards on stand under their names, with their types and in their units."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from pairscope.api.stable_metrics import STABLE
from pairscope.durations import Durations

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


def families_of(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_counters_leave_under_stable_names_in_seconds(api: httpx2.AsyncClient, market: Any) -> None:
    took = Durations(bounds_s=(0.1, 1.0))
    for seconds in (0.05, 0.5, 7.0):
        took.add(seconds)
    market.counters.update(
        {
            "feed": {"ticks": 12, "reconnects": 2},
            "feed_lag_ms": 250.0,
            "queues": {"writer": {"depth": 3, "capacity": 512}},
            "writer": {"flush_took": took.view(), "store_errors": 1},
            "leadership": {"desk": {"leads": True}},
        }
    )
    market.checks["store"]["status"] = "degraded"
    text = (await api.get("/metrics")).text
    assert len(re.findall(r"^# TYPE (\S+)", text, re.M)) == len(set(re.findall(r"^# TYPE (\S+)", text, re.M)))
    families = families_of(text)
    assert "flush_took" not in text, "what a histogram is made of is not told a second time"

    def values(name: str) -> dict[tuple[str, ...], float]:
        return {(s.name, *s.labels.values()): s.value for s in families[name].samples}

    assert values("pairscope_ticks") == {("pairscope_ticks_total",): 12}
    assert families["pairscope_feed_lag_seconds"].type == "gauge"
    assert values("pairscope_feed_lag_seconds") == {("pairscope_feed_lag_seconds",): 0.25}
    assert values("pairscope_queue_depth") == {("pairscope_queue_depth", "writer"): 3}
    assert values("pairscope_check_status")["pairscope_check_status", "store"] == 1
    assert values("pairscope_leader") == {("pairscope_leader", "desk"): 1}
    assert families["pairscope_store_flush_seconds"].type == "histogram"
    assert values("pairscope_store_flush_seconds") == {
        ("pairscope_store_flush_seconds_bucket", "0.1"): 1,
        ("pairscope_store_flush_seconds_bucket", "1.0"): 2,
        ("pairscope_store_flush_seconds_bucket", "+Inf"): 3,
        ("pairscope_store_flush_seconds_count",): 3,
        ("pairscope_store_flush_seconds_sum",): 7.55,
    }


def test_each_name_says_its_unit_and_the_page_lists_it() -> None:
    names = [metric.name for metric in STABLE]
    assert len(names) == len(set(names))
    page = PAGE.read_text(encoding="utf-8")
    for metric in STABLE:
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.name.endswith("_ms")
        assert f"| `{metric.name}` | {metric.kind} | {metric.label or '-'} | {metric.says} |" in page
