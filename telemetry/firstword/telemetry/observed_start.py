"""Observes a start of any LiveKit agent, from the job's begin to the first word, without a change to the agent's code.

It records the job's event loop while the caller waits (`firstword.telemetry.loop_hooks`), and listens for the first
frame. Afterwards a thread makes spans of it, by the contract (docs/startup-trace.md). Nothing here raises into the
agent.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel

from firstword.telemetry.audible_frames import FirstFrame
from firstword.telemetry.clock import process_created, session_clock
from firstword.telemetry.export import Exporting
from firstword.telemetry.guard import guarded
from firstword.telemetry.livekit import declared_start, dispatch_ends, job_instants, received_at
from firstword.telemetry.loop_hooks import Unobservable, start_record, stop_record
from firstword.telemetry.loop_record import LoopRecord
from firstword.telemetry.loop_samples import LoopSampler
from firstword.telemetry.loop_steps import Step
from firstword.telemetry.observed_export import exporting_of, slow_after
from firstword.telemetry.observed_layout import absence, lay_out_observed
from firstword.telemetry.observed_path import ObservedPiece, observed_path
from firstword.telemetry.record import Outcome, Phase, Start
from firstword.telemetry.source_lines import started_folder
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.times import dispatch_stages, root_start
from firstword.telemetry.vocabulary import (
    AGENT_NAME,
    CONNECT,
    DECLARED,
    EDGE,
    EDGE_DECLARED,
    EDGE_JOB,
    ERROR_TYPE,
    GREET,
    JOB_ID,
    PARTICIPANT_KIND,
    ROOM_SID,
    UNOBSERVED,
    WAIT,
)

if TYPE_CHECKING:
    from livekit import rtc
    from livekit.agents import JobContext

logger = logging.getLogger("firstword")

MOST_SECONDS = 60.0
"""Seconds after which a caller who has heard nothing does not wait for a first word any more (`timed_out`)."""
ANNOUNCED_WITHIN = 4.0
"""Seconds to wait for a caller who is announced after the first word. LiveKit's server announces one who only listens
up to 3 s late.
"""
SPEECH_SECONDS = 1.0
"""Seconds for which the first words have the process to themselves, before the export's thread computes beside them."""
_EXPORT_SECONDS = 5.0
"""How long a job's end waits for the export."""


def observe_start(job: JobContext, entrypoint: Callable[..., Any]) -> ObservedStart | None:
    """Begins to observe the start of a job; the observation ends by itself. Call it in the job's loop, right before the
    agent's entrypoint runs.

    entrypoint: the agent's function. Its file says where the agent's files lie, if the program that was started
    doesn't. The spans go where `firstword.telemetry.observed_export` says, which is asked after the first word, in a
    thread. Never raises: logs an error and returns None if the observation can't begin.
    """
    try:
        return ObservedStart(job, functools.partial(exporting_of, job), folder=started_folder(entrypoint))
    except Exception:
        logger.exception("the start is not observed; the call goes on")
        return None


class ObservedStart:
    """Observes one start, from its making in the job's loop until its spans are exported."""

    def __init__(
        self,
        job: JobContext,
        exporting: Callable[[], Exporting],
        *,
        folder: str = "",
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        """folder: of the file that was started; the lines' files are relative to it. most_seconds: see `MOST_SECONDS`."""
        self.attributes: dict[str, str | bool | int | float] = {}
        """Attributes that are added to the root span. They may be set until the start has ended."""
        self._job = job
        self._exporting = exporting
        self._folder = folder
        self._most_seconds = most_seconds
        self._loop = asyncio.get_running_loop()
        self._clock = session_clock()
        self._entrypoint: asyncio.Task[Any] | None = asyncio.current_task()
        self._job_span = otel.get_current_span()
        self._first_step = self._clock()
        self._record: LoopRecord | None = None
        self._sampler: LoopSampler | None = None
        self._unobserved = ""
        self._connected: int | None = None
        self._callers: set[str] = set()
        self._came: int | None = None
        self._joined: int | None = None
        self._skew = 0.0
        self._arrival: Step | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._outcome: Outcome | None = None
        self._end = 0
        self._last: Step | None = None
        self._thread: threading.Thread | None = None
        self._frames = FirstFrame(job.room, heard=self._heard, connected=self._on_connected)
        job.room.on("participant_connected", self._on_participant)
        job.room.on("participant_disconnected", self._on_left)
        job.add_shutdown_callback(self._on_shutdown)
        self._start_record()

    @property
    def outcome(self) -> Outcome | None:
        """Returns how the start ended; None while it goes on."""
        return self._outcome

    def exported(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds for the export. Returns whether the start is over and its spans are exported.
        In any thread.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is not None and not self._thread.is_alive()

    def _start_record(self) -> None:
        try:
            self._record = start_record(self._loop)
        except Unobservable as error:
            self._unobserved = str(error)
            logger.debug("the start is not observed: %s; its trace has its phases only", error)
        else:
            self._first_step = self._instant(self._record.begin)
            self._sampler = LoopSampler(self._record)

    def _instant(self, recorded: int) -> int:
        """An instant of the record's clock on the session's."""
        assert self._record is not None  # noqa: S101 # only asked where there is a record
        return recorded + self._clock() - self._record.clock()

    # What LiveKit reports

    @guarded
    def _on_connected(self) -> None:
        if self._connected is None:
            self._connected = self._clock()
            for participant in self._job.room.remote_participants.values():
                self._caller(participant)

    @guarded
    def _on_participant(self, participant: rtc.RemoteParticipant) -> None:
        if self._came is None and self._record is not None:
            self._arrival = self._record.current
        self._caller(participant)

    def _caller(self, participant: rtc.RemoteParticipant) -> None:
        from livekit import rtc
        from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS

        if participant.kind not in DEFAULT_PARTICIPANT_KINDS:
            return
        self._callers.add(participant.sid)
        if self._came is None:
            # who was heard of after the first word had come before it
            now = self._clock() if self._outcome is None else self._end
            joined = participant.joined_at
            told = now if joined is None else int(joined.timestamp() * 1e9)
            self._joined, self._skew = min(told, now), max(told - now, 0) / 1e9
            self.attributes[PARTICIPANT_KIND] = rtc.ParticipantKind.Name(participant.kind)
            if self._outcome is None:
                self._came = now
                self._timeout = self._loop.call_later(self._most_seconds, self._finish, Outcome.TIMED_OUT)
            else:
                self._came = self._joined  # the export waits for no longer than `ANNOUNCED_WITHIN` in all

    @guarded
    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        self._callers.discard(participant.sid)
        if self._came is not None and not self._callers:
            self._finish(Outcome.ABANDONED)

    @guarded
    def _heard(self) -> None:
        self._finish(Outcome.FIRST_WORD)

    async def _on_shutdown(self) -> None:
        self._finish(self._outcome_at_shutdown())
        self._export_now()
        end = self._loop.time() + _EXPORT_SECONDS
        while not self.exported(0) and self._loop.time() < end:  # noqa: ASYNC110 # a thread has no asyncio.Event
            await asyncio.sleep(0.01)

    def _outcome_at_shutdown(self) -> Outcome:
        """Of a job that ends before its first word."""
        entrypoint = self._entrypoint
        if entrypoint is not None and entrypoint.done() and not entrypoint.cancelled():
            error = entrypoint.exception()
            if error is not None:
                self.attributes[ERROR_TYPE] = type(error).__qualname__
                return Outcome.FAILED
        return Outcome.NO_CALLER if self._came is None else Outcome.FAILED

    # The end

    @guarded
    def _finish(self, outcome: Outcome) -> None:
        """The start is over, now; the first call counts. Takes the hooks out, and leaves the rest to a thread."""
        if self._outcome is not None:
            return
        self._outcome, self._end = outcome, self._clock()
        if self._record is not None:
            self._last = self._record.current
            if outcome is not Outcome.FIRST_WORD and self._entrypoint is not None:
                # who hung up waited for what the entrypoint still waited for
                self._last = self._record.waiting(self._entrypoint) or self._last
            if self._sampler is not None:
                self._sampler.stop()
            stop_record(self._record)
        if self._timeout is not None:
            self._timeout.cancel()
        self._frames.stop()
        self._job.room.off("participant_disconnected", self._on_left)
        if outcome is Outcome.FIRST_WORD:
            wait = ANNOUNCED_WITHIN if self._came is None else SPEECH_SECONDS
            self._timeout = self._loop.call_later(wait, self._export_now)
        else:
            self._export_now()

    @guarded
    def _export_now(self) -> None:
        """Make and hand on the spans, in a thread; once."""
        if self._thread is not None:
            return
        if self._timeout is not None:
            self._timeout.cancel()
        self._job.room.off("participant_connected", self._on_participant)
        self._thread = threading.Thread(target=self._export, name="firstword observed start", daemon=True)
        self._thread.start()

    @guarded
    def _export(self) -> None:
        """In a thread, after the first word."""
        links = [(self._job_span.get_span_context(), EDGE_JOB)]
        if declared := declared_start(self._job):  # the same start, measured otherwise: it counts once
            links.append((declared.context, EDGE_DECLARED))
            self.attributes[DECLARED] = f"{declared.context.trace_id:032x}"
        start, pieces = self._start(), self._pieces()
        spans = lay_out_observed(
            start, pieces, absent=absence(start, pieces, self._connected), folder=self._folder, slow=slow_after()
        )
        exporting = self._exporting()
        trace = StartTrace(exporting, links=links)
        self._job_span.add_link(trace.context, {EDGE: EDGE_JOB})
        for stage, instant in job_instants(self._job).items():
            trace.event(f"job.{stage}", instant, {})
        trace.export_observed(spans)
        exporting.flush(_EXPORT_SECONDS)
        self._record = self._last = self._arrival = self._entrypoint = None

    def _pieces(self) -> list[ObservedPiece]:
        record = self._record
        if record is None or record.lost is not None:
            return []
        offset = self._first_step - record.begin
        end = self._end - offset
        found = observed_path(self._last, end, record.begin, record.steps, arrival=self._arrival)
        return [piece.moved(offset) for piece in found]

    def _start(self) -> Start:
        assert self._outcome is not None  # noqa: S101 # only asked for once the start is over
        received = received_at(self._job)
        received = self._first_step if received is None else min(received, self._first_step)
        begin, dispatch = root_start(received, self._joined)
        job = self._job.job
        unobserved = self._unobserved or (self._record.lost if self._record is not None else None)
        attributes = {JOB_ID: job.id, ROOM_SID: job.room.sid, AGENT_NAME: job.agent_name, **self.attributes}
        if unobserved:
            attributes[UNOBSERVED] = unobserved
        return Start(
            start=begin,
            end=self._end,
            first_step=self._first_step,
            outcome=self._outcome,
            tasks=(),
            phases=self._phases(begin),
            last=None,
            dispatch=dispatch,
            joined=self._joined,
            received=received,
            dispatch_stages=dispatch_stages(dispatch_ends(self._job, process_created()), begin, self._first_step),
            clock_skew=self._skew,
            attributes=attributes,
        )

    def _phases(self, begin: int) -> tuple[Phase, ...]:
        """Each ends when what it waits for is there; what was not reached is not in it."""
        phases: list[Phase] = []
        for name, reached in ((CONNECT, self._connected), (WAIT, self._came), (GREET, self._end)):
            end = min(max(self._end if reached is None else reached, begin), self._end)
            phases.append(Phase(name, begin, end))
            begin = end
            if reached is None:
                break
        return tuple(phases)
