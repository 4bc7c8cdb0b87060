"""Starts LiveKit's session of a call: it takes over voice, ear and greeting, and its failure ends the call.

Under the plan's `session` task.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from livekit import rtc
from livekit.agents import NOT_GIVEN, Agent, AgentSession, CloseEvent, CloseReason, NotGivenOr
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.voice import room_io
from livekit.agents.voice.agent_session import RecordingOptions

from firstword.agent.call import ending
from firstword.agent.call.call import Call
from firstword.agent.call.on_enter import hush_on_enter
from firstword.telemetry.record import Outcome


async def start_session(
    call: Call,
    session: AgentSession[Any],
    agent: Agent,
    options: room_io.RoomOptions,
    *,
    record: NotGivenOr[bool | RecordingOptions] = NOT_GIVEN,
) -> AgentSession[Any]:
    """Starts the session with the call's voice and ear, hands it the greeting that has begun, and returns it.

    options: LiveKit's for the room; the call's voice and ear replace theirs. record: LiveKit's. Raises what
    `AgentSession.start` raises.
    """
    if call.ear is not None:
        session.input.audio = call.ear
    if call.voice is not None:
        session.output.audio = call.voice.output

    def closed(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            part = "conversation" if event.error is None else event.error.type
            call.run.stop(Outcome.FAILED)
            ending.end(call, f"conversation failed: {part}", sorry=True)

    session.on("close", closed)
    hush_on_enter(session, agent, lambda: call.said is not None and call.said.done())
    listens_to = call.limits.presence.caller.participant
    options = replace(
        options,
        participant_identity=listens_to.identity,
        participant_kinds=[*DEFAULT_PARTICIPANT_KINDS, listens_to.kind],
        audio_output=options.audio_output if call.voice is None else False,
        audio_input=options.audio_input if call.ear is None else False,
        close_on_disconnect=False,  # the call knows who has left for good
    )
    # LiveKit's types leave out that it may be not given
    await session.start(agent=agent, room=call.job.room, room_options=options, record=cast("bool", record))
    call.session = session
    if call.messages is not None:
        call.messages.session_runs()
    if call.speech is not None:
        call.goes_on_by(call.speech.hand_over(session))
    return session


def hear_everybody(call: Call) -> None:
    """Subscribes to all tracks, now and later, as LiveKit's own connect does. Does nothing unless the room was joined
    without subscribing.
    """
    if not call.light:
        return

    def published(publication: rtc.RemoteTrackPublication, _: rtc.RemoteParticipant) -> None:
        publication.set_subscribed(True)

    room = call.job.room
    room.on("track_published", published)
    for participant in room.remote_participants.values():
        for publication in participant.track_publications.values():
            published(publication, participant)
