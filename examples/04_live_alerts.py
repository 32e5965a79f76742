"""Be told when a spread strays, and watch the market live while you wait. Ten updates, then an end.

    python examples/04_live_alerts.py [http://127.0.0.1:8000]

needs a running instance. This one is asynchronous: the same calls, awaited.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from pairscope import AsyncClient

Y, X = "ETHUSDT", "BTCUSDT"


async def main() -> None:
    async with AsyncClient(*sys.argv[1:], timeout=60) as api:
        # A threshold that holds already fires at once, so that there is something to see.
        price = (await api.price(X))["price"]
        low = await api.create_alert("price", "above", price * 0.99, symbol=X, once=True, note="an example")
        far = await api.create_alert("zscore", "crosses_above", 2.0, y=Y, x=X, timeframe="1m", window=60)
        print(f"watching: {low['condition']} {low['threshold']:.1f}; and {far['type']} {far['condition']}")

        # `since` sends what was told before we listened; a connection that breaks is made again by itself.
        topics = [f"price:{X}", f"bar:{X}:1m", "alerts", "stats"]
        heard, told = 0, False
        async with aclosing(api.stream(topics, since=0)) as updates:
            async for update in updates:
                if update.topic == "alerts" and update.data["alert_id"] == low["id"]:
                    print(f"alert: {update.data['message']}")
                    told = True
                elif update.topic.startswith("price"):
                    print(f"{X} {update.data['price']}")
                heard += 1
                if told and heard >= 10:
                    break

        for alert in (low, far):
            await api.delete_alert(alert["id"])
        history = await api.triggered(limit=3)
        print(f"{len(history)} alerts in the history, the newest at {history['timestamp'].max():%H:%M:%S} UTC")


asyncio.run(main())
