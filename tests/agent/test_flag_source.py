"""agent/flag_source.py: real files, flagd's own evaluator, and what happens to a worker when they go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from firstword.agent.flags.flag_source import Evaluation, LastGoodKeeper, last_good_copy
from tests.agent.flag_files import SHIPPED, Place, drawn, flag, text
from tests.agent.flag_files import place as place
from tests.agent.flag_files import said as said

SHARE_25 = {"fractional": [["on", 25], ["off", 75]]}
ROOMS = [f"room-{number}" for number in range(2_000)]


# --- drawing


def test_a_share_sticks_and_is_what_it_says(place: Place) -> None:
    """25 % of 2,000 rooms, the same ones each time and in another process's source; flags are split independently."""
    place.write(text(parallel_init=flag(targeting=SHARE_25), deferred_setup=flag(targeting=SHARE_25)))
    first = [drawn(place.source(), room) for room in ROOMS[:1]]
    source = place.source()
    draws = [drawn(source, room) for room in ROOMS]
    assert draws[:1] == first
    assert draws == [drawn(source, room) for room in ROOMS]
    for name in ("parallel-init", "deferred-setup"):
        assert 420 <= sum(each[name] for each in draws) <= 580  # 4 standard deviations
    assert 70 <= sum(each["parallel-init"] and each["deferred-setup"] for each in draws) <= 180


def test_it_draws_as_flagd_s_own_file_resolver_does(place: Place) -> None:
    """A deployment may change over to a flagd without anybody changing sides."""
    rule = {"if": [{"in": [{"var": "account"}, ["acme"]]}, "on", SHARE_25]}
    place.write(text(parallel_init=flag(targeting=rule), deferred_setup=flag("on")))
    source = place.source()
    flagd = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(place.file), deadline_ms=50)
    flagd.initialize(EvaluationContext())
    try:
        for account in (None, "acme", "other"):
            for room in ROOMS[:100]:
                facts = {"room": room} if account is None else {"room": room, "account": account}
                context = EvaluationContext(account or room, facts)
                theirs = {name: flagd.resolve_boolean_details(name, False, context).value for name in place.names[:2]}
                assert drawn(source, room, account) == theirs
    finally:
        flagd.shutdown()


def test_who_has_a_flag_keeps_it_when_the_share_grows(place: Place) -> None:
    """A ramp takes nothing back."""
    kept: set[str] = set()
    for percent in (5, 25, 50, 100):
        place.write(text(parallel_init=flag(targeting={"fractional": [["on", percent], ["off", 100 - percent]]})))
        source = place.source()
        on = {room for room in ROOMS[:400] if drawn(source, room)["parallel-init"]}
        assert kept <= on
        kept = on
    assert len(kept) == 400


def test_an_account_sticks_whatever_the_room(place: Place) -> None:
    """Where the job's metadata names the account, it is what is drawn by."""
    place.write(text(parallel_init=flag(targeting=SHARE_25)))
    source = place.source()
    for account in ("a-1", "a-2", "a-3", "a-4", "a-5"):
        assert len({drawn(source, room, account)["parallel-init"] for room in ROOMS[:20]}) == 1


def test_one_account_or_room_can_be_targeted(place: Place) -> None:
    """Rules know both by name; everybody else gets the default."""
    one = {"if": [{"in": [{"var": "account"}, ["acme"]]}, "on", {"==": [{"var": "room"}, "lab"]}, "on", None]}
    place.write(text(parallel_init=flag(targeting=one)))
    source = place.source()
    asked = [("acme", "room"), (None, "lab"), ("acme-2", "room"), (None, "room"), (None, "acme")]
    assert [drawn(source, room, account)["parallel-init"] for account, room in asked] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_process_draws_by_itself_and_once(place: Place) -> None:
    """Each source has a key of its own: over many the share is right, within one the draw stays, sessions don't matter."""
    place.write(text(component_pool=flag(targeting=SHARE_25)))
    on = 0
    for _ in range(200):
        source = place.source()
        first = source.draw_process()
        assert [each.flag for each in first] == ["component-pool"]
        assert source.draw_process() == first
        on += first[0].on
    assert 20 <= on <= 85


RULE_FOR_SOME = {"if": [{"==": [{"var": "room"}, "a"]}, "on"]}


@pytest.mark.parametrize(
    ("flag", "possible"),
    [
        ({"defaultVariant": "on"}, True),
        ({"defaultVariant": "off"}, False),
        ({"defaultVariant": "on", "state": "DISABLED"}, False),
        ({"defaultVariant": "off", "targeting": {"fractional": [["on", 1], ["off", 999]]}}, True),
        ({"defaultVariant": "off", "targeting": {"fractional": [["on", 0], ["off", 100]]}}, False),
        ({"defaultVariant": "off", "targeting": RULE_FOR_SOME}, True),
        ({"defaultVariant": "on", "targeting": {"if": [RULE_FOR_SOME, "off", None]}}, True),
        ({"defaultVariant": "off", "targeting": {"$ref": "some"}}, True),
    ],
)
def test_what_is_possible_for_a_process_depends_on_no_draw(
    place: Place, flag: dict[str, object], possible: bool
) -> None:
    """Worth preparing for is a flag that the file turns on for a part of the processes, however small, and no other."""
    every = {"state": "ENABLED", "variants": {"on": True, "off": False}}
    flags = dict.fromkeys(place.names, every | flag)
    shared = {"$evaluators": {"some": RULE_FOR_SOME}} if "$ref" in str(flag) else {}
    place.write(json.dumps({"flags": flags, **shared}))
    assert place.source().possible() == ({"component-pool"} if possible else frozenset())


def test_all_that_the_shipped_file_turns_on_is_possible(place: Place) -> None:
    """With no file of one's own everything is made ahead."""
    assert place.source().possible() == {"component-pool"}


def test_what_is_possible_follows_the_file(place: Place) -> None:
    """A share that begins is seen while the worker runs."""
    off = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    place.write(json.dumps({"flags": {"component-pool": off}}))
    with place.keeper() as keeper:
        source = place.source()
        assert not source.possible()
        some = {**off, "targeting": {"fractional": [["on", 5], ["off", 95]]}}
        place.write(json.dumps({"flags": {"component-pool": some}}))
        keeper.look()
        assert source.possible() == {"component-pool"}


def test_a_disabled_flag_and_one_that_is_not_named_are_off(place: Place) -> None:
    """Whatever their default variant, and whatever the shipped file says."""
    place.write(text(parallel_init=flag("on", state="DISABLED")))
    evaluations = place.source().draw_session(None, "room")
    assert evaluations == (
        Evaluation("parallel-init", False, "disabled", "flagd"),
        Evaluation("deferred-setup", False, "default", "flagd"),
    )


def test_an_event_is_standard_and_names_nobody(place: Place) -> None:
    """OpenTelemetry's keys; the account is in none of them."""
    place.write(text(parallel_init=flag("on"), deferred_setup=flag(targeting=SHARE_25)))
    static, targeted = place.source().draw_session("secret-account", "secret-room")
    assert static.attributes() == {
        "feature_flag.key": "parallel-init",
        "feature_flag.result.variant": "on",
        "feature_flag.result.reason": "static",
        "feature_flag.provider.name": "flagd",
    }
    assert targeted.reason == "targeting_match"
    assert "secret" not in str(targeted.attributes())


# --- the file while the worker runs


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
    "wrong type": text(parallel_init=flag("on", variants={"on": "yes", "off": "no"})),
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


def test_before_any_good_flags_the_shipped_ones_count(place: Place, said: pytest.LogCaptureFixture) -> None:
    """A missing or broken file at the first start of a worker: a warning that says so, and the flags as shipped."""
    keeper = place.keeper()
    keeper.look()
    shipped = {name: SHIPPED[name]["defaultVariant"] == "on" for name in place.names[:2]}
    assert drawn(place.source()) == shipped
    place.file.write_text("{")
    keeper.look()
    assert drawn(place.source()) == shipped
    assert ["shipped" in record.message for record in said.records] == [True]


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
    assert copy.read_bytes() == place.file.read_bytes()


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


def test_an_unknown_flag_is_named_once_with_the_nearest(place: Place, said: pytest.LogCaptureFixture) -> None:
    """The rest of the file counts; another mistake is another warning."""
    place.write(
        text(paralel_init=flag("on"), deferred_setup=flag("on"), somebody_elses={**flag(), "variants": {"a": 1}})
    )
    keeper = place.keeper()
    for _ in range(3):
        os.utime(place.file, (time.time(), time.time() + 1))
        keeper.look()
    assert drawn(place.source()) == {"parallel-init": False, "deferred-setup": True}
    assert len(said.records) == 1
    assert "paralel-init, nearest is parallel-init" in said.records[0].message
    assert "; somebody-elses; in" in said.records[0].message


def test_the_keeper_looks_by_itself_until_it_ends(place: Place) -> None:
    """As a context manager: once before anything else starts, then again and again in its thread."""
    place.write(text(parallel_init=flag("off")))
    with LastGoodKeeper(place.names, folder=place.cache, every=0.01):
        source = place.source()
        assert drawn(source)["parallel-init"] is False
        place.write(text(parallel_init=flag("on")))
        waited_until = time.monotonic() + 20
        while not drawn(source)["parallel-init"]:
            assert time.monotonic() < waited_until
            time.sleep(0.01)
    assert "flag file" not in {thread.name for thread in threading.enumerate()}


def test_threads_draw_while_the_file_changes(place: Place) -> None:
    """With threads for jobs one source serves them all."""
    place.write(text(parallel_init=flag("off")))
    keeper = place.keeper()
    keeper.look()
    source = place.source()
    seen: list[bool] = []

    def draw() -> None:
        seen.extend(drawn(source)["parallel-init"] for _ in range(100))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for default in ("on", "off", "on"):
        place.write(text(parallel_init=flag(default)))
        keeper.look()
    for thread in threads:
        thread.join()
    assert len(seen) == 400
    assert drawn(source)["parallel-init"] is True


def test_processes_agree(place: Place) -> None:
    """Two processes draw the same for the same rooms, from the copy, while the file is broken."""
    place.write(text(parallel_init=flag(targeting=SHARE_25)))
    place.keeper().look()
    place.file.write_text("{")
    code = (
        "import sys; from pathlib import Path; from firstword.agent.flags.flag_source import FlagSource\n"
        "source = FlagSource(per_process=[], per_session=['parallel-init'], deadline=1, folder=Path(sys.argv[1]))\n"
        "print(''.join('01'[source.draw_session(None, f'room-{n}')[0].on] for n in range(200)))"
    )
    command = [sys.executable, "-c", code, str(place.cache)]
    here = {**os.environ, "PYTHONWARNINGS": "error"}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=here, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in running]
    source = place.source()
    expected = "".join("01"[drawn(source, room)["parallel-init"]] for room in ROOMS[:200])
    assert outputs == [expected, expected]
    assert {"0", "1"} == set(expected)


def test_the_copy_of_the_flags_is_its_users_alone(place: Place) -> None:
    """Whoever can write it steers every session; a umask of 002 changes nothing about that."""
    place.write(text())
    before = os.umask(0o002)
    try:
        place.keeper().look()
    finally:
        os.umask(before)
    (copy,) = place.cache.iterdir()
    assert (copy.stat().st_mode & 0o777, place.cache.stat().st_mode & 0o777) == (0o600, 0o700)
