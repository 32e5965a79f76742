"""The application on a socket: what comes of one that cannot be had."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI

from pairscope.api.server import make_server
from pairscope.errors import ConfigError


async def test_a_port_that_was_taken_meanwhile_is_an_error_and_not_the_end_of_the_process() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = make_server(FastAPI(), host="127.0.0.1", port=other.getsockname()[1])
        with pytest.raises(ConfigError, match=f"nothing can be served on 127.0.0.1:{other.getsockname()[1]}"):
            await server.serve()
