"""Sound and messages between participants: the same tests on the fake and on a real LiveKit server, as in test_livekit.py."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from livekit import rtc

from tests.agent.testing.servers import PATIENCE, Server, Servers, published

SETTLES_S = 0.3
"""Seconds: what did not happen by now is not going to."""


def test_sound_reaches_who_subscribes(servers: Servers) -> None:
    """From then on: what was said before is lost; after the end of the subscription there is silence."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent", auto_subscribe=False)
        caller = await server.join("caller")
        _, source = await published(caller, "microphone")
        await agent.reports("track_published")
        tone = (10_000 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(tone.tobytes(), 24_000, 1, len(tone)))
        await source.wait_for_playout()
        (publication,) = agent.remote_participants["caller"].track_publications.values()
        publication.set_subscribed(True)
        await agent.reports("track_subscribed")
        assert publication.track is not None
        stream = rtc.AudioStream(publication.track, sample_rate=16_000, num_channels=1)
        loud = 0.0

        async def listen() -> None:
            nonlocal loud
            async for event in stream:
                samples = np.frombuffer(bytes(event.frame.data), dtype=np.int16)
                assert event.frame.sample_rate == 16_000
                if np.abs(samples.astype(np.int32)).max() > 3_000:
                    loud += event.frame.duration

        listening = asyncio.create_task(listen())
        await source.capture_frame(rtc.AudioFrame(tone.tobytes(), 24_000, 1, len(tone)))
        await source.wait_for_playout()
        await asyncio.sleep(SETTLES_S)
        publication.set_subscribed(False)
        await agent.reports("track_unsubscribed")
        await stream.aclose()
        await listening
        assert loud == pytest.approx(1.0, abs=0.15)
        assert not publication.subscribed

    servers.run(scenario)


def test_a_queue_keeps_the_pace(servers: Servers) -> None:
    """Capturing waits while the queue is full, playout until it is empty; a cleared queue is."""

    async def scenario(server: Server) -> None:
        caller = await server.join("caller")
        source = rtc.AudioSource(24_000, 1, queue_size_ms=200)
        await caller.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("voice", source))
        now = asyncio.get_running_loop().time
        began = now()
        for _ in range(10):
            await source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2_400))
        assert now() - began == pytest.approx(0.8, abs=0.2)
        await source.wait_for_playout()
        assert now() - began == pytest.approx(1.0, abs=0.2)
        await source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2_400))
        source.clear_queue()
        await source.wait_for_playout()
        assert now() - began == pytest.approx(1.0, abs=0.3)

    servers.run(scenario)


def test_messages(servers: Servers) -> None:
    """Data, keys, texts and bytes come in order and to whom they are sent; a text that nobody handles is lost."""

    async def scenario(server: Server) -> None:
        agent, caller, other = [await server.join(each) for each in ("agent", "caller", "other")]
        await agent.reports("participant_connected", "other")
        await agent.reports("participant_connected", "caller")
        got: list[object] = []
        reading: list[asyncio.Task[None]] = []

        def on_text(reader: rtc.TextStreamReader, identity: str) -> None:
            async def read() -> None:
                got.append((identity, await reader.read_all(), reader.info.topic, reader.info.attributes))

            reading.append(asyncio.create_task(read()))

        def on_bytes(reader: rtc.ByteStreamReader, identity: str) -> None:
            async def read() -> None:
                got.append((identity, b"".join([part async for part in reader]), reader.info.name))

            reading.append(asyncio.create_task(read()))

        async def read_all(count: int) -> None:
            async with asyncio.timeout(PATIENCE):
                while len(got) < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        me = caller.local_participant
        await me.send_text("lost", topic="chat")
        await asyncio.sleep(SETTLES_S)
        agent.register_text_stream_handler("chat", on_text)
        agent.register_byte_stream_handler("file", on_bytes)
        await me.publish_data(b"to all", topic="t")
        await me.publish_dtmf(code=5, digit="5")
        await me.publish_data(b"to other", destination_identities=["other"])
        info = await me.send_text("hello", topic="chat", attributes={"x": "y"})
        await read_all(1)
        writer = await me.stream_text(topic="chat")
        for part in ("one ", "two"):
            await writer.write(part)
        await writer.aclose()
        await read_all(2)
        sender = await me.stream_bytes("sound", topic="file")
        for part in (b"abc", b"def"):
            await sender.write(part)
        await sender.aclose()
        await read_all(3)
        await other.reports("data_received", "to other by caller")
        assert info.size == len("hello")
        assert agent.about("data_received", "sip_dtmf_received") == [
            ("data_received", "to all by caller"),
            ("sip_dtmf_received", "5"),
        ]
        assert got == [
            ("caller", "hello", "chat", {"x": "y"}),
            ("caller", "one two", "chat", {}),
            ("caller", b"abcdef", "sound"),
        ]
        assert not caller.about("data_received")

    servers.run(scenario)


def test_calls(servers: Servers) -> None:
    """RPC: answered, failed in the handler, unknown there, late."""

    async def scenario(server: Server) -> None:
        agent, caller = await server.join("agent"), await server.join("caller")

        async def sleepy(_: rtc.RpcInvocationData) -> str:
            await asyncio.sleep(30)
            return "never"

        def greet(call: rtc.RpcInvocationData) -> str:
            return f"hello {call.caller_identity} {call.payload}"

        def refuse(_: rtc.RpcInvocationData) -> str:
            raise rtc.RpcError(1_234, "no")

        agent.local_participant.register_rpc_method("greet", greet)
        agent.local_participant.register_rpc_method("refuse", refuse)
        agent.local_participant.register_rpc_method("sleepy", sleepy)

        async def call(method: str) -> object:
            try:
                return await caller.local_participant.perform_rpc(
                    destination_identity="agent", method=method, payload="p", response_timeout=2
                )
            except rtc.RpcError as error:
                return error.code

        assert [await call(each) for each in ("greet", "refuse", "unknown", "sleepy")] == [
            "hello caller p",
            1_234,
            rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD,
            rtc.RpcError.ErrorCode.RESPONSE_TIMEOUT,
        ]

    servers.run(scenario)
