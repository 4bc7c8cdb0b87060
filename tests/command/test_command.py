"""The `firstword` command: its help, its errors, and what its tables show."""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from firstword.agent.flags.location import shipped_file
from firstword.command.__main__ import SUBCOMMANDS, app, imported
from firstword.command.rehearse import _remarks, _tables  # pyright: ignore[reportPrivateUsage]
from firstword.rehearsal.result import Missed, ProfileFigures, Quantiles, Result, Session
from firstword.telemetry.record import Dispatch

COMMAND = [sys.executable, "-m", "firstword"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every command runs in an empty folder, remembers nothing, and finds no stack of `firstword up`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def typed(*arguments: str, shell: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword ARGUMENTS`."""
    result = CliRunner().invoke(app, arguments, env=shell)
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_subcommand_and_imports_none() -> None:
    """Help comes at once: neither LiveKit nor a subcommand's module is imported for it."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "firstword", "--help"], capture_output=True, text=True, check=True
    )
    assert all(name in run.stdout for name in SUBCOMMANDS)
    modules = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    subcommands = {f"firstword.command.{name.replace('-', '_')}" for name in SUBCOMMANDS}
    assert {"typer", "firstword.command.__main__"} <= modules
    assert not modules & {"livekit", "numpy", "firstword.rehearsal", "firstword.agent", *subcommands}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_list_says_what_a_subcommand_says_of_itself(name: str) -> None:
    """The line in the list is the first line of the subcommand's own help, though the list does not import it."""
    assert (imported(name).help or "").splitlines()[0] == SUBCOMMANDS[name]


def test_version_and_a_subcommand_nobody_knows() -> None:
    """The version alone; the nearest name for a typo, and exit code 2."""
    assert typed("--version")[:2] == (0, "firstword 0.1.0\n")
    code, _, error = typed("rehaerse")
    assert code == 2
    assert "Did you mean 'rehearse'?" in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "tunde"], "no profile or flag is named 'tunde'; there is: tuned"),
        (["--profile", "parallel-init,deferred-setpu"], "'deferred-setpu'; there is: deferred-setup"),
        (["--providers", "none.toml"], "none.toml: can't be read"),
        (["--providers", "wrong.toml"], "llm.tokens: is unknown"),
        (["--agent", "none.py"], "--agent none.py is not there; expected the Python file of an agent"),
        (["--rate", "0"], "--rate is 0; expected"),
        (["--rate", "nan"], "--rate is nan; expected"),
        (["--sessions", "0"], "greater than or equal to 1"),
        (["--concurrency", "-1"], "greater than or equal to 1"),
        (["--ahead-by", "-1"], "greater than or equal to 0"),
        (["--ahead-by", "inf"], "--ahead-by is inf; expected"),
        (["--dispatch", "late"], "'join', 'ahead'"),
        (["--strangers", "--real"], "--real uses the store you have"),
        (["--flags", "none.json"], "--flags none.json: expected a file that can be read"),
        (["--flags", "wrong.toml"], "--flags wrong.toml:"),
        (["--output", "full"], "--output full is not empty"),
        (["--output", "wrong.toml"], "wrong.toml can't be made or read"),
    ],
)
def test_bad_input_gets_a_reason_and_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    """It says what was wrong and what may be, without a traceback, and leaves no folder behind."""
    (tmp_path / "wrong.toml").write_text("[llm]\ntokens = 1\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a file").touch()
    code, output, error = typed("rehearse", *arguments)
    assert (code, output) == (2, "")
    assert says in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error
    assert not (tmp_path / "rehearsals").exists()


def test_real_without_keys_names_them() -> None:
    """Exit code 1, one line, nothing started."""
    code, _, error = typed("rehearse", "--real", shell={"OPENAI_API_KEY": "sk-hidden"})
    assert (code, error) == (1, "firstword: --real needs DEEPGRAM_API_KEY in the environment or in .env.local\n")


def figures(
    ttfw: Quantiles | None, heard: Quantiles, errors: int = 0, untraced: int = 0, missed: Missed | None = None
) -> ProfileFigures:
    return ProfileFigures(20, errors, 0, ttfw, ttfw, heard, missed, untraced)


RESULT = Result(
    profiles={
        "floor": figures(None, Quantiles(0.5, 0.5, 0.6, 0.6), missed=Missed(0, 0, 0, 0)),
        "baseline": figures(Quantiles(1.5, 2.25, math.inf, math.inf), Quantiles(1.6, 2.5, math.inf, math.inf), 1, 2),
        "tuned": figures(Quantiles(1, 1, 1, 1), Quantiles(1, 1, 1, 1), missed=Missed(3, 640, 0, 20)),
        "parallel-init,lazy-room-options,light-connect": figures(Quantiles(1, 1, 1, 1), Quantiles(1, 1, 1, 1)),
    },
    dispatch=Dispatch.JOIN,
    providers={},
    versions={},
    sessions=[Session("baseline", f"room-{n}", None, None, "nothing heard within 20 s") for n in range(5)],
)


def test_the_tables_fit_sixty_columns_and_cut_no_text() -> None:
    """A long profile name is folded, a figure never; ratios to the floor stand beside what callers heard."""
    out = io.StringIO()
    console = Console(file=out, width=60)
    for table in _tables(RESULT):
        console.print(table)
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 60
    assert "…" not in out.getvalue()
    folded = "".join(line[:22].strip() for line in lines)
    assert [" ".join(line.split()) for line in lines if "of 20" in line] == ["tuned, 3 of 20 640 0 20"]
    assert folded.count("parallel-init,lazy-room-options,light-connect") == 4
    assert [" ".join(line.split()) for line in lines if line.startswith("baseline")] == [
        "baseline 1.50 2.25 never",
        "baseline 1.50 2.25 never",
        "baseline 1.60 x3.2 2.50 x5.0 never",
        "baseline 20 1 0",
    ]


def test_the_remarks_say_what_went_wrong() -> None:
    """A few of the unheard callers with the reason, how many more there are, and which sessions left no trace."""
    remarks = list(_remarks(RESULT))
    assert len(remarks) == 5
    assert remarks[0] == "A caller of baseline heard nothing: nothing heard within 20 s (room room-0)"
    assert remarks[3:] == [
        "... and 2 more callers",
        "2 of 20 sessions of baseline left no trace, and count in no figure of it.",
    ]


def test_doctor_says_what_is_set_and_never_what_it_is(tmp_path: Path) -> None:
    """Keys count from `.env.local` too; a wrong setting and a collector that is away are faults, so exit code 1."""
    (tmp_path / ".env.local").write_text("DEEPGRAM_API_KEY=dg-hidden\n")
    shell = {
        "OPENAI_API_KEY": "sk-hidden",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hidden@127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "FIRSTWORD_SLOW": "soon",
        "FIRSTWORD_PROFILE": "tunde",
    }
    code, output, _ = typed("doctor", "--json", shell=shell)
    report = json.loads(output)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert (code, report["healthy"]) == (1, False)
    assert [found[name]["state"] for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY")] == ["ok", "ok"]
    assert found["LIVEKIT_API_SECRET"]["state"] == "absent"
    for name in ("collector", "collector, metrics"):
        assert found[name]["state"] == "missing"
        assert found[name]["detail"].startswith("OTEL_EXPORTER_OTLP_ENDPOINT: ")
        assert "to 127.0.0.1:9 over http/protobuf don't arrive: [Errno 111] Connection refused" in found[name]["detail"]
    assert found["FIRSTWORD_SLOW"]["state"] == "missing"
    assert "seconds" in found["FIRSTWORD_SLOW"]["detail"]
    assert "tuned" in found["flags"]["detail"]
    assert "hidden" not in output + typed("doctor", shell=shell)[1]


def test_doctor_says_what_the_flag_file_turns_on(tmp_path: Path) -> None:
    """Each flag with its share, or what is broken in the file; without one of the user's own the shipped file."""

    def flags(**variables: str) -> dict[str, str]:
        _, output, _ = typed("doctor", "--json", shell=variables)
        return next(finding for finding in json.loads(output)["findings"] if finding["name"] == "flags")

    assert f"{shipped_file()}; on: parallel-init 100 %, " in flags()["detail"]
    own = tmp_path / "flags.json"
    variants = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    disabled = {**variants, "state": "DISABLED", "defaultVariant": "on"}
    share = {"fractional": [["on", 5], ["off", 95]]}
    rule = {"if": [{"==": [{"var": "account"}, "1001"]}, "on", "off"]}
    document = {"light-connect": {**variants, "targeting": share}, "account-cache": {**variants, "targeting": rule}}
    own.write_text(json.dumps({"flags": {**document, "parallel-init": variants, "deferred-setup": disabled}}))
    found = flags(FLAGD_OFFLINE_FLAG_SOURCE_PATH=str(own))
    assert (found["state"], found["detail"]) == ("ok", f"{own}; on: light-connect 5 %, account-cache by a rule")
    own.write_text(json.dumps({"flags": {"light-connect": {**variants, "state": "ON"}}}))
    found = flags(FLAGD_OFFLINE_FLAG_SOURCE_PATH=str(own))
    assert (found["state"], found["detail"]) == ("ok", f"{own}; on: none")
    own.unlink()
    found = flags(FLAGD_OFFLINE_FLAG_SOURCE_PATH=str(own))
    assert (found["state"], found["detail"]) == (
        "missing",
        f"{own}: expected a file that can be read; possible cause: No such file or directory",
    )
    assert flags(FLAGD_RESOLVER="files")["detail"].startswith("FLAGD_RESOLVER is 'files'; expected `file`")


def test_doctor_names_a_server_that_cannot_be_had(tmp_path: Path) -> None:
    """Without PATH, cache and Go the LiveKit server is missing; Jaeger is optional."""
    code, output, _ = typed("doctor", "--json", shell={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    state = {finding["name"].split()[0]: finding["state"] for finding in json.loads(output)["findings"]}
    go_is_a_wheel = state["livekit-server"] == "absent"
    assert (code, state["livekit-server"]) in ((0, "absent"), (1, "missing"))
    assert state["jaeger"] == "absent"
    assert go_is_a_wheel == (code == 0)


@pytest.mark.real
def test_ctrl_c_ends_all_and_keeps_what_there_is(tmp_path: Path) -> None:
    """Exit code 130, the sessions that had ended in the table and on disk, and no process left."""
    command = [*COMMAND, "rehearse", "--profile", "floor", "--sessions", "50", "--output", "out"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "60"}
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("session"):
                break
        run.send_signal(signal.SIGINT)
        output, error = run.communicate(timeout=120)
    assert run.returncode == 130
    assert output.startswith("LiveKit: a server of its own on this machine. Providers: simulated.\n")
    (ended,) = re.findall(r"^Interrupted; sessions that had ended by then: (\d+)\.$", output, re.MULTILINE)
    assert "Traceback" not in error
    assert json.loads((tmp_path / "out" / "result.json").read_text())["profiles"]["floor"]["sessions"] == int(ended)
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        assert str(tmp_path) not in _words(process)


def _words(command_line: Path) -> str:
    try:
        return command_line.read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return ""
