"""The private names of LiveKit that we use: complete, as this version of LiveKit has them, and none that a greeting depends on."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from firstword.agent import livekit_private as agents
from firstword.agent.testing import FirstWordTest
from firstword.rehearsal.agent_side import livekit_private as audits
from firstword.telemetry import livekit_private as telemetrys
from firstword.telemetry.livekit_private import PrivateName
from tests.agent.first_word_calls import HELLO, Conversation
from tests.agent.virtual_calls import TUNED, VirtualCall, VirtualCalls

pytest_plugins = ["firstword.agent.testing.fixtures"]

ROOT = Path(__file__).parents[2]
ROOMS = ("agent", "telemetry", "rehearsal")
PYTHONS = {
    "firstword.telemetry.frames",
    "firstword.telemetry.loop_hooks",
    "firstword.telemetry.loop_record",
    "firstword.telemetry.loop_samples",
    "firstword.rehearsal.agent_side.probe",
}
"""Modules whose private names are Python's own: of its event loop, for which `firstword.telemetry.observable` looks, and `os._exit`."""


def entries(module: ModuleType) -> Iterator[tuple[str, PrivateName]]:
    """Each entry of a list, with the name of the constant that it is in."""
    for constant, value in vars(module).items():
        for each in of(value):
            yield constant, each


def of(value: Any) -> tuple[PrivateName, ...]:
    """The entries in what a module has under a name: one, a tuple of them, or none."""
    return tuple(each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, PrivateName))  # pyright: ignore[reportUnknownVariableType]  # of anything


ENTRIES = [(module, *entry) for module in (agents, telemetrys, audits) for entry in entries(module)]
every_entry = pytest.mark.parametrize(
    ("module", "constant", "entry"), ENTRIES, ids=lambda value: value.name if isinstance(value, PrivateName) else ""
)


@every_entry
def test_this_version_has_it(module: ModuleType, constant: str, entry: PrivateName) -> None:
    """Its user is a module of ours that names it."""
    assert entry.exists()
    user = find_spec(entry.user)
    assert user is not None
    source = Path(str(user.origin)).read_text(encoding="utf-8")
    assert entry.name in source or constant in source or module.__name__.rpartition(".")[2] in source


async def listen(call: VirtualCall) -> None:
    """The caller joins, stays for ten seconds and leaves."""
    await call.caller.join()
    await asyncio.sleep(10.0)
    await call.caller.leave()


@pytest.fixture
def moved(
    module: ModuleType, constant: str, entry: PrivateName, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PrivateName]:
    """The name is gone, as after an upgrade that gave it another one."""
    gone = replace(entry, name=f"{entry.name}_moved")
    assert not gone.exists()
    listed: Any = getattr(module, constant)
    changed = gone if isinstance(listed, PrivateName) else tuple(gone if each == entry else each for each in of(listed))
    monkeypatch.setattr(module, constant, changed)
    for user in list(sys.modules.values()):
        if getattr(user, "__name__", "").startswith("firstword.") and vars(user).get(constant) is listed:
            monkeypatch.setattr(user, constant, changed)
    agents.audio_is_known.cache_clear()
    yield gone
    agents.audio_is_known.cache_clear()


@every_entry
def test_a_call_is_greeted_without_it(moved: PrivateName, constant: str, virtual_calls: VirtualCalls) -> None:
    """By the shipped worker."""
    ended = virtual_calls.run(listen, TUNED)
    assert ended.outcome == "first_word"
    assert ended.heard
    assert (ended.attributes.get("startup.flag.light-connect") == "off") == (constant == "AUDIO")


@every_entry
def test_any_agent_speaks_first_without_it(moved: PrivateName, constant: str, first_word_test: FirstWordTest) -> None:
    """The session speaks where the voice can't be published before it; otherwise it starts after the first word."""
    conversation = Conversation()
    call = first_word_test.run(conversation)
    assert (call.outcome, conversation.said, conversation.returned) == ("first_word", [HELLO], True)
    assert call.frames
    if constant == "AUDIO":
        call.assert_order("session", "playout")
    else:
        call.assert_after_first_word("session")


def test_the_worker_is_imported_without_any(tmp_path: Path) -> None:
    """Every module of LiveKit that only private names are taken from is gone, and every class."""
    code = """
import importlib, sys
from firstword.agent import livekit_private as agents
from firstword.rehearsal.agent_side import livekit_private as audits
for entry in agents.AUDIO:
    if ":" not in entry.where:
        delattr(importlib.import_module(entry.where), entry.name)
sys.modules["livekit.rtc._ffi_client"] = sys.modules["livekit.agents.ipc.supervised_proc"] = None
import firstword.agent.entrypoint, firstword.agent.first_word_process, firstword.agent.worker
assert not agents.audio_is_known()
agents.start_native_runtime()
agents.hear_ctrl_c_while_processes_start(None)
"""
    wanted = dict.fromkeys(("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY"), "key")
    environment = {**os.environ, **wanted, "LIVEKIT_URL": "ws://127.0.0.1:7880"}
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


def private_names(source: str) -> set[str]:
    """The private names in a module that it does not define itself: attributes, imports, and texts that are one."""
    tree = ast.parse(source)
    own: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(attr=name):
                used.add(name)
            case ast.Constant(value=str(name)) if name.isidentifier():
                used.add(name)
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("livekit"):
                used |= {each.name for each in names} | set(module.split("."))
            case _:
                pass
    return {name for name in used - own if name.startswith("_") and not name.startswith("__")} - {"_", "_replace"}


@pytest.mark.parametrize("room", ROOMS)
def test_every_private_name_has_an_entry(room: str) -> None:
    """What begins with an underscore and is not ours is LiveKit's, or of a module named in `PYTHONS`. The fake LiveKit is for tests alone."""
    listed = {entry.name for _, _, entry in ENTRIES} | {
        part for _, _, entry in ENTRIES for part in entry.where.replace(":", ".").split(".")
    }
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / room / "firstword").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / room).with_suffix("").parts)
        if module not in PYTHONS and not module.startswith("firstword.agent.testing"):
            names = {name for name in private_names(path.read_text(encoding="utf-8")) - listed if name not in OURS}
            if names:
                found[module] = names
    assert not found


OURS = {
    "_API_KEY",
    "_BASE_URL",
    "_EXPORTER",
    "_Item",
    "_account_",
    "_account_not_trusted",
    "_at",
    "_not_trusted",
    "_traceparent_",
    "_url",
}
"""Texts that begin with an underscore and name nothing of anybody's: ends of variables' and attributes' names."""


def test_a_name_without_an_entry_is_found() -> None:
    source = "from livekit.rtc._room import _Room\nself._own = 1\nx = self._own, room._info, getattr(room, '_sid')"
    assert private_names(source) == {"_room", "_Room", "_info", "_sid"}
