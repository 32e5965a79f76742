"""What a run consists of: its source, its store, its ports."""

from __future__ import annotations

import json
import os
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from pairscope.config import spool_name
from pairscope.errors import ConfigError, ForeignFile
from pairscope.launch import decide_source, forget_replay, plan_run, run_everything
from pairscope.process import load_settings
from pairscope.supervisor import Child, Supervisor, already_running


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def exchange():
    """Answers every request with an empty object, as the exchange's ping does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "ok"}).encode())

        def log_message(self, *_args) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def nobody():
    """An address of ours, so that nobody else takes it meanwhile, where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def settings(**given):
    return load_settings(**{"port": "auto", "dashboard_port": "auto", **given})


def test_auto_is_live_where_the_exchange_answers(exchange):
    assert decide_source(settings(exchange_rest_url=exchange))[0] == "live"


def test_auto_is_synthetic_where_nobody_answers_and_says_why(nobody):
    source, why = decide_source(settings(exchange_rest_url=nobody))
    assert source == "synthetic"
    assert "did not answer within 3 s" in why


def test_a_source_that_was_asked_for_is_not_questioned():
    assert decide_source(settings(source="live", exchange_rest_url="http://127.0.0.1:9"))[0] == "live"


def test_synthetic_and_live_rows_never_share_a_store(tmp_path):
    given = settings(data_dir=tmp_path)
    stores = {source: plan_run(given, source, "").store_url for source in ("live", "synthetic")}
    assert stores["live"] == f"duckdb:///{tmp_path}/pairscope.duckdb"
    assert stores["synthetic"] == f"duckdb:///{tmp_path}/synthetic.duckdb"


def test_another_synthetic_market_has_another_store(tmp_path):
    plans = [plan_run(settings(data_dir=tmp_path, synthetic=s), "synthetic", "") for s in ("", "seed=8", "seed=9")]
    assert len({plan.store_url for plan in plans}) == 3
    assert plans[1].exchange_words == ("synthetic:seed=8",)


def test_an_explicit_store_is_for_live_rows_alone(tmp_path):
    given = settings(data_dir=tmp_path, database_url=f"duckdb:///{tmp_path}/mine.duckdb")
    assert plan_run(given, "live", "").store_url.endswith("mine.duckdb")
    assert plan_run(given, "synthetic", "").store_url.endswith("synthetic.duckdb")


def test_a_replay_needs_a_recording_that_is_there(tmp_path):
    with pytest.raises(ConfigError, match="needs a recording"):
        plan_run(settings(data_dir=tmp_path), "replay", "")
    with pytest.raises(ForeignFile, match="no recording at"):
        plan_run(settings(data_dir=tmp_path, replay=("gone.gz",)), "replay", "")


def test_without_a_dashboard_its_port_is_not_asked_for(tmp_path):
    assert plan_run(settings(data_dir=tmp_path), "live", "", dashboard=False).dashboard_port == 0


def test_listening_beyond_this_machine_without_a_key_is_refused_with_the_way_to_allow_it(tmp_path):
    with pytest.raises(ConfigError, match="without an API key is refused") as told:
        run_everything(settings(data_dir=tmp_path, host="0.0.0.0"), say=print, dashboard=False, open_browser=False)
    assert "PAIRSCOPE_API_KEYS" in told.value.line()


def test_a_data_directory_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written") as told:
        run_everything(settings(data_dir=tmp_path / "file" / "data"), say=print, dashboard=False, open_browser=False)
    assert "--data-dir" in told.value.line()


def test_a_second_start_on_the_same_data_says_where_the_first_runs(tmp_path, exchange):
    note = {"pid": os.getpid(), "api": exchange, "dashboard": "http://127.0.0.1:8501"}
    (tmp_path / "instance.json").write_text(json.dumps(note))
    said: list[str] = []
    assert run_everything(settings(data_dir=tmp_path), say=said.append, dashboard=True, open_browser=False) == 0
    assert exchange in said[0]


def test_a_start_that_finds_the_store_in_use_leaves_the_note_of_the_one_that_has_it(tmp_path, nobody, monkeypatch):
    (tmp_path / "ends.py").write_text("raise SystemExit(1)")  # as a backend does that cannot open its store
    backend = Child("backend", "ends", [], {"PYTHONPATH": str(tmp_path)}, essential=True)
    monkeypatch.setattr("pairscope.launch._Run._backend", lambda _run: backend)
    monkeypatch.setattr(Supervisor, "install_signals", lambda _supervisor: None)
    data = tmp_path / "data"
    data.mkdir()
    note = json.dumps({"pid": os.getpid(), "api": nobody, "dashboard": "off", "source": "live"})
    (data / "instance.json").write_text(note)  # of one that starts as well, and is a little ahead
    asked = settings(data_dir=data, source="live")
    assert run_everything(asked, say=lambda _line: None, dashboard=False, open_browser=False) == 1
    assert (data / "instance.json").read_text() == note


@pytest.mark.parametrize("note", ["", "{}", '{"pid": 99999999, "api": "http://127.0.0.1:1"}', "[1]"])
def test_what_a_dead_run_left_behind_is_not_taken_for_a_running_one(tmp_path, note):
    (tmp_path / "instance.json").write_text(note)
    assert already_running(tmp_path) is None


def test_a_replay_begins_with_an_empty_store_and_touches_no_other(tmp_path):
    url = f"duckdb:///{tmp_path}/replay.duckdb"
    kept = [tmp_path / name for name in ("pairscope.duckdb", "synthetic.duckdb", "instance.json")]
    gone = [tmp_path / name for name in ("replay.duckdb", "replay.duckdb.wal", "replay.duckdb.ack")]
    for path in (*kept, *gone):
        path.write_bytes(b"x")
    (tmp_path / spool_name(url)).mkdir()
    (tmp_path / spool_name(url) / "00000001").write_bytes(b"x")
    forget_replay(tmp_path, url)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
