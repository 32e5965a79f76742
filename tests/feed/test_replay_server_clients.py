"""Clients as their makers ship them receive aggTrades from the replay server, over WebSocket and REST.

They live in an environment of their own, made from ``clients/requirements.lock`` on the first run.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pairscope.feed.replay_server import serve
from pairscope.feed.replay_source import SyntheticSource
from pairscope.feed.synthetic import SyntheticMarket

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
LOCK = CLIENTS / "requirements.lock"
ENVIRONMENT = ROOT / ".venv-clients"
UNREACHABLE = ("Failed to fetch", "error sending request", "client error", "timed out", "dns error", "not found in the")
COUNT = 20


@pytest.fixture(scope="session")
def client_python() -> Path:
    """Return the interpreter of an environment that holds exactly what the lock says."""
    with (ROOT / ".venv-clients.lock").open("w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)  # two runs in one place would make it at once
        return made_environment()


def made_environment() -> Path:
    """Make the environment where it is not there yet."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "made-from"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        pytest.skip("uv is not here to make the clients' environment")
    for arguments in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
        ["pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes", "-r", str(LOCK)],
    ):
        run = subprocess.run([uv, *arguments], capture_output=True, text=True, check=False)
        if run.returncode and any(part in run.stderr for part in UNREACHABLE):
            pytest.skip(f"no package index is reachable: {run.stderr.strip().splitlines()[-1]}")
        assert run.returncode == 0, run.stderr
    stamp.write_text(digest)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("client", ["official_sdk", "python_binance", "ccxt_pro", "unicorn"])
async def test_an_unmodified_client_receives_agg_trades_over_websocket_and_rest(client: str, client_python: Path):
    server = await serve(SyntheticSource(SyntheticMarket(seed=7, symbols=5)))
    arguments = str(client_python), str(CLIENTS / f"{client}.py"), str(server.port), "BTCUSDT", str(COUNT)
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=quiet
    )
    try:
        async with asyncio.timeout(90):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        printed = server.truth()
        await server.close()
    assert process.returncode == 0, err.decode()
    told = json.loads(out.decode().strip().splitlines()[-1])
    true_ids = printed.agg_id[printed.symbol_id == 0].tolist()
    streamed = told["streamed"]
    assert len(streamed) >= COUNT
    begin = true_ids.index(streamed[0])
    assert streamed == true_ids[begin : begin + len(streamed)]
    assert told["fetched"] == true_ids[begin : begin + COUNT]
