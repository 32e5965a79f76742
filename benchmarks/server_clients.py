"""A thousand clients of the stream on two replicas, each following what another process ingests."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.listener import arrivals
from benchmarks.processes import Child, Children, Watch, children, until
from benchmarks.replicas import KEY, Replicas
from benchmarks.report import Report
from benchmarks.servers import Postgres, Redis
from benchmarks.shards import Shards, turns
from benchmarks.shares import Shares
from pairscope.storage.market_stream import StreamEntry
from pairscope.wiring.shard_source import shard_entry

__all__ = ["measure"]

SYMBOLS = 200
CLIENTS, PER_SECOND = 1000, 5
FAST_CLIENTS, FAST_RATE, FAST_WATCHED = 50, 20_000, 4
STUCK_ON = (("price", ""), ("bar", ":1s"), ("bar", ":1m"))
GOAL = "<= 30 ms / <= 60 ms"
"""That of one process."""
NAMES = [f"S{i:03d}USDT" for i in range(SYMBOLS)]
COMPILED_S = 5.0
"""So soon behind its start a replica has begun to compile what it compiles beside its work."""
END_NS = 1_000_000_000
"""What the store has received so long before the end has to have been shown."""

Numbers = np.ndarray[Any, np.dtype[Any]]


def measure(*, seconds: int = 20, clients: int = CLIENTS, rate: int = FAST_RATE) -> Report:
    """Run the crowd, the crowd beside a stuck client, and a few clients at the full rate."""
    calm = SYMBOLS * PER_SECOND
    report = Report(
        "server_clients",
        f"Two ingest shards, PostgreSQL 18, Redis and two API replicas. {clients:,} clients of `/ws/updates`, half on "
        f"each replica, each following one of {SYMBOLS} symbols that trade {PER_SECOND} times a second, for "
        f"{seconds} s; the same with one more client that asks for every price and the bars of two timeframes and "
        f"never reads; then {FAST_CLIENTS} clients that follow {FAST_WATCHED} symbols each at {rate:,} ticks/s. "
        "Exchange and clients run beside them on the same machine. A tick's lag runs from its arrival at the ingest's "
        "socket to the first message at the client that shows it or a newer one of its symbol.",
        "every client was shown trades that PostgreSQL has, with their prices, in their order, of every symbol that it "
        "asked for, up to the end; no id of these symbols is missing in the store.",
    )
    with servers(calm, seconds=3 * seconds + 150) as market:
        before = market.rss()
        topics = [[f"price:{NAMES[i % SYMBOLS]}"] for i in range(clients)]
        alone = market.run(topics, seconds)
        stuck = market.run(topics, seconds, stuck=True)
        hung_up = [hung_up_on(replica.port) for replica in market.replicas.replicas]
        market.judge([alone, stuck])
    wanted = clients * PER_SECOND
    report.add("messages/s", f"{alone.rate:,.0f}", f">= {wanted:,} x 0.98", alone.rate >= 0.98 * wanted)
    report.add("lag, median / 99th percentile / largest", alone.lag(), GOAL, alone.soon)
    report.add("of it: socket to Redis, by its shard", spread(alone.said))
    report.add("of it: until the other shard had said as much", spread(alone.merged))
    report.add("of it: Redis to client", spread(alone.heard))
    report.add("cores used", alone.cores)
    report.add("memory of a replica: before clients, with them", f"{most(before)} MB, {most(alone.rss)} MB")
    near = stuck.p99 <= max(1.5 * alone.p99, alone.p99 + 15)
    report.add("beside a stuck client: lag", stuck.lag(), "no change", near)
    report.add("beside a stuck client: messages/s", f"{stuck.rate:,.0f}", "no change", stuck.rate >= 0.98 * alone.rate)
    bound = most(stuck.rss) <= most(alone.rss) + 50
    report.add("memory of its replica, largest", f"{most(stuck.rss)} MB", "+ 50 MB at most", bound)
    report.add("stuck clients hung up on", f"{sum(hung_up):.0f}", "1", sum(hung_up) == 1)
    with servers(rate, seconds=seconds + 120) as market:
        topics = [
            [f"price:{NAMES[(FAST_WATCHED * i + k) % SYMBOLS]}" for k in range(FAST_WATCHED)]
            for i in range(FAST_CLIENTS)
        ]
        fast = market.run(topics, seconds)
        market.judge([fast])
    report.add(f"{rate:,} ticks/s: messages/s", f"{fast.rate:,.0f}")
    report.add(f"{rate:,} ticks/s: lag, median / 99th percentile / largest", fast.lag(), GOAL, fast.soon)
    report.add(f"{rate:,} ticks/s: socket to Redis, by its shard", spread(fast.said))
    report.add(f"{rate:,} ticks/s: until the other shard had said as much", spread(fast.merged))
    report.add(f"{rate:,} ticks/s: Redis to client", spread(fast.heard))
    report.add(f"{rate:,} ticks/s: cores used", fast.cores)
    report.add(f"{rate:,} ticks/s: memory of a replica", f"{most(fast.rss)} MB")
    return report


@dataclass
class Heard:
    """What clients heard in one run, what it cost, and, once it is judged, how late it was, ms."""

    files: list[Path]
    topics: list[list[list[str]]]
    rate: float
    cores: str
    rss: list[float]
    entries: list[Entry]
    until_ns: int
    lags: Numbers = field(default_factory=lambda: np.zeros(0))
    said: Numbers = field(default_factory=lambda: np.zeros(0))
    merged: Numbers = field(default_factory=lambda: np.zeros(0))
    heard: Numbers = field(default_factory=lambda: np.zeros(0))

    @property
    def p99(self) -> float:
        """The 99th percentile of the lags, ms."""
        return float(np.percentile(self.lags, 99))

    @property
    def soon(self) -> bool:
        """Whether the lags reach the goal."""
        return float(np.median(self.lags)) <= 30 and self.p99 <= 60

    def lag(self) -> str:
        """The lags in words."""
        return f"{spread(self.lags)} / {self.lags.max():.1f} ms"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a shard appended to its stream: when by its clock, the newest receive time in it, and its ticks.

    ``until_ns`` is when all had been received that it had said by then.
    """

    shard: int
    said_ns: int
    at_ns: int
    until_ns: int
    symbols: Sequence[str]
    symbol_id: Numbers
    ids: Numbers


@dataclass
class Market:
    """A market with its shards and replicas."""

    children: Children
    shards: Shards
    replicas: Replicas
    kinds: dict[str, list[int]]
    runs: int = 0

    def run(self, topics: list[list[str]], seconds: int, *, stuck: bool = False) -> Heard:
        """Have clients listen, every other one at the other replica; the stuck one is at the first."""
        self.runs += 1
        listeners: list[Child] = []
        halves = [topics[: len(topics) // 2], topics[len(topics) // 2 :]]
        files = [self.children.folder / f"arrivals-{self.runs}-{i}.npz" for i in range(2)]
        for i, (half, replica) in enumerate(zip(halves, self.replicas.replicas, strict=True)):
            told: dict[str, Any] = {
                "url": f"ws://127.0.0.1:{replica.port}/ws/updates",
                "key": KEY,
                "topics": half,
                "seconds": seconds,
                "out": str(files[i]),
            }
            if stuck and i == 0:
                told["stuck"] = [f"{kind}:{name}{of}" for name in NAMES for kind, of in STUCK_ON]
            listeners.append(self.children.start("benchmarks.listener", json.dumps(told)))
        if [child.line()["open"] for child in listeners] != [len(half) for half in halves]:
            raise AssertionError("not every client got in")
        shares = Shares({**self.kinds, "clients": [child.process.pid for child in listeners]})
        watches = [Watch(replica.child.usage) for replica in self.replicas.replicas]
        for _ in turns(seconds - 0.5):
            for watch in watches:
                watch.look()
        until_ns = int(np.datetime64("now", "ns").astype(np.int64))
        cores = shares.used()
        said = [child.line() for child in listeners]
        if any(each["closed"] for each in said):
            raise AssertionError(f"clients were cut off: {said}")
        rate = sum(each["messages"] for each in said) / seconds
        rss = [watch.usage().rss_mb for watch in watches]
        return Heard(files, halves, rate, cores, rss, self.entries(), until_ns)

    def rss(self) -> list[float]:
        """The resident memory of each replica, MB."""
        return [Watch(replica.child.usage).look() for replica in self.replicas.replicas]

    def entries(self) -> list[Entry]:
        """What the shards' streams still have."""
        import redis

        found = []
        with redis.Redis(port=self.shards.redis.port) as server:
            for shard in range(self.shards.count):
                said: Any = server.xrange(f"market:{shard}")
                for _, fields in said:
                    if fields[b"k"] != b"batch":
                        continue
                    said_ns = int(fields[b"t"])
                    entry = shard_entry(StreamEntry(shard, "", 0, "batch", "", said_ns, fields[b"p"]))
                    until_ns, batch = max(entry.at_ns, entry.until_ns), entry.batch
                    found.append(
                        Entry(
                            shard, said_ns, entry.at_ns, until_ns, list(batch.symbols), batch.symbol_id,
                            batch.trade_id,
                        )
                    )  # fmt: skip
        return found

    def judge(self, runs: list[Heard]) -> None:
        """Stop everything that writes, and hold what clients were shown against the store."""
        for child in [r.child for r in self.replicas.replicas] + [p.child for p in self.shards.processes]:
            if (code := child.stop()) != 0:
                raise AssertionError(f"{child.name} ended with {code}:\n{child.log()[-4000:]}")
        for run in runs:
            self._judge(run)

    def _judge(self, run: Heard) -> None:
        stored = self._stored()
        said = said_of(run.entries)
        lags, parts = [], []
        for file, topics in zip(run.files, run.topics, strict=True):
            shown = arrivals(str(file))
            asked: dict[str, set[int]] = {}
            for client, of in enumerate(topics):
                for topic in of:
                    asked.setdefault(topic.removeprefix("price:"), set()).add(client)
            if set(asked) != set(shown):
                raise AssertionError(f"never shown: {sorted(set(asked) - set(shown))}")
            for symbol, rows in shown.items():
                ids, received, cents = stored[symbol]
                if ids.size != ids[-1] - ids[0] + 1:
                    raise AssertionError(f"{symbol}: ids are missing in the store")
                due = ids[np.searchsorted(received, run.until_ns - END_NS) - 1]
                for client in asked[symbol]:
                    mine = rows[(rows[:, 0] == client) & (rows[:, 2] >= 0)]
                    if not len(mine) or mine[:, 2].max() < due:
                        raise AssertionError(f"{symbol}: client {client} was not shown trade {due}")
                    if (np.diff(mine[:, 2]) < 0).any() or not ((mine[:, 2] >= ids[0]) & (mine[:, 2] <= ids[-1])).all():
                        raise AssertionError(f"{symbol}: client {client} was shown trades that are not in the store")
                    if not (cents[mine[:, 2] - ids[0]] == mine[:, 3]).all():
                        raise AssertionError(f"{symbol}: client {client} was shown other prices than the store has")
                    wanted = np.arange(mine[0, 2] + 1, mine[-1, 2] + 1)
                    first = mine[np.searchsorted(mine[:, 2], wanted), 1]
                    lags.append((first - received[wanted - ids[0]]) / 1e6)
                    parts.append(hops(symbol, wanted, received[wanted - ids[0]], first, said))
        run.lags = np.concatenate(lags)
        run.said, run.merged, run.heard = np.concatenate(parts, axis=1) / 1e6

    def _stored(self) -> dict[str, tuple[Numbers, Numbers, Numbers]]:
        """By symbol: ids, receive times in ns and prices in cents of every trade, by id."""
        query = "SELECT symbol, id, received_ns, round(price * 100)::bigint FROM tick_data ORDER BY symbol, id"
        rows = self.shards.postgres.rows(query)
        names = np.array([row[0] for row in rows])
        numbers = np.array([row[1:] for row in rows], np.int64)
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
        parts = np.split(numbers, starts[1:])
        return {
            str(names[start]): (part[:, 0], part[:, 1], part[:, 2]) for start, part in zip(starts, parts, strict=True)
        }


class servers(ExitStack):  # noqa: N801 - used as a function is, around a run
    """Everything for a market of a rate, for so many seconds."""

    def __init__(self, rate: int, *, seconds: int) -> None:
        super().__init__()
        self._rate, self._seconds = rate, seconds

    def __enter__(self) -> Market:  # type: ignore[override]
        """Start it, and wait until both replicas show every symbol and have compiled what they compile."""
        super().__enter__()
        try:
            return self._started()
        except BaseException:
            self.close()
            raise

    def _started(self) -> Market:
        started = self.enter_context(children())
        postgres, redis = Postgres(started.folder), Redis(started.folder)
        postgres.start()
        self.callback(postgres.stop, signal.SIGINT)
        redis.start()
        self.callback(redis.stop)
        self.callback(lambda: [child.stop() for child in reversed(started.started)])
        exchange, at = started.exchange(even=True, symbols=SYMBOLS, rate=self._rate, seconds=self._seconds, speed=1.0)
        shards = Shards(started, postgres, redis, at, places=1)
        shards.start()
        replicas = Replicas(started, postgres, redis, at)
        self.callback(replicas.close)
        replicas.start()
        for replica in replicas.replicas:
            until(lambda replica=replica: len(symbols_of(replica.port)) == SYMBOLS, what="all symbols at a replica")
        time.sleep(COMPILED_S)
        until(lambda: not any(r.child.usage.children() for r in replicas.replicas), seconds=300, what="kernels")
        kinds = {
            "exchange": [exchange.process.pid],
            "ingest": [p.child.process.pid for p in shards.processes],
            "replicas": [r.child.process.pid for r in replicas.replicas],
            "PostgreSQL": [postgres.pid],
            "Redis": [redis.pid],
        }
        return Market(started, shards, replicas, kinds)


def said_of(entries: list[Entry]) -> dict[str, tuple[Numbers, Numbers, Numbers]]:
    """By symbol: ids, when each was said by its shard, and when the other one had said as much; ns, by id."""
    by_shard = [sorted((e.said_ns, e.until_ns) for e in entries if e.shard == shard) for shard in (0, 1)]
    lanes = [(np.array([s for s, _ in lane]), np.maximum.accumulate([a for _, a in lane])) for lane in by_shard]
    found: dict[str, list[tuple[Numbers, Numbers, Numbers]]] = {}
    for entry in entries:
        times, reached = lanes[1 - entry.shard]
        place = int(np.searchsorted(reached, entry.at_ns))
        passed = max(entry.said_ns, int(times[place]) if place < times.size else entry.said_ns)
        for symbol_id in np.unique(entry.symbol_id).tolist():
            ids = entry.ids[entry.symbol_id == symbol_id]
            one = ids, np.full(ids.size, entry.said_ns), np.full(ids.size, passed)
            found.setdefault(entry.symbols[symbol_id], []).append(one)
    joined = {}
    for symbol, parts in found.items():
        ids, said, passed = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(ids, kind="stable")
        joined[symbol] = ids[order], said[order], passed[order]
    return joined


def hops(symbol: str, wanted: Numbers, received: Numbers, first: Numbers, said: dict[str, Any]) -> Numbers:
    """Where the time of trades went: until it was said, until the other shard had said as much, until it was read."""
    ids, at, passed = said[symbol]
    known = np.isin(wanted, ids)
    place = np.searchsorted(ids, wanted[known])
    return np.stack([at[place] - received[known], passed[place] - at[place], first[known] - passed[place]])


def spread(values: Numbers) -> str:
    """Median and 99th percentile, ms."""
    p50, p99 = np.percentile(values, [50, 99])
    return f"{p50:.1f} ms / {p99:.1f} ms"


def most(values: list[float]) -> int:
    return round(max(values))


def symbols_of(port: int) -> list[Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/symbols", headers={"X-API-Key": KEY})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.load(answer))


def hung_up_on(port: int) -> float:
    """How many clients a replica has hung up on."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"X-API-Key": KEY})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if "hung_up" in line and not line.startswith("#"))
