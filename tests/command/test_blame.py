"""`firstword blame`: what it prints, and what it says of what it can't."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.blame import a_start as benchmark_start
from benchmarks.blame import jaeger
from firstword.command import blame as command
from firstword.command import terminal as output
from firstword.command.__main__ import app
from firstword.telemetry.critical_path import analyse
from firstword.telemetry.layout import lay_out
from firstword.telemetry.record import Outcome
from tests.command.account_line import without_account
from tests.tuning.test_blame import a_start
from tests.tuning.written import T0, otlp_span, request, write


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every command runs in an empty folder and knows no rehearsal but those of its test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword blame ARGUMENTS`."""
    result = CliRunner().invoke(app, ["blame", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, without_account(result.stderr)


def test_a_pipe_gets_one_table_of_whole_lines(tmp_path: Path) -> None:
    """The source first, how many sessions, then the worst first."""
    write(tmp_path / "traces", a_start(200), a_start(40))
    code, out, error = typed("--traces", "traces")
    assert (code, error) == (0, "")
    assert "\n".join(line.rstrip() for line in out.splitlines()) == snapshot("""\
Traces: traces
2 sessions with a first word
Time to first word: p50 0.270 s, p90 0.390 s, p99 0.390 s

ms                                drag   path  critical  loop  others    p50    p90    p99
(dispatch)                           -  100.0     100 %     -       -  100.0  100.0  100.0
account                           60.0  100.0      50 %     0       0   40.0    200    200
playout                           50.0   50.0     100 %     0       0   50.0   50.0   50.0
(event loop, held by components)     -   30.0     100 %     -       -   30.0   30.0   30.0
room                              20.0   40.0      50 %     0       0   80.0   80.0   80.0
greeting                          10.0   10.0     100 %     0       0   10.0   10.0   10.0
components                           0      0       0 %  30.0    30.0   30.0   30.0   30.0\
""")


def test_folded_stacks_are_phase_piece_and_microseconds(tmp_path: Path) -> None:
    """One a line, for flamegraph.pl; the source is said on standard error."""
    write(tmp_path / "traces", a_start(200), a_start(40))
    code, out, error = typed("--traces", "traces", "--folded")
    assert (code, error) == (0, "Traces: traces\n")
    assert out == snapshot("""\
connect;account 199999
connect;event loop, held by components 59998
connect;greeting 19998
connect;playout 100000
connect;room 79999
dispatch;dispatch 199998
""")


def test_json_has_the_stable_keys_and_nothing_beside(tmp_path: Path) -> None:
    """Seconds; null for what a row hasn't."""
    write(tmp_path / "traces", a_start(200))
    code, out, error = typed("--traces", "traces", "--json")
    assert (code, error) == (0, "Traces: traces\n")
    answer = json.loads(out)
    assert list(answer) == ["among", "sessions", "method", "left_out", "weighted", "waited_s", "rows"]
    assert answer["left_out"] == {"no_first_word": 0, "others": 0, "no_caller": 0}
    assert list(answer["waited_s"]) == ["p50", "p90", "p99"]
    for row in answer["rows"]:
        assert list(row) == [
            "kind",
            "name",
            "sessions",
            "drag_s",
            "contention_s",
            "path_s",
            "critical",
            "duration_s",
            "loop_time_s",
            "cache",
        ]
    kinds = {(row["kind"], row["name"]): row["drag_s"] is None for row in answer["rows"]}
    assert kinds[("dispatch", "dispatch")]
    assert kinds[("event loop", "components")]
    assert not kinds[("task", "account")]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_terminal_cuts_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Below 100 columns the durations have a table of their own; long names are broken."""
    write(tmp_path / "traces", a_start(200), a_start(40))
    shown = io.StringIO()
    terminal = Console(file=shown, width=width, force_terminal=True, color_system=None, markup=False, highlight=False)
    for module in (command, output):
        monkeypatch.setattr(module, "console", lambda: terminal)
    assert typed("--traces", "traces")[0] == 0
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in shown.getvalue()
    everything = "".join(shown.getvalue().split())
    for text in ("drag", "path", "critical", "loop", "others", "p50", "p90", "p99", "(dispatch)", "heldbycomponents)"):
        assert text in everything


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--folded", "--json", "--traces", "traces"], 2, "--folded and --json are two forms; give one"),
        (["--traces", "nowhere"], 2, "--traces nowhere is not there"),
        (["--traces", "traces", "--service", "shop"], 1, "no trace in traces"),
        (["--traces", "empty.jsonl"], 1, "empty.jsonl: it is empty"),
        (["--traces", "no files"], 1, "has no file that ends in .json, .jsonl or .ndjson"),
        ([], 1, "no last rehearsal to read traces of"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """On standard error, with exit code 2 for what was typed wrong and 1 for what isn't there; never a traceback."""
    write(tmp_path / "traces", a_start(200))
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "no files").mkdir()
    found, _, error = typed(*arguments)
    assert found == code
    assert says in " ".join(error.replace("│", " ").split())


def test_a_folder_of_jaegers_files_is_the_same_whichever_way_it_is_read(tmp_path: Path) -> None:
    """One broken file among them is said, and the others are used."""
    folder = tmp_path / "jaeger"
    folder.mkdir()
    for number in range(3):
        start = benchmark_start(random.Random(number))
        (folder / f"{number}.json").write_text(jaeger(lay_out(start, analyse(start)), f"{number + 1:032x}"))
    short = typed("--traces", "jaeger", "--json")
    (folder / "broken.json").write_text("{")
    code, out, error = typed("--traces", "jaeger", "--json")
    assert (code, out) == short[:2]
    assert "broken.json line 1: not JSON" in error


def test_one_session_and_sessions_that_all_failed_are_said_to_be_so(tmp_path: Path) -> None:
    """No quantiles of one; no drag to a first word that never came."""
    start = a_start(200)
    write(tmp_path / "one", start)
    out = typed("--traces", "one")[1]
    assert "1 session with a first word\nTime to first word: 0.390 s\n" in out
    failed = replace(start, outcome=Outcome.FAILED, last="account", end=T0 + 300_000_000, tasks=start.tasks[:2])
    write(tmp_path / "failed", failed, failed)
    code, out, _ = typed("--traces", "failed")
    assert code == 0
    assert "2 sessions without a first word\n" in out
    assert "Drag is by how much earlier they would have ended, not spoken" in out
    (tmp_path / "t.jsonl").write_text(request([otlp_span("order", 1, None, 0, 9), otlp_span("pay", 2, 1, 2, 8)]))
    assert "guessed from times" in typed("--traces", "t.jsonl")[1]
