"""What callers say and send before the session is there reaches it, on virtual time; and what waits for a user's own handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from livekit import rtc

from firstword.agent.call.early_messages import MOST_KEPT, EarlyMessages
from firstword.agent.testing import FakeLiveKit
from firstword.agent.testing.livekit import URL
from firstword.agent.testing.virtual import LiveKitTest
from tests.agent.virtual_calls import BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

PROFILES = pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])


async def _join(call: VirtualCall) -> None:
    await call.caller.join()


@PROFILES
def test_speech_before_the_greeting_is_heard(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """The TTS takes two seconds; the caller says hello meanwhile."""

    async def slow(call: VirtualCall) -> None:
        call.tts.speaking.first_byte = 1.0
        await call.caller.join()

    async def scenario(call: VirtualCall) -> None:
        await call.at(0.3)
        await call.caller.say(0.5)
        assert not call.caller.heard
        await call.hang_up(after=2.0)
        assert call.stt.voiced == pytest.approx(0.5, abs=0.1)

    virtual_calls.run(scenario, shape, prepare=slow)


@PROFILES
def test_what_is_typed_as_soon_as_the_agent_is_there_is_answered(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """A client sends its text once, at the moment when it is told that the agent can take it."""

    async def scenario(call: VirtualCall) -> None:
        sent = asyncio.Event()

        def active(_: rtc.RemoteParticipant) -> None:
            typing = asyncio.ensure_future(call.caller.room.local_participant.send_text("Hello?", topic="lk.chat"))
            typing.add_done_callback(lambda _: sent.set())

        call.caller.room.on("participant_active", active)
        await sent.wait()
        assert call.job.context.room.isconnected()
        await call.hang_up(after=5.0)
        assert "Hello?" in call.llm.questions

    virtual_calls.run(scenario, shape, prepare=_join)


def _meet(scenario: Callable[[rtc.Room, rtc.Room], Any], keep: EarlyMessages) -> None:
    """Two rooms that are connected to each other: the client's, and the agent's, which keeps messages."""

    async def conduct(livekit: FakeLiveKit) -> None:
        client, agent = rtc.Room(), rtc.Room()
        keep.keep_streams(agent)
        await agent.connect(URL, livekit.token("room", "agent", kind="agent"))
        keep.keep_calls(agent.local_participant)
        await client.connect(URL, livekit.token("room", "client"))
        await scenario(client, agent)
        await client.disconnect()
        await agent.disconnect()

    LiveKitTest().run(conduct)


def test_streams_wait_for_their_handler_in_order() -> None:
    """Those of a kept topic, whenever the handler is registered; later ones come at once."""
    read = list[str]()

    async def handle(reader: rtc.TextStreamReader) -> None:
        read.append(await reader.read_all())

    async def scenario(client: rtc.Room, agent: rtc.Room) -> None:
        for text in ("one", "two"):
            await client.local_participant.send_text(text, topic="orders")
        await asyncio.sleep(10)
        reading = set[asyncio.Task[None]]()
        agent.register_text_stream_handler(
            "orders", lambda reader, _: reading.add(asyncio.ensure_future(handle(reader)))
        )
        await client.local_participant.send_text("three", topic="orders")
        await asyncio.sleep(1)

    _meet(scenario, EarlyMessages(["orders"], []))
    assert read == ["one", "two", "three"]


def test_no_more_streams_are_kept_than_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A client that floods a topic costs memory for so many streams and no more."""
    kept = list[str]()

    async def scenario(client: rtc.Room, agent: rtc.Room) -> None:
        for number in range(MOST_KEPT + 2):
            await client.local_participant.send_text(str(number), topic="orders")
        await asyncio.sleep(1)
        agent.register_text_stream_handler("orders", lambda reader, identity: kept.append(identity))

    _meet(scenario, EarlyMessages(["orders"], []))
    assert len(kept) == MOST_KEPT
    assert sum("is dropped" in record.message for record in caplog.records) == 2


def test_a_call_of_a_kept_method_waits_for_its_handler() -> None:
    """The answer is the handler's; one that nobody registers in time ends in an error."""
    answers = list[str]()

    async def scenario(client: rtc.Room, agent: rtc.Room) -> None:
        def call(method: str) -> asyncio.Task[str]:
            asking = client.local_participant.perform_rpc(
                destination_identity="agent", method=method, payload="who?", response_timeout=8.0
            )
            return asyncio.ensure_future(asking)

        answered, refused = call("name"), call("nobody")
        await asyncio.sleep(2)

        async def name(call: rtc.RpcInvocationData) -> str:
            return f"{call.payload} Ada"

        agent.local_participant.register_rpc_method("name", name)
        answers.append(await answered)
        with pytest.raises(rtc.RpcError):
            await refused

    _meet(scenario, EarlyMessages([], ["name", "nobody"]))
    assert answers == ["who? Ada"]
