"""The rules of Prometheus: they are sound, and each alert has a test that it fires, one that it is silent, and its page."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from firstword.rehearsal.files import data_file
from firstword.rehearsal.servers import PROMTOOL, find

FOLDER = data_file("deploy/prometheus")
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
DOCS = Path(__file__).parents[1] / "docs"
HEADINGS = ["What callers notice", "Look", "Do", "A false alarm"]


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in load(FOLDER / "alerts.yml")["groups"] for rule in group["rules"]
}


async def promtool(*arguments: str | Path) -> str:
    """What promtool says; AssertionError with all of it when it finds fault."""
    command = (await find(PROMTOOL)).command([str(argument) for argument in arguments], FOLDER, {})
    run = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.prometheus
async def test_prometheus_takes_configuration_and_rules() -> None:
    """The configuration names both files; no rule is there twice."""
    said = await promtool("check", "config", "--lint-fatal", FOLDER / "prometheus.yml")
    assert "2 rule files found" in said


@pytest.mark.prometheus
async def test_each_alert_fires_and_is_silent_where_it_should() -> None:
    """promtool's own tests."""
    await promtool("test", "rules", *TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_both_tests(alert: str) -> None:
    """By name; and the one in which it fires names it among what it expects."""
    tests = {test["name"]: test for file in TESTS for test in load(file)["tests"]}
    assert f"{alert} is silent" in tests
    firing = tests[f"{alert} fires"]["promql_expr_test"]
    assert any(f'alertname="{alert}"' in sample["labels"] for query in firing for sample in query["exp_samples"])


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_its_page(alert: str) -> None:
    """The page that the alert names has the alert's name and answers what somebody asks at night."""
    page = (DOCS.parent / ALERTS[alert]["annotations"]["runbook"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.*)$", page, re.M) == HEADINGS
    assert f"[{alert}]" in (DOCS / "dashboards.md").read_text(encoding="utf-8")


def test_no_page_is_of_an_alert_that_is_gone() -> None:
    """Nor is a test."""
    pages = {f"docs/runbooks/{file.name}" for file in (DOCS / "runbooks").glob("*.md")}
    assert pages == {rule["annotations"]["runbook"] for rule in ALERTS.values()}
    tested = {test["name"].split()[0] for file in TESTS for test in load(file)["tests"]}
    assert tested == set(ALERTS)


def test_a_page_names_panels_that_are_there() -> None:
    """What is in italics on the pages of alerts is a panel's title."""
    titles = {
        title
        for file in data_file("deploy/grafana").glob("*.json")
        for title in re.findall(r'"title": "(.*)"', file.read_text())
    }
    named = {
        name
        for file in (DOCS / "runbooks").glob("*.md")
        for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", file.read_text())
    }
    assert named
    assert named <= titles, named - titles
