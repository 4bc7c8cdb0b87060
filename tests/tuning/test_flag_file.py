"""The flag file: what is read from it, what is left alone, and that flagd's own resolver follows what is written."""

import json
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core.targeting import custom_ops

from firstword.tuning.flag_file import FlagFileError, Rollout, definition, read, write

NOW = 1_795_000_000.0


def flag_file(folder: Path, **flags: Any) -> Path:
    path = folder / "flags.json"
    path.write_text(json.dumps({"flags": flags}))
    return path


def test_a_share_is_what_flagd_gives_and_what_is_read_back(tmp_path: Path) -> None:
    """Of 5,000 keys about as many get `on` as were asked for, those that had it keep it when the share grows, and
    the file says the same share again."""
    file = read(flag_file(tmp_path, f=definition(0)))
    had: set[str] = set()
    for percent in (5, 25, 50, 100):
        file = write(file, "f", percent, "why", NOW, turned_back=False)
        assert file.rollouts == (Rollout("f", percent, NOW),)
        rule = json.loads(file.path.read_text())["flags"]["f"]["targeting"]["fractional"]
        on = {
            key
            for key in map(str, range(5000))
            if custom_ops.fractional({"targetingKey": key, "$flagd": {"flagKey": "f"}}, *rule) == "on"
        }
        assert len(on) / 50 == pytest.approx(percent, abs=1.5)
        assert had <= on
        had = on


def test_the_file_before_is_kept_and_the_reason_stands_in_the_new_one(tmp_path: Path) -> None:
    """Nothing else in the file changes, no other file is left behind, and a turned-back flag is remembered."""
    other = {"state": "ENABLED", "variants": {"red": "r"}, "defaultVariant": "red"}
    path = flag_file(tmp_path, f={**definition(50), "metadata": {"changes": "voice=gone"}}, other=other)
    path.chmod(0o640)
    before = path.read_bytes()
    file = write(read(path), "f", 0, "more errors", NOW, turned_back=True)
    assert file.rollouts == (Rollout("f", 0, NOW, "more errors"), Rollout("other", 0, by_hand=True))
    assert (tmp_path / "flags.json.previous").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flags.json", "flags.json.previous"]
    written = json.loads(path.read_text())["flags"]
    assert written["other"] == other
    assert written["f"]["metadata"] == {
        "changes": "voice=gone",
        "tune.percent": 0,
        "tune.since": "2026-11-18T11:06:40+00:00",
        "tune.reason": "more errors",
        "tune.turned_back": True,
    }
    assert path.stat().st_mode & 0o777 == 0o640
    assert read(write(file, "f", 5, "again", NOW, turned_back=False).path).rollouts[0].turned_back is None


@pytest.mark.parametrize(
    ("flag", "percent"),
    [
        ({"defaultVariant": "on"}, 100),
        ({"defaultVariant": "off"}, 0),
        ({"targeting": {}}, 0),
        ({"targeting": {"fractional": [["on", 1], ["off", 3]]}}, 25),
        ({"targeting": {"fractional": [{"var": "account"}, ["off", 90], ["on", 10]]}}, 10),
        ({"targeting": {"fractional": [["on", 3], ["off", 997]]}}, 1),
        ({"targeting": {"if": [{"var": "vip"}, "on", "off"]}}, None),
        ({"targeting": {"fractional": [["on"], ["off"]]}}, None),
        ({"targeting": {"fractional": [["on", 1], ["on", 3]]}}, None),
        ({"state": "DISABLED"}, None),
        ({"variants": {"on": True, "off": False, "half": True}}, None),
    ],
)
def test_only_a_plain_share_is_ours_to_move(tmp_path: Path, flag: dict[str, Any], percent: int | None) -> None:
    """A rule somebody wrote, a disabled flag, another set of variants: theirs to change."""
    base = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    (rollout,) = read(flag_file(tmp_path, f={**base, **flag})).rollouts
    assert rollout.by_hand is (percent is None)
    assert rollout.percent == (percent or 0)


def test_the_bucketing_somebody_chose_is_kept(tmp_path: Path) -> None:
    """Only the shares are replaced."""
    rule = {"fractional": [{"var": "account"}, ["on", 5], ["off", 95]]}
    write(read(flag_file(tmp_path, f={**definition(), "targeting": rule})), "f", 25, "why", NOW, turned_back=False)
    written = json.loads((tmp_path / "flags.json").read_text())["flags"]["f"]["targeting"]
    assert written == {"fractional": [{"var": "account"}, ["on", 25], ["off", 75]]}


def test_a_share_moved_by_hand_counts_from_the_files_last_change(tmp_path: Path) -> None:
    """What `tune` wrote about the flag is not believed once the share is another."""
    file = write(read(flag_file(tmp_path, f=definition())), "f", 5, "why", NOW, turned_back=False)
    file.path.write_text(file.path.read_text().replace("5\n", "50\n", 1).replace("95", "50"))
    (rollout,) = read(file.path).rollouts
    assert (rollout.percent, rollout.since) == (50, file.path.stat().st_mtime)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no JSON"),
        ("[]", "expected an object with `flags`"),
        ('{"flags": 1}', "`flags` is not an object"),
        ('{"flags": {"f": 1}}', "flag f has no `variants`"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: str, says: str) -> None:
    """The message names the file and what is wrong."""
    path = tmp_path / "flags.json"
    path.write_text(content)
    with pytest.raises(FlagFileError, match=says):
        read(path)


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """What was decided was decided on the file as it was."""
    file = read(flag_file(tmp_path, f=definition(5)))
    changed = flag_file(tmp_path, f=definition(0)).read_bytes()
    with pytest.raises(FlagFileError, match="changed meanwhile"):
        write(file, "f", 25, "why", NOW, turned_back=False)
    assert file.path.read_bytes() == changed


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path: Path) -> None:
    """The folder is gone read-only, or full: the error says which file; a file of no flags is one too."""
    with pytest.raises(FlagFileError, match="can't be read"):
        read(tmp_path / "none.json")
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    assert read(empty).rollouts == ()
