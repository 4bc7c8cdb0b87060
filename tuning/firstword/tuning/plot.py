"""Which bars to draw of a start, and of many: the waterfall of one session, and where the percentile sessions' time goes.

After `firstword.tuning.start` and `firstword.tuning.costs`, before `firstword.tuning.drawing`; for `firstword plot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firstword.telemetry.record import Outcome
from firstword.telemetry.source_lines import SourceLine
from firstword.telemetry.vocabulary import ABSENT_CALLER, DISPATCH, EVENT_LOOP
from firstword.tuning.costs import Among, Cause, costs_of
from firstword.tuning.drawing import SERIES, Bar, Picture, Section, Strip, duration
from firstword.tuning.sampling import WEIGHTED, place
from firstword.tuning.spans import Span, Trace
from firstword.tuning.start import Method, Piece, RecordedStart, TracedTask
from firstword.tuning.wording import amount

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
_MOST_ROWS = 80
"""Of a trace that isn't ours; the longest."""
_LATEST = 2
"""The axis ends at so many times the first word, at the latest: what is deferred may go on for long."""
_ENDS = {
    Outcome.FIRST_WORD: "first word",
    Outcome.FAILED: "failed",
    Outcome.ABANDONED: "the caller left",
    Outcome.TIMED_OUT: "timed out",
    Outcome.NO_CALLER: "no caller came",
}
_METHODS = {
    Method.OBSERVED: "The path was observed on the event loop",
    Method.GUESSED: "The path is guessed from times (last-finishing-child)",
}
_LEGEND = (
    ("critical", "On the critical path"),
    ("beside", "Beside it"),
    ("detached", "Not needed, still running at the first word"),
    ("after", "After the first word"),
    ("absent", "No caller was there yet"),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and of which sessions it is."""

    picture: Picture
    trace_ids: tuple[str, ...]
    """In the picture's order."""
    weighted: bool
    """The store was sampled: where sessions were ranked, each counted for as many as it stands for."""
    methods: frozenset[Method]
    """How the paths were found."""


# One session


def waterfall(start: RecordedStart, spans: Sequence[Span] = ()) -> Picture:
    """One session: phases, critical path, tasks, and behind the line of the first word what was deferred.

    spans: of its trace, which are drawn by service where the trace isn't ours.
    """
    before = [task for task in start.tasks if not _later(task, start)]
    later = [task for task in start.tasks if _later(task, start)]
    sections = [Section("", (*_phases(start), _path(start), *_loop_and_dispatch(start)))]
    if before:
        sections.append(Section("Tasks", tuple(_task(task, start) for task in before)))
    if later:
        sections.append(Section("After the first word", tuple(_task(task, start) for task in later)))
    if start.method is Method.OBSERVED:
        sections.append(Section("Lines of source", tuple(_source_lines(start))))
    elif not start.tasks:
        sections += _services(start, spans)
    ends = [task.start_us + task.duration_us for task in start.tasks]
    used = {bar.style for section in sections for row in section.rows for bar in row.bars}
    end = _end(start)
    took = duration(start.duration_us if start.ttfw_s is None else start.ttfw_s * 1e6)
    return Picture(
        title=f"{end[0].upper()}{end[1:]} after {took}",
        lines=_lines(start),
        legend=tuple((style, meaning) for style, meaning in _LEGEND if style in used),
        sections=tuple(sections),
        length=max(start.duration_us, min(max(ends, default=0), _LATEST * start.duration_us), 1),
        mark=(start.duration_us, f"{end} @ {duration(start.duration_us)}"),
    )


def _end(start: RecordedStart) -> str:
    return next((says for outcome, says in _ENDS.items() if outcome == start.outcome), "end")


def _lines(start: RecordedStart) -> tuple[str, ...]:
    lines = [start.name, f"Trace {start.trace_id}"]
    if start.room_sid or start.job_id:
        lines.append(f"Room {start.room_sid or '-'}, job {start.job_id or '-'}")
    if start.init_s is not None:
        lines.append(f"Initialization {duration(start.init_s * 1e6)}")
    if start.flags:
        on = sorted(name for name, variant in start.flags.items() if variant == "on")
        some = ", ".join(on) if 0 < len(on) < len(start.flags) else f"{'all' if on else 'none'} of {len(start.flags)}"
        lines.append(f"Flags on: {some}")
    if start.method is not Method.EXACT:
        lines.append(_METHODS[start.method])
    return tuple(lines)


def _later(task: TracedTask, start: RecordedStart) -> bool:
    return task.deferred or task.start_us >= start.duration_us


def _phases(start: RecordedStart) -> tuple[Strip, ...]:
    if not start.phases:
        return ()
    bars = [
        Bar(p.start_us, p.duration_us, f"phase{i % 3}", f"{p.name}: {duration(p.duration_us)}")
        for i, p in enumerate(start.phases)
    ]
    note = ", ".join(f"{p.name} {duration(p.duration_us)}" for p in start.phases)
    return (Strip("phases", note, tuple(bars)),)


def _path(start: RecordedStart) -> Strip:
    return Strip("critical path", "", tuple(_piece(piece) for piece in start.path))


def _piece(piece: Piece) -> Bar:
    held_by = f", held by {piece.held_by}" if piece.held_by else ""
    kind = f", {piece.kind}" if piece.kind and piece.kind != piece.name else ""
    told = f"{piece.source or piece.name}{kind}{held_by}: @ {duration(piece.start_us)} + {duration(piece.duration_us)}"
    # what nobody waited for is no part of it, though it fills the time
    return Bar(piece.start_us, piece.duration_us, "absent" if piece.name == ABSENT_CALLER else "critical", told)


def _loop_and_dispatch(start: RecordedStart) -> Iterable[Strip]:
    for name in (DISPATCH, EVENT_LOOP):
        pieces = [piece for piece in start.path if name == (piece.kind or piece.task or piece.name)]
        if pieces and start.method is not Method.GUESSED:
            note = f"+ {duration(sum(piece.duration_us for piece in pieces))}"
            yield Strip(name, note, tuple(_piece(piece) for piece in pieces))


def _task(task: TracedTask, start: RecordedStart) -> Strip:
    style = "after" if _later(task, start) else "detached" if task.detached else "beside"
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
    bars = [Bar(task.start_us, task.duration_us, style, "; ".join(told))]
    bars += [_piece(piece) for piece in start.path if piece.task == task.name]
    return Strip(task.name, note + (f" {task.error_type}" if task.error_type else ""), tuple(bars))


def _source_lines(start: RecordedStart) -> Iterable[Strip]:
    """A row for each line of the user's, in the order in which they were first waited for."""
    lines: dict[SourceLine, list[Piece]] = {}
    for piece in start.path:
        if piece.source is not None:
            lines.setdefault(piece.source, []).append(piece)
    for line, pieces in lines.items():
        took = sum(piece.duration_us for piece in pieces)
        yield Strip(str(line), f"+ {duration(took)}", tuple(_piece(piece) for piece in pieces))


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
    sections = [Section(service, tuple(rows)) for service, rows in services.items()]
    if len(spans) > len(longest):
        sections.append(Section(f"Not drawn: {amount(len(spans) - len(longest), 'shorter span')}", ()))
    return sections


def _span(span: Span, start: RecordedStart, pieces: Sequence[Piece]) -> Strip:
    begin = (span.start_ns - start.start_ns) // 1000
    note = f"@ {duration(begin)} + {duration(span.duration_us)}"
    bars = (Bar(begin, span.duration_us, "beside", f"{span.name}: {note}"), *map(_piece, pieces))
    return Strip(span.name, note, bars)


# Many sessions


class NothingToPlot(LookupError):
    """There is no trace to draw; the message says so."""


@dataclass(frozen=True, slots=True)
class _Waited:
    """What is kept of one session."""

    waited_us: float
    trace_id: str
    causes: dict[Cause, int]
    weight: float
    method: Method


def percentiles(traces: Iterable[Trace]) -> Drawn:
    """Where the sessions at p10 to p99 of the time to first word spent it.

    Of those with a first word; where none had one, of those without; where no trace is a start of ours, of all, by
    duration. Raises NothingToPlot, and what `traces` raises.
    """
    seen: dict[Among, list[_Waited]] = {among: [] for among in Among}
    for trace in traces:
        costs = costs_of(trace)
        if costs.among is not None:
            causes: dict[Cause, int] = {}
            for cause, _, us in costs.path:
                causes[cause] = causes.get(cause, 0) + us
            seen[costs.among].append(_Waited(costs.waited * 1e6, trace.trace_id, causes, costs.weight, costs.method))
    for among, sessions in seen.items():
        if sessions:
            ordered = sorted(sessions, key=lambda session: (session.waited_us, session.trace_id))
            return _many(among, ordered)
    raise NothingToPlot("no trace in which a caller was there")


def _many(among: Among, ordered: Sequence[_Waited]) -> Drawn:
    shown: dict[str, list[int]] = {}
    count, weights = len(ordered), [session.weight for session in ordered]
    for percent in PERCENTILES:
        shown.setdefault(ordered[place(weights, percent / 100)].trace_id, []).append(percent)
    sessions = [session for session in ordered if session.trace_id in shown]
    whole = sum(weights)
    means: dict[Cause, float] = {}
    for session in ordered:
        for cause, us in session.causes.items():
            means[cause] = means.get(cause, 0.0) + session.weight * us / whole
    causes = sorted(means, key=lambda cause: -means[cause])
    styles = {cause: f"s{i}" for i, cause in enumerate(causes[:SERIES])}
    rows = tuple(_stacked(session, shown[session.trace_id], causes, styles) for session in sessions)
    sessions_in_words = f"{count:,} session{'s' * (count != 1)}"
    titles = {
        Among.HEARD: f"Time to first word of {sessions_in_words}",
        Among.UNHEARD: f"{sessions_in_words} without a first word",
        Among.OTHERS: f"{count:,} trace{'s' * (count != 1)}",
    }
    legend = [(styles[cause], f"{cause}: {duration(means[cause])} a session") for cause in styles]
    if len(causes) > SERIES:
        rest = sum(means[cause] for cause in causes[SERIES:])
        legend.append(("rest", f"{len(causes) - SERIES} others: {duration(rest)} a session"))
    weighted = any(weight != 1.0 for weight in weights)
    lines = ("Critical paths: what callers waited for", *((WEIGHTED,) if weighted else ()))
    return Drawn(
        Picture(
            title=titles[among],
            lines=lines,
            legend=tuple(legend),
            sections=(Section("", rows),),
            length=max(max(sum(session.causes.values()) for session in sessions), 1),
        ),
        tuple(session.trace_id for session in sessions),
        weighted,
        frozenset(session.method for session in ordered),
    )


def _stacked(session: _Waited, percents: Sequence[int], causes: Sequence[Cause], styles: dict[Cause, str]) -> Strip:
    bars: list[Bar] = []
    reached = 0
    for cause in causes:
        us = session.causes.get(cause, 0)
        if us:
            bars.append(Bar(reached, us, styles.get(cause, "rest"), f"{cause}: {duration(us)}"))
            reached += us
    return Strip(", ".join(f"p{percent}" for percent in percents), duration(session.waited_us), tuple(bars))
