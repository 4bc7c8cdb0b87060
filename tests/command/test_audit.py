"""`firstword audit` and what is typed wrong: one line, exit code 2, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.command import audit as audit_command
from firstword.command.__main__ import app
from firstword.command.audit import real_calls
from firstword.rehearsal import audit, stack
from firstword.rehearsal.agent_file import AgentFile, BadAgent
from firstword.rehearsal.processes import ServerError


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


@pytest.mark.parametrize(
    ("sessions", "plugins", "keys", "addresses", "says"),
    [
        (
            5,
            ("deepgram", "openai"),
            ("DEEPGRAM_API_KEY", "OPENAI_API_KEY"),
            {"OPENAI_BASE_URL": "llm.example.com:8443"},
            [
                "Real providers: 5 calls of at most 45 s each. Ctrl-C ends them.",
                "  plugins: deepgram, openai",
                "  keys: DEEPGRAM_API_KEY, OPENAI_API_KEY",
                "  addresses: OPENAI_BASE_URL leads to llm.example.com:8443",
            ],
        ),
        (
            1,
            (),
            (),
            {},
            [
                "Real providers: 1 call of at most 45 s each. Ctrl-C ends them.",
                "  plugins: none are imported; LiveKit Inference may be used",
                "  keys: none are set",
            ],
        ),
    ],
)
def test_what_real_providers_are_told_before_any_call(
    sessions: int, plugins: tuple[str, ...], keys: tuple[str, ...], addresses: dict[str, str], says: list[str]
) -> None:
    """The bound, and who may be called with whose key."""
    here = Path.cwd()
    file = AgentFile(here / "agent.py", here, here, "3.12", "1.8.9", False, plugins, keys, addresses, ())
    assert list(real_calls(file, sessions)) == says


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadAgent("agent.py has no agent server"), 2),
        (audit.NeverHeard("never heard: agent.py:11: ValueError: no such shop"), 1),
        (ServerError("livekit-server was not found"), 1),
    ],
)
def test_what_ends_an_audit_is_one_line(error: ServerError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can't be run is 2; an agent that runs and is never heard, or no server, is 1."""

    async def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(audit_command, "audit", fails)
    result = CliRunner().invoke(app, ["audit", "agent.py", "--output", "made"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"firstword: {error}\n", "")
