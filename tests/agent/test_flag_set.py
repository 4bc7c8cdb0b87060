"""agent/flag_set.py: what a flag file may hold, how a mistake in one is named, and that the file as shipped is good."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from firstword.agent.flags.flag_set import FlagFileError, parse
from firstword.agent.flags.flag_source import Evaluation, flag_file, shipped_file
from firstword.agent.flags.improvements import Improvement
from tests.agent.flag_files import FILE, SHIPPED, Place, drawn, flag, text
from tests.agent.flag_files import place as place
from tests.agent.flag_files import said as said


def problem(content: str | bytes, *names: str) -> str:
    with pytest.raises(FlagFileError) as error:
        parse(content.encode() if isinstance(content, str) else content, names)
    return str(error.value)


# --- what a file may hold

WRONG: Mapping[str, tuple[object, str]] = {
    "state": (flag(state="ON"), '"state"'),
    "no state": ({"variants": {"on": True, "off": False}}, '"state"'),
    "no object": ("on", '"state"'),
    "variants": (flag(variants={"on": True}), '"variants"'),
    "numbers for variants": (flag(variants={"on": 1, "off": 0}), '"variants"'),
    "swapped variants": (flag(variants={"on": False, "off": True}), '"variants"'),
    "a third variant": (flag(variants={"on": True, "off": False, "half": True}), '"variants"'),
    "default": (flag("yes"), "`defaultVariant`"),
    "key": (flag(percent=5), ""),
    "metadata": (flag(metadata={"why": {"nested": 1}}), "Metadata"),
    "rule": (flag(targeting=["on"]), "targeting"),
    "operator": (flag(targeting={"fractionl": [["on", 5], ["off", 95]]}), "targeting"),
    "variant of a rule": (flag(targeting={"if": [{"var": "account"}, "yes", "off"]}), "yes"),
    "half percents": (flag("on", {"fractional": [["on", 2.5], ["off", 97.5]]}), "`fractional`"),
    "shares by name": (flag("on", {"if": [{"var": "nobody"}, {"fractional": ["on", 5]}]}), "`fractional`"),
    "no shares": (flag("on", {"fractional": []}), "`fractional`"),
}


@pytest.mark.parametrize(("wrong", "named"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_flag_is_named(wrong: object, named: str) -> None:
    """And the whole file is not taken: half a change would be neither what was nor what was meant."""
    said = problem(text(deferred_setup=flag(), parallel_init=wrong), "parallel-init", "deferred-setup")
    assert said.startswith(("parallel-init: ", "flagd: "))
    assert named in said


def test_a_shared_rule_is_held_to_the_same(place: Place) -> None:
    """flagd's `$evaluators` work, and a share in one that can't be read is found."""
    document = json.loads(text(parallel_init=flag(targeting={"if": [{"$ref": "ours"}, "on", "off"]})))
    document["$evaluators"] = {"ours": {"in": [{"var": "account"}, ["acme"]]}}
    place.write(json.dumps(document))
    assert drawn(place.source(), account="acme")["parallel-init"] is True
    assert drawn(place.source(), account="other")["parallel-init"] is False
    document["$evaluators"]["ours"] = {"fractional": [["on", "5"], ["off", 95]]}
    assert "`fractional`" in problem(json.dumps(document), "parallel-init")


@pytest.mark.parametrize("answer", ["onn", {"/": [1, 0]}])
def test_a_flag_that_fails_only_for_some_falls_back_for_them(
    place: Place, said: pytest.LogCaptureFixture, answer: object
) -> None:
    """What no check has found: the shipped variant, the error on the event, one warning, no traceback."""
    rule = {"if": [{"==": [{"var": "account"}, "acme"]}, answer, "off"]}
    place.write(text(parallel_init=flag(targeting=rule)))
    source = place.source()
    for _ in range(3):
        (evaluation, _other) = source.draw_session("acme", "room")
        on = SHIPPED["parallel-init"]["defaultVariant"] == "on"
        assert evaluation == Evaluation("parallel-init", on, "error", "flagd", error="general")
        assert evaluation.attributes()["error.type"] == "general"
    assert drawn(source, account="other")["parallel-init"] is False
    assert [(record.levelname, record.exc_info) for record in said.records] == [("WARNING", None)]


# --- the file as shipped


def test_the_shipped_file_is_good_and_names_every_improvement() -> None:
    """Also its metadata: what each flag changes, where it is drawn, what it predicts."""
    names = {improvement.value for improvement in Improvement}
    assert names <= parse(shipped_file().read_bytes(), names).named
    for entry in SHIPPED.values():
        assert entry["metadata"].keys() == {"changes", "drawn", "predicts"}
        assert entry["metadata"]["drawn"] in ("process", "session")
        for change in entry["metadata"]["predicts"].split():
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
