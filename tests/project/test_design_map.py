"""``docs/design_map.md`` is true: what is built exists, what is not does not, no noun of the design is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAP = ROOT / "docs" / "design_map.md"

NOUNS = """
Binance WebSocket API | `wss://fstream.binance.com/` | trade events {symbol, timestamp, price, size}
WebSocket connection (persistent, auto-reconnect)
backend (FastAPI) | port 8000 | Python 3.11 | Uvicorn ASGI server
`websocket_client.py` | manages multiple symbol streams | handles reconnection logic | parses incoming tick data
registers callbacks for processing
`data_processor.py` | `process_tick(tick_data)` | `update_rolling_stats()` | `check_alerts()`
`calculate_pair_analytics()` | `run_backtest()`
`tick_storage.py` | store ticks | resample OHLCV | query by symbol | time-series ops
`price_stats.py` | `regression.py` | OLS | Kalman filter | Robust (Huber) | `mean_reversion.py` | `statistical_tests.py`
ADF test | cointegration | `backtest.py` | entry/exit logic | P&L calculation
`GET /api/price/{symbol}` | `GET /api/ohlc/{symbol}` | `GET /api/analytics/symbol` | `GET /api/analytics/pair`
`POST /api/backtest` | `POST /api/alerts` | `GET /api/alerts/triggered` | `GET /api/export/{symbol}`
`POST /api/upload/ohlc` | `GET /api/stats` | `WS /ws/updates` | `GET /api/health`
PostgreSQL database (primary storage) | port 5432 | `postgres:15` image | table `tick_data`
columns id, symbol, timestamp, price, size | table `resampled_data`
columns timeframe, open, high, low, close, volume | index (symbol, timestamp) | index timeframe | partitioning by day
Redis cache | port 6379 | `redis:7-alpine` image | key `price:{symbol}` | key `stats:{symbol}:{win}`
key `alert:{symbol}:{id}` | key `alerts:triggered` | key `symbols` (set) | TTL prices: 1 hour | TTL stats: 5 minutes
TTL alerts: 24 hours | hashes, lists, sets
frontend (Streamlit) | port 8501 | dashboard layout (`app.py`)
tab 1: Price Monitor | real-time price charts (Plotly) | multi-symbol candlestick charts | volume analysis
technical indicators
tab 2: Pair Analytics | symbol pair selection | hedge ratio comparison (OLS, Kalman, Robust) | spread charts & z-score
rolling correlation heatmap | statistical tests (ADF, cointegration) in the tab
tab 3: Backtesting | parameter configuration (entry/exit z-scores, stop loss) | run backtest button
performance metrics table (total return, Sharpe, drawdown) | equity curve chart | trade history table
tab 4: Alerts & Monitoring | create alert form (type, threshold, condition) | active alerts list
triggered alerts feed (real-time updates)
tab 5: Data Management | export data (CSV), date range and timeframe selector | upload OHLC data (CSV/JSON)
system statistics (tick count, symbols, uptime)
auto-refresh every 2 seconds | zoom, pan, hover on all charts | responsive layout | custom CSS styling
(1) tick data stream | parse & validate | (2) callback invoke | (3) store | (4) cache | (5) query | (6) read
(7) HTTP requests, JSON responses | fetch data, render charts, user interactions
WSS (WebSocket Secure) | JSON trade events | exponential backoff | async event-driven, asyncio event loop
callback chain: WebSocket, processor, storage, cache | asyncpg | batch inserts | indexing: timestamp + symbol
Redis sub-millisecond reads | TTL policy | Pub/Sub: alert notifications | REST: synchronous requests for data
WebSocket: real-time push | rate limiting | polling every 2 seconds | lazy loading: only fetch visible data
browser-side caching
load balancer (Nginx) | backend 1, 2, 3 | PostgreSQL primary + replicas | increase PostgreSQL `shared_buffers`
Redis replicas for read scaling | connection pooling (pgbouncer) | indexes for common queries
partition tick_data by symbol or date | TimescaleDB | archive old data to cold storage
no authentication (local deployment) | CORS enabled for all origins | no HTTPS/TLS (localhost)
API auth: JWT tokens or API keys | database: SSL connections, strong passwords
HTTPS: TLS certificates for all endpoints | rate limiting: prevent abuse | input validation: sanitize all inputs
secrets management: environment variables
Python logging module | logs to stdout (Docker logs) | error tracking in exceptions | APM (e.g. DataDog)
log aggregation (ELK stack or Splunk) | metrics: Prometheus | Grafana | alerts for critical issues (PagerDuty)
health checks: /api/health endpoint
Docker Compose on a single host | data volumes for persistence | internal Docker network | Kubernetes cluster
separate pods for each service | auto-scaling based on load | persistent volumes for databases
ingress for load balancing | ConfigMaps for configuration
choice: FastAPI | choice: PostgreSQL | choice: Redis | choice: Streamlit | choice: Docker | choice: Docker Compose
real-time data ingestion | multi-timeframe analysis | advanced analytics | interactive visualization
alerting system | data export/import | extensibility | scalability
"""
"""Every noun of the design, typed in from it and not from the map."""


class Row(NamedTuple):
    """One line of the map."""

    noun: str
    targets: tuple[str, ...]
    state: str

    @property
    def built(self) -> bool:
        return self.state == "built" or self.state.startswith(("built;", "built otherwise: ", "built as "))


def rows() -> list[Row]:
    found = []
    for line in MAP.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "in the design":
            assert len(cells) == 3, line
            found.append(Row(cells[0], tuple(re.findall(r"`([^`]+)`", cells[1])), cells[2]))
    return found


ROWS = rows()


def test_every_noun_of_the_design_has_one_row_and_no_row_is_made_up() -> None:
    nouns = [noun.strip() for line in NOUNS.strip().splitlines() for noun in line.split(" | ")]
    assert sorted(row.noun for row in ROWS) == sorted(nouns)


def test_every_row_says_where_and_in_which_state() -> None:
    assert [row.noun for row in ROWS if not row.targets] == []
    states = {row.noun: row.state for row in ROWS if not row.built}
    waits = re.compile(r"not built yet: waits for \w.*")
    assert {noun: state for noun, state in states.items() if not waits.fullmatch(state)} == {}


def test_what_is_called_built_exists() -> None:
    missing = [f"{row.noun}: {target}" for row in ROWS if row.built for target in row.targets if not exists(target)]
    assert missing == [], "\n".join(missing)


def test_what_is_called_not_built_does_not_exist() -> None:
    """Else the map is behind."""
    there = [f"{row.noun}: {target}" for row in ROWS if not row.built for target in row.targets if exists(target)]
    assert there == [], "\n".join(there)


def test_an_endpoint_that_is_called_built_has_its_path_in_one_of_the_files() -> None:
    for row in ROWS:
        if row.built and row.noun.startswith(("`GET ", "`POST ", "`WS ")):
            path = row.noun.strip("`").split(" ")[1]
            texts = [place(target.partition("::")[0]) for target in row.targets]
            assert any(f'"{path}"' in file.read_text(encoding="utf-8") for file in texts if file is not None), row.noun


def test_the_map_notices_what_is_not_there() -> None:
    assert exists("market/bars.py::BarBatch.vwap")
    assert exists("pyproject.toml")
    assert not exists("market/bars.py::BarBatch.colour")
    assert not exists("market/bars.py::vwap_of_nothing")
    assert not exists("market/nowhere.py")


def place(path: str) -> Path | None:
    """The file or folder that a path of the map means."""
    return next((p for p in (ROOT / "src" / "pairscope" / path, ROOT / path) if p.exists()), None)


def exists(target: str) -> bool:
    """Whether ``path`` or ``path::name`` is there; a name is one of the syntax tree's, or a table."""
    path, _, name = target.partition("::")
    found = place(path)
    if found is None or not name:
        return found is not None
    text = found.read_text(encoding="utf-8")
    if found.suffix == ".sql":
        return re.search(rf"^CREATE (TABLE|VIEW) {re.escape(name)}\b", text, re.MULTILINE) is not None
    scope: list[ast.AST] = [ast.parse(text)]
    for part in name.split("."):
        scope = [node for outer in scope for node in definitions(outer) if name_of(node) == part]
    return bool(scope)


def definitions(outer: ast.AST) -> list[ast.AST]:
    """What a module, class or function defines directly in its body."""
    body: list[ast.AST] = getattr(outer, "body", [])
    return [node for node in body if name_of(node)]


def name_of(node: ast.AST) -> str:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return ""
