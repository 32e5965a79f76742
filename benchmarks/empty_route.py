"""The peer of ``/api/price``: a FastAPI application with one empty route, on the same server with the same settings."""

from __future__ import annotations

import asyncio
import json
import sys

from fastapi import FastAPI

from pairscope.api.server import make_server
from pairscope.process import loop_factory

app = FastAPI()


@app.get("/")
async def empty() -> dict[str, str]:
    return {}


async def main() -> None:
    server = make_server(app, host="127.0.0.1", port=int(sys.argv[1]))
    sys.stdout.write(json.dumps({"port": int(sys.argv[1])}) + "\n")
    sys.stdout.flush()
    await server.serve()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
