"""The simulators below the plugins: the process they run in, and what they answer to requests no plugin sends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest

from firstword.rehearsal.providers import deepgram, voice
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import ProviderAddresses, simulators

LINEAR16 = "encoding=linear16&sample_rate=24000"


@pytest.fixture
async def addresses(tmp_path: Path) -> AsyncGenerator[ProviderAddresses]:
    """Simulators that are as quick as can be."""
    path = tmp_path / "providers.toml"
    path.write_text("connection = { median_ms = 0 }\ntts = { first_byte = { median_ms = 0 } }\n")
    async with simulators(Latencies.load(path)) as running:
        yield running


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def start(*arguments: str) -> Process:
    command = [sys.executable, "-m", "firstword.rehearsal.providers", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)


async def test_the_process_prints_its_addresses_and_ends_with_its_parent(session: aiohttp.ClientSession):
    """One line of JSON says where it listens; the end of its standard input, which a dead parent brings, ends it."""
    process = await start("--port", "0")
    assert process.stdout is not None
    assert process.stdin is not None
    where = json.loads(await process.stdout.readline())
    assert where["openai"].endswith("/v1")
    assert where["deepgram"].endswith("/v1")
    async with session.get(where["stats"]) as response:
        nothing = {"requests": 0, "connections": 0, "answers": 0}
        counts = await response.json()
        assert {"llm", "stt", "tts", "inference-llm", "inference-stt", "inference-tts"} <= counts.keys()
        assert all(count == nothing for count in counts.values())
    process.stdin.close()
    assert await process.wait() == 0


async def test_the_process_ends_on_sigterm(session: aiohttp.ClientSession):
    """Also with a WebSocket open."""
    process = await start()
    assert process.stdout is not None
    where = json.loads(await process.stdout.readline())
    async with session.ws_connect(f"{where['deepgram']}/speak?{LINEAR16}") as ws:
        assert (await ws.receive_json())["type"] == "Metadata"
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_a_wrong_latency_file_ends_the_process_with_one_line(tmp_path: Path):
    """Exit 2, and no traceback."""
    process = await start("--providers", str(tmp_path / "nowhere.toml"))
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        f"{tmp_path}/nowhere.toml: can't be read (No such file or directory); expected a TOML file like default.toml"
    ]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": [{"role": "user", "content": "not streaming"}]}']
)
async def test_what_is_no_streaming_chat_request_gets_400(
    addresses: ProviderAddresses, session: aiohttp.ClientSession, body: bytes
):
    """With OpenAI's kind of error."""
    async with session.post(f"{addresses.openai}/chat/completions", data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("query", ["", "encoding=mp3&sample_rate=24000", "encoding=linear16&sample_rate=fast"])
@pytest.mark.parametrize("path", ["speak", "listen"])
async def test_another_sound_than_linear16_gets_400(
    addresses: ProviderAddresses, session: aiohttp.ClientSession, path: str, query: str
):
    """With Deepgram's kind of error, at the handshake."""
    async with session.get(f"{addresses.deepgram}/{path}?{query}") as response:
        assert response.status == 400
        assert (await response.json())["err_code"] == "INVALID_QUERY_PARAMETER"


async def test_clear_silences_the_voice(addresses: ProviderAddresses, session: aiohttp.ClientSession):
    """What is being said stops, what was buffered is forgotten, and the connection serves the next text."""
    async with session.ws_connect(f"{addresses.deepgram}/speak?{LINEAR16}") as ws:
        await ws.send_json({"type": "Speak", "text": "This would be a rather long sentence, if it were heard."})
        await ws.send_json({"type": "Clear"})
        await ws.send_json({"type": "Speak", "text": "Hi"})
        await ws.send_json({"type": "Flush"})
        await ws.send_json({"type": "Close"})
        received = [message async for message in ws]
    texts = [message.json()["type"] for message in received if message.type is aiohttp.WSMsgType.TEXT]
    assert texts == ["Metadata", "Cleared", "Flushed"]
    sounds = [message.data for message in received if message.type is aiohttp.WSMsgType.BINARY]
    assert sounds[-1] == voice.speech("Hi", 24000).tobytes()
    assert len(sounds) < 10  # the whole would have been 19 syllables


async def test_the_ear_hangs_up_on_a_silent_client(
    addresses: ProviderAddresses, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
):
    """As Deepgram does with a connection opened ahead that gets neither audio nor KeepAlive."""
    monkeypatch.setattr(deepgram, "IDLE_TIMEOUT", 0.05)
    async with session.ws_connect(f"{addresses.deepgram}/listen?{LINEAR16}") as ws:
        message = await ws.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)
    assert str(message.extra).startswith("NET-0001")
