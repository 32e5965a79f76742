"""How long it takes to test every pair of a market, beside statsmodels on the same pairs in the same run."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.report import Report, median
from pairscope.analytics.cointegration import engle_granger
from pairscope.research.screen import blocks_of, market_of, rule_of, screen_pairs
from pairscope.research.screen_products import lag_products
from pairscope.research.screen_sliding import SlidingScreen
from pairscope.research.screen_table import ScreenResult, tabulate
from pairscope.research.screen_tile import judge_tile

SYMBOLS, BARS = 600, 1440


def market(symbols: int, bars: int, seed: int = 1) -> tuple[np.ndarray, list[str]]:
    """Prices with one common factor, fat tails, and a pair among every twenty symbols."""
    rng = np.random.default_rng(seed)
    own = np.cumsum(rng.standard_t(4, (bars, symbols)), axis=0) * 5e-4
    common = np.cumsum(rng.standard_t(4, bars)) * 5e-4
    logs = own + common[:, None] * rng.uniform(0.5, 1.5, symbols) + rng.uniform(-3.0, 9.0, symbols)
    for i in range(0, symbols - 1, 20):
        spread = np.convolve(rng.standard_normal(bars + 200), 0.95 ** np.arange(200))[200 : 200 + bars]
        logs[:, i + 1] = logs[:, i] + 3e-4 * spread
    return np.exp(logs), [f"S{i:04}USDT" for i in range(symbols)]


def measure(*, rounds: int = 3, symbols: int = SYMBOLS, bars: int = BARS) -> Report:
    """Hold twelve pairs against statsmodels, then time both in turns, the stages, the slide, and the growth."""
    prices, names = market(symbols, bars)
    first = screen_pairs(prices, names)
    report = Report(
        "screen",
        f"Engle-Granger on every ordered pair of {symbols} symbols x {bars} bars ({first.tests:,} tests), lags by AIC, "
        f"from an array of prices to the sorted table; medians of {rounds} rounds, in turns with statsmodels.",
        "",
    )
    pairs = drawn(first, 12)
    legs = {name: np.log(prices[:, names.index(name)]) for pair in pairs for name in pair[:2]}
    with one_blas_thread() as peer:
        told = list(peer.map(coint_of, [(legs[y], legs[x]) for y, x, *_ in pairs]))
        worst = max(abs(ours / theirs - 1.0) for (*_, ours), (theirs, _) in zip(pairs, told, strict=True))
        same = sum(engle_granger(legs[y], legs[x]).lags == lags for y, x, lags, _ in pairs)
        report.checked = (
            f"12 pairs drawn at random: the statistic differs from statsmodels.coint's by {worst:.0e} of itself, "
            f"{same} take the direct test's lags; {first.recomputed} of all tests were recomputed from their series."
        )
        ours, cpu, theirs = [], [], []
        for turn in range(rounds):
            took, used = timed(lambda: screen_pairs(prices, names))
            ours.append(took)
            cpu.append(used)
            few = [pairs[(3 * turn + i) % 12] for i in range(3)]
            seconds = [took for _, took in peer.map(coint_of, [(legs[y], legs[x]) for y, x, *_ in few])]
            theirs += seconds
    goal = (symbols, bars) == (SYMBOLS, BARS)
    took, each = median(ours), median(theirs)
    ratio = each * first.tests / took
    report.add("the whole screen", f"{took:.2f} s", "<= 1.5 s" if goal else "", took <= 1.5 if goal else None)
    report.add("processor time of it", f"{median(cpu):.2f} s")
    report.add("a test", f"{1e6 * took / first.tests:.1f} us")
    report.add("statsmodels.coint, a test, one BLAS thread", f"{1e3 * each:.0f} ms")
    report.add("ratio", f"{ratio:,.0f}", ">= 5,000" if goal else "", ratio >= 5000 if goal else None)
    slide(report, rounds, symbols, bars)
    stages(report, prices, names)
    report.add("memory that the screen adds", f"{memory(symbols, bars):.0f} MB")
    for how, words in ((("autolag", "maic"), "lags by MAIC"), (("statistic", "pp"), "Phillips-Ouliaris Z_t")):
        other = median(timed(lambda how=how: screen_pairs(prices, names, **{how[0]: how[1]}))[0] for _ in range(rounds))
        report.add(f"the whole screen, {words}", f"{other:.2f} s")
    growth(report, rounds, symbols, bars)
    load = os.getloadavg()[0]
    report.notes.append(f"{os.cpu_count()} cores; load average at the end {load:.1f} (this run's own is up to 2).")
    return report


def slide(report: Report, rounds: int, symbols: int, bars: int) -> None:
    """Time what a new bar costs."""
    prices, names = market(symbols, bars + rounds, 2)
    sliding = SlidingScreen(prices[:bars], names)
    pushes, screens, used = [], [], []
    for row in prices[bars:]:
        began = time.process_time()
        pushes.append(timed(lambda row=row: sliding.push(row))[0])
        screens.append(timed(sliding.screen)[0])
        used.append(time.process_time() - began)
    fresh, slid = screen_pairs(prices[-bars:], names), sliding.screen()
    known = {(row.y, row.x): row.statistic for row in fresh.take(slice(0, 2000))}
    worst = max(
        abs(row.statistic / known[row.y, row.x] - 1.0) for row in slid.take(slice(0, 2000)) if (row.y, row.x) in known
    )
    again = median(a + b for a, b in zip(pushes, screens, strict=True))
    goal = (symbols, bars) == (SYMBOLS, BARS)
    report.add("re-screen at a new bar", f"{again:.2f} s", "<= 0.5 s" if goal else "", again <= 0.5 if goal else None)
    report.add("of that, moving on by a bar", f"{median(pushes):.2f} s")
    report.add("processor time of it", f"{median(used):.2f} s")
    report.checked += f" A slid screen differs from a fresh one by {worst:.0e}."


def stages(report: Report, prices: np.ndarray, names: list[str]) -> None:
    """Time the stages one after the other, on one thread."""
    _, ready = timed(lambda: blocks_of(market_of(prices, names, log=True), 24))
    of = market_of(prices, names, log=True)
    rule = rule_of(of.bars, maxlag=None, autolag="aic", both_directions=True)
    blocks = blocks_of(of, rule.lags)
    places = [(i, j) for i in range(len(blocks)) for j in range(i, len(blocks))]
    products = {}
    began = time.process_time()
    for i, j in places:
        products[i, j] = lag_products(blocks[i], blocks[j])
    multiplied = time.process_time() - began
    began = time.process_time()
    tiles = [judge_tile(blocks[i], blocks[j], products[i, j], (i, j), rule) for i, j in places]
    judged = time.process_time() - began
    _, ranked = timed(
        lambda: tabulate(tiles, names, {}, control="bh", both_directions=True, bars=of.bars, log=True, statistic="adf")
    )
    report.add("processor time: logs, scales, layouts", f"{ready:.2f} s")
    report.add("processor time: products at every lag", f"{multiplied:.2f} s")
    report.add("processor time: lag choice, refits, columns", f"{judged:.2f} s")
    report.add("processor time: p- and q-values, sorting", f"{ranked:.2f} s")


def growth(report: Report, rounds: int, symbols: int, bars: int) -> None:
    """Time smaller and larger markets."""
    sizes = [(symbols // 4, bars), (symbols // 2, bars), (2 * symbols, bars), (symbols, bars // 2), (symbols, 2 * bars)]
    for n, t in sizes:
        prices, names = market(n, t, 3)
        once = partial(screen_pairs, prices, names)
        took, used = zip(*(timed(once) for _ in range(rounds)), strict=True)
        report.add(f"{n} symbols x {t} bars", f"{median(took):.2f} s, {median(used):.2f} s of processor")


def memory(symbols: int, bars: int) -> float:
    """Megabytes that a screen adds to a process which holds the prices."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(added_memory, symbols, bars).result()


def added_memory(symbols: int, bars: int) -> float:
    prices, names = market(symbols, bars)
    screen_pairs(prices[:, :3], names[:3])
    # From here on the kernel counts the peak anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = kilobytes("VmRSS")
    screen_pairs(prices, names)
    return (kilobytes("VmHWM") - before) / 1024.0


def kilobytes(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return float(found[1]) if found else float("nan")


@contextmanager
def one_blas_thread() -> Iterator[ProcessPoolExecutor]:
    """A process in which the peer runs at its best: more BLAS threads slow its small regressions down."""
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(os.getpid).result()
            yield pool
    finally:
        os.environ.pop("OPENBLAS_NUM_THREADS")
        if before is not None:
            os.environ["OPENBLAS_NUM_THREADS"] = before


def coint_of(legs: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """The statistic by statsmodels, and the seconds that it took."""
    from statsmodels.tsa.stattools import coint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        statistic = float(coint(*legs)[0])
        return statistic, time.perf_counter() - began


def drawn(result: ScreenResult, count: int) -> list[tuple[str, str, int, float]]:
    places = np.random.default_rng(0).choice(len(result), count, replace=False)
    return [(row.y, row.x, row.lags, row.statistic) for row in result.take(places)]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of all processors."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used
