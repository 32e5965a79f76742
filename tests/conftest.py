"""Ticks for every test that needs some, and bars worked out from them another way than the package does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import settings
from tests.postgres_server import older_postgres_process, postgres_process, postgres_server, postgres_url
from tests.redis_server import redis_process, redis_server
from xdist.scheduler import LoadScopeScheduling

from pairscope.market.bars import TIMEFRAMES, BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = [
    "older_postgres_process",
    "postgres_process",
    "postgres_server",
    "postgres_url",
    "redis_process",
    "redis_server",
]

settings.register_profile("search", deadline=None)
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
"""No deadline an example: the first one may have to compile a kernel. The suite tries the same examples every time, so
that it fails for who changed something; ``--hypothesis-profile=search`` looks for others.
"""

NOON_NS = 1_722_513_600_000_000_000
"""2024-08-01 12:00 UTC, the start of an hour."""

TOGETHER = (
    ("tests/adversity/test_api_abuse.py",),
    ("tests/api/test_screen.py",),
    ("tests/deploy/test_backup.py",),
    ("tests/deploy/test_same_commands.py",),
    ("tests/examples/test_examples.py", "tests/examples/test_examples_calls.py"),
    ("tests/feed/test_replay_server_clients.py",),
    ("tests/oracles/test_planted_pairs.py",),
    tuple(f"tests/project/test_{name}.py" for name in ("decisions", "glossary", "kernel_docs", "source")),
)
"""Files whose tests look at what takes long to make: one process makes it, where several run the tests."""

Row = tuple[str, int, int, str, str, bool]
"""Symbol, trade id, event time in ns, price and size as sent, whether the buyer is the maker."""


class _Together(LoadScopeScheduling):
    """Hands out test by test, and those of ``TOGETHER`` in one piece; marks of groups do nothing since pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((files[0] for files in TOGETHER if path in files), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Choose who hands tests out, where they are not handed out file by file."""
    return _Together(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that a test runs sets logs up for a stderr that goes with the test; whoever comes next has his own."""
    before = list(logging.getLogger().handlers)
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root = logging.getLogger()
        root.handlers[:] = [each for each in root.handlers if each in before or type(each) is not logging.StreamHandler]


@pytest.fixture(scope="session")
def noon_ns() -> int:
    return NOON_NS


@pytest.fixture(scope="session")
def ticks_of() -> Callable[..., TickBatch]:
    """Make a batch of rows, in their order, received 50 ms after they happened."""

    def make(rows: Iterable[Row], *, symbols: Symbols | None = None, watermark_ns: int = 0) -> TickBatch:
        held = list(rows)
        table = Symbols() if symbols is None else symbols
        times = np.array([row[2] for row in held], np.int64)
        return TickBatch(
            table,
            np.array([table.id_of(row[0]) for row in held], np.int32),
            times,
            times + 50_000_000,
            np.array([row[1] for row in held], np.int64),
            np.array([float(row[3]) for row in held], np.float64),
            np.array([float(row[4]) for row in held], np.float64),
            np.array([row[5] for row in held], np.bool_),
            watermark_ns,
        )

    return make


@pytest.fixture(scope="session")
def market_rows() -> Callable[..., list[Row]]:
    """Make a seeded market's trades in order of event time; ids of a symbol are consecutive."""

    def make(
        *, seed: int = 1, names: tuple[str, ...] = ("BTCUSDT", "币安人生USDT"), trades: int = 600, span_s: float = 600
    ) -> list[Row]:
        rng = np.random.default_rng(seed)
        times = np.sort(rng.integers(0, int(span_s * 1000), trades)) * 1_000_000 + NOON_NS
        next_id = {name: 1000 * (k + 1) for k, name in enumerate(names)}
        rows: list[Row] = []
        for at in times.tolist():
            name = names[int(rng.integers(len(names)))]
            price = Decimal(60_000_00 + int(rng.integers(-5000, 5000))).scaleb(-2)
            size = Decimal(int(rng.integers(1, 5000))).scaleb(-3)
            rows.append((name, next_id[name], at, str(price), str(size), bool(rng.integers(2))))
            next_id[name] += 1
        return rows

    return make


@pytest.fixture(scope="session")
def bars_by_hand() -> Callable[..., list[dict[str, Any]]]:
    """Work out a symbol's bars from rows with decimals and fractions, one trade at a time."""

    def work_out(rows: Iterable[Row], symbol: str, timeframe: str) -> list[dict[str, Any]]:
        length = TIMEFRAMES[timeframe]
        groups: dict[int, list[Row]] = {}
        for row in rows:
            if row[0] == symbol:
                groups.setdefault(row[2] // length * length, []).append(row)
        bars = []
        for at in sorted(groups):
            held = sorted(groups[at], key=lambda row: row[1])
            prices = [Fraction(row[3]) for row in held]
            sizes = [Fraction(row[4]) for row in held]
            bars.append(
                {
                    "ts_open_ns": at,
                    "open": float(prices[0]),
                    "high": float(max(prices)),
                    "low": float(min(prices)),
                    "close": float(prices[-1]),
                    "volume": float(sum(sizes)),
                    "quote_volume": float(sum(p * s for p, s in zip(prices, sizes, strict=True))),
                    "buy_volume": float(sum(s for s, row in zip(sizes, held, strict=True) if not row[5])),
                    "trades": len(held),
                    "first_id": held[0][1],
                    "last_id": held[-1][1],
                }
            )
        return bars

    return work_out


@pytest.fixture(scope="session")
def bars_as_rows() -> Callable[[BarBatch], list[dict[str, Any]]]:
    """Spell a batch of bars as what ``bars_by_hand`` gives."""

    def spell(bars: BarBatch) -> list[dict[str, Any]]:
        names = (
            "ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "first_id",
            "last_id",
        )  # fmt: skip
        return [{name: getattr(bars, name)[i].item() for name in names} for i in range(len(bars))]

    return spell


@pytest.fixture(scope="session")
def assert_same_bars() -> Callable[[BarBatch, BarBatch], None]:
    """Demand that two batches of bars are equal in every bit; symbols are compared by name."""

    def check(a: BarBatch, b: BarBatch) -> None:
        assert a.timeframe == b.timeframe
        assert [a.symbols[i] for i in a.symbol_id.tolist()] == [b.symbols[i] for i in b.symbol_id.tolist()]
        for field in fields(BarBatch)[3:]:
            left, right = getattr(a, field.name), getattr(b, field.name)
            assert left.dtype == right.dtype, field.name
            np.testing.assert_array_equal(left, right, err_msg=f"{a.timeframe} {field.name}")

    return check


@pytest.fixture(scope="session")
def in_batches() -> Callable[..., list[TickBatch]]:
    """Cut ticks into batches as a feed would: each under the newest time so far less the lateness.

    The last batch is empty and closes what all of them were part of, up to a day.
    """

    def cut(ticks: TickBatch, sizes: Iterable[int], *, lateness_ns: int = 300_000_000) -> list[TickBatch]:
        batches, start, newest = [], 0, 0
        for size in sizes:
            part = ticks.take(slice(start, start + size))
            start += size
            if len(part):
                newest = max(newest, int(part.ts_event_ns.max()))
                batches.append(part.with_watermark(newest - lateness_ns))
        day = TIMEFRAMES["1d"]
        return [*batches, TickBatch.empty(ticks.symbols, (newest // day + 1) * day)]

    return cut
