"""Jaeger's files read for `blame` alone: the figures it adds up are taken from the JSON, and no span is made of it.

Beside the way over `firstword.tuning.sources` and `firstword.tuning.start`, with the same answer at five times its speed. It knows starts
as `telemetry` writes them, whole, in Jaeger's classic JSON. A trace that is otherwise in any way goes the long way; where
traces may lie in more than one document, or something can't be read, all of them do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from firstword.telemetry.foreign import NoRoot
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
    HELD_BY,
    LOOP_TIME,
    OUTCOME,
    ROOT,
    SAMPLING_PERCENT,
    SLOW,
    TASK,
    TTFW,
)
from firstword.tuning.costs import Among, Cause, Costs, Kind, TaskCost, Waited, costs_of
from firstword.tuning.jaeger_json import spans_of_trace
from firstword.tuning.sampling import sampling_of
from firstword.tuning.spans import Trace, trace_of

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

Json = dict[str, Any]


class Unfamiliar(Exception):
    """There is something that only the long way can read, or say what is wrong with; nothing that came before counts."""


def glance(path: Path) -> Iterator[Costs]:
    """The costs of all traces in a file, or in all files below a folder. Raises Unfamiliar, at any time."""
    seen: set[str] = set()
    causes: dict[tuple[str, str], Cause] = {}
    weights: dict[object, float] = {}
    for file in _files(path):
        for trace in _traces(file):
            try:
                costs = _costs(trace, causes, weights)
            except (KeyError, TypeError, IndexError, AttributeError):
                costs = None
            yield _the_long_way(trace) if costs is None else costs
            trace_id = str(trace["traceID"]).lower()
            if trace_id in seen:
                raise Unfamiliar
            seen.add(trace_id)


def _files(path: Path) -> Iterator[str]:
    if path.is_file():
        yield str(path)
        return
    found: list[str] = []
    for folder, _, names in os.walk(path):
        found += [os.path.join(folder, name) for name in names if name.endswith((".json", ".jsonl", ".ndjson"))]
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
    if not isinstance(traces, list) or not traces or "resourceSpans" in document or "result" in document:
        raise Unfamiliar
    return cast("list[Json]", traces)


def _the_long_way(trace: Json) -> Costs:
    try:
        whole = _whole(trace)
    except (NoRoot, AttributeError):
        raise Unfamiliar from None
    if any(span.trace_id != trace["traceID"] for span in whole.spans):
        raise Unfamiliar
    return costs_of(whole)


def _whole(trace: Json) -> Trace:
    def cannot_be_read(_: str) -> None:
        raise Unfamiliar

    return trace_of(spans_of_trace(trace, cannot_be_read))


def _costs(trace: Json, causes: dict[tuple[str, str], Cause], weights: dict[object, float]) -> Costs | None:
    """The costs of a start of ours that is whole; None of anything else. What is missing raises as Python has it."""
    trace_id, spans = trace["traceID"], trace["spans"]
    root: Json = {}
    ids: set[str] = set()
    pieces: list[tuple[int, int, str, Json]] = []
    others: list[tuple[str, Json]] = []
    for span in spans:
        begin, length, references = span["startTime"], span["duration"], span["references"]
        if span["traceID"] != trace_id or type(begin) is not int or type(length) is not int or begin <= 0 or length < 0:
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
    if len(ids) != len(spans) or told.get(OUTCOME) not in _AMONG:
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
    waited = told.get(TTFW)
    return Costs(
        among=_AMONG[told[OUTCOME]],
        waited=waited if type(waited) is float else root["duration"] / 1e6,
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
        known = causes[kind, name] = Cause(Kind(kind), name or ("" if kind == EVENT_LOOP else kind))
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
    if type(value) is float and isfinite(value):
        return value
    return float(value) if type(value) is int else 0.0
