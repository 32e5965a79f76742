"""The commands of server mode: the parts of ``pairscope run``, each as a process of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from pairscope.cli_shared import All, DataDir, Debug, Symbols, Top, load, say

__all__ = ["server"]

server = typer.Typer()

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]


@server.command()
def ingest(
    *,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Which share of the symbols, i/n, from 0 on.", metavar="I/N")
    ] = None,
    symbols: Symbols = None,
    top: Top = None,
    all_symbols: All = False,
    host: Host = None,
    port: Annotated[str | None, typer.Option("--port", help="Port of health and metrics, or auto.")] = None,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Server mode: follow a shard of the market into PostgreSQL and Redis, or stand by to take over."""
    from pairscope.wiring.ingest import run_ingest

    settings = load(
        shard=shard,
        symbols=symbols,
        top=top,
        all_symbols=all_symbols or None,
        host=host,
        ingest_port=port,
        data_dir=data_dir,
        log_level="debug" if debug else None,
    )
    raise typer.Exit(run_ingest(settings))


@server.command()
def api(
    *,
    host: Host = None,
    port: Annotated[str | None, typer.Option("--port", help="Port of the API, or auto.")] = None,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Server mode: answer requests and WebSockets from PostgreSQL and Redis, as one of any number of replicas."""
    from pairscope.wiring.replica import run_api

    settings = load(host=host, port=port, data_dir=data_dir, log_level="debug" if debug else None)
    raise typer.Exit(run_api(settings))


@server.command()
def dashboard(
    *,
    host: Host = None,
    port: Annotated[str | None, typer.Option("--port", help="Port of the dashboard, or auto.")] = None,
    api_url: Annotated[
        str | None, typer.Option("--api-url", help="Where the API is (default: at PAIRSCOPE_HOST and _PORT).")
    ] = None,
    debug: Debug = False,
) -> None:
    """Serve the dashboard alone, with an API that runs elsewhere."""
    from pairscope.launch import run_dashboard

    settings = load(dashboard_host=host, dashboard_port=port, api_url=api_url, log_level="debug" if debug else None)
    raise typer.Exit(run_dashboard(settings, say=say))
