"""`firstword plot`: the file it writes, and what it says of what it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.command.__main__ import app
from tests.command.account_line import without_account
from tests.tuning.test_blame import a_start
from tests.tuning.written import write


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every command runs in an empty folder and knows no rehearsal but those of its test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword plot ARGUMENTS`."""
    result = CliRunner().invoke(app, ["plot", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, without_account(result.stderr)


@pytest.mark.parametrize(("name", "begins"), [("a.svg", "<?xml"), ("a.HTML", "<!DOCTYPE html>")])
def test_the_median_session_is_drawn_to_the_file(tmp_path: Path, name: str, begins: str) -> None:
    """In the format its name says; the source comes first."""
    write(tmp_path / "traces", a_start(200), a_start(300), a_start(400))
    code, out, error = typed("-o", name, "--traces", "traces")
    assert (code, error) == (0, "")
    assert out == f"Traces: traces\nFirst word after 490 ms\nWritten: {name}\n"
    assert (tmp_path / name).read_text().startswith(begins)


def test_many_sessions_and_one_by_id(tmp_path: Path) -> None:
    """JSON names the file and whose traces are in it."""
    ids = write(tmp_path / "traces", a_start(200), a_start(300))
    code, out, error = typed("--many", "-o", "a.html", "--traces", "traces", "--json")
    assert (code, error) == (0, "Traces: traces\n")
    assert json.loads(out) == {
        "file": "a.html",
        "title": "Time to first word of 2 sessions",
        "trace_ids": ids,
        "began": ["2026-11-18T11:06:40.000000Z"] * 2,
        "method": "exact",
    }
    for chosen, expected in (([ids[0][:12]], ids[0]), (["--slowest"], ids[1])):
        code, out, _ = typed(*chosen, "-o", "a.svg", "--traces", "traces", "--json")
        assert (code, json.loads(out)["trace_ids"]) == (0, [expected])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-o", "a.png", "--traces", "traces"], 2, "--output a.png ends in neither; expected FILE.svg or FILE.html"),
        (["--traces", "traces"], 2, "Missing option"),
        (["abcd", "--many", "-o", "a.svg", "--traces", "traces"], 2, "are three pictures; give one"),
        (["feed", "-o", "a.svg", "--traces", "traces"], 1, "no session feed in traces"),
        (
            ["-o", "none/a.svg", "--traces", "traces"],
            2,
            "--output none/a.svg can't be written: No such file or directory",
        ),
        (["-o", "a.svg", "--traces", "traces", "--service", "shop"], 1, "no trace in traces with this --service"),
        (
            ["--many", "-o", "a.svg", "--traces", "traces", "--service", "shop"],
            1,
            "no trace in which a caller was there",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """On standard error; no file is left, never a traceback."""
    write(tmp_path / "traces", a_start(200))
    found, out, error = typed(*arguments)
    assert (found, out) == (code, "")
    assert says in " ".join(error.replace("│", " ").split())
    assert not list(tmp_path.glob("a.*"))
