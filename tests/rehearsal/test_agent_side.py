"""What runs in an audited agent's own processes: where plugins are led, what is refused, and that the worker is held to the audit."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from livekit.agents import AgentServer, inference, tts, worker
from livekit.plugins import cartesia, deepgram, openai

from firstword.rehearsal.agent_side.facts import read_facts
from firstword.rehearsal.agent_side.livekit_private import START_JOB
from firstword.rehearsal.agent_side.redirect import BASES, NotSimulated, provider_class, redirect
from firstword.rehearsal.agent_side.settings import AuditSettings
from firstword.rehearsal.agent_side.worker import hold, keep_environment, note_jobs
from firstword.rehearsal.simulated_providers import SIMULATED, constants, defaults, name_of, variables

ADDRESSES = {
    "openai": "http://127.0.0.1:9/v1",
    "deepgram": "http://127.0.0.1:9/v1",
    "inference": "http://127.0.0.1:9/inference/v1",
    "cartesia": "http://127.0.0.1:9",
    "flux": "http://127.0.0.1:9/v2/listen",
}
LIVEKIT = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "ours", "LIVEKIT_API_SECRET": "ours"}


def settings(folder: Path, *, real: bool = False) -> AuditSettings:
    return AuditSettings(
        str(folder / "facts"), LIVEKIT, defaults(ADDRESSES), constants(ADDRESSES), tuple(SIMULATED), real
    )


@pytest.fixture
def unwrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every class is as it was, afterwards, and no finder of ours is left."""
    from firstword.telemetry import switch

    for path in (*(f"{module}.{name}" for module, name in BASES.items()), *defaults(ADDRESSES)):
        cls: Any = class_of(path)
        monkeypatch.setattr(cls, "__init__", cls.__init__)
        monkeypatch.setattr(cls, "__init_subclass__", cls.__init_subclass__)
    for path in constants(ADDRESSES):
        module, _, name = path.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, class_of(path))
    monkeypatch.setattr(switch, "_acts", {})
    for name, value in variables(ADDRESSES, ()).items():
        monkeypatch.setenv(name, value)


def class_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_class_is_there_and_takes_an_address() -> None:
    """An upgrade of a plugin may move one."""
    for path in SIMULATED:
        assert provider_class(class_of(path)) == path
    for path in defaults(ADDRESSES):
        assert "base_url" in inspect.signature(class_of(path).__init__).parameters
    for path in constants(ADDRESSES):
        assert class_of(path).startswith("wss://")


def test_plugins_are_led_to_the_simulators(tmp_path: Path, unwrapped: None) -> None:
    """Where the agent gives no address; one on this machine is kept. What is made is noted, once."""
    redirect(settings(tmp_path))
    assert cartesia.TTS()._opts.base_url == ADDRESSES["cartesia"]  # pyright: ignore[reportPrivateUsage]
    assert cartesia.TTS(base_url="http://localhost:1")._opts.base_url == "http://localhost:1"  # pyright: ignore[reportPrivateUsage]
    assert deepgram.STT()._opts.endpoint_url == f"{ADDRESSES['deepgram']}/listen"  # pyright: ignore[reportPrivateUsage]
    assert deepgram.STTv2()._opts.endpoint_url == ADDRESSES["flux"]  # pyright: ignore[reportPrivateUsage]
    assert openai.responses.LLM().provider == openai.responses.LLM(use_websocket=False).provider == "127.0.0.1:9"
    assert str(openai.LLM()._client.base_url) == f"{ADDRESSES['openai']}/"  # pyright: ignore[reportPrivateUsage]
    assert inference.STT("deepgram/nova-3", api_key="x", api_secret="y")._opts.base_url == ADDRESSES["inference"]  # pyright: ignore[reportPrivateUsage]
    names = [name_of(fact["name"]) for fact in read_facts(tmp_path / "facts")]
    assert names == [
        *("Cartesia TTS", "Deepgram STT", "Deepgram Flux STT", "OpenAI Responses LLM", "OpenAI LLM"),
        "LiveKit Inference STT",
    ]


def test_no_provider_without_a_simulator_is_called(tmp_path: Path, unwrapped: None) -> None:
    """Neither one of another class, nor another company behind a plugin that is simulated; the agent's line is noted."""
    redirect(settings(tmp_path))
    with pytest.raises(NotSimulated, match=r"deepgram\.tts_v2\.TTSv2 is not simulated"):
        deepgram.TTSv2()
    with pytest.raises(NotSimulated, match=r"api\.cerebras\.ai"):
        openai.LLM.with_cerebras(api_key="x")
    refused = [fact for fact in read_facts(tmp_path / "facts") if fact["fact"] == "refused"]
    assert [name_of(fact["name"]) for fact in refused] == ["deepgram TTSv2", "openai LLM at api.cerebras.ai"]
    assert {fact["place"] for fact in refused} == {__file__}


def test_a_provider_is_refused_before_its_key_is_missed(tmp_path: Path, unwrapped: None) -> None:
    """Nobody is asked for a key, and refused with it afterwards."""
    redirect(settings(tmp_path))

    class ShoutTTS(tts.TTS[Any]):
        __module__ = "livekit.plugins.shout.tts"

        def __init__(self) -> None:
            raise ValueError("SHOUT_API_KEY is not set")

        def synthesize(self, text: str, **_: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(NotSimulated):
        ShoutTTS()


def test_the_users_own_class_is_theirs(tmp_path: Path, unwrapped: None) -> None:
    """Whatever it calls."""

    class OwnTTS(tts.TTS[Any]):
        def synthesize(self, text: str, **_: Any) -> Any:
            raise NotImplementedError

    redirect(settings(tmp_path))
    OwnTTS(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=24_000, num_channels=1)
    assert read_facts(tmp_path / "facts") == []


def test_with_real_providers_nothing_is_led_or_refused(tmp_path: Path, unwrapped: None) -> None:
    redirect(settings(tmp_path, real=True))
    assert cartesia.TTS()._opts.base_url == "https://api.cartesia.ai"  # pyright: ignore[reportPrivateUsage]
    openai.TTS()
    assert len(read_facts(tmp_path / "facts")) == 2


async def test_the_worker_is_held_to_the_audit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To its server, a port of its own, and no load, whatever the agent gave; what it is like is noted. It says how it stands."""
    caplog.set_level(logging.ERROR, "livekit.agents")
    ran: list[Any] = []

    class Server(AgentServer):
        async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
            ran.append((self._ws_url, self._api_key, self._host, self._port, self._http_proxy, self.load_fnc))

    module = SimpleNamespace(AgentServer=Server, ServerEnvOption=worker.ServerEnvOption)
    hold(settings(tmp_path), module)  # pyright: ignore[reportArgumentType]  # as much of the module as is used
    server = Server(ws_url="wss://cloud.example", api_key="theirs", num_idle_processes=3)
    server.rtc_session(_entrypoint, agent_name="shop")
    await server.run()
    assert logging.getLogger("livekit.agents").isEnabledFor(logging.INFO)
    ((url, key, host, port, proxy, load),) = ran
    assert (url, key, host, port, proxy, load()) == ("ws://127.0.0.1:9", "ours", "127.0.0.1", 0, None, 0.0)
    (fact,) = read_facts(tmp_path / "facts")
    assert (fact["agent_name"], fact["idle"], fact["executor"], fact["set_up"]) == ("shop", 3, "process", False)


async def _entrypoint(_: Any) -> None:
    """Never runs."""


def test_the_process_of_a_job_is_known(tmp_path: Path) -> None:
    """By its id, when the job begins: one that computes on after its caller has left is ended. LiveKit's own method runs as before."""

    class _JobProc:
        def _start_job(self, message: str) -> str:  # as LiveKit calls it
            return f"{message} runs"

    module = ModuleType("livekit.agents.ipc.job_proc_lazy_main")
    module._JobProc = _JobProc  # pyright: ignore[reportAttributeAccessIssue]  # as much of the module as is used
    note_jobs(settings(tmp_path), module)
    assert START_JOB.of(_JobProc())("a job") == "a job runs"
    assert read_facts(tmp_path / "facts") == [{"fact": "job", "pid": os.getpid()}]


def test_without_livekits_private_names_jobs_run_unknown(tmp_path: Path) -> None:
    """As after an upgrade that gave them others."""
    note_jobs(settings(tmp_path), ModuleType("livekit.agents.ipc.job_proc_lazy_main"))
    assert read_facts(tmp_path / "facts") == []


def test_a_file_of_the_agents_changes_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it overrides the environment."""

    def load_dotenv(**_: Any) -> bool:
        os.environ["LIVEKIT_URL"], os.environ["SHOP"] = "wss://cloud.example", "open"
        return True

    monkeypatch.setenv("LIVEKIT_URL", LIVEKIT["LIVEKIT_URL"])
    monkeypatch.setenv("SHOP", "")
    for name, value in LIVEKIT.items():
        monkeypatch.setenv(name, value)
    module = SimpleNamespace(load_dotenv=load_dotenv)
    keep_environment(settings(tmp_path), module)  # pyright: ignore[reportArgumentType]  # as much of the module as is used
    assert module.load_dotenv(override=True)
    assert (os.environ["LIVEKIT_URL"], os.environ["SHOP"]) == (LIVEKIT["LIVEKIT_URL"], "open")


def test_a_key_of_the_users_is_kept() -> None:
    """The simulators take any; a missing one is made up."""
    led = variables(ADDRESSES, {"OPENAI_API_KEY"})
    assert "OPENAI_API_KEY" not in led
    assert led["CARTESIA_API_KEY"] == "simulated"
