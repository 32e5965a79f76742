"""Markets made on purpose: some with pairs in them, some without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pairscope.research.pair_bars import PairBars, pair_bars_from_closes

START = 1_748_736_000_000_000_000
MINUTE = 60_000_000_000

Market = tuple[np.ndarray, list[str]]


@pytest.fixture(scope="session")
def walks() -> Callable[..., Market]:
    """Prices of independent symbols, with ``pairs`` pairs planted: symbol 2i + 1 is 2i and a spread that reverts."""

    def made(bars: int, size: int, seed: int, pairs: int = 0, noise: float = 5e-4) -> Market:
        rng = np.random.default_rng(seed)
        logs = np.cumsum(rng.standard_normal((bars, size)), axis=0) * 1e-3
        for i in range(pairs):
            spread = np.convolve(rng.standard_normal(bars + 200), 0.9 ** np.arange(200))[200 : 200 + bars]
            logs[:, 2 * i + 1] = rng.uniform(0.5, 2.0) * logs[:, 2 * i] + noise * spread
        return np.exp(logs + rng.uniform(-3.0, 9.0, size)), [f"S{i}USDT" for i in range(size)]

    return made


@pytest.fixture(scope="session")
def pair_of() -> Callable[..., PairBars]:
    """A pair's minute bars: two independent walks, or with ``tie`` y is 1.2 x and a spread that reverts by it a bar."""

    def made(bars: int, seed: int, tie: float | None = None, size: float = 1e-3, spread: float = 1e-3) -> PairBars:
        rng = np.random.default_rng(seed)
        x, noise = np.cumsum(rng.standard_normal(bars)) * size, rng.standard_normal(bars)
        y = np.cumsum(noise) * size
        if tie is not None:
            strayed = 0.0
            for t in range(bars):
                strayed = tie * strayed + spread * noise[t]
                y[t] = 1.2 * x[t] + strayed
        times = START + MINUTE * np.arange(bars)
        return pair_bars_from_closes(times, 50 * np.exp(y), 100 * np.exp(x), timeframe="1m", y="AUSDT", x="BUSDT")

    return made
