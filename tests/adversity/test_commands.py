"""Commands that go wrong, end, are ended, or follow each other: exit codes, one clear line, no process left behind."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from pairscope.errors import ForeignFile
from pairscope.feed.recording import read_frames

from .running import Api, Program, Programs, until

MARKET = "synthetic:seed=5,symbols=4,rate=200"
SYNTHETIC = {"synthetic": "seed=5,symbols=4,rate=50", "history_minutes": "5"}


def refusal(program: Program) -> str:
    """The one line that a command ended with, as misused."""
    assert program.wait() == 2, program.said()
    said = program.said().strip()
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1, said
    return said


@pytest.fixture
def nobody() -> Iterator[dict[str, str]]:
    """An exchange's address that is ours, so that nobody else takes it meanwhile, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield {"exchange_rest_url": f"http://127.0.0.1:{held.getsockname()[1]}"}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_a_taken_port_is_named_before_anything_starts(programs: Programs, taken: int) -> None:
    for words in (
        ("run", "--source", "synthetic", "--no-dashboard", "--port", str(taken)),
        ("run", "--source", "synthetic", "--port", "0", "--dashboard-port", str(taken)),
        ("replay", "serve", MARKET, "--port", str(taken)),
    ):
        said = refusal(programs.start(*words))
        assert str(taken) in said and "--" in said
    assert not list(programs.folder.rglob("*.duckdb"))


def test_a_directory_that_cannot_be_written_is_named_with_the_flag(programs: Programs) -> None:
    (programs.folder / "file").write_text("in the way")
    for place in ("/proc/pairscope", str(programs.folder / "file" / "d")):
        said = refusal(programs.start("run", "--source", "synthetic", "--no-dashboard", "--data-dir", place))
        assert place in said and "--data-dir" in said


def test_a_recording_of_another_kind_is_refused_and_a_cut_one_is_played_as_far_as_it_goes(programs: Programs) -> None:
    foreign, empty = programs.folder / "foreign.csv", programs.folder / "empty.gz"
    foreign.write_text("timestamp,open\n1,2\n")
    empty.write_bytes(b"")
    for path in (foreign, empty):
        assert path.name in refusal(programs.start("replay", "serve", str(path), "--port", "0"))
        assert path.name in refusal(
            programs.start("run", "--no-dashboard", "--port", "0", "--replay", str(path), "--data-dir", "d")
        )
    cut = programs.folder / "cut.gz"
    frames = [
        b'%d {"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"61800.30","q":"0.5",'
        b'"f":%d,"l":%d,"T":%d,"m":false}}\n' % (t * 10**6, t, n, n, n, t)
        for n, t in ((n, 1_723_161_255_000 + n * 40) for n in range(1, 2001))
    ]
    whole = gzip.compress(b"".join(frames))
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    server = programs.start("replay", "serve", str(cut), "--port", "0", "--speed", "max", "--now")
    address = server.wait_for(r"EXCHANGE_REST_URL=(\S+)")[1]
    assert "ends early" in server.said() and "Traceback" not in server.said()
    with urllib.request.urlopen(f"{address}/fapi/v1/exchangeInfo", timeout=10) as answer:
        assert [s["symbol"] for s in json.load(answer)["symbols"]] == ["BTCUSDT"]


def test_a_second_process_on_the_same_data_is_sent_to_the_first_or_refused(programs: Programs) -> None:
    words = ("--source", "synthetic", "--data-dir", "d")
    running, api = programs.run(*words, **SYNTHETIC)
    again = programs.start("run", *words, **SYNTHETIC)
    assert again.wait() == 0
    assert api.url in again.said()
    [file] = (programs.folder / "d").glob("*.duckdb")
    store = f"duckdb:///{file}"
    other = programs.start(
        "run", "--no-dashboard", "--port", "0", "--source", "live", "--data-dir", "e", database_url=store
    )
    assert other.wait() == 2
    [line] = [line for line in other.said().splitlines() if line.strip()]
    assert str(running.child("backend").pid) in line and "Traceback" not in line
    assert running.stop()[0] == 0


def test_the_doctor_says_what_a_start_would_meet_and_what_to_do(
    programs: Programs, taken: int, nobody: dict[str, str]
) -> None:
    well = programs.start("doctor", "--data-dir", "d", port="0", dashboard_port="0", **nobody)
    assert well.wait() == 0, well.said()
    assert "synthetic" in well.said()
    ill = programs.start("doctor", "--data-dir", "d", port=str(taken), dashboard_port="0", **nobody)
    assert ill.wait() == 1
    assert f"127.0.0.1:{taken} is taken" in ill.said() and "--port" in ill.said()
    running, _ = programs.run("--source", "synthetic", "--data-dir", "d", **SYNTHETIC)
    beside = programs.start("doctor", "--data-dir", "d", port="0", dashboard_port="0", **nobody)
    assert beside.wait() == 0, beside.said()
    assert "open in the Pairscope that runs" in beside.said()
    assert running.stop()[0] == 0


def recorded(path: Path) -> int:
    """How many trades a recording has that is still being written."""
    try:
        return sum(b'"aggTrade"' in frame for _, frame in read_frames(path)) if path.exists() else 0
    except ForeignFile:  # it has been opened, and nothing was written to it yet
        return 0


def test_a_recording_of_the_feed_plays_the_same_trades_again(programs: Programs) -> None:
    at = programs.serve(MARKET)
    recording = programs.folder / "market.gz"
    done = programs.start("record", str(recording), "--top", "4", **at)
    until(lambda: recorded(recording) > 300, what="a recording that is worth playing")
    assert done.stop(signal.SIGINT)[0] == 0, done.said()
    with gzip.open(recording, "rt") as lines:
        frames = [json.loads(line[line.index("{") :])["data"] for line in lines if "aggTrade" in line]
    trades = {(t["s"], t["a"]): (t["p"], t["q"], t["T"], t["m"]) for t in frames if t.get("e") == "aggTrade"}
    assert len(trades) > 300
    at = programs.serve(str(recording), "--speed", "max")
    symbols = sorted({symbol for symbol, _ in trades})
    running, api = programs.run(
        "--source", "live", "--symbols", ",".join(symbols), "--data-dir", "d", **at, history_minutes="0"
    )
    until(lambda: api.stats()["ticks"] == len(trades), what="every recorded trade")
    again = {
        (symbol, t["id"]): (str(t["price"]), str(t["size"]), t["timestamp"], t["buyer_is_maker"])
        for symbol in symbols
        for t in api.ticks(symbol)
    }
    assert {k: (float(p), float(q), t, m) for k, (p, q, t, m) in again.items()} == {
        k: (float(p), float(q), t, m) for k, (p, q, t, m) in trades.items()
    }
    assert running.stop()[0] == 0


def whole_run(programs: Programs) -> tuple[Program, list[psutil.Process]]:
    """Everything at once, dashboard and own exchange included; the processes that it consists of."""
    program = programs.start(
        "run", "--port", "0", "--dashboard-port", "0", "--source", "synthetic", "--data-dir", "d", **SYNTHETIC
    )
    dashboard = program.wait_for(r"dashboard +(http://\S+)")[1]
    api = Api(program.wait_for(r"API +(http://[\d.:]+)/docs")[1])

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{dashboard}/_stcore/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    until(answers, what="the dashboard")
    until(lambda: api.stats()["ticks"], what="a trade")
    family = program.family()
    assert len(family) >= 4
    return program, family


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def gone(family: list[psutil.Process]) -> bool:
    return not any(map(lives, family))


def test_sigterm_ends_everything_in_order(programs: Programs) -> None:
    program, family = whole_run(programs)
    assert program.stop()[0] == 0, program.said()
    assert gone(family)
    assert "Traceback" not in program.said()
    [file] = (programs.folder / "d").glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as store:
        assert store.execute("SELECT count(*) > 0 FROM tick").fetchone() == (True,)
    assert not (programs.folder / "d" / "instance.json").exists()


def test_when_the_supervisor_is_killed_nothing_of_it_lives_on(programs: Programs) -> None:
    program, family = whole_run(programs)
    program.stop(signal.SIGKILL)
    until(lambda: gone(family), what="the end of every process")
    [file] = (programs.folder / "d").glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as store:
        assert store.execute("SELECT count(*) = count(DISTINCT (symbol_id, id)) FROM tick").fetchone() == (True,)
