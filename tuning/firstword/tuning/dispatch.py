"""Explains in words what makes a stage of the dispatch long; the agent's code can change little of it.

After `firstword.tuning.start`; for the commands that show one session. The stages are in docs/startup-trace.md.
"""

from __future__ import annotations

from firstword.telemetry import vocabulary as words

NOTABLE_US = 100_000
"""µs; a stage that took less needs no explanation where there is little room."""
_SERVER_WAITS_US = 300_000
"""LiveKit's server waits 0.2 s for a better worker (docs/decisions/dispatch.md)."""

_WHY = {
    words.ACCEPTANCE: "possible cause: a busy worker, or a request handler that waits",
    words.ASSIGNMENT: "possible cause: a slow way between worker and server",
    words.PROCESS_WAIT: "no process was idle; possible cause: machine full, or worker just begun",
    words.PROCESS_START: "possible cause: no idle process; more of them spare this",
    words.ENTRYPOINT: "possible cause: a busy machine, or imports in the entrypoint",
}


def explanation(name: str, duration_us: int) -> str | None:
    """Returns why a piece of the path named `dispatch.STAGE` took so many µs, short enough for a line of a terminal.

    Returns None for any other piece, and for a stage that we don't know.
    """
    stage = name.removeprefix(words.STAGE_PREFIX)
    if stage == name:
        return None
    if stage != words.OFFER:
        return _WHY.get(stage)
    if duration_us < _SERVER_WAITS_US:
        return "LiveKit's server waits 0.2 s for a better worker; a room made ahead hides it"
    return "no worker took it sooner; possible cause: none was there, or all were full"
