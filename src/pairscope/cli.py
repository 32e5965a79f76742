"""The commands: parse, build, run. Exit codes: 0 done, 1 failed, 2 misused."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from pairscope.cli_data import commands
from pairscope.cli_server import server
from pairscope.cli_shared import All, DataDir, Debug, Symbols, Top, load, quiet, say
from pairscope.errors import ConfigError, InputError, PairscopeError, StoreLocked

__all__ = ["app", "main"]

app = typer.Typer(
    name="pairscope",
    help="Real-time pairs analytics for crypto futures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
replay = typer.Typer(name="replay", help="Play recordings as the exchange would.", no_args_is_help=True)
app.add_typer(replay)


def main() -> None:
    """Run the command line."""
    try:
        code = app(prog_name="pairscope", standalone_mode=False)
    except TyperException as error:
        _misused(error)
        raise SystemExit(error.exit_code) from None
    except typer.Abort:
        raise SystemExit(1) from None
    except PairscopeError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        where = f" ({error.loc})" if error.loc and error.loc not in error.line() else ""
        sys.stderr.write(f"pairscope: {error.line()}{where}\n")
        raise SystemExit(2 if isinstance(error, ConfigError | InputError | StoreLocked) else 1) from None
    except BrokenPipeError:
        raise SystemExit(1) from None
    if isinstance(code, int) and code:
        raise SystemExit(code)


def _misused(error: TyperException) -> None:
    """Say in one line what of the command line was not understood; nothing where its help was shown instead."""
    told = error.format_message()
    if told:
        command = getattr(getattr(error, "ctx", None), "command_path", "pairscope")
        sys.stderr.write(f"pairscope: {' '.join(told.split()).rstrip('.')}; `{command} --help` says what there is\n")


@app.command()
def run(
    extra: Annotated[
        list[str] | None, typer.Argument(help="More recordings, after --replay.", metavar="[PATH]...")
    ] = None,
    *,
    symbols: Symbols = None,
    top: Top = None,
    all_symbols: All = False,
    source: Annotated[str | None, typer.Option("--source", help="auto, live, replay or synthetic.")] = None,
    replay_paths: Annotated[list[str] | None, typer.Option("--replay", help="A recording to play.")] = None,
    speed: Annotated[str | None, typer.Option("--speed", help="Of a replay: 1, 10, …, max.")] = None,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option("--host", help="Address that the API listens on.")] = None,
    port: Annotated[str | None, typer.Option("--port", help="Port of the API, or auto.")] = None,
    dashboard_port: Annotated[
        str | None, typer.Option("--dashboard-port", help="Port of the dashboard, or auto.")
    ] = None,
    no_dashboard: Annotated[bool, typer.Option("--no-dashboard", help="API alone.")] = False,
    retry_live: Annotated[bool, typer.Option("--retry-live", help="Go live when the exchange comes back.")] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the dashboard in the browser.")] = False,
    debug: Debug = False,
) -> None:
    """Watch the market: ingest, engine, API on 8000 and dashboard on 8501, in one go."""
    from pairscope.launch import run_everything

    paths = [*(replay_paths or []), *(extra or [])]
    settings = load(
        symbols=symbols,
        top=top,
        all_symbols=all_symbols or None,
        source=source or ("replay" if paths else None),
        replay=tuple(paths) or None,
        speed=speed,
        data_dir=data_dir,
        host=host,
        port=port,
        dashboard_port=dashboard_port,
        retry_live=retry_live or None,
        log_level="debug" if debug else None,
    )
    raise typer.Exit(run_everything(settings, say=say, dashboard=not no_dashboard, open_browser=open_browser))


@app.command(hidden=True)
def backend() -> None:
    """Run ingest, engine and API in this process; everything comes from the environment."""
    from pairscope.wiring.embedded import run_backend

    raise typer.Exit(run_backend(load()))


@replay.command("serve")
def replay_serve(
    paths: Annotated[list[str], typer.Argument(help="Recordings, or synthetic[:seed=7,symbols=600,rate=6000].")],
    *,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="WebSocket and REST; 0 takes a free one.")] = 9443,
    speed: Annotated[str, typer.Option("--speed", help="1, 10, …, max.")] = "1",
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end; trade ids go on.")] = False,
    start: Annotated[str | None, typer.Option("--start", help="Market time to begin at (ISO 8601 or ms).")] = None,
    shift: Annotated[
        bool, typer.Option("--shift/--no-shift", help="Shift event times so that it happens now.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="Begin at once, not with the first subscriber.")] = False,
    fault: Annotated[list[str] | None, typer.Option("--fault", help="drop:0.001, disconnect:30s, stall:60s, …")] = None,
    debug: Debug = False,
) -> None:
    """Speak the exchange's market protocol from recorded or synthetic trades."""
    from pairscope.playback import Playing, serve_replay

    quiet(debug=debug)
    playing = Playing(host, port, speed, loop, start, shift, now, fault or [])
    raise typer.Exit(serve_replay(paths, playing, say=say))


@app.command()
def record(
    path: Annotated[Path, typer.Argument(help="File to write, like market.gz.")],
    *,
    symbols: Symbols = None,
    top: Top = None,
    all_symbols: All = False,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Stop after so long.")] = None,
    debug: Debug = False,
) -> None:
    """Record the live feed as it arrives, to be replayed."""
    from pairscope.playback import record_feed

    settings = load(symbols=symbols, top=top, all_symbols=all_symbols or None, log_level="debug" if debug else None)
    raise typer.Exit(record_feed(settings, path, seconds=seconds, say=say))


@app.command()
def screen(
    *,
    bars: Annotated[
        Path | None, typer.Option("--bars", help="CSV or Parquet, long form timestamp,symbol,close; else the store.")
    ] = None,
    symbols: Annotated[str | None, typer.Option("--symbols", help="Of these only, comma-separated.")] = None,
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="Bars to test (default: 1m; with --bars the file's own).")
    ] = None,
    lookback: Annotated[int, typer.Option("--lookback", help="Newest bars to test.")] = 1440,
    fdr: Annotated[float, typer.Option("--fdr", help="Share of false ones among the discoveries.")] = 0.05,
    sort: Annotated[str, typer.Option("--sort", help="Column to sort by, discoveries first.")] = "qvalue",
    limit: Annotated[int, typer.Option("--limit", help="Rows to show; 0 shows all.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", help="File for all rows, .csv or .parquet.")] = None,
    autolag: Annotated[str, typer.Option("--autolag", help="Lags by aic, bic, t-stat, maic or none.")] = "aic",
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    empirical_null: Annotated[
        int, typer.Option("--empirical-null", help="Surrogate markets to compare with.", metavar="N")
    ] = 0,
    cluster: Annotated[str | None, typer.Option("--cluster", help="Dask scheduler to run on, tcp://host:8786.")] = None,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Test every pair of a universe for cointegration, with the false discoveries kept in check."""
    quiet(debug=debug)
    settings = load(data_dir=data_dir)
    try:
        from pairscope.screening import Asked, screen

        asked = Asked(
            bars, symbols, timeframe, lookback, fdr, sort, limit, out, autolag, as_json, empirical_null, cluster
        )
        code = screen(settings, asked, say=say, show=typer.echo)
    except KeyboardInterrupt:
        say("pairscope: the screen was cancelled; nothing was written")
        code = 1
    raise typer.Exit(code)


@app.command()
def backtest(
    pair: Annotated[list[str] | None, typer.Argument(help="The pair: Y, then X.", metavar="[Y X]")] = None,
    *,
    y: Annotated[str | None, typer.Option("--y", help="The dependent symbol, in place of the first word.")] = None,
    x: Annotated[str | None, typer.Option("--x", help="The hedging symbol, in place of the second word.")] = None,
    bars: Annotated[
        Path | None,
        typer.Option(
            "--bars", help="CSV or Parquet, timestamp,symbol,close (and open,high,low,volume); else the store."
        ),
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="Bars to trade (default: 1m; with --bars the file's own).")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First bar traded, ISO 8601 or ms.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Where trading ends, not included.")] = None,
    hedge: Annotated[str, typer.Option("--hedge", help="ols, huber, kalman, or a number that stands.")] = "ols",
    lookback: Annotated[str, typer.Option("--lookback", help="Bars that the hedge ratio is fitted on.")] = "1440",
    window: Annotated[str, typer.Option("--window", help="Bars of the z-score.")] = "60",
    entry: Annotated[str, typer.Option("--entry", help="z-score from which a position is opened.")] = "2",
    exit_: Annotated[str, typer.Option("--exit", help="z-score within which it is closed.")] = "0.5",
    stop: Annotated[str, typer.Option("--stop", help="z-score from which it is given up, or none.")] = "none",
    max_holding: Annotated[str, typer.Option("--max-holding", help="Bars after which it is closed, or none.")] = "none",
    cooldown: Annotated[str, typer.Option("--cooldown", help="Bars without an entry after a stop.")] = "0",
    notional: Annotated[str, typer.Option("--notional", help="Both legs' value at the entry, in quote.")] = "10000",
    capital: Annotated[str, typer.Option("--capital", help="Base of returns, or none: the notional.")] = "none",
    fee_bps: Annotated[
        str, typer.Option("--fee-bps", help="Fee of each leg's traded value; 4/2 is y's and x's.")
    ] = "4",
    slippage_bps: Annotated[str, typer.Option("--slippage-bps", help="Slippage likewise.")] = "1",
    slippage_range: Annotated[
        str, typer.Option("--slippage-range", help="Besides: share of the filling bar's range.")
    ] = "0",
    funding: Annotated[
        Path | None,
        typer.Option(
            "--funding", help="Rates: CSV or Parquet, timestamp,symbol,rate; or exchange: a running one asks."
        ),
    ] = None,
    rehedge: Annotated[
        str, typer.Option("--rehedge", help="Change of the hedge ratio at which a trade is re-hedged, or none.")
    ] = "none",
    latency_ms: Annotated[
        str, typer.Option("--latency-ms", help="Fill from stored trades so long after the close, or none.")
    ] = "none",
    round_steps: Annotated[
        bool, typer.Option("--round-steps/--no-round-steps", help="Round quantities to the exchange's steps.")
    ] = True,
    fill: Annotated[str, typer.Option("--fill", help="next (close), open (of the next bar), or same.")] = "next",
    price_space: Annotated[str, typer.Option("--price-space", help="log or linear.")] = "log",
    sizing: Annotated[str, typer.Option("--sizing", help="beta or dollar.")] = "beta",
    gate: Annotated[str, typer.Option("--gate", help="Enter only while: cointegration, sentinel or none.")] = "none",
    walk_forward: Annotated[
        int, typer.Option("--walk-forward", help="Choose the best in N folds, try it on what follows.", metavar="N")
    ] = 0,
    train: Annotated[
        int | None, typer.Option("--train", help="Bars on which each fold chooses (default: twice the test's).")
    ] = None,
    test: Annotated[int | None, typer.Option("--test", help="Bars on which each choice is tried.")] = None,
    purge: Annotated[int | None, typer.Option("--purge", help="Bars between the two (default: the lookback).")] = None,
    nulls: Annotated[int, typer.Option("--nulls", help="Pairs of chance to compare with.")] = 199,
    trials: Annotated[int, typer.Option("--trials", help="Rules tried on this pair before.")] = 0,
    sort: Annotated[str, typer.Option("--sort", help="Metric to sort a sweep by, the largest first.")] = "sharpe",
    limit: Annotated[int, typer.Option("--limit", help="Trades or rows to show; 0 shows all.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", help="File: .html for a report; trades or rows as .csv or .parquet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    cluster: Annotated[str | None, typer.Option("--cluster", help="Dask scheduler to run on, tcp://host:8786.")] = None,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Trade a pair's past by a rule, without flattery: no look-ahead, two legs, every cost, and what chance does.

    Any number may be a list (--entry 1.5,2,2.5) or a range (--entry 1:3:0.25): then every combination is tried.
    """
    quiet(debug=debug)
    settings = load(data_dir=data_dir)
    numbers = {
        "hedge": hedge, "lookback": lookback, "window": window, "entry": entry, "exit": exit_, "stop": stop,
        "max_holding": max_holding, "cooldown": cooldown, "notional": notional, "capital": capital,
        "fee_bps": fee_bps, "slippage_bps": slippage_bps, "slippage_range": slippage_range, "rehedge": rehedge,
        "latency_ms": latency_ms,
    }  # fmt: skip
    try:
        from pairscope.backtesting import backtest
        from pairscope.research.backtest_flags import Asked, named_pair

        named = named_pair(pair or [], y, x)
        asked = Asked(
            *named, bars, timeframe, start, end, numbers,
            {"fill": fill, "price_space": price_space, "sizing": sizing, "gate": gate},
            funding, walk_forward, train, test, purge, nulls, trials, round_steps, sort, limit, out, as_json, cluster,
        )  # fmt: skip
        code = backtest(settings, asked, say=say, show=typer.echo)
    except KeyboardInterrupt:
        say("pairscope: the backtest was cancelled; nothing was written")
        code = 1
    raise typer.Exit(code)


@app.command()
def verify(
    *,
    symbols: Annotated[str | None, typer.Option("--symbols", help="Bars of these only, comma-separated.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="From this time on, ISO 8601 or ms.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Up to this time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Replay stored ticks and compare every bar, statistic, pair value and alert with what was told; exit 1 on any."""
    quiet(debug=debug)
    from pairscope.verification import Asked as Wanted
    from pairscope.verification import verify as verified

    try:
        code = verified(load(data_dir=data_dir), Wanted(symbols, since, until, as_json), say=say, show=typer.echo)
    except KeyboardInterrupt:
        say("pairscope: cancelled")
        code = 1
    raise typer.Exit(code)


app.registered_commands += [*commands.registered_commands, *server.registered_commands]


@app.command()
def doctor(
    *,
    store: Annotated[
        bool, typer.Option("--store", help="Look through every row and file of the store instead.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="With --store: mend what can be, then look again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --store: answer in JSON.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Check settings, ports, disk, clock, store, cache and exchange; say what to do about each."""
    from pairscope.doctor import examine, examine_store

    if store:
        quiet(debug=debug)
        settings = load(data_dir=data_dir)
        raise typer.Exit(examine_store(settings, repair=repair, as_json=as_json, say=say, show=typer.echo))
    if repair or as_json:
        raise typer.BadParameter("is for --store", param_hint="--repair" if repair else "--json")
    settings = load(data_dir=data_dir, log_level="debug" if debug else None)
    findings = examine(settings)
    for finding in findings:
        typer.echo(f"{finding.mark} {finding.name:<10} {finding.said}")
        if finding.advice:
            typer.echo(f"  {'':<10} {finding.advice}")
    raise typer.Exit(1 if any(f.failed for f in findings) else 0)


@app.command(context_settings={"ignore_unknown_options": True})
def bench(
    words: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks, all by default, and their flags.", metavar="[NAME]...")
    ] = None,
) -> None:
    """Run the benchmarks of this checkout beside the peers that are installed, as `make bench` does."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "benchmarks" / "__main__.py").is_file():
        raise ConfigError("the benchmarks come with the repository, not with the package", hint="run it in a checkout")
    command = [sys.executable, "-m", "benchmarks", *(words or [])]
    done = subprocess.run(command, cwd=checkout, check=False)  # noqa: S603 - our own module, words as they came
    raise typer.Exit(done.returncode)


@app.command()
def version() -> None:
    """Print the version."""
    from pairscope import __version__

    typer.echo(__version__)
