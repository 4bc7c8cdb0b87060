"""Agents as others write them are run beside the floor, unchanged, and heard; one that fails is named by its line."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from firstword.rehearsal.audit import Audit, NeverHeard, audit
from firstword.tuning.audit.facts import AuditRun, FirstVoice
from tests.leftovers import left_of

AGENTS = Path(__file__).parent / "audited"


async def audited(file: Path, folder: Path, python: Path = Path(sys.executable)) -> AuditRun:
    """One call of it and one of the floor; nothing is left running."""
    folder.mkdir()  # noqa: ASYNC240 # microseconds
    try:
        return await audit(Audit(file, python, file.parent, sessions=1), folder)
    finally:
        assert left_of(folder) == []


@pytest.fixture
def own_python(tmp_path: Path) -> Path:
    """A Python with LiveKit and its plugins, and no firstword: path files of folders on its path are not read."""
    venv.create(tmp_path / "own", symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "own")}))
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib"))
    python = tmp_path / "own" / "bin" / "python"
    assert subprocess.run([python, "-c", "import firstword.rehearsal.audit"], capture_output=True).returncode == 1
    return python


@pytest.mark.real
async def test_an_agent_that_greets(tmp_path: Path) -> None:
    """In a package, with settings beside it that name another server, which is not called. Its path has its own lines, to the whole wait."""
    shop = shutil.copytree(AGENTS / "shop", tmp_path / "shop")
    (shop / ".env.local").write_text("SHOP=open\nLIVEKIT_URL=wss://cloud.invalid\nLIVEKIT_API_KEY=theirs\n")
    run = await audited(shop / "agent.py", tmp_path / "audit")
    (session,) = run.sessions
    assert session.first_voice is FirstVoice.GREETS
    assert session.start is not None
    assert session.start.outcome == "first_word"
    assert session.start.ttfw_s is not None
    waited = sum(piece.duration_us for piece in session.start.path) / 1e6
    assert waited == pytest.approx(session.start.ttfw_s, abs=1e-3)
    lines = {f"{piece.source.file} {piece.source.function}" for piece in session.start.path if piece.source}
    assert "agent.py Assistant.on_enter" in lines
    assert not any(line.startswith(("/", "sitecustomize", "firstword")) for line in lines)
    agent = run.agent
    assert (agent.agent_name, agent.idle_processes, agent.livekit[:3]) == ("shop", 1, "1.8")
    assert set(agent.simulated) == {"LiveKit Inference LLM", "LiveKit Inference STT", "LiveKit Inference TTS"}
    (floor,) = run.floor_s
    assert floor is not None
    assert session.heard_s is not None
    assert floor < session.heard_s


@pytest.mark.real
async def test_an_agent_that_answers_in_a_python_of_its_own(tmp_path: Path, own_python: Path) -> None:
    """Without firstword, started as a program; its seconds count from the end of what the caller said."""
    run = await audited(AGENTS / "answers.py", tmp_path / "audit", own_python)
    (session,) = run.sessions
    assert session.first_voice is FirstVoice.ANSWERS
    assert session.heard_s is not None
    assert session.start is not None
    assert session.start.ttfw_s is not None
    assert session.heard_s < session.start.ttfw_s - 3
    assert run.agent.agent_name is None
    assert set(run.agent.simulated) == {"Deepgram STT", "OpenAI LLM", "Cartesia TTS"}


@pytest.mark.real
@pytest.mark.soak
async def test_an_agent_that_fails_is_named_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By LiveKit's log, as it is today; tests/rehearsal/test_agent_log.py reads such logs."""
    monkeypatch.chdir(AGENTS)
    with pytest.raises(NeverHeard, match=r"never heard: crashes\.py:11: ValueError: no such shop; its log is "):
        await audited(AGENTS / "crashes.py", tmp_path / "audit")


@pytest.mark.real
@pytest.mark.soak
async def test_an_agent_that_says_nothing(tmp_path: Path) -> None:
    """Two callers wait, and the audit ends. In the soak, for the message is in `tests/command/test_audit.py`, too."""
    file = tmp_path / "silent.py"
    file.write_text(
        (AGENTS / "crashes.py").read_text().replace('    raise ValueError("no such shop")\n', "")
    )  # microseconds
    (tmp_path / "audit").mkdir()
    with pytest.raises(NeverHeard, match=r"^never heard: "):
        await audit(Audit(file, Path(sys.executable), tmp_path, sessions=3, patience=1.0), tmp_path / "audit")
    assert left_of(tmp_path / "audit") == []
