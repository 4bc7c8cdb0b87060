"""Asks LiveKit's API about rooms: who is in them, which agents were called, and whether an agent still answers.

The edge of `firstword.command.rescuer`. Its errors say nothing of a room's name, which may be a telephone's number.

Whether an agent lives, only the agent can tell. LiveKit's server keeps a participant whose process was killed for some 21 s,
and lists its job as running for ever (livekit-server 1.11.0, tried). So each agent is called by RPC, with a method that it
does not have. The native client of a living one refuses that within milliseconds, whatever Python does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, TypeVar

import aiohttp
from livekit import api
from livekit.api.twirp_client import TwirpClient
from livekit.protocol.agent import JobType
from livekit.protocol.room import PerformRpcRequest, PerformRpcResponse

from firstword.agent.accounts.identity import CLAIM_ATTRIBUTE
from firstword.agent.call.role import PUBLISH_ON_BEHALF, SIP_CALL_STATUS

METHOD: Final = "firstword.alive"
"""Name of the RPC method that no agent has."""
ANSWERS_WITHIN_MS: Final = 1_000
"""Milliseconds that an agent may take to refuse it."""
LATE_S: Final = 1.0
"""Seconds beyond that after which nobody knows whose fault the silence is: the agent's, or a server that is too busy."""
_PATIENCE: Final = aiohttp.ClientTimeout(total=5.0)
_SILENT: Final = ("RpcError 1501", "RpcError 1502", "transport failure")
"""What the server says of an agent that did not answer: connection timeout, response timeout, a transport that failed."""
_JOINING: Final = "data channel is not available"

_KIND: Final = api.ParticipantInfo.Kind
_HELPERS: Final = frozenset({_KIND.AGENT, _KIND.EGRESS, _KIND.INGRESS})
_ABSENT: Final = (api.TwirpErrorCode.NOT_FOUND, api.TwirpErrorCode.UNAVAILABLE)
"""What the server says of a room, a participant or a dispatch that is not there."""
_FAILURES: Final = (api.TwirpError, TimeoutError, aiohttp.ClientError, OSError, ValueError)
Result = TypeVar("Result")


class LiveKitError(Exception):
    """Raised where LiveKit's API gives no answer to use. The message says what was expected, and a possible cause."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
        """Whether the server refuses the key."""


class Answer(Enum):
    """What an agent in a room says when it is called."""

    ALIVE = auto()
    SILENT = auto()
    JOINING = auto()
    """It is on its way into the room."""
    ABSENT = auto()
    """It is in the room no more."""
    UNKNOWN = auto()
    """The server does not tell."""


@dataclass(frozen=True, slots=True, repr=False)
class RoomParticipant:
    """Somebody in a room. Has no repr: an identity may be a telephone's number."""

    identity: str
    joined: float
    """Unix time, seconds, by the server's clock."""
    caller: bool
    """Whether it is somebody to talk to."""
    agent: bool
    """Whether it is an agent that talks; an avatar, which talks for another, is none."""
    claim: str | None = None
    """The claim in its attributes, which only its signature makes true."""


@dataclass(frozen=True, slots=True, repr=False)
class RoomDispatch:
    """A call for an agent to a room, as the room has it."""

    id: str
    agent_name: str
    metadata: str
    created: float
    """Unix time, seconds, by the server's clock."""
    agents: tuple[str, ...] = ()
    """Identities of those who took it for the room; an agent of one participant is none."""


@dataclass(frozen=True, slots=True, repr=False)
class Room:
    """A room by its name, which says nothing in a log, and its id, which does."""

    name: str
    sid: str


class Rooms(Protocol):
    """What the rescuer asks of LiveKit. Each method raises LiveKitError."""

    async def rooms(self) -> Sequence[Room]:
        """Returns all rooms."""
        ...

    async def participants(self, room: str) -> Sequence[RoomParticipant]:
        """Returns who is in a room and connected."""
        ...

    async def dispatches(self, room: str) -> Sequence[RoomDispatch]:
        """Returns the dispatches of a room that were not deleted, oldest first."""
        ...

    async def answer(self, room: str, identity: str) -> Answer:
        """Calls an agent, and returns what it says."""
        ...

    async def dispatch(self, room: str, agent_name: str, metadata: str) -> RoomDispatch:
        """Calls an agent to a room. Returns the new dispatch."""
        ...

    async def delete(self, room: str, dispatch: str) -> None:
        """Deletes a dispatch, by id. Its agent, should it live, is told to end."""
        ...

    async def remove(self, room: str, identity: str) -> None:
        """Puts a participant out of a room."""
        ...


class LiveKitRooms:
    """The rooms of a LiveKit server."""

    def __init__(self, server: api.LiveKitAPI, calls: TwirpClient, key: str, secret: str) -> None:
        """calls: sends what `server` has no method for. Made by `open_rooms`."""
        self._server, self._calls = server, calls
        self._key, self._secret = key, secret
        self._can_call = True
        """Whether the server passes RPC calls on. One that does not shows a death only when it drops the agent."""

    async def rooms(self) -> Sequence[Room]:
        """Returns all rooms."""
        found = await _asked(self._server.room.list_rooms(api.ListRoomsRequest()))
        return [Room(each.name, each.sid) for each in found.rooms]

    async def participants(self, room: str) -> Sequence[RoomParticipant]:
        """Returns who is in a room and connected."""
        found = await _asked(self._server.room.list_participants(api.ListParticipantsRequest(room=room)))
        return [_participant(each) for each in found.participants if each.state != api.ParticipantInfo.DISCONNECTED]

    async def dispatches(self, room: str) -> Sequence[RoomDispatch]:
        """Returns the dispatches of a room that were not deleted, oldest first."""
        found = await _asked(self._server.agent_dispatch.list_dispatch(room))
        listed = (_dispatch(each) for each in found if not each.state.deleted_at)
        return sorted(listed, key=lambda each: (each.created, each.id))

    async def answer(self, room: str, identity: str) -> Answer:
        """Calls an agent, and returns what it says."""
        if not self._can_call:
            return Answer.UNKNOWN
        grants = api.VideoGrants(room_admin=True, room=room)
        token = api.AccessToken(self._key, self._secret).with_grants(grants).to_jwt()
        request = PerformRpcRequest(
            room=room, destination_identity=identity, method=METHOD, response_timeout_ms=ANSWERS_WITHIN_MS
        )
        headers = {"authorization": f"Bearer {token}"}
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await self._calls.request("RoomService", "PerformRpc", request, headers, PerformRpcResponse)
        except api.TwirpError as error:
            said = self._read(error)
            late = clock() - began > ANSWERS_WITHIN_MS / 1000 + LATE_S
            return Answer.UNKNOWN if said is Answer.SILENT and late else said
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Answer.UNKNOWN
        return Answer.ALIVE

    async def dispatch(self, room: str, agent_name: str, metadata: str) -> RoomDispatch:
        """Calls an agent to a room. Returns the new dispatch."""
        request = api.CreateAgentDispatchRequest(room=room, agent_name=agent_name, metadata=metadata)
        return _dispatch(await _asked(self._server.agent_dispatch.create_dispatch(request)))

    async def delete(self, room: str, dispatch: str) -> None:
        """Deletes a dispatch, by id. Its agent, should it live, is told to end."""
        await _gone(self._server.agent_dispatch.delete_dispatch(dispatch, room))

    async def remove(self, room: str, identity: str) -> None:
        """Puts a participant out of a room."""
        await _gone(self._server.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity)))

    def _read(self, error: api.TwirpError) -> Answer:
        if "RpcError 1400" in error.message:
            return Answer.ALIVE
        if any(words in error.message for words in _SILENT):
            return Answer.SILENT
        if _JOINING in error.message:
            return Answer.JOINING
        if error.code == api.TwirpErrorCode.NOT_FOUND:
            return Answer.ABSENT
        if error.code in (api.TwirpErrorCode.BAD_ROUTE, api.TwirpErrorCode.UNIMPLEMENTED):
            self._can_call = False
        return Answer.UNKNOWN


@asynccontextmanager
async def open_rooms(url: str, key: str, secret: str) -> AsyncGenerator[LiveKitRooms]:
    """Context manager for the rooms of the server at a URL. No request is sent twice: one of them calls agents."""
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        server = api.LiveKitAPI(url, key, secret, session=session, failover=False)
        yield LiveKitRooms(server, TwirpClient(session, url, "livekit", failover=False), key, secret)


async def _asked(asking: Awaitable[Result]) -> Result:
    try:
        return await asking
    except _FAILURES as error:
        raise _told(error) from None


async def _gone(deleting: Awaitable[object]) -> None:
    """What is not there any more need not be deleted."""
    try:
        await deleting
    except _FAILURES as error:
        if not isinstance(error, api.TwirpError) or error.code not in _ABSENT:
            raise _told(error) from None


def _told(error: Exception) -> LiveKitError:
    if not isinstance(error, api.TwirpError):
        return LiveKitError(
            f"LiveKit's server gives no answer ({type(error).__name__}); possible cause: it is down, or LIVEKIT_URL is another's"
        )
    if error.status not in (401, 403):
        return LiveKitError(f"LiveKit's server answers {error.status} ({error.code})")
    return LiveKitError(
        "LiveKit's server refuses the key; expected its LIVEKIT_API_KEY and LIVEKIT_API_SECRET; "
        "possible cause: another server's, or a clock that is minutes apart",
        refused=True,
    )


def _participant(info: api.ParticipantInfo) -> RoomParticipant:
    on_behalf = bool(info.attributes.get(PUBLISH_ON_BEHALF))
    hidden = info.permission.hidden or info.permission.recorder
    talks = not (info.HasField("permission") and not info.permission.can_publish)
    on_the_line = info.kind != _KIND.SIP or info.attributes.get(SIP_CALL_STATUS) == "active"
    return RoomParticipant(
        identity=info.identity,
        joined=float(info.joined_at),
        caller=info.kind not in _HELPERS and not on_behalf and not hidden and talks and on_the_line,
        agent=info.kind == _KIND.AGENT and not on_behalf,
        claim=info.attributes.get(CLAIM_ATTRIBUTE),
    )


def _dispatch(found: api.AgentDispatch) -> RoomDispatch:
    of_the_room = (job for job in found.state.jobs if job.type == JobType.JT_ROOM)
    taken = (job.state.participant_identity for job in of_the_room)
    return RoomDispatch(
        found.id, found.agent_name, found.metadata, found.state.created_at / 1e9, tuple(each for each in taken if each)
    )
