"""What a caller says before the agent's session is there is heard: recorded before they were connected, and at pick-up."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from livekit import api, rtc

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.missed import missed_of_greeting
from firstword.rehearsal.processes import started
from firstword.rehearsal.providers.hearing import SENTENCES
from firstword.telemetry.vocabulary import OUTCOME, ROOT
from tests.calls.sent import VOICE_TRACK
from tests.calls.speaker import Speaker
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import WorkerUnderTest

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

REPOSITORY = Path(__file__).parents[2]
RATE = 24_000
STOPPED_S = 1.5
"""How long the caller's machine stands still."""
RECORDING = "lk.agent.pre-connect-audio-buffer"
"""LiveKit's topic."""


@pytest.fixture(params=["baseline", "tuned"])
def worker(request: pytest.FixtureRequest) -> WorkerUnderTest:
    """Each profile."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("dispatch", ["join", "ahead"])
async def test_what_was_recorded_before_the_connection_is_heard(worker: WorkerUnderTest, dispatch: str) -> None:
    """As LiveKit's clients do it: the microphone is announced with a recording, sent once when the agent is active."""
    room = worker.room()
    if dispatch == "ahead":
        agent = api.RoomAgentDispatch(agent_name=worker.name)
        await worker.servers.rooms.room.create_room(
            api.CreateRoomRequest(name=room, agents=[agent], departure_timeout=1)
        )
        await worker.there(room)
        token = worker.servers.token(room)
    else:
        token = worker.servers.token(room, agent_name=worker.name)
    caller = Recorder(worker.servers.stack.livekit_url, token)
    await caller.connect()
    try:
        await caller.reads(SENTENCES[600])
    finally:
        await caller.leave()


async def test_what_is_said_before_the_greeting_is_heard(slow_tuned: WorkerUnderTest) -> None:
    """The account takes two seconds to read, and the session comes after the greeting; the caller speaks before both."""
    caller = slow_tuned.caller(account=(await slow_tuned.stranger()).id)
    await caller.connect()
    try:
        await caller.subscribes()
        await caller.say(300, 1.0)
        await caller.reads(SENTENCES[300])
    finally:
        await caller.leave()


class Recorder(Speaker):
    """A caller whose client recorded one second of speech before it was connected, and sends it when the agent is active."""

    microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, preconnect_buffer=True)

    async def connect(self) -> None:
        """Join, and send the recording to the agent as soon as it is there."""
        active: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(super().connect())
        await until(lambda: self._room is not None)

        def look(participant: rtc.RemoteParticipant) -> None:
            if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and not active.done():
                active.set_result(participant.identity)

        self.room.on("participant_active", look)
        await connecting
        for participant in self.room.remote_participants.values():
            if participant.state == rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE:
                look(participant)
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


@pytest.mark.soak
async def test_a_slow_ear_is_not_called_whole(tuned: WorkerUnderTest, tmp_path: Path) -> None:
    """The caller's machine stands still as it subscribes: the trace has its first word all the same, and a rehearsal says what was missed."""
    account, file, room = ACCOUNTS[0], tmp_path / "heard", tuned.room()
    token = tuned.servers.token(room, agent_name=tuned.name, metadata=json.dumps({"account": account.id}))
    began = time.time()
    command = (sys.executable, "-m", "tests.calls.slow_ear", tuned.servers.stack.livekit_url, token, str(file))
    async with started(command, {}, folder=REPOSITORY) as caller, asyncio.timeout(PATIENCE):
        assert caller.stdout is not None
        while (line := await caller.stdout.readline()).strip() != VOICE_TRACK.encode():
            assert line, "the caller has ended"
        caller.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_S)
        caller.send_signal(signal.SIGCONT)
        await caller.stdout.read()
        assert await caller.wait() == 0
    missed = missed_of_greeting(account, began, np.frombuffer(file.read_bytes(), np.int16))
    lost = missed.beginning_ms + missed.middle_ms  # by whether a first syllable came through
    assert 300 < lost <= 1e3 * STOPPED_S + 200
    start = next(span for span in reversed(tuned.spans) if span.name == ROOT)
    assert start.attributes[OUTCOME] == "first_word"
