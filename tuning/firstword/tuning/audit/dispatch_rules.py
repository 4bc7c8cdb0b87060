"""Opportunities before the agent's first line runs: how its process and its room come to be.

A family of the rules of `firstword.tuning.audit.opportunities`.
"""

from __future__ import annotations

from collections.abc import Iterator

from firstword.telemetry.record import Dispatch
from firstword.telemetry.vocabulary import OFFER, PROCESS_START, PROCESS_WAIT, STAGE_PREFIX
from firstword.tuning.audit.greeting_rules import WAIT
from firstword.tuning.audit.rule import AuditedStart, OpportunityRule, RuleFinding, without
from firstword.tuning.start import Piece

_LONG_OFFER_S = 0.1
"""LiveKit's server waits 0.2 s for a better worker (docs/decisions/dispatch.md), and not for a job that it had before."""


def no_idle_process(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds the wait for a new process and its start, where LiveKit keeps no process ready for the agent."""
    if start.agent.idle_processes == 0:
        yield from without(start, _stages(start, PROCESS_WAIT, PROCESS_START))


def no_preloaded_modules(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds a process that was started for the job although LiveKit keeps some ready: all of them were taken.

    The saving is the import time of the agent's own modules, at most what starting the process took.
    """
    pieces = _stages(start, PROCESS_START)
    # LiveKit's own are in the process that the others are forked from
    imports = sum(each.seconds for each in start.agent.imports if each.module.partition(".")[0] != "livekit")
    took = _seconds(pieces)
    if pieces and imports and start.agent.idle_processes:
        saving = min(imports, took)
        yield RuleFinding(pieces, saving, 0.0, took)


def room_made_at_the_join(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds a room that was made by the caller's joining, so that the agent's work began only then.

    If a line waits for the caller, the saving is all that came before it. Else the caller still waits as long as for
    the floor: LiveKit's session publishes its voice once they are there. That takes about as long as the floor's
    dispatch. At best no more is left than the sound from the agent's mouth to their ear. Yields nothing where the job
    did not come with the caller, or LiveKit's offer took less than 0.1 s.
    """
    offered_s = _seconds(_stages(start, OFFER))
    if start.chain.start.dispatch != Dispatch.JOIN or offered_s < _LONG_OFFER_S:
        return
    pieces = start.chain.dispatch
    for stretch in start.chain.stretches:
        if stretch.statement is not None and stretch.statement.calls_any(*WAIT):
            for each in without(start, pieces):
                yield RuleFinding(each.pieces, each.saving_s, _seconds(start.chain.dispatch), each.most_s)
            return
        pieces += stretch.pieces
    most = start.chain.played_s()
    if start.floor_s is None:
        yield RuleFinding(pieces, _seconds(start.chain.dispatch), 0.0, most)
        return
    beyond = min(max(start.heard_s - start.floor_s, 0.0), most)
    yield RuleFinding(pieces, beyond, beyond, most)


def _seconds(pieces: tuple[Piece, ...]) -> float:
    return sum(piece.duration_us for piece in pieces) / 1e6


def _stages(start: AuditedStart, *names: str) -> tuple[Piece, ...]:
    wanted = {f"{STAGE_PREFIX}{name}" for name in names}
    return tuple(piece for piece in start.chain.dispatch if piece.name in wanted)


RULES = (
    OpportunityRule(
        name="no-idle-process",
        title="Keep a process ready",
        why="No process was idle when the job came, so one was started and imported your agent while the caller waited.",
        how="Let LiveKit keep some ready, as many as calls come within the seconds that one takes to start.",
        code="server = AgentServer(num_idle_processes=4)",
        link="https://docs.livekit.io/agents/server/options/",
        find=no_idle_process,
    ),
    OpportunityRule(
        name="no-preloaded-modules",
        title="Import your modules once for all processes",
        why="All idle processes were taken, and the new one imported your agent's modules again.",
        how="Name them to LiveKit, which imports them in the process that the others are forked from. They must be installed "
        "or on PYTHONPATH: that process does not search the agent's folder.",
        code='server = AgentServer(preload_modules=["my_package"])',
        link="https://docs.livekit.io/agents/server/options/",
        find=no_preloaded_modules,
    ),
    OpportunityRule(
        name="room-made-at-join",
        title="Make the room before the caller joins it",
        why="LiveKit looks for an agent when the room is made, and the caller made it by joining.",
        how="Create the room, with the agent, where your server hands out the caller's token.",
        code=(
            "await lkapi.agent_dispatch.create_dispatch(\n"
            '    api.CreateAgentDispatchRequest(agent_name="my-agent", room=room)\n'
            ")"
        ),
        link="https://docs.livekit.io/agents/server/agent-dispatch/",
        find=room_made_at_the_join,
    ),
)
