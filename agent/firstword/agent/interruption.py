"""Signs and checks that a job takes up a call whose agent has died: `firstword rescue` signs, the agent checks.

The sign is a JSON Web Token, HS256 under a key made of the secret of LiveKit's API, which both have and no caller has. It
stands in the job's metadata beside what stood there before. Whoever asks for an agent chooses its metadata, through
LiveKit's token endpoint even a browser: without the signature any visitor could make an agent apologise. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import jwt

from firstword.agent.job_metadata import json_object

RESCUE: Final = "firstword.rescue"
"""Key of the sign in a job's metadata, and name of the agent that nobody is, whose dispatch marks a room."""
LASTS_S: Final = 600.0
"""Seconds after which the sign of a job counts no more, by the agent's clock, and by which that clock may be behind."""
_LONGEST: Final = 16_384
"""Most characters of a sign that are read."""
Purpose = Literal["job", "room"]
"""What is signed: a job that takes up a call, or that a room has had its second agent."""

_ALGORITHM: Final = "HS256"
_OPTIONS: Final[Any] = {
    "require": ["sub", "room", "iat"],
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False),
}


def sign(purpose: Purpose, room: str, secret: str, *, now: float, dispatch: str = "") -> str:
    """Returns a sign for this room.

    secret: of LiveKit's API. now: Unix time, seconds. dispatch: id of the dispatch whose agent died.
    """
    said = {"sub": purpose, "room": room, "iat": now, "dispatch": dispatch}
    return jwt.encode(said, _key(secret), algorithm=_ALGORITHM)


def checked(token: object, purpose: Purpose, room: str, secret: str) -> Mapping[str, Any] | None:
    """Returns what a sign says, or None if it is none of this purpose and room. Never raises."""
    if not isinstance(token, str) or len(token) > _LONGEST:
        return None
    try:
        said: dict[str, Any] = jwt.decode(token, _key(secret), algorithms=[_ALGORITHM], options=_OPTIONS)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return said if (said["sub"], said["room"]) == (purpose, room) else None


def signed_metadata(metadata: str, room: str, secret: str, *, now: float) -> str:
    """Returns the metadata with a sign in it, for a job that takes up a call.

    Only a JSON object can hold it. Empty metadata becomes one. Any other text is an agent's own: it is returned as it is.
    """
    said = json_object(metadata)
    return metadata if said is None else json.dumps({**said, RESCUE: sign("job", room, secret, now=now)})


def is_interrupted(metadata: str, room: str, secret: str, *, now: float) -> bool:
    """Returns whether the job with this metadata takes up a call in this room whose agent has died. Never raises."""
    if RESCUE not in metadata:
        return False
    said = checked((json_object(metadata) or {}).get(RESCUE), "job", room, secret)
    made = None if said is None else said["iat"]
    return isinstance(made, int | float) and abs(now - made) <= LASTS_S


def _key(secret: str) -> bytes:
    """A key of its own: no token of LiveKit's is a sign, and no sign opens a room."""
    return hmac.digest(secret.encode(), RESCUE.encode(), hashlib.sha256)
