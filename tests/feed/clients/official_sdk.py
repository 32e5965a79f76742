"""The official SDK: SUBSCRIBE over its three connections, and aggTrades over REST."""

import asyncio
import json
import sys

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures


async def main(port: str, symbol: str, count: int) -> None:
    client = DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(api_key="", api_secret="", base_path=f"http://127.0.0.1:{port}"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=f"ws://127.0.0.1:{port}"),
    )
    got: asyncio.Queue[int] = asyncio.Queue()
    connection = await client.websocket_streams.create_connection()
    try:
        stream = await connection.aggregate_trade_streams(symbol=symbol.lower())
        stream.on("message", lambda event: got.put_nowait(event.a))
        streamed = [await got.get() for _ in range(count)]
        await stream.unsubscribe()
    finally:
        await connection.close_connection(close_session=True)
    rows = client.rest_api.compressed_aggregate_trades_list(symbol=symbol, from_id=streamed[0], limit=count).data()
    print(json.dumps({"streamed": streamed, "fetched": [row.a for row in rows]}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
