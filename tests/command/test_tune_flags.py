"""`tune`, `doctor` and the worker on one flag file: the same flags, the same shares, the same reasons."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import SUBJECTS
from firstword.command.__main__ import app
from tests.agent.flag_files import CASES, FILE, flag, shared, text
from tests.command.sessions_written import write
from tests.tuning.sessions_drawn import World, experiment

STARTS = experiment(1, 80, World(), World(), flag="parallel-init")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(FILE, "flags.json")
    monkeypatch.setenv("COLUMNS", "100")


def typed(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def written(content: str | bytes) -> Path:
    path = Path("flags.json")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def findings() -> dict[str, tuple[str, str]]:
    """What doctor says of the file and of single flags: state and detail."""
    found = json.loads(typed("doctor", "--json")[1])["findings"]
    return {each["name"]: (each["state"], each["detail"]) for each in found if each["name"] in (*SUBJECTS, "flags")}


def step(name: str) -> dict[str, Any]:
    """What tune would do with a flag."""
    write(Path("t.jsonl"), STARTS)
    code, output, _ = typed("tune", "--traces", "t.jsonl", "--json")
    assert code == 0
    return next(each for each in json.loads(output)["steps"] if each["flag"] == name)


def test_another_services_flag_is_not_ours() -> None:
    """It is neither listed nor moved, and an edit of it does not begin our count anew."""
    path = written((CASES / "own+foreign.json").read_bytes())  # written just now; the sessions are of last year
    write(Path("t.jsonl"), STARTS)
    output = typed("tune", "--traces", "t.jsonl")[1]
    assert "80 sessions since the last move" in output
    assert "parallel-init: start from 0 to 5 %" in output
    assert "checkoutFast" not in output
    before = path.read_bytes()
    code, _, error = typed("tune", "--set", "checkoutFast=50")
    assert (code, path.read_bytes()) == (2, before)
    assert "flags.json has no flag 'checkoutFast'" in error
    assert typed("tune", "--set", "parallel-init=50")[0] == 0
    foreign = before.partition(b'"checkoutFast"')[2]
    assert path.read_bytes().endswith(b'"checkoutFast"' + foreign)
    assert findings() == {"flags": ("ok", "flags.json; on: parallel-init 50 %")}


def test_a_flag_that_is_on_for_all_by_hand_does_not_begin_the_count_anew() -> None:
    """Only a share in between counts from the file's last change, whoever made it."""
    written(text(parallel_init=flag("off"), light_connect=flag("on")))
    assert step("parallel-init")["action"] == "start"
    written(text(parallel_init=flag("off"), light_connect=shared(50)))
    assert step("parallel-init")["action"] == "wait"


@pytest.mark.parametrize(("name", "percent"), [("own-flag-with-description.json", 100), ("ramp.json", 5)])
def test_a_description_changes_nothing(name: str, percent: int) -> None:
    """Doctor, tune and what tune writes agree; the description stays."""
    path = written((CASES / name).read_bytes())
    os.utime(path, (1e8, 1e8))
    assert findings() == {"flags": ("ok", f"flags.json; on: parallel-init {percent} %")}
    assert step("parallel-init")["percent"] == percent
    code, output, error = typed("tune", "--set", "parallel-init=25")
    assert (code, error) == (0, "")
    assert output.startswith(f"parallel-init: from {percent} to 25 %. Written to")
    assert read(path, SUBJECTS).flags["parallel-init"].percent == 25
    assert b"description" in path.read_bytes()


def test_a_share_that_some_cannot_draw_is_no_share() -> None:
    """On by default it is refused; off by default it works, and is called what it is."""
    by_account = {"fractional": [{"var": "account"}, ["on", 5], ["off", 95]]}
    path = written((CASES / "fractional-by-account-default-on.json").read_bytes())
    state, detail = findings()["parallel-init"]
    assert (state, findings()["flags"]) == ("missing", ("ok", "flags.json; on: none"))
    assert "sessions without an account cannot draw this share and get the default" in detail
    assert step("parallel-init")["action"] == "left alone"
    before = path.read_bytes()
    code, _, error = typed("tune", "--set", "parallel-init=5")
    assert (code, path.read_bytes()) == (2, before)
    assert "workers can't take it: expected `defaultVariant` off" in error
    written(text(parallel_init=flag(targeting=by_account)))
    reason = "sessions without an account cannot draw its share, and get off"
    assert findings() == {"flags": ("ok", f"flags.json; on: parallel-init by a rule ({reason})")}
    assert (step("parallel-init")["action"], step("parallel-init")["reason"]) == ("left alone", reason)
    assert reason in typed("tune", "--set", "parallel-init=5")[2]


def test_steps_are_typed() -> None:
    """Larger ones, for few calls; what is none is said."""
    path = written(text(parallel_init=shared(0)))
    os.utime(path, (1e8, 1e8))
    write(Path("t.jsonl"), STARTS)
    code, output, _ = typed("tune", "--traces", "t.jsonl", "--steps", "20,50,100")
    assert (code, "parallel-init: start from 0 to 20 %" in output) == (0, True)
    code, _, error = typed("tune", "--traces", "t.jsonl", "--steps", "50,5")
    assert (code, "--steps is '50,5'; expected two to ten percentages that grow to 100" in error) == (2, True)


def test_a_bad_flag_stops_no_other() -> None:
    """Whoever must turn a flag off now can, whatever is wrong with another; and is told of that."""
    path = written(
        text(light_connect=shared(50), parallel_init=flag("on", {"fractional": [["on", 2.5], ["off", 97.5]]}))
    )
    code, output, error = typed("tune", "--set", "light-connect=0")
    assert (code, read(path, SUBJECTS).flags["light-connect"].percent) == (0, 0)
    assert output.startswith("light-connect: from 50 to 0 %.")
    assert "workers can't take parallel-init: expected whole numbers in `fractional`, found 2.5" in error
    assert "its last good rule" in str(json.loads(typed("doctor", "--json")[1]))


def test_what_may_not_be_meant_is_said() -> None:
    """A flag that stands twice, one letter too few."""
    written((CASES / "duplicate-key.json").read_bytes())
    said = "parallel-init stands twice, and the last one counts"
    assert said in typed("doctor")[1]
    assert said in typed("tune", "--set", "parallel-init=5")[2]
    written(text(paralel_init=flag("on"), light_connect=flag("off")))
    assert findings()["flags"] == ("doubtful", "no flag is named paralel-init; nearest is parallel-init")


@pytest.mark.parametrize("name", ["flags-as-a-list.json", "with-comments.jsonc"])
def test_a_file_that_is_none_gets_the_same_words(name: str) -> None:
    """From doctor, from tune and, in its log, from the worker."""
    written((CASES / name).read_bytes())
    write(Path("t.jsonl"), STARTS)
    state, detail = findings()["flags"]
    assert (state, detail.startswith("flags.json: expected ")) == ("missing", True)
    for arguments in (["--set", "parallel-init=5"], ["--traces", "t.jsonl"]):
        code, _, error = typed("tune", *arguments)
        assert (code, error.splitlines()[-1].endswith(f"/{detail}")) == (2, True)


def test_a_disabled_flag_is_called_so() -> None:
    """It has no rule of its own; somebody switched it off."""
    written(text(parallel_init=flag("on", state="DISABLED")))
    assert "has no share to set in flags.json: it is DISABLED" in typed("tune", "--set", "parallel-init=5")[2]
    assert step("parallel-init")["reason"] == "it is DISABLED"


@pytest.mark.parametrize("path", ["x" * 300 + ".json", "no folder/flags.json", ".", "loop"])
def test_a_path_that_cannot_be_is_one_line(path: str) -> None:
    """Too long, in no folder, a folder, a link to itself."""
    Path("loop").symlink_to("loop")
    code, _, error = typed("tune", "--flags", path, "--set", "parallel-init=5")
    assert (code, error.count("\n")) == (2, 1)
    assert "expected a file that can be" in error
