"""Signs and checks claims: who may be greeted as which account, in which room and until when.

Whoever knows the caller signs one. It is a JSON Web Token, HS256 under `FIRSTWORD_CLAIM_KEY`: `sub` is the account,
`room` the room's name, `exp` at most ten minutes ahead. A browser may carry it: it cannot change it, nor use it in
another room or for long. Pure, beside `identity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import InvalidSubjectError

LASTS_S: Final = 600.0
"""Most seconds for which a claim may still be valid when it is checked."""
LONGEST: Final = 4_096
"""Most characters of a claim. A longer one is refused."""
_LEEWAY_S: Final = 5.0
"""Seconds by which two servers' clocks may differ."""
_ALGORITHM: Final = "HS256"
_OPTIONS: Final[Any] = {
    "require": ["sub", "room", "exp"],
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False),
}


@dataclass(frozen=True, slots=True, repr=False)
class Checked:
    """The result of checking a claim: the account it names, or the problem. Has no repr: an account may be a telephone
    number.
    """

    account: str | None = None
    problem: str | None = None
    """Why the claim is refused, in a word without any of its text. None if it is accepted."""


def signed_claim(account: str, room: str, key: str, *, now: float, lasts: float = 300.0) -> str:
    """Returns a signed claim of this account for this room, as the server that knows the caller makes it.

    now: Unix time, seconds. lasts: seconds for which it is valid, at most `LASTS_S`.
    """
    return jwt.encode({"sub": account, "room": room, "exp": now + lasts}, key, algorithm=_ALGORITHM)


def checked_claim(claim: object, room: str, key: str, now: float) -> Checked:
    """Checks a claim for this room at `now` (Unix time, seconds). Returns the account it names, or the problem. Never
    raises.
    """
    if not isinstance(claim, str):
        return Checked(problem="claim_not_string")
    if len(claim) > LONGEST:
        return Checked(problem="claim_too_long")
    try:
        # exp is checked below, by the caller's clock and not by jwt's
        said = jwt.decode(claim.strip(), key, algorithms=[_ALGORITHM], options=_OPTIONS)
    except jwt.InvalidAlgorithmError:
        return Checked(problem="claim_not_hs256")
    except jwt.InvalidSignatureError:
        return Checked(problem="claim_signature_wrong")
    except jwt.MissingRequiredClaimError as error:
        return Checked(problem=f"claim_without_{error.claim}")
    except InvalidSubjectError:
        return Checked(problem="claim_sub_not_string")
    except (jwt.PyJWTError, ValueError, RecursionError):  # ValueError: surrogates, and numbers of 5,000 digits
        return Checked(problem="claim_not_a_token")
    return _said(said, room, now)


def _said(said: Mapping[str, Any], room: str, now: float) -> Checked:
    until = said["exp"]
    if isinstance(until, bool) or not isinstance(until, (int, float)):
        return Checked(problem="claim_exp_not_number")
    if not now - _LEEWAY_S <= until:  # also where it is no number at all
        return Checked(problem="claim_expired")
    if until > now + LASTS_S + _LEEWAY_S:
        return Checked(problem="claim_lasts_too_long")
    if said["room"] != room:
        return Checked(problem="claim_of_another_room")
    return Checked(account=said["sub"])
