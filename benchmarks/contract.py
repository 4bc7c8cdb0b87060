"""Whether a start's trace, as it was read back, keeps its contract (docs/startup-trace.md): each attribute there, and true.

Between a trace source and a verdict: what the trace says of itself is computed again from its spans' times and links.
`benchmarks.exactness` asks it about every start that a real Jaeger has; a test asks it about real sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import PurePath

from firstword.agent.flags.improvements import Improvement
from firstword.telemetry import vocabulary as words
from firstword.telemetry.layout import MOST_STEPS
from firstword.telemetry.record import Dispatch, Outcome
from firstword.telemetry.spans import MOST_SPANS, MOST_SPANS_IN_ORDER
from firstword.tuning.spans import Trace, Value
from firstword.tuning.start import Method, Piece, RecordedStart, TracedTask, start_of

NEAR_S = 1e-3
"""Spans are rounded to microseconds, and shortened by one at each border."""


def violations(trace: Trace, *, slow: float = 1.5, shipped: bool = True) -> list[str]:
    """What the trace of a start says wrong or leaves out, in words; empty where it keeps the contract.

    slow: the worker's limit of `startup.slow`, seconds. shipped: it is the shipped worker's, which has flags and LiveKit's trace.
    """
    start = start_of(trace)
    found = [f"root: {what}" for what in _root(trace, start, slow, shipped)]
    found += [f"path: {what}" for what in _path(start)]
    if start.method is Method.OBSERVED and len(trace.spans) > MOST_SPANS:
        found.append(f"{len(trace.spans)} spans, {MOST_SPANS} at most")
    for task in start.tasks:
        found += [f"task {task.name}: {what}" for what in _task(trace, start, task)]
    return found + [f"after the first word: {what}" for what in _after(trace, start)]


def _root(trace: Trace, start: RecordedStart, slow: float, shipped: bool) -> Iterator[str]:
    told = trace.root.attributes
    raw, heard = told.get(words.DURATION), start.outcome == Outcome.FIRST_WORD
    if trace.root.kind != "server" or trace.root.parent_id:
        yield f"is {trace.root.kind or 'of no kind'} below {trace.root.parent_id}, not a SERVER without a parent"
    if start.outcome not in list(Outcome) or start.dispatch not in list(Dispatch):
        yield f"outcome {start.outcome}, dispatch {start.dispatch}"
    if not isinstance(raw, float) or not _near(raw, start.duration_us / 1e6):
        yield f"raw is {raw}, its duration {start.duration_us / 1e6}"
    if (start.ttfw_s is not None) != heard:
        yield f"outcome {start.outcome} with a time to first word of {start.ttfw_s}"
    longest, shortest = _waited(start)
    if start.ttfw_s is not None and not shortest - NEAR_S <= start.ttfw_s <= longest + NEAR_S:
        yield f"time to first word is {start.ttfw_s}, the caller waited {shortest} to {longest}"
    if told.get(words.SLOW) is not (start.ttfw_s > slow if start.ttfw_s is not None else _failed_a_caller(start, told)):
        yield f"slow is {told.get(words.SLOW)} with {start.ttfw_s} s, {start.outcome}"
    for key, kind in ((words.FALLBACKS, int), (words.CLOCK_SKEW, float), (words.ROOM_SID, str), (words.JOB_ID, str)):
        if not isinstance(told.get(key), kind):
            yield f"{key} is {told.get(key)!r}"
    if told.get(words.METHOD) != start.method:
        yield f"says that it is {told.get(words.METHOD)}, its pieces that it is {start.method}"
    if start.method is Method.OBSERVED:
        return
    if (shipped and set(start.flags) != set(Improvement)) or set(start.flags.values()) - {"on", "off"}:
        yield f"flags {dict(start.flags)}"
    if shipped and not any(link.trace_id != trace.trace_id for link in trace.root.links):
        yield "no link to LiveKit's trace of the job"
    critical = {task.name: task.critical or 0.0 for task in start.tasks}
    for piece in start.path:
        if piece.is_dispatch:
            critical[piece.name] = critical.get(piece.name, 0.0) + piece.duration_us / 1e6
    most, named = max(critical.values(), default=0.0), told.get(words.CRITICAL_TASK)
    if most and not (isinstance(named, str) and _near(critical.get(named, 0.0), most)):
        yield f"critical task {named}, with {most} s of another's on the path"


def _path(start: RecordedStart) -> Iterator[str]:
    if start.method is Method.GUESSED:
        yield f"is {start.method}"
    spans = {task.name: task.span_id for task in start.tasks}
    for piece in start.path:
        if start.method is Method.OBSERVED:
            yield from _observed_piece(piece)
        elif piece.task is None and not piece.is_dispatch and piece.name not in (words.EVENT_LOOP, words.ABSENT_CALLER):
            yield f"{piece.name} is of no task"
        if piece.task is not None and piece.task_span_id != spans.get(piece.task):
            yield f"{piece.name} is not linked with its task's span"
    known = [words.DISPATCH, words.CONNECT, words.WAIT, words.GREET][: len(start.phases)]
    if [phase.name for phase in start.phases] != known:
        yield f"phases {[phase.name for phase in start.phases]}"
    for before, after in pairwise(start.phases):
        if not 0 <= after.start_us - before.start_us - before.duration_us <= 1:
            yield f"{after.name} does not begin where {before.name} ends"


def _observed_piece(piece: Piece) -> Iterator[str]:
    """A piece is of a kind, and of a line below the folder of the file that was started, where one is known."""
    if piece.task is not None:
        yield f"{piece.name} is observed, and of a task"
    if piece.kind is None and not piece.is_dispatch and piece.name != words.ABSENT_CALLER:
        yield f"{piece.name} is of no kind"
    if piece.source is not None and (PurePath(piece.source.file).is_absolute() or not piece.source.function):
        yield f"{piece.name} is of {piece.source}, expected FILE:LINE FUNCTION with a relative file"


def _task(trace: Trace, start: RecordedStart, task: TracedTask) -> Iterator[str]:
    figures = {
        "critical": task.critical,
        "drag": task.drag,
        "contention": task.contention,
        "loop_time": task.loop_time,
        "ready_delay": task.ready_delay,
    }
    for name, value in figures.items():
        if value is None or value < 0:
            yield f"{name} is {value}"
    critical, drag = task.critical or 0.0, task.drag or 0.0
    on_path = sum(piece.duration_us for piece in start.path if piece.task == task.name) / 1e6
    if on_path < critical - NEAR_S or (on_path > critical + NEAR_S and not _full(trace, start)):
        yield f"{critical} s critical, {on_path} s on the path"
    if drag > critical + NEAR_S:
        yield f"drag {drag} above its {critical} s on the path"
    # before that, an instant from outside may lie between the task and the first word
    waited_for_nobody = len(start.phases) == 4 and task.start_us >= start.phases[-1].start_us
    if critical > NEAR_S and waited_for_nobody and not _near(task.slack or 0.0, 0.0):
        yield f"on the path with a slack of {task.slack}"
    if (task.contention or 0.0) > (task.loop_time or 0.0) + NEAR_S:
        yield f"contention {task.contention} above its loop time {task.loop_time}"
    steps = task.steps
    stepped = sum(step.duration_us for step in steps) / 1e6
    if not _near(stepped, task.loop_time or 0.0):
        yield f"steps of {stepped} s, {task.loop_time} s of loop time"
    if len(steps) > MOST_STEPS or any(b.start_us < a.start_us + a.duration_us for a, b in pairwise(steps)):
        yield f"steps {steps}"
    span = next(span for span in trace.spans if span.span_id == task.span_id)
    known = {other.name: other.span_id for other in start.tasks}
    linked = {link.span_id for link in span.links}
    if missing := [need for need in task.needs if need in known and known[need] not in linked]:
        yield f"no link to what it needed: {', '.join(missing)}"
    if task.order and start.flags.get(Improvement.PARALLEL_INIT) == "on":
        yield f"waits for {', '.join(task.order)} out of order, with {Improvement.PARALLEL_INIT} on"
    # cancelled in its first step: its span ends with the root, µs before
    at_the_end = abs(task.start_us - start.duration_us) <= 2
    if not at_the_end and (task.phase is None) != (task.start_us >= start.duration_us):
        yield f"phase {task.phase}, begun after {task.start_us} of {start.duration_us} us"


def _after(trace: Trace, start: RecordedStart) -> Iterator[str]:
    end = trace.root.end_ns
    for task in start.tasks:
        if task.deferred and task.start_us <= start.duration_us:
            yield f"{task.name} is deferred and begins {start.duration_us - task.start_us} us before"
    for span in (span for span in trace.spans if span.name == words.READY):
        if span.start_ns <= end or not isinstance(span.attributes.get(words.INIT), float):
            yield f"{words.READY} begins {span.start_ns - end} ns after, init is {span.attributes.get(words.INIT)}"


def _waited(start: RecordedStart) -> tuple[float, float]:
    """Seconds of the root since the caller came: at most and at least. One who came while other things were waited for
    left no piece on the path, and so no word of when.
    """
    came = [piece.start_us + piece.duration_us for piece in start.path if piece.name == words.ABSENT_CALLER]
    most = (start.duration_us - max(came, default=0)) / 1e6
    return most, most if came or start.dispatch != Dispatch.AHEAD else 0.0


def _full(trace: Trace, start: RecordedStart) -> bool:
    """Whether it has all the spans that it may: then delays of the event loop may have joined the task's piece after them."""
    in_order = any(task.order for task in start.tasks)
    return len(trace.spans) >= (MOST_SPANS_IN_ORDER if in_order else MOST_SPANS)


def _failed_a_caller(start: RecordedStart, told: Mapping[str, Value]) -> bool:
    """Of a start without a first word: whether it failed or timed out on a caller who was there."""
    return start.failed and words.PARTICIPANT_KIND in told


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= NEAR_S
