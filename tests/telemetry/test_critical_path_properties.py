"""What must hold of the critical path of any start: random plans, played forward, in order and concurrently."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstword.telemetry.critical_path import LEAST_LOOP_DELAY, PathPiece, PieceKind, analyse
from firstword.telemetry.inferred_path import NoRoot, TimedSpan, last_finishing_path, root_of
from firstword.telemetry.layout import lay_out, unsettled
from firstword.telemetry.record import Outcome, Start
from tests.properties import examples
from tests.telemetry.plans import EPOCH, FIRST_WORD, Play, as_of_the_end, plays

many = settings(
    max_examples=examples(500),
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
heard = plays(outcomes=(Outcome.FIRST_WORD,))


def chains(play: Play, name: str) -> Iterator[tuple[int, list[str]]]:
    """Every way in which time can have passed up to a task's end: its length, and the tasks whose work is on it."""
    index = [task.name for task in play.tasks].index(name)
    task = play.tasks[index]
    if task.outside is not None:
        yield task.outside + task.work, [name]
    if not play.edges(index):
        yield play.dispatch + task.delay + task.work, [name]
    for need in play.edges(index):
        for length, before in chains(play, need):
            yield length + task.delay + task.work, [*before, name]


@many
@given(plays())
def test_the_pieces_cover_the_start(play: Play) -> None:
    """From the root's start to its end without gap or overlap, none empty, in time order; they sum to its duration."""
    start = play.record()
    pieces = analyse(start).pieces
    assert sum(piece.end - piece.start for piece in pieces) == start.end - start.start
    assert all(before.end == after.start for before, after in pairwise(pieces))
    assert all(piece.start < piece.end for piece in pieces)
    if pieces:
        assert (pieces[0].start, pieces[-1].end) == (start.start, start.end)
    assert all(p.end - p.start >= LEAST_LOOP_DELAY for p in pieces if p.kind is PieceKind.EVENT_LOOP)


@many
@given(plays(outcomes=(Outcome.FIRST_WORD,), most=6))
def test_the_path_is_a_longest_chain(play: Play) -> None:
    """Of all chains of needs, tried one by one, none is longer than the start, and the path is one that is as long."""
    start = play.record()
    all_chains = list(chains(play, FIRST_WORD))
    longest = max(length for length, _ in all_chains)
    assert longest == start.end - EPOCH
    works = {task.name: task.work for task in play.tasks}
    on_path = [piece.task for piece in analyse(start).pieces if piece.task is not None]
    candidates = [[name for name in chain if works[name]] for length, chain in all_chains if length == longest]
    # loop delays under a millisecond show as the task's own, so a task without work may be on the path too
    shown = [[name for name in on_path if name in chain] for chain in candidates]
    assert any(have[len(have) - len(chain) :] == chain for have, chain in zip(shown, candidates, strict=True))


@many
@given(heard)
def test_drag_is_what_a_task_without_work_would_have_won(play: Play) -> None:
    """The same plan, played again with the task's own time 0, has its first word earlier by just its drag."""
    start = play.record()
    analysis = analyse(start)
    on_path = {piece.task for piece in analysis.pieces}
    for task in play.tasks:
        won = start.end - play.without(task.name).record().end
        drag = analysis.figures[task.name].drag if task.name in analysis.figures else 0
        assert round(drag * 1e9) == won
        assert task.name in on_path or won == 0


@many
@given(heard)
def test_slack_is_all_the_room_a_task_has(play: Play) -> None:
    """Working longer by its slack delays nothing, by 1 ns more it delays the first word by 1 ns; None: any delay is free."""
    start = play.record()
    figures = analyse(start).figures
    for task in play.tasks:
        if task.name not in figures:
            continue
        slack = figures[task.name].slack
        if slack is None:
            assert play.working({task.name: task.work + 10**12}).record().end == start.end
            continue
        room = round(slack * 1e9)
        assert room >= 0
        assert play.working({task.name: task.work + room}).record().end == start.end
        assert play.working({task.name: task.work + room + 1}).record().end == start.end + 1
        assert room == 0 or figures[task.name].drag == 0


@many
@given(heard)
def test_the_chain_after_the_last_wait_for_outside_has_no_slack(play: Play) -> None:
    """What lies on the path after anything outside was waited for, or in a start without such waits, has slack 0."""
    start = play.record()
    analysis = analyse(start)
    waits = [t.outside for t in start.tasks if t.outside is not None and t.begin < t.outside]
    for piece in analysis.pieces:
        if piece.task is not None and piece.start >= max(waits, default=0):
            assert analysis.figures[piece.task].slack == 0


@many
@given(plays())
def test_contention_is_holding_the_loop_while_others_were_waited_for(play: Play) -> None:
    """Counted step by step and piece by piece; never more than the loop time, nor in an absent caller's time."""
    start = play.record()
    analysis = analyse(start)
    for task in start.tasks:
        held = 0
        for step in task.steps:
            for piece in analysis.pieces:
                if piece.task != task.name and piece.kind is not PieceKind.ABSENT_CALLER:
                    held += max(min(step.end, piece.end) - max(step.start, piece.start), 0)
        figures = analysis.figures[task.name]
        assert round(figures.contention * 1e9) == held
        assert figures.contention <= figures.loop_time


@many
@given(plays())
def test_an_absent_caller_is_nobodys(play: Play) -> None:
    """A piece of waiting for the caller ends when he joins at the latest, and counts for no task."""
    start = play.record()
    analysis = analyse(start)
    for piece in analysis.pieces:
        if piece.kind is PieceKind.ABSENT_CALLER:
            assert piece.end <= (start.end if start.joined is None else start.joined)
    if start.joined is None:
        assert analysis.figures["caller"].critical == analysis.figures["caller"].drag == 0
    shares = sum(p.end - p.start for p in analysis.pieces if p.kind is PieceKind.TASK)
    assert round(sum(figures.critical for figures in analysis.figures.values()) * 1e9) == shares


def spans_of(start: Start) -> tuple[list[TimedSpan], dict[str, str]]:
    """The start laid out, as spans a stranger would read; and the names of those on the path by key."""
    spans = lay_out(start, analyse(start))
    names = {span.key: span.name.removeprefix("critical ") for span in spans if span.name.startswith("critical ")}
    return [TimedSpan(s.key, s.parent_key, s.name, s.kind, s.start_us, s.end_us) for s in spans], names


@many
@given(plays(), st.randoms(use_true_random=False), st.booleans())
def test_a_viewer_that_knows_only_times_finds_the_exact_path(play: Play, order: random.Random, as_jaeger: bool) -> None:
    """The last-finishing-child rule on our spans, in any order, gives the exact path to within rounding."""
    start = play.record()
    exact = analyse(start).pieces
    spans, names = spans_of(start)
    order.shuffle(spans)
    guessed = last_finishing_path(spans, as_jaeger=as_jaeger)

    # every span of the path is on the guessed one whole; beside them, 1 us before each and each phase
    whole = {span.span_id: (span.start_us * 1000, span.end_us * 1000) for span in spans if span.span_id in names}
    assert {piece.task: (piece.start, piece.end) for piece in guessed if piece.task in names} == whole
    borders = [piece for piece in guessed if piece.task not in names]
    # at most between the four phases, where three of them have hardly a length
    assert all(piece.end - piece.start <= 3_000 for piece in borders)
    assert len(borders) <= len(names) + len(start.phases)

    # and in the middle of whatever is long enough to survive rounding, both say the same
    for piece in exact:
        for phase in start.phases:
            begin, end = max(piece.start, phase.start), min(piece.end, phase.end)
            if end - begin > 12_000:
                assert names[at(guessed, (begin + end) // 2)] == piece.name


def at(pieces: tuple[PathPiece, ...], instant: int) -> str:
    """Whose the path is at an instant."""
    return next(piece.task or "" for piece in pieces if piece.start <= instant < piece.end)


@many
@given(plays())
def test_the_spans_are_well_formed(play: Play) -> None:
    """One root, a parent before its children, no key twice, none negative, links to spans that are there."""
    start = play.record()
    spans = lay_out(start, analyse(start))
    seen: set[str | None] = {None}
    for span in spans:
        assert span.parent_key in seen
        assert span.key not in seen
        assert span.start_us <= span.end_us
        seen.add(span.key)
    assert all(key in seen for span in spans for key, _ in span.links)
    root = spans[0]
    for span in spans:
        if span.name.startswith("deferred.") or span.name == "session.ready":
            assert span.start_us > root.end_us
        elif span.kind != "consumer":
            assert root.start_us <= span.start_us <= span.end_us <= root.end_us


@many
@given(plays())
def test_what_goes_out_at_the_first_word_stays_true(play: Play) -> None:
    """Laid out at the root's end and again when all is done, every span that was settled is the same."""
    final = play.record()
    then = as_of_the_end(final)
    later = {span.key: span for span in lay_out(final, analyse(final))}
    waiting = unsettled(then)
    for span in lay_out(then, analyse(then)):
        if span.key not in waiting:
            assert later[span.key] == span


strange_spans = st.lists(
    st.builds(
        TimedSpan,
        span_id=st.sampled_from("abcdefgh"),
        parent_id=st.one_of(st.none(), st.sampled_from("abcdefghxy"), st.just("")),
        name=st.just("span"),
        kind=st.sampled_from(("internal", "server", "producer", "consumer")),
        start_us=st.integers(0, 30),
        end_us=st.integers(0, 30),
    ),
    max_size=12,
)


@many
@given(strange_spans, st.randoms(use_true_random=False), st.booleans())
def test_any_trace_gets_a_path_or_a_clear_no(spans: list[TimedSpan], order: random.Random, as_jaeger: bool) -> None:
    """Circles of parents, missing parents, several roots, times that run backwards: a path over one root, or NoRoot."""
    try:
        root = root_of(spans)
    except NoRoot:
        ids = {span.span_id for span in spans}
        assert {span.span_id for span in spans if span.parent_id in ids} == ids
        return
    pieces = last_finishing_path(spans, as_jaeger=as_jaeger)
    longest = max(max(s.end_us - s.start_us, 0) for s in spans if s.span_id == root)
    assert sum(piece.end - piece.start for piece in pieces) == longest * 1000
    assert all(before.end == after.start for before, after in pairwise(pieces))
    order.shuffle(spans)
    assert last_finishing_path(spans, as_jaeger=as_jaeger) == pieces
