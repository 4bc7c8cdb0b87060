"""An agent's file before it is run: what is wrong with it is one line, with the line of the file where there is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from firstword.rehearsal.agent_file import BadAgent, livekit_range, read_source, require_livekit_release
from firstword.rehearsal.agent_process import AgentPlace, look_at, place_agent
from firstword.rehearsal.stack import Stack

FAKE_LIVEKIT = {
    "livekit/__init__.py": "",
    "livekit/plugins/__init__.py": "",
    "livekit/agents/__init__.py": "class AgentServer: pass\nclass WorkerOptions: pass\n",
    "livekit/agents/cli/__init__.py": "from .cli import run_app",
    "livekit/agents/cli/cli.py": "def run_app(server): raise RuntimeError('it runs')",
}
"""As much of LiveKit as a file needs to be looked at: the real one takes a second to import."""
STACK = Stack(livekit_url="ws://127.0.0.1:9", api_key="key", api_secret="secret", pid=0)  # of nobody
ADDRESSES: dict[str, str] = dict.fromkeys(
    ("openai", "deepgram", "inference", "cartesia", "flux", "stats"), "http://127.0.0.1:9/v1"
)
SERVER = "from livekit.agents import AgentServer\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for agents, with a LiveKit beside it that is there at once."""
    for name, code in FAKE_LIVEKIT.items():
        (tmp_path / "fake" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fake" / name).write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    agents = tmp_path / "agents"
    agents.mkdir()
    monkeypatch.chdir(agents)
    return agents


def placed(file: Path, python: str = sys.executable) -> AgentPlace:
    return place_agent(file, Path(python), file.parent, file.parents[1] / "audit", STACK, ADDRESSES)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            SERVER,
            "agent.py has no agent server; expected `server = AgentServer()` at the top level, or `cli.run_app(...)`",
        ),
        (
            f"{SERVER}one = AgentServer()\ntwo = AgentServer()",
            "agent.py has more than one agent server: `one` (line 2) and `two` (line 3); expected one, or one named `server`",
        ),
        (
            f"{SERVER}import sys\nsys.exit(3)",
            "agent.py:3: the file ends at import (exit code 3); expected it to end only where it is started as a program",
        ),
        ("print('hm')\nimport os\nos._exit(4)", "agent.py ends Python at import (exit code 4): hm"),
        (f"{SERVER}raise ValueError('a\\nb')", "agent.py:2: ValueError: a b"),
        (
            "import os\nkey = os.environ['MY_KEY']",
            "agent.py:2: 'MY_KEY' is not set; expected it in the environment, or in a file that the agent reads",
        ),
        (
            "from livekit.plugins import cartesia",
            f"agent.py:1: no module livekit.plugins.cartesia in {sys.executable}; expected it there (pip install livekit-plugins-cartesia), "
            "or --python PATH with the agent's own Python",
        ),
        (
            "def f():\n    import nowhere_at_all\nf()",
            f"agent.py:2: no module nowhere_at_all in {sys.executable}; expected it there (pip install nowhere_at_all), "
            "or --python PATH with the agent's own Python",
        ),
    ],
    ids=[
        "no server",
        "two servers",
        "ends",
        "ends Python",
        "raises",
        "needs a key",
        "needs a plugin",
        "needs a package",
    ],
)
async def test_what_is_wrong_is_one_line(folder: Path, source: str, says: str) -> None:
    """The file is shown as it was typed. What it printed last is shown where it could say no more itself."""
    (folder / "agent.py").write_text(source)
    with pytest.raises(BadAgent) as error:
        await look_at(placed(folder / "agent.py"))
    assert str(error.value) == says


async def test_the_environment_beside_an_agent_is_named(folder: Path) -> None:
    """Where a package is missing, it is what to type."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").touch()
    (folder / "agent.py").write_text("import nowhere_at_all")
    with pytest.raises(BadAgent, match=r"or --python \.venv/bin/python$"):
        await look_at(placed(folder / "agent.py"))


@pytest.mark.parametrize(
    ("source", "by_itself"),
    [
        (f"{SERVER}server = AgentServer()", False),
        (f"{SERVER}one = AgentServer()\nserver = AgentServer()", False),
        (f"{SERVER}made = AgentServer()\nagain = made", False),
        (
            "from livekit.agents import WorkerOptions, cli\nif __name__ == '__main__':\n    cli.run_app(WorkerOptions())",
            True,
        ),
        (
            "from livekit.agents import WorkerOptions\nfrom livekit.agents.cli import run_app\nrun_app(WorkerOptions())",
            True,
        ),
    ],
    ids=["a server", "one that LiveKit prefers", "one with two names", "options", "at import"],
)
async def test_how_it_is_started(folder: Path, source: str, by_itself: bool) -> None:
    """LiveKit finds a server; a file without one starts itself, as its user does. Importing starts nothing."""
    (folder / "agent.py").write_text(source)
    found = await look_at(placed(folder / "agent.py"))
    assert found.by_itself is by_itself
    assert ("livekit.agents" in found.command) is not by_itself


async def test_a_provider_that_is_made_at_import_is_refused_there(folder: Path) -> None:
    """Before anything else starts."""
    plugin = folder.parent / "fake" / "livekit" / "plugins" / "shout"
    plugin.mkdir()
    (plugin / "__init__.py").write_text("from livekit.agents.tts.tts import TTS as Base\nclass TTS(Base): pass")
    base = folder.parent / "fake" / "livekit" / "agents" / "tts"
    base.mkdir()
    (base / "__init__.py").touch()
    (base / "tts.py").write_text("class TTS:\n    def __init__(self): pass")
    (folder / "agent.py").write_text(f"{SERVER}from livekit.plugins import shout\nvoice = shout.TTS()")
    with pytest.raises(BadAgent) as error:
        await look_at(placed(folder / "agent.py"))
    assert str(error.value) == (
        "agent.py:3: shout TTS is not simulated; expected --real, which calls it with your key, or another provider"
    )


async def test_a_package_is_imported_as_one(folder: Path) -> None:
    """With imports that are relative; the time of each import is known."""
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "prompts.py").write_text("import time\ntime.sleep(0.05)\nTEXT = ''")
    (folder / "shop" / "agent.py").write_text(f"{SERVER}from .prompts import TEXT\nserver = AgentServer()")
    found = await look_at(placed(folder / "shop" / "agent.py"))
    (slowest, *_) = found.imports
    assert slowest.module == "shop.prompts"
    assert slowest.seconds > 0.05


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x = (\n", r"agent\.py:1: SyntaxError: '\(' was never closed"),
        (b"def f():\nreturn\n", r"agent\.py:2: IndentationError: .*"),
        (b"x = '\0'", r"agent\.py(:1)?.*null bytes"),
    ],
)
def test_what_is_not_python(folder: Path, content: bytes, says: str) -> None:
    (folder / "agent.py").write_bytes(content)
    with pytest.raises(BadAgent) as error:
        read_source(Path("agent.py"))
    assert re.fullmatch(says, str(error.value), re.DOTALL), str(error.value)


def test_what_is_no_file(folder: Path) -> None:
    for name, says in (("none.py", "is not there"), (".", "is a folder")):
        with pytest.raises(BadAgent, match=says):
            read_source(Path(name))


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 127", "python can't be run; expected a Python, with --python"),
        (
            f'exec {sys.executable} -S "$@"',
            "python does not do what PYTHONPATH asks for at its start; expected CPython",
        ),
    ],
    ids=["none", "held by nothing"],
)
async def test_a_python_that_will_not_do(folder: Path, script: str, says: str) -> None:
    """One that does not import what holds an agent back might call its providers."""
    (folder / "agent.py").write_text(SERVER)
    (folder / "python").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "python").chmod(0o700)
    with pytest.raises(BadAgent, match=says):
        await look_at(placed(folder / "agent.py", str(folder / "python")))


def test_releases_of_livekit() -> None:
    """Those of firstword's own requirement, and no others; a Python without LiveKit is another one's."""
    first, end = livekit_range()
    require_livekit_release(first, Path("python"))
    require_livekit_release(f"{first}rc1", Path("python"))
    for version in ("1.7.99", end, f"{end}.1", "2.0"):
        with pytest.raises(
            BadAgent, match=f"livekit-agents is {version} in python; expected {first} or later, below {end}"
        ):
            require_livekit_release(version, Path("python"))
    with pytest.raises(BadAgent, match="has no livekit-agents"):
        require_livekit_release(None, Path("python"))


async def test_what_it_could_call_with_real_providers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of keys that are set, also by the file itself, and where its addresses lead; no key, and nothing secret of an address."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GROQ_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:secret@llm.example.com:8443/v1?key=secret")
    (folder / "agent.py").write_text(
        f"import os\nos.environ['CARTESIA_API_KEY'] = 'secret'\n{SERVER}server = AgentServer()"
    )
    place = place_agent(folder / "agent.py", Path(sys.executable), folder, folder.parent / "audit", STACK, None)
    found = await look_at(place)
    assert {"CARTESIA_API_KEY", "OPENAI_API_KEY"} <= set(found.keys)
    assert "GROQ_API_KEY" not in found.keys
    assert found.addresses["OPENAI_BASE_URL"] == "llm.example.com:8443"
    assert "secret" not in f"{found.keys} {found.addresses}"
