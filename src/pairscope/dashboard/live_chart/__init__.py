"""The live views: candlesticks, price cards and the status line, drawn in the browser from the API's own stream."""

from __future__ import annotations

from pairscope.dashboard.live_chart.component import LiveApi, live_view

__all__ = ["LiveApi", "live_view"]
