"""The environment of an audited agent: it leads to this machine, and to providers only where they may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstword.rehearsal.agent_process import place_agent
from firstword.rehearsal.stack import Stack

STACK = Stack(livekit_url="ws://127.0.0.1:9", api_key="ours", api_secret="ours", pid=0)
ADDRESSES: dict[str, str] = dict.fromkeys(
    ("openai", "deepgram", "inference", "cartesia", "flux", "stats"), "http://127.0.0.1:9"
)
CLOUD = {
    "LIVEKIT_URL": "wss://cloud.invalid",
    "LIVEKIT_API_KEY": "theirs",
    "LIVEKIT_API_SECRET": "theirs",
    "LIVEKIT_INFERENCE_URL": "https://gateway.invalid/v1",
    "LIVEKIT_WORKER_TOKEN": "theirs",
    "OPENAI_API_KEY": "theirs",
    "FIRSTWORD_OBSERVE": "0",
    "SHOP": "open",
}


@pytest.fixture(autouse=True)
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """A shell that is set up for LiveKit Cloud."""
    for name, value in CLOUD.items():
        monkeypatch.setenv(name, value)


def seen(tmp_path: Path, addresses: dict[str, str] | None) -> dict[str, str]:
    """What of the shell's variables the agent sees: those that are set anew, and those that are not dropped."""
    place = place_agent(tmp_path / "agent.py", Path("python"), tmp_path, tmp_path / "audit", STACK, addresses)
    kept = {name: value for name, value in CLOUD.items() if name not in place.without}
    return {**kept, **place.environment}


def test_nothing_leads_away(tmp_path: Path) -> None:
    """A key of the user's goes to the simulators; what has nothing to do with providers is the user's."""
    found = seen(tmp_path, ADDRESSES)
    assert (found["LIVEKIT_URL"], found["LIVEKIT_API_KEY"]) == ("ws://127.0.0.1:9", "ours")
    assert (found["LIVEKIT_INFERENCE_URL"], found["OPENAI_BASE_URL"]) == ("http://127.0.0.1:9",) * 2
    assert (found["OPENAI_API_KEY"], found["CARTESIA_API_KEY"]) == ("theirs", "simulated")
    assert "LIVEKIT_WORKER_TOKEN" not in found
    assert (found["FIRSTWORD_OBSERVE"], found["SHOP"]) == ("1", "open")
    assert "127.0.0.1" in found["NO_PROXY"].split(",")


def test_real_providers_are_called_from_a_room_on_this_machine(tmp_path: Path) -> None:
    """LiveKit Inference takes the key of LiveKit Cloud, from the shell or else from a file of the agent's."""
    found = seen(tmp_path, None)
    assert (found["LIVEKIT_URL"], found["LIVEKIT_API_KEY"]) == ("ws://127.0.0.1:9", "ours")
    assert (found["LIVEKIT_INFERENCE_API_KEY"], found["LIVEKIT_INFERENCE_API_SECRET"]) == ("theirs", "theirs")
    assert found["LIVEKIT_INFERENCE_URL"] == CLOUD["LIVEKIT_INFERENCE_URL"]
    assert "OPENAI_BASE_URL" not in found


def test_the_key_of_a_file_beside_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVEKIT_API_KEY")
    (tmp_path / ".env.local").write_text("LIVEKIT_API_KEY=beside\n")
    assert seen(tmp_path, None)["LIVEKIT_INFERENCE_API_KEY"] == "beside"
