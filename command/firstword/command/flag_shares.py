"""Reads the flag file for the commands that decide: each of our flags as a share to move, and what it says it changes.

Between `firstword.agent.flags.flag_file`, which reads it as a worker does, and `firstword.tuning`, which knows no
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from firstword.agent.flags.flag_file import FlagFile
from firstword.agent.flags.improvements import NO_CHANGE, SUBJECTS
from firstword.agent.flags.writer import PERCENT, PROVEN, REASON, SINCE, TURNED_BACK
from firstword.tuning.rollout import Rollout
from firstword.tuning.trial import HALF, TrialState

_PREDICTS = "predicts"
"""Key of a flag's metadata: its changes with blanks between; empty where a trace without it can't tell."""


def rollouts(file: FlagFile, changed: float) -> tuple[Rollout, ...]:
    """Returns the share and history of each of our flags in the file. A flag without a share to move is `fixed`.

    changed: when the file was last changed, seconds since the Unix epoch.
    """
    found: list[Rollout] = []
    for name, flag in file.flags.items():
        if name == NO_CHANGE:
            continue
        by_process = SUBJECTS[name] == "process"
        if flag.percent is None:
            found.append(Rollout(name, 0, by_process=by_process, fixed=flag.no_share))
        else:
            since, turned_back = _history(flag.percent, flag.metadata, changed)
            found.append(Rollout(name, flag.percent, since, turned_back, by_process))
    found += [
        Rollout(name, 0, fixed=f"workers can't take it: {why}") for name, why in file.bad.items() if name != NO_CHANGE
    ]
    return tuple(found)


def trial(file: FlagFile, changed: float) -> TrialState:
    """Returns how far the tuner was tried on the flag that changes nothing. changed: as for `rollouts`."""
    flag = file.flags.get(NO_CHANGE)
    if flag is None or flag.percent is None:
        return TrialState()
    since, turned_back = _history(flag.percent, flag.metadata, changed)
    if turned_back is not None:
        return TrialState(failed=turned_back)
    if flag.metadata.get(PROVEN) is True and flag.percent == 0:
        return TrialState(passed=True)
    return TrialState(since=since) if flag.percent == HALF else TrialState()


def predictions(file: FlagFile) -> dict[str, str]:
    """Returns flag name -> the changes it says it makes, for every flag of the file that can be used.

    The text is as the file has it, TASK=CHANGE with blanks between; empty where it says none.
    """
    said = {name: flag.metadata.get(_PREDICTS) for name, flag in file.flags.items()}
    return {name: text if isinstance(text, str) else "" for name, text in said.items()}


def _history(percent: int, metadata: Mapping[str, Any], changed: float) -> tuple[float, str | None]:
    """When the share was last moved, and why it was turned back, where it was."""
    if metadata.get(PERCENT) != percent:
        # Written by hand: all that is known is when the file was last changed. All or nothing shows in the sessions
        # themselves; counting them from there, each edit of another service's flag would begin the count anew.
        return (changed if 0 < percent < 100 else 0.0), None
    turned_back = str(metadata.get(REASON, "")) if metadata.get(TURNED_BACK) is True else None
    try:
        return datetime.fromisoformat(str(metadata.get(SINCE))).timestamp(), turned_back
    except (ValueError, OverflowError):
        return changed, turned_back
