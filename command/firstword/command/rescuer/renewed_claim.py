"""Signs a caller's claim anew for the agent that takes up their call: a claim lasts ten minutes, a call may last longer.

Pure. A claim that was good when the call began names the same account again. Nothing else is believed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from firstword.agent.accounts.claim import checked_claim, signed_claim
from firstword.agent.job_metadata import json_object


def with_renewed_claim(
    metadata: str,
    created: float,
    claims: Sequence[tuple[str, float]],
    room: str,
    key: str | None,
    *,
    now: float,
) -> str:
    """Returns the job's metadata with a claim signed at `now`, or the same metadata where no claim was good.

    created: when the job was asked for. claims: what callers' attributes hold, each with when that caller joined. Times are
    Unix time in seconds. key: FIRSTWORD_CLAIM_KEY; without one nothing is renewed.
    """
    said = json_object(metadata)
    if key is None or said is None:
        return metadata
    names = [name for name in said if name.lower().strip() == "claim"]
    of_job = [(said[name], created) for name in names]
    accounts = {
        checked.account
        for claim, at in (*of_job, *(claims if not of_job else ()))
        if (checked := checked_claim(claim, room, key, at)).problem is None
    }
    if len(accounts) != 1 or (account := accounts.pop()) is None:
        return metadata
    kept = {name: value for name, value in said.items() if name not in names}
    return json.dumps({**kept, "claim": signed_claim(account, room, key, now=now)})
