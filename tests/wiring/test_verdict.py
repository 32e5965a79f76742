"""Which part ended by itself, and why: told once, with the exit code of a failure."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from pairscope.errors import ConfigError
from pairscope.wiring.verdict import until_one_ends


async def for_ever() -> None:
    await asyncio.Event().wait()


async def taken() -> None:
    raise ConfigError("nothing can be served on 127.0.0.1:8000", hint="look for who has the port by now")


async def test_a_server_that_ended_by_itself_is_told_with_its_reason() -> None:
    working, serving, asked = (asyncio.create_task(work()) for work in (for_ever, taken, for_ever))
    with capture_logs() as told:
        assert await until_one_ends(working, serving, asked) == 1
    [line] = told
    assert line["event"] == "the server ended"
    assert line["error"] == "nothing can be served on 127.0.0.1:8000: look for who has the port by now"
    for task in (working, asked):
        task.cancel()
    await asyncio.gather(working, asked, return_exceptions=True)
