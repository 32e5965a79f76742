"""Settings: every ``PAIRSCOPE_…`` variable, read once, each with its meaning."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["Settings", "spool_name"]

_Names = Annotated[tuple[str, ...], NoDecode]
_Port = Annotated[int, Field(ge=0, le=65535)] | Literal["auto"]


def spool_name(store_url: str) -> str:
    """Return the name of a store's spool directory under the data directory.

    >>> spool_name("duckdb:///data/pairscope.duckdb")
    'spool-d4f0a920'
    """
    return f"spool-{hashlib.sha256(store_url.encode()).hexdigest()[:8]}"


class Settings(BaseSettings):
    """What the environment, a ``.env`` file and the command line decide. Immutable once made."""

    model_config = SettingsConfigDict(
        env_prefix="PAIRSCOPE_", env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    data_dir: Path = Field(Path("data"), description="Where the store and its spool live.")
    database_url: str = Field(
        "", description="`duckdb:///path` (default: under the data directory) or `postgresql://…`."
    )
    database_replica_url: str = Field(
        "", description="Server mode: a read replica of the PostgreSQL server, `postgresql://…`; unset: none."
    )
    database_pool: int = Field(
        10, ge=2, le=200, description="Server mode: connections to PostgreSQL that one process holds at most."
    )
    redis_url: str = Field("", description="`redis://…`; unset: cache and bus in process.")
    redis_replica_url: str = Field("", description="Server mode: a replica of Redis to read from; unset: none.")
    stall_seconds: float = Field(10.0, gt=0, description="Silence of the feed that counts as a stall.")
    exchange_ws_url: str = Field("wss://fstream.binance.com", description="The exchange's WebSocket, without a route.")
    exchange_rest_url: str = Field("https://fapi.binance.com", description="The exchange's REST.")
    symbols: _Names = Field((), description="Symbols to follow, comma-separated; unset: the busiest `top`.")
    pairs: _Names = Field((), description="Pairs to put on the watch-list, like `ETHUSDT:BTCUSDT`, comma-separated.")
    screen: _Names = Field(
        ("1m:1440", "5m:2016", "1h:1000"),
        description="Screens kept up to date, each a timeframe and bars, comma-separated; empty: none.",
    )
    screen_surrogates: int = Field(
        20,
        ge=0,
        le=200,
        description="Surrogate markets a day and screen kept up to date, for the market's own null; 0: none.",
    )
    top: int = Field(20, ge=1, le=1000, description="How many symbols to follow, by 24 h quote volume.")
    all_symbols: bool = Field(False, description="Follow the whole market.")
    source: Literal["auto", "live", "replay", "synthetic"] = Field(
        "auto", description="auto: live where the exchange answers, else synthetic."
    )
    replay: _Names = Field((), description="Recordings to play, comma-separated, with source `replay`.")
    synthetic: str = Field("", description="The synthetic market's options, like `seed=7,symbols=600,rate=6000`.")
    speed: str = Field("1", description="How fast a replay or the synthetic market runs: a factor, or `max`.")
    retry_live: bool = Field(
        False, description="After a fall-back to the synthetic market, go live when the exchange is back."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    dashboard_host: str = Field("127.0.0.1", description="Address that the dashboard listens on.")
    port: _Port = Field(8000, description="Port of the API; `auto` takes the next free one.")
    dashboard_port: _Port = Field(8501, description="Port of the dashboard; `auto` takes the next free one.")
    api_url: str = Field(
        "", description="Server mode: how the dashboard's own server reaches the API; unset: at `host` and `port`."
    )
    advertise_url: str = Field(
        "", description="Server mode: how other replicas reach this one; unset: by its host name and port."
    )
    shard: str = Field("0/1", description="Server mode: which share of the symbols `ingest` follows, `i/n` from 0 on.")
    ingest_port: _Port = Field(
        8010, description="Port of an ingest process's health and metrics; `auto` takes the next free one."
    )
    standby_seconds: float = Field(
        60.0, gt=0, le=600, description="Server mode: how much of its stream a standby remembers to take over with."
    )
    api_keys: _Names = Field(
        (), description="Comma-separated `sha256:<hex of the key>`; unset: no key asked, loopback only."
    )
    dashboard_key: str = Field(
        "", description="The key that the dashboard's own server sends where keys are asked for."
    )
    jwt_secret: str = Field("", description="Secret of the short-lived WebSocket tickets; unset: made at start.")
    cors_origins: _Names = Field((), description="Origins that a browser may call from; default the dashboard's own.")
    public_api_url: str = Field(
        "", description="How a viewer's browser reaches the API; default the page's host and the API's port."
    )
    rate_limit: str = Field("", description="Like `600/minute`; unset: none on loopback.")
    retention_days: int = Field(
        0, ge=0, description="Days to keep of ticks and the bars made of them, besides today; 0 keeps all."
    )
    retention_gb: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Gigabytes that store and archive may take, the oldest days go; 0: any.",
    )
    archive_days: int = Field(
        0, ge=0, description="Days behind which days are moved to the archive; 0: none by itself."
    )
    archive_url: str = Field(
        "", description="Where the archive is: a directory, or what fsspec reaches; default `archive` beside the store."
    )
    upload_mb: int = Field(64, ge=1, le=1024, description="Megabytes that an uploaded file of bars may have.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: Literal["console", "json"] = Field("console", description="How a log line looks.")
    otlp_endpoint: str = Field(
        "", description="Where traces go, like `http://collector:4318`; unset: nowhere. Needs the extra `telemetry`."
    )
    cluster_url: str = Field("", description="`tcp://…` of a Dask scheduler for screens and sweeps.")
    flush_ms: int = Field(25, ge=5, le=1000, description="How long the feed gathers ticks before it hands them on.")
    lateness_ms: int = Field(
        300, ge=0, le=60_000, description="How far behind the newest event time the watermark stays."
    )
    history_minutes: int = Field(2940, ge=0, le=20_000, description="Closed one-minute bars to fetch for a new symbol.")
    queue_batches: int = Field(512, ge=4, description="Batches that may wait for the store before the feed is slowed.")
    alert_private_targets: bool = Field(
        False, description="Let alerts be sent to the own network, to servers of one's own, and by http."
    )
    webhook_secret: str = Field(
        "",
        description="Signs webhooks, `whsec_…`; unset: the one in `webhook.secret`, made at first start.",
    )
    spool_mb: int = Field(1024, ge=1, description="Ticks on disk while the store refuses, at most.")

    @field_validator("symbols", "pairs", "screen", "replay", "api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Read a comma-separated list."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("pairs")
    @classmethod
    def _pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Accept pairs of two different symbols, in any case."""
        pairs = tuple(pair.upper() for pair in value)
        for pair in pairs:
            y, _, x = (part.strip() for part in pair.partition(":"))
            if not y or not x or ":" in x or y == x:
                raise ValueError("each must be two different symbols, like ETHUSDT:BTCUSDT")
        return pairs

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        """Accept a level in any case."""
        level = value.lower()
        if level not in {"debug", "info", "warning", "error"}:
            raise ValueError("must be debug, info, warning or error")
        return level

    @property
    def store_url(self) -> str:
        """The store's address, with its default filled in."""
        return self.database_url or f"duckdb:///{self.data_dir / 'pairscope.duckdb'}"
