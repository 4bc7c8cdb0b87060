"""Which start counts how: errors, callers who left, callers who never came, sampled stores."""

import gc
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from firstword.telemetry.record import Outcome
from firstword.tuning import observation as about
from firstword.tuning.files import Files
from firstword.tuning.notes import Note, PassedOver
from firstword.tuning.observation import DrawnBy, Observation, observation
from firstword.tuning.sampling import countable
from firstword.tuning.sources import Query, SourceError
from firstword.tuning.statistics import quantile, rate
from tests.tuning.written import no_problem, otlp_span, request


def read(
    folder: Path, attributes: dict[str, Any], *more: dict[str, Any], end_us: int = 1_500_000
) -> Observation | None:
    """The observation of a start whose root has these attributes."""
    root = otlp_span("session.startup", 1, None, 0, end_us, attributes=[attribute(k, v) for k, v in attributes.items()])
    (folder / "traces.jsonl").write_text(request([root, *more], "firstword"))
    (trace,) = Files(folder).traces(Query(), no_problem)
    return observation(trace)


def attribute(key: str, value: Any) -> dict[str, Any]:
    kinds: dict[type, str] = {bool: "boolValue", str: "stringValue", float: "doubleValue", int: "intValue"}
    return {"key": key, "value": {kinds[type(value)]: str(value) if type(value) is int else value}}


def test_a_start_with_a_first_word(tmp_path: Path) -> None:
    """TTFW as the root says it, initialization as `session.ready` says it, tasks by their spans, flags by variant."""
    task = otlp_span("account", 2, 1, 0, 400_000, attributes=[attribute("startup.critical", 0.4)])
    ready = otlp_span("session.ready", 3, 1, 1_500_001, 2_000_000, attributes=[attribute("startup.init", 2.1)])
    told = {"startup.outcome": "first_word", "startup.ttfw": 1.25, "startup.flag.f": "on", "startup.fallbacks": 2}
    seen = read(tmp_path, {**told, "startup.account.hash": "ab12"}, task, ready)
    assert seen is not None
    assert (seen.outcome, seen.ttfw, seen.init, seen.fallbacks) == (Outcome.FIRST_WORD, 1.25, 2.1, 2)
    assert (dict(seen.flags), dict(seen.tasks), seen.account) == ({"f": "on"}, {"account": 0.4}, "ab12")
    assert seen.sampling.weight == 1.0


@pytest.mark.parametrize(
    ("outcome", "ttfw", "error", "abandoned"),
    [("failed", math.inf, True, False), ("timed_out", math.inf, True, False), ("abandoned", 1.5, False, True)],
)
def test_a_start_without_a_first_word(tmp_path: Path, outcome: str, ttfw: float, error: bool, abandoned: bool) -> None:
    """An error is infinitely late; who left waited until the root's end."""
    seen = read(tmp_path, {"startup.outcome": outcome})
    assert seen is not None
    assert (seen.ttfw, seen.error, seen.abandoned) == (ttfw, error, abandoned)


def test_what_flags_were_drawn_by_is_read(tmp_path: Path) -> None:
    """By account or room, and which of them by process."""
    told = {"startup.outcome": "first_word", "startup.flags_by_process": "cached-config,account-cache"}
    for by, drawn in (("account", DrawnBy.ACCOUNT), ("room", DrawnBy.SESSION), ("moon", None)):
        seen = read(tmp_path, {**told, "startup.flags_by": by})
        assert seen is not None
        assert (about.recorded(seen, "f"), about.recorded(seen, "account-cache")) == (drawn, DrawnBy.PROCESS)


def test_many_sessions_take_half_a_kilobyte_each(tmp_path: Path) -> None:
    """Ten flags and fifteen tasks with names: those are there once, however many sessions have them."""
    paths = [tmp_path / f"{number}.jsonl" for number in range(400)]
    for number, path in enumerate(paths):
        path.write_text(_session(number))
    tracemalloc.start()
    try:
        # the first hundred have what all have in common
        kept = [_only(path) for path in paths[:100]]
        before = _in_use()
        kept += map(_only, paths[100:])
        taken = _in_use() - before
    finally:
        tracemalloc.stop()
    assert None not in kept
    assert taken / 300 < 600


def _only(path: Path) -> Observation | None:
    (trace,) = Files(path).traces(Query(), no_problem)
    return observation(trace)


def _in_use() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _session(number: int) -> str:
    told = {"startup.outcome": "first_word", "startup.ttfw": 1.0 + number, "startup.account.hash": f"{number:016x}"}
    told |= {f"startup.flag.flag-{flag}": "on" if number >> flag % 3 & 1 else "off" for flag in range(10)}
    root = otlp_span("session.startup", 1, None, 0, 1_500_000, attributes=[attribute(k, v) for k, v in told.items()])
    tasks = [
        otlp_span(f"task-{i}", i + 2, 1, (i * number) % 7, 400_000, attributes=[attribute("startup.critical", 0.4)])
        for i in range(15)
    ]
    return request([{**span, "traceId": f"{number + 1:032x}"} for span in (root, *tasks)], "firstword")


def test_waiting_for_who_is_not_there_does_not_count(tmp_path: Path) -> None:
    """An abandoned start that came ahead of its caller: only the time after they joined is theirs."""
    connect = otlp_span("connect", 2, 1, 0, 1_499_999)
    absent = otlp_span("critical absent caller", 3, 2, 0, 999_999)
    waited = otlp_span(
        "critical account", 4, 2, 1_000_000, 1_499_998, attributes=[attribute("startup.task", "account")]
    )
    seen = read(tmp_path, {"startup.outcome": "abandoned"}, connect, absent, waited)
    assert seen is not None
    assert seen.ttfw == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("told", [{"startup.outcome": "no_caller"}, {"startup.outcome": "vanished"}, {}])
def test_what_is_left_out(tmp_path: Path, told: dict[str, Any]) -> None:
    """Nobody called; or the trace does not say how it ended; or it is no start."""
    assert read(tmp_path, told) is None


@pytest.mark.parametrize(
    ("told", "weight"),
    [
        ({"startup.sampling.percent": 25.0}, 4.0),
        ({"startup.sampling.percent": 25}, 4.0),
        ({"startup.sampling.percent": 25.0, "startup.slow": True}, 1.0),
        ({"startup.sampling.percent": 25.0, "startup.outcome": "failed"}, 1.0),
        ({"startup.sampling.percent": 25.0, "startup.outcome": "timed_out"}, 1.0),
        ({"startup.sampling.percent": 25.0, "startup.outcome": "abandoned"}, 1.0),
        ({}, 1.0),
    ],
)
def test_what_a_start_of_a_sampled_store_weighs(tmp_path: Path, told: dict[str, Any], weight: float) -> None:
    """As many as it stands for; slow ones and those without a first word are all there, and stand for themselves."""
    seen = read(tmp_path, {"startup.outcome": "first_word", "startup.ttfw": 1.0, **told})
    assert seen is not None
    assert seen.sampling.weight == weight


def test_starts_of_a_store_without_ordinary_ones_are_not_counted(tmp_path: Path) -> None:
    """It keeps slow and failed ones alone: they are passed over beside others, and refused where there is nothing else."""
    notes: list[Note] = []
    told = {"startup.outcome": "first_word", "startup.slow": True}
    for number, percent in enumerate((0.0, 5e-324, 50.0), 1):
        marks = [attribute(k, v) for k, v in {**told, "startup.sampling.percent": percent}.items()]
        root = otlp_span("session.startup", 1, None, 0, 9, traceId=f"{number:032x}", attributes=marks)
        (tmp_path / f"{number}.jsonl").write_text(request([root], "firstword"))
    given = list(countable(Files(tmp_path).traces(Query(), no_problem), notes.append))
    assert [trace.trace_id for trace in given] == [f"{3:032x}"]
    assert notes == [PassedOver("", "starts of a store that keeps 0 % of ordinary starts", 2)]
    with pytest.raises(SourceError, match=r"keeps 0 % of ordinary starts.*; expected FIRSTWORD_KEEP_PERCENT above 0"):
        list(countable(Files(tmp_path / "1.jsonl").traces(Query(), no_problem), notes.append))


def test_samples_of_many() -> None:
    """Errors never come and callers who left are censored, in TTFW and in initialization; shares are shares."""
    of = [
        Observation(Outcome.FIRST_WORD, 1.0, 1.5, tasks={"account": 0.2}),
        Observation(Outcome.FIRST_WORD, 1.2, None, fallbacks=1),
        Observation(Outcome.ABANDONED, 0.8),
        Observation(Outcome.FAILED, math.inf),
    ]
    assert quantile(about.ttfw(of), 0.5) == 1.2
    assert [quantile(about.init(of), p) for p in (0.5, 0.9)] == [1.5, math.inf]
    assert quantile(about.task(of, "account"), 0.5) == 0.2
    assert [rate(about.share(of, which)) for which in (about.failed, about.left, about.fell_back)] == [0.25] * 3
