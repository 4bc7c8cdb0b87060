"""`firstword what-if`: what it prints, which flags it predicts, and what it says of what it can't."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from rich.console import Console
from typer.testing import CliRunner

from firstword.command import terminal as output
from firstword.command import what_if as command
from firstword.command.__main__ import app
from firstword.telemetry.record import Outcome, Start
from firstword.telemetry.vocabulary import CRITICAL
from tests.command.account_line import without_account
from tests.tuning.simulated import simulate
from tests.tuning.test_whatif import SMALL
from tests.tuning.written import T0, write

OFF = simulate(SMALL, in_order=True)
ON = replace(simulate(SMALL, in_order=False), flags={"parallel-init": "on"})
FLAGS = {
    "flags": {
        name: {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": told}
        for name, told in {
            "parallel-init": {"predicts": "identity=earlier room=earlier components=earlier"},
            "smart-greeting": {"predicts": ""},
            "light-connect": {},
            "component-pool": {"predicts": "room=faster"},
        }.items()
    }
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every command runs in a folder with a flag file and traces, and knows no rehearsal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("FLAGD_OFFLINE_FLAG_SOURCE_PATH", str(tmp_path / "flags.json"))
    (tmp_path / "flags.json").write_text(json.dumps(FLAGS))
    write(tmp_path / "traces", OFF, OFF, ON)


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword what-if ARGUMENTS`."""
    result = CliRunner().invoke(app, ["what-if", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, without_account(result.stderr)


def lines(out: str) -> str:
    return "\n".join(line.rstrip() for line in out.splitlines())


def test_changes_are_predicted_with_ranges() -> None:
    """The source, the changes in words, how many starts, then p50 and p90 now and then."""
    code, out, error = typed("account=0.5", "room=gone", "--traces", "traces")
    assert (code, error) == (0, "")
    assert lines(out) == snapshot("""\
Traces: traces
Changed: account 0.5 times as long, room gone
3 starts played again

    now, s              predicted                difference
p50  0.490 0.290 (0.230 to 0.290) -0.200 (-0.200 to -0.100)
p90  0.490 0.290 (0.230 to 0.290) -0.200 (-0.200 to -0.100)
Fewer than 30 starts: the range of p90 is a guess.\
""")


def test_a_flag_is_predicted_by_what_it_says_of_itself() -> None:
    """Starts that have it on are left out; tasks they don't have are passed over."""
    code, out, _ = typed("--flag", "parallel-init", "--traces", "traces")
    assert code == 0
    assert lines(out) == snapshot("""\
Traces: traces
parallel-init: identity earlier, room earlier, components earlier
2 starts played again; 1 with the flag on left out

    now, s              predicted                difference
p50  0.490 0.330 (0.330 to 0.330) -0.160 (-0.160 to -0.160)
p90  0.490 0.330 (0.330 to 0.330) -0.160 (-0.160 to -0.160)
All starts come out the same, so the ranges say nothing.\
""")


def test_without_a_question_the_flags_are_listed() -> None:
    """Those that leave no evidence are not guessed."""
    code, out, error = typed("--traces", "traces", "--flags", "flags.json")
    assert (code, out) == (2, "")
    assert "parallel-init: identity=earlier room=earlier components=earlier\n" in error
    assert "smart-greeting: no evidence in a trace without it; measure it\n" in error
    assert "light-connect: no evidence in a trace without it; measure it\n" in error
    assert error.endswith(
        "nothing to predict; expected TASK=CHANGE, as `firstword what-if account=0.5`, or --flag with one of those above\n"
    )


def test_json_has_the_stable_keys_and_nothing_beside() -> None:
    """Seconds; the source is said on standard error."""
    code, out, error = typed("account=0.5", "room=-80ms", "--json", "--traces", "traces")
    assert (code, error) == (0, "Traces: traces\n")
    answer = json.loads(out)
    assert list(answer) == [
        "flag",
        "changes",
        "sessions",
        "played",
        "left_out",
        "moved",
        "already_on",
        "also_waits_for",
        "ttfw_s",
    ]
    assert answer["also_waits_for"] == []
    assert answer["changes"] == [
        {"task": "account", "effect": "scaled", "factor": 0.5, "shift_s": None},
        {"task": "room", "effect": "shifted", "factor": None, "shift_s": -0.08},
    ]
    assert list(answer["ttfw_s"]) == ["p50", "p90"]
    assert list(answer["ttfw_s"]["p50"]) == ["now", "predicted", "predicted_range", "difference_range"]


def test_a_terminal_of_60_columns_cuts_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is whole."""
    shown = io.StringIO()
    terminal = Console(file=shown, width=60, force_terminal=True, color_system=None, markup=False, highlight=False)
    for module in (command, output):
        monkeypatch.setattr(module, "console", lambda: terminal)
    assert typed("account=0.5", "--traces", "traces")[0] == 0
    found = shown.getvalue()
    assert max(map(len, found.splitlines())) <= 60
    assert "…" not in found
    assert "(0.230 to 0.390)" in " ".join(found.split())


def test_few_and_equal_starts_are_said_to_be_so(tmp_path: Path) -> None:
    """A range of one, or of all the same, says nothing; nor does a change that moves nobody need believing."""
    write(tmp_path / "one", OFF)
    assert "One start: no telling how sure that is." in typed("account=0.5", "--traces", "one")[1]
    write(tmp_path / "same", OFF, OFF, OFF)
    assert "All starts come out the same, so the ranges say nothing." in typed("room=gone", "--traces", "same")[1]
    write(tmp_path / "at once", ON)
    assert "No caller would have waited a millisecond more or less." in typed("room=gone", "--traces", "at once")[1]


def test_a_start_that_lost_spans_is_said_to_be_left_out(tmp_path: Path) -> None:
    """Beside those without a first word, which stay: in words and in JSON."""
    lossy, *_ = write(tmp_path / "lossy", OFF, OFF, _failed(OFF))
    (file,) = (tmp_path / "lossy").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for span in [span for line in lines for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]]:
        if span["traceId"] == lossy:
            span["attributes"] = [told for told in span.get("attributes", []) if told["key"] != CRITICAL]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = "1 start played again; 1 without a first word stays as it was; 1 left out: spans are lost"
    assert told in typed("account=0.5", "--traces", "lossy")[1]
    answer = json.loads(typed("account=0.5", "--traces", "lossy", "--json")[1])
    assert [answer[key] for key in ("sessions", "played", "left_out")] == [3, 1, 1]


def test_what_is_taken_to_be_waited_for_is_said(tmp_path: Path) -> None:
    """A request that a task left running, and who is taken to use it: no trace says so."""
    write(tmp_path / "leaving", OFF)
    (file,) = (tmp_path / "leaving").iterdir()
    (line,) = file.read_text().splitlines()
    (scope,) = json.loads(line)["resourceSpans"][0]["scopeSpans"]
    components = next(span for span in scope["spans"] if span["name"] == "components")
    url = {"key": "http.url", "value": {"stringValue": "ws://voice.example/v1/speak"}}
    request = components | {
        "spanId": "f" * 16,
        "parentSpanId": components["spanId"],
        "name": "GET",
        "attributes": [url],
    }
    request["endTimeUnixNano"] = str(int(components["endTimeUnixNano"]) + 40_000_000)
    request.pop("links", None)
    file.write_text(line + "\n" + json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [request]}]}]}) + "\n")
    out = typed("greeting=gone", "--traces", "leaving")[1]
    assert "playout is taken to wait for what components left running: GET /v1/speak." in out
    assert "p50  0.490     0.450     -0.040" in out
    answer = json.loads(typed("greeting=gone", "--traces", "leaving", "--json")[1])
    assert answer["also_waits_for"] == [{"task": "playout", "of": "components", "left_running": "GET /v1/speak"}]


def _failed(start: Start) -> Start:
    return replace(start, outcome=Outcome.FAILED, last="account", end=T0 + 300_000_000, tasks=start.tasks[:2])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["accont=gone"], 2, "no start has a task accont; nearest: account"),
        (["account=sooner"], 2, "account can't become 'sooner'; expected 0.5 (times as long), -80ms, gone"),
        (["playout=gone"], 2, "playout is the first word itself"),
        (["account=gone", "--flag", "parallel-init"], 2, "TASK=CHANGE and --flag are two questions; give one"),
        (["--flag", "paralel-init"], 2, "flags.json: there is no flag paralel-init; nearest: parallel-init"),
        (["--flag", "smart-greeting"], 1, "smart-greeting leaves no evidence in a trace without it"),
        (["--flag", "component-pool"], 2, "flags.json: `predicts` of component-pool: room can't become 'faster'"),
        (["--flag", "x", "--flags", "none.json"], 2, "none.json: expected a file that can be read"),
        (["account=gone", "--service", "shop"], 1, "no trace (traces)"),
        (["account=gone", "--traces", "failed"], 1, "no start can be played, of 1 start"),
        (["--flag", "parallel-init", "--traces", "on"], 1, "the only start has the flag on already"),
    ],
)
def test_what_cannot_be_predicted_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """On standard error, with exit code 2 for what was typed wrong and 1 for what isn't there; never a traceback."""
    write(tmp_path / "failed", _failed(OFF))
    write(tmp_path / "on", ON)
    source = [] if "--traces" in arguments else ["--traces", "traces"]
    found, _, error = typed(*arguments, *source)
    assert found == code
    assert says in " ".join(error.replace("│", " ").split())
