"""The options that all commands share which read traces."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.command.__main__ import app, imported
from firstword.command.instants import instant_ns
from tests.tuning.answering import answering

READS_TRACES = ("critical-chain", "sessions", "blame", "plot", "what-if", "compare", "tune", "check", "save", "diff")


def options_of(name: str) -> list[tuple[list[str], object]]:
    """Each option of a command with its default, in the order of its help."""
    return [(option.opts, option.default) for option in imported(name).params]


@pytest.mark.parametrize("name", READS_TRACES)
def test_they_stand_last_and_are_the_same_in_each(name: str) -> None:
    """Who knows one command knows them all: `save` has no other option."""
    shared = options_of("save")[1:]
    assert [opts[0] for opts, _ in shared] == [
        *("--last", "--jaeger", "--header", "--traces", "--since", "--until", "--service", "--limit", "--json")
    ]
    assert options_of(name)[-len(shared) :] == shared


NOW = datetime(2026, 11, 29, 13, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", "2026-11-29T13:28:30+01:00"),
        ("1.5h", "2026-11-29T12:00:00+01:00"),
        ("2 h ago", "2026-11-29T11:30:00+01:00"),
        ("1w", "2026-11-22T13:30:00+01:00"),
        ("now", "2026-11-29T13:30:00+01:00"),
        ("today", "2026-11-29T00:00:00+01:00"),
        ("Yesterday", "2026-11-28T00:00:00+01:00"),
        ("9:05", "2026-11-29T09:05:00+01:00"),
        ("14:00", "2026-11-28T14:00:00+01:00"),
        ("2026-11-23", "2026-11-23T00:00:00+01:00"),
        ("2026-11-23T10:00", "2026-11-23T10:00:00+01:00"),
        ("2026-11-23 10:00:30z", "2026-11-23T10:00:30+00:00"),
    ],
)
def test_times_are_as_people_write_them(text: str, expected: str) -> None:
    """A clock's time is the last one; what names no zone is local."""
    assert instant_ns(text, NOW) == int(datetime.fromisoformat(expected).timestamp()) * 10**9


@pytest.mark.parametrize("text", ["", "soon", "25:00", "1y", "-5m", "999999999w", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Also what no clock can tell."""
    with pytest.raises(ValueError, match=r"."):
        instant_ns(text, NOW)


def test_headers_go_to_jaeger_alone(tmp_path: Path) -> None:
    """From the command line, and from a file, where no list of processes shows them; none is repeated in an error."""
    (tmp_path / "headers").write_text("Authorization: Bearer abc\n\nX-Scope-OrgID:7\n")
    heard: list[Mapping[str, str]] = []
    with answering(403, b"no", heard) as url:
        sent = ["--header", "A: b", "--header", f"@{tmp_path / 'headers'}"]
        result = CliRunner().invoke(app, ["blame", "--jaeger", url, *sent])
    assert (result.exit_code, "abc" in result.stderr) == (1, False)
    assert {key: heard[0][key] for key in ("a", "authorization", "x-scope-orgid")} == {
        "a": "b",
        "authorization": "Bearer abc",
        "x-scope-orgid": "7",
    }


@pytest.mark.parametrize("text", ["Bearer abc", "a\nb: c", "x: \x00", "@none"])
def test_what_is_no_header_is_refused(text: str) -> None:
    """Without what was typed: it may be a secret."""
    result = CliRunner().invoke(app, ["blame", "--jaeger", "http://127.0.0.1:1", "--header", text])
    assert result.exit_code == 2
    assert "--header" in result.stderr
    assert "abc" not in result.stderr
