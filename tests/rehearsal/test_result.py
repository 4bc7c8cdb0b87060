"""The figures of a rehearsal: from sessions and traces to quantiles and JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from firstword.rehearsal.result import (
    Missing,
    ProfileFigures,
    Quantiles,
    Result,
    Session,
    figures,
    last_folder,
    new_folder,
    read_starts,
    save,
)
from firstword.telemetry.record import Dispatch, Outcome, TaskState
from firstword.telemetry.vocabulary import ROOT
from firstword.tuning.start import Method, RecordedStart
from tests.tuning.test_sessions import a_start
from tests.tuning.written import T0, otlp_span, request, write


def session(number: int, heard_s: float | None = 1.0) -> Session:
    return Session("tuned", f"room-{number}", f"RM_{number}", heard_s, None if heard_s else "nothing heard within 20 s")


def start(ttfw_s: float | None = 0.8, outcome: str = "first_word", *, fallbacks: int = 0) -> RecordedStart:
    return RecordedStart(
        trace_id="0" * 32,
        root_span_id="1" * 16,
        name=ROOT,
        start_ns=T0,
        duration_us=800_000,
        method=Method.EXACT,
        path=(),
        outcome=outcome,
        ttfw_s=ttfw_s,
        init_s=1.2 if ttfw_s else None,
        fallbacks=fallbacks,
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, Quantiles(1, 1, 1, 1)),
        (2, Quantiles(1, 2, 2, 2)),
        (20, Quantiles(10, 18, 20, 20)),
        (200, Quantiles(100, 180, 198, 200)),
    ],
)
def test_quantiles_are_sessions_that_took_place(count: int, expected: Quantiles) -> None:
    """Nearest rank: p90 of twenty sessions is the eighteenth fastest, never a value between two."""
    assert Quantiles.of([float(n) for n in range(count, 0, -1)]) == expected


def test_no_sessions_have_no_quantiles() -> None:
    """An interrupted run may have a profile without a single session."""
    assert figures([], {}) == ProfileFigures(0, 0, 0, None, None, None)


def test_an_error_is_infinitely_late() -> None:
    """A caller who heard nothing raises the tail of every figure, instead of dropping out of it."""
    found = figures([session(1), session(2), session(3, heard_s=None)], {"RM_1": start(), "RM_2": start()})
    assert found.errors == 1
    assert found.heard_s == Quantiles(1.0, math.inf, math.inf, math.inf)
    assert found.ttfw_s == Quantiles(0.8, math.inf, math.inf, math.inf)
    assert found.init_s == Quantiles(1.2, math.inf, math.inf, math.inf)


def test_a_session_is_one_error_however_it_shows() -> None:
    """A start that failed is an error though its caller heard something; a caller who heard nothing of it is not a second one."""
    starts = {"RM_1": start(None, "failed"), "RM_2": start(None, "timed_out"), "RM_3": start()}
    found = figures([session(1), session(2, heard_s=None), session(3)], starts)
    assert found.errors == 2
    assert found.ttfw_s == Quantiles(math.inf, math.inf, math.inf, math.inf)


def test_fallbacks_are_no_errors() -> None:
    """Fallbacks are counted apart, and summed over the sessions."""
    found = figures([session(1), session(2)], {"RM_1": start(fallbacks=2), "RM_2": start(fallbacks=1)})
    assert (found.errors, found.fallbacks) == (0, 3)


def test_a_session_without_a_trace_is_said_to_be_one() -> None:
    """It was heard, so it is no error; it is in no figure of the traces, and counted as untraced."""
    found = figures([session(1), session(2)], {"RM_2": start()})
    assert (found.errors, found.untraced) == (0, 1)
    assert found.ttfw_s == Quantiles(0.8, 0.8, 0.8, 0.8)


def test_the_floor_has_no_traces() -> None:
    """Its TTFW and initialization are None, and no session of it is called untraced."""
    found = figures([session(1)], None)
    assert (found.ttfw_s, found.init_s, found.untraced) == (None, None, 0)


def test_the_json_has_the_documented_keys_and_no_infinity() -> None:
    """`rehearse --json`: infinitely late is null, as is what the floor does not measure."""
    sessions = [replace(session(1), missing=Missing(640, 0, 0)), session(2, heard_s=None)]
    result = Result(
        profiles={"floor": figures([session(1)], None), "tuned": figures(sessions, {"RM_1": start()})},
        dispatch=Dispatch.JOIN,
        providers={"openai": "simulated"},
        versions={"python": "3.11.7"},
        sessions=sessions,
    )
    assert result.unheard == 1
    assert json.loads(json.dumps(result.as_json(), allow_nan=False)) == snapshot(
        {
            "profiles": {
                "floor": {
                    "sessions": 1,
                    "errors": 0,
                    "fallbacks": 0,
                    "ttfw_s": None,
                    "init_s": None,
                    "heard_s": {"p50": 1.0, "p90": 1.0, "p99": 1.0, "max": 1.0},
                    "missed": None,
                },
                "tuned": {
                    "sessions": 2,
                    "errors": 1,
                    "fallbacks": 0,
                    "ttfw_s": {"p50": 0.8, "p90": None, "p99": None, "max": None},
                    "init_s": {"p50": 1.2, "p90": None, "p99": None, "max": None},
                    "heard_s": {"p50": 1.0, "p90": None, "p99": None, "max": None},
                    "missed": {"callers": 1, "beginning_ms": 640, "middle_ms": 0, "end_ms": 0},
                },
            },
            "dispatch": "join",
            "providers": {"openai": "simulated"},
            "versions": {"python": "3.11.7"},
        }
    )


def test_starts_are_read_from_what_workers_export(tmp_path: Path) -> None:
    """By room; other traces and a line that was cut do no harm; a start without a first word never got ready."""
    heard = replace(a_start(750, 1), ready=T0 + 1_500_000_000)
    write(tmp_path / "worker", heard, a_start(300, 2, Outcome.FAILED))
    (tmp_path / "worker" / "cut.jsonl").write_text(request([otlp_span("job_entrypoint", 1, None, 0, 5)]) + '{"resou')
    found = read_starts(tmp_path)
    assert {room: (start.outcome, start.ttfw_s, start.init_s, start.failed) for room, start in found.items()} == {
        "RM_1": ("first_word", 0.75, 1.5, False),
        "RM_2": ("failed", None, None, True),
    }


def test_fallbacks_are_read(tmp_path: Path) -> None:
    """Of the tasks that had ended by the first word."""
    start = a_start(750, 1)
    write(tmp_path, replace(start, tasks=(replace(start.tasks[0], state=TaskState.FALLBACK),)))
    assert read_starts(tmp_path)["RM_1"].fallbacks == 1


def test_no_traces_are_no_starts(tmp_path: Path) -> None:
    """Also where no process got as far as to make the folder."""
    assert read_starts(tmp_path) == {}
    assert read_starts(tmp_path / "none") == {}


def test_a_saved_result_is_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--last` finds the rehearsal that was saved last; one whose folder is gone is none."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert last_folder() is None
    result = Result({}, Dispatch.AHEAD, {}, {}, [session(1)])
    first, second = new_folder(tmp_path), new_folder(tmp_path)
    assert first != second
    save(result, first)
    save(result, second)
    assert last_folder() == second
    assert json.loads((second / "result.json").read_text()) == result.as_json()
    assert json.loads((second / "sessions.jsonl").read_text())["room_sid"] == "RM_1"
    (second / "result.json").unlink()
    assert last_folder() is None
