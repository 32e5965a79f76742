"""The same screen on threads and on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pairscope.errors import ConfigError
from pairscope.research.executor import open_executor
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import COLUMNS

Walks = Callable[..., tuple[np.ndarray, list[str]]]


def test_threads_are_as_many_as_asked_for_and_end_with_their_block() -> None:
    with open_executor(threads=2) as executor:
        barrier = threading.Barrier(2)
        futures = [executor.submit(barrier.wait, 10.0) for _ in range(2)]
        assert {future.result() for future in futures} == {0, 1}
    with pytest.raises(RuntimeError):
        executor.submit(int)


def test_a_cluster_that_cannot_be_had_is_told_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="Dask"), open_executor("tcp://127.0.0.1:9"):
        pass


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, each a process: the address, and the workers."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'pairscope[cluster]'")
    told = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    roles = [
        ["scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(told)],
        *[["worker", "--scheduler-file", str(told), "--nthreads", "1", "--no-dashboard", "--no-nanny"]] * 2,
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "dask", *role], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        for role in roles
    ]
    try:
        from distributed import Client
        from distributed.utils import json_load_robust

        address = json_load_robust(str(told), timeout=60.0)["address"]  # waits until all of it is written
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_cluster_gives_the_same_bits_also_when_a_worker_dies(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], walks: Walks
) -> None:
    address, workers = cluster
    prices, symbols = walks(300, 250, 1)
    here = screen_pairs(prices, symbols)

    def kill_one(done: int, _: int) -> None:
        if done == 3:
            workers[0].kill()

    for progress in (None, kill_one):
        with open_executor(address) as executor:
            there = screen_pairs(prices, symbols, executor=executor, progress=progress)
        assert all(here[name].tobytes() == there[name].tobytes() for name in COLUMNS)
    assert workers[0].wait(10) != 0
