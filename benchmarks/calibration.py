"""``python -m benchmarks.calibration``: how often MacKinnon's p-values come out small where there is no pair at all.

Independent markets without a pair are screened, of textbook walks and of walks with the habits of real bars, and
surrogates of real bars. Writes the table and the figure of docs/maths/screen_calibration.md. Tests of a market share
their symbols, so that it is markets that are drawn anew for an interval, never tests.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_figure import drawn
from pairscope.research.bars_file import read_bars_file
from pairscope.research.closes import aligned
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_tile import ScreenLag
from pairscope.research.surrogates import surrogate_market

__all__ = ["MARKETS", "THRESHOLDS", "Counted", "bouncing", "count", "gaussian", "interval", "main", "rotated"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "maths" / "screen_calibration.md"
FIGURE = ROOT / "docs" / "img" / "screen_calibration.svg"
REAL = ROOT.parent / "shared" / "data" / "bars" / "um_1m_2025-05.parquet"

THRESHOLDS = (0.05, 0.01, 1e-3, 1e-4, 1e-5)
GRID = tuple(float(f"{level:.3g}") for level in np.logspace(-5, 0, 31))
"""p-values at which the figure looks."""

WINDOWS = 24
"""Windows of real bars, side by side, that all sixteen symbols have."""

REDRAWN = 2000
"""Times that the markets are drawn anew for an interval."""

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Maker = Callable[[np.random.Generator, int, int], F8]


def gaussian(rng: np.random.Generator, bars: int, size: int) -> F8:
    """Return prices (bars, size) whose logs are random walks with normal steps: the textbook's market."""
    return np.exp(1e-3 * np.cumsum(rng.standard_normal((bars, size)), axis=0))


def heavy(rng: np.random.Generator, bars: int, size: int) -> F8:
    """Return walks whose steps are Student's t with four degrees of freedom: an infinite fourth moment."""
    return np.exp(1e-3 * np.cumsum(rng.standard_t(4, (bars, size)) / math.sqrt(2.0), axis=0))


def clustered(rng: np.random.Generator, bars: int, size: int) -> F8:
    """Return walks whose volatility clusters: GARCH(1, 1), 0.1 of the last square and 0.88 of the last variance."""
    burn = 500
    noise = rng.standard_normal((bars + burn, size))
    variance, steps = np.ones(size), np.empty_like(noise)
    for t in range(bars + burn):
        steps[t] = np.sqrt(variance) * noise[t]
        variance = 0.02 + 0.1 * steps[t] ** 2 + 0.88 * variance
    return np.exp(1e-3 * np.cumsum(steps[burn:], axis=0))


def bouncing(rng: np.random.Generator, bars: int, size: int) -> F8:
    """Return normal walks seen at bid or ask, each as likely: half a spread of 0 to 1 standard deviations of a bar."""
    half = rng.uniform(0.0, 1e-3, size)
    side = rng.choice([-1.0, 1.0], (bars, size))
    return np.asarray(gaussian(rng, bars, size) * np.exp(half * side))


MARKETS: Mapping[str, tuple[Maker, ScreenLag, str]] = MappingProxyType(
    {
        "normal": (gaussian, "aic", "normal steps, AIC"),
        "heavy": (heavy, "aic", "t(4) steps, AIC"),
        "clustered": (clustered, "aic", "GARCH(1, 1) steps, AIC"),
        "bouncing": (bouncing, "aic", "bid-ask bounce, AIC"),
        "bouncing-maic": (bouncing, "maic", "bid-ask bounce, MAIC"),
    }
)
"""Each null market: what makes it, what chooses the lags, and its name in the table."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Small p-values of many independent markets: ``below[m, i]`` of market m are at most ``levels[i]``."""

    name: str
    levels: F8
    below: I8
    tests: int
    seconds: float

    @property
    def rate(self) -> F8:
        """The share of all tests at each level."""
        rate: F8 = self.below.sum(axis=0) / (self.tests * len(self.below))
        return rate

    def at(self, level: float) -> int:
        """The place of a level."""
        return int(np.flatnonzero(np.isclose(self.levels, level, rtol=1e-9))[0])


def count(
    name: str, worlds: Iterator[list[F8]], autolag: ScreenLag, executor: Executor, levels: F8 | None = None
) -> Counted:
    """Screen worlds, each a list of markets that depend on one another, and count each world's small p-values."""
    levels = np.unique([*GRID, *THRESHOLDS]) if levels is None else levels
    began, below, tests = time.process_time(), [], 0
    for world in worlds:
        symbols = [f"S{i}" for i in range(world[0].shape[1])]
        results = [screen_pairs(prices, symbols, autolag=autolag, executor=executor) for prices in world]
        pvalues = np.sort(np.concatenate([result.pvalue for result in results]))
        tests = pvalues.size
        below.append(np.searchsorted(pvalues, levels, side="right"))
    return Counted(name, levels, np.array(below, np.int64), tests, time.process_time() - began)


def interval(below: I8, tests: int, *, seed: int = 0) -> tuple[F8, F8]:
    """Return the 95 % interval of the rate at each level: worlds are drawn anew with replacement, 2,000 times."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(below), np.full(len(below), 1.0 / len(below)), REDRAWN)
    rates = weights @ below / (tests * len(below))
    low, high = np.percentile(rates, [2.5, 97.5], axis=0)
    return low, high


def made(maker: Maker, markets: int, bars: int, size: int, seed: int) -> Iterator[list[F8]]:
    """Yield markets, each of a seed of its own."""
    for child in np.random.SeedSequence(seed).spawn(markets):
        yield [maker(np.random.default_rng(child), bars, size)]


def windows(prices: F8, bars: int) -> list[F8]:
    """Return the windows of so many bars that stand side by side, the newest last."""
    first = prices.shape[0] % bars
    return [prices[start : start + bars] for start in range(first, prices.shape[0], bars)]


def rotated(prices: F8, bars: int, rotations: int) -> Iterator[list[F8]]:
    """Yield each window's surrogates: one world, as all of them have the same returns."""
    for place, window in enumerate(windows(prices, bars)):
        yield [surrogate_market(window, seed=1000 * place + i) for i in range(rotations)]


def main(words: list[str] | None = None) -> int:
    """Run the calibration; write page and figure where ``--write`` is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--markets", type=int, default=2000, help="independent markets of each kind")
    parser.add_argument("--size", type=int, default=60, help="symbols of a market")
    parser.add_argument("--bars", type=int, default=1440, help="bars of a market")
    parser.add_argument("--rotations", type=int, default=80, help="surrogates of each window of real bars")
    parser.add_argument("--bars-file", type=Path, default=REAL, help="real bars, long form; left out where not there")
    parser.add_argument("--write", action="store_true", help="rewrite the page's table and its figure")
    told = parser.parse_args(words)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    found = []
    with ThreadPoolExecutor(1) as executor:
        for place, (maker, autolag, name) in enumerate(MARKETS.values()):
            worlds = made(maker, told.markets, told.bars, told.size, seed=place if maker is not bouncing else 3)
            found.append(count(name, worlds, autolag, executor))
            print(row(found[-1]), flush=True)
        if told.bars_file.is_file():
            found += real(told.bars_file, told.bars, told.rotations, executor)
    text = table(found)
    print(f"\n{text}\n\n{sum(one.seconds for one in found):,.0f} s of processor time")
    if told.write:
        write(text, drawn({one.name: (one.levels, one.rate, *interval(one.below, one.tests)) for one in found}))
    return 0


def real(file: Path, bars: int, rotations: int, executor: Executor) -> list[Counted]:
    """Count what surrogates of real bars give, and what the bars themselves do, whose pairs may be true."""
    prices = aligned(read_bars_file(file), WINDOWS * bars + bars // 10).prices
    found = [
        count("real bars, rotated, AIC", rotated(prices, bars, rotations), "aic", executor),
        count("real bars, rotated, MAIC", rotated(prices, bars, rotations), "maic", executor),
        count("real bars as they were, AIC", ([window] for window in windows(prices, bars)), "aic", executor),
    ]
    for one in found:
        print(row(one), flush=True)
    return found


def row(one: Counted) -> str:
    """Write one line of the table: for each threshold how many times as often as promised, with its interval."""
    low, high = interval(one.below, one.tests)
    cells = []
    for level in THRESHOLDS:
        i = one.at(level)
        rates = (one.rate[i] / level, low[i] / level, high[i] / level)
        cells.append("{:.2f} ({:.2f}-{:.2f})".format(*rates) if one.below[:, i].any() else "none")
    return f"| {one.name} | {len(one.below):,} | {one.tests * len(one.below):,} | " + " | ".join(cells) + " |"


def table(found: list[Counted]) -> str:
    """Write the table."""
    head = "| market, lags by | worlds | tests | " + " | ".join(f"p ≤ {level:g}" for level in THRESHOLDS) + " |"
    return "\n".join([head, "|---|--:|--:" + "|--:" * len(THRESHOLDS) + "|", *map(row, found)])


def write(text: str, figure: str) -> None:
    """Put the table into the page, between its two marks, and the figure beside it."""
    page = PAGE.read_text(encoding="utf-8")
    marks = re.compile(r"(<!-- counted -->\n).*?(\n<!-- /counted -->)", re.DOTALL)
    PAGE.write_text(marks.sub(lambda mark: mark[1] + text + mark[2], page), encoding="utf-8")
    FIGURE.write_text(figure, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
