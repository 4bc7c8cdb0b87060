"""A session in a terminal (`lk agent console`): no server, a room that LiveKit makes of mocks, sound over the command's own connection.

Such a job is prepared here, and then started by the same plan as any other.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import AgentSession, JobContext, cli

from firstword.agent import livekit_private


def here() -> bool:
    """Whether this process serves a terminal."""
    return cli.AgentsConsole.get_instance().enabled


def prepare(job: JobContext) -> None:
    """Let the mocks of a console's room answer what a start asks of participants. livekit-agents 1.8.9: ipc/mock_room.py.

    Its caller listens to the session's output and to no track: nothing is spoken there before the session.
    """
    room: Any = job.room
    callers = list(room.remote_participants.values())
    room.remote_participants = {caller.identity: caller for caller in callers}
    for participant in (room.local_participant, *callers):
        participant.attributes, participant.track_publications = {}, {}
        participant.permissions, participant.joined_at = livekit_private.no_permissions(), None


def subscribed(session: AgentSession[Any]) -> asyncio.Future[None] | None:
    """Done once somebody listens to what a started session says: at once in a console; None for a session without sound."""
    if not here():
        return session.room_io.subscribed_fut
    listening = asyncio.get_running_loop().create_future()
    listening.set_result(None)
    return listening
