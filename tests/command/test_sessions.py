"""`firstword sessions`: which sessions are listed, in which order, and how one gets from there to each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner

from firstword.command.__main__ import app
from firstword.telemetry.record import DispatchStage, Outcome, Phase, Start, Task
from firstword.telemetry.vocabulary import CRITICAL_TASK, DECLARED, SAMPLING_PERCENT
from tests.command.account_line import without_account
from tests.tuning.answering import answering
from tests.tuning.observed import observed_start
from tests.tuning.written import T0, otlp_span, request, write

S = 1_000_000_000


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword sessions ARGUMENTS`."""
    result = CliRunner().invoke(app, ["sessions", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, without_account(result.stderr)


def a_start(minute: int, waited: float, outcome: Outcome = Outcome.FIRST_WORD) -> Start:
    """A start in that minute; half a second of it was the server's offer, where it lasted that long."""
    begin = T0 + 60 * minute * S
    end = begin + round(waited * S)
    offered = min(begin + S // 2, end)
    heard = outcome is Outcome.FIRST_WORD
    return Start(
        start=begin,
        end=end,
        first_step=offered,
        outcome=outcome,
        tasks=(Task("playout", offered, offered, end),),
        phases=(Phase("connect", begin, end),),
        last="playout" if heard else None,
        first_word_needs=("playout",),
        joined=None if outcome is Outcome.NO_CALLER else begin,
        received=begin,
        dispatch_stages=(DispatchStage("offer", begin, offered),),
    )


def without_ids(text: str, ids: list[str]) -> str:
    for number, trace_id in enumerate(ids, 1):
        text = text.replace(trace_id[:12], f"id{number}")
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def test_those_whose_callers_waited_longest_come_first(tmp_path: Path) -> None:
    """Failures before them; who left counts by how long they waited; those nobody called are counted alone."""
    ids = write(
        tmp_path / "traces",
        a_start(1, 0.9),
        a_start(2, 3.25),
        a_start(3, 2.0, Outcome.FAILED),
        a_start(4, 1.5, Outcome.ABANDONED),
        a_start(5, 300, Outcome.NO_CALLER),
    )
    (tmp_path / "traces" / "other.json").write_text(request([otlp_span("order", 1, None, 0, 9_000_000)]))
    code, out, error = typed("--traces", "traces")
    assert (code, error) == (0, "")
    assert without_ids(out, ids) == snapshot("""\
Traces: traces
Shown: all of 4 sessions; beside them 1 without a caller, 1 trace of others

began                waited, s  ended       waited most for  trace
2026-11-18 11:09:40      2.000  failed      playout          id3
2026-11-18 11:08:40      3.250  first word  playout          id2
2026-11-18 11:10:40      1.500  abandoned   playout          id4
2026-11-18 11:07:40      0.900  first word  dispatch.offer   id1
""")
    code, out, _ = typed("--traces", "traces", "--most", "1", "--until", "2026-11-18 11:09")
    assert code == 0
    assert out.splitlines()[1:2] == ["Shown: the 1 that waited longest of 2 sessions; beside them 1 trace of others"]
    assert ids[1][:12] in out


def test_a_session_that_was_observed_too_is_listed_once(tmp_path: Path) -> None:
    """By its declared start; one that was observed alone by its function that was waited for most."""
    (declared,) = write(tmp_path / "traces", a_start(2, 3.25))
    second = observed_start(7, root={DECLARED: declared})
    (tmp_path / "traces" / "observed.jsonl").write_text(second + observed_start(8, root={CRITICAL_TASK: "on_enter"}))
    code, out, _ = typed("--traces", "traces")
    assert (code, out.splitlines()[1]) == (0, "Shown: all of 2 sessions")
    assert [line.split()[-2:] for line in out.splitlines()[4:]] == [
        ["playout", declared[:12]],
        ["on_enter", f"{8:032x}"[:12]],
    ]


def test_a_store_that_keeps_slow_sessions_alone_will_do(tmp_path: Path) -> None:
    """No figure can be made of it, and what is wanted is in it."""
    write(tmp_path / "traces", replace(a_start(2, 3.25), attributes={SAMPLING_PERCENT: 0.0}))
    assert typed("--traces", "traces")[0] == 0


def test_json_has_the_stable_keys(tmp_path: Path) -> None:
    """With the address of each in Jaeger, where it is read from there."""
    (trace_id,) = write(tmp_path / "traces", a_start(2, 3.25))
    code, out, error = typed("--traces", "traces", "--json")
    assert (code, error) == (0, "Traces: traces\n")
    assert json.loads(out) == [
        {
            "trace_id": trace_id,
            "began": "2026-11-18T11:08:40.000000Z",
            "waited_s": 3.25,
            "ttfw_s": 3.25,
            "outcome": "first_word",
            "critical_task": "playout",
            "room_sid": None,
            "job_id": None,
            "jaeger": None,
        }
    ]


def test_an_address_pasted_from_jaeger_is_that_trace(tmp_path: Path) -> None:
    """As --traces and as --jaeger, in every command that reads traces; what another trace's page says is an error."""
    (trace_id,) = write(tmp_path / "traces", a_start(2, 3.25))
    (file,) = (tmp_path / "traces").glob("*.jsonl")
    document = json.loads(file.read_text())
    with answering(200, json.dumps({"result": document}).encode()) as url:
        for option in ("--traces", "--jaeger"):
            code, out, error = typed(option, f"{url}/trace/{trace_id}?uiFind=dispatch")
            assert (code, error) == (0, "")
            assert out.startswith(f"Traces: trace {trace_id} of Jaeger at {url}\nShown: all of 1 session\n")
            assert out.endswith(f"\n\n{url}/trace/{trace_id}\n")
        drawn = CliRunner().invoke(app, ["plot", "-o", "one.svg", "--traces", f"{url}/trace/{trace_id}"])
        assert drawn.exit_code == 0
        blamed = CliRunner().invoke(app, ["blame", "--traces", f"{url}/trace/{trace_id}"])
        assert blamed.exit_code == 0


def test_a_page_of_a_trace_that_is_not_there() -> None:
    """One line; also where it is no page."""
    with answering(404, b'{"errors":[{"code":404,"msg":"trace not found"}]}') as url:
        code, _, error = typed("--traces", f"{url}/trace/abc1")
        assert (code, error) == (1, f"firstword: no trace abc1 in Jaeger at {url}\n")
    code, _, error = typed("--traces", "http://127.0.0.1:1/search")
    assert code == 2
    assert error.endswith("expected a file or a folder, or the address of a trace's page in Jaeger\n")


def test_no_start_of_ours(tmp_path: Path) -> None:
    """Said with what narrowed the search."""
    write(tmp_path / "traces", replace(a_start(5, 300, Outcome.NO_CALLER)))
    code, _, error = typed("--traces", "traces", "--since", "2026-11-18")
    assert (code, error) == (1, "firstword: no start of ours with a caller in traces with this --since\n")
