"""Rules and dashboards rely on metrics that exist, and promtool finds the rules as they are meant."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from pairscope.api.stable_metrics import STABLE

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
OF_PROMETHEUS = {"up": {"job", "instance"}}
OF_A_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"}
OF_REQUESTS = "pairscope_http_request_seconds"
SCRAPED = {"job", "instance"}


def known() -> dict[str, set[str]]:
    """Every series that a rule may ask for, with its labels."""
    found = {**OF_PROMETHEUS, **{name: set(SCRAPED) for name in OF_A_PROCESS}}
    for metric in STABLE:
        labels = SCRAPED | ({metric.label} if metric.label else set())
        if metric.kind == "histogram":
            found |= {f"{metric.name}_{part}": labels | {"le"} for part in ("bucket", "count", "sum")}
        else:
            found[metric.name] = labels
    for part in ("bucket", "count", "sum"):
        found[f"{OF_REQUESTS}_{part}"] = SCRAPED | {"method", "route", "status", "le"}
    return found


def selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(node, name, None)
        if inner is not None and not isinstance(inner, str | float | int):
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or ():
        yield from selectors(inner)


def expressions() -> list[tuple[str, str]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    found = [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]
    for path in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            found += [(panel["title"], target["expr"]) for target in panel.get("targets", ())]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_expression_asks_for_series_that_exist(where: str, expression: str) -> None:
    series = known()
    asked = list(selectors(promql_parser.parse(expression.replace("$instance", "x"))))
    if "vector(" not in expression or "pairscope" in expression:
        assert asked, f"{where}: nothing is asked for"
    for selector in asked:
        assert selector.name in series, f"{where}: there is no {selector.name}"
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= series[selector.name], f"{where}: {selector.name} has no {labels - series[selector.name]}"


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert len(rule["annotations"]["summary"]) > 20
            assert rule["annotations"]["description"].endswith(".")


def test_no_two_panels_lie_over_each_other() -> None:
    for path in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: apt-get install prometheus")
    said = subprocess.run([promtool, *words], cwd=RULES.parent, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert not re.search(r"FAILED", said.stdout + said.stderr)
