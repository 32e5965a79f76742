"""The API as tables, for notebooks and for the dashboard."""

from __future__ import annotations

from pairscope.client.asking import Moment
from pairscope.client.backtests import BacktestRun
from pairscope.client.clients import AsyncClient, Client
from pairscope.client.frames import FrameKind
from pairscope.client.streaming import Update

__all__ = ["AsyncClient", "BacktestRun", "Client", "FrameKind", "Moment", "Update"]
