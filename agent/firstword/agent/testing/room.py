"""The server's side of a room: who is in it, and when the others are told.

As livekit-server 1.11 does it: what publishers do is told at once, and so is a change of attributes or permissions.
That somebody else came or left is told every three seconds (`Delays.announce`). So an agent may hear of its caller
seconds after they have subscribed to its voice. It hears of a caller who was back in between only when all that is
over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from typing import Any

from livekit import rtc

from firstword.agent.testing.agenda import later
from firstword.agent.testing.media import Track
from firstword.agent.testing.participant import ACTIVE, JOINED, Participant, Publication, attributes_change

_sids = count(1)


@dataclass
class Delays:
    """The fake server's delays, in seconds. They may be changed at any time."""

    connect: float = 0.050
    media: float = 0.0
    """From the connect to the media connection. A participant who publishes nothing hears nothing before it."""
    publish: float = 0.010
    subscribe: float = 0.020
    reconnect: float = 0.100
    message: float = 0.001
    """For data, texts and RPC calls from one client to another."""
    unpublish: float = 0.200
    announce: float = 3.0
    """Between two announcements of who came and left without publishing anything, counted from the room's beginning."""
    rpc_answers: float = 7.0
    """Until an RPC call to nobody fails."""
    refused: float = 10.0
    """Until publishing a track without the permission fails."""


def new_sid(prefix: str) -> str:
    """Returns a new id like LiveKit's; the prefix is RM_, PA_ or TR_."""
    return f"{prefix}_{next(_sids):012d}"


class ServerRoom:
    """A room on the fake server. `participants`: who is connected, by identity."""

    def __init__(self, name: str, delays: Delays, *, empty_timeout: float = 300.0, departure: float = 20.0) -> None:
        self.name, self.delays = name, delays
        self.sid = new_sid("RM")
        self.metadata = ""
        self.participants: dict[str, Participant] = {}
        self.past: list[Participant] = []
        """Everybody who has ever been in it, in order."""
        self.closed = False
        self._departure, self._empty = departure, empty_timeout
        self._created = time.monotonic()
        self._created_at = time.time()
        self._queued: dict[str, Participant] = {}
        self._ticking = False
        later(empty_timeout, self._close_if_never_used)

    @property
    def info(self) -> dict[str, Any]:
        """Returns what messages say of the room: id, name, metadata, when it was made, its timeouts."""
        return {
            "sid": self.sid,
            "name": self.name,
            "metadata": self.metadata,
            "creation_time": round(self._created_at * 1e3),
            "empty_timeout": round(self._empty),
            "departure_timeout": round(self._departure),
        }

    # --- coming and going

    def join(self, participant: Participant) -> list[dict[str, Any]]:
        """Lets a participant in. Returns what the answer to their connect says of the others.

        A participant of the same identity is removed.
        """
        if (same := self.participants.get(participant.identity)) is not None:
            self.remove(same, rtc.DisconnectReason.DUPLICATE_IDENTITY)
        participant.info.state = JOINED
        participant.info.joined_at = round(time.time() * 1e3)
        self.participants[participant.identity] = participant
        self.past.append(participant)
        self.tell(participant)
        others = [each for each in self.participants.values() if each is not participant]
        return [participant.introduce(each) for each in others if not each.info.permission.hidden]

    def connected(self, participant: Participant) -> None:
        """Records that the participant's media connection is up, and subscribes them to the tracks that are there."""
        if participant.left:
            return
        participant.event(connection_state_changed={"state": rtc.ConnectionState.CONN_CONNECTED})
        participant.event(token_refreshed={})
        participant.info.state, participant.connected = ACTIVE, True
        self.tell(participant)
        for other in list(self.participants.values()):
            for publication in other.publications.values() if other is not participant else ():
                if participant.auto_subscribe:
                    participant.subscribe(publication, after=0)

    def active(self, participant: Participant) -> None:
        """Records that the participant sends or receives media, and tells the others."""
        if participant.info.state != ACTIVE:
            participant.info.state = ACTIVE
            self.tell(participant)

    def remove(self, participant: Participant, reason: int) -> None:
        """Removes a participant who has left or must leave. Tells their client the `reason`, and tells the others."""
        if participant.left:
            return
        participant.left = True
        participant.info.disconnect_reason = reason  # pyright: ignore[reportAttributeAccessIssue]  # an int does
        self.participants.pop(participant.identity, None)
        for publication in participant.publications.values():
            publication.silence()
        by_themselves = reason == rtc.DisconnectReason.CLIENT_INITIATED
        for sid in list(participant.publications) if by_themselves else ():
            participant.event(local_track_unpublished={"publication_sid": sid})
        # a newer connection of theirs is about to say so
        if reason != rtc.DisconnectReason.DUPLICATE_IDENTITY or not participant.publisher:
            self.tell(participant)
        for publication in (p for other in self.participants.values() for p in other.publications.values()):
            publication.subscribers.pop(participant, None)
        participant.event(connection_state_changed={"state": rtc.ConnectionState.CONN_DISCONNECTED})
        participant.event(disconnected={"reason": reason})
        participant.event(eos={})
        if not self._people():
            later(self._departure, self._close_if_left)

    def reconnect(self, participant: Participant) -> None:
        """Has a participant's client lose the server and find it again after `Delays.reconnect` seconds."""
        participant.event(connection_state_changed={"state": rtc.ConnectionState.CONN_RECONNECTING})
        participant.event(reconnecting={})

        def found() -> None:
            if not participant.left:
                participant.event(token_refreshed={})
                participant.event(connection_state_changed={"state": rtc.ConnectionState.CONN_CONNECTED})
                participant.event(reconnected={})

        later(self.delays.reconnect, found)

    def close(self, reason: int) -> None:
        """Closes the room and removes everybody from it."""
        self.closed = True
        for participant in list(self.participants.values()):
            self.remove(participant, reason)

    def _people(self) -> list[Participant]:
        return [
            each for each in self.participants.values() if each.info.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        ]

    def _close_if_left(self) -> None:
        if not self._people():
            self.close(rtc.DisconnectReason.ROOM_CLOSED)

    def _close_if_never_used(self) -> None:
        if not any(each.info.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT for each in self.past):
            self.close(rtc.DisconnectReason.ROOM_CLOSED)

    # --- tracks

    def publish(self, participant: Participant, track: Track, source: int) -> Publication:
        """Publishes a track of the participant and tells the others. Returns the publication."""
        publication = Publication(new_sid("TR"), participant, track, source)
        participant.publications[publication.sid] = publication
        track.publication = publication
        if track.source is not None:
            track.source.publications.append(publication)
        participant.info.state = ACTIVE
        later(self.delays.message, lambda: self.tell(participant))
        return publication

    def unpublish(self, participant: Participant, sid: str) -> None:
        """Ends one of the participant's publications, by id. The others are told a little later."""
        participant.take_back(sid)
        participant.event(local_track_unpublished={"publication_sid": sid})
        later(self.delays.unpublish, lambda: self.tell(participant, at_once=True))

    # --- changes

    def change(
        self,
        participant: Participant,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: dict[str, str] | None = None,
        permission: dict[str, Any] | None = None,
    ) -> None:
        """Changes name, metadata, attributes or permissions of a participant, and tells them first, then the others.

        An attribute with an empty value is removed.
        """
        info, whose = participant.info, {"participant_identity": participant.identity}
        if permission is not None:
            info.permission.Clear()
            info.permission.MergeFrom(type(info.permission)(**permission))
            participant.event(participant_permission_changed={**whose, "permission": info.permission})
            participant.event(token_refreshed={})
            for sid in list(participant.publications) if not info.permission.can_publish else ():
                participant.take_back(sid)
        if name is not None:
            info.name = name
            participant.event(participant_name_changed={**whose, "name": name})
        if metadata is not None:
            info.metadata = metadata
            participant.event(participant_metadata_changed={**whose, "metadata": metadata})
        if attributes is not None:
            before = participant.attributes
            after = {key: value for key, value in {**before, **attributes}.items() if value}
            info.attributes.clear()
            info.attributes.update(after)
            participant.event(participant_attributes_changed={**whose, **attributes_change(before, after)})
        self.tell(participant, at_once=True)

    def change_metadata(self, metadata: str) -> None:
        """Changes the room's own metadata and tells everybody."""
        self.metadata = metadata
        for participant in self.participants.values():
            participant.event(room_metadata_changed={"metadata": metadata})
            participant.event(room_updated=self.info)

    # --- telling

    def tell(self, participant: Participant, *, at_once: bool = False) -> None:
        """Tells the others of a participant's change: at once, or with the next announcement."""
        queued = self._queued.pop(participant.identity, None)
        another = queued is not None and queued is not participant
        if at_once or another or participant.publisher:
            self._announce([participant])
            return
        self._queued[participant.identity] = participant
        if not self._ticking:
            self._ticking = True
            passed = time.monotonic() - self._created
            later(self.delays.announce - passed % self.delays.announce, self._tick)

    def announce(self) -> None:
        """Tells everybody now what they would be told with the next announcement."""
        queued, self._queued = list(self._queued.values()), {}
        self._announce(queued)

    def _tick(self) -> None:
        self._ticking = False
        self.announce()

    def _announce(self, changed: list[Participant]) -> None:
        for viewer in list(self.participants.values()):
            for participant in changed:
                if participant is not viewer and not participant.info.permission.hidden:
                    viewer.learn(participant)
