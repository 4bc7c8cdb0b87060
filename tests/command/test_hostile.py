"""Nothing that is in a trace, and nothing that a machine lacks, ends a command with a traceback or writes to the terminal but text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firstword.command.__main__ import app
from firstword.command.edge import guarded
from tests.command.sessions_written import write
from tests.command.test_statistics_commands import FAST, flags_at
from tests.tuning.written import jaeger_span, jaeger_trace, otlp_span, request

ESCAPES = "\x1b]0;owned\x07\x1b[2J\rforged\nfirstword: forged line\u202e\ud800\x9b31m"
EMOJI = "queue:email:send [bold]"
COMMANDS = (
    ["critical-chain"],
    ["blame"],
    ["blame", "--folded"],
    ["plot", "-o", "a.svg"],
    ["plot", "--many", "-o", "a.html"],
    ["compare", "--by", "parallel-init"],
    ["what-if", "account=0.5"],
    ["check", "--slo", "ttfw.p90<1.5"],
    ["save", "startup.json"],
    ["diff", "saved.json"],
    ["tune", "--flags", "flags.json"],
    ["sessions"],
)
PRINTABLE = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]*")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """In an empty folder with a flag file and saved figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    flags_at(50)
    Path("saved.json").write_text('{"firstword": 1, "sessions": 0, "figures": {}}')


def ours(told: dict[str, Any], name: str = "account", task: dict[str, Any] | None = None) -> str:
    """A start of ours with these attributes on its root, and one task of that name with its own."""
    begin: dict[str, Any] = {
        "startup.outcome": "first_word",
        "startup.ttfw": 1.0,
        "startup.flag.parallel-init": "on",
        "lk.room_sid": "RM_1",
    }
    spans = [
        otlp_span("session.startup", 1, None, 0, 1_000_000, attributes=marks({**begin, **told})),
        otlp_span("connect", 2, 1, 0, 1_000_000),
        otlp_span(f"critical {name}", 3, 2, 0, 1_000_000, attributes=marks({"startup.task": name})),
        otlp_span(
            name, 4, 1, 0, 1_000_000, attributes=marks({"startup.critical": 1.0, "startup.slack": 0.0, **(task or {})})
        ),
    ]
    return request(spans, "firstword")


def marks(told: dict[str, Any]) -> list[dict[str, Any]]:
    kinds: dict[type, str] = {bool: "boolValue", str: "stringValue", float: "doubleValue", int: "intValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in told.items()]


HOSTILE = {
    "control characters": ours({"lk.room_sid": ESCAPES, f"startup.flag.{ESCAPES}": ESCAPES}, ESCAPES),
    "deep needs": ours({}, task={"startup.needs": "[" * 1000}),
    "a double of 400 digits": ours({"startup.ttfw": float("1e308"), "startup.sampling.percent": 5e-324}),
    "not a number": ours({}, task={"startup.drag": "NaN", "startup.critical": 1.0}),
    "an integer too large": ours({"startup.fallbacks": 10**400}),
    "drags that add up to infinity": ours({}, task={"startup.drag": 1.5e308}) * 2,
    "another kind of piece": ours({}).replace("critical account", "critical xyz").replace("startup.task", "x"),
    "deep attributes": request(
        [
            otlp_span(
                "x",
                1,
                None,
                0,
                9,
                attributes=[{"key": "k", "value": json.loads('{"arrayValue": {"values": [' * 200 + "]}}" * 200)}],
            )
        ]
    ),
    "control characters of others": request(
        [otlp_span(ESCAPES, 1, None, 0, 9, attributes=[{"key": ESCAPES}])], ESCAPES
    ),
    "an unknown document": json.dumps({ESCAPES: 1}),
    "emoji codes": request([otlp_span(EMOJI, 1, None, 0, 9)]),
    "Jaeger's large integers": json.dumps(
        {
            "data": [
                jaeger_trace(
                    {
                        **jaeger_span("session.startup", "1", None, 0, 9),
                        "tags": [
                            {"key": "startup.outcome", "value": "first_word"},
                            {"key": "startup.ttfw", "value": 10**400},
                            {"key": "startup.sampling.percent", "value": 10**400},
                        ],
                    }
                )
            ]
        }
    ),
    "an integer of 5000 digits": '{"resourceSpans": [{"scopeSpans": [{"spans": [{"n": ' + "9" * 5000 + "}]}]}]}",
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_no_trace_ends_a_command_or_draws(command: list[str], content: str) -> None:
    """Alone and beside good ones; as JSON too, which stays JSON."""
    write(Path("good.jsonl"), FAST[:6])
    good = Path("good.jsonl").read_text()
    for number, text in enumerate((content, f"{good}\n{content}")):
        file = Path(f"t{number}.json")
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        for arguments in ([*command, "--traces", str(file)], [*command, "--traces", str(file), "--json"]):
            result = CliRunner().invoke(app, arguments)
            assert result.exception is None or isinstance(result.exception, SystemExit)
            assert result.exit_code in (0, 1, 2)
            for shown in (result.stdout, result.stderr):
                assert PRINTABLE.fullmatch(shown)
                assert not any(line == "forged" or line.startswith("firstword: forged") for line in shown.splitlines())
            if "--json" in arguments and result.stdout and "--folded" not in arguments:
                json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
def test_a_name_is_shown_as_it_is(command: list[str]) -> None:
    """No emoji for its code, no style for its brackets."""
    Path("t.json").write_text(HOSTILE["emoji codes"])
    assert EMOJI in CliRunner().invoke(app, [*command, "--traces", "t.json"]).stdout


@pytest.mark.parametrize("name", ["a.svg", "a.html"])
def test_a_picture_of_a_hostile_trace_is_well_formed(name: str) -> None:
    """And has no letter that XML has no place for."""
    Path("t.json").write_text(HOSTILE["control characters"], encoding="utf-8", errors="surrogatepass")
    assert CliRunner().invoke(app, ["plot", "-o", name, "--traces", "t.json"]).exit_code == 0
    assert PRINTABLE.fullmatch(Path(name).read_text(encoding="utf-8"))


def run(*arguments: str, shell: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """`firstword ARGUMENTS` in a process of its own; with `shell`, that shell is its parent."""
    environment = {**os.environ, **options.pop("env", {})}
    command = [sys.executable, "-m", "firstword", *arguments]
    if shell:
        command = [shell, "-c", '"$@"; exit $?', shell, *command]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, text=True, check=False, timeout=120, env=environment, **options)


def test_a_full_disk_is_said_in_one_line() -> None:
    """Of standard output, whichever command; exit code 1."""
    write(Path("t.jsonl"), FAST[:3])
    with Path("/dev/full").open("w") as full:
        for command in (["blame"], ["critical-chain", "--json"], ["--help"]):
            traces = [] if command == ["--help"] else ["--traces", "t.jsonl"]
            done = run(*command, *traces, stdout=full)
            (line,) = [line for line in done.stderr.splitlines() if line.startswith("firstword: ")]
            assert (done.returncode, line) == (1, "firstword: the output can't be used: No space left on device")
            assert "Traceback" not in done.stderr


def test_a_pipe_that_nobody_reads_ends_it_quietly() -> None:
    """As `| head -1` does."""
    write(Path("t.jsonl"), FAST[:3])
    reading, writing = os.pipe()
    os.close(reading)
    done = run("blame", "--traces", "t.jsonl", stdout=writing)
    os.close(writing)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("Read: ")] == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_will_do(encoding: str) -> None:
    """The tree is drawn with what there is."""
    write(Path("t.jsonl"), FAST[:3])
    done = run("critical-chain", "--traces", "t.jsonl", env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert done.stdout.isascii()
    assert "|-" in done.stdout or "`-" in done.stdout


@pytest.mark.parametrize("arguments", [["rehearse"], ["--install-completion"], ["blame"]], ids=" ".join)
def test_a_home_that_cannot_be_written_to(arguments: list[str]) -> None:
    """One line with the path and the reason. The parent is bash, since completion is installed for the parent's shell."""
    done = run(
        *arguments,
        env={"HOME": "/sys", "XDG_STATE_HOME": "/sys/state", "XDG_CACHE_HOME": "/sys/cache"},
        cwd="/sys",
        shell="bash",
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.splitlines()[-1].startswith("firstword: ")


def test_a_fault_of_ours_leaves_a_line_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is for who reports it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken() -> None:
        raise KeyError("x\x1b[2J")

    assert guarded(broken) == 1
    error = capsys.readouterr().err
    assert error.startswith("firstword: a fault in firstword: KeyError: 'x\\x1b[2J'; where it happened is in ")
    assert "in broken" in Path(error.rpartition(" ")[2].strip()).read_text()


@pytest.mark.timeout(240)
def test_watching_outlives_any_look() -> None:
    """Also one that ends in a fault of ours; what is right again is read again."""
    write(Path("t.jsonl"), FAST[:40])
    code = "import firstword.command.tuner.decision as t, sys; before, looks = t.plan, iter([0, 1])\n" + (
        "def plan(*a, **k):\n    if next(looks, 1) == 0: raise KeyError('no such thing')\n    return before(*a, **k)\n"
        "t.plan = plan; from firstword.command.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, "tune", "--watch", "1", "--json", "--flags", "flags.json"]
    with subprocess.Popen(
        [*command, "--traces", "t.jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert json.loads(watching.stdout.readline())["source"] == "t.jsonl"
        watching.send_signal(signal.SIGINT)
        error = watching.stderr.read()
        time.sleep(0)
        watching.communicate(timeout=120)
    assert watching.returncode == 130
    assert "hold; KeyError: 'no such thing'" in error
