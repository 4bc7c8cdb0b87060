"""The same spans give the same answers, whoever wrote them, in whatever order, however many files and packed in whatever."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstword.command.blame import as_json_object
from firstword.telemetry.critical_path import analyse
from firstword.telemetry.layout import lay_out as laid_out
from firstword.tuning.blame import NothingToBlame, blame
from firstword.tuning.costs import costs_of
from firstword.tuning.files import Files
from firstword.tuning.notes import Given, Note, Used
from firstword.tuning.sources import Query
from firstword.tuning.start import start_of
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.census import KINDS, PACKERS, WRITERS, Drawn, lay_out, traces

LIKE_OTHERS = settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])


def answers(folder: Path) -> tuple[list[dict[str, Any]], Any, dict[str, int]]:
    """What `critical-chain --json` says of each trace, what `blame --json` says of all, and the account."""
    notes: list[Note] = []
    read = list(Files(folder).traces(Query(), notes.append))
    found = sorted(read, key=lambda trace: trace.trace_id)
    assert all(isinstance(note, Used | Given) for note in notes), notes
    used = [note for note in notes if isinstance(note, Used)]
    account = {"spans": sum(note.spans for note in used), "left out": sum(note.values_left_out for note in used)}
    try:
        blamed = as_json_object(blame(map(costs_of, read)))
    except NothingToBlame as error:
        blamed = str(error)
    return [start_of(trace).as_json() for trace in found], blamed, account


@LIKE_OTHERS
@given(
    spans=traces(),
    writer=st.sampled_from(sorted(WRITERS)),
    packer=st.sampled_from(sorted(PACKERS)),
    files=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_every_form_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, spans: list[Drawn], writer: str, packer: str, files: int, seed: int
) -> None:
    """And each span is read once."""
    folder, other = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("other")
    lay_out(folder, spans, "OTLP", "", 1, random.Random(0))
    lay_out(other, spans, writer, packer, files, random.Random(seed))
    plain = answers(folder)
    assert answers(other) == plain
    assert plain[2] == {"spans": len(spans), "left out": 0}
    assert len(plain[0]) == len({span.trace for span in spans})


def drawn(play: Play, trace: int) -> list[Drawn]:
    """A start of ours as spans of a trace."""
    start = play.record()
    found = laid_out(start, analyse(start))
    numbers = {span.key: number for number, span in enumerate(found, 1)}
    return [
        Drawn(
            trace=trace,
            span=numbers[span.key],
            parent=0 if span.parent_key is None else numbers[span.parent_key],
            name=span.name,
            kind=KINDS.index(span.kind),
            start=span.start_us * 1000,
            end=span.end_us * 1000,
            attributes={key: list(of) if isinstance(of, tuple) else of for key, of in span.attributes.items()},
            service="firstword",
        )
        for span in found
    ]


@LIKE_OTHERS
@given(
    several=st.lists(plays(), min_size=1, max_size=4),
    writer=st.sampled_from(sorted(WRITERS)),
    files=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_every_form_of_our_own_starts_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, several: list[Play], writer: str, files: int, seed: int
) -> None:
    """Figures too, to the last digit, in whatever order they are added."""
    spans = [span for number, play in enumerate(several, 1) for span in drawn(play, 2**64 + number)]
    folder, other = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("other")
    lay_out(folder, spans, "OTLP", "", 1, random.Random(0))
    lay_out(other, spans, writer, "", files, random.Random(seed))
    assert answers(other) == answers(folder)


@LIKE_OTHERS
@given(spans=traces(), seed=st.integers(0, 10_000), cuts=st.integers(1, 6))
def test_whatever_happens_to_a_file_there_is_an_answer(
    tmp_path: Path, spans: list[Drawn], seed: int, cuts: int
) -> None:
    """Bytes are lost, doubled and changed: no error is raised, and what is read adds up."""
    order = random.Random(seed)
    content = bytearray(PACKERS[order.choice(sorted(PACKERS))](WRITERS[order.choice(sorted(WRITERS))](spans)))
    for _ in range(cuts):
        at = order.randrange(len(content) or 1)
        match order.randrange(3):
            case 0:
                del content[at : at + order.randrange(1, 40)]
            case 1:
                content[at:at] = content[at : at + order.randrange(1, 40)]
            case _:
                content[at : at + 1] = bytes([order.randrange(256)])
    (tmp_path / "t.json").write_bytes(content)
    notes: list[Note] = []
    found = list(Files(tmp_path).traces(Query(), notes.append))
    for trace in found:
        start_of(trace).as_json()
    read = sum(note.spans for note in notes if isinstance(note, Used))
    assert sum(len(trace.spans) for trace in found) <= read
    assert notes
