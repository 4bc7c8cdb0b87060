"""A `firstword` that is killed in the middle of a write of the flag file: for `benchmarks.tune_live`.

    python -m benchmarks.killed_in_a_write N tune --watch 5 --apply --flags FILE ...

SIGKILL comes at its N-th write, when the new file lies beside the old one and is not renamed yet.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from firstword.command.__main__ import main

WRITTEN = "flags.json"


def kill_at(number: int) -> None:
    """From now on this process is killed at that rename onto a file of the name `WRITTEN`."""
    rename, done = Path.replace, 0

    def replace(self: Path, target: str | os.PathLike[str]) -> Path:
        nonlocal done
        done += Path(target).name == WRITTEN
        if done == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.replace = replace


if __name__ == "__main__":
    kill_at(int(sys.argv.pop(1)))
    main()
