"""What a command says of what it read: one line that adds up to all that was there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.command.__main__ import app
from tests.tuning.test_foreign_files import TRACES
from tests.tuning.written import otlp_span, request


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def account(*arguments: str) -> str:
    """The line of `firstword ARGUMENTS`."""
    result = CliRunner().invoke(app, arguments)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Read: ")]
    return line


@pytest.mark.parametrize("command", [["blame"], ["critical-chain"], ["plot", "--many", "-o", "a.svg"]])
def test_all_that_is_in_a_folder_is_in_the_line(command: list[str]) -> None:
    """Eight files: two of traces, one of them with a loss, two of other things, three with other endings, one cut."""
    folder = Path("traces")
    folder.mkdir()
    shutil.copy(TRACES / "otlp.jsonl.gz", folder)
    shutil.copy(TRACES / "jaeger-error-answer.json", folder)
    (folder / "more.jsonl").write_text(
        request([otlp_span("more", 1, None, 0, 5, links=[{"traceId": "?"}]), {"name": "nameless"}])
        + '{"resourceMetrics": []}\n' * 4
    )
    (folder / "metrics.json").write_text('{"resourceMetrics": [{}]}')
    (folder / "cut.json").write_text('{"resourceSpans": [')
    for name in ("a.log", "b.log", "README"):
        (folder / name).write_text("text")
    assert account(*command, "--traces", "traces") == (
        "Read: 2 files, 4 spans, 2 traces; "
        "passed over: 5 files (2 .log, no ending, an error's answer: trace not found, only metrics), "
        "4 documents of metrics; left out: 1 value that can't be kept; lost: 2 problems, 1 whole file among them"
    )


def test_what_narrows_is_said() -> None:
    """Else the number of traces would look like all there are."""
    Path("t.jsonl").write_text(
        "".join(request([otlp_span("x", 1, None, n, n + 5, traceId=f"{n:032x}")]) for n in range(1, 5))
    )
    assert account("blame", "--traces", "t.jsonl", "--limit", "3") == (
        "Read: 1 file, 4 spans, 3 traces with this --limit"
    )
