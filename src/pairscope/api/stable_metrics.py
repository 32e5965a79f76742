"""The metrics that dashboards and alarm rules may rely on: their names, types, units and what each says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["STABLE", "StableMetric", "StableMetrics"]

Kind = Literal["counter", "gauge", "histogram"]
_MS: Final = 1e-3
_STANDS: Final = {"ok": 0, "degraded": 1, "down": 2}


@dataclass(frozen=True, slots=True)
class StableMetric:
    """One metric: where its value stands in the document of counters, by which factor it becomes its unit.

    A ``*`` in the path is the value of ``label``.
    """

    name: str
    kind: Kind
    path: str
    says: str
    label: str = ""
    factor: float = 1.0


_SPELLED: Final = (
    ("pairscope_ticks_total", "counter", "feed.ticks", "Trades that came from the exchange, each once.", "", 1),
    ("pairscope_tick_rate", "gauge", "rates.ticks_per_second", "Trades a second over the last ten seconds.", "", 1),
    (
        "pairscope_feed_lag_seconds", "gauge", "feed_lag_ms",
        "How old the newest trade was when it came, by the exchange's clock and ours.", "", _MS,
    ),
    ("pairscope_last_tick_age_seconds", "gauge", "last_tick_age_ms", "Time since a trade came.", "", _MS),
    ("pairscope_symbols_followed", "gauge", "following", "Symbols whose trades are asked for.", "", 1),
    ("pairscope_feed_reconnects_total", "counter", "feed.reconnects", "Connections to the exchange made anew.", "", 1),
    ("pairscope_gaps_opened_total", "counter", "feed.gaps_opened", "Holes seen in the trade ids.", "", 1),
    ("pairscope_gaps_repaired_total", "counter", "feed.gaps_repaired", "Holes that were filled.", "", 1),
    (
        "pairscope_gaps_unrepairable_total", "counter", "feed.gaps_unrepairable",
        "Holes that nobody can fill any more.", "", 1,
    ),
    ("pairscope_gaps_pending", "gauge", "feed.gaps_pending", "Holes that are being filled.", "", 1),
    ("pairscope_late_ticks_total", "counter", "late_ticks", "Trades that came behind the close of their bar.", "", 1),
    ("pairscope_engine_busy_seconds_total", "counter", "engine.busy_ms_total", "Time that the engine took.", "", _MS),
    ("pairscope_queue_depth", "gauge", "queues.*.depth", "What waits in a queue.", "queue", 1),
    ("pairscope_queue_capacity", "gauge", "queues.*.capacity", "What a queue takes at most.", "queue", 1),
    ("pairscope_store_rows_total", "counter", "writer.flushed_rows", "Trades written to the store.", "", 1),
    ("pairscope_store_flush_seconds", "histogram", "writer.flush_took", "Time of one write to the store.", "", 1),
    ("pairscope_store_lag_seconds", "gauge", "writer.lag_ms", "Age of the oldest trade that waits.", "", _MS),
    ("pairscope_store_errors_total", "counter", "writer.store_errors", "Writes that the store refused.", "", 1),
    ("pairscope_store_repeats_total", "counter", "writer.repeats", "Trades that were stored already.", "", 1),
    ("pairscope_store_blocked_total", "counter", "writer.blocked", "Times that a full queue slowed the feed.", "", 1),
    ("pairscope_spool_bytes", "gauge", "writer.spool_bytes", "Trades on disk that the store has yet to take.", "", 1),
    (
        "pairscope_ticks_dropped_total", "counter", "writer.dropped_rows",
        "Trades that neither store nor spool took; a back-fill repairs them.", "", 1,
    ),
    (
        "pairscope_ticks_refused_total", "counter", "writer.refused_rows",
        "Trades that the store refuses for good, kept beside the spool.", "", 1,
    ),
    ("pairscope_alert_rules", "gauge", "alerts.rules", "Alert rules that are kept.", "", 1),
    ("pairscope_alert_firings_total", "counter", "alerts.firings", "Alerts that came true.", "", 1),
    (
        "pairscope_alert_latency_seconds", "histogram", "alerts.told_after",
        "From the receipt of a trade to the telling of the alert that it set off.", "", 1,
    ),
    ("pairscope_delivery_waiting", "gauge", "delivery.waiting", "Messages of alerts that wait to be sent.", "", 1),
    ("pairscope_delivery_delivered_total", "counter", "delivery.delivered", "Messages of alerts that arrived.", "", 1),
    ("pairscope_delivery_failed_total", "counter", "delivery.failed", "Tries at a message that failed.", "", 1),
    ("pairscope_delivery_given_up_total", "counter", "delivery.given_up", "Messages given up for good.", "", 1),
    ("pairscope_jobs_running", "gauge", "jobs.running", "Long computations under way.", "", 1),
    ("pairscope_stream_clients", "gauge", "stream.clients", "WebSocket clients.", "", 1),
    ("pairscope_stream_messages_total", "counter", "stream.messages_total", "Messages sent to them.", "", 1),
    ("pairscope_stream_hung_up_total", "counter", "stream.hung_up_total", "Clients hung up on for not reading.", "", 1),
    (
        "pairscope_bus_conflated_total", "counter", "bus.conflated_total",
        "Values that a newer one replaced before a slow client took them.", "", 1,
    ),
    ("pairscope_screen_seconds", "gauge", "screens.*.last_ms", "Time that the last screen took.", "screen", _MS),
    ("pairscope_leader", "gauge", "leadership.*.leads", "1 where this process holds the lock of a role.", "role", 1),
    ("pairscope_market_stream_lag_seconds", "gauge", "market_stream.lag_ms", "Age of the newest batch.", "", _MS),
    ("pairscope_market_stream_lost_total", "counter", "market_stream.lost", "Batches read from the store.", "", 1),
    ("pairscope_check_status", "gauge", "checks.*", "Each check of health: 0 ok, 1 degraded, 2 down.", "check", 1),
)  # fmt: skip

STABLE: Final = tuple(StableMetric(*each) for each in _SPELLED)


class StableMetrics(Collector):
    """Reads the stable metrics out of a document of counters at a scrape; what a part lacks is left out."""

    def __init__(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        self._counters = counters

    def describe(self) -> list[Metric]:
        """Say nothing before the first scrape, when the parts may not run yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the counters now."""
        document = self._counters()
        for metric in STABLE:
            family = _family(metric)
            for label, value in _found(document, metric.path.split("."), ""):
                _add(family, metric, label, value)
            if family.samples:
                yield family


def _family(metric: StableMetric) -> Any:
    made = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}[metric.kind]
    return made(metric.name, metric.says, labels=[metric.label] if metric.label else [])


def _add(family: Any, metric: StableMetric, label: str, value: Any) -> None:
    labels = [label] if metric.label else []
    if metric.kind == "histogram":
        if isinstance(value, Mapping):
            bounds = [*(str(bound) for bound in value["bounds_s"]), "+Inf"]
            family.add_metric(
                labels, list(zip(bounds, accumulate(value["counts"]), strict=True)), sum_value=value["sum_s"]
            )
    elif isinstance(value, str):
        family.add_metric(labels, float(_STANDS.get(value, 2)))
    elif isinstance(value, int | float):
        family.add_metric(labels, value * metric.factor)


def _found(value: Any, path: list[str], label: str) -> Iterator[tuple[str, Any]]:
    """Walk down a path; ``*`` goes into every entry, whose key becomes the label."""
    if not path:
        yield label, value
    elif isinstance(value, Mapping):
        if path[0] == "*":
            for key, item in value.items():
                yield from _found(item, path[1:], str(key))
        elif path[0] in value:
            yield from _found(value[path[0]], path[1:], label)
