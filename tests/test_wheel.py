"""A wheel works as the checkout does: it carries what runs need beside the code, and nothing of it is looked for elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOUND = """
from firstword.agent.flags.flag_source import shipped_file
from firstword.rehearsal.files import data_file
print(shipped_file())
for name in ("deploy/flags.json", "deploy/jaeger.yaml", "deploy/local/livekit/go.mod", "otel-collector.yaml"):
    print(data_file(name))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the wheel of this checkout is installed."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
    subprocess.run((*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT), check=True)
    (wheel,) = wheels.iterdir()
    subprocess.run((*pip, "install", "--no-deps", "--target", folder, wheel), check=True)
    return folder


def ran(installed: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the wheel and what it depends on, in an empty folder; without `site` the checkout can't be imported."""
    path = f"{installed}{os.pathsep}{sysconfig.get_paths()['purelib']}"
    environment = {**os.environ, "PYTHONPATH": path, **{f"XDG_{name}_HOME": str(place) for name in ("CACHE", "STATE")}}
    command = (sys.executable, "-S", *arguments)
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)


def test_its_data_is_found(installed: Path, tmp_path: Path) -> None:
    """The flags by the agent, the servers' files by the rehearsal, each in its own package."""
    run = ran(installed, tmp_path, "-c", FOUND)
    assert run.returncode == 0, run.stderr
    flags, *others = map(Path, run.stdout.splitlines())
    assert flags.is_relative_to(installed / "firstword" / "agent" / "data")
    assert len(others) == 4
    assert all(file.is_relative_to(installed / "firstword" / "rehearsal" / "data") for file in others)


def test_it_has_one_importable_name(installed: Path) -> None:
    """`firstword`, a namespace of five portions, and nothing that a user's own module may be called."""
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info") and path.name != "bin"}
    assert top == {"firstword"}
    portions = {path.name for path in (installed / "firstword").iterdir()} - {"__pycache__"}
    assert portions == {"agent", "command", "rehearsal", "telemetry", "tuning", "__main__.py"}


def test_its_command_runs(installed: Path, tmp_path: Path) -> None:
    """It says its version, and what this machine has."""
    run = ran(installed, tmp_path, "-m", "firstword", "--version")
    assert run.stdout.startswith("firstword ")
    assert (run.returncode, run.stderr) == (0, "")
    report = json.loads(ran(installed, tmp_path, "-m", "firstword", "doctor", "--json").stdout)
    assert {"healthy", "findings"} == set(report)


def test_its_worker_is_found_by_livekit(installed: Path, tmp_path: Path) -> None:
    """By the line that `firstword doctor` prints; without keys it says which, so it was imported."""
    report = json.loads(ran(installed, tmp_path, "-m", "firstword", "doctor", "--json").stdout)
    (line,) = (finding["detail"] for finding in report["findings"] if finding["name"] == "worker")
    assert line == f"python -m livekit.agents start {installed / 'firstword' / 'agent' / 'data' / 'worker.py'}"
    run = ran(installed, tmp_path, *line.split()[1:])
    assert run.returncode == 2
    assert run.stderr.startswith("LIVEKIT_URL is missing; it may be: ")
