"""An API on a port of its own, in a thread beside the test: for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from pairscope.api.app import ApiOptions, create_app
from pairscope.api.server import make_server
from pairscope.ports import Services

DEADLINE_S = 60


@contextmanager
def served_api(
    services: Services,
    options: ApiOptions | None = None,
    *,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Iterator[str]:
    """Give the address of a server that ends with all its connections; what runs ``beside`` it shares its loop."""
    app = create_app(services, options=options or ApiOptions(stats_period_s=0.1))
    server = make_server(app, host="127.0.0.1", port=0)
    started, failed = threading.Event(), []

    async def serve() -> None:
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        other = None if beside is None else asyncio.create_task(beside())
        started.set()
        await task
        if other is not None:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
            started.set()
            raise

    thread = threading.Thread(target=work, name="served api", daemon=True)
    thread.start()
    assert started.wait(DEADLINE_S)
    assert not failed, failed
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
