"""For LiveKit agents: what a start takes from the job, when the caller joined, when the first frame is played.

The only module of the package that knows LiveKit, by what its objects are asked; it imports it where an agent has long done so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import trace as otel
from opentelemetry.trace import SpanContext

from firstword.telemetry.clock import Clock
from firstword.telemetry.export import Exporting
from firstword.telemetry.plan import Plan, Shape
from firstword.telemetry.run import Run, waited_for
from firstword.telemetry.spans import Trace
from firstword.telemetry.times import JOIN_WINDOW
from firstword.telemetry.vocabulary import AGENT_NAME, EDGE, EDGE_JOB, JOB_ID, PARTICIPANT_KIND, ROOM_SID

if TYPE_CHECKING:
    from livekit import rtc
    from livekit.agents import AgentSession, JobContext
    from livekit.agents.voice import SpeechHandle


class NotSpoken(Exception):
    """The speech ended, or never began, without a first frame."""


def start_of(
    job: JobContext,
    plan: Plan | Shape,
    exporting: Exporting,
    *,
    given: Mapping[str, Any],
    slow: float = 1.5,
    clock: Clock | None = None,
    deadlines: Mapping[str, float] | None = None,
    flags: Mapping[str, str] | None = None,
    join_window: float = JOIN_WINDOW,
) -> tuple[Run, Trace]:
    """A run of the plan for this job, and its trace: LiveKit's job trace is linked both ways, the dispatch back-dated.

    The values `job` and `run` are given to the plan where it takes them. slow: as for `Trace`; the others: as for `Run`.
    """
    job_span = otel.get_current_span()
    trace = Trace(exporting, links=[(job_span.get_span_context(), EDGE_JOB)], slow=slow)
    job_span.add_link(trace.context, {EDGE: EDGE_JOB})
    _declared[job] = Declared(trace.context, exporting)
    shape = plan.shape({}) if isinstance(plan, Plan) else plan
    values: dict[str, Any] = {"job": job, "run": None, **given}
    run = Run(
        shape,
        given=values,
        trace=trace,
        clock=clock,
        received=received_at(job),
        deadlines=deadlines,
        flags=flags,
        join_window=join_window,
    )
    run.give("run", run)
    for name, instant in dispatch_stages(job).items():
        trace.event(name, instant, {})
    run.attributes.update({JOB_ID: job.job.id, ROOM_SID: job.job.room.sid, AGENT_NAME: job.job.agent_name})
    return run, trace


@dataclass(frozen=True, slots=True)
class Declared:
    """A job's start that has a plan."""

    context: SpanContext
    """The root's."""
    exporting: Exporting


_declared: WeakKeyDictionary[JobContext, Declared] = WeakKeyDictionary()


def declared_start(job: JobContext) -> Declared | None:
    """The start that `start_of` made for this job; None where it has no plan, or did not come so far."""
    return _declared.get(job)


def received_at(job: JobContext) -> int | None:
    """When the worker received the job's request, Unix ns; None when LiveKit doesn't say (console, resumed jobs).

    livekit-agents 1.8.9 keeps it in `JobContext._info.received_at`; tests/telemetry/test_livekit.py fails when that moves.
    """
    received: float = job._info.received_at  # pyright: ignore[reportPrivateUsage]
    return int(received * 1e9) or None


def dispatch_stages(job: JobContext) -> dict[str, int]:
    """When the job was received, accepted, assigned and launched: name of the event -> Unix ns, of those LiveKit knows.

    livekit-agents 1.8.9: `JobContext._info`, as `received_at`.
    """
    info = job._info  # pyright: ignore[reportPrivateUsage]
    stages = {
        "job.received": info.received_at,
        "job.accepted": info.accepted_at,
        "job.assigned": info.assigned_at,
        "job.launched": info.launched_at,
    }
    return {name: int(instant * 1e9) for name, instant in stages.items() if instant}


def caller_joined(run: Run, participant: rtc.RemoteParticipant) -> None:
    """Tell the run that this is the caller, and the task this is called from that it waited for them."""
    from livekit import rtc

    run.attributes[PARTICIPANT_KIND] = rtc.ParticipantKind.Name(participant.kind)
    joined = participant.joined_at
    waited_for(run.caller_joined(run.clock() if joined is None else int(joined.timestamp() * 1e9)))


async def first_frame(session: AgentSession[Any], speak: Callable[[], SpeechHandle]) -> SpeechHandle:
    """Speak, and return at the first frame that is played on a track somebody is subscribed to. Raises NotSpoken."""
    output = session.output.audio
    if output is None:
        raise NotSpoken("the session has no audio output")
    begun = asyncio.Event()

    def on_started(_: object) -> None:
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
