"""ccxt.pro: watch_trades on aggTrade, and fetch_trades from an id."""

import asyncio
import json
import sys

import ccxt.pro


async def main(port: str, symbol: str, count: int) -> None:
    exchange = ccxt.pro.binanceusdm(
        {
            "options": {
                "fetchMarkets": {"types": ["linear"]},
                "watchTrades": {"name": "aggTrade"},
                "fetchCurrencies": False,
            }
        }
    )
    exchange.urls["api"]["ws"]["linear"] = f"ws://127.0.0.1:{port}/ws"
    for version, path in (("fapiPublic", "v1"), ("fapiPublicV2", "v2"), ("fapiPublicV3", "v3")):
        exchange.urls["api"][version] = f"http://127.0.0.1:{port}/fapi/{path}"
    await exchange.load_markets()
    name = next(market["symbol"] for market in exchange.markets.values() if market["id"] == symbol)
    streamed = []
    while len(streamed) < count:
        trades = await exchange.watch_trades(name)
        streamed += [int(trade["id"]) for trade in trades]
    streamed = sorted(set(streamed))
    rows = await exchange.fetch_trades(
        name, limit=count, params={"fromId": streamed[0], "fetchTradesMethod": "fapiPublicGetAggTrades"}
    )
    await exchange.close()
    print(json.dumps({"streamed": streamed, "fetched": [int(row["id"]) for row in rows]}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
