"""Finds the observed path: what the caller waited for, by the user's line of source, from the record of an event loop.

It walks back from the step that captured the first audible frame, always to the cause. A step that was scheduled goes
back to the step that scheduled it, and a timer to who set it. An answer goes back to who asked, and a call in an
executor to who submitted it. An event from elsewhere has no cause in the record. It ended the wait of a task that
needed it, and that task's wait, or one that it led to, began last.

Pure: a record in, pieces out, in ns on the record's clock. Runs after the first word.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from operator import attrgetter
from types import CodeType

from firstword.telemetry import vocabulary as words
from firstword.telemetry.beside_path import BesideWork, Need, beside_works, let_go_on, needs_of
from firstword.telemetry.frames import Frames
from firstword.telemetry.loop_steps import CallerSound, Event, Life, Origin, Step, Timer
from firstword.telemetry.source_lines import SourceLine, line_of

_LIVEKIT = f"{os.sep}livekit{os.sep}"


class ObservedKind(StrEnum):
    """The kind of a piece of an observed path: what the caller waited for in it (`startup.kind`)."""

    COMPUTING = words.COMPUTING
    EVENT_LOOP = words.EVENT_LOOP
    """The task could have gone on, but something else held the loop."""
    TIMER = words.TIMER
    NETWORK = words.NETWORK
    THREAD = words.THREAD
    """A call in an executor, or the wait for a free thread."""
    CALLER_SOUND = words.CALLER_SOUND
    """Sound of a caller that had not come yet: their speech, or the silence that ends it."""
    OUTSIDE = words.OUTSIDE
    """Something that the loop knows nothing of: another thread, a native library, a process."""


@dataclass(frozen=True, slots=True)
class ObservedPiece:
    """One stretch of the observed path: its kind, its times, and the user's line that it was for."""

    kind: ObservedKind
    start: int
    end: int
    line: SourceLine | None = None
    """The user's line that it was for; None if the record knows of none."""
    inside: str | None = None
    """Qualified name of the library's function that was at work for the line; None if none was."""
    held_by: str | None = None
    """For a delay by the event loop: the qualified name of what held the loop most; None if nothing held it for long.
    """
    is_arrival: bool = False
    """Whether the caller came in it, and it waited for what came with them or because of them."""
    beside: tuple[BesideWork, ...] = ()
    """What else was needed at an instant in it."""

    def moved(self, by: int) -> ObservedPiece:
        """Returns the same piece with its times moved by `by` ns, onto another clock."""
        beside = tuple(work.moved(by) for work in self.beside)
        return replace(self, start=self.start + by, end=self.end + by, beside=beside)


def observed_path(
    step: Step | None, instant: int, since: int, steps: Sequence[Step], *, arrival: Step | None = None
) -> tuple[ObservedPiece, ...]:
    """Returns the pieces of the observed path from `since` to `instant`, in time order, without gap or overlap; none is
    empty.

    step: the step that ran at `instant`. steps: all steps of the record, in the order in which they began. arrival: the
    step in which LiveKit announced the caller.
    """
    walk = _Walk(instant, since, steps, arrival)
    walk.back(step)
    return tuple(_with_beside(walk.path(), beside_works(walk.needs, walk.passed, since)))


class _Walk:
    """The way back from an instant. Pieces are found last first, each up to the one before."""

    def __init__(self, instant: int, since: int, steps: Sequence[Step], arrival: Step | None) -> None:
        self._pieces: list[ObservedPiece] = []
        self._reached = instant
        self._since = since
        self._steps = steps
        self._arrival = arrival
        self.needs: list[Need] = []
        """What else was needed on the way."""
        self.passed: set[int] = set()
        """Ids of the steps on the way."""
        self._told = False
        """Whether the step that told of the caller's coming was on the way since the last event."""

    def path(self) -> tuple[ObservedPiece, ...]:
        """The pieces in time order, each with a line where any has one."""
        return tuple(_with_lines(self._pieces[::-1]))

    def back(self, step: Step | None) -> None:
        """Walk to the begin from what was reached, when `step` ran."""
        woken: list[Step] = []
        for _ in range(len(self._steps) + 2):
            if step is None or self._reached <= self._since:
                break
            self._told = self._told or step is self._arrival
            self.passed.add(id(step))
            self._computing(step)
            if step.life is not None:
                woken.append(step)
            if step.origin is Origin.SOON and step.cause is not None:
                self.add(ObservedKind.EVENT_LOOP, step.scheduled, *_waiting(step))
                step = step.cause
            else:
                step, woken = self._event(step, woken), []
        self.add(ObservedKind.OUTSIDE, self._since)

    def add(self, kind: ObservedKind, start: int, line: SourceLine | None = None, inside: str | None = None) -> None:
        """A piece from `start` to what was reached; nothing where it would be empty."""
        start = max(start, self._since)
        if start < self._reached:
            held_by = self._holder(start, self._reached) if kind is ObservedKind.EVENT_LOOP else None
            self._pieces.append(ObservedPiece(kind, start, self._reached, line, inside, held_by))
            self._reached = start

    def _event(self, step: Step, woken: list[Step]) -> Step | None:
        """Walk from what an event began with this step to its cause, which is returned."""
        detail, cause = step.detail, step.cause
        self.needs += needs_of(step, woken)
        waiting = _waiting_for(woken, step)
        if cause is None or detail is None or isinstance(detail, CallerSound):
            return self._unknown(step, woken)
        if isinstance(detail, Timer):
            self.add(ObservedKind.EVENT_LOOP, max(detail.due, step.scheduled), *waiting)
            line = _line(detail.set_at)
            self.add(ObservedKind.TIMER, step.scheduled, *(waiting if line in (None, waiting[0]) else (line, None)))
            return cause
        self.add(ObservedKind.EVENT_LOOP, step.scheduled, *waiting)
        if isinstance(detail, Event):
            self.add(_kind(step), detail.asked, *waiting)
        else:
            self.add(ObservedKind.THREAD, detail.submitted, _line(detail.submitted_at) or waiting[0], detail.name)
        return cause

    def _unknown(self, step: Step, woken: list[Step]) -> Step | None:
        """From an event without a cause to the task that it let go on."""
        if step.origin is Origin.BEGIN:
            return None
        last = let_go_on(woken, self.passed)
        since = self._since if last is None or last.waited_since is None else last.waited_since
        if last is not None and since > self._reached:
            return self._held_up(last, since)
        waiting = _waiting(last or (woken[-1] if woken else step))
        self.add(ObservedKind.EVENT_LOOP, max(step.scheduled, since), *waiting)
        before = len(self._pieces)
        self.add(_kind(step), since, *waiting)
        if len(self._pieces) > before and (self._told or self._came_in(since, woken)):
            self._pieces[-1] = replace(self._pieces[-1], is_arrival=True)
        self._told = False
        return None if last is None else last.previous

    def _held_up(self, needs: Step, since: int) -> Step | None:
        """From an event that was there before it was needed to the task that needed it, which then waited for the loop."""
        while self._pieces and self._pieces[-1].end <= since:
            self._pieces.pop()
        self._reached = self._pieces.pop().end
        self.add(ObservedKind.EVENT_LOOP, since, *_waiting(needs))
        self._told = False
        return needs.previous

    def _came_in(self, since: int, woken: Sequence[Step]) -> bool:
        """Whether the caller came in a wait since then that a later event of the room ended, told of by the same task."""
        told = self._arrival
        if told is None or told.life is None or not woken or not since < told.begin <= woken[0].begin:
            return False
        return any(each.life is told.life for each in woken)

    def _computing(self, step: Step) -> None:
        """What the step did until what was reached, split where samples say that it was elsewhere."""
        samples = [sample for sample in step.samples or () if step.begin <= sample[0] <= self._reached]
        if not samples:
            self.add(ObservedKind.COMPUTING, step.begin, *_working(step))
            return
        begins = [step.begin, *((one[0] + other[0]) // 2 for one, other in pairwise(samples))]
        for begin, (_, frames) in zip(reversed(begins), reversed(samples), strict=True):
            self.add(ObservedKind.COMPUTING, begin, *_named(frames, step.life))

    def _holder(self, start: int, end: int) -> str | None:
        """The name of what held the loop most between two instants."""
        held: dict[str, int] = {}
        at = bisect_left(self._steps, end, key=attrgetter("begin"))
        for step in reversed(self._steps[:at]):
            if step.end and step.end <= start and step.outer is None:
                break
            overlap = min(step.end or end, end) - max(step.begin, start)
            name = _step_name(step)
            if overlap > 0 and name is not None:
                held[name] = held.get(name, 0) + overlap
        return max(held, key=held.__getitem__, default=None)


# The names of steps and lines


def _kind(step: Step) -> ObservedKind:
    """Of the wait for what came with this step."""
    if isinstance(step.detail, CallerSound):
        return ObservedKind.CALLER_SOUND
    is_network = isinstance(step.detail, Event) and step.detail.is_socket
    return ObservedKind.NETWORK if is_network else ObservedKind.OUTSIDE


def _waiting(step: Step) -> tuple[SourceLine | None, str | None]:
    """Where the task of a step waited before it: the user's line and the library's function."""
    return _named(step.waited_in, step.life)


def _waiting_for(woken: Sequence[Step], step: Step) -> tuple[SourceLine | None, str | None]:
    """As of the task that an event let go on. If it is one that LiveKit made of others' code, as of who waited for it."""
    found = _waiting(woken[-1] if woken else step)
    for each in reversed(woken):
        if each.waited_in is None:
            continue
        if each.waited_in.users is not None:
            break
        if any(map(_is_livekits, each.waited_in.codes)):
            return _waiting(each)
    return found


def _working(step: Step) -> tuple[SourceLine | None, str | None]:
    """Where a step worked that was not sampled: on the way to where it waits next. Where that is not known, from where it had waited."""
    return _named(step.reached or step.waited_in, step.life)


def _named(frames: Frames | None, life: Life | None) -> tuple[SourceLine | None, str | None]:
    """The user's innermost line, or the one for which the task works, and the library's function at work for it."""
    if frames is None:
        return _inherited(life), None
    if frames.users is None:
        return _inherited(life), _library(frames.codes)
    return _line(frames), _library(frames.codes[frames.users + 1 :])


def _line(frames: Frames | None) -> SourceLine | None:
    """The user's innermost line."""
    if frames is None or frames.users is None:
        return None
    return line_of(frames.codes[frames.users], frames.offset)


def _library(codes: Sequence[CodeType]) -> str | None:
    """Of functions that are all of libraries, LiveKit's innermost, without its plumbing; else the innermost of all."""
    found = [code for code in codes if _is_livekits(code)] or codes
    return found[-1].co_qualname if found else None


def _is_livekits(code: CodeType) -> bool:
    return _LIVEKIT in code.co_filename and "utils" not in code.co_filename


def _inherited(life: Life | None) -> SourceLine | None:
    """The user's line for which a library's task works: where it was made, or where that was made which made it."""
    for _ in range(64):
        if life is None:
            return None
        if life.made_at is not None:
            return _line(life.made_at)
        maker = life.maker
        while maker is not None and maker.life is None:
            maker = maker.cause
        if maker is None:
            return None
        if (own := _line(maker.waited_in)) is not None:
            return own
        life = maker.life
    return None


def _step_name(step: Step) -> str | None:
    """What held the loop in a step: the user's function, else the library's."""
    frames = step.samples[-1][1] if step.samples else step.reached or step.waited_in
    if frames is not None and frames.users is not None:
        return frames.codes[frames.users].co_qualname
    coroutine = None if step.life is None or step.life.code is None else step.life.code.co_qualname
    return (None if frames is None else _library(frames.codes)) or coroutine or step.name


def _with_beside(pieces: Sequence[ObservedPiece], works: Sequence[BesideWork]) -> Iterator[ObservedPiece]:
    """Each with what else was needed at an instant in it."""
    for piece in pieces:
        beside = tuple(work for work in works if piece.start <= work.needed < piece.end)
        yield replace(piece, beside=beside) if beside else piece


def _with_lines(pieces: Sequence[ObservedPiece]) -> Iterator[ObservedPiece]:
    """A piece without a line takes that of the next piece that has one, for which it was; the last ones of the one before."""
    lines: list[SourceLine | None] = []
    line: SourceLine | None = None
    for piece in reversed(pieces):
        line = piece.line or line
        lines.append(line)
    line = None
    for piece, found in zip(pieces, reversed(lines), strict=True):
        line = found or line
        yield piece if piece.line == line else replace(piece, line=line)
