"""One connection of a participant: what the room knows of it, what it has published, and what its client has been told.

A participant who comes back is another `Participant` of the same identity, as on a real server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from livekit import rtc
from livekit.rtc._proto import participant_pb2 as proto

from firstword.agent.testing.agenda import later
from firstword.agent.testing.media import Played, Track
from firstword.agent.testing.native import Native

if TYPE_CHECKING:
    from firstword.agent.testing.room import ServerRoom

JOINED, ACTIVE = proto.ParticipantState.PARTICIPANT_STATE_JOINED, proto.ParticipantState.PARTICIPANT_STATE_ACTIVE


class HeardFrame(NamedTuple):
    """A frame that reached a participant, and when."""

    at: float
    """When it came, Unix seconds."""
    track: str
    """The track's name."""
    frame: rtc.AudioFrame


@dataclass(eq=False)
class Publication:
    """A published track, and who subscribes to it."""

    sid: str
    publisher: Participant
    track: Track
    source: int
    """LiveKit's TrackSource."""
    subscribed_once: bool = False
    """Whether the publisher has been told of a subscriber. LiveKit tells only of the first."""
    subscribers: dict[Participant, Track] = field(default_factory=dict["Participant", Track])
    played: list[Played] = field(default_factory=list[Played])
    """Every frame that began to play on it, heard or not."""

    @property
    def info(self) -> dict[str, Any]:
        """Returns what messages say of the track: id, name, kind, source, whether it is muted."""
        return {
            "sid": self.sid,
            "name": self.track.name,
            "kind": rtc.TrackKind.KIND_AUDIO,
            "source": self.source,
            "muted": self.track.muted,
        }

    def play(self, played: Played) -> None:
        """Plays a frame of the track to those who are subscribed, unless it is muted."""
        self.played.append(played)
        if self.track.muted:
            return
        for subscriber, track in list(self.subscribers.items()):
            subscriber.heard.append(HeardFrame(played.at, self.track.name, played.frame))
            track.play(played)

    def silence(self) -> None:
        """Stops playing: the track's source feeds this publication no longer."""
        if self.track.source is not None:
            self.track.source.publications.remove(self)

    def mute(self, muted: bool) -> None:
        """Tells everybody in the room that the track is muted, or is not any more."""
        change = {"participant_identity": self.publisher.identity, "track_sid": self.sid}
        for each in self.publisher.room.participants.values():
            each.event(**{"track_muted" if muted else "track_unmuted": change})


@dataclass
class View:
    """What a client has been told of another participant."""

    participant: Participant
    state: int
    name: str
    metadata: str
    attributes: dict[str, str]
    permission: proto.ParticipantPermission
    publications: list[Publication] = field(default_factory=list[Publication])


class Participant:
    """A participant's connection to a room. `heard`: every frame that reached it while it was subscribed."""

    def __init__(self, room: ServerRoom, native: Native, info: proto.ParticipantInfo, *, auto_subscribe: bool) -> None:
        self.room, self.info, self.auto_subscribe = room, info, auto_subscribe
        self.publications: dict[str, Publication] = {}
        self.heard: list[HeardFrame] = []
        self.left = False
        self.connected = False
        """Whether its media connection is up."""
        self.handle, self.room_handle = native.handle(self), native.handle(self)
        self._native = native
        self._views: dict[str, View] = {}
        self._kept: list[dict[str, Any]] | None = []
        """Events that came before the client listens."""

    @property
    def identity(self) -> str:
        """Returns LiveKit's identity of the participant in the room."""
        return self.info.identity

    @property
    def attributes(self) -> dict[str, str]:
        """Returns a copy of the participant's attributes."""
        return dict(self.info.attributes)

    @property
    def publisher(self) -> bool:
        """Returns whether it publishes something: LiveKit announces the changes of publishers at once."""
        return bool(self.publications)

    def track_of(self, source: int) -> Track:
        """Returns the track that it publishes from this source. Raises StopIteration if there is none."""
        return next(each.track for each in self.publications.values() if each.source == source)

    def take_back(self, sid: str) -> None:
        """Ends one of its publications, by id, without telling anybody."""
        self.publications.pop(sid).silence()

    # --- what its client is told

    def event(self, **message: Any) -> None:
        """Sends an event of the room to this client, or keeps it until the client listens."""
        if self._kept is not None:
            self._kept.append(message)
        else:
            self._native.emit(room_event={"room_handle": self.room_handle, **message})

    def start_listening(self) -> None:
        """Sends the events that were kept, because the client listens from now on."""
        kept, self._kept = self._kept or [], None
        for message in kept:
            self.event(**message)

    def introduce(self, other: Participant) -> dict[str, Any]:
        """Returns what the answer to this client's connect says of another participant who was there before it."""
        self._views[other.identity] = view = _view_of(other, other.info.state)
        view.publications = list(other.publications.values())
        published = [self._owned_publication(each) for each in view.publications]
        return {"participant": self._owned(other), "publications": published}

    def learn(self, other: Participant) -> None:
        """Tells this client what it does not know yet of another participant, in LiveKit's order."""
        view = self._views.get(other.identity)
        if view is not None and view.participant is not other:
            self.forget(view, rtc.DisconnectReason.UNKNOWN_REASON)
            view = None
        if other.left:
            if view is not None:
                self.forget(view, other.info.disconnect_reason)
            return
        if view is None:
            view = self._views[other.identity] = _view_of(other, JOINED)
            self.event(participant_connected={"info": self._owned(other)})
            self._announce_active(view)
        self._announce_changes(view)
        for publication in [each for each in view.publications if each.sid not in other.publications]:
            self._forget_track(view, publication)
        for publication in [each for each in other.publications.values() if each not in view.publications]:
            view.publications.append(publication)
            owned = self._owned_publication(publication)
            self.event(track_published={"participant_identity": other.identity, "publication": owned})
            if self.auto_subscribe:
                self.subscribe(publication)
        self._announce_active(view)

    def forget(self, view: View, reason: int) -> None:
        """Tells this client that another participant has left. reason: LiveKit's number for it."""
        for publication in list(view.publications):
            self._forget_track(view, publication)
        del self._views[view.participant.identity]
        self.event(
            participant_disconnected={
                "participant_identity": view.participant.identity,
                "disconnect_reason": reason,
            }
        )

    # --- what it subscribes to

    def subscribe(self, publication: Publication, *, after: float | None = None) -> None:
        """Subscribes to a track, which is there in `after` seconds (default: the server's delay).

        Does nothing without the permission, or before the media connection is up.
        """
        if self.info.permission.can_subscribe and self.connected:
            later(
                self.room.delays.subscribe if after is None else after, lambda: self._complete_subscription(publication)
            )

    def unsubscribe(self, publication: Publication) -> None:
        """Ends the subscription to a track, if there is one, and tells the client."""
        if (track := publication.subscribers.pop(self, None)) is not None:
            track.end()
            self.event(
                track_unsubscribed={
                    "participant_identity": publication.publisher.identity,
                    "track_sid": publication.sid,
                }
            )

    def _complete_subscription(self, publication: Publication) -> None:
        publisher = publication.publisher
        gone = self.left or publisher.left or publication.sid not in publisher.publications
        if gone or self in publication.subscribers:
            return
        track = Track(publication.track.name, None)
        publication.subscribers[self] = track
        if not publication.subscribed_once:
            publication.subscribed_once = True
            publisher.event(local_track_subscribed={"track_sid": publication.sid})
        info = {key: publication.info[key] for key in ("sid", "name", "kind", "muted")}
        owned = {"handle": self._native.owned(track), "info": {**info, "remote": True}}
        self.event(track_subscribed={"participant_identity": publisher.identity, "track": owned})
        self.room.active(self)

    def _forget_track(self, view: View, publication: Publication) -> None:
        view.publications.remove(publication)
        self.unsubscribe(publication)
        self.event(
            track_unpublished={
                "participant_identity": view.participant.identity,
                "publication_sid": publication.sid,
            }
        )

    def _announce_active(self, view: View) -> None:
        if view.state != ACTIVE and view.participant.info.state == ACTIVE:
            view.state = ACTIVE
            self.event(participant_active={"participant_identity": view.participant.identity})

    def _announce_changes(self, view: View) -> None:
        whose, info = {"participant_identity": view.participant.identity}, view.participant.info
        if view.name != info.name:
            view.name = info.name
            self.event(participant_name_changed={**whose, "name": info.name})
        if view.metadata != info.metadata:
            view.metadata = info.metadata
            self.event(participant_metadata_changed={**whose, "metadata": info.metadata})
        if (attributes := view.participant.attributes) != view.attributes:
            self.event(participant_attributes_changed={**whose, **attributes_change(view.attributes, attributes)})
            view.attributes = attributes
        if view.permission != info.permission:
            view.permission = _copy(info.permission)
            self.event(participant_permission_changed={**whose, "permission": info.permission})

    def _owned_publication(self, publication: Publication) -> dict[str, Any]:
        return {"handle": self._native.owned((self, publication)), "info": publication.info}

    def _owned(self, other: Participant) -> dict[str, Any]:
        info = proto.ParticipantInfo()
        info.CopyFrom(other.info)
        return {"handle": self._native.owned(other), "info": info}


def attributes_change(before: dict[str, str], after: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    """Returns `attributes`, all after the change, and `changed_attributes`, in the form that messages have.

    A removed one is among the changed ones only, with an empty value.
    """
    changed = {key: after.get(key, "") for key in {**before, **after} if before.get(key, "") != after.get(key, "")}
    return {
        "attributes": [{"key": key, "value": value} for key, value in after.items()],
        "changed_attributes": [{"key": key, "value": value} for key, value in changed.items()],
    }


def _view_of(other: Participant, state: int) -> View:
    info = other.info
    return View(other, state, info.name, info.metadata, other.attributes, _copy(info.permission))


def _copy(permission: proto.ParticipantPermission) -> proto.ParticipantPermission:
    copy = proto.ParticipantPermission()
    copy.CopyFrom(permission)
    return copy
