"""An observed start as spans: few, exact in sum, and to Jaeger's own rule the same path."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from firstword.telemetry import vocabulary as words
from firstword.telemetry.inferred_path import TimedSpan, last_finishing_path
from firstword.telemetry.layout import ROOT_KEY, SpanData
from firstword.telemetry.merged_pieces import merged
from firstword.telemetry.observed_layout import MOST_OBSERVED_SPANS, lay_out_observed
from firstword.telemetry.observed_path import ObservedKind, ObservedPiece
from firstword.telemetry.record import DispatchStage, Outcome, Phase, Start
from firstword.telemetry.source_lines import SourceLine
from tests.properties import examples

MS = 1_000_000
FILE = "/agents/mine/my_agent.py"
LINES = tuple(SourceLine(FILE, number, "entrypoint") for number in (10, 11, 12))
KINDS = tuple(ObservedKind)


def path(*stretches: tuple[ObservedKind, int, SourceLine | None], begin: int = 0) -> tuple[ObservedPiece, ...]:
    """Pieces one after the other: kind, ms, line."""
    pieces: list[ObservedPiece] = []
    for kind, ms, line in stretches:
        pieces.append(ObservedPiece(kind, begin, begin + ms * MS, line))
        begin = pieces[-1].end
    return tuple(pieces)


def start_with(pieces: tuple[ObservedPiece, ...], *borders: int, dispatch: int = 0) -> Start:
    """A start of these pieces, its phases cut at the borders (ns), `dispatch` ns before the first."""
    begin, end = pieces[0].start - dispatch, pieces[-1].end
    ends = (*borders, end)
    phases = tuple(
        Phase(name, since, until)
        for name, since, until in zip((words.CONNECT, words.WAIT, words.GREET), (begin, *borders), ends, strict=False)
    )
    return Start(begin, end, pieces[0].start, Outcome.FIRST_WORD, (), phases, None, joined=begin)


def by_jaeger(spans: tuple[SpanData, ...]) -> list[tuple[str, int, int]]:
    """What the rule of Jaeger's page marks: key, begin and end in µs."""
    given = [TimedSpan(span.key, span.parent_key, span.name, span.kind, span.start_us, span.end_us) for span in spans]
    found = last_finishing_path(given, ROOT_KEY, as_jaeger=True)
    return [(piece.task or "", piece.start // 1000, piece.end // 1000) for piece in found]


stretches = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(20_000, 40_000_000), st.sampled_from((None, *LINES))),
    min_size=1,
    max_size=150,
)


def made(stretches: list[tuple[ObservedKind, int, SourceLine | None]], begin: int) -> tuple[ObservedPiece, ...]:
    """Pieces of so many ns."""
    pieces: list[ObservedPiece] = []
    for kind, length, line in stretches:
        pieces.append(ObservedPiece(kind, begin, begin + length, line, held_by=f"holder {length % 3}"))
        begin += length
    return tuple(pieces)


@settings(max_examples=examples(150))
@given(stretches, st.data())
def test_whatever_the_path_its_spans_are_few_exact_and_jaegers(
    lengths: list[tuple[ObservedKind, int, SourceLine | None]], data: st.DataObject
) -> None:
    """At most 40; they cover the root, a microsecond less between neighbours; Jaeger's rule is within 1 ms of them."""
    pieces = made(lengths, 1_700_000_000_000_000_000)
    inside = st.integers(pieces[0].start, pieces[-1].end)
    borders = sorted(data.draw(st.lists(inside, max_size=2)))
    absent = data.draw(st.none() | st.tuples(inside, inside).map(lambda ends: (min(ends), max(ends))))
    start = start_with(pieces, *borders, dispatch=data.draw(st.integers(0, 300 * MS)))
    spans = lay_out_observed(
        start, pieces, absent=absent if absent and absent[0] < absent[1] else None, folder="/agents/mine"
    )
    assert len(spans) <= MOST_OBSERVED_SPANS
    root = spans[0]
    critical = sorted((s for s in spans if s.name.startswith(words.CRITICAL_PREFIX)), key=lambda s: s.start_us)
    assert all(0 <= after.start_us - before.end_us <= 3 for before, after in pairwise(critical))
    assert critical[0].start_us - root.start_us <= 3
    assert root.end_us - critical[-1].end_us <= 3
    ours = {(span.key, span.start_us, span.end_us) for span in critical}
    same = sum(
        max(min(end, e) - max(begin, b), 0)
        for key, begin, end in by_jaeger(spans)
        for other, b, e in ours
        if key == other
    )
    assert root.end_us - root.start_us - same <= 1_000


@settings(max_examples=examples(150))
@given(stretches, st.integers(1, 40))
def test_merged_pieces_cover_the_same_time(
    lengths: list[tuple[ObservedKind, int, SourceLine | None]], most: int
) -> None:
    """No more than asked for, without gap; each says what one of the pieces that it is made of said."""
    pieces = made(lengths, 0)
    few = merged(pieces, most)
    assert 1 <= len(few) <= most
    assert (few[0].start, few[-1].end) == (pieces[0].start, pieces[-1].end)
    assert all(one.end == other.start for one, other in pairwise(few))
    for piece in few:
        within = [each for each in pieces if piece.start <= each.start and each.end <= piece.end]
        assert (piece.kind, piece.line) in {(each.kind, each.line) for each in within}
        assert piece.held_by is None or piece.kind is ObservedKind.EVENT_LOOP


def test_a_streamed_answer_is_one_piece() -> None:
    """Twenty tokens, with some computing after each, for one line."""
    token = ((ObservedKind.NETWORK, 15, LINES[0]), (ObservedKind.COMPUTING, 1, LINES[0]))
    before, after = (ObservedKind.TIMER, 50, LINES[1]), (ObservedKind.COMPUTING, 30, LINES[2])
    pieces = path(before, *(token * 20), after)
    few = [(piece.kind, piece.line, (piece.end - piece.start) // MS) for piece in merged(pieces, 33)]
    assert few == [
        (ObservedKind.TIMER, LINES[1], 50),
        (ObservedKind.NETWORK, LINES[0], 320),
        (ObservedKind.COMPUTING, LINES[2], 30),
    ]


def test_what_is_different_and_long_stays() -> None:
    """Pieces of another kind or line are not merged while there is room, from 1 ms on; of the same line from 4 ms on."""
    pieces = path(
        (ObservedKind.NETWORK, 100, LINES[0]), (ObservedKind.COMPUTING, 5, LINES[0]), (ObservedKind.TIMER, 2, LINES[1])
    )
    assert merged(pieces, 33) == pieces


def test_the_spans_of_a_piece() -> None:
    """Its kind, the user's line below the folder of the file that was started, and what was at work for it there."""
    lines = path((ObservedKind.COMPUTING, 50, LINES[0]), (ObservedKind.EVENT_LOOP, 60, LINES[1]))
    library = replace(lines[1], inside="AgentSession.start", held_by="LLM.prewarm")
    bare = ObservedPiece(ObservedKind.OUTSIDE, library.end, library.end + 40 * MS)
    start = start_with((lines[0], library, bare), 50 * MS, dispatch=10 * MS)
    spans = {span.key: span for span in lay_out_observed(start, (lines[0], library, bare), folder="/agents")}
    assert [(span.name, dict(span.attributes)) for key, span in spans.items() if key.startswith("piece.")] == [
        ("critical dispatch", {}),
        (
            "critical entrypoint",
            {
                "startup.kind": "computing",
                "code.file.path": "mine/my_agent.py",
                "code.line.number": 10,
                "code.function.name": "entrypoint",
            },
        ),
        (
            "critical entrypoint",
            {
                "startup.kind": "event loop",
                "code.file.path": "mine/my_agent.py",
                "code.line.number": 11,
                "code.function.name": "entrypoint",
                "startup.inside": "AgentSession.start",
                "startup.held_by": "LLM.prewarm",
            },
        ),
        ("critical outside", {"startup.kind": "outside"}),
    ]
    root = spans[ROOT_KEY].attributes
    assert (root["startup.method"], root["startup.critical_task"]) == ("observed", "entrypoint")


def test_the_stages_of_an_observed_dispatch() -> None:
    """As a declared start's; one may be what the caller waited for most."""
    pieces = path((ObservedKind.NETWORK, 100, LINES[0]), begin=300 * MS)
    start = start_with(pieces, dispatch=300 * MS)
    stages = DispatchStage("offer", 0, 200 * MS), DispatchStage("process_start", 200 * MS, 300 * MS)
    spans = lay_out_observed(replace(start, dispatch_stages=stages), pieces)
    assert [span.name for span in spans if span.parent_key == "phase.dispatch"] == [
        "critical dispatch.offer",
        "critical dispatch.process_start",
    ]
    assert spans[0].attributes["startup.critical_task"] == "dispatch.offer"


def test_an_absent_caller_takes_the_place_of_what_was_waited_for() -> None:
    """From when only they were missing until they joined; the rest of that wait stays."""
    pieces = path((ObservedKind.COMPUTING, 50, LINES[0]), (ObservedKind.OUTSIDE, 900, LINES[1]))
    start = start_with(pieces, 50 * MS, 900 * MS)
    spans = lay_out_observed(start, pieces, absent=(50 * MS, 800 * MS))
    critical = [(span.name, round((span.end_us - span.start_us) / 1000)) for span in spans if span.key[:5] == "piece"]
    assert critical == [
        ("critical entrypoint", 50),
        ("critical absent caller", 750),
        ("critical entrypoint", 100),
        ("critical entrypoint", 50),
    ]


def test_a_start_that_was_not_recorded_has_its_phases() -> None:
    """Its path is guessed from them: no piece says that it is exact."""
    start = start_with(path((ObservedKind.COMPUTING, 50, None)), 20 * MS, dispatch=10 * MS)
    spans = lay_out_observed(start, ())
    assert [span.name for span in spans] == ["session.startup", "dispatch", "connect", "wait"]
    assert spans[0].attributes["startup.method"] == "guessed"
