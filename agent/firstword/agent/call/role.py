"""Says who a participant is to the agent: somebody to greet, a telephone that rings, a listener, a helper.

Below `firstword.agent.call.caller`, which waits for the first to greet. Looks at what LiveKit says of one participant.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from livekit import rtc
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS

SIP_CALL_STATUS = "sip.callStatus"
"""Attribute that LiveKit's SIP service keeps: dialing, ringing, active, hangup."""
PUBLISH_ON_BEHALF = "lk.publish_on_behalf"
"""Attribute of a participant that publishes for another, such as an avatar."""

_KINDS: Final = rtc.ParticipantKind
_HELPERS: Final = frozenset(
    {_KINDS.PARTICIPANT_KIND_AGENT, _KINDS.PARTICIPANT_KIND_EGRESS, _KINDS.PARTICIPANT_KIND_INGRESS}
)


class Role(Enum):
    """What a participant is to the agent now, which may change."""

    CALLER = auto()
    """Somebody to greet: a client, or a telephone whose call is active."""
    RINGING = auto()
    """A telephone that nobody has answered yet."""
    UNKNOWN = auto()
    """A telephone of which we do not know whether it has been answered."""
    LISTENER = auto()
    """Somebody who may not publish: a supervisor, or a caller with a poor token."""
    HELPER = auto()
    """An agent, a recorder, a stream from elsewhere, or somebody who publishes for another."""


def role_of(participant: rtc.RemoteParticipant) -> Role:
    """Returns what this participant is to the agent. A participant of an unknown kind is somebody to greet."""
    if participant.kind in _HELPERS or participant.attributes.get(PUBLISH_ON_BEHALF):
        return Role.HELPER
    if participant.kind == _KINDS.PARTICIPANT_KIND_SIP:
        status = participant.attributes.get(SIP_CALL_STATUS)
        if status is None:
            return Role.UNKNOWN
        return Role.CALLER if status == "active" else Role.RINGING
    permissions = participant.permissions
    if permissions.HasField("can_publish") and not permissions.can_publish:
        return Role.LISTENER
    return Role.CALLER


def is_caller(participant: rtc.RemoteParticipant) -> bool:
    """Returns whether the participant is somebody to greet."""
    return role_of(participant) is Role.CALLER


def is_known(kind: int) -> bool:
    """Returns whether LiveKit counts this kind of participant among those that an agent talks to."""
    return kind in DEFAULT_PARTICIPANT_KINDS


def assists(participant: rtc.RemoteParticipant) -> bool:
    """Returns whether the participant is a helper or a listener. If only such are left, the room can be deleted."""
    return role_of(participant) in (Role.HELPER, Role.LISTENER)
