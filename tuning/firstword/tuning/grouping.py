"""Groups spans in any order into traces, however many there are: past a limit they are sorted through files, not
memory.

Between the readers of spans and `firstword.tuning.sources`.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import IO
from zlib import crc32

from firstword.telemetry.inferred_path import NoRoot
from firstword.tuning.notes import Problem, Report
from firstword.tuning.spans import Span, Trace, trace_of

MOST_HELD = 100_000
"""Number of spans in memory at once, about 200 MB. More than that go through files, each split again until it is no larger."""
MOST_IN_A_TRACE = 500_000
"""Number of spans of one trace that are used; others are left out and reported."""
_FILES_BITS = 6
"""Of a hash, by which spans are split into 64 files."""
_HASH_BITS = 32
_LOW_DIGITS = 16


def traces_of(spans: Iterable[Span], report: Report, *, most_held: int = MOST_HELD) -> Iterator[Trace]:
    """Groups spans by their trace and yields the traces; a trace's spans may lie anywhere among them. Reports a trace
    without a root.

    Raises OSError where more than `most_held` spans come and no temporary file can be written.
    """
    yield from _split(iter(spans), report, most_held, 0)


def _split(spans: Iterator[Span], report: Report, most_held: int, bits: int) -> Iterator[Trace]:
    """bits: of the hashes of the trace ids, how many these spans have in common."""
    held = list(islice(spans, most_held))
    # past all bits there is nothing left to split by
    if len(held) < most_held or bits + _FILES_BITS > _HASH_BITS:
        yield from _grouped(chain(held, spans), report)
        return
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile()) for _ in range(1 << _FILES_BITS)]
        alone: dict[int, str | None] = {}
        for span in chain(held, spans):
            number = crc32(_low(span).encode()) >> bits & len(files) - 1
            pickle.dump(span, files[number])
            if alone.setdefault(number, _low(span)) != _low(span):
                alone[number] = None
        held.clear()
        for number, trace_id in alone.items():
            files[number].seek(0)
            again = _unpickled(files[number])
            # one trace by itself can't be split, however large
            yield from (_grouped(again, report) if trace_id else _split(again, report, most_held, bits + _FILES_BITS))


def _unpickled(file: IO[bytes]) -> Iterator[Span]:
    while True:
        try:
            yield pickle.load(file)  # noqa: S301 # our own, just written, in a file without a name
        except EOFError:
            return


def _low(span: Span) -> str:
    """The half of its trace's id that all who write one keep."""
    return span.trace_id[-_LOW_DIGITS:]


def _grouped(spans: Iterable[Span], report: Report) -> Iterator[Trace]:
    by_low: dict[str, list[Span]] = {}
    for span in spans:
        known = by_low.setdefault(_low(span), [])
        if len(known) < MOST_IN_A_TRACE:
            known.append(span)
        elif len(known) == MOST_IN_A_TRACE:
            known.append(span)
            report(Problem(f"trace {span.trace_id}", "more spans, left out", f"at most {MOST_IN_A_TRACE}"))
    for low in list(by_low):
        for trace_id, found in _by_whole_id(by_low.pop(low)).items():
            try:
                yield trace_of(found)
            except NoRoot as error:
                report(Problem(f"trace {trace_id}", str(error), "a span without a parent"))


def _by_whole_id(spans: list[Span]) -> dict[str, list[Span]]:
    """By trace id; what has only the low half of one is of the only trace that has it too."""
    by_id: dict[str, list[Span]] = {}
    for span in spans:
        by_id.setdefault(span.trace_id, []).append(span)
    half = _low(spans[0]).zfill(len(spans[0].trace_id))
    if half in by_id and len(by_id) == 2:
        (whole,) = by_id.keys() - {half}
        by_id[whole] += [replace(span, trace_id=whole) for span in by_id.pop(half)]
    return by_id
