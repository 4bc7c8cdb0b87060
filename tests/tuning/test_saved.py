"""Figures saved, read back, and held against those of later."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from firstword.telemetry.record import Outcome
from firstword.tuning.observation import Observation
from firstword.tuning.saved import Change, Figure, SavedError, diff, figures, load, save
from tests.tuning.sessions_drawn import World, experiment

THEN = experiment(1, 600, World(), World())


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    """To a microsecond; what is infinite is null in the file and infinite again, all failed included."""
    for sessions in (THEN, [Observation(Outcome.FAILED, math.inf)] * 50, THEN[:1]):
        saved = figures(sessions)
        save(saved, tmp_path / "startup.json")
        read = load(tmp_path / "startup.json")
        assert read.sessions == saved.sessions
        assert read.figures.keys() == saved.figures.keys()
        for name, figure in saved.figures.items():
            seen = read.figures[name]
            assert (seen.value, seen.interval.low, seen.interval.high) == pytest.approx(
                (figure.value, figure.interval.low, figure.interval.high), abs=1e-6
            )
    names = set(json.loads((tmp_path / "startup.json").read_text())["figures"])
    assert {"ttfw.p50", "ttfw.p90", "ttfw.p99", "errors", "task.account.p50"} <= names


def test_the_same_again_is_noise() -> None:
    """Other sessions of the same kind: nothing is called a change."""
    changes = diff(figures(THEN), figures(experiment(2, 600, World(), World())))
    assert {each.change for each in changes} == {Change.NOISE}


def test_the_task_that_got_slower_is_named() -> None:
    """One task takes twice as long: it stands first among the tasks, and is worse; the others are noise."""
    slower = [
        dataclasses.replace(o, tasks={name: s * (2 if name == "account" else 1) for name, s in o.tasks.items()})
        for o in experiment(2, 600, World(), World())
    ]
    changes = diff(figures(THEN), figures(slower))
    tasks = [each for each in changes if each.name.startswith("task.")]
    assert [each.name for each in tasks[:2]] == ["task.account.p50", "task.account.p90"]
    assert {each.name.rpartition(".")[0] for each in changes if each.change is Change.WORSE} == {"task.account"}
    back = {each.name: each.change for each in diff(figures(slower), figures(THEN))}
    assert back["task.account.p50"] is Change.BETTER


def test_a_task_that_came_and_one_that_went() -> None:
    """They are named as such; nothing is said of their speed."""
    renamed = [dataclasses.replace(o, tasks={"konto": o.tasks.get("account", 0.1)}) for o in THEN]
    changes = {each.name: each.change for each in diff(figures(THEN), figures(renamed))}
    assert (changes["task.account.p50"], changes["task.konto.p50"]) == (Change.GONE, Change.NEW)


def test_never_then_and_never_now_is_no_change() -> None:
    """Infinity less infinity is nothing known."""
    failed = figures([Observation(Outcome.FAILED, math.inf)] * 50)
    assert {each.change for each in diff(failed, failed)} == {Change.NOISE}
    assert isinstance(failed.figures["ttfw.p50"], Figure)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no JSON"),
        ("[]", "is no file of `firstword save`"),
        ('{"sessions": 1}', "is no file of `firstword save`"),
        ('{"firstword": 2}', "has format 2; this firstword reads 1"),
        ('{"firstword": 1, "sessions": 1, "figures": {"ttfw.p50": 1}}', "is no file of `firstword save`"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str, says: str) -> None:
    """The message names the file and what is wrong with it."""
    (tmp_path / "startup.json").write_text(content)
    with pytest.raises(SavedError, match=says):
        load(tmp_path / "startup.json")


def test_a_file_that_is_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    """The reason is the system's."""
    with pytest.raises(SavedError, match="can't be read: No such file"):
        load(tmp_path / "none.json")
    with pytest.raises(SavedError, match="can't be written: Is a directory"):
        save(figures(THEN), tmp_path)
