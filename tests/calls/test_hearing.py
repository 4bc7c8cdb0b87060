"""What a caller says before the agent's session is there is heard: recorded before they were connected, and at pick-up."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from livekit import rtc

from firstword.rehearsal.providers.hearing import SENTENCES
from tests.calls.stage import PATIENCE, Actor, Speaker, until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

RATE = 24_000
RECORDING = "lk.agent.pre-connect-audio-buffer"
"""LiveKit's topic."""


@pytest.fixture(params=["baseline", "tuned"])
def actor(request: pytest.FixtureRequest) -> Actor:
    """Each profile."""
    return request.getfixturevalue(request.param)


async def test_what_was_recorded_before_the_connection_is_heard(actor: Actor) -> None:
    """As LiveKit's clients do it: the microphone is announced with a recording, sent once when the agent is active."""
    token = actor.stage.token(actor.room(), agent_name=actor.name)
    caller = Recorder(actor.stage.stack.livekit_url, token)
    await caller.connect()
    try:
        await caller.hear(PATIENCE)
        await caller.reads(SENTENCES[600], PATIENCE)
    finally:
        await caller.leave()


async def test_what_is_said_before_the_greeting_is_heard(slow_tuned: Actor) -> None:
    """The account takes two seconds to read, and the session comes after the greeting; the caller speaks before both."""
    caller = slow_tuned.caller(account=(await slow_tuned.stranger()).id)
    await caller.connect()
    try:
        await caller.subscribes(PATIENCE)
        await caller.say(300, 1.0)
        await caller.reads(SENTENCES[300], PATIENCE)
    finally:
        await caller.leave()


class Recorder(Speaker):
    """A caller whose client recorded one second of speech before it was connected, and sends it when the agent is active."""

    microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, preconnect_buffer=True)

    async def connect(self) -> None:
        """Join, and send the recording to the agent as soon as it is there."""
        active: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(super().connect())
        await until(lambda: self._room is not None, PATIENCE)

        def look(participant: rtc.RemoteParticipant) -> None:
            if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and not active.done():
                active.set_result(participant.identity)

        self.room.on("participant_active", look)
        await connecting
        agent = await asyncio.wait_for(active, PATIENCE)
        (publication,) = self.room.local_participant.track_publications.values()
        wave = 12_000 * np.sin(2 * np.pi * 600 / RATE * np.arange(RATE))
        stream = await self.room.local_participant.stream_bytes(
            RECORDING,
            topic=RECORDING,
            destination_identities=[agent],
            attributes={"trackId": publication.sid, "sampleRate": str(RATE), "channels": "1"},
        )
        await stream.write(wave.astype("<i2").tobytes())
        await stream.aclose()
