"""Prepares a session in a terminal (`lk agent console`), which has no server: LiveKit makes its room of mocks.

Sound goes over the command's own connection. Such a job is prepared here, and then started by the same plan as any
other.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import AgentSession, JobContext, cli

from firstword.agent import livekit_private


def here() -> bool:
    """Returns whether this process serves a terminal."""
    return cli.AgentsConsole.get_instance().enabled


def prepare(job: JobContext) -> None:
    """Adds to the mocks of a console's room the attributes that a start reads of participants. livekit-agents 1.8.9:
    ipc/mock_room.py.

    The caller of a console listens to the session's output and to no track: nothing is spoken there before the session.
    """
    room: Any = job.room
    callers = list(room.remote_participants.values())
    room.remote_participants = {caller.identity: caller for caller in callers}
    for participant in (room.local_participant, *callers):
        participant.attributes, participant.track_publications = {}, {}
        participant.permissions, participant.joined_at = livekit_private.no_permissions(), None


def subscribed(session: AgentSession[Any]) -> asyncio.Future[None] | None:
    """Returns a future that is done once somebody listens to the started session. None if the session has no sound.

    In a console it is done at once.
    """
    if not here():
        return session.room_io.subscribed_fut
    listening = asyncio.get_running_loop().create_future()
    listening.set_result(None)
    return listening
