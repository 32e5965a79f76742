"""unicorn-binance-websocket-api: a stream of its manager, and aggTrades through its REST sibling."""

import json
import sys
import time

from unicorn_binance_rest_api import BinanceRestApiManager
from unicorn_binance_websocket_api import BinanceWebSocketApiManager


def main(port: str, symbol: str, count: int) -> None:
    manager = BinanceWebSocketApiManager(
        exchange="binance.com-futures",
        websocket_base_uri=f"ws://127.0.0.1:{port}/",
        restful_base_uri=f"http://127.0.0.1:{port}/",
        warn_on_update=False,
    )
    manager.create_stream(["aggTrade"], [symbol.lower()], output="dict")
    streamed = []
    deadline = time.monotonic() + 30
    while len(streamed) < count and time.monotonic() < deadline:
        message = manager.pop_stream_data_from_stream_buffer()
        if not message:
            time.sleep(0.01)
        elif message.get("data", {}).get("e") == "aggTrade":
            streamed.append(message["data"]["a"])
    manager.stop_manager()
    BinanceRestApiManager.API_URL = f"http://127.0.0.1:{port}/api"
    BinanceRestApiManager.FUTURES_URL = f"http://127.0.0.1:{port}/fapi"
    rest = BinanceRestApiManager(tld="com", warn_on_update=False)
    rows = rest.futures_aggregate_trades(symbol=symbol, fromId=streamed[0], limit=count)
    print(json.dumps({"streamed": streamed, "fetched": [row["a"] for row in rows]}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
