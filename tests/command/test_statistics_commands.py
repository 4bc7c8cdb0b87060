"""`compare`, `tune`, `check`, `save` and `diff` as they are typed: what they print, in a pipe and as JSON, and their exit codes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import DRAWN, NO_CHANGE, SUBJECTS
from firstword.agent.flags.writer import FlagFileWriter, Move
from firstword.command.__main__ import app
from firstword.command.tuner.flag_store import FileStore
from firstword.command.tuner.history import entry
from firstword.telemetry.record import Outcome
from firstword.tuning.observation import Observation
from firstword.tuning.sampling import WEIGHTED, Sampling
from tests.agent.flag_files import shared
from tests.command.account_line import without_account
from tests.command.sessions_written import write
from tests.tuning.sessions_drawn import World, experiment
from tests.tuning.simulated import simulate
from tests.tuning.test_whatif import SMALL
from tests.tuning.written import write as write_starts

FAST = experiment(1, 1200, World(0.6), World(), flag="parallel-init")
COMMANDS = (
    ["compare", "--by", "parallel-init"],
    ["check", "--slo", "ttfw.p90<1.5"],
    ["save", "startup.json"],
    ["diff", "saved.json"],
    ["tune", "--flags", "flags.json"],
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """In an empty folder, sixty columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, without_account(result.stderr)


def flags_at(percent: int) -> Path:
    """A flag file that nobody moved since before the sessions."""
    path = Path("flags.json")
    path.write_text(json.dumps({"flags": {"parallel-init": shared(percent), "light-connect": shared(0)}}))
    os.utime(path, (1e8, 1e8))
    return path


def shares(path: str) -> dict[str, int]:
    """Flag -> percent, of those that are on for somebody."""
    return {name: flag.percent for name, flag in read(Path(path), SUBJECTS).flags.items() if flag.percent}


def test_compare_prints_both_variants_and_the_verdict() -> None:
    """Tables within sixty columns, whole sentences; the JSON says the same under stable keys."""
    write(Path("t.jsonl"), FAST)
    code, output, error = typed("compare", "--by", "parallel-init", "--share", "50", "--traces", "t.jsonl")
    assert (code, error) == (0, "")
    lines = output.splitlines()
    on, off = (sum(o.flags["parallel-init"] == variant for o in FAST) for variant in ("on", "off"))
    assert lines[:2] == ["Traces: t.jsonl", f"parallel-init: {off} off and {on} on sessions, drawn by session"]
    assert lines[-1].startswith("On is faster: p90 0.")
    assert lines[-2] == ""
    assert max(len(line) for line in lines) <= 60
    assert [line.split()[0] for line in lines if line.startswith("p")] == ["parallel-init:", *["p50", "p90", "p99"] * 2]
    code, output, error = typed("compare", "--by", "parallel-init", "--share", "50", "--traces", "t.jsonl", "--json")
    found = json.loads(output)
    assert (code, error) == (0, "Traces: t.jsonl\n")
    assert set(found) == {
        "flag", "before", "after", "sessions", "units", "drawn", "unnamed", "ttfw_s", "init_s", "errors", "abandoned", "split",
        "among", "together_with", "sampled_percent", "verdict", "sentence", "more_sessions", "method",
    }  # fmt: skip
    assert found["verdict"] == "faster"
    assert set(found["ttfw_s"]["p90"]) == {"before", "after", "difference"}
    assert found["ttfw_s"]["p90"]["difference"]["high"] < 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_weighting_is_said(command: Sequence[str]) -> None:
    """Of a sampled store, in one line; with --json on standard error, where the source is said too."""
    write(Path("t.jsonl"), [dataclasses.replace(o, sampling=Sampling(10.0)) for o in FAST[:100]])
    flags_at(50)
    Path("saved.json").write_text('{"firstword": 2, "sessions": 0, "samples": {}}')
    assert typed(*command, "--traces", "t.jsonl")[1].count(f"{WEIGHTED}\n") == 1
    _, output, error = typed(*command, "--traces", "t.jsonl", "--json")
    assert (WEIGHTED in output, error) == (False, f"Traces: t.jsonl\n{WEIGHTED}\n")


def test_compare_of_an_unknown_flag() -> None:
    """Exit code 2, the nearest right name."""
    write(Path("t.jsonl"), FAST[:5])
    code, _, error = typed("compare", "--by", "paralel-init", "--traces", "t.jsonl")
    assert (code, error) == (2, "firstword: no session has a flag 'paralel-init'; there is: parallel-init\n")


@pytest.mark.parametrize("command", COMMANDS[:4])
def test_without_sessions(command: Sequence[str]) -> None:
    """An empty file, traces of others, a caller who never came: one sentence, exit code 1."""
    Path("saved.json").write_text('{"firstword": 2, "sessions": 0, "samples": {}}')
    Path("t.jsonl").write_text("")
    code, _, error = typed(*command, "--traces", "t.jsonl")
    assert code == 1
    assert error.splitlines()[-1].startswith("firstword: no trace in t.jsonl")
    write(Path("t.jsonl"), [Observation(Outcome.NO_CALLER, 1.0, time=1e9)])
    code, _, error = typed(*command, "--traces", "t.jsonl")
    assert (code, error) == (1, "firstword: no start of ours with a caller among 1 trace in t.jsonl\n")


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        ["blame"],
        ["critical-chain"],
        ["critical-chain", "--slowest"],
        ["plot", "-o", "a.svg"],
        ["plot", "--many", "-o", "a.svg"],
        ["what-if", "account=0.5"],
    ],
    ids=" ".join,
)
def test_a_store_without_ordinary_starts_is_refused(command: Sequence[str]) -> None:
    """The collector keeps 0 % of them: what is there are the slow and the failed ones, and no figure of those is one."""
    write(Path("t.jsonl"), [dataclasses.replace(o, sampling=Sampling(0.0)) for o in FAST[:20]])
    path, before = flags_at(50), Path("flags.json").read_bytes()
    Path("saved.json").write_text('{"firstword": 2, "sessions": 0, "samples": {}}')
    code, _, error = typed(*command, "--traces", "t.jsonl")
    assert code == 1
    assert "store that keeps 0 % of ordinary starts" in error
    assert "Traceback" not in error
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "sessions",
    [
        [Observation(Outcome.FIRST_WORD, 1.0, 1.5, 1e9, {"parallel-init": v}) for v in ("on", "off")],
        [dataclasses.replace(o, outcome=Outcome.FAILED, ttfw=float("inf"), init=None) for o in FAST[:60]],
        [dataclasses.replace(o, outcome=Outcome.FIRST_WORD, ttfw=1.0, init=2.0) for o in FAST[:60]],
        [dataclasses.replace(o, outcome=Outcome.ABANDONED, init=None) for o in FAST[:60]],
    ],
    ids=["one each", "all failed", "all the same", "all left"],
)
def test_odd_sessions_get_an_honest_answer(command: Sequence[str], sessions: list[Observation]) -> None:
    """No command breaks on them, none prints a line that is not a number or a sentence."""
    write(Path("t.jsonl"), sessions)
    flags_at(50)
    Path("saved.json").write_text('{"firstword": 2, "sessions": 0, "samples": {}}')
    code, output, error = typed(*command, "--traces", "t.jsonl")
    assert code in (0, 1), error
    assert "nan" not in output
    assert " inf" not in output
    for document in ([*command, "--json"],):
        code, output, error = typed(*document, "--traces", "t.jsonl")
        assert json.loads(output) is not None


def test_check_says_one_line_for_each_objective_missed() -> None:
    """Exit code 1 and those lines; 0 when all are met; the same in the JUnit file and as JSON."""
    write(Path("t.jsonl"), FAST)
    wanted = ["--slo", "ttfw.p90<0.5", "--slo", "task.account.p50<9", "--slo", "errors<0.0001"]
    code, output, _ = typed("check", *wanted, "--traces", "t.jsonl", "--junit", "out.xml")
    lines = output.splitlines()
    assert code == 1
    assert [line.partition(": missed: ")[0] for line in lines[1:3]] == ["ttfw.p90<0.5", "errors<0.0001"]
    assert lines[3:] == ["1 of 3 objectives met"]
    suite = ElementTree.parse("out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    assert [failure.get("message") for failure in suite.iter("failure")] == lines[1:3]
    code, output, _ = typed("check", *wanted, "--traces", "t.jsonl", "--json")
    assert code == 1
    assert [each["met"] for each in json.loads(output)["objectives"]] == [False, True, False]
    assert typed("check", "--slo", "ttfw.p90<9", "--traces", "t.jsonl")[:2] == (
        0,
        "Traces: t.jsonl\n1 of 1 objective met\n",
    )


@pytest.mark.parametrize(
    ("slo", "says"),
    [("ttwf.p90<1", "there is: ttfw.p90"), ("task.acount.p90<1", "there is: account"), ("ttfw.p90", "is no objective")],
)
def test_a_wrong_objective(slo: str, says: str) -> None:
    """Exit code 2, the nearest right name."""
    write(Path("t.jsonl"), FAST[:5])
    code, _, error = typed("check", "--slo", slo, "--traces", "t.jsonl")
    assert code == 2
    assert says in error


def test_save_and_diff() -> None:
    """The same sessions again are the same; a slower task is slower, and named."""
    write(Path("then.jsonl"), experiment(1, 400, World(), World()))
    assert typed("save", "startup.json", "--traces", "then.jsonl")[:2] == (
        0,
        "Traces: then.jsonl\n13 figures of 400 sessions: startup.json\n",
    )
    code, output, _ = typed("diff", "startup.json", "--traces", "then.jsonl")
    assert (code, output.splitlines()[-1]) == (0, "Same: 13 figures.")
    assert max(len(line) for line in output.splitlines()) <= 60
    write(Path("now.jsonl"), [dataclasses.replace(o, tasks={n: s * 3 for n, s in o.tasks.items()}) for o in FAST])
    code, output, _ = typed("diff", "startup.json", "--traces", "now.jsonl")
    assert (code, "Slower: task.account.p50" in output.replace("\n", " ")) == (0, True)
    found = json.loads(typed("diff", "startup.json", "--traces", "now.jsonl", "--json")[1])
    assert (set(found), set(found["method"])) == ({"sessions", "method", "figures"}, {"then", "now"})
    assert set(found["figures"][0]) == {"name", "then", "now", "low", "high", "change", "more_starts", "saved_too"}
    assert typed("diff", "now.jsonl", "--traces", "now.jsonl")[0] == 2


def test_tune_proposes_and_applies_only_when_told() -> None:
    """Without --apply the file stays; with it the share is the next one, the reason is in it, the old one is kept."""
    write(Path("t.jsonl"), FAST)
    path = flags_at(50)
    before = path.read_bytes()
    code, output, _ = typed("tune", "--flags", "flags.json", "--traces", "t.jsonl")
    assert (code, path.read_bytes()) == (0, before)
    assert "parallel-init: ramp from 50 to 100 %; it is surely faster: p90" in output
    assert "Nothing written; --apply does it." in output
    code, output, _ = typed("tune", "--flags", "flags.json", "--traces", "t.jsonl", "--apply", "--json")
    found = json.loads(output)
    assert (code, found["applied"], found["sessions"]) == (0, "parallel-init", 1200)
    assert set(found["steps"][0]) == {"flag", "action", "percent", "to", "reason", "predicted_s", "comparison"}
    assert [(step["flag"], step["action"]) for step in found["steps"]] == [
        ("parallel-init", "ramp"),
        ("light-connect", "wait"),
    ]
    flag = json.loads(path.read_text())["flags"]["parallel-init"]
    assert flag["targeting"] == {"fractional": [["on", 100], ["off", 0]]}
    assert flag["metadata"]["tune.reason"] == found["steps"][0]["reason"]
    assert Path("flags.json.previous").read_bytes() == before
    assert "100 % done" in " ".join(typed("tune", "--flags", "flags.json", "--traces", "t.jsonl")[1].split())


def test_tune_sets_a_share_by_hand() -> None:
    """A file that isn't there is made with all flags off; one that is there keeps everything else, and the file before."""
    code, output, _ = typed("tune", "--flags", "mine.json", "--set", "deferred-setup=50")
    assert (code, output.split(". ")[0]) == (0, "deferred-setup: from 0 to 50 %")
    assert shares("mine.json") == {"deferred-setup": 50}
    typed("tune", "--flags", "mine.json", "--set", "light-connect=5")
    assert shares("mine.json") == {"deferred-setup": 50, "light-connect": 5}
    assert Path("mine.json.previous").exists()


@pytest.mark.parametrize(
    ("typed_share", "says"),
    [
        ("deferred-setpu=5", "has no flag 'deferred-setpu'; nearest: deferred-setup"),
        ("deferred-setup", "--set is 'deferred-setup'; expected FLAG=PERCENT"),
        ("deferred-setup=101", "expected FLAG=PERCENT, a whole number from 0 to 100"),
        ("deferred-setup=2.5", "expected FLAG=PERCENT, a whole number from 0 to 100"),
    ],
)
def test_a_share_that_cannot_be_set_changes_nothing(typed_share: str, says: str) -> None:
    """It says what was wrong and what may be."""
    typed("tune", "--flags", "mine.json", "--set", "light-connect=5")
    before = Path("mine.json").read_bytes()
    code, output, error = typed("tune", "--flags", "mine.json", "--set", typed_share)
    assert (code, output) == (2, "")
    assert says in error
    assert Path("mine.json").read_bytes() == before


def test_tune_shows_what_it_predicts_and_why_it_does_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns; a reason for each flag that does not just wait its turn."""
    monkeypatch.setenv("COLUMNS", "80")
    told = {
        "parallel-init": "room=earlier components=earlier",
        "component-pool": "components=before-job",
        "light-connect": "",
    }
    flags = {name: {**shared(0), "metadata": {"predicts": changes}} for name, changes in told.items()}
    flags["light-connect"]["targeting"] = {"if": [True, "on"]}
    Path("flags.json").write_text(json.dumps({"flags": flags}))
    os.utime("flags.json", (1e8, 1e8))
    start = dataclasses.replace(simulate(SMALL, in_order=True), flags=dict.fromkeys(told, "off"))
    write_starts(Path("traces"), *[start] * 60)
    code, output, error = typed("tune", "--flags", "flags.json", "--traces", "traces")
    assert (code, error) == (0, "")
    assert "\n".join(line.rstrip() for line in output.splitlines()).split("\n", 2)[2] == snapshot("""\

                                    predicted,
flag                  at next       ms earlier measured
parallel-init        0 % start             160 -
component-pool       0 % wait               60 -
light-connect        0 % left alone          - -

parallel-init: start from 0 to 5 %; predicted to save 0.16 s.
light-connect: left alone; its rule was written by hand.
Nothing written; --apply does it.\
""")


def test_a_bad_flag_is_turned_back_and_not_tried_again() -> None:
    """At once, from 50 %; the next look leaves it alone and says why."""
    write(Path("t.jsonl"), experiment(1, 300, World(2.0), World(), flag="parallel-init"))
    flags_at(50)
    code, output, _ = typed("tune", "--flags", "flags.json", "--traces", "t.jsonl", "--apply")
    assert (code, "parallel-init: turn back from 50 to 0 %; p" in output) == (0, True)
    again = json.loads(typed("tune", "--flags", "flags.json", "--traces", "t.jsonl", "--apply", "--json")[1])
    left = next(step for step in again["steps"] if step["flag"] == "parallel-init")
    assert (left["action"], left["to"]) == ("left alone", 0)
    assert left["reason"].startswith("turned back before: p")


@pytest.mark.parametrize(
    ("source", "exits", "says"),
    [
        (["--traces", "none"], 2, "--traces none is not there"),
        (["--jaeger", "http://127.0.0.1:9"], 1, "can't be read"),
        (["--traces", "broken"], 0, "hold; no session to compare since the last move."),
        (["--traces", "half"], 0, "hold; part of the traces could not be read."),
    ],
    ids=["no file", "no Jaeger", "a file of rubbish", "one good file of two"],
)
def test_a_broken_trace_source_changes_nothing(source: list[str], exits: int, says: str) -> None:
    """The flag file is as it was, and what is wrong is said; of a good file beside a broken one the gain isn't trusted."""
    path = flags_at(50)
    for folder in ("broken", "half"):
        Path(folder).mkdir()
        Path(folder, "broken.jsonl").write_text("{rubbish\n" * 20)
    write(Path("half/good.jsonl"), FAST)
    before = path.read_bytes()
    code, output, error = typed("tune", "--flags", "flags.json", "--apply", *source)
    assert code == exits
    assert says in output + error
    assert path.read_bytes() == before
    assert not Path("flags.json.previous").exists()


def test_a_broken_flag_file() -> None:
    """Exit code 2, the file and what is wrong with it."""
    write(Path("t.jsonl"), FAST[:5])
    for content, says in (
        ("{", "flags.json: expected JSON at line 1"),
        ('{"flags": {"theirs": 1}}', "expected a flag of ours"),
    ):
        Path("flags.json").write_text(content)
        code, _, error = typed("tune", "--flags", "flags.json", "--traces", "t.jsonl", "--apply")
        assert (code, says in error) == (2, True)


def test_watch_looks_again_until_ctrl_c() -> None:
    """Sessions come, and the next look ramps; while the flag file is broken it waits; Ctrl-C ends it with 130."""
    path, now = Path("flags.json"), time.time()
    recent = [dataclasses.replace(o, time=now - 20_000 + 10 * number) for number, o in enumerate(FAST)]
    path.write_text(json.dumps({"flags": {"parallel-init": shared(0)}}))
    proven = Move(NO_CHANGE, 0, "no difference", now - 30_000, proven=True)
    FlagFileWriter(path, DRAWN).write([proven, Move("parallel-init", 50, "by hand", now - 30_000)])
    traces = write(Path("t.jsonl"), recent[:40])
    command = [sys.executable, "-m", "firstword", "tune", "--apply", "--watch", "1", "--json", "--flags", "flags.json"]
    with subprocess.Popen([*command, "--traces", "t.jsonl"], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = json.loads(run.stdout.readline())
        assert (first["applied"], first["holding"]) == (None, None)
        whole = path.read_bytes()
        path.write_text("{")
        try:
            assert any('"reason": "flags"' in line for line in run.stdout)
            path.write_bytes(whole)
            write(traces, recent)
            assert any(json.loads(line)["applied"] for line in run.stdout)
        finally:
            run.send_signal(signal.SIGINT)
        run.communicate(timeout=120)
    assert run.returncode == 130
    assert json.loads(path.read_text())["flags"]["parallel-init"]["defaultVariant"] == "on"
    code, output, _ = typed("tune", "--flags", "flags.json", "--history")
    assert code == 0
    assert "parallel-init: ramp from 50 to 100 %\n  it is surely faster" in output


def test_the_history_reads_well_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason that is broken stays set in below its deed."""
    reason = "Jaeger at http://127.0.0.1:16686: it can't be read; possible cause: Connection refused by the server"
    FileStore(Path("flags.json")).record([entry(time.time(), "hold", reason)])
    whole = typed("tune", "--flags", "flags.json", "--history")[1].splitlines()
    assert whole[1:] == [f"  {reason}"]
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    deed, *parts = typed("tune", "--flags", "flags.json", "--history")[1].splitlines()
    assert "hold" in deed
    assert len(parts) == 2
    assert max(map(len, parts)) <= 60
    assert " ".join(part.removeprefix("  ") for part in parts) == reason


def test_one_person_stops_it_at_night() -> None:
    """One command stops it and turns all back; what has no share is named; the history reads well in sixty columns."""
    path = flags_at(50)
    document = json.loads(path.read_text())
    document["flags"]["deferred-setup"] = {**shared(0), "targeting": {"if": [True, "on"]}}
    path.write_text(json.dumps(document))
    code, output, error = typed("tune", "--flags", "flags.json", "--all-off")
    assert (code, shares("flags.json")) == (0, {})
    assert "All shares are 0 now. Before: parallel-init 50 %." in output
    assert "deferred-setup stays as it is: its rule was written by hand" in error
    write(Path("t.jsonl"), FAST)
    assert "since the tuner is stopped" in typed("tune", "--flags", "flags.json", "--traces", "t.jsonl", "--apply")[2]
    assert typed("tune", "--flags", "flags.json", "--resume")[0] == 0
    assert not Path("flags.json.paused").exists()
    assert typed("tune", "--flags", "flags.json", "--pause")[0] == 0
    assert Path("flags.json.paused").exists()
    _, output, _ = typed("tune", "--flags", "flags.json", "--history")
    assert max(map(len, output.splitlines())) <= 60
    assert "…" not in typed("tune", "--help")[1]
    actions = [each["action"] for each in json.loads(typed("tune", "--flags", "flags.json", "--history", "--json")[1])]
    assert actions == ["pause", "all_off", "resume", "pause"]
