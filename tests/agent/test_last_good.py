"""firstword.agent.flags.last_good: what happens to a running worker, and to one that restarts, when the flag file changes or goes wrong."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from firstword.agent.flags.last_good import LastGoodKeeper
from firstword.agent.flags.location import last_good_copy, shipped_file
from tests.agent.flag_files import FILE, Place, drawn, flag, shared, text
from tests.agent.flag_files import place as place
from tests.agent.flag_files import said as said


def test_a_changed_file_is_followed(place: Place, said: pytest.LogCaptureFixture) -> None:
    """The keeper's next look makes it what the next session of a running process gets; nothing is logged."""
    place.write(text(parallel_init=flag("off")))
    keeper = place.keeper()
    keeper.look()
    source = place.source()
    assert drawn(source)["parallel-init"] is False
    place.write(text(parallel_init=flag("on")))
    assert drawn(source)["parallel-init"] is False
    keeper.look()
    assert drawn(source)["parallel-init"] is True
    place.file.write_text(text(parallel_init=flag("off"), deferred_setup=flag("on")))  # in place, as an editor does
    keeper.look()
    assert drawn(source) == {"parallel-init": False, "deferred-setup": True}
    assert said.records == []


BROKEN = {
    "cut": text(parallel_init=flag("on"))[:40],
    "empty": "",
    "not utf-8": "\udcff",
    "a list": "[]",
    "no flags": "{}",
    "too deep": "[" * 100_000,
    "a list of flags": '{"flags": []}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_costs_one_warning(place: Place, said: pytest.LogCaptureFixture, content: str) -> None:
    """The last good flags stay, for processes that run and for new ones; however often one looks, and it is said when over."""
    place.write(text(parallel_init=flag("on"), deferred_setup=flag("off")))
    keeper = place.keeper()
    keeper.look()
    before = place.source()
    place.file.write_bytes(content.encode(errors="surrogateescape"))
    for _ in range(5):
        keeper.look()
        good = {"parallel-init": True, "deferred-setup": False}
        assert drawn(place.source()) == drawn(before) == good
    place.file.write_text("broken in another way")
    keeper.look()
    assert [(record.levelname, "last good" in record.message) for record in said.records] == [("WARNING", True)]
    assert said.records[0].exc_info is None
    place.write(text(parallel_init=flag("on"), deferred_setup=flag("on")))
    keeper.look()
    assert drawn(place.source())["deferred-setup"] is True
    assert [record.levelname for record in said.records] == ["WARNING", "INFO"]


def test_a_file_that_goes_and_comes_back_is_one_warning(place: Place, said: pytest.LogCaptureFixture) -> None:
    """Even as the very same file."""
    place.write(text(parallel_init=flag("on")))
    keeper = place.keeper()
    keeper.look()
    away = place.file.rename(place.file.with_suffix(".away"))
    keeper.look()
    keeper.look()
    assert drawn(place.source())["parallel-init"] is True
    away.rename(place.file)
    keeper.look()
    keeper.look()
    assert [record.levelname for record in said.records] == ["WARNING", "INFO"]
    assert "No such file" in said.records[0].message


def test_before_any_good_flags_all_are_off(place: Place, said: pytest.LogCaptureFixture) -> None:
    """A missing or broken file at the first start of a worker: what somebody meant to turn off is not turned on."""
    keeper = place.keeper()
    keeper.look()
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": False}
    place.file.write_text("{")
    keeper.look()
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": False}
    assert place.source().possible() == frozenset()
    (warning,) = said.messages
    assert warning.endswith("possible cause: No such file or directory; all flags are off")


def test_where_no_file_is_named_the_shipped_flags_count(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All on, with a keeper's copy or without."""
    monkeypatch.delenv(FILE)
    assert drawn(place.source()) == {"parallel-init": True, "deferred-setup": True}
    place.keeper().look()
    assert last_good_copy(shipped_file(), place.cache).exists()
    assert drawn(place.source()) == {"parallel-init": True, "deferred-setup": True}


SHARE_BY_NAME = flag("on", {"fractional": [["on", 2.5], ["off", 97.5]]})


def test_a_bad_flag_keeps_its_last_good_rule(place: Place, said: pytest.LogCaptureFixture) -> None:
    """The others follow the file; so after a restart too. What is said of it is said once, and that it is over."""
    ours = {"ours": {"in": [{"var": "account"}, ["acme"]]}}
    document = json.loads(text(parallel_init=flag(targeting={"if": [{"$ref": "ours"}, "on", "off"]})))
    place.write(json.dumps({"$evaluators": ours, **document}))
    keeper = place.keeper()
    keeper.look()
    place.write(text(parallel_init=SHARE_BY_NAME, deferred_setup=flag("on")))
    for _ in range(3):
        keeper.look()
        os.utime(place.file)
        place.keeper().look()  # that of a worker which has just started
    source = place.source()
    assert drawn(source, account="acme") == {"parallel-init": True, "deferred-setup": True}
    assert drawn(source, account="other") == {"parallel-init": False, "deferred-setup": True}
    of_the_first = [line for line in said.messages if "its last good rule counts" in line]
    assert len(of_the_first) == 1 + 3  # each worker says it once
    assert "expected whole numbers in `fractional`, found 2.5; possible cause: parts of a percent" in of_the_first[0]
    place.write(text(parallel_init=flag("off")))
    said.clear()
    keeper.look()
    assert drawn(source, account="acme")["parallel-init"] is False
    assert [record.levelname for record in said.records] == ["INFO"]


def test_a_flag_that_was_never_good_is_off(place: Place, said: pytest.LogCaptureFixture) -> None:
    """With a keeper and without; a share of 2.5 % that flagd can't read would be one of 100 % else."""
    place.write(text(parallel_init=SHARE_BY_NAME, deferred_setup=flag("on")))
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": True}
    place.keeper().look()
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": True}
    assert [line.endswith("; it is off") for line in said.messages] == [True]


def test_a_flag_that_the_file_does_not_name_any_more_is_off(place: Place) -> None:
    """Its last good rule does not outlive it."""
    keeper = place.keeper()
    for content in (text(parallel_init=flag("on")), text(), text(parallel_init=SHARE_BY_NAME)):
        place.write(content)
        keeper.look()
    assert drawn(place.source())["parallel-init"] is False


def test_a_flag_with_a_description_is_followed(place: Place, said: pytest.LogCaptureFixture) -> None:
    """5 % of the sessions get it, and nobody what is off: once the whole file was refused, and all of it on for everybody."""
    place.write(text(parallel_init={**shared(5), "description": "ramp of week 12"}, deferred_setup=flag("off")))
    place.keeper().look()
    source = place.source()
    draws = [drawn(source, f"room-{n}") for n in range(400)]
    assert 5 <= sum(each["parallel-init"] for each in draws) <= 40
    assert not any(each["deferred-setup"] for each in draws)
    assert said.records == []


def test_other_content_of_the_same_size_and_time_is_seen(place: Place) -> None:
    """As `cp --preserve` and some editors leave it behind: same file, same length, same time of last change."""
    on, off = (json.dumps({"flags": {"parallel-init": shared(percent)}}) for percent in (25, 75))
    assert len(on) == len(off)
    place.file.write_text(on)
    keeper = place.keeper()
    keeper.look()
    before = place.file.stat()
    place.file.write_text(off)
    os.utime(place.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    keeper.look()
    source = place.source()
    assert sum(drawn(source, f"room-{n}")["parallel-init"] for n in range(400)) > 200


def test_a_worker_that_restarts_on_a_broken_file_has_the_last_good_flags(place: Place) -> None:
    """The copy outlives the worker."""
    place.write(text(parallel_init=flag("off"), deferred_setup=flag("on")))
    place.keeper().look()
    place.file.write_text("{")
    place.keeper().look()
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": True}


def test_the_copy_is_replaced_whole_and_comes_back(place: Place) -> None:
    """Nothing else is left in the cache folder; a copy that somebody deletes is there again after the next look."""
    place.write(text(parallel_init=flag("on")))
    keeper = place.keeper()
    keeper.look()
    copy = last_good_copy(place.file, place.cache)
    assert place.copies == [copy.name]
    inode = copy.stat().st_ino
    place.write(text(parallel_init=flag("off")))
    keeper.look()
    assert copy.stat().st_ino != inode
    copy.unlink()
    keeper.look()
    assert place.copies == [copy.name]
    assert drawn(place.source())["parallel-init"] is False


def test_without_a_copy_processes_read_the_file(place: Place, said: pytest.LogCaptureFixture) -> None:
    """A cache folder that can't be written to costs one warning, and changes are still followed."""
    place.cache.write_text("a file where the folder should be")
    place.write(text(parallel_init=flag("on")))
    keeper = place.keeper()
    keeper.look()
    keeper.look()
    source = place.source()
    assert drawn(source)["parallel-init"] is True
    place.write(text(parallel_init=flag("off")))
    assert drawn(source)["parallel-init"] is False
    place.file.write_text("{")
    assert drawn(source)["parallel-init"] is False
    assert [record.levelname for record in said.records] == ["WARNING"]


def test_two_files_have_two_copies(tmp_path: Path) -> None:
    """Two workers of one user don't take each other's flags."""
    assert last_good_copy(tmp_path / "a.json", tmp_path) != last_good_copy(tmp_path / "b.json", tmp_path)


def test_a_misspelt_flag_is_named_once_with_the_nearest(place: Place, said: pytest.LogCaptureFixture) -> None:
    """The rest of the file counts; another service's flag is no mistake."""
    place.write(
        text(paralel_init=flag("on"), deferred_setup=flag("on"), somebody_elses={**flag(), "variants": {"a": 1}})
    )
    keeper = place.keeper()
    for _ in range(3):
        os.utime(place.file, (time.time(), time.time() + 1))
        keeper.look()
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": True}
    assert said.messages == [f"no flag is named paralel-init; nearest is parallel-init; in {place.file}"]


def test_the_keeper_looks_by_itself_until_it_ends(place: Place) -> None:
    """As a context manager: once before anything else starts, then again and again in its thread."""
    place.write(text(parallel_init=flag("off")))
    with LastGoodKeeper(place.subjects, folder=place.cache, every=0.01):
        source = place.source()
        assert drawn(source)["parallel-init"] is False
        place.write(text(parallel_init=flag("on")))
        waited_until = time.monotonic() + 20
        while not drawn(source)["parallel-init"]:
            assert time.monotonic() < waited_until
            time.sleep(0.01)
    assert "flag file" not in {thread.name for thread in threading.enumerate()}
