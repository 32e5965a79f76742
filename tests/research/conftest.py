"""Markets made on purpose: some with pairs in them, some without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

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
