"""firstword.command.tuner.evidence: a service reads little of a Jaeger at a look, and all before it moves a flag."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from firstword.command.source_options import Reading
from firstword.command.tuner.evidence import OVERLAP_S, WHOLE_EVERY_S, TracesEvidence
from firstword.command.tuner.flag_store import FileStore
from firstword.tuning.files import Files
from firstword.tuning.notes import Report
from firstword.tuning.observation import Observation
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from tests.agent.flag_files import shared, text
from tests.command.sessions_written import write
from tests.command.tuner_weeks import BEGIN, Days
from tests.tuning.sessions_drawn import World, experiment

GOOD = "parallel-init"
SESSIONS = [
    dataclasses.replace(each, time=BEGIN + 10.0 * number)
    for number, each in enumerate(experiment(1, 1000, World(0.6), World(), flag=GOOD))
]


class Asked:
    """A store of sessions that notes since when it is asked for some."""

    name = "a store"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.since: list[float] = []

    def has(self, sessions: list[Observation], *, but_for: int = 0) -> None:
        """From now on it has these, but for so many of the oldest."""
        lines = write(self.path, sessions).read_text().splitlines(keepends=True)
        self.path.write_text("".join(lines[but_for:]))

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        self.since.append((query.since_ns or 0) / 1e9)
        return Files(self.path).traces(query, report)

    def page(self, trace_id: str) -> str | None:
        return None

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        raise NotImplementedError

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        raise NotImplementedError


class Clock:
    now = BEGIN + 10_000.0

    def __call__(self) -> float:
        return self.now


def test_a_look_reads_the_last_minutes_and_knows_the_rest(tmp_path: Path) -> None:
    """What is read again replaces what was known; all is read where it is asked for, each half hour, and after a move."""
    source, clock = Asked(tmp_path / "t.jsonl"), Clock()
    source.has(SESSIONS)
    evidence = TracesEvidence(Reading(source, Query()), watching=True, clock=clock)
    assert len(evidence.starts(BEGIN, whole=False).starts) == 1000
    begin = clock.now
    clock.now += 60
    longer = [*SESSIONS[:-1], dataclasses.replace(SESSIONS[-1], init=9.0)]
    late = [dataclasses.replace(each, time=begin + 1 + number) for number, each in enumerate(SESSIONS[:5])]
    source.has([*longer, *late])
    found = evidence.starts(BEGIN, whole=False)
    assert len(found.starts) == len(set(found.ids)) == 1005
    assert [each.init for each in found.starts].count(9.0) == 1
    clock.now = begin + WHOLE_EVERY_S - 1
    evidence.starts(BEGIN, whole=False)
    clock.now = begin + WHOLE_EVERY_S
    evidence.starts(BEGIN, whole=False)
    evidence.starts(BEGIN, whole=True)
    evidence.starts(BEGIN + 5, whole=False)
    assert source.since == [BEGIN, begin - OVERLAP_S, begin + 60 - OVERLAP_S, BEGIN, BEGIN, BEGIN + 5]


def test_a_single_tune_reads_all_and_so_does_a_service_of_files(tmp_path: Path) -> None:
    """The first keeps nothing for another look; to the second files may come whose sessions are old."""
    source = Asked(tmp_path / "t.jsonl")
    source.has(SESSIONS)
    evidence = TracesEvidence(Reading(source, Query()))
    for _ in range(2):
        assert len(evidence.starts(BEGIN, whole=False).starts) == 1000
    assert source.since == [BEGIN, BEGIN]
    files = TracesEvidence(Reading(Files(source.path), Query()), watching=True, clock=Clock())
    assert len(files.starts(BEGIN, whole=False).starts) == 1000
    source.has([*SESSIONS, *SESSIONS[:5]])
    assert len(files.starts(BEGIN, whole=False).starts) == 1005


def test_no_flag_moves_on_sessions_that_the_source_has_no_more(tmp_path: Path) -> None:
    """A service knows enough to ramp; before it does it reads all, and finds that part of it has gone."""
    path = tmp_path / "flags.json"
    path.write_text(text(parallel_init=shared(0)))
    days = Days(FileStore(path), lambda on: World(0.6 if on.get(GOOD) else 1.0))
    days.prove()
    while days.shares()[GOOD] < 50:
        days.week(1)
    days.sessions(300)
    before = len(days.seen)
    source, now = Asked(tmp_path / "t.jsonl"), days.now
    source.has(days.seen)
    days.service.evidence = TracesEvidence(Reading(source, Query()), watching=True, clock=lambda: now)
    days.look()
    assert days.held() is None
    days.sessions(1500)
    source.has(days.seen, but_for=before)
    days.look()
    assert (days.held(), days.shares()[GOOD]) == ("shrunk", 50)
