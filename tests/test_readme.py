"""The commands of README and of docs/walk.md do what they say: each line of their `sh` blocks is run as a user would type it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AGENT = ROOT / "benchmarks" / "audited_agents" / "greeting-written-by-llm" / "before.py"
"""An agent of the user's own, as most begin."""
UNTIL_CTRL_C = "firstword up"


def commands(page: str) -> list[str]:
    """In their order; as few sessions as there are callers at once, since the walk takes a quarter of an hour; objectives no busy machine misses."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line]
    few = [re.sub(r"--sessions \d+", f"--sessions {2 if '--concurrency 2' in line else 1}", line) for line in lines]
    return [re.sub(r"p90<\d+", "p90<20", line) for line in few]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the user's own; state and cache of the commands stay in it, the built servers are shared."""
    made = tmp_path_factory.mktemp("readme")
    shutil.copy(AGENT, made / "my_agent.py")
    return made


def environment(place: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_STATE_HOME": str(place / "state"), "COLUMNS": "80"}


@pytest.mark.real
@pytest.mark.parametrize("page", ["README.md", pytest.param("docs/walk.md", marks=pytest.mark.soak)])
def test_each_command_works_in_turn(place: Path, page: str) -> None:
    """One after the other, since later ones read what earlier ones wrote."""
    for command in commands(page):
        if command == UNTIL_CTRL_C:
            continue
        words = shlex.split(command)
        done = subprocess.run(words, cwd=place, env=environment(place), capture_output=True, text=True, timeout=240)
        # two sessions may both have drawn the same variant, and then there is nothing to compare
        well = (0, 2) if command.startswith("firstword compare") else (0,)
        assert done.returncode in well, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert (done.stdout or done.stderr).strip(), command
        if command.startswith("firstword rehearse"):
            pictures = re.findall(r"^Picture of .*: (.+\.html)$", done.stdout, re.MULTILINE)
            called = [*re.findall(r"--profile (\S+)", command), *re.findall(r"--(flags) ", command)]
            assert [(place / file).stem for file in pictures] == called
            assert all("<svg" in (place / file).read_text(encoding="utf-8") for file in pictures)
