"""``pairscope run``: decides the source, gives every part its port and its environment, and holds them up."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pairscope.config import Settings, spool_name
from pairscope.errors import ConfigError, ForeignFile
from pairscope.process import guard_host
from pairscope.supervisor import Child, Supervisor, already_running, free_port, http_json, take_port
from pairscope.terminal import spoken

__all__ = ["Plan", "decide_source", "forget_replay", "plan_run", "run_dashboard", "run_everything"]

PROBE_S: Final = 3.0
RETRY_LIVE_S: Final = 60.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run consists of, decided before anything starts."""

    source: str
    why: str
    store_url: str
    api_port: int
    dashboard_port: int
    exchange_port: int
    exchange_words: tuple[str, ...] = field(default=())

    @property
    def own_exchange(self) -> bool:
        """Whether the market comes from a replay server of our own."""
        return bool(self.exchange_words)


def decide_source(settings: Settings) -> tuple[str, str]:
    """Return (source, why): ``auto`` is live where the exchange answers within 3 s, else synthetic."""
    if settings.source != "auto":
        return settings.source, f"asked for: source {settings.source}"
    if http_json(f"{settings.exchange_rest_url}/fapi/v1/ping", PROBE_S) is not None:
        return "live", f"{settings.exchange_rest_url} answers"
    return "synthetic", f"{settings.exchange_rest_url} did not answer within {PROBE_S:.0f} s"


def plan_run(settings: Settings, source: str, why: str, *, dashboard: bool = True) -> Plan:
    """Decide ports, store and exchange of a run; raises ``ConfigError`` naming what cannot be."""
    words: tuple[str, ...] = ()
    store_url = settings.store_url
    if source == "synthetic":
        words = (f"synthetic:{settings.synthetic}" if settings.synthetic else "synthetic",)
        key = hashlib.sha256(words[0].encode()).hexdigest()[:8] if settings.synthetic else ""
        store_url = _file(settings, f"synthetic{'-' if key else ''}{key}")
    elif source == "replay":
        if not settings.replay:
            raise ConfigError("source replay needs a recording", loc="--replay", hint="give one: --replay PATH")
        words = tuple(_existing(path) for path in settings.replay)
        store_url = _file(settings, "replay")
    return Plan(
        source,
        why,
        store_url,
        take_port(settings.host, settings.port, 8000, "--port"),
        take_port(settings.dashboard_host, settings.dashboard_port, 8501, "--dashboard-port") if dashboard else 0,
        free_port() if words else 0,
        words,
    )


def _file(settings: Settings, name: str) -> str:
    """A store of its own for what is not live: demo rows never mix with live rows."""
    return f"duckdb:///{settings.data_dir.resolve() / name}.duckdb"


def _existing(word: str) -> str:
    if word.startswith("synthetic"):
        return word
    if not Path(word).is_file():
        raise ForeignFile(f"no recording at {word}", loc="--replay")
    return str(Path(word).resolve())


def run_everything(settings: Settings, *, say: Say, dashboard: bool, open_browser: bool) -> int:
    """Start exchange (where it is our own), backend and dashboard; return the exit code when the run has ended."""
    guard_host(settings, settings.host, "--host")
    guard_host(settings, settings.dashboard_host, "PAIRSCOPE_DASHBOARD_HOST")
    _prepare(settings.data_dir)
    running = already_running(settings.data_dir)
    if running is not None:
        say(f"Pairscope already runs on {settings.data_dir}: dashboard {running['dashboard']}, API {running['api']}")
        return 0
    began = time.monotonic()
    source, why = decide_source(settings)
    plan = plan_run(settings, source, why, dashboard=dashboard)
    if plan.source == "replay":
        forget_replay(settings.data_dir, plan.store_url)
    run = _Run(settings, plan, say, dashboard=dashboard)
    run.supervisor.install_signals()
    try:
        if not run.start():
            return run.supervisor.verdict()
        run.announce(time.monotonic() - began)
        if open_browser and dashboard:
            webbrowser.open(run.dashboard_url)
        return run.supervisor.watch(run.look_for_exchange)
    finally:
        run.supervisor.stop()
        run.forget_note()


def run_dashboard(settings: Settings, *, say: Say) -> int:
    """Serve the dashboard alone, with the API where the settings say; return the exit code when it has ended.

    ``ConfigError`` where the API asks for keys and the dashboard has none, or where anybody could reach both.
    """
    if settings.api_keys and not settings.dashboard_key:
        raise ConfigError(
            "the API asks for keys and the dashboard has none",
            loc="PAIRSCOPE_DASHBOARD_KEY",
            hint="set PAIRSCOPE_DASHBOARD_KEY to a key that the API knows",
        )
    if not settings.dashboard_key:
        guard_host(settings, settings.dashboard_host, "--host")
    port = take_port(settings.dashboard_host, settings.dashboard_port, 8501, "--port")
    supervisor = Supervisor(say)
    supervisor.install_signals()
    try:
        supervisor.start(_dashboard_child(settings, port, {}, essential=True))
        say(f"dashboard at http://{_bracket(settings.dashboard_host)}:{port}")
        return supervisor.watch()
    finally:
        supervisor.stop()


def forget_replay(data_dir: Path, store_url: str) -> None:
    """Remove what an earlier replay stored: its trades begin anew with the recording, under the same ids."""
    store = Path(store_url.removeprefix("duckdb:///"))
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()
    shutil.rmtree(data_dir / spool_name(store_url), ignore_errors=True)


def _prepare(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{data_dir} cannot be written: {error.strerror}", loc="--data-dir", hint="choose another with --data-dir"
        ) from error


class _Run:
    """The children of one run."""

    def __init__(self, settings: Settings, plan: Plan, say: Say, *, dashboard: bool) -> None:
        self._settings = settings
        self._plan = plan
        self._say = say
        self._with_dashboard = dashboard
        self.supervisor = Supervisor(say)
        self._dashboard_key = settings.dashboard_key or (secrets.token_urlsafe(32) if settings.api_keys else "")
        self._next_look = time.monotonic() + RETRY_LIVE_S
        self._note = settings.data_dir / "instance.json"
        self._noted = False

    @property
    def api_url(self) -> str:
        return f"http://{_bracket(self._settings.host)}:{self._plan.api_port}"

    @property
    def dashboard_url(self) -> str:
        return f"http://{_bracket(self._settings.dashboard_host)}:{self._plan.dashboard_port}"

    def start(self) -> bool:
        """Start everything; True once the API is healthy."""
        plan, supervisor = self._plan, self.supervisor
        if self._with_dashboard:
            supervisor.start(self._dashboard())
        if plan.own_exchange:
            supervisor.start(self._exchange())
            ready = f"http://127.0.0.1:{plan.exchange_port}/fapi/v1/ping"
            if not supervisor.wait_until(lambda: http_json(ready, 0.5) is not None, "the replay server"):
                return False
        supervisor.start(self._backend())
        if not supervisor.wait_until(self._healthy, "the backend"):
            return False
        self._write_note()
        return True

    def _healthy(self) -> bool:
        answer = http_json(f"{self.api_url}/api/health", 1.0)
        return isinstance(answer, dict) and answer.get("status") in {"ok", "degraded", "down"}

    def _write_note(self) -> None:
        dashboard = self.dashboard_url if self._with_dashboard else "off"
        note = {"pid": os.getpid(), "api": self.api_url, "dashboard": dashboard, "source": self._plan.source}
        part = self._note.with_name(f"{self._note.name}.part")
        part.write_text(json.dumps(note), encoding="utf-8")
        part.replace(self._note)  # who reads it finds it whole
        self._noted = True

    def forget_note(self) -> None:
        """Remove what was written of this run; what another wrote, which has the store, stays."""
        if self._noted:
            self._note.unlink(missing_ok=True)

    def announce(self, seconds: float) -> None:
        """Say in one block what runs where."""
        kind = {"live": "LIVE market", "replay": "REPLAY of recorded trades", "synthetic": "SYNTHETIC market"}
        dashboard = self.dashboard_url if self._with_dashboard else "off"
        self._say(
            f"\n  Pairscope: {kind[self._plan.source]} ({self._plan.why}), up in {seconds:.1f} s\n"
            f"  dashboard  {dashboard}\n"
            f"  API        {self.api_url}/docs\n"
            f"  data       {spoken(self._plan.store_url)}\n"
            "  Ctrl-C stops everything in order\n"
        )

    def look_for_exchange(self) -> None:
        """After a fall-back, go live when the exchange answers again, if that was asked for."""
        wanted = self._settings.retry_live and self._settings.source == "auto" and self._plan.source == "synthetic"
        if not wanted or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + RETRY_LIVE_S
        if decide_source(self._settings)[0] != "live":
            return
        self._say("the exchange answers again: going live")
        plan = self._plan
        self._plan = Plan(
            "live", "the exchange came back", self._settings.store_url, plan.api_port, plan.dashboard_port, 0
        )
        self.supervisor.replace(self._backend())
        self.supervisor.drop("replay server")
        self._write_note()

    def _exchange(self) -> Child:
        arguments = ["replay", "serve", *self._plan.exchange_words, "--port", str(self._plan.exchange_port)]
        arguments += ["--speed", self._settings.speed]
        return Child("replay server", "pairscope", arguments, {}, essential=False)

    def _backend(self) -> Child:
        plan, settings = self._plan, self._settings
        environment = {
            **_environment(settings),
            "PAIRSCOPE_DASHBOARD_KEY": self._dashboard_key,
            "PAIRSCOPE_SOURCE": plan.source,
            "PAIRSCOPE_DATABASE_URL": plan.store_url,
            "PAIRSCOPE_PORT": str(plan.api_port),
            "PAIRSCOPE_DASHBOARD_PORT": str(plan.dashboard_port),
        }
        if plan.own_exchange:
            environment["PAIRSCOPE_EXCHANGE_WS_URL"] = f"ws://127.0.0.1:{plan.exchange_port}"
            environment["PAIRSCOPE_EXCHANGE_REST_URL"] = f"http://127.0.0.1:{plan.exchange_port}"
        return Child("backend", "pairscope", ["backend"], environment, essential=True)

    def _dashboard(self) -> Child:
        own = {"PAIRSCOPE_DASHBOARD_KEY": self._dashboard_key, "PAIRSCOPE_PORT": str(self._plan.api_port)}
        return _dashboard_child(self._settings, self._plan.dashboard_port, own, essential=False)


def _dashboard_child(settings: Settings, port: int, own: Mapping[str, str], *, essential: bool) -> Child:
    """The process that serves the dashboard, with what it is told besides the settings."""
    from pairscope.dashboard.launch import streamlit_command

    command = streamlit_command(settings.dashboard_host, port)
    environment = {**_environment(settings), **command.environment, **own, "PAIRSCOPE_DASHBOARD_PORT": str(port)}
    return Child("dashboard", command.module, command.arguments, environment, essential=essential)


def _environment(settings: Settings) -> Mapping[str, str]:
    """The settings as the variables that a child reads them from."""
    said: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = (
            ",".join(value) if isinstance(value, tuple) else str(value.resolve() if isinstance(value, Path) else value)
        )
        said[f"PAIRSCOPE_{name.upper()}"] = text
    return said


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
