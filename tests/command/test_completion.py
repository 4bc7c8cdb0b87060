"""Completion: what a shell is offered when Tab is pressed, asked for as the scripts ask that typer installs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firstword.agent.flags.improvements import Improvement
from firstword.command.__main__ import SUBCOMMANDS


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", list(SUBCOMMANDS)),
        ("cri", ["critical-chain"]),
        ("compare --b", ["--by"]),
        ("compare --by ", list(Improvement)),
        ("compare --by light", ["light-connect"]),
        ("up --profile ", ["baseline", "tuned", *Improvement]),
        (
            "rehearse --profile light-connect,",
            [f"light-connect,{name}" for name in Improvement if name != "light-connect"],
        ),
    ],
)
def test_tab_offers(typed: str, offered: list[str]) -> None:
    """Subcommands, options, flags and profiles; in a list of flags those that are not in it."""
    words = f"firstword {typed}"
    asked = {"_FIRSTWORD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    program = "import sys; sys.argv[0] = 'firstword'; from firstword.command.__main__ import main; main()"
    run = subprocess.run((sys.executable, "-c", program), env=asked, capture_output=True, text=True)
    assert (run.stdout.splitlines(), run.stderr) == (offered, "")
