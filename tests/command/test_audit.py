"""`firstword audit` and what is typed wrong: one line, exit code 2, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.command.__main__ import app
from firstword.rehearsal import audit, stack


@pytest.fixture(autouse=True)
def _nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """In a folder of its own, with an agent in it; a server that starts is a fault."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(stack, "_run")
    monkeypatch.delattr(audit, "simulators")
    Path("agent.py").write_text("server = None\n")
    Path("broken.py").write_text("def f(:\n")
    Path("full").mkdir()
    Path("full/kept").touch()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.py"], "none.py is not there; expected the Python file of an agent"),
        (["full"], "full is a folder; expected the Python file of an agent"),
        (["broken.py"], "broken.py:1: SyntaxError: invalid syntax"),
        (["agent.py", "--python", "nowhere/python"], "--python nowhere/python can't be run; expected a Python"),
        (["agent.py", "--folder", "nowhere"], "--folder nowhere is no folder"),
        (["agent.py", "--providers", "none.toml"], "none.toml: can't be read"),
        (["agent.py", "--ahead-by", "inf"], "--ahead-by is inf; expected seconds, 0 or more"),
        (["agent.py", "--output", "full"], "--output full is not empty; expected a new or empty folder"),
        (["agent.py", "--sessions", "0"], "greater than or equal to 1"),
    ],
)
def test_what_is_typed_wrong(arguments: list[str], says: str) -> None:
    """It is named as it was typed; no folder is left behind."""
    result = CliRunner().invoke(app, ["audit", *arguments])
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not Path("audits").exists()
