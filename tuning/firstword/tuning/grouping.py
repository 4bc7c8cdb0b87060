"""Spans in any order become traces, however many there are: past a limit they are sorted through files, not memory.

Between the readers of spans and `firstword.tuning.sources`.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import IO
from zlib import crc32

from firstword.telemetry.foreign import NoRoot
from firstword.tuning.spans import Problem, Report, Span, Trace, trace_of

MOST_HELD = 100_000
"""Spans in memory at once, about 200 MB; what is more goes through files, each split again until it is no larger."""
MOST_IN_A_TRACE = 500_000
"""Spans of one trace that are used."""
_FILES_BITS = 6
"""Of a hash, by which spans are split into 64 files."""
_HASH_BITS = 32


def traces_of(spans: Iterable[Span], report: Report, *, most_held: int = MOST_HELD) -> Iterator[Trace]:
    """The traces of these spans; a trace's spans may lie anywhere among them. One without a root is reported.

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
            number = crc32(span.trace_id.encode()) >> bits & len(files) - 1
            pickle.dump(span, files[number])
            if alone.setdefault(number, span.trace_id) != span.trace_id:
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


def _grouped(spans: Iterable[Span], report: Report) -> Iterator[Trace]:
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        known = by_trace.setdefault(span.trace_id, [])
        if len(known) < MOST_IN_A_TRACE:
            known.append(span)
        elif len(known) == MOST_IN_A_TRACE:
            known.append(span)
            report(Problem(f"trace {span.trace_id}", "more spans, left out", f"at most {MOST_IN_A_TRACE}"))
    for trace_id in list(by_trace):
        try:
            yield trace_of(by_trace.pop(trace_id))
        except NoRoot as error:
            report(Problem(f"trace {trace_id}", str(error), "a span without a parent"))
