"""`firstword critical-chain`: what it prints, and what it says of what it can't."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from rich.console import Console, Group
from typer.testing import CliRunner

from firstword.command.__main__ import app
from firstword.command.critical_chain import chain_lines, median_start
from firstword.rehearsal.result import RESULT_FILE, TRACES, Result, save
from firstword.telemetry.record import Dispatch, DispatchStage, LoopStep, Outcome, Phase, Start, Task, TaskState
from firstword.telemetry.vocabulary import JOB_ID, ROOM_SID
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from firstword.tuning.start import RecordedStart, start_of
from tests.command.account_line import without_account
from tests.tuning.answering import answering
from tests.tuning.written import T0, no_problem, otlp_span, request, write


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every command runs in an empty folder and knows no rehearsal but those of its test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword critical-chain ARGUMENTS`."""
    result = CliRunner().invoke(app, ["critical-chain", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, without_account(result.stderr)


def at(ms: float) -> int:
    """ns since the Unix epoch."""
    return T0 + round(ms * 1e6)


def a_task(name: str, begin: float, end: float, *needs: str, held: float = 0, **more: object) -> Task:
    """A task that ran from ms to ms, and at first held the loop for so many."""
    steps = (LoopStep(at(begin), at(begin + held)),) if held else ()
    return Task(name, ready=at(begin), begin=at(begin), end=at(end), needs=needs, steps=steps, **more)  # type: ignore[arg-type]


def a_start(outcome: Outcome = Outcome.FIRST_WORD) -> Start:
    """The account is waited for, the room is not: 1.2 s to the first word, or 700 ms to the account's failure."""
    heard = outcome is Outcome.FIRST_WORD
    account = a_task("account", 150, 700, held=8)
    if not heard:
        account = a_task("account", 150, 700, state=TaskState.FAILED, error_type="StoreUnreachable")
    end = 1200 if heard else 700
    tasks = (
        a_task("room", 150, 245, held=3.25),
        a_task("caller", 245, 260, "room", outside=at(260)),
        account,
        *(
            (a_task("greeting", 705, 1100, "account"), a_task("playout", 1100, 1200, "greeting", "caller", held=40))
            if heard
            else ()
        ),
    )
    phases = (Phase("connect", T0, at(245)), Phase("wait", at(245), at(260)), Phase("greet", at(260), at(end)))
    return Start(
        start=T0,
        end=at(end),
        first_step=at(150),
        outcome=outcome,
        tasks=tasks,
        phases=phases,
        last="playout" if heard else "account",
        first_word_needs=("room", "caller", "account", "greeting", "playout"),
        dispatch=Dispatch.JOIN,
        joined=T0,
        received=at(20),
        ready=at(1200) if heard else None,
        flags={"parallel-init": "on", "deferred-setup": "off"},
        attributes={ROOM_SID: "RM_a", JOB_ID: "AJ_a"},
    )


def test_a_pipe_gets_the_tree_as_plain_text(tmp_path: Path) -> None:
    """The source first, which session, then the chain from the first word back; below an entry what was not waited for."""
    (trace_id,) = write(tmp_path / "traces", a_start())
    code, out, error = typed("--traces", "traces")
    assert (code, error) == (0, "")
    assert out.replace(trace_id, "TRACE") == snapshot("""\
Traces: traces
Shown: the median of 1 session with a first word
Trace: TRACE
Date: 2026-11-18 11:06:40 UTC
Room: RM_a, job: AJ_a
First word after 1.200s; initialization 1.180s; the job came with the caller
Flags on: parallel-init
Phases: dispatch 150ms, connect 95ms, wait 15ms, greet 940ms

first word @1.200s
├─playout @1.100s +100ms, loop 40ms
│   caller @245ms +15ms, slack 840ms, loop 0ms
├─greeting @705ms +395ms, loop 0ms
├─event loop @700ms +5.0ms
├─account @150ms +550ms, loop 8.0ms
└─dispatch @0ms +150ms
""")


def test_a_start_that_failed_says_of_what(tmp_path: Path) -> None:
    """The chain leads back from the task that failed."""
    write(tmp_path / "traces", a_start(Outcome.FAILED))
    code, out, _ = typed("--traces", "traces")
    assert code == 0
    assert out[out.index("\n\n") :] == snapshot("""\


failed @700ms
├─account @150ms +550ms, loop 0ms, StoreUnreachable
└─dispatch @0ms +150ms
""")


STAGES = (("offer", 350), ("acceptance", 470), ("assignment", 590), ("process_wait", 710), ("process_start", 830))


def test_each_stage_of_a_long_dispatch_is_explained(tmp_path: Path) -> None:
    """The greatest part of a start with no idle process has names, reasons, and is what the session waited for most."""
    begins = (0, *(end for _, end in STAGES))
    stages = [DispatchStage(name, at(begin), at(end)) for begin, (name, end) in zip(begins, STAGES, strict=False)]
    start = replace(
        a_start(),
        tasks=(a_task("playout", 940, 1000),),
        first_step=at(940),
        end=at(1000),
        phases=(Phase("connect", T0, at(1000)),),
        dispatch_stages=(*stages, DispatchStage("entrypoint", at(830), at(940))),
    )
    slower = replace(start, dispatch_stages=(DispatchStage("offer", T0, at(210)),), first_step=at(210), end=at(1100))
    write(tmp_path / "traces", start, slower)
    code, out, _ = typed("--traces", "traces")
    assert (code, out[out.index("Phases") :]) == (
        0,
        snapshot("""\
Phases: dispatch 940ms, connect 60ms

first word @1.000s
├─playout @940ms +60ms, loop 0ms
├─dispatch.entrypoint @830ms +110ms
│   possible cause: a busy machine, or imports in the entrypoint
├─dispatch.process_start @710ms +120ms
│   possible cause: no idle process; more of them spare this
├─dispatch.process_wait @590ms +120ms
│   no process was idle; possible cause: machine full, or worker just begun
├─dispatch.assignment @470ms +120ms
│   possible cause: a slow way between worker and server
├─dispatch.acceptance @350ms +120ms
│   possible cause: a busy worker, or a request handler that waits
└─dispatch.offer @0ms +350ms
    no worker took it sooner; possible cause: none was there, or all were full
"""),
    )
    median = median_start(tmp_path / "traces")
    assert median is not None
    assert median.critical_task == "dispatch.offer"
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_start_in_declared_order_waits_for_each_task_in_turn(tmp_path: Path) -> None:
    """What nobody needed is on the path all the same, since the next task began when it was done."""
    tasks = (
        a_task("room", 150, 245),
        a_task("caller", 245, 260, "room", order="room", outside=at(260)),
        a_task("account", 260, 500, order="caller"),
        a_task("analytics", 500, 640, order="account", held=3),
        a_task("playout", 640, 900, "account", "caller", order="analytics"),
    )
    phases = (Phase("connect", T0, at(245)), Phase("wait", at(245), at(260)), Phase("greet", at(260), at(900)))
    write(tmp_path / "traces", replace(a_start(), tasks=tasks, phases=phases, end=at(900), ready=at(900), flags={}))
    code, out, _ = typed("--traces", "traces")
    assert code == 0
    assert out[out.index("First word") :] == snapshot("""\
First word after 900ms; initialization 880ms; the job came with the caller
Phases: dispatch 150ms, connect 95ms, wait 15ms, greet 640ms

first word @900ms
├─playout @640ms +260ms, loop 0ms
├─analytics @500ms +140ms, loop 3.0ms
├─account @260ms +240ms, loop 0ms
├─caller @245ms +15ms, loop 0ms
├─room @150ms +95ms, loop 0ms
└─dispatch @0ms +150ms
""")


def test_a_caller_who_came_after_the_agent_is_a_piece_of_their_own(tmp_path: Path) -> None:
    """Their coming is no part of the time to first word, which begins with it; what was ready by then is not on the path."""
    tasks = (
        a_task("room", 50, 145),
        a_task("account", 50, 600),
        a_task("caller", 145, 2000, "room", outside=at(2000)),
        a_task("playout", 2000, 2080, "account", "caller"),
    )
    start = replace(
        a_start(),
        tasks=tasks,
        first_step=at(50),
        end=at(2080),
        ready=at(2080),
        flags={},
        phases=(Phase("connect", T0, at(145)), Phase("wait", at(145), at(2000)), Phase("greet", at(2000), at(2080))),
        dispatch=Dispatch.AHEAD,
        joined=at(1950),
        received=T0,
        first_word_needs=("room", "account", "caller", "playout"),
    )
    write(tmp_path / "traces", start)
    code, out, _ = typed("--traces", "traces")
    assert code == 0
    assert out[out.index("First word") :] == snapshot("""\
First word after 130ms; initialization 180ms; the job came ahead of the caller
Phases: dispatch 50ms, connect 95ms, wait 1.855s, greet 80ms

first word @2.080s
├─playout @2.000s +80ms, loop 0ms
│   account @50ms +550ms, slack 1.400s, loop 0ms
├─caller @1.950s +50ms, loop 0ms
├─absent caller @145ms +1.805s
├─room @50ms +95ms, loop 0ms
└─dispatch @0ms +50ms
""")


def test_json_has_the_stable_keys_and_nothing_beside(tmp_path: Path) -> None:
    """One object; the pieces are the `critical` spans, by the names of their tasks; the source is said on standard error."""
    (trace_id,) = write(tmp_path / "traces", a_start())
    code, out, error = typed("RM_a", "--json", "--traces", "traces")
    answer = json.loads(out)
    assert (code, error) == (0, "Traces: traces\n")
    assert list(answer) == ["trace_id", "root_span_id", "began", "ttfw_s", "duration_us", "method", "path"]
    assert (answer["trace_id"], answer["ttfw_s"], answer["duration_us"], answer["method"]) == (
        trace_id,
        1.2,
        1_200_000,
        "exact",
    )
    assert [
        (piece["name"], piece["task"], piece["start_us"], piece["duration_us"]) for piece in answer["path"]
    ] == snapshot(
        [
            ("dispatch", None, 0, 149999),
            ("account", "account", 150000, 94999),
            ("account", "account", 245000, 14999),
            ("account", "account", 260000, 439999),
            ("event loop", None, 700000, 4999),
            ("greeting", "greeting", 705000, 394999),
            ("playout", "playout", 1100000, 100000),
        ]
    )
    spans = {
        span.span_id: span for trace in Files(tmp_path / "traces").traces(Query(), no_problem) for span in trace.spans
    }
    for piece in answer["path"]:
        assert list(piece)[:6] == ["span_id", "name", "task", "task_span_id", "start_us", "duration_us"]
        assert list(piece.items())[6:] == [("kind", None), ("file", None), ("line", None), ("function", None)]
        assert spans[piece["span_id"]].name == f"critical {piece['name']}"
        assert piece["task"] is None or spans[piece["task_span_id"]].name == piece["task"]


def test_json_of_a_trace_of_others(tmp_path: Path) -> None:
    """No TTFW, no tasks; the pieces are its spans."""
    (tmp_path / "t.jsonl").write_text(request([otlp_span("order", 1, None, 0, 9), otlp_span("pay", 2, 1, 2, 8)]))
    code, out, _ = typed("--json", "--traces", "t.jsonl")
    answer = json.loads(out)
    assert (code, answer["ttfw_s"], answer["method"]) == (0, None, "guessed")
    assert [(piece["name"], piece["task"], piece["task_span_id"]) for piece in answer["path"]] == [
        ("order", None, None),
        ("pay", None, None),
        ("order", None, None),
    ]


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_terminal_cuts_no_text(tmp_path: Path, width: int) -> None:
    """Longer lines are broken; the chain has a colour, what was not waited for another."""
    write(tmp_path, a_start())
    lines = list(chain_lines(_only(tmp_path), "http://jaeger.example/trace/1234567890abcdef1234567890abcdef"))
    shown = io.StringIO()
    out = Console(file=shown, width=width, force_terminal=True, color_system=None)
    for line in lines:
        out.print(line, overflow="fold")
    assert max(map(len, shown.getvalue().splitlines())) <= width
    assert "".join(shown.getvalue().split()) == "".join("".join(line.plain for line in lines).split())
    chain = next(line for line in lines if "account @" in line.plain)
    beside = next(line for line in lines if "caller @" in line.plain)
    assert str(chain.style) != str(beside.spans[-1].style)


def test_of_very_many_pieces_the_longest_are_shown(tmp_path: Path) -> None:
    """A line stands for those left out; nothing else is lost."""
    children = [otlp_span(f"s{n}", n + 2, 1, n * 10, n * 10 + (9 if n % 50 == 0 else 1)) for n in range(5_000)]
    (tmp_path / "t.jsonl").write_text(request([otlp_span("root", 1, None, 0, 50_000), *children]))
    lines = [line.plain for line in chain_lines(_only(tmp_path))]
    assert 150 < len(lines) < 320
    assert any("shorter ones +" in line for line in lines)


def test_the_last_rehearsal_is_the_default(tmp_path: Path) -> None:
    """The first line names it; before any there is a sentence about what to do."""
    code, out, error = typed()
    assert (code, out) == (1, "")
    assert (
        error
        == "firstword: no last rehearsal to read traces of; run `firstword rehearse`, or give --traces or --jaeger\n"
    )
    folder = tmp_path / "rehearsal"
    write(folder / TRACES / "tuned", a_start())
    save(Result({}, Dispatch.JOIN, {}, {}), folder)
    assert (folder / RESULT_FILE).exists()
    for arguments in ([], ["--last"]):
        code, out, error = typed(*arguments)
        assert (code, error) == (0, "")
        assert out.startswith(f"Traces: the last rehearsal, {folder}\n")


def test_the_median_start_is_there_for_other_commands(tmp_path: Path) -> None:
    """A rehearsal prints its chain and draws it; None of a folder without traces, or of none."""
    assert median_start(tmp_path / "none") is None
    assert median_start(tmp_path) is None
    write(tmp_path, a_start())
    start = median_start(tmp_path)
    assert start is not None
    shown = io.StringIO()
    Console(file=shown, width=60).print(Group(*chain_lines(start)))
    assert "├─account @" in shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["RM_b", "--traces", "traces"], 1, "no session RM_b in traces; nearest: RM_a"),
        (["RM_a", "--slowest", "--traces", "traces"], 2, "name two sessions; give one"),
        (["--last", "--traces", "traces"], 2, "three sources; give one"),
        (["--traces", "nowhere"], 2, "--traces nowhere is not there"),
        (["--traces", "empty.jsonl"], 1, "empty.jsonl: it is empty; expected OTLP JSON lines"),
        (["--traces", "empty.jsonl"], 1, "no trace in empty.jsonl"),
        (["--traces", "no files"], 1, "has no file that ends in .json, .jsonl or .ndjson"),
        (["--traces", "traces", "--since", "soon"], 2, "--since is 'soon'; expected 90s, 30m, 1.5h"),
        (["--traces", "traces", "--since", "1h", "--until", "2h"], 2, "--until is not after --since"),
        (["--traces", "traces", "--since", "2200-01-01"], 1, "no trace in traces with this --since"),
        (["--traces", "traces", "--service", "shop"], 1, "no trace in traces with this --service"),
        (["--traces", "traces", "--limit", "0"], 2, "greater than or equal to 1"),
        (["--jaeger", "http://me:secret@host"], 2, "--jaeger is no address of Jaeger; expected http://HOST:PORT"),
        (
            ["--jaeger", "http://127.0.0.1:1"],
            1,
            "Jaeger at http://127.0.0.1:1: it can't be read: Connection refused; asked 3 times",
        ),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """On standard error, with exit code 2 for what was typed wrong and 1 for what isn't there; never a traceback."""
    write(tmp_path / "traces", a_start())
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "no files").mkdir()
    found, out, error = typed(*arguments)
    assert (found, out) == (code, "")
    assert says in " ".join(error.replace("│", " ").split())
    assert "secret" not in error


def test_bad_lines_are_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    """The first five, and how many more; exit code 0, for there is an answer."""
    write(tmp_path / "traces", a_start())
    (tmp_path / "traces" / "z.jsonl").write_text(request([otlp_span("x", 1, None, 0, 1)]) + "oops\n" * 9)
    code, out, error = typed("--traces", "traces")
    assert code == 0
    assert "first word @1.200s" in out
    lines = error.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(
        "firstword: z.jsonl line 2: not JSON, expecting value at column 1; expected OTLP JSON lines"
    )
    assert lines[5] == "firstword: ... and 4 more problems"


def _only(folder: Path) -> RecordedStart:
    (trace,) = Files(folder).traces(Query(), no_problem)
    return start_of(trace)


def test_an_address_of_jaegers_page_is_a_session(tmp_path: Path) -> None:
    """Pasted from a browser: it names the trace, and where no source is given, the Jaeger."""
    (trace_id,) = write(tmp_path / "traces", a_start())
    page = f"http://jaeger.example:16686/base/trace/{trace_id}?uiFind=account#x"
    code, out, _ = typed(page, "--traces", "traces")
    assert (code, f"Trace: {trace_id}\n" in out) == (0, True)
    with answering(404, b"") as url:
        code, _, error = typed(f"{url}/base/trace/{trace_id}/")
    assert (code, error) == (1, f"firstword: {url}/base answers, but not as Jaeger's query API does\n")
