"""firstword.command.process_end: a process with LiveKit's client ends with its exit code, before Python takes itself apart."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, types
from firstword.command.process_end import NATIVE, ProcessEnd

end = ProcessEnd()
atexit.register(print, "registered later")
sys.modules.update(dict.fromkeys(sys.argv[1:], types.ModuleType(NATIVE)))

class Module:
    def __del__(self):
        print("taken apart")

kept = Module()
kept.itself = kept
sys.stdout.write("a line ")
sys.exit(end.with_code(3))
"""
LATER = ["a line registered later"]


@pytest.mark.parametrize(("loaded", "said"), [(["livekit.rtc"], LATER), ([], [*LATER, "taken apart"])])
def test_nothing_is_taken_apart_under_a_native_client(loaded: list[str], said: list[str]) -> None:
    """What was registered since runs, and what was written is out; without the client Python ends as it does."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *loaded], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (3, said, "")
