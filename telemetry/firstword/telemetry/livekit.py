"""Connects a start to LiveKit: takes what it needs from the job, when the caller joined, and when the first frame is
played.

The only module of the package that knows LiveKit, by what its objects are asked; it imports it where an agent has long
done so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import trace as otel
from opentelemetry.trace import SpanContext

from firstword.telemetry.clock import Clock, process_created
from firstword.telemetry.export import Exporting
from firstword.telemetry.livekit_private import JOB_INFO
from firstword.telemetry.plan import Plan, Shape
from firstword.telemetry.run import Run, end_marker, waited_for
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.times import JOIN_WINDOW, SLOW_S
from firstword.telemetry.vocabulary import (
    ACCEPTANCE,
    AGENT_NAME,
    ASSIGNMENT,
    EDGE,
    EDGE_JOB,
    JOB_ID,
    OFFER,
    PARTICIPANT_KIND,
    PROCESS_START,
    PROCESS_WAIT,
    ROOM_SID,
)

if TYPE_CHECKING:
    from livekit import rtc
    from livekit.agents import AgentSession, JobContext
    from livekit.agents.voice import SpeechHandle


class NotSpoken(Exception):
    """Raised when a speech ended, or never began, without a first frame."""


def start_of(
    job: JobContext,
    plan: Plan | Shape,
    exporting: Exporting,
    *,
    given: Mapping[str, Any],
    slow: float = SLOW_S,
    clock: Clock | None = None,
    deadlines: Mapping[str, float] | None = None,
    flags: Mapping[str, str] | None = None,
    join_window: float = JOIN_WINDOW,
) -> tuple[Run, StartTrace]:
    """Returns a run of the plan for this job, and its trace. The trace and LiveKit's job trace link each other, and the
    dispatch is dated back.

    The values `job` and `run` are given to the plan if it takes them. slow: as for `StartTrace`; the others: as for
    `Run`.
    """
    job_span = otel.get_current_span()
    trace = StartTrace(exporting, links=[(job_span.get_span_context(), EDGE_JOB)], slow=slow)
    job_span.add_link(trace.context, {EDGE: EDGE_JOB})
    _declared[job] = DeclaredStart(trace.context, exporting)
    shape = plan.shape({}) if isinstance(plan, Plan) else plan
    values: dict[str, Any] = {"job": job, "run": None, **given}
    run = Run(
        shape,
        given=values,
        trace=trace,
        clock=clock,
        received=received_at(job),
        dispatch_ends=dispatch_ends(job, process_created()),
        deadlines=deadlines,
        flags=flags,
        join_window=join_window,
    )
    run.give("run", run)
    for stage, instant in job_instants(job).items():
        trace.event(f"job.{stage}", instant, {})
    run.attributes.update({JOB_ID: job.job.id, ROOM_SID: job.job.room.sid, AGENT_NAME: job.job.agent_name})
    return run, trace


@dataclass(frozen=True, slots=True)
class DeclaredStart:
    """The trace of a job's start that has a plan: the root's span context, and where it is exported."""

    context: SpanContext
    """The root span's context."""
    exporting: Exporting


_declared: WeakKeyDictionary[JobContext, DeclaredStart] = WeakKeyDictionary()


def declared_start(job: JobContext) -> DeclaredStart | None:
    """Returns the start that `start_of` made for this job. None if it has no plan, or has not come so far."""
    return _declared.get(job)


def received_at(job: JobContext) -> int | None:
    """Returns when the worker received the job's request, Unix ns. None if LiveKit doesn't say (console, resumed jobs)."""
    return job_instants(job).get("received")


def dispatch_ends(job: JobContext, created: int | None) -> tuple[tuple[str, int], ...]:
    """Returns the name and end (Unix ns) of each stage of the dispatch except the last, in order. Empty if LiveKit
    doesn't say.

    created: when the process that runs the job was created, Unix ns. The wait for a process ends then. If it was
    created before the assignment, there was no such wait.
    """
    at = job_instants(job)
    if len(at) < len(_NOTED):
        return ()
    begun = at["launched"] if created is None else min(max(created, at["assigned"]), at["launched"])
    return (
        (OFFER, at["received"]),
        (ACCEPTANCE, at["accepted"]),
        (ASSIGNMENT, at["assigned"]),
        (PROCESS_WAIT, begun),
        (PROCESS_START, at["launched"]),
    )


_NOTED = ("received", "accepted", "assigned", "launched")


def job_instants(job: JobContext) -> dict[str, int]:
    """Returns when the job was received, accepted, assigned and launched, Unix ns, as far as LiveKit knows.

    LiveKit keeps them in a private attribute. If that has moved, the start begins with the plan's first step, and
    nothing is known of its dispatch.
    """
    info = JOB_INFO.of(job)
    noted = {stage: getattr(info, f"{stage}_at", 0.0) for stage in _NOTED}
    return {stage: int(instant * 1e9) for stage, instant in noted.items() if instant}


def caller_joined(run: Run, participant: rtc.RemoteParticipant) -> None:
    """Tells the run that this participant is the caller, and that the task which calls this waited for them."""
    from livekit import rtc

    run.attributes[PARTICIPANT_KIND] = rtc.ParticipantKind.Name(participant.kind)
    joined = participant.joined_at
    waited_for(run.caller_joined(run.clock() if joined is None else int(joined.timestamp() * 1e9)))


async def first_frame(session: AgentSession[Any], speak: Callable[[], SpeechHandle]) -> SpeechHandle:
    """Calls `speak`, and returns its speech once the first frame is played on a track somebody is subscribed to. Raises
    NotSpoken.

    A task of a run that calls this ends at that frame, even if the loop is too busy to notice at once.
    """
    output = session.output.audio
    if output is None:
        raise NotSpoken("the session has no audio output")
    begun = asyncio.Event()
    mark_end = end_marker()

    def on_started(_: object) -> None:
        mark_end()
        begun.set()

    output.on("playback_started", on_started)
    speech = speak()
    waiting = {asyncio.ensure_future(begun.wait()), asyncio.ensure_future(speech.wait_for_playout())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        output.off("playback_started", on_started)
        for waiter in waiting:
            waiter.cancel()
    if not begun.is_set():
        raise NotSpoken("the speech ended before its first frame")
    return speech
