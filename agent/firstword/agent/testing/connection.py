"""Answers what a client asks of its room: connect, publish, subscribe, change what is said of itself, leave."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.rtc._proto import participant_pb2 as proto

from firstword.agent.testing.agenda import later
from firstword.agent.testing.media import Track
from firstword.agent.testing.native import Done, Native
from firstword.agent.testing.participant import Participant, Publication
from firstword.agent.testing.room import Delays, ServerRoom, new_sid

_REFUSED = "engine: signal failure: client error: 401 Unauthorized - invalid authorization token"
_NOT_ALLOWED = "room error engine: internal error: track publication timed out, no response received from the server"
_KINDS = {name.removeprefix("PARTICIPANT_KIND_").lower(): kind for name, kind in proto.ParticipantKind.items()}


def register(native: Native, delays: Delays, room_for: Callable[[str, dict[str, Any]], ServerRoom]) -> None:
    """Registers the answers to these requests with the fake native client.

    room_for: returns the room of a name, made with the token's configuration if there is none.
    """

    def connect(request: Any, done: Done) -> None:
        try:
            claims = _claims(request.token)
            grants = claims["video"]
            name = grants["room"]
        except (ValueError, KeyError):
            later(delays.connect, lambda: done(error=_REFUSED))
            return

        def join() -> None:
            room = room_for(name, claims.get("roomConfig", {}))
            participant = Participant(
                room, native, _info(claims, grants), auto_subscribe=request.options.auto_subscribe
            )
            others = room.join(participant)
            me = proto.ParticipantInfo()
            me.CopyFrom(participant.info)
            me.state = proto.ParticipantState.PARTICIPANT_STATE_JOINING
            result = {
                "room": {"handle": {"id": participant.room_handle}, "info": room.info},
                "local_participant": {"handle": {"id": participant.handle}, "info": me},
                "participants": others,
            }
            later(delays.connect / 2, lambda: done(result=result))

        later(delays.connect / 2, join)

    def ready(request: Any) -> None:
        participant: Participant = native.object(request.room_handle)
        participant.start_listening()
        if delays.media:
            later(delays.media, lambda: participant.room.connected(participant))
        else:
            participant.room.connected(participant)

    def disconnect(request: Any, done: Done) -> None:
        participant: Participant = native.object(request.room_handle)
        participant.room.remove(participant, request.reason or rtc.DisconnectReason.CLIENT_INITIATED)
        done()

    def publish(request: Any, done: Done) -> None:
        participant: Participant = native.object(request.local_participant_handle)
        track: Track = native.object(request.track_handle)
        if not participant.info.permission.can_publish:
            later(delays.refused, lambda: done(error=_NOT_ALLOWED))
            return

        def published() -> None:
            if participant.left:
                done(error=_NOT_ALLOWED)
                return
            publication = participant.room.publish(participant, track, request.options.source)
            done(publication={"handle": native.owned(publication), "info": publication.info})
            participant.event(local_track_published={"track_sid": publication.sid})

        later(delays.publish, published)

    def unpublish(request: Any, done: Done) -> None:
        participant: Participant = native.object(request.local_participant_handle)
        if request.track_sid in participant.publications:
            participant.room.unpublish(participant, request.track_sid)
        done()

    def set_subscribed(request: Any) -> None:
        handled: tuple[Participant, Publication] = native.object(request.publication_handle)
        subscriber, publication = handled
        if request.subscribe:
            subscriber.subscribe(publication)
        else:
            subscriber.unsubscribe(publication)

    def change(what: str) -> Callable[[Any, Done], None]:
        def changed(request: Any, done: Done) -> None:
            participant: Participant = native.object(request.local_participant_handle)
            value = getattr(request, what)
            new: dict[str, Any] = {what: {entry.key: entry.value for entry in value} if what == "attributes" else value}
            done()
            if participant.info.permission.can_update_metadata:
                participant.room.change(participant, **new)
                participant.event(token_refreshed={})

        return changed

    def simulate(request: Any, done: Done) -> None:
        if request.scenario != rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT:
            done(error="expected SIMULATE_SIGNAL_RECONNECT: the fake simulates no other scenario")
            return
        done()
        participant: Participant = native.object(request.room_handle)
        participant.room.reconnect(participant)

    native.performs("simulate_scenario", simulate)
    native.performs("connect", connect)
    native.answers("ready_for_room_event", ready)
    native.performs("disconnect", disconnect)
    native.performs("publish_track", publish)
    native.performs("unpublish_track", unpublish)
    native.answers("set_subscribed", set_subscribed)
    for what in ("name", "metadata", "attributes"):
        native.performs(f"set_local_{what}", change(what))


def _claims(token: str) -> dict[str, Any]:
    """What a token says; nobody checks its signature here. Raises ValueError for one that is none."""
    try:
        _, body, _ = token.split(".")
        return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError:
        raise ValueError("not a token") from None


def _info(claims: dict[str, Any], grants: dict[str, Any]) -> proto.ParticipantInfo:
    return proto.ParticipantInfo(
        sid=new_sid("PA"),
        identity=claims["sub"],
        name=claims.get("name", ""),
        metadata=claims.get("metadata", ""),
        attributes=claims.get("attributes") or {},
        kind=_KINDS[claims.get("kind") or "standard"],
        permission=proto.ParticipantPermission(
            can_subscribe=grants.get("canSubscribe", True),
            can_publish=grants.get("canPublish", True),
            can_publish_data=grants.get("canPublishData", True),
            hidden=grants.get("hidden", False),
            can_update_metadata=grants.get("canUpdateOwnMetadata", False),
            can_subscribe_metrics=False,
            can_manage_agent_session=False,
        ),
    )
