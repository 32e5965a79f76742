"""python-binance: a futures socket with the stream in its address, and aggTrades over REST."""

import asyncio
import json
import sys

from binance import AsyncClient, BinanceSocketManager


async def main(port: str, symbol: str, count: int) -> None:
    client = AsyncClient()
    client.FUTURES_URL = f"http://127.0.0.1:{port}/fapi"
    manager = BinanceSocketManager(client)
    manager.FSTREAM_URL = f"ws://127.0.0.1:{port}/"
    streamed = []
    async with manager.aggtrade_futures_socket(symbol.lower()) as socket:
        while len(streamed) < count:
            message = await socket.recv()
            streamed.append(message["data"]["a"])
    rows = await client.futures_aggregate_trades(symbol=symbol, fromId=streamed[0], limit=count)
    await client.close_connection()
    print(json.dumps({"streamed": streamed, "fetched": [row["a"] for row in rows]}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
