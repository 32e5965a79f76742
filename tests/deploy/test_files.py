"""Each file of deploy/ passes the validator of its kind, and the validator is seen to find what is wrong."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "docker-compose.yml"
LINT = (
    "{extends: default, rules: {document-start: disable, line-length: {max: 190},"
    " comments: {min-spaces-from-content: 1}, braces: {max-spaces-inside: 1}}}"
)
KUBERNETES = "1.33"


def tool(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name(name)), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def manifests() -> list[Path]:
    return sorted(
        path for path in (DEPLOY / "k8s").rglob("*.yaml") if path.name not in {"kustomization.yaml", "hosts.yaml"}
    )


def refused(document: dict[str, Any]) -> str:
    """What is wrong with a manifest; empty where nothing is."""
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (lambda text: text, ""),
        (lambda text: text.replace("healthcheck:", "healthchek:", 1), "healthchek"),
        (lambda text: text.replace("condition: service_healthy", "condition: healthy", 1), "healthy"),
    ],
    ids=["as it is", "a key misspelt", "a condition that is none"],
)
def test_the_compose_file_is_one(tmp_path: Path, break_it: Callable[[str], str], found: str) -> None:
    (tmp_path / "compose.yml").write_text(break_it(COMPOSE.read_text()))
    said = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yml")
    assert said.returncode == (1 if found else 0), said.stdout
    assert found in said.stdout


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (lambda text: text, ""),
        (lambda text: text.replace("WORKDIR /data", "WORKDIR data"), "DL3000"),
        (lambda text: text.replace('CMD ["api"]', "CMD api"), "DL3025"),
    ],
    ids=["as it is", "a relative place", "a command for a shell"],
)
def test_the_dockerfile_is_one(tmp_path: Path, break_it: Callable[[str], str], found: str) -> None:
    (tmp_path / "Dockerfile").write_text(break_it((DEPLOY / "Dockerfile").read_text()))
    said = tool("hadolint", tmp_path / "Dockerfile")
    assert said.returncode == (1 if found else 0), said.stdout
    assert found in said.stdout


def test_every_manifest_is_one_and_a_wrong_one_is_found() -> None:
    documents = [document for path in manifests() for document in yaml.safe_load_all(path.read_text())]
    for document in documents:
        assert not refused(document), (document["kind"], document["metadata"]["name"], refused(document))
    ingest = next(each for each in documents if each["kind"] == "StatefulSet")
    assert "replicas" in str(refused({**ingest, "spec": {**ingest["spec"], "replicas": "two"}})) or refused(
        {**ingest, "spec": {**ingest["spec"], "replicas": "two"}}
    )
    assert "replica" in refused({**ingest, "spec": {**ingest["spec"], "replica": 2}})


def test_yaml_is_written_in_one_way() -> None:
    files = [path for kind in ("*.yml", "*.yaml") for path in DEPLOY.rglob(kind)]
    assert len(files) > 15
    said = tool("yamllint", "-s", "-d", LINT, *files)
    assert said.returncode == 0, said.stdout


def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_container_asks_the_process_of_its_role(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health/ready" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    module = healthcheck()
    assert module.role_of(["/sbin/docker-init", "--", "pairscope", "ingest", "--shard", "0/2"]) == "ingest"
    with ThreadingHTTPServer(("127.0.0.1", 0), Probe) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("PAIRSCOPE_INGEST_PORT", str(server.server_address[1]))
        monkeypatch.setenv("PAIRSCOPE_DASHBOARD_PORT", str(server.server_address[1]))
        assert module.main(["ingest"]) == 0
        assert module.main(["dashboard"]) == 1, "503"
        server.shutdown()
    assert module.main(["ingest"]) == 1, "nobody there"
    assert module.main(["sh"]) == 1 and "none of" in capsys.readouterr().err
