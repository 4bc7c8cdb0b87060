"""The pages of commands list what there is: each option of the rehearsal, and each key of the JSON that is called stable."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from firstword.command.__main__ import SUBCOMMANDS, imported
from firstword.command.doctor import Finding
from firstword.command.up import StackAddresses
from firstword.rehearsal.result import Missed, ProfileFigures, Quantiles, Result
from firstword.telemetry.record import Dispatch
from firstword.tuning.slow import as_json
from firstword.tuning.start import Method, RecordedStart

ROOT = Path(__file__).parents[2]
ONE_S = Quantiles(1, 1, 1, 1)
START = RecordedStart("a", "b", "session.startup", 0, 1, Method.EXACT, ())
RESULT = Result({"by-name": ProfileFigures(1, 0, 0, ONE_S, ONE_S, ONE_S, Missed(0, 0, 0, 0))}, Dispatch.JOIN, {}, {})


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["audit", "rehearse"])
def test_each_option_is_in_its_page(name: str) -> None:
    """And none that there isn't."""
    listed = re.findall(r"^\| `(--[\w-]+)`", page(name), re.MULTILINE)
    options = [option.opts[0] for option in imported(name).params]
    assert sorted(listed) == sorted(option for option in options if option.startswith("--"))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("rehearse", re.findall(r'"(\w+)":', json.dumps(RESULT.as_json()))),
        ("sessions", list(as_json(START, None))),
        ("up", [field.name for field in fields(StackAddresses)]),
        ("doctor", ["healthy", *(field.name for field in fields(Finding))]),
    ],
)
def test_each_key_is_in_its_page(name: str, names: list[str]) -> None:
    """In the table, by its name."""
    rows = " ".join(row.split("|")[1] for row in page(name).splitlines() if re.match(r"\| `\w", row))
    assert set(re.findall(r"`(\w+)`", rows)) == set(names)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_ends_with_exit_status_and_a_page_that_is_there(name: str) -> None:
    """As a page of a manual does; that page has the command."""
    (named,) = re.findall(r"docs/([\w-]+)\.md", imported(name).epilog or "")
    assert f"firstword {name}" in page(named)
    assert "Exit status" in (imported(name).epilog or "")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_command_has_json_and_a_page_that_says_so(name: str) -> None:
    """The README promises it of every one."""
    assert any("--json" in option.opts for option in imported(name).params)
    pages = " ".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs").glob("*.md"))
    assert f"firstword {name}" in pages
