"""Whatever the compose file and the manifests start is there, by command, variable, port and path; and it is closed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from pairscope.cli import app as cli
from pairscope.config import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
KNOWN = {f"PAIRSCOPE_{name.upper()}" for name in Settings.model_fields}
NOT_SETTINGS = {"FORWARDED_ALLOW_IPS"}
"""What uvicorn reads."""
BASE = DEPLOY / "k8s" / "base"


def commands() -> Mapping[str, Any]:
    return getattr(typer.main.get_command(cli), "commands")  # noqa: B009 - of a group, whose type the stubs do not tell


@cache
def manifests(*folders: Path) -> tuple[dict[str, Any], ...]:
    files = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    found = [each for path in files for each in yaml.safe_load_all(path.read_text())]
    return tuple(each for each in found if isinstance(each, dict) and "metadata" in each)


def pods(kind: str = "") -> dict[str, dict[str, Any]]:
    found = [each for each in manifests(BASE, DEPLOY / "k8s/components/servers") if "template" in each.get("spec", {})]
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in found if not kind or each["kind"] == kind
    }


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_a_command_that_there_is_with_variables_that_are_settings(name: str) -> None:
    verb, *flags = OURS[name]["command"]
    command = commands()[verb]
    known = {word for parameter in command.params for word in parameter.opts}
    assert {flag for flag in flags if flag.startswith("--")} <= known
    environment = OURS[name]["environment"]
    assert set(environment) - NOT_SETTINGS <= KNOWN
    port = environment[
        {"ingest": "PAIRSCOPE_INGEST_PORT", "api": "PAIRSCOPE_PORT", "dashboard": "PAIRSCOPE_DASHBOARD_PORT"}[verb]
    ]
    assert OURS[name]["expose"] == [port]
    assert OURS[name]["healthcheck"]["test"] == ["CMD", "pairscope-healthcheck", verb]


def test_only_nginx_is_published_and_everything_else_is_inside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == {
        *(name for name in OURS if name != "dashboard"),
        "nginx",
        "alertmanager",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["healthcheck"]["test"]
    assert ":" in service["image"] and "privileged" not in service


def test_no_secret_stands_in_the_file_and_secrets_sh_makes_each(tmp_path: Path) -> None:
    text = (DEPLOY / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEYS?))\b(:?[^}]*)\}", text):
        assert not name[1] or name[1].startswith(":?"), f"{name[0]} has a default"
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    subprocess.run(["sh", "secrets.sh", "pairscope.test"], cwd=tmp_path, check=True, capture_output=True)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if "=" in line)
    assert asked <= set(made)
    for secret in COMPOSE["secrets"].values():
        assert (tmp_path / secret["file"]).is_file()
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0 and (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    before = (tmp_path / ".env").read_text()
    subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / ".env").read_text() == before, "what is there stays"


def test_every_file_that_is_mounted_or_copied_is_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            place = DEPLOY / source if source.startswith(".") else None
            assert place.exists() if place else source in COMPOSE["volumes"], (name, source)
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in [word for word in line.split()[1:-1] if not word.startswith("--")]:
                assert (ROOT / source).exists(), source
                assert f"!{source.removeprefix('./')}" in (ROOT / ".dockerignore").read_text().splitlines(), source


def test_each_shard_has_two_processes_with_a_spool_of_their_own_and_nginx_knows_each_replica() -> None:
    shards = [service["command"][2] for name, service in SERVICES.items() if name.startswith("ingest")]
    assert sorted(shards) == ["0/2", "0/2", "1/2", "1/2"]
    spools = [service["volumes"][0] for name, service in OURS.items() if name != "dashboard"]
    assert len(set(spools)) == len(spools)
    replicas = {f"{name}:8000" for name in SERVICES if name.startswith("api")}
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    assert set(re.findall(r"server (api-\d+:\d+)", text)) == replicas
    assert SERVICES["dashboard"]["environment"]["PAIRSCOPE_API_URL"] == "http://nginx:8081"
    assert re.search(r"listen 8081;", text)
    fixed = [
        service["networks"]["inner"]["ipv4_address"]
        for service in SERVICES.values()
        if isinstance(service["networks"], dict)
    ]
    assert len(set(fixed)) == len(fixed)
    assert SERVICES["nginx"]["networks"]["inner"]["ipv4_address"] == OURS["api-0"]["environment"]["FORWARDED_ALLOW_IPS"]
    for target in re.findall(
        r'"([a-z0-9-]+)"', (DEPLOY / "prometheus" / "prometheus.yml").read_text().split("dns_sd", 1)[1]
    ):
        assert target in SERVICES or target == "api", target


def test_connections_of_all_processes_fit_into_the_server() -> None:
    most = next(
        int(word.split("=")[1]) for word in SERVICES["postgres"]["command"] if word.startswith("max_connections=")
    )
    asked = sum(int(service["environment"].get("PAIRSCOPE_DATABASE_POOL", 0)) for service in OURS.values())
    assert asked + 10 <= most
    memory = SERVICES["postgres"]["deploy"]["resources"]["limits"]["memory"]
    assert memory == "4g" and "shared_buffers=1GB" in SERVICES["postgres"]["command"], "a quarter"


# -- Kubernetes -------------------------------------------------------------------------------------------------------


def test_what_pods_are_told_are_settings_and_each_name_is_defined() -> None:
    config = next(each for each in manifests(BASE) if each["kind"] == "ConfigMap")
    secrets = list(yaml.safe_load_all((DEPLOY / "k8s" / "secrets.example.yaml").read_text()))
    given = {each["metadata"]["name"]: set(each["stringData"]) for each in secrets} | {
        "pairscope-config": set(config["data"])
    }
    assert (given["pairscope"] | given["pairscope-config"]) - {"SHARDS"} <= KNOWN
    for name, pod in pods().items():
        for variable in pod["containers"][0].get("env", ()):
            if name in {"ingest", "api", "dashboard"}:
                assert variable["name"] in KNOWN | NOT_SETTINGS | {"ORDINAL", "POD_IP"}, variable
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                assert source["secretKeyRef"]["key"] in given[source["secretKeyRef"]["name"]]
            if "configMapKeyRef" in source:
                assert source["configMapKeyRef"]["key"] in config["data"]
    for path in (DEPLOY / "k8s" / "overlays").rglob("config.yaml"):
        assert set(yaml.safe_load(path.read_text())["data"]) <= KNOWN


def test_pods_run_commands_that_there_are_on_ports_that_are_asked() -> None:
    config = next(each for each in manifests(BASE) if each["kind"] == "ConfigMap")["data"]
    for name, variable in (("api", "PAIRSCOPE_PORT"), ("ingest", "PAIRSCOPE_INGEST_PORT"), ("dashboard", "")):
        container = pods()[name]["containers"][0]
        words = container.get("args") or container["command"][-1].split()[2:]
        assert words[0] == name and words[0] in commands()
        given = {each["name"]: each.get("value") for each in container["env"]}
        port = int(config[variable] if variable else given["PAIRSCOPE_DASHBOARD_PORT"])
        assert container["ports"][0]["containerPort"] == port
        service = next(
            each for each in manifests(BASE) if each["kind"] == "Service" and each["metadata"]["name"] == name
        )
        assert service["spec"]["ports"][0]["port"] == port
        health = "/_stcore/health" if name == "dashboard" else "/api/health"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"].startswith(health)
        if name != "dashboard":
            assert container["livenessProbe"]["httpGet"]["path"] == "/api/health/live"
            assert container["readinessProbe"]["httpGet"]["path"] == "/api/health/ready"


@pytest.mark.parametrize(("ordinal", "shard"), [(0, "0/2"), (1, "1/2"), (2, "0/2"), (3, "1/2")])
def test_a_pod_of_ingest_follows_the_shard_of_its_ordinal(tmp_path: Path, ordinal: int, shard: str) -> None:
    words = pods()["ingest"]["containers"][0]["command"]
    (tmp_path / "pairscope").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "pairscope").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ORDINAL": str(ordinal), "SHARDS": "2"}
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["ingest", "--shard", shard]


@pytest.mark.parametrize("name", pods())
def test_a_pod_is_restricted_and_bounded(name: str) -> None:
    pod = pods()[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"} and "memory" in container["resources"]["limits"]
        assert container["readinessProbe"] and container["livenessProbe"]


def test_whoever_speaks_is_let_through_and_nobody_else() -> None:
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in manifests(BASE, DEPLOY / "k8s/components/servers")
        if each["kind"] == "NetworkPolicy"
    }
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names = set(pods())
    for spec in policies.values():
        selector = spec["podSelector"]
        chosen = {*selector.get("matchLabels", {}).values()}
        chosen |= {value for each in selector.get("matchExpressions", ()) for value in each["values"]}
        assert chosen <= names
    outside = policies["outside"]["egress"][0]
    assert {each["port"] for each in outside["ports"]} == {443, 587} and "10.0.0.0/8" in outside["to"][0]["ipBlock"][
        "except"
    ]


def test_replicas_scale_and_two_of_a_shard_never_go_at_once() -> None:
    found = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in manifests(BASE) if "spec" in each}
    scaler = found["HorizontalPodAutoscaler", "api"]
    assert scaler["minReplicas"] >= 2 and "replicas" not in found["Deployment", "api"]
    assert found["StatefulSet", "ingest"]["replicas"] == 4
    assert found["PodDisruptionBudget", "ingest"]["maxUnavailable"] == 1
    for name in ("api", "dashboard"):
        assert found["PodDisruptionBudget", name]["minAvailable"] == 1
        assert found["Deployment", name]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    paths = {
        path["path"]: path["backend"]["service"]["name"]
        for name in ("api", "dashboard")
        for path in found["Ingress", name]["rules"][0]["http"]["paths"]
    }
    assert paths == {"/": "dashboard", "/api": "api", "/ws": "api", "/docs": "api", "/openapi.json": "api"}


@pytest.mark.parametrize("overlay", ["production", "external"])
def test_an_overlay_becomes_manifests_that_are_some(overlay: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here; the files it would join are checked one by one")
    said = subprocess.run(
        [kubectl, "kustomize", DEPLOY / "k8s" / "overlays" / overlay],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    documents = list(yaml.safe_load_all(said.stdout))
    for document in documents:
        kubernetes_validate.validate(document, "1.33", strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "pairscope"
    kinds = [document["kind"] for document in documents]
    assert kinds.count("StatefulSet") == (3 if overlay == "production" else 1)
    images = {
        each["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in documents
        if "template" in each.get("spec", {})
    }
    assert "registry.example.com/pairscope:0.1.0" in images and "pairscope" not in images
    config = next(document for document in documents if document["kind"] == "ConfigMap")["data"]
    assert config["PAIRSCOPE_SOURCE"] == "live"
    assert config["PAIRSCOPE_TOP"] == ("600" if overlay == "production" else "100")


def test_every_kustomization_lists_the_files_beside_it() -> None:
    for path in (DEPLOY / "k8s").rglob("kustomization.yaml"):
        listed = yaml.safe_load(path.read_text())
        files = {each for each in listed["resources"] if each.endswith(".yaml")}
        files |= {each["path"] for each in listed.get("patches", ())}
        assert files == {each.name for each in path.parent.glob("*.yaml")} - {"kustomization.yaml"}
        for folder in [
            each for each in (*listed["resources"], *listed.get("components", ())) if not each.endswith(".yaml")
        ]:
            assert (path.parent / folder / "kustomization.yaml").is_file()
