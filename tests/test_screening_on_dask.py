"""The command on a Dask cluster: the same table as on threads, bit for bit, also when a worker dies on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pairscope import screening
from pairscope.config import Settings
from pairscope.errors import ConfigError
from pairscope.research import executor
from pairscope.screening import Asked, ClusterFailed, Meter, screen

BARS, SIZE = 300, 250

Process = subprocess.Popen[bytes]
Start = Callable[..., tuple[str, Process, list[Process]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a scheduler and workers, each in a process of its own: the address, the scheduler, the workers."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'pairscope[cluster]'")
    folder = tmp_path / "cluster"
    folder.mkdir()
    told = folder / "scheduler.json"
    processes: list[Process] = []

    def role(*words: str) -> Process:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(told), "--no-dashboard"]
        processes.append(subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL))
        return processes[-1]

    def started(workers: int) -> tuple[str, Process, list[Process]]:
        scheduler = role("scheduler", "--port", "0", "--host", "127.0.0.1")
        hands = [role("worker", "--nthreads", "1", "--no-nanny") for _ in range(workers)]
        from distributed import Client
        from distributed.utils import json_load_robust

        address = str(json_load_robust(str(told), timeout=60.0)["address"])  # waits until all of it is written
        with Client(address, set_as_default=False) as client:
            if workers:
                client.wait_for_workers(workers, timeout=60)
        return address, scheduler, hands

    yield started
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A market of five blocks: fifteen tiles."""
    logs = np.cumsum(np.random.default_rng(3).standard_normal((BARS, SIZE)), axis=0) * 1e-3
    names = pa.array([f"S{i}USDT" for i in range(SIZE)])
    columns = {
        "timestamp": np.repeat(1_741_257_000_000 + 60_000 * np.arange(BARS), SIZE),
        "symbol": pa.DictionaryArray.from_arrays(np.tile(np.arange(SIZE, dtype=np.int32), BARS), names),
        "close": np.exp(logs).ravel(),
    }
    path = tmp_path / "bars.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def written(file: Path, name: str, cluster: str | None = None) -> pa.Table:
    out = file.with_name(f"{name}.parquet")
    asked = Asked(bars=file, out=out, limit=1, cluster=cluster)
    assert screen(Settings(data_dir=file.parent), asked, say=lambda _: None, show=lambda _: None) == 0
    return pyarrow.parquet.read_table(out)


def killing(victim: Process, done_then: list[int]) -> type[Meter]:
    """A meter that kills a process once two of fifteen tiles are done, and keeps count from there."""

    class Killing(Meter):
        def of(self, what: str) -> Callable[[int, int], None]:
            def told(done: int, of: int) -> None:
                assert of == 15
                if done == 2:
                    victim.kill()
                    victim.wait()
                if done >= 2:
                    done_then.append(done)

            return told

    return Killing


def steps_of_workers(address: str) -> list[int]:
    """How many steps each worker's tasks have made."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        steps = client.run(lambda dask_worker: dask_worker.state.transition_counter)
    return list(steps.values())


@pytest.mark.timeout(300)  # the kernels may have to be compiled first
def test_two_workers_write_the_same_table_as_threads_also_when_one_is_killed(
    file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _, workers = start(2)
    here = written(file, "threads")
    assert here.num_rows == SIZE * (SIZE - 1)
    assert written(file, "workers", address).equals(here)
    assert min(steps_of_workers(address)) > 0, "a worker had nothing to do"
    done_then: list[int] = []
    monkeypatch.setattr(screening, "Meter", killing(workers[0], done_then))
    assert written(file, "killed", address).equals(here)
    assert workers[0].poll() is not None
    assert done_then == [*range(2, 16)]


def test_a_scheduler_that_dies_ends_it_with_one_line_and_without_a_file(
    file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, scheduler, _ = start(1)
    monkeypatch.setattr(screening, "Meter", killing(scheduler, []))
    with pytest.raises(ClusterFailed, match=r"the cluster at tcp://.* could not do it: \w+") as refused:
        written(file, "none", address)
    assert refused.value.loc == "--cluster"
    assert "\n" not in refused.value.line()
    assert not file.with_name("none.parquet").exists()


def test_a_scheduler_without_workers_is_told_and_does_not_hang(
    file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, *_ = start(0)
    monkeypatch.setattr(executor, "_WORKER_S", 1.0)
    with pytest.raises(ClusterFailed, match=r"no worker of tcp://.* took up work within 1 s") as refused:
        written(file, "none", address)
    assert refused.value.loc == "--cluster"


def test_a_cluster_that_cannot_be_reached_names_the_flag(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise OSError("timed out")

    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'pairscope[cluster]'")
    monkeypatch.setattr(distributed, "Client", none)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9") as refused:
        written(file, "none", "tcp://127.0.0.1:9")
    assert refused.value.loc == "--cluster"


def test_without_dask_it_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="Dask is not installed") as refused:
        written(file, "none", "tcp://127.0.0.1:9")
    assert refused.value.loc == "--cluster"
    assert "pairscope[cluster]" in refused.value.line()
