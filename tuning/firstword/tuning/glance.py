"""Reads Jaeger's files for `blame` alone: it takes the figures straight from the JSON and makes no spans.

Beside the way over `firstword.tuning.sources` and `firstword.tuning.start`, with the same answer at five times its
speed. It knows starts as `telemetry` writes them, whole, in Jaeger's classic JSON. A trace that is otherwise in any way
goes the long way. Where traces may lie in more than one document, or something cannot be read, all of them do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from firstword.telemetry.record import Outcome
from firstword.telemetry.vocabulary import (
    ABSENT_CALLER,
    CACHE,
    CONTENTION,
    CRITICAL,
    CRITICAL_PREFIX,
    DEFERRED,
    DEFERRED_PREFIX,
    DETACHED,
    DRAG,
    EVENT_LOOP,
    EXACT,
    HELD_BY,
    LOOP_TIME,
    METHOD,
    OUTCOME,
    ROOT,
    SAMPLING_PERCENT,
    SLOW,
    STAGE_PREFIX,
    TASK,
    TTFW,
)
from firstword.tuning.costs import Among, Cause, Costs, Kind, TaskCost, Waited, costs_of
from firstword.tuning.jaeger_json import spans_of_trace
from firstword.tuning.json_shape import SPAN_ID_DIGITS, TRACE_ID_DIGITS, identifier
from firstword.tuning.notes import Given, Note, Report, Used
from firstword.tuning.sampling import is_countable, sampling_of
from firstword.tuning.spans import Trace, plausible, trace_of
from firstword.tuning.tally import Tally

_MOST_BYTES = 64 * 2**20
"""Of a file: it is in memory whole."""
_GAP_US = 3
"""Between pieces of the path; the writer leaves 1."""

_AMONG = {
    outcome.value: None
    if outcome is Outcome.NO_CALLER
    else Among.HEARD
    if outcome is Outcome.FIRST_WORD
    else Among.UNHEARD
    for outcome in Outcome
}

_LATEST_US = 2**63 // 1000
_MORE_THAN_TRACES = {"resourceSpans", "batches", "result", "trace", "errors", "error"}
_OTHERWISE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a trace raises that is not as `telemetry` writes it."""

Json = dict[str, Any]


class Unfamiliar(Exception):
    """Raised where only the long way can read something, or say what is wrong with it. What `glance` gave before does not count then."""


def glance(path: Path, report: Report) -> Iterator[Costs]:
    """Yields the costs of all traces in a file of Jaeger's, or in all files below a folder. Raises Unfamiliar, at any
    time.

    `report` hears of each file, at the end: nothing else can be there that is worth a note.
    """
    seen: set[str] = set()
    causes: dict[tuple[str, str], Cause] = {}
    weights: dict[object, float] = {}
    spans: list[Used] = []
    for file in _files(path):
        before, count = len(seen), 0
        traces = _traces(file)
        for trace in traces:
            try:
                costs = _costs(trace, causes, weights)
            except _OTHERWISE:
                costs = None
            yield _the_long_way(trace) if costs is None else costs
            seen.add(str(trace["traceID"]).lower().zfill(SPAN_ID_DIGITS)[-SPAN_ID_DIGITS:])
            count += len(trace["spans"])
        if len(seen) != before + len(traces):
            raise Unfamiliar
        spans.append(Used(file, count))
    for used in spans:
        report(used)
    report(Given(len(seen)))


def _files(path: Path) -> Iterator[str]:
    if path.is_file():
        yield str(path)
        return
    found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    if not found or not all(name.endswith(".json") for name in found):
        raise Unfamiliar
    yield from sorted(found)


def _traces(file: str) -> list[Json]:
    try:
        with open(file, "rb", buffering=0) as opened:
            if os.fstat(opened.fileno()).st_size > _MOST_BYTES:
                raise Unfamiliar
            document = from_json(opened.read(), cache_strings="keys")
        traces = document["data"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise Unfamiliar from None
    if not isinstance(traces, list) or not traces or document.keys() & _MORE_THAN_TRACES:
        raise Unfamiliar
    return cast("list[Json]", traces)


def _the_long_way(trace: Json) -> Costs:
    try:
        whole = _whole(trace)
        if any(span.trace_id != identifier(trace, "traceID", TRACE_ID_DIGITS) for span in whole.spans):
            raise Unfamiliar
        return costs_of(whole)
    except _OTHERWISE:
        raise Unfamiliar from None


def _whole(trace: Json) -> Trace:
    notes: list[Note] = []
    tally = Tally("", notes.append)
    spans = list(spans_of_trace(trace, tally))
    tally.finish()
    whole = trace_of(spans)
    if notes != [Used("", len(spans))] or whole.is_second or not is_countable(whole):
        raise Unfamiliar
    return whole


def _costs(trace: Json, causes: dict[tuple[str, str], Cause], weights: dict[object, float]) -> Costs | None:
    """The costs of a start of ours that is whole; None of anything else. What is missing raises as Python has it."""
    trace_id, spans = trace["traceID"], trace["spans"]
    root: Json = {}
    ids: set[str] = set()
    pieces: list[tuple[int, int, str, Json]] = []
    others: list[tuple[str, Json]] = []
    for span in spans:
        begin, length, references = span["startTime"], span["duration"], span["references"]
        if span["traceID"] != trace_id or type(begin) is not int or type(length) is not int or span.get("warnings"):
            return None
        if not 0 <= begin < _LATEST_US or not 0 <= length < _LATEST_US:
            return None
        ids.add(span["spanID"])
        if not references:
            if root or span["operationName"] != ROOT or "parentSpanID" in span:
                return None
            root = span
            continue
        parent = references[0]
        if parent["refType"] != "CHILD_OF" or parent["traceID"] != trace_id:
            return None
        if span["operationName"].startswith(CRITICAL_PREFIX):
            pieces.append((begin, length, parent["spanID"], span))
        else:
            others.append((parent["spanID"], span))
    told = _tags(root)
    if len(ids) != len(spans) or told.get(OUTCOME) not in _AMONG or trace.get("warnings") or told.get(METHOD) != EXACT:
        return None
    with_pieces = {parent for _, _, parent, _ in pieces}
    parents = {root["spanID"]}
    parents.update(s["spanID"] for parent, s in others if s["operationName"] == DETACHED and parent in parents)
    phases: dict[str, str] = {}
    tasks: list[TaskCost] = []
    for parent, span in others:
        if parent not in parents:
            continue
        tags = _tags(span)
        if CRITICAL in tags:
            tasks.append(_task(span, tags))
        elif span["spanID"] in with_pieces and parent == root["spanID"]:
            phases[span["spanID"]] = span["operationName"]
    path = _path(root, pieces, phases, causes)
    if path is None:
        return None
    waited = plausible(told.get(TTFW))
    return Costs(
        among=_AMONG[told[OUTCOME]],
        waited=root["duration"] / 1e6 if waited is None else waited,
        weight=_weight(root, told, weights),
        tasks=tasks,
        path=path,
    )


def _weight(root: Json, told: Json, weights: dict[object, float]) -> float:
    """As the long way weighs it, once for all starts whose roots say the same."""
    if SAMPLING_PERCENT not in told:
        return 1.0
    said = told[OUTCOME], told[SAMPLING_PERCENT], told.get(SLOW) is True
    known = weights.get(said)
    if known is None:
        known = weights[said] = sampling_of(_whole({"traceID": root["traceID"], "spans": [root]})).weight
    return known


def _path(
    root: Json,
    pieces: list[tuple[int, int, str, Json]],
    phases: dict[str, str],
    causes: dict[tuple[str, str], Cause],
) -> list[Waited] | None:
    """None where the pieces don't cover the root."""
    reached = root["startTime"]
    end = reached + root["duration"]
    pieces.sort(key=itemgetter(0))
    path: list[Waited] = []
    for begin, length, parent, span in pieces:
        if parent not in phases or not 0 <= begin - reached <= _GAP_US:
            return None
        reached = begin + length
        cause = _cause(span, causes)
        if cause is not None:
            path.append(Waited(cause, phases[parent], length))
    return path if 0 <= end - reached <= _GAP_US else None


def _cause(span: Json, causes: dict[tuple[str, str], Cause]) -> Cause | None:
    """None of an absent caller."""
    kind, name = span["operationName"].removeprefix(CRITICAL_PREFIX), ""
    for tag in span["tags"]:
        if tag["key"] == TASK:
            kind, name = Kind.TASK.value, tag["value"]
        elif tag["key"] == HELD_BY and kind == EVENT_LOOP:
            name = tag["value"]
    if kind == ABSENT_CALLER:
        return None
    known = causes.get((kind, name))
    if known is None:
        if type(name) is not str:
            raise TypeError
        stage = kind.startswith(STAGE_PREFIX)
        known = causes[kind, name] = Cause(
            Kind.DISPATCH if stage else Kind(kind), name or ("" if kind == EVENT_LOOP else kind)
        )
    return known


def _task(span: Json, tags: Json) -> TaskCost:
    name = span["operationName"]
    cache = tags.get(CACHE)
    return TaskCost(
        name.removeprefix(DEFERRED_PREFIX) if tags.get(DEFERRED) is True else name,
        span["duration"] / 1e6,
        _number(tags.get(DRAG)),
        _number(tags.get(CONTENTION)),
        _number(tags.get(LOOP_TIME)),
        cache if type(cache) is str else None,
    )


def _tags(span: Json) -> Json:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def _number(value: object) -> float:
    return plausible(value) or 0.0
