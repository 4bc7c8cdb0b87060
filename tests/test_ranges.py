"""The ranges of pyproject.toml resolve at both ends, as they must beside whatever else a user's project holds.

Asks the package registry, as `make lock` does: without a network, `-m "not registry"`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
OLDEST = {
    "livekit-agents": "1.8.8",
    "opentelemetry-sdk": "1.45.1",
    "opentelemetry-exporter-otlp-proto-grpc": "1.45.1",
    "opentelemetry-exporter-otlp-proto-http": "1.45.1",
    "opentelemetry-instrumentation-aiohttp-client": "0.66b1",
}
"""The lower ends that decide beside which versions of LiveKit and OpenTelemetry firstword can be installed."""


def locked(end: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    lines = (PYPROJECT.parent / f"requirements-{end}.lock").read_text().splitlines()
    return dict(line.split(" ")[0].split("==", 1) for line in lines if re.match(r"[\w.-]+==", line))


def test_the_lock_of_the_oldest_has_the_lower_ends() -> None:
    """`make lock` renews it; a lower end that is raised without it fails here."""
    versions = locked("oldest")
    assert {name: versions[name] for name in OLDEST} == OLDEST


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_the_locks_of_both_ends_have_what_the_tests_need(end: str) -> None:
    """`make soak` runs all tests on them; a package that is added without `make lock` fails here."""
    development = tomllib.loads(PYPROJECT.read_text())["dependency-groups"]["dev"]
    names = {re.split(r"[^\w.-]", each)[0] for each in development if isinstance(each, str)}
    assert names
    assert not names - locked(end).keys()


def test_the_lock_of_the_newest_is_no_older_than_the_others() -> None:
    """Of LiveKit, whose names move."""
    newest, usual = (tuple(map(int, locked(end)["livekit-agents"].split("."))) for end in ("newest", "dev"))
    assert newest >= usual


def resolved(*extras: str, end: str) -> dict[str, str]:
    """Package -> version, for each Python from the oldest that is supported on. end: what uv calls a resolution strategy."""
    command = (
        *(sys.executable, "-m", "uv", "pip", "compile", PYPROJECT, "--quiet", "--no-header", "--no-annotate"),
        *("--universal", "--python-version", "3.11", "--resolution", end),
        *(part for extra in extras for part in ("--extra", extra)),
    )
    patient = {**os.environ, "UV_HTTP_TIMEOUT": "60", "UV_HTTP_RETRIES": "5"}
    done = subprocess.run(command, env=patient, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = (line.partition(";")[0].split("==") for line in done.stdout.splitlines())
    return {name: version.strip() for name, version in lines}


@pytest.mark.registry
def test_the_oldest_of_everything_resolves() -> None:
    """With every extra, and the lower ends are those that are promised."""
    versions = resolved("all", end="lowest-direct")
    assert {name: versions[name] for name in OLDEST} == OLDEST


@pytest.mark.registry
@pytest.mark.parametrize("extras", [(), ("agent",), ("all",)], ids=lambda extras: ",".join(extras) or "base")
def test_the_newest_of_everything_resolves(extras: tuple[str, ...]) -> None:
    """Within the ranges; and the base brings no LiveKit."""
    versions = resolved(*extras, end="highest")
    assert versions["opentelemetry-sdk"].startswith("1.45.")
    assert ("livekit-agents" in versions) == bool(extras)
