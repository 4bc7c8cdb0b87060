"""firstword.agent.flags.writer: a share is moved, all else in the file stays byte for byte, and nothing is written that workers refuse."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core.targeting import custom_ops

from firstword.agent.flags import writer as writing
from firstword.agent.flags.flag_file import FlagFileError, read
from firstword.agent.flags.improvements import DRAWN, NO_CHANGE, SUBJECTS
from firstword.agent.flags.location import shipped_file
from firstword.agent.flags.writer import FlagFileWriter, Move, begin
from tests.agent.flag_files import CASES, flag, shared, text

NOW = 1_795_000_000.0
FLAG = "parallel-init"


def file_of(folder: Path, **flags: Any) -> Path:
    path = folder / "flags.json"
    path.write_text(text(**flags))
    return path


def moved(path: Path, percent: int, flag: str = FLAG) -> None:
    FlagFileWriter(path, SUBJECTS).write([Move(flag, percent, "why", NOW)])


def rule(path: Path) -> list[Any]:
    return json.loads(path.read_bytes())["flags"][FLAG]["targeting"]["fractional"]


def test_a_share_is_what_flagd_gives_and_what_is_read_back(tmp_path: Path) -> None:
    """Of 5,000 keys about as many get `on` as were asked for, those that had it keep it when the share grows, and
    the file says the same share again."""
    path = file_of(tmp_path, parallel_init=flag())
    had: set[str] = set()
    for percent in (5, 25, 50, 100):
        moved(path, percent)
        assert read(path, SUBJECTS).flags[FLAG].percent == percent
        on = {
            key
            for key in map(str, range(5000))
            if custom_ops.fractional({"targetingKey": key, "$flagd": {"flagKey": FLAG}}, *rule(path)) == "on"
        }
        assert len(on) / 50 == pytest.approx(percent, abs=1.5)
        assert had <= on
        had = on


def test_the_file_before_is_kept_and_the_reason_stands_in_the_new_one(tmp_path: Path) -> None:
    """No other file is left behind, the rights stay, and a turned-back flag is remembered until it moves again."""
    path = file_of(tmp_path, parallel_init={**shared(50), "metadata": {"changes": "voice=gone"}})
    path.chmod(0o640)
    before = path.read_bytes()
    FlagFileWriter(path, SUBJECTS).write([Move(FLAG, 0, "more errors", NOW, turned_back=True)])
    assert (tmp_path / "flags.json.previous").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flags.json", "flags.json.previous"]
    assert json.loads(path.read_text())["flags"][FLAG]["metadata"] == {
        "changes": "voice=gone",
        "tune.percent": 0,
        "tune.since": "2026-11-18T11:06:40+00:00",
        "tune.reason": "more errors",
        "tune.turned_back": True,
    }
    assert path.stat().st_mode & 0o777 == 0o640
    moved(path, 5)
    assert "tune.turned_back" not in read(path, SUBJECTS).flags[FLAG].metadata


def test_all_else_stays_byte_for_byte(tmp_path: Path) -> None:
    """Another service's flags, what flagd and we don't know, numbers as they were written, order, blanks, a byte order mark."""
    around = (
        '\ufeff{ "$schema" : "x",\r\n\t"flags":{"theirs":{"state":"ON","w":1.50,"e":1e3,"u":"\\u00e9\\ud83d","d":1,"d":2},"parallel-init" : ',
        ' ,"zzz":[ ] }, "metadata":{"a":  01e0}}\n'.replace("01e0", "1e0"),
    )
    path = tmp_path / "flags.json"
    path.write_bytes((around[0] + json.dumps(flag(description="größer \ud83d")) + around[1]).encode())
    moved(path, 25)
    content = path.read_bytes()
    assert content.startswith(around[0].encode())
    assert content.endswith(around[1].encode())
    ours = json.loads(content.decode("utf-8-sig"))["flags"][FLAG]
    assert ours["description"] == "größer \ud83d"
    assert "größer".encode() in content


def test_of_a_flag_that_stands_twice_the_one_that_counts_is_moved(tmp_path: Path) -> None:
    """The last one."""
    path = tmp_path / "flags.json"
    path.write_bytes((CASES / "duplicate-key.json").read_bytes())
    moved(path, 5)
    assert read(path, SUBJECTS).flags[FLAG].percent == 5


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"var": "room"}, ["on", 5], ["off", 95]], [{"var": "room"}, ["on", 25], ["off", 75]]),
        ([["off", 90], ["on", 10]], [["off", 75], ["on", 25]]),
        ([["on"]], [["on", 25], ["off", 75]]),
    ],
)
def test_by_what_and_in_which_order_sessions_are_drawn_stays(
    tmp_path: Path, before: list[Any], after: list[Any]
) -> None:
    """So that nobody who has the flag loses it to a larger share."""
    path = file_of(tmp_path, parallel_init=flag(targeting={"fractional": before}))
    moved(path, 25)
    assert rule(path) == after


def test_a_link_is_followed(tmp_path: Path) -> None:
    """Workers may read the file it leads to; the one before lies beside that."""
    (tmp_path / "real").mkdir()
    path = file_of(tmp_path / "real", parallel_init=flag())
    link = tmp_path / "link.json"
    link.symlink_to("real/flags.json")
    moved(link, 25)
    assert link.is_symlink()
    assert read(path, SUBJECTS).flags[FLAG].percent == 25
    assert path.with_name("flags.json.previous").exists()
    dangling = tmp_path / "dangling.json"
    dangling.symlink_to("real/new.json")
    begin(dangling, shipped_file(), SUBJECTS)
    assert read(tmp_path / "real" / "new.json", SUBJECTS).flags[FLAG].percent == 0


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """What was decided was decided on the file as it was."""
    path = file_of(tmp_path, parallel_init=shared(5))
    writer = FlagFileWriter(path, SUBJECTS)
    changed = file_of(tmp_path, parallel_init=shared(0)).read_bytes()
    with pytest.raises(FlagFileError, match="expected the file as it was read; possible cause: somebody changed it"):
        writer.write([Move(FLAG, 25, "why", NOW)])
    assert path.read_bytes() == changed


def test_of_two_at_once_one_writes_and_the_other_says_so(tmp_path: Path) -> None:
    """Both have read the same file; the second finds another one when its turn comes."""
    path = file_of(tmp_path, parallel_init=shared(5), deferred_setup=shared(5))
    writers = [FlagFileWriter(path, SUBJECTS) for _ in range(8)]
    ended: list[str] = []

    def move(writer: FlagFileWriter, percent: int) -> None:
        try:
            writer.write([Move(FLAG, percent, "why", NOW)])
            ended.append("written")
        except FlagFileError as error:
            ended.append(str(error).partition("cause: ")[2])

    threads = [threading.Thread(target=move, args=(writer, 10 + n)) for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["somebody changed it"] * 7 + ["written"]


def test_who_holds_the_lock_for_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that hangs is said to be there."""
    monkeypatch.setattr(writing, "_OTHERS_MAY_TAKE_S", 0.1)
    path = file_of(tmp_path, parallel_init=shared(5))
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        began = time.monotonic()
        with pytest.raises(FlagFileError, match="possible cause: another `firstword tune` writes there"):
            moved(path, 25)
        assert time.monotonic() - began < 60
    finally:
        os.close(holder)
    moved(path, 25)


def test_a_file_that_begins_has_all_of_ours_off(tmp_path: Path) -> None:
    """The shipped flags with what they say of themselves; a file that is there is not made anew."""
    path = tmp_path / "mine.json"
    begin(path, shipped_file(), SUBJECTS)
    file = read(path, SUBJECTS)
    assert {name: each.percent for name, each in file.flags.items()} == dict.fromkeys(SUBJECTS, 0)
    assert file.flags[FLAG].metadata["predicts"]
    with pytest.raises(FlagFileError, match="expected no file"):
        begin(path, shipped_file(), SUBJECTS)


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    """By its path, with the system's reason."""
    with pytest.raises(
        FlagFileError, match=r"none\.json: expected a file that can be read; possible cause: No such file"
    ):
        FlagFileWriter(tmp_path / "none.json", SUBJECTS)
    with pytest.raises(FlagFileError, match=r"expected a file that can be written; possible cause: No such file"):
        begin(tmp_path / "no folder" / "new.json", shipped_file(), SUBJECTS)


def test_the_new_file_outlasts_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content is on the disk before it takes the old one's place, and its place afterwards: the folder's entry."""
    path = file_of(tmp_path, parallel_init=flag())
    steps: list[str] = []
    synchronise, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        synchronise(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        steps.append("place")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    moved(path, 25)
    assert steps[-3:] == ["content", "place", "folder"]


@pytest.mark.parametrize("content", ['{"flags": {}}', CASES / "own+foreign.json", '\ufeff{ "flags" :\n{ }, "b": 1}'])
def test_the_flag_that_changes_nothing_is_added_where_it_is_not(tmp_path: Path, content: str | Path) -> None:
    """All else stays byte for byte, and a second move finds it."""
    path = tmp_path / "flags.json"
    before = content.read_bytes() if isinstance(content, Path) else content.encode()
    path.write_bytes(before)
    for percent, proven in ((50, False), (0, True)):
        FlagFileWriter(path, DRAWN).write([Move(NO_CHANGE, percent, "why", NOW, proven=proven)])
        file = read(path, DRAWN)
        assert (file.flags[NO_CHANGE].percent, file.bad) == (percent, {})
        assert file.flags[NO_CHANGE].metadata.get("tune.proven", False) is proven
    after = path.read_bytes()
    opened = before.index(b"{", before.index(b"flags")) + 1
    assert after.startswith(before[:opened])
    assert after.endswith(before[opened:])


def test_several_flags_move_in_one_write(tmp_path: Path) -> None:
    """All of them, or none where one can't."""
    path = file_of(tmp_path, parallel_init=shared(5), light_connect=shared(50), deferred_setup=flag(state="DISABLED"))
    moves = [Move(name, 0, "all off", NOW, turned_back=True) for name in (FLAG, "light-connect")]
    FlagFileWriter(path, SUBJECTS).write(moves)
    assert [read(path, SUBJECTS).flags[move.flag].percent for move in moves] == [0, 0]
    before = path.read_bytes()
    with pytest.raises(
        FlagFileError, match=r"flags\.json: expected a flag that workers take; deferred-setup: no share"
    ):
        FlagFileWriter(path, SUBJECTS).write([Move(FLAG, 5, "why", NOW), Move("deferred-setup", 5, "why", NOW)])
    assert path.read_bytes() == before
