"""The short way through Jaeger's files: the same answer as the long way, or none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, sampled_from

from benchmarks.blame import a_start, jaeger
from firstword.telemetry.critical_path import analyse
from firstword.telemetry.layout import lay_out
from firstword.telemetry.record import Start
from firstword.telemetry.vocabulary import FILE, KIND, LINE, METHOD, OBSERVED, SAMPLING_PERCENT, SLOW
from firstword.tuning.costs import Costs, costs_of
from firstword.tuning.files import Files
from firstword.tuning.glance import Unfamiliar, glance
from firstword.tuning.notes import ignore
from firstword.tuning.sources import Query
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.written import jaeger_span, no_problem, otlp_span, request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def document(start: Start, trace_id: str = TRACE) -> dict[str, Any]:
    """The start as Jaeger answers it."""
    return json.loads(jaeger(lay_out(start, analyse(start)), trace_id))


def written(folder: Path, *documents: object) -> Path:
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(documents):
        (folder / f"{number}.json").write_text(json.dumps(content))
    return folder


def the_long_way(folder: Path) -> list[Costs]:
    return [costs_of(trace) for trace in Files(folder).traces(Query(), no_problem)]


def sorted_costs(costs: list[Costs]) -> list[Costs]:
    """Neither way promises an order, of starts or of a start's tasks."""
    return sorted((each._replace(tasks=sorted(each.tasks, key=str)) for each in costs), key=str)


@settings(max_examples=examples(60))
@given(play=plays())
def test_both_ways_give_the_same(tmp_path_factory: pytest.TempPathFactory, play: Play) -> None:
    """Any start that `telemetry` writes, whatever its outcome."""
    folder = written(tmp_path_factory.mktemp("traces"), document(play.record()))
    assert sorted_costs(list(glance(folder, ignore))) == sorted_costs(the_long_way(folder))


def test_a_file_and_a_folder_of_folders_are_read(tmp_path: Path) -> None:
    """As the long way does; several traces may lie in one document."""
    first, second, third = (document(a_start(random.Random(n)), f"{n + 1:032x}") for n in range(3))
    first["data"] += second["data"]
    written(tmp_path, first)
    written(tmp_path / "more", third)
    assert sorted_costs(list(glance(tmp_path, ignore))) == sorted_costs(the_long_way(tmp_path))
    assert len(list(glance(tmp_path / "0.json", ignore))) == 2


def _without_a_piece(found: dict[str, Any]) -> None:
    spans = found["data"][0]["spans"]
    spans.remove(next(span for span in spans if span["operationName"] == "critical account"))


def _another_root(found: dict[str, Any]) -> None:
    found["data"][0]["spans"].append({**jaeger_span("else", "f1", None, 0, 5), "traceID": TRACE})


def _twice(found: dict[str, Any]) -> None:
    found["data"][0]["spans"].append(found["data"][0]["spans"][-1])


def _observed(found: dict[str, Any]) -> None:
    """A line of the user's, in a function that is called as a piece of ours is."""
    root, *others = found["data"][0]["spans"]
    (method,) = (tag for tag in root["tags"] if tag["key"] == METHOD)
    method["value"] = OBSERVED
    piece = next(span for span in others if span["operationName"] == "critical account")
    piece["operationName"] = "critical dispatch"
    piece["tags"] = [
        {"key": KIND, "type": "string", "value": "timer"},
        {"key": FILE, "type": "string", "value": "agent.py"},
        {"key": LINE, "type": "int64", "value": 7},
    ]


def _odd_values(found: dict[str, Any]) -> None:
    for span in found["data"][0]["spans"]:
        for tag in span["tags"]:
            if tag["key"].startswith("startup.") and isinstance(tag["value"], float):
                tag["value"] = "many"


def _of_others(found: dict[str, Any]) -> None:
    found["data"] = [{"traceID": "abc1", "spans": [jaeger_span("order", "1", None, 0, 9)], "processes": {}}]


@pytest.mark.parametrize("spoil", [_without_a_piece, _another_root, _twice, _observed, _odd_values, _of_others])
def test_a_trace_that_is_otherwise_goes_the_long_way(tmp_path: Path, spoil: Callable[[dict[str, Any]], None]) -> None:
    """It alone, beside one that does not."""
    odd = document(a_start(random.Random(1)))
    spoil(odd)
    folder = written(tmp_path, document(a_start(random.Random(2)), "1" * 32), odd)
    assert sorted_costs(list(glance(folder, ignore))) == sorted_costs(the_long_way(folder))


@settings(max_examples=examples(60))
@given(play=plays(), percent=sampled_from([100.0, 25.0, 25, 0.5, "many", True]), slow=booleans())
def test_a_sampled_store_is_weighed_as_the_long_way_weighs_it(
    tmp_path_factory: pytest.TempPathFactory, play: Play, percent: object, slow: bool
) -> None:
    """Whatever the collector stamped, and whichever starts it always keeps."""
    found = document(play.record())
    for span in found["data"][0]["spans"]:
        told = {tag["key"]: tag for tag in span["tags"]}
        told[SAMPLING_PERCENT] = {"key": SAMPLING_PERCENT, "type": "float64", "value": percent}
        if SLOW in told:
            told[SLOW]["value"] = slow
        span["tags"] = list(told.values())
    folder = written(tmp_path_factory.mktemp("traces"), found)
    assert sorted_costs(list(glance(folder, ignore))) == sorted_costs(the_long_way(folder))


def test_what_our_collector_stamps_does_not_cost_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share is on every span of our stack, also where all is kept."""
    monkeypatch.setattr("firstword.tuning.glance.costs_of", None)
    folder = written(tmp_path, document(a_start(random.Random(1))))
    assert SAMPLING_PERCENT in (folder / "0.json").read_text()
    assert [costs.weight for costs in glance(folder, ignore)] == [1.0]


GOOD = document(a_start(random.Random(1)))


@pytest.mark.parametrize(
    "documents",
    [
        [],
        [GOOD, GOOD],
        [GOOD, {"data": []}],
        [GOOD, {}],
        [GOOD, []],
        [GOOD, {"data": [5]}],
        [GOOD, {"data": [{"traceID": "5"}]}],
        [GOOD, {"data": [{"traceID": "5", "spans": [{"traceID": "5", "spanID": "6"}]}]}],
        [GOOD, {**GOOD, "resourceSpans": []}],
    ],
)
def test_what_it_cannot_be_sure_of_is_not_answered(tmp_path: Path, documents: list[object]) -> None:
    """The same trace twice, no trace, or what has to be reported."""
    with pytest.raises(Unfamiliar):
        list(glance(written(tmp_path, *documents), ignore))


@pytest.mark.parametrize(("name", "content"), [("t.jsonl", ""), ("t.json", "{"), ("t.json", "")])
def test_other_files_are_left_to_the_long_way(tmp_path: Path, name: str, content: str) -> None:
    """JSON lines, and what is broken."""
    written(tmp_path, GOOD)
    (tmp_path / name).write_text(content or request([otlp_span("order", 1, None, 0, 9)]))
    with pytest.raises(Unfamiliar):
        list(glance(tmp_path, ignore))


def test_a_deferred_task_and_a_cache_are_read(tmp_path: Path) -> None:
    """By the names that tasks have."""
    start = a_start(random.Random(1))
    late = replace(start.tasks[0], name="analytics", begin=start.end, end=start.end + 5_000_000, deferred=True)
    start = replace(start, tasks=(replace(start.tasks[0], cache="hit"), *start.tasks[1:], late))
    (costs,) = glance(written(tmp_path, document(start)), ignore)
    assert {task.name: task.cache for task in costs.tasks if task.name in ("room", "analytics")} == {
        "room": "hit",
        "analytics": None,
    }
