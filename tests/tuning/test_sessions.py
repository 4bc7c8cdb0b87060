"""Which session is meant: by its ids, the median, the slowest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firstword.telemetry.record import Outcome, Phase, Start, Task
from firstword.telemetry.vocabulary import JOB_ID, ROOM_SID, SAMPLING_PERCENT
from firstword.tuning.files import Files
from firstword.tuning.sessions import NoSession, median, named, slowest
from firstword.tuning.sources import Query
from tests.tuning.written import T0, no_problem, otlp_span, request, write

EVERYTHING = Query()


def a_start(ms: int, number: int, outcome: Outcome = Outcome.FIRST_WORD, begin: int = T0) -> Start:
    """A start of one task that took so long, in room RM_number, of job AJ_number."""
    end = begin + ms * 1_000_000
    return Start(
        start=begin,
        end=end,
        first_step=begin,
        outcome=outcome,
        tasks=(Task("playout", ready=begin, begin=begin, end=end),),
        phases=(Phase("connect", begin, end),),
        last="playout",
        first_word_needs=("playout",),
        joined=begin,
        attributes={ROOM_SID: f"RM_{number}", JOB_ID: f"AJ_{number}"},
    )


def test_the_median_is_of_those_with_a_first_word(tmp_path: Path) -> None:
    """The faster of two in the middle; failed ones are counted beside; other traces don't count."""
    ids = write(
        tmp_path,
        a_start(400, 1),
        a_start(100, 2),
        a_start(300, 3),
        a_start(200, 4),
        a_start(9_000, 5, Outcome.FAILED),
    )
    (tmp_path / "others.jsonl").write_text(request([otlp_span("job_entrypoint", 1, None, 0, 5)]))
    source = Files(tmp_path)
    chosen = median(source, EVERYTHING, no_problem)
    assert (chosen.trace.trace_id, chosen.why) == (
        ids[3],
        "the median of 4 sessions with a first word; 1 more had none",
    )
    assert slowest(source, EVERYTHING, no_problem).trace.trace_id == ids[0]


def test_the_median_of_a_sampled_store_is_weighted(tmp_path: Path) -> None:
    """One in ten of the ordinary starts was kept, three slow ones are there whole: the median is the first one's."""
    starts = [a_start(100, 1), *(a_start(ms, ms) for ms in (2000, 3000, 4000))]
    ids = write(tmp_path, *(replace(s, attributes={**s.attributes, SAMPLING_PERCENT: 10.0}) for s in starts))
    chosen = median(Files(tmp_path), EVERYTHING, no_problem)
    assert (chosen.trace.trace_id, chosen.weighted) == (ids[0], True)
    assert slowest(Files(tmp_path), EVERYTHING, no_problem).trace.trace_id == ids[3]


def test_without_a_first_word_the_longest_waits_are_ranked(tmp_path: Path) -> None:
    """Where no start had one, and where no trace is a start."""
    ids = write(tmp_path, a_start(100, 1, Outcome.FAILED), a_start(300, 2, Outcome.TIMED_OUT))
    chosen = slowest(Files(tmp_path), EVERYTHING, no_problem)
    assert (chosen.trace.trace_id, chosen.why) == (ids[1], "the slowest of 2 sessions, none with a first word")
    (tmp_path / "others.json").write_text(request([otlp_span("order", 1, None, 0, 5)]))
    chosen = median(Files(tmp_path / "others.json"), EVERYTHING, no_problem)
    assert (chosen.trace.root.name, chosen.why) == ("order", "the median of 1 trace; none is a start of ours")


def test_a_session_is_found_by_each_of_its_ids(tmp_path: Path) -> None:
    """Trace id in any case, its beginning, room, job; a start goes before LiveKit's own trace of the room."""
    ids = write(tmp_path, a_start(100, 1), a_start(200, 2))
    room = {"key": ROOM_SID, "value": {"stringValue": "RM_2"}}
    (tmp_path / "livekit.jsonl").write_text(request([otlp_span("job_entrypoint", 1, None, 0, 5, attributes=[room])]))
    source = Files(tmp_path)
    for session in (ids[1], ids[1].upper(), ids[1][:9], " RM_2 ", "AJ_2"):
        assert named(source, session, EVERYTHING, no_problem).trace.trace_id == ids[1]
    assert named(source, f"{1:032x}", EVERYTHING, no_problem).trace.root.name == "job_entrypoint"


def test_a_session_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    """The nearest, else the first few; LiveKit's other traces only where there is nothing else."""
    ids = write(tmp_path, a_start(100, 10))
    with pytest.raises(NoSession, match=r"no session RM_1 in .*; nearest: RM_10$"):
        named(Files(tmp_path), "RM_1", EVERYTHING, no_problem)
    with pytest.raises(NoSession, match=rf"no session zzz in .*; there is: {ids[0]}, AJ_10, RM_10$"):
        named(Files(tmp_path), "zzz", EVERYTHING, no_problem)


def test_an_id_of_several_sessions_names_them(tmp_path: Path) -> None:
    """A room to which two jobs were sent."""
    ids = write(tmp_path, a_start(100, 1), replace(a_start(200, 1)))
    with pytest.raises(NoSession, match=f"2 sessions are RM_1: {', '.join(sorted(ids))}; give one trace id"):
        named(Files(tmp_path), "RM_1", EVERYTHING, no_problem)


def test_nothing_is_said_honestly(tmp_path: Path) -> None:
    """Also that the query is what leaves nothing."""
    write(tmp_path, a_start(100, 1))
    with pytest.raises(NoSession, match=r"no trace in .* with this --since and --service$"):
        median(Files(tmp_path), Query(since_ns=2 * T0, service="shop"), no_problem)
