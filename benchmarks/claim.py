"""What naming the account by a signed claim costs the caller, against naming it in the job's metadata: heard at the ear, in turn.

python -m benchmarks.claim --rounds 40
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from pathlib import Path

from benchmarks.in_turn import Side, difference, measured
from firstword.agent.accounts.claim import signed_claim

KEY = secrets.token_hex(32)
TRUSTED = {"FIRSTWORD_ACCOUNT_SOURCES": "claim,metadata", "FIRSTWORD_CLAIM_KEY": KEY}


def by_claim(account: str, room: str) -> str:
    """A job's metadata that names the account by a claim for this room."""
    return json.dumps({"claim": signed_claim(account, room, KEY, now=time.time())})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="tuned")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--ahead-by", type=float, help="seconds that the agent comes before its caller; else with them")
    parser.add_argument("--kept", type=Path, help="a file: rounds are appended to it, and those in it count too")
    typed = parser.parse_args()
    sides = {
        "claim": Side(typed.profile, TRUSTED, by_claim),
        "metadata": Side(typed.profile, TRUSTED),
    }
    seconds = measured(sides, typed.rounds, ahead_by=typed.ahead_by, kept=typed.kept)
    print(f"claim against metadata: {difference(seconds['claim'], seconds['metadata'])}")


if __name__ == "__main__":
    main()
