"""Flag files and `.env.local` as nobody wrote them: worker, tune and doctor agree on each, and none ends in a traceback."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from firstword.agent import env_file
from firstword.agent.env_file import EnvFileError
from firstword.agent.flags.flag_file import FlagFile, FlagFileError, parse, read
from firstword.agent.flags.flag_set import ALL_OFF
from firstword.agent.flags.improvements import SUBJECTS
from firstword.agent.flags.writer import FlagFileWriter, Move
from firstword.agent.settings import SettingsError, read_settings
from firstword.command.flag_shares import predictions, rollouts
from tests.agent.flag_files import flag
from tests.properties import examples

tried = settings(
    max_examples=examples(200),
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
OURS = ("parallel-init", "deferred-setup", "component-pool", "smart-greeting")

Json = st.SearchStrategy[Any]


def _rule(bucketing: list[Any], parts: list[Any]) -> dict[str, Any]:
    return {"fractional": [*bucketing, *(list(part) for part in parts)]}


def _plain(bucketing: list[Any], on: int, turned: bool) -> dict[str, Any]:
    shares = [["on", on], ["off", 100 - on]]
    return {"fractional": [*bucketing, *(reversed(shares) if turned else shares)]}


def _branches(condition: Any, parts: list[Any]) -> dict[str, Any]:
    return {"if": [condition, *parts]}


def _altered(flag: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**flag, key: value}


def _document(ours: dict[str, Any], theirs: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {**more, "flags": {**theirs, **ours}}


scalars: Json = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 120),
    st.floats(allow_nan=False),
    st.sampled_from(["on", "off", "", "account"]),
    st.text(max_size=5),
)


def _nested(inner: Json) -> Json:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3))


anything: Json = st.recursive(scalars, _nested, max_leaves=8)
weights: Json = st.one_of(
    st.integers(-5, 100), st.floats(0, 100), st.sampled_from(["5", {"*": [2, 5]}, True])
)  # fmt: skip
share: Json = st.one_of(
    st.tuples(st.sampled_from(["on", "off", "yes", None]), weights), st.tuples(st.sampled_from(["on", "off"]))
)  # fmt: skip
by_flag_and_key = {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}
buckets: Json = st.sampled_from([[], [{"var": "account"}], [{"var": "room"}], [by_flag_and_key], ["all"]])
fractional: Json = st.builds(_rule, buckets, st.lists(share, max_size=3))
plain: Json = st.builds(_plain, buckets, st.integers(0, 100), st.booleans())
answers: Json = st.one_of(
    st.sampled_from(["on", "off", None, "yes", {"$ref": "ours"}, {"/": [1, 0]}]), fractional, plain
)  # fmt: skip
conditions: Json = st.sampled_from(
    [{"var": "account"}, {"==": [{"var": "room"}, "room-1"]}, {"sem_ver": ["x", "=", "1"]}, {"eq": [1, 1]}]
)
rules: Json = st.one_of(fractional, st.builds(_branches, conditions, st.lists(answers, max_size=3)), anything)
good_flags: Json = st.builds(
    flag, st.sampled_from(["on", "off", None, ""]), st.one_of(st.none(), plain, plain, fractional, rules)
)
altered: Json = st.builds(
    _altered, good_flags, st.sampled_from(["state", "variants", "defaultVariant", "metadata", "x"]), anything
)
flags: Json = st.one_of(good_flags, st.builds(flag, st.just("off"), plain), altered, anything)
documents: Json = st.builds(
    _document,
    st.dictionaries(st.sampled_from(OURS), flags, max_size=4),
    st.dictionaries(st.text(max_size=8), anything, max_size=2),
    st.dictionaries(
        st.sampled_from(["$evaluators", "metadata", "$schema"]), anything | st.just({"ours": "on"}), max_size=2
    ),
)


def parsed(document: Any) -> FlagFile:
    return parse(json.dumps(document).encode(), SUBJECTS)


def drawn(file: FlagFile, name: str, sessions: int) -> int:
    """How many of the sessions get it from flagd, none of which has an account."""
    core = ALL_OFF.followed_by(file).core
    by_process = SUBJECTS[name] == "process"
    facts = [{} if by_process else {"room": f"room-{n}"} for n in range(sessions)]
    on = 0
    for n in range(sessions):
        with suppress(Exception):  # a rule may fail for one session, which is off then
            on += core.resolve_boolean_value(name, False, EvaluationContext(f"room-{n}", facts[n])).value
    return on


@tried
@given(documents)
def test_what_tune_and_doctor_call_a_share_is_what_workers_draw(document: Any) -> None:
    """Of a flag that is called off, or on for all, each session; of any other share about as many as it says."""
    file = parsed(document)
    for rollout in rollouts(file, 0.0):
        if rollout.fixed is None:
            found = drawn(file, rollout.flag, 300)
            assert abs(found - 3 * rollout.percent) <= (0 if rollout.percent in (0, 100) else 55)
            assert file.flags[rollout.flag].possible or rollout.percent == 0
    for name, each in file.flags.items():
        assert each.possible or drawn(file, name, 50) == 0
    assert predictions(file).keys() == file.flags.keys()


@tried
@given(documents)
def test_what_a_worker_keeps_of_a_file_means_the_same(document: Any) -> None:
    """The last good copy holds our flags alone, and nothing is lost or added on the way through it."""
    file = parsed(document)
    kept = ALL_OFF.followed_by(file)
    again = parse(kept.as_file(), SUBJECTS)
    assert (again.bad, again.remarks) == ({}, ())
    assert {name: each.percent for name, each in again.flags.items()} == {
        n: each.percent for n, each in file.flags.items()
    }
    assert kept.followed_by(parsed({"flags": dict.fromkeys(OURS, 0)})).flags.keys() == file.flags.keys()


@tried
@given(documents, st.sampled_from(OURS), st.integers(0, 100), st.sampled_from([None, 0, 1, 4]))
def test_what_is_moved_is_what_workers_take_and_nothing_else_changes(
    document: Any, name: str, percent: int, indent: int | None
) -> None:
    """Any flag that is a share can be moved to any other; each other value in the file is the same text as before."""
    file = parsed(document)
    if name not in file.flags or file.flags[name].percent is None:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, "flags.json")
        path.write_text(json.dumps(document, indent=indent))
        FlagFileWriter(path, SUBJECTS).write([Move(name, percent, "why", 1e9)])
        after = read(path, SUBJECTS)
        assert after.flags[name].percent == percent
        assert after.bad == file.bad
        assert abs(drawn(after, name, 300) - 3 * percent) <= (0 if percent in (0, 100) else 55)
        before = json.loads(json.dumps(document))
        moved = json.loads(path.read_bytes())
        ours, theirs = before["flags"].pop(name), moved["flags"].pop(name)
        assert moved == before
        touched = {"defaultVariant", "targeting", "metadata"}
        assert {k: v for k, v in theirs.items() if k not in touched} == {
            k: v for k, v in ours.items() if k not in touched
        }


@tried
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: text.encode()),
        anything.map(lambda v: json.dumps(v).encode()),
    )
)
def test_a_file_of_anything_is_taken_or_refused_in_one_line(content: bytes) -> None:
    """Whoever reads it: one error, in plain words."""
    refused = ""
    try:
        parse(content, SUBJECTS)
    except FlagFileError as error:
        refused = str(error)
    assert refused.startswith("expected ") or not refused
    assert "\n" not in refused


NAMES = (
    "LIVEKIT_URL",
    "livekit_api_key",
    "export OPENAI_API_KEY",
    "OTEL_SERVICE_NAME",
    "FIRSTWORD_SLOW",
    "OTHER",
    "'FLAGD_A=B'",
)
VALUES = ("ws://h:1", "'a", '"a', "'a b' # c", "a#b", "${HOME}", "${X:-y}", "$1", "2", '"\\n"', "a\0b", "\u200b")


def _line(name: str, equals: str, value: str) -> str:
    return f"{name}{equals}{value}"


lines: Json = st.one_of(
    st.builds(
        _line,
        st.sampled_from(NAMES),
        st.sampled_from(["=", " = ", "", "=="]),
        st.one_of(st.sampled_from(VALUES), st.text(max_size=6)),
    ),
    st.text(max_size=12),
)


@tried
@given(st.one_of(st.lists(lines, max_size=6).map("\n".join).map(str.encode), st.binary(max_size=40)), st.booleans())
def test_an_env_file_of_anything_sets_the_same_for_all_or_is_refused_in_one_line(content: bytes, marked: bool) -> None:
    """What it sets can be set, the environment of worker and commands is the same, and reading it again changes nothing."""
    before = dict(os.environ)
    with TemporaryDirectory() as folder:
        home = Path.cwd()
        os.chdir(folder)
        try:
            Path(".env.local").write_bytes((b"\xef\xbb\xbf" if marked else b"") + content)
            file, refused = env_file.EnvFile(), ""
            try:
                file = env_file.load()
            except EnvFileError as error:
                refused = str(error)
            assert "\n" not in refused
            assert all(os.environ[name] == value for name, value in file.values.items() if name not in before)
            assert {name for name in os.environ if name not in before} == file.values.keys() - before.keys()
            now = dict(os.environ)
            with suppress(SettingsError):
                read_settings()
            assert dict(os.environ) == now
            lost = {fault.variable for fault in file.faults_in(os.environ) if fault.lost}
            assert lost.isdisjoint(os.environ)
        finally:
            os.chdir(home)
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
