"""firstword.agent.flags.flag_source: real files, flagd's own evaluator, and what happens to a worker when they go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from firstword.agent.flags.flag_source import Evaluation
from tests.agent.flag_files import FILE, Place, drawn, flag, text
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


def test_all_that_the_shipped_file_turns_on_is_possible(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no file of one's own everything is made ahead."""
    monkeypatch.delenv(FILE)
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


# --- threads and processes


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
    outputs = [process.communicate(timeout=120)[0].strip() for process in running]
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
