"""`lk agent console`: LiveKit's command in a terminal, stood in for by a server that speaks its protocol, hears the greeting."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import numpy as np
from livekit.protocol.agent_pb.agent_session import AgentSessionMessage

from firstword.rehearsal.callers import AUDIBLE
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.processes import started
from firstword.rehearsal.workers import worker_file
from firstword.telemetry.vocabulary import OUTCOME, ROOT
from tests.calls.traces import Span, spans_of
from tests.calls.waiting import PATIENCE, until

Sound = AgentSessionMessage.ConsoleIO.AudioFrame


class Terminal:
    """What `lk` is to the worker: a microphone nobody speaks into, and a loudspeaker."""

    def __init__(self) -> None:
        self.heard = 0
        """Audible frames so far."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen until the worker is gone."""
        silent = Sound(data=bytes(1920), sample_rate=48_000, num_channels=1, samples_per_channel=960)

        async def microphone() -> None:
            while True:
                _send(writer, AgentSessionMessage(audio_input=silent))
                await asyncio.sleep(0.02)

        speaking = asyncio.create_task(microphone())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                self._take(AgentSessionMessage.FromString(await reader.readexactly(length)), writer)
        speaking.cancel()
        writer.close()

    def _take(self, message: AgentSessionMessage, writer: asyncio.StreamWriter) -> None:
        match message.WhichOneof("message"):
            case "audio_output":
                samples = np.frombuffer(message.audio_output.data, np.int16).astype(np.int32)
                self.heard += bool(np.abs(samples).max(initial=0) > AUDIBLE)
            case "audio_playback_flush":
                played = AgentSessionMessage.ConsoleIO.AudioPlaybackFinished()
                _send(writer, AgentSessionMessage(audio_playback_finished=played))
            case _:
                pass


def _send(writer: asyncio.StreamWriter, message: AgentSessionMessage) -> None:
    data = message.SerializeToString()
    writer.write(struct.pack(">I", len(data)) + data)


@contextlib.asynccontextmanager
async def _terminal() -> AsyncGenerator[tuple[Terminal, str]]:
    terminal = Terminal()
    async with await asyncio.start_server(terminal.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield terminal, f"{host}:{port}"


async def test_who_sits_at_a_terminal_is_greeted_and_traced(tmp_path: Path) -> None:
    """Without a LiveKit server: the start is the same plan's, its first word the first frame that the terminal gets."""

    def roots() -> list[Span]:
        return [span for span in spans_of(tmp_path / "traces") if span.name == ROOT]

    async with (
        simulators(None, tmp_path / "providers.log") as providers,
        _terminal() as (terminal, address),
        _console(tmp_path, "tuned", address, providers),
    ):
        await until(lambda: terminal.heard > 10)
        await until(lambda: bool(roots()))
    (root,) = roots()
    assert root.attributes[OUTCOME] == "first_word"
    assert root.attributes["startup.flag.light-connect"] == "off"


async def test_ctrl_c_while_greetings_are_made_ahead(tmp_path: Path) -> None:
    """It ends at once and well, without the session that it was about to begin."""
    nobody: dict[str, str] = dict.fromkeys(("openai", "deepgram"), "http://127.0.0.1:9/v1")  # is tried for seconds
    async with _terminal() as (terminal, address), _console(tmp_path, "tuned", address, nobody) as worker:
        await until((tmp_path / "accounts.db").exists)
        worker.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            assert await worker.wait() == 0
    assert not terminal.heard
    said = (tmp_path / "worker.log").read_text()
    assert "starting worker" not in said
    assert "Traceback" not in said


@contextlib.asynccontextmanager
async def _console(place: Path, profile: str, address: str, providers: Mapping[str, str]) -> AsyncGenerator[Process]:
    """LiveKit's command for the terminal at that address, with all that it writes in `place`."""
    environment = {f"{name.upper()}_BASE_URL": url for name, url in providers.items()} | {
        **dict.fromkeys(("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY"), "key"),
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "FIRSTWORD_PROFILE": profile,
        "FIRSTWORD_STORE_URL": f"sqlite:///{place / 'accounts.db'}",
        "FIRSTWORD_TRACES": str(place / "traces"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "OTEL_BSP_SCHEDULE_DELAY": "100",  # ms; nobody waits 5 s for a trace
    }
    command = (sys.executable, "-m", "livekit.agents", "console", str(worker_file(profile)), "--connect-addr", address)
    with (place / "worker.log").open("wb") as log:
        async with started(command, environment, output=log.fileno(), folder=place) as process:
            yield process
