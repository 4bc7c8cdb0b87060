"""Who may import whom, and what a committed file must not hold: promises of the whole repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name.decode() for name in names.split(b"\0") if name]


def test_imports_go_one_way() -> None:
    """The contracts of pyproject.toml, checked by import-linter; in a process of its own, since it switches off all loggers."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_worker_carries_neither_tuning_nor_rehearsal() -> None:
    """What it imports is start-up time, and what it needs is image size."""
    code = "import sys, firstword.agent.startup, firstword.agent.process.job_process; print(*sorted({part for m in sys.modules for part in (m, m.split('.')[0])}))"
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = set(done.stdout.split())
    assert {"firstword.agent.startup", "firstword.telemetry.run"} <= loaded
    ours = {"firstword.tuning", "firstword.rehearsal", "firstword.command"}
    assert loaded.isdisjoint({*ours, "typer", "rich", "scipy", "pytest"})


def test_what_is_read_from_traces_is_printed_in_one_place() -> None:
    """There names are made harmless: whoever prints by another way, prints what a stranger wrote."""
    other_ways = re.compile(r"typer\.echo\(|(?<![\w.])print\(|\bTable\(|\bConsole\(")
    commands = [
        path
        for path in tracked()
        if path.parent == ROOT / "command/firstword/command" and "TraceOptions" in path.read_text()
    ]
    assert len(commands) >= 9
    assert [path.name for path in commands if other_ways.search(path.read_text())] == []


def test_firstword_is_a_namespace() -> None:
    """A `firstword/__init__.py` in one portion would hide the other four, wherever it is installed first."""
    inits = [path for path in tracked() if path.parts[-2:] == ("firstword", "__init__.py")]
    assert inits == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Paths of a machine and hosts of package registries don't belong in the repository."""
    forbidden = re.compile(r"(?<![\w.])/(?:work|root|home)/|pypi\.org|pythonhosted|proxy\.golang|sum\.golang")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path.suffix not in {".png", ".wav", ".sum"} and path != Path(__file__)
        for match in forbidden.finditer(path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert found == []
