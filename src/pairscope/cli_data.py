"""The commands that move data: out of the store, into it, and to where old days are kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pairscope.cli_shared import DataDir, Debug, load, quiet, say

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def export(
    *,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="Of these, comma-separated; by default all that are stored.")
    ] = None,
    timeframe: Annotated[str, typer.Option("--timeframe", help="tick, or 1s to 1d.")] = "1m",
    start: Annotated[str | None, typer.Option("--start", help="Included, ISO 8601 or ms.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Not included (default: now).")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File or folder; else standard output.", metavar="PATH")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, parquet, arrow or jsonl (default: by the file's name).")
    ] = None,
    compression: Annotated[str | None, typer.Option("--compression", help="none, gzip or zstd (likewise).")] = None,
    columns: Annotated[str, typer.Option("--columns", help="contract, or all that is stored.")] = "contract",
    pair: Annotated[
        str | None, typer.Option("--pair", help="Hedge ratio, spread and z-score bar by bar.", metavar="Y,X")
    ] = None,
    lookback: Annotated[int, typer.Option("--lookback", help="Of a pair: bars that it is fitted on.")] = 1440,
    window: Annotated[int, typer.Option("--window", help="Of a pair: bars of the z-score.")] = 60,
    method: Annotated[str, typer.Option("--method", help="Of a pair: ols, huber or kalman.")] = "ols",
    price_space: Annotated[str, typer.Option("--price-space", help="Of a pair: log or linear.")] = "log",
    history: Annotated[
        str | None, typer.Option("--history", help="alerts (firings), backtests or paper (trades).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a file that broke off.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Write stored trades or bars, a pair's past, alerts or trades into a file; every number as it was sent."""
    quiet(debug=debug)
    from pairscope.exporting import Asked
    from pairscope.exporting import export as exported

    asked = Asked(
        symbols, timeframe, start, end, format_, compression, columns, pair, lookback, window, method, price_space,
        history, out, resume,
    )  # fmt: skip
    try:
        code = exported(load(data_dir=data_dir), asked, say=say, pipe=sys.stdout.buffer)
    except KeyboardInterrupt:
        say("pairscope: cancelled; what is written so far is kept, --resume goes on" if out else "pairscope: cancelled")
        code = 1
    raise typer.Exit(code)


@commands.command()
def backfill(
    *,
    since: Annotated[str, typer.Option("--since", help="From this time on, ISO 8601 or ms.")],
    until: Annotated[str | None, typer.Option("--until", help="Up to this time (default: now).")] = None,
    symbols: Annotated[str | None, typer.Option("--symbols", help="Of these, comma-separated.")] = None,
    top: Annotated[int | None, typer.Option("--top", min=1, help="Of the N busiest by 24 h quote volume.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of the whole market.")] = False,
    kind: Annotated[str, typer.Option("--kind", help="bars (1m), or trades of the last 48 hours.")] = "bars",
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Fetch history from the exchange, within its limits; what is stored already is not asked for again."""
    quiet(debug=debug)
    from pairscope.backfilling import Asked
    from pairscope.backfilling import backfill as backfilled

    asked = Asked(symbols, since, until, kind, top, every, as_json)
    try:
        code = backfilled(load(data_dir=data_dir), asked, say=say, show=typer.echo)
    except KeyboardInterrupt:
        say("pairscope: cancelled; what is stored so far is kept, and the same command goes on from there")
        code = 1
    raise typer.Exit(code)


@commands.command("archive")
def archive_days(
    *,
    before: Annotated[str | None, typer.Option("--before", help="Days that end by this date, like 2026-01-31.")] = None,
    older_than: Annotated[
        int | None, typer.Option("--older-than", help="Days before today by more than so many.", metavar="DAYS")
    ] = None,
    symbols: Annotated[str | None, typer.Option("--symbols", help="Of these only, comma-separated.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder or address (default: PAIRSCOPE_ARCHIVE_URL).", metavar="URL")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be moved, and move nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Move old days to Parquet by date and symbol, read in place; without a date as PAIRSCOPE_ARCHIVE_DAYS has it."""
    quiet(debug=debug)
    from pairscope.archiving import Asked, archive

    asked = Asked(before, older_than, symbols, to, dry_run, as_json)
    try:
        code = archive(load(data_dir=data_dir), asked, say=say, show=typer.echo)
    except KeyboardInterrupt:
        say("pairscope: interrupted; what was moved is moved, the rest is where it was")
        code = 1
    raise typer.Exit(code)


@commands.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="Files or folders: bars of one's own, exports, or the exchange's archive.")
    ],
    *,
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="Whose bars these are, unless a column says it.")
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="Length of the bars (default: their commonest distance).")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Store the good rows of a file that has bad ones.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come of it, and store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Read in bars of one's own, exported trades and bars, or the exchange's archive; each file whole or not at all."""
    quiet(debug=debug)
    from pairscope.importing import Asked, import_files

    asked = Asked(paths, symbol, timeframe, partial, dry_run, as_json)
    try:
        code = import_files(load(data_dir=data_dir), asked, say=say, show=typer.echo)
    except KeyboardInterrupt:
        say("pairscope: interrupted; files that were told of are stored, the same command goes on from there")
        code = 1
    raise typer.Exit(code)
