"""firstword.agent.flags.flag_file: what a flag file may hold, what each mistake in one is called, and that the file as shipped is good."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from firstword.agent.flags.flag_file import FlagFile, FlagFileError, parse
from firstword.agent.flags.flag_source import Evaluation
from firstword.agent.flags.improvements import PER_PROCESS, SUBJECTS, Improvement
from firstword.agent.flags.location import flag_file, shipped_file
from firstword.command.flag_shares import predictions
from tests.agent.flag_files import CASES, FILE, SHIPPED, Place, drawn, flag, shared, text
from tests.agent.flag_files import place as place
from tests.agent.flag_files import said as said


def parsed(content: str | bytes) -> FlagFile:
    return parse(content.encode() if isinstance(content, str) else content, SUBJECTS)


def wrong(content: str | bytes) -> str:
    """Why the whole file can't be taken."""
    with pytest.raises(FlagFileError) as error:
        parsed(content)
    return str(error.value)


# --- what a flag may be

BAD: Mapping[str, tuple[object, str]] = {
    "state": (flag(state="ON"), '"state": "ENABLED"'),
    "no state": ({"variants": {"on": True, "off": False}}, '"state": "ENABLED"'),
    "no object": ("on", '"state": "ENABLED"'),
    "variants": (flag(variants={"on": True}), '"variants": {"on": true, "off": false}'),
    "numbers for variants": (flag(variants={"on": 1, "off": 0}), '"variants"'),
    "swapped variants": (flag(variants={"on": False, "off": True}), '"variants"'),
    "a third variant": (flag(variants={"on": True, "off": False, "half": True}), '"variants"'),
    "default": (flag("yes"), '"defaultVariant" on, off or null, found "yes"'),
    "rule": (flag(targeting=["on"]), "`targeting` to be an object, found a list"),
    "operation": (flag(targeting={"fractionl": [["on", 5], ["off", 95]]}), 'an operation that flagd has, found "fractionl"'),
    "operation in a branch": (flag(targeting={"if": [{"var": "a"}, {"eq": [1, 1]}, "off"]}), 'found "eq"'),
    "variant of a rule": (flag(targeting={"if": [{"var": "account"}, "yes", "off"]}), 'on, off or null, found "yes"'),
    "variant of a share": (flag(targeting={"fractional": [["yes", 5], ["off", 95]]}), 'found "yes"'),
    "rule that answers yes or no": (flag(targeting={"==": [{"var": "account"}, "a"]}), "found false"),
    "rule that divides by 0": (flag(targeting={"/": [1, 0]}), "that flagd can evaluate"),
    "half percents": (flag("on", {"fractional": [["on", 2.5], ["off", 97.5]]}), 'for 2.5 % write ["on", 25]'),
    "weight in quotes": (flag(targeting={"fractional": [["on", "5"], ["off", 95]]}), 'quotes around "5"'),
    "shares by name": (flag("on", {"if": [{"var": "nobody"}, {"fractional": ["on", 5]}]}), 'such as ["on", 25]'),
    "no shares": (flag("on", {"fractional": []}), '`fractional` to have shares such as ["on", 25]'),
    "no total": (flag(targeting={"fractional": [["on", 0], ["off", 0]]}), "add up to 1 to 2147483647, found 0"),
    "large total": (flag(targeting={"fractional": [["on", 2**31], ["off", 1]]}), "add up to 1 to 2147483647"),
    "shared rule that is not there": (flag(targeting={"if": [{"$ref": "ours"}, "on", "off"]}), '`$evaluators` to have "ours"'),
    "share by account, default on": (
        flag("on", {"fractional": [{"var": "account"}, ["on", 5], ["off", 95]]}),
        "sessions without an account cannot draw this share and get the default",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "says"), BAD.values(), ids=BAD.keys())
def test_a_wrong_flag_says_what_was_expected_and_costs_the_others_nothing(bad: object, says: str) -> None:
    """One line in plain words: no Python, no flagd's class names."""
    file = parsed(text(deferred_setup=flag("on"), parallel_init=bad, somebody_elses=bad))
    assert (list(file.flags), list(file.bad)) == (["deferred-setup"], ["parallel-init"])
    assert file.bad["parallel-init"].startswith("expected ")
    assert says in file.bad["parallel-init"]
    assert "\n" not in file.bad["parallel-init"]


PERCENT: Mapping[str, tuple[dict[str, object], int | None]] = {
    "on": (flag("on"), 100),
    "off": (flag("off"), 0),
    "null is off": (flag(None), 0),
    "empty is null": (flag(""), 0),
    "a share": (flag(targeting={"fractional": [["on", 1], ["off", 3]]}), 25),
    "without weights": (flag(targeting={"fractional": [["on"], ["off"]]}), 50),
    "of one bucket": (flag(targeting={"fractional": [["on", 1]]}), 100),
    "below 1": (flag(targeting={"fractional": [["on", 3], ["off", 997]]}), 1),
    "above 99": (flag(targeting={"fractional": [["on", 999], ["off", 1]]}), 99),
    "a weight below 0 counts as 0 to flagd": (flag(targeting={"fractional": [["on", 5], ["off", -5]]}), 100),
    "by flag and key": (
        flag(targeting={"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}, ["on", 5], ["off", 5]]}),
        50,
    ),
    "by room": (flag(targeting={"fractional": [{"var": "room"}, ["off", 90], ["on", 10]]}), 10),
    "by account": (flag(targeting={"fractional": [{"var": "account"}, ["on", 5], ["off", 95]]}), None),
    "by flag and account": (
        flag("on", {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "account"}]}, ["on", 5], ["off", 95]]}),
        None,
    ),
    "by nothing that differs": (flag(targeting={"fractional": ["all", ["on", 5], ["off", 95]]}), None),
    "a computed weight": (flag(targeting={"fractional": [["on", {"*": [1, 25]}], ["off", 75]]}), None),
    "twice the same": (flag(targeting={"fractional": [["on", 1], ["on", 3]]}), None),
    "a rule": (flag(targeting={"if": [{"var": "account"}, "on", "off"]}), None),
    "a rule with null": (flag(targeting={"if": [{"var": "account"}, "on", None]}), None),
    "DISABLED": (flag("on", state="DISABLED"), None),
}  # fmt: skip


@pytest.mark.parametrize(("good", "percent"), PERCENT.values(), ids=PERCENT.keys())
def test_only_what_every_session_can_draw_is_a_share(good: dict[str, object], percent: int | None) -> None:
    """Else the file's 5 % would be 5 % of those who have an account, and of all others everybody or nobody."""
    file = parsed(text(parallel_init=good))
    assert not file.bad
    assert file.flags["parallel-init"].percent == percent
    assert bool(file.flags["parallel-init"].no_share) == (percent is None)


def test_a_process_can_draw_by_its_key_alone() -> None:
    """It has neither room nor account; a share by room is one of sessions only."""
    by_room = flag(targeting={"fractional": [{"var": "room"}, ["on", 5], ["off", 95]]})
    file = parsed(text(parallel_init=by_room, component_pool=by_room))
    assert file.flags["parallel-init"].percent == 5
    assert file.flags["component-pool"].percent is None
    assert file.flags["component-pool"].no_share == "processes cannot draw its share, and get off"
    assert (
        "processes cannot draw"
        in parsed(text(component_pool={**by_room, "defaultVariant": "on"})).bad["component-pool"]
    )


def test_a_share_that_only_those_meet_who_can_draw_it_is_taken() -> None:
    """Sessions without an account never come to it."""
    by_account = {"fractional": [{"var": "account"}, ["on", 5], ["off", 95]]}
    rule = {"if": [{"var": "account"}, by_account, "off"]}
    assert parsed(text(parallel_init=flag("on", rule))).bad == {}


def test_what_is_not_ours_is_ignored() -> None:
    """Unknown keys of the file and of a flag, whatever they hold; flagd itself would refuse the file for them."""
    odd = {
        "description": "x",
        "owner": {"team": ["a"]},
        "metadata": {"why": {"nested": 1}},
        "default_variant": 3,
        "key": 1,
    }
    document = {
        "$schema": 1,
        "metadata": [1],
        "flagSetId": {},
        "flags": {"parallel-init": flag("on", **odd), "other": 7},
    }
    file = parsed(json.dumps(document))
    assert (file.bad, file.remarks) == ({}, ())
    assert file.flags["parallel-init"].percent == 100


# --- the whole file

NO_FILE: Mapping[str, tuple[str | bytes, str]] = {
    "empty": ("", "expected JSON at line 1, column 1; possible cause: the file is empty"),
    "cut short": (text(parallel_init=flag())[:40], "possible cause: the file is cut short"),
    "a comment": ('{\n  // ours\n "flags": {}}', "line 2, column 3; possible cause: a comment, which JSON does not have"),
    "a last comma": ('{"flags": {},}', "possible cause: a comma before a closing bracket"),
    "YAML": ("flags:\n  parallel-init: on\n", "possible cause: the file is YAML, or another format"),
    "single quotes": ("{'flags': {}}", "possible cause: single quotes, which JSON does not have"),
    "UTF-16": ('{"flags": {}}'.encode("utf-16"), "expected text in UTF-8; possible cause: an editor saved it as UTF-16"),
    "no text": (b"\x80\x81\x82\x83", "expected text in UTF-8"),
    "too deep": ("[" * 100_000, "possible cause: brackets in brackets without end"),
    "a huge number": ('{"flags": ' + "9" * 5_000 + "}", "possible cause: a number with thousands of digits"),
    "a list": ("[]", "expected an object that has `flags`, found a list"),
    "no flags": ("{}", "expected an object at `flags`, found none"),
    "a number for flags": ('{"flags": 1}', "expected an object at `flags`, found a number"),
    "a list of flags": ('{"flags": []}', "found a list; possible cause: a list of flags, where flagd names each by its key"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "says"), NO_FILE.values(), ids=NO_FILE.keys())
def test_a_file_that_is_none_is_refused_in_one_plain_line(content: str | bytes, says: str) -> None:
    """It names the place and a possible cause."""
    said = wrong(content)
    assert says in said
    assert said.startswith("expected ")
    assert "\n" not in said


def test_a_byte_order_mark_is_read_over() -> None:
    """As Windows' editors write it."""
    assert parsed("\ufeff" + text(parallel_init=flag("on"))).flags["parallel-init"].percent == 100


FROM_THE_FIELD: Mapping[str, tuple[dict[str, int | None], tuple[str, ...], int]] = {
    "own-flag-with-description.json": ({"parallel-init": 100}, (), 0),
    "ramp.json": ({"parallel-init": 5, "smart-greeting": 0}, (), 0),
    "fractional-by-account-default-on.json": ({}, ("parallel-init",), 0),
    "own+foreign.json": ({"parallel-init": 0}, (), 0),
    "duplicate-key.json": ({"parallel-init": 0}, (), 1),
    "fractional-computed-weight.json": ({"parallel-init": None}, (), 0),
    "fractional-zero-total.json": ({}, ("parallel-init",), 0),
}
"""File -> shares, flags that can't be taken, number of remarks."""


@pytest.mark.parametrize("name", FROM_THE_FIELD)
def test_files_from_the_field(name: str) -> None:
    """Each means what it says, or says why not."""
    shares, bad, remarks = FROM_THE_FIELD[name]
    file = parsed((CASES / name).read_bytes())
    assert {flag: each.percent for flag, each in file.flags.items()} == shares
    assert (tuple(file.bad), len(file.remarks)) == (bad, remarks)


@pytest.mark.parametrize(
    ("name", "says"), [("flags-as-a-list.json", "a list of flags"), ("with-comments.jsonc", "line 2, column 3; possible cause: a comment")]
)  # fmt: skip
def test_files_from_the_field_that_are_none(name: str, says: str) -> None:
    """Refused with the reason."""
    assert says in wrong((CASES / name).read_bytes())


def test_a_name_that_stands_twice_is_said() -> None:
    """Wherever it matters; the last one counts, as everywhere in JSON."""
    twice = '{"flags": {}, "flags": {"parallel-init": {"state": "ENABLED", "variants": {"on": true, "off": false}, '
    twice += '"defaultVariant": "off", "defaultVariant": "on"}, "theirs": {"a": 1, "a": 2}, "theirs": {}}}'
    file = parsed(twice)
    assert file.flags["parallel-init"].percent == 100
    assert file.remarks == (
        "`flags` stands twice, and the last one counts",
        "`defaultVariant` of parallel-init stands twice, and the last one counts",
    )


def test_a_misspelt_flag_is_said_and_another_services_flag_is_not() -> None:
    """Who shares a file with others is not warned of them."""
    file = parsed(text(paralel_init=flag("on"), checkoutFast=flag("on"), adFailure={"variants": {"a": 1}}))
    assert file.remarks == ("no flag is named paralel-init; nearest is parallel-init",)
    assert not file.flags


# --- shared rules


def test_a_shared_rule_is_held_to_the_same(place: Place) -> None:
    """flagd's `$evaluators` work, and a share in one that can't be read is found."""
    document = json.loads(text(parallel_init=flag(targeting={"if": [{"$ref": "ours"}, "on", "off"]})))
    document["$evaluators"] = {"ours": {"in": [{"var": "account"}, ["acme", 'größer \\ "1']]}}
    place.write(json.dumps(document))
    source = place.source()
    assert drawn(source, account="acme")["parallel-init"] is True
    assert drawn(source, account='größer \\ "1')["parallel-init"] is True
    assert drawn(source, account="other")["parallel-init"] is False
    document["$evaluators"]["ours"] = {"fractional": [["on", "5"], ["off", 95]]}
    assert 'quotes around "5"' in parsed(json.dumps(document)).bad["parallel-init"]


@pytest.mark.parametrize(
    "evaluators",
    [
        {"a": {"$ref": "a"}},
        {"a": {"and": [{"$ref": "b"}, {"$ref": "b"}]}, **{chr(98 + n): {"and": [{"$ref": chr(99 + n)}] * 9} for n in range(9)}, "k": "on"},
    ],
    ids=["in itself", "ever more"],
)  # fmt: skip
def test_shared_rules_without_end_are_refused(evaluators: object) -> None:
    """At once, whatever they would grow to."""
    document = {"$evaluators": evaluators, **json.loads(text(parallel_init=flag(targeting={"$ref": "a"})))}
    assert "at most" in parsed(json.dumps(document)).bad["parallel-init"]


def test_a_flag_that_fails_only_for_some_is_off_for_them(place: Place, said: pytest.LogCaptureFixture) -> None:
    """What no check has found: off, the error on the event, one warning, no traceback."""
    rule = {"if": [{"==": [{"var": "account"}, "acme"]}, {"/": [1, 0]}, "on"]}
    place.write(text(parallel_init=flag(targeting=rule)))
    source = place.source()
    for _ in range(3):
        (evaluation, _other) = source.draw_session("acme", "room")
        assert evaluation == Evaluation("parallel-init", False, "error", "flagd", error="general")
        assert evaluation.attributes()["error.type"] == "general"
    assert drawn(source, account="other")["parallel-init"] is True
    assert [(record.levelname, record.exc_info) for record in said.records] == [("WARNING", None), ("INFO", None)]


def test_flagd_does_not_say_at_each_draw_what_it_makes_of_a_rule(place: Place, said: pytest.LogCaptureFixture) -> None:
    """A share by account that is off for all others is fine, and is no line in the log of each of their sessions."""
    place.write(text(parallel_init=flag(targeting={"fractional": [{"var": "account"}, ["on", 50], ["off", 50]]})))
    source = place.source()
    assert not any(drawn(source, f"room-{n}")["parallel-init"] for n in range(50))
    assert 10 < sum(drawn(source, "room", f"account-{n}")["parallel-init"] for n in range(50)) < 40
    assert said.records == []


# --- the file as shipped


def test_the_shipped_file_is_good_and_names_every_improvement() -> None:
    """Also its metadata: what each flag changes, where it is drawn, what it predicts."""
    file = parsed(shipped_file().read_bytes())
    assert (file.bad, file.remarks) == ({}, ())
    assert set(file.flags) == {improvement.value for improvement in Improvement}
    for name, entry in SHIPPED.items():
        assert entry["metadata"].keys() == {"changes", "drawn", "predicts"}
        assert entry["metadata"]["drawn"] == ("process" if name in PER_PROCESS else "session")
        for change in predictions(file)[name].split():
            assert change.partition("=")[2] in ("earlier", "gone", "before-job", "deferred")


def test_what_a_flag_predicts_is_said_of_tasks_that_there_are() -> None:
    """A renamed task would make a what-if of nothing."""
    from firstword.agent.startup import plan  # LiveKit's import takes seconds

    tasks = {node.name for node in plan.shape({}).nodes}
    predicted = [
        change.partition("=")[0] for entry in SHIPPED.values() for change in entry["metadata"]["predicts"].split()
    ]
    assert set(predicted) <= tasks


def test_without_a_variable_the_shipped_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is one nobody set."""
    monkeypatch.setenv(FILE, "")
    assert flag_file() == shipped_file()
    assert shipped_file().is_file()


def test_a_share_of_a_test_is_one() -> None:
    """What other tests write."""
    assert parsed(text(parallel_init=shared(25))).flags["parallel-init"].percent == 25
