"""The waterfall of one session: what its caller waited for, and when each task computed, waited, and could have waited.

After `firstword.tuning.start`, before `firstword.tuning.svg`; for `firstword plot` and the pictures of a rehearsal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from firstword.telemetry.record import Outcome
from firstword.telemetry.vocabulary import ABSENT_CALLER, COMPUTING, EVENT_LOOP, STAGE_PREFIX
from firstword.tuning.dispatch import explanation
from firstword.tuning.palette import style_of
from firstword.tuning.spans import Span
from firstword.tuning.start import Method, Piece, RecordedStart, TracedTask
from firstword.tuning.svg import Bar, Key, Picture, Section, Strip, duration
from firstword.tuning.wording import amount, date

_MOST_ROWS = 80
"""Of a trace that isn't ours; the longest."""
_LATEST = 2
"""The axis ends at so many times the first word, at the latest: what is deferred may go on for long."""
_METHODS = {
    Method.OBSERVED: "Path observed on the event loop",
    Method.GUESSED: "Path guessed from times (last-finishing-child)",
}
_ENDS = {
    Outcome.FIRST_WORD: "first word",
    Outcome.FAILED: "failed",
    Outcome.ABANDONED: "the caller left",
    Outcome.TIMED_OUT: "timed out",
    Outcome.NO_CALLER: "no caller came",
}


def waterfall(start: RecordedStart, spans: Sequence[Span] = ()) -> Picture:
    """Draws one session: its phases, critical path and tasks, and behind the line of the first word what was deferred.

    spans: the spans of its trace, which are drawn by service where the trace isn't ours.
    """
    before = [task for task in start.tasks if not _later(task, start)]
    needed = [task for task in before if not task.detached]
    sections = [
        Section("", (*_phases(start), _path(start), *_event_loop(start))),
        Section("Dispatch", tuple(_dispatch(start))),
        Section("Tasks", tuple(_task(task, start) for task in needed)),
        Section("Lines of source", tuple(_source_lines(start))),
        Section("Not needed, still running", tuple(_task(task, start) for task in before if task.detached)),
        Section("After the first word", tuple(_task(task, start) for task in start.tasks if _later(task, start))),
    ]
    if not start.tasks and start.method is Method.GUESSED:
        sections += _services(start, spans)
    ends = [task.start_us + task.duration_us for task in start.tasks]
    end = _end(start)
    length = max(start.duration_us, min(max(ends, default=0), _LATEST * start.duration_us), 1)
    return Picture(
        title=_title(start, end),
        lines=_lines(start),
        legend=tuple(_legend(start, sections, length)),
        sections=tuple(section for section in sections if section.rows or not section.heading),
        length=length,
        mark=(start.duration_us, f"{end} @ {duration(start.duration_us)}"),
    )


def _title(start: RecordedStart, end: str) -> str:
    if start.outcome is None:
        return f"{start.name}: {duration(start.duration_us)}"
    took = duration(start.duration_us if start.ttfw_s is None else start.ttfw_s * 1e6)
    return f"{end[0].upper()}{end[1:]} after {took}"


def _end(start: RecordedStart) -> str:
    return next((says for outcome, says in _ENDS.items() if outcome == start.outcome), "end")


def _lines(start: RecordedStart) -> tuple[str, ...]:
    lines = [f"{date(start.start_ns)}, {start.name}", f"Trace {start.trace_id}"]
    if start.room_sid or start.job_id:
        lines.append(f"Room {start.room_sid or '-'}, job {start.job_id or '-'}")
    if start.init_s is not None:
        lines.append(f"Initialization {duration(start.init_s * 1e6)}")
    if start.flags:
        on = sorted(name for name, variant in start.flags.items() if variant == "on")
        some = ", ".join(on) if 0 < len(on) < len(start.flags) else f"{'all' if on else 'none'} of {len(start.flags)}"
        lines.append(f"Flags on: {some}")
    if start.method in _METHODS:
        lines.append(_METHODS[start.method])
    return tuple(lines)


def _legend(start: RecordedStart, sections: Iterable[Section], length: float) -> Iterator[Key]:
    bars = [bar for section in sections for row in section.rows for bar in row.bars]
    shapes = {bar.shape for bar in bars}
    any_style = next((bar.style for bar in bars if bar.shape == "pale"), "rest")
    yield Key("@ began, + took; a colour is one name's, always")
    ours = bool(start.tasks) or start.method is Method.OBSERVED
    if ours:
        yield Key("Computed: held the event loop", any_style)
    if "pale" in shapes:
        yield Key("Waited, for the network or another task" if ours else "Not on the path", any_style, "pale")
    if "under" in shapes:
        yield Key("On the critical path", "critical", "under")
    if "slack" in shapes:
        yield Key("Slack: could have ended so much later", any_style, "slack")
    if any(bar.style == "absent" for bar in bars):
        yield Key("No caller was there yet", "absent")
    if any(bar.start + bar.duration > length for bar in bars):
        yield Key("Arrow at the edge: it goes on")


def _later(task: TracedTask, start: RecordedStart) -> bool:
    return task.deferred or task.start_us >= start.duration_us


def _phases(start: RecordedStart) -> tuple[Strip, ...]:
    if not start.phases:
        return ()
    bars = [
        Bar(p.start_us, p.duration_us, f"phase{i % 2}", f"{p.name}: {duration(p.duration_us)}", inside=p.name)
        for i, p in enumerate(start.phases)
    ]
    return (Strip("", ", ".join(f"{p.name} {duration(p.duration_us)}" for p in start.phases), tuple(bars)),)


def _path(start: RecordedStart) -> Strip:
    return Strip("critical path", "", (*map(_piece, start.path), *_unders(start.path)))


def _piece(piece: Piece) -> Bar:
    held_by = f", held by {piece.held_by}" if piece.held_by else ""
    kind = f", {piece.kind}" if piece.kind and piece.kind != piece.name else ""
    why = explanation(piece.name, piece.duration_us) if piece.is_dispatch else None
    told = f"{_name(piece)}{kind}{held_by}: @ {duration(piece.start_us)} + {duration(piece.duration_us)}"
    style = "absent" if piece.name == ABSENT_CALLER else style_of(_name(piece))
    return Bar(piece.start_us, piece.duration_us, style, f"{told}; {why}" if why else told)


def _name(piece: Piece) -> str:
    return piece.name if piece.source is None else str(piece.source)


def _unders(pieces: Iterable[Piece]) -> Iterator[Bar]:
    """The line below what was waited for; an absent caller waited for nothing."""
    for piece in pieces:
        if piece.name != ABSENT_CALLER:
            yield Bar(piece.start_us, piece.duration_us, "critical", f"on the critical path: {_name(piece)}", "under")


def _dispatch(start: RecordedStart) -> Iterator[Strip]:
    """A row for each stage."""
    for piece in start.path:
        if start.method is not Method.GUESSED and piece.is_dispatch:
            note = f"@ {duration(piece.start_us)} + {duration(piece.duration_us)}"
            yield Strip(piece.name.removeprefix(STAGE_PREFIX), note, (_piece(piece), *_unders([piece])))


def _event_loop(start: RecordedStart) -> Iterator[Strip]:
    pieces = [piece for piece in start.path if (piece.kind or piece.name) == EVENT_LOOP and piece.task is None]
    if pieces and start.method is not Method.GUESSED:
        took = duration(sum(piece.duration_us for piece in pieces))
        yield Strip(EVENT_LOOP, f"+ {took}", (*map(_piece, pieces), *_unders(pieces)))


def _task(task: TracedTask, start: RecordedStart) -> Strip:
    note = f"@ {duration(task.start_us)} + {duration(task.duration_us)}"
    told = [f"{task.name}: {note}"]
    figures = (("drag", task.drag), ("slack", task.slack), ("held the loop", task.loop_time))
    told += [f"{what} {duration(s * 1e6)}" for what, s in figures if s is not None]
    if task.needs:
        told.append(f"needs {', '.join(task.needs)}")
    if task.cache:
        told.append(f"cache {task.cache}")
    if task.error_type:
        told.append(task.error_type)
    style, says = style_of(task.name), "; ".join(told)
    end = task.start_us + task.duration_us
    bars = [Bar(task.start_us, task.duration_us, style, says, "pale")]
    for step in task.steps:
        held = min(step.start_us + step.duration_us, end) - step.start_us
        if held > 0:
            bars.append(Bar(step.start_us, held, style, says))
    bars += _unders(piece for piece in start.path if piece.task == task.name)
    if task.slack and not _later(task, start):
        # past the first word nothing of it is left
        room = min(task.slack * 1e6, start.duration_us - end)
        bars.append(Bar(end, max(room, 0.0), style, f"slack of {task.name}: {duration(task.slack * 1e6)}", "slack"))
    return Strip(task.name, note + (f" {task.error_type}" if task.error_type else ""), tuple(bars))


def _source_lines(start: RecordedStart) -> Iterator[Strip]:
    """Of an observed start a row for each line of the user's, in the order in which they were first waited for."""
    lines: dict[str, list[Piece]] = {}
    for piece in start.path:
        if piece.source is not None:
            lines.setdefault(str(piece.source), []).append(piece)
    for line, pieces in lines.items():
        took = sum(piece.duration_us for piece in pieces)
        bars = (replace(_piece(each), shape="full" if each.kind == COMPUTING else "pale") for each in pieces)
        yield Strip(line, f"+ {duration(took)}", (*bars, *_unders(pieces)))


def _services(start: RecordedStart, spans: Sequence[Span]) -> list[Section]:
    """All spans of a trace that isn't ours, by service, in the order in which they began; of very many the longest."""
    on_path: dict[str, list[Piece]] = {}
    for piece in start.path:
        on_path.setdefault(piece.span_id, []).append(piece)
    longest = sorted(spans, key=lambda span: (span.span_id not in on_path, -span.duration_us, span.span_id))[
        :_MOST_ROWS
    ]
    services: dict[str, list[Strip]] = {}
    for span in sorted(longest, key=lambda span: (span.start_ns, -span.end_ns, span.span_id)):
        services.setdefault(span.service or "No service", []).append(_span(span, start, on_path.get(span.span_id, ())))
    sections = [Section(f"Service {service}", tuple(rows)) for service, rows in services.items()]
    if len(spans) > len(longest):
        left_out = amount(len(spans) - len(longest), "shorter span")
        sections.append(Section(f"Not drawn: {left_out}", (Strip("", "", ()),)))
    return sections


def _span(span: Span, start: RecordedStart, pieces: Sequence[Piece]) -> Strip:
    begin = (span.start_ns - start.start_ns) // 1000
    note = f"@ {duration(begin)} + {duration(span.duration_us)}"
    bar = Bar(begin, span.duration_us, style_of(span.name), f"{span.name}: {note}", "pale")
    return Strip(span.name, note, (bar, *map(_piece, pieces), *_unders(pieces)))
