"""A fake LiveKit server, and the native client of everybody who connects to it, in this process and on the running
loop's time.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from livekit import api, rtc

from firstword.agent.testing import connection, media, messages
from firstword.agent.testing.native import Native
from firstword.agent.testing.participant import Participant
from firstword.agent.testing.room import Delays, ServerRoom

URL = "ws://livekit.fake"
KEY, SECRET = "fake-key", "fake-secret-of-32-characters-or-more"


class FakeLiveKit:
    """A fake LiveKit server. While it is entered (`with`), each `rtc.Room` of this process connects to it, whatever its
    URL.

    `livekit.rtc` itself stays as it is: rooms, participants, tracks, readers are LiveKit's own. `delays`: how long
    things take. `rooms`: the newest room of each name.
    """

    def __init__(self, delays: Delays | None = None) -> None:
        self.delays = delays or Delays()
        self.rooms: dict[str, ServerRoom] = {}
        self._past: list[ServerRoom] = []
        self._native = Native()
        media.register(self._native)
        messages.register(self._native, self.delays)
        connection.register(self._native, self.delays, self.room)

    def __enter__(self) -> Self:
        self._native.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._native.remove()

    def token(
        self,
        room: str,
        identity: str,
        *,
        kind: str = "standard",
        attributes: dict[str, str] | None = None,
        metadata: str = "",
        name: str = "",
        **grants: Any,
    ) -> str:
        """Returns a token to join the room. kind: one of LiveKit's participant kinds, in lower case; grants: of
        `api.VideoGrants`.
        """
        token = api.AccessToken(KEY, SECRET).with_identity(identity).with_metadata(metadata).with_name(name)
        token.with_attributes(attributes or {}).with_grants(api.VideoGrants(room_join=True, room=room, **grants))
        token.claims.kind = kind  # `with_kind` does not know all that a server takes
        return token.to_jwt()

    def room(self, name: str, configuration: dict[str, Any] | None = None) -> ServerRoom:
        """Returns the open room of that name, made with the configuration of a token if there is none."""
        if name not in self.rooms or self.rooms[name].closed:
            asked = configuration or {}
            self.rooms[name] = ServerRoom(
                name,
                self.delays,
                empty_timeout=float(asked.get("emptyTimeout", 300)),
                departure=float(asked.get("departureTimeout", 20)),
            )
            self._past.append(self.rooms[name])
        return self.rooms[name]

    def connections(self, room: str, identity: str) -> list[Participant]:
        """Returns all connections of that identity to rooms of that name, also those that are over, in order."""
        rooms = [each for each in self._past if each.name == room]
        return [each for room in rooms for each in room.past if each.identity == identity]


class FakeRoomService:
    """The methods of `LiveKitAPI.room` that a call uses, on a fake server. They raise TwirpError as a real server does."""

    def __init__(self, livekit: FakeLiveKit) -> None:
        self._livekit = livekit

    async def delete_room(self, delete: api.DeleteRoomRequest) -> api.DeleteRoomResponse:
        """Closes the room and disconnects everybody in it."""
        self._room(delete.room).close(rtc.DisconnectReason.ROOM_DELETED)
        return api.DeleteRoomResponse()

    async def remove_participant(self, remove: api.RoomParticipantIdentity) -> api.RemoveParticipantResponse:
        """Disconnects a participant from the room."""
        room = self._room(remove.room)
        room.remove(self._participant(room, remove.identity), rtc.DisconnectReason.PARTICIPANT_REMOVED)
        return api.RemoveParticipantResponse()

    async def update_participant(self, update: api.UpdateParticipantRequest) -> api.ParticipantInfo:
        """Changes a participant's name, metadata, attributes (an empty one is removed) or permissions."""
        room = self._room(update.room)
        said = update.permission
        permission = {name: getattr(said, name) for name in _PERMISSIONS} if update.HasField("permission") else None
        room.change(
            self._participant(room, update.identity),
            name=update.name or None,
            metadata=update.metadata or None,
            attributes=dict(update.attributes) or None,
            permission=permission,
        )
        return api.ParticipantInfo(identity=update.identity)

    async def update_room_metadata(self, update: api.UpdateRoomMetadataRequest) -> api.Room:
        """Changes the room's metadata."""
        self._room(update.room).change_metadata(update.metadata)
        return api.Room(name=update.room, metadata=update.metadata)

    def _room(self, name: str) -> ServerRoom:
        room = self._livekit.rooms.get(name)
        if room is None or room.closed:
            raise api.TwirpError("not_found", "requested room does not exist", status=404)
        return room

    def _participant(self, room: ServerRoom, identity: str) -> Participant:
        if identity not in room.participants:
            raise api.TwirpError("not_found", "participant does not exist", status=404)
        return room.participants[identity]


class FakeAPI:
    """Takes the place of `LiveKitAPI`, with the room service of a fake server."""

    def __init__(self, livekit: FakeLiveKit) -> None:
        self.room = FakeRoomService(livekit)

    async def aclose(self) -> None:
        """Does nothing, as no connection is open."""


_PERMISSIONS = ("can_subscribe", "can_publish", "can_publish_data", "hidden", "can_update_metadata")
