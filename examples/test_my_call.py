"""Tests of a LiveKit agent's call without a server, in milliseconds: the agent, its session and its caller are real.

`firstword.agent.testing` puts a fake server below `livekit.rtc`, and time on a virtual clock. docs/testing.md tells more.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext

from firstword.agent.testing import FakeCaller, FakeJob, FakeLiveKit, LiveKitTest
from firstword.agent.testing.providers import FakeLLM, FakeSTT, FakeTTS, FakeVAD

pytest_plugins = ["firstword.agent.testing.fixtures"]

HELLO = "Hello, how can I help you?"


async def my_agent(job: JobContext, stt: FakeSTT, llm: FakeLLM, tts: FakeTTS) -> None:
    """The agent under test; its providers are what a test gives it."""
    await job.connect()
    await job.wait_for_participant()
    session = AgentSession[None](stt=stt, llm=llm, tts=tts, vad=FakeVAD(), turn_handling={"turn_detection": "stt"})
    await session.start(agent=Agent(instructions="Be kind."), room=job.room)
    session.say(HELLO)


def test_the_caller_is_greeted_and_answered(livekit_test: LiveKitTest) -> None:
    stt, llm, tts = FakeSTT(), FakeLLM("It is noon."), FakeTTS()

    async def scenario(livekit: FakeLiveKit) -> str:
        async def entrypoint(job: JobContext) -> None:
            await my_agent(job, stt, llm, tts)

        caller = FakeCaller(livekit)
        job = asyncio.create_task(FakeJob(livekit).run(entrypoint))
        await caller.join()
        joined = time.time()  # on the virtual clock
        await asyncio.sleep(5)
        assert tts.speaking.requests == [HELLO]
        assert caller.heard[0].at - joined == pytest.approx(tts.speaking.first_byte, abs=0.01)
        stt.say("What time is it?")
        await asyncio.sleep(5)
        assert llm.questions == ["What time is it?"]
        assert tts.speaking.requests == [HELLO, "It is noon."]
        await caller.leave()
        return await job

    assert livekit_test.run(scenario) == "room disconnected"


def test_a_telephone_that_never_answers(livekit_test: LiveKitTest) -> None:
    async def scenario(livekit: FakeLiveKit) -> None:
        agent = rtc.Room()
        await agent.connect("ws://anywhere", livekit.token("call", "agent", kind="agent"))
        phone = FakeCaller(livekit, kind="sip", attributes={"sip.callStatus": "ringing"}, microphone=False)
        await phone.join()
        assert not agent.remote_participants  # a server announces who only listens every three seconds
        await asyncio.sleep(3)
        assert agent.remote_participants["caller"].attributes == {"sip.callStatus": "ringing"}
        await phone.leave()

    livekit_test.run(scenario)
