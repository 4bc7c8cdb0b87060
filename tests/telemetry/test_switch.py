"""The switch: what is asked for, in which processes it acts, and that an agent never notices a fault of ours."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from livekit.agents import AgentServer, JobExecutorType
from livekit.agents.ipc.job_proc_lazy_main import _JobProc  # pyright: ignore[reportPrivateUsage]  # what we hook

from firstword.telemetry import livekit_hooks, observed_start, switch
from firstword.telemetry.observable import why_not

LOADED = """
import sys
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("firstword", "livekit", "opentelemetry", "asyncio")))
"""
FAKE_LIVEKIT = {
    "worker": """
class AgentServer:
    async def run(self, *, devmode=False):
        print("runs", devmode)
""",
    "ipc/job_proc_lazy_main": """
class _JobProc:
    def __init__(self, entrypoint):
        self._job_entrypoint_fnc = entrypoint
""",
}
HOOKED = """
import asyncio, importlib, sys
{first}
worker = importlib.import_module("livekit.agents.worker")
jobs = importlib.import_module("livekit.agents.ipc.job_proc_lazy_main")
{then}
async def entrypoint(job): pass
print(jobs._JobProc(entrypoint)._job_entrypoint_fnc is not entrypoint)
asyncio.run(worker.AgentServer().run(devmode=True))
importlib.reload(jobs)
print(jobs._JobProc(entrypoint)._job_entrypoint_fnc is not entrypoint)
"""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The jobs whose start is observed, in place of observing them."""
    jobs: list[str] = []
    monkeypatch.setattr(observed_start, "observe_start", lambda job, _: jobs.append(job.job.id))  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType, reportUnknownMemberType]
    yield jobs
    os.environ.pop("FIRSTWORD_OBSERVE_SAID", None)


def a_job(number: int = 1, *, fake: bool = False) -> Any:
    return SimpleNamespace(job=SimpleNamespace(id=f"AJ_{number}"), is_fake_job=lambda: fake)


async def enter(job: Any) -> list[str]:
    """Run an entrypoint with the hook around it; the jobs it was called with."""
    entered: list[str] = []

    async def entrypoint(job: Any) -> None:
        entered.append(job.job.id)

    await livekit_hooks.observed(entrypoint)(job)
    return entered


def run_python(code: str, *, path: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", **variables, **({"PYTHONPATH": path} if path else {})}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("text", "share"), [("1", 1.0), ("1.0", 1.0), (" 0.05 ", 0.05), ("0", 0.0), ("", 0.0), ("  ", 0.0), ("1e-3", 0.001)]
)
def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, text: str, share: float) -> None:
    """All sessions, some, or none."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", text)
    assert switch.share() == share


@pytest.mark.parametrize("text", ["on", "true", "5%", "2", "-0.1", "nan", "inf", "1,0", "0.05 0.1"])
async def test_a_bad_value_is_one_warning_and_nothing_is_observed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seen: list[str], text: str
) -> None:
    """The worker says it, not each job; the agent runs untouched."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", text)
    server = _hooked_server()
    await server.run(devmode=True)
    await server.run(devmode=True)
    assert await enter(a_job()) == ["AJ_1"]
    assert (seen, server.ran) == ([], [True, True])
    (record,) = caplog.records
    assert record.getMessage() == (
        f"FIRSTWORD_OBSERVE is {text!r}; expected 1, or the share of sessions that are observed, as 0.05; no start is observed"
    )


async def test_a_share_of_the_sessions_is_observed(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    """Each is entered, and drawn by its job: the same again wherever it is asked."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", "0.25")
    for number in range(2_000):
        assert await enter(a_job(number)) == [f"AJ_{number}"]
    assert 400 < len(seen) < 600
    assert [livekit_hooks.is_drawn(f"AJ_{number}", 0.25) for number in range(2_000)].count(True) == len(seen)
    assert all(livekit_hooks.is_drawn(f"AJ_{number}", 1.0) for number in range(2_000))
    assert not any(livekit_hooks.is_drawn(f"AJ_{number}", 0.0) for number in range(2_000))


async def test_a_job_without_a_room_is_not_observed(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    """LiveKit's console and its simulation have no caller."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", "1")
    assert await enter(a_job(fake=True)) == ["AJ_1"]
    assert seen == []


async def test_what_goes_wrong_with_us_never_reaches_the_agent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the log; what the agent itself raises goes on to LiveKit."""

    def broken(*_: object) -> None:
        raise OSError("no disk")

    monkeypatch.setenv("FIRSTWORD_OBSERVE", "1")
    monkeypatch.delenv("PYTEST_VERSION")  # under pytest our faults are loud
    monkeypatch.setattr(observed_start, "observe_start", broken)
    assert await enter(a_job()) == ["AJ_1"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]

    async def fails(job: Any) -> None:
        raise ValueError("the agent's own")

    with pytest.raises(ValueError, match="the agent's own"):
        await livekit_hooks.observed(fails)(a_job())


def test_livekit_has_what_is_hooked() -> None:
    """livekit-agents 1.8.9: a process of a job keeps its entrypoint under this name; the worker runs by this method."""

    async def entrypoint(job: Any) -> None:
        pass

    made = _JobProc(lambda _: None, entrypoint, None, session_end_timeout=1.0, executor_type=JobExecutorType.THREAD)
    assert made._job_entrypoint_fnc is entrypoint  # pyright: ignore[reportPrivateUsage]
    assert inspect.iscoroutinefunction(AgentServer.run)
    assert {AgentServer.__module__, _JobProc.__module__} == set(switch.HOOKED)
    assert all(callable(getattr(livekit_hooks, name)) for name in switch.HOOKED.values())


def test_a_python_without_the_variable_loads_nothing_of_ours() -> None:
    """With it, the switch alone: neither LiveKit nor OpenTelemetry, and no event loop."""
    assert run_python(LOADED).stdout.split() == []
    for value in ("1", "0.05", "nonsense"):
        run = run_python(LOADED, FIRSTWORD_OBSERVE=value)
        assert run.stdout.split() == ["firstword", "firstword.telemetry", "firstword.telemetry.switch"]
        assert run.stderr == ""


@pytest.mark.parametrize(
    ("first", "then", "variables"),
    [
        ("", "", {"FIRSTWORD_OBSERVE": "1"}),
        ("import firstword.telemetry.observe", "", {}),
        ("", "import firstword.telemetry.observe", {}),
        ("import firstword.telemetry.observe", "import firstword.telemetry.observe", {"FIRSTWORD_OBSERVE": "0.5"}),
    ],
)
def test_livekit_is_hooked_whichever_way_it_is_switched_on(
    tmp_path: Any, first: str, then: str, variables: dict[str, str]
) -> None:
    """By the variable, or by the import, before LiveKit's or after it; once each."""
    package = tmp_path / "livekit" / "agents" / "ipc"
    package.mkdir(parents=True)
    for folder in (package.parents[1], package.parent, package):
        (folder / "__init__.py").touch()
    for name, code in FAKE_LIVEKIT.items():
        (package.parent / f"{name}.py").write_text(code)
    # without LiveKit itself, what needs it is not there either
    absent = "sys.modules['firstword.telemetry.observed_start'] = sys"
    run = run_python(HOOKED.format(first=f"{absent}\n{first}", then=then), path=str(tmp_path), **variables)
    assert (run.stdout.splitlines(), run.stderr) == (["True", "runs True", "True"], "")


def test_others_may_act_after_an_import_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Each in turn, at once where the module is there already, and again after each import."""
    (tmp_path / "a_module_to_act_on.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(switch, "_acts", {})
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    acted: list[str] = []
    switch.after_import("a_module_to_act_on", lambda module: acted.append(f"first {module.__name__}"))
    module = importlib.import_module("a_module_to_act_on")
    switch.after_import("a_module_to_act_on", lambda module: acted.append("second"))
    assert acted == ["first a_module_to_act_on", "second"]
    importlib.reload(module)
    assert acted[2:] == ["first a_module_to_act_on", "second"]


def test_a_livekit_that_is_otherwise_is_imported_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """A later version may have moved what is hooked: that is said, and nothing else is."""
    switch._hook("hook_worker", ModuleType("livekit.agents.worker"))  # pyright: ignore[reportPrivateUsage]
    (record,) = caplog.records
    assert record.getMessage() == "starts are not observed; the agent runs as without FIRSTWORD_OBSERVE"


def test_jobs_that_livekit_makes_otherwise_are_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the private class of a job's process has moved, its jobs run as without us."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE_SAID", "")
    livekit_hooks.hook_jobs(ModuleType("livekit.agents.ipc.job_proc_lazy_main"))
    (record,) = caplog.records
    assert "livekit-agents makes the processes of its jobs otherwise" in record.getMessage()


class _Uvloop(asyncio.AbstractEventLoop):
    """A loop of another kind."""

    def close(self) -> None:
        pass


async def test_another_loop_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seen: list[str]
) -> None:
    """By the worker, for all its jobs; these are begun all the same: of each there are the phases."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", "1")
    monkeypatch.setattr(asyncio, "new_event_loop", _Uvloop)
    await _hooked_server().run(devmode=True)
    monkeypatch.setattr(asyncio, "get_running_loop", _Uvloop)
    await enter(a_job())
    (record,) = caplog.records
    assert "the event loop is tests.telemetry.test_switch._Uvloop; expected asyncio's own" in record.getMessage()
    assert "startup.method is guessed" in record.getMessage()
    assert seen == ["AJ_1"]


async def test_a_loop_that_only_the_job_has_is_named_by_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seen: list[str]
) -> None:
    """Set up in what prepares its process, the worker does not know of it."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", "1")
    await _hooked_server().run(devmode=True)
    assert caplog.records == []
    monkeypatch.setattr(asyncio, "get_running_loop", _Uvloop)
    await enter(a_job(1))
    await enter(a_job(2))
    assert len(caplog.records) == 1


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (4, 0)])
def test_another_python_is_named(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]) -> None:
    """CPython 3.11 to 3.13; its loop is another one, or may be."""
    loop = asyncio.new_event_loop()
    try:
        assert why_not(loop) is None
        monkeypatch.setattr(sys, "version_info", version)
        assert (why_not(loop) or "").endswith("expected CPython 3.11 to 3.13")
        monkeypatch.undo()
        monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy"))
        assert "expected CPython" in (why_not(loop) or "")
    finally:
        loop.close()


def _hooked_server() -> Any:
    """A worker of LiveKit's with our hook, and nothing else to do."""

    class AgentServer:
        def __init__(self) -> None:
            self.ran: list[bool] = []

        async def run(self, *, devmode: bool = False) -> None:
            self.ran.append(devmode)

    module: Any = SimpleNamespace(AgentServer=AgentServer)
    livekit_hooks.hook_worker(module)
    made: Callable[[], Any] = module.AgentServer
    return made()
