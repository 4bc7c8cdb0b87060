"""Bytes become spans, streamed: JSON lines or one JSON document, OTLP's or Jaeger's, told apart by what is in them.

Between files and answers (`tuning.files`, `firstword.tuning.jaeger`) and the two formats. What can't be read is reported with
its line, and the rest is still used.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from firstword.tuning.jaeger_json import spans_of_trace
from firstword.tuning.json_shape import Malformed, as_object, objects
from firstword.tuning.otlp import spans_of_request
from firstword.tuning.spans import Problem, Report, Span

MOST_BYTES = 256 * 2**20
"""The largest document that is read at once: a line, or a file that isn't JSON lines."""
EXPECTED = "OTLP JSON lines (`resourceSpans`) or Jaeger JSON (`data`)"
_MOST_HELD_BACK = 100
_TOO_LONG = f"a document of more than {MOST_BYTES // 2**20} MB"


def spans_in(file: BinaryIO, where: str, report: Report, *, trace_id: str | None = None) -> Iterator[Span]:
    """The spans in an open, seekable file. Where none of it can be used, one problem is reported for all of it.

    where: what problems call the file. trace_id: only this trace is wanted, and lines without it are passed over.
    """
    problems = _Problems(where, report)
    for line, document in _documents(file, problems, trace_id):
        for span in _spans(document, lambda found, line=line: problems.add(line, found)):
            problems.end_holding_back()
            if trace_id is None or span.trace_id == trace_id:
                yield span
    if trace_id is None:
        problems.finish()


class _Problems:
    """What is wrong with a file; held back until something in it is right: a picture has a thousand bad lines."""

    def __init__(self, where: str, report: Report) -> None:
        self._where, self._report = where, report
        self._held: list[Problem] = []
        self._count = 0
        self._good = False
        self._whole: Problem | None = None

    def add_of_whole(self, line: int, found: str) -> None:
        """What is wrong with the file as one document; it counts where the lines by themselves are none."""
        self._whole = Problem(f"{self._where} line {line}", found, EXPECTED, whole_file=True)

    def add(self, line: int, found: str) -> None:
        """Line 0: the whole file."""
        problem = Problem(f"{self._where} line {line}" if line else self._where, found, EXPECTED)
        self._count += 1
        if self._good:
            self._report(problem)
        elif len(self._held) < _MOST_HELD_BACK:
            self._held.append(problem)

    def end_holding_back(self) -> None:
        if not self._good:
            self._good = True
            for problem in self._held:
                self._report(problem)
            self._held.clear()

    def finish(self) -> None:
        """At the file's end: where nothing was good, one problem stands for all."""
        if self._good:
            return
        if self._whole is not None:
            self._report(self._whole)
            return
        if not self._held:
            self.add(0, "it has no span")
        first = self._held[0]
        more = f" (and {self._count - 1} more)" if self._count > 1 else ""
        self._report(Problem(first.where, first.found + more, first.expected, whole_file=True))


def _documents(file: BinaryIO, problems: _Problems, trace_id: str | None) -> Iterator[tuple[int, Any]]:
    """The JSON documents in a file, each with its line; line 0 is the whole file."""
    lines = _lines(file)
    number, line = next(lines, (0, b""))
    if not number:
        problems.add(0, "it is empty")
        return
    try:
        first = _parsed(line)
    except (ValueError, RecursionError):
        file.seek(0)
        whole = _as_one(file.read(MOST_BYTES + 1), problems)
        if whole is not None:
            yield 0, whole
            return
        file.seek(0)
        lines = _lines(file)
    else:
        yield number, first
        del first
    needles = None if trace_id is None else _needles(trace_id)
    for number, line in lines:
        if needles is None or needles[0] in line.lower() or needles[1] in line:
            try:
                yield number, _parsed(line)
            except (ValueError, RecursionError) as error:
                problems.add(number, _not_json(error))


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that aren't blank, from 1; of one longer than MOST_BYTES the beginning."""
    number = 0
    while line := file.readline(MOST_BYTES + 1):
        number += 1
        if line.strip() or len(line) > MOST_BYTES:
            yield number, line
        part = line
        while len(line) > MOST_BYTES and not part.endswith(b"\n") and part:
            part = file.readline(MOST_BYTES)


def _as_one(content: bytes, problems: _Problems) -> Any | None:
    """A whole file as one document; None where it isn't one."""
    try:
        return _parsed(content)
    except json.JSONDecodeError as error:
        # a document over several lines, cut: its lines one by one would say nothing
        if content.lstrip()[:1] in (b"[", b"{") and error.lineno > 1:
            problems.add_of_whole(error.lineno, _not_json(error))
    except (ValueError, RecursionError):
        pass  # said of its lines
    return None


def _parsed(content: bytes) -> Any:
    if len(content) > MOST_BYTES:
        raise ValueError(_TOO_LONG)
    # a newline inside a string that is cut would be said to be the mistake
    return json.loads(content.rstrip())


def _not_json(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON, {error.msg.lower().removesuffix(' at')} at column {error.colno}"
    return "not JSON, nested too deeply" if isinstance(error, RecursionError) else f"not JSON, {error}"


def _needles(trace_id: str) -> tuple[bytes, bytes]:
    """What a line with the trace has in it: the id in hex, or in base64."""
    try:
        return trace_id.encode(), b64encode(bytes.fromhex(trace_id)).rstrip(b"=")
    except ValueError:
        return trace_id.encode(), trace_id.encode()


def _spans(document: object, report: Callable[[str], None]) -> Iterator[Span]:
    """The spans in a document of either format, or in a list of such documents."""
    if isinstance(document, list):
        for item in cast("list[object]", document):
            yield from _spans_of_object(item, report)
    else:
        yield from _spans_of_object(document, report)


def _spans_of_object(document: object, report: Callable[[str], None]) -> Iterator[Span]:
    try:
        content = as_object(document)
        # Jaeger's API v3 wraps the request in a result
        request = content if "resourceSpans" in content else as_object(content.get("result"))
    except Malformed as error:
        report(str(error))
        return
    if "resourceSpans" in request:
        yield from spans_of_request(request, report)
    elif "data" in content:
        for trace in objects(content, "data", report):
            yield from spans_of_trace(trace, report)
    elif "spans" in content:
        yield from spans_of_trace(content, report)
    else:
        report(f"an object with {', '.join(f'`{key}`' for key in list(content)[:3])}" if content else "an empty object")
