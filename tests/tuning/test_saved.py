"""Figures saved, read back, and held against those of later."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstword.telemetry.record import Outcome
from firstword.tuning.difference import Change, More, diff
from firstword.tuning.observation import Observation
from firstword.tuning.sampling import Sampling
from firstword.tuning.saved import SavedError, load, save, saved_of
from tests.properties import examples
from tests.tuning.sessions_drawn import World, experiment

THEN = experiment(1, 600, World(), World())
FAILED = Observation(Outcome.FAILED, math.inf)
LEFT = Observation(Outcome.ABANDONED, 0.4)


@pytest.mark.parametrize(
    "sessions",
    [
        THEN,
        THEN[:1],
        [FAILED] * 50,
        [*THEN[:30], *[LEFT] * 5, FAILED],
        [dataclasses.replace(o, sampling=Sampling(10.0)) for o in THEN[:90]] + THEN[90:99],
    ],
    ids=["many", "one", "all failed", "some left", "of a sampled store"],
)
def test_what_is_saved_is_read_back(tmp_path: Path, sessions: list[Observation]) -> None:
    """What is infinite, what is only known to be later, and what each counts for: all figures are what they were."""
    saved = saved_of(sessions)
    save(saved, tmp_path / "startup.json")
    read = load(tmp_path / "startup.json")
    assert read.sessions == saved.sessions
    assert {name: (f.value, f.interval) for name, f in read.figures.items()} == {
        name: (f.value, f.interval) for name, f in saved.figures.items()
    }
    assert {each.change for each in diff(read, saved)} == {Change.SAME}
    assert not any(each.within for each in diff(read, saved))


def test_the_file_is_for_people_too(tmp_path: Path) -> None:
    """A figure has its value and its range; a sample is a line of text, in which many starts share a value."""
    save(saved_of(THEN), tmp_path / "startup.json")
    document = json.loads((tmp_path / "startup.json").read_text())
    assert {"ttfw.p50", "ttfw.p90", "ttfw.p99", "errors", "task.account.p50"} <= set(document["figures"])
    figure = document["figures"]["ttfw.p50"]
    assert figure["low"] < figure["value"] < figure["high"]
    sample = document["samples"]["ttfw"]
    assert sample["starts"] == 600
    assert len(sample["values"].split()) < 300, "three digits of each"
    assert (tmp_path / "startup.json").stat().st_size < 12_000


def test_the_same_again_is_not_called_a_change() -> None:
    """Other sessions of the same kind: the same within what is said, or not sure, and how many more would tell."""
    found = {each.name: each for each in diff(saved_of(THEN), saved_of(experiment(2, 600, World(), World())))}
    assert {each.change for each in found.values()} == {Change.SAME, Change.UNSURE}
    assert 0 < found["init.p50"].within <= 0.1 * 1.71
    more = found["ttfw.p50"].more
    assert more is not None
    assert 100 <= more.starts <= 10_000
    assert more.starts % 10 == 0


def test_what_nobody_notices_is_the_same() -> None:
    """However sure it is: three tenths of a millisecond."""
    shorter = [dataclasses.replace(o, tasks={"participant": 0.0003 + i % 7 * 1e-5}) for i, o in enumerate(THEN)]
    longer = [dataclasses.replace(o, tasks={"participant": 0.0006 + i % 7 * 1e-5}) for i, o in enumerate(THEN)]
    found = {each.name: each for each in diff(saved_of(shorter), saved_of(longer))}
    assert found["task.participant.p50"].interval.low > 0
    assert found["task.participant.p50"].change is Change.SAME


def test_ten_starts_against_ten() -> None:
    """The slowest now is faster than the fastest then: the median needs a few more starts, p90 some tens."""
    fast = [dataclasses.replace(o, ttfw=o.ttfw * 0.2) for o in experiment(2, 10, World(), World())]
    found = {each.name: each for each in diff(saved_of(THEN[:10]), saved_of(fast))}
    assert max(o.ttfw for o in fast) < min(o.ttfw for o in THEN[:10])
    assert (found["ttfw.p50"].change, found["ttfw.p50"].more) == (Change.UNSURE, More(10, saved_too=True))
    assert (found["ttfw.p90"].change, found["ttfw.p90"].more) == (Change.UNSURE, More(50, saved_too=False))
    fast = [dataclasses.replace(o, ttfw=o.ttfw * 0.2) for o in experiment(2, 15, World(), World())]
    assert diff(saved_of(THEN[:15]), saved_of(fast))[0].change is Change.FASTER


def test_the_task_that_got_slower_is_named() -> None:
    """One task takes twice as long: it stands first among the tasks, and is slower; nothing else is."""
    slower = [
        dataclasses.replace(o, tasks={name: s * (2 if name == "account" else 1) for name, s in o.tasks.items()})
        for o in experiment(2, 600, World(), World())
    ]
    changes = diff(saved_of(THEN), saved_of(slower))
    tasks = [each for each in changes if each.name.startswith("task.")]
    assert [each.name for each in tasks[:2]] == ["task.account.p50", "task.account.p90"]
    assert {each.name.rpartition(".")[0] for each in changes if each.change is Change.SLOWER} == {"task.account"}
    back = {each.name: each.change for each in diff(saved_of(slower), saved_of(THEN))}
    assert back["task.account.p50"] is Change.FASTER


def test_errors_are_more_or_fewer() -> None:
    """A share is not fast or slow."""
    failing = [*THEN[:500], *[FAILED] * 100]
    for then, now, change in ((THEN, failing, Change.MORE), (failing, THEN, Change.FEWER)):
        found = {each.name: each.change for each in diff(saved_of(then), saved_of(now))}
        assert found["errors"] is change


def test_a_task_that_came_and_one_that_went() -> None:
    """They are named as such; nothing is said of their speed."""
    renamed = [dataclasses.replace(o, tasks={"konto": o.tasks.get("account", 0.1)}) for o in THEN]
    changes = {each.name: each.change for each in diff(saved_of(THEN), saved_of(renamed))}
    assert (changes["task.account.p50"], changes["task.konto.p50"]) == (Change.GONE, Change.NEW)


def test_never_then_and_never_now() -> None:
    """Infinity less infinity is nothing known; of the same starts it is the same."""
    failed, others = saved_of([FAILED] * 50), saved_of([FAILED] * 49)
    assert {each.change for each in diff(failed, failed)} == {Change.SAME}
    ttfw = diff(failed, others)[0]
    assert (ttfw.name, ttfw.change, ttfw.more) == ("ttfw.p50", Change.UNSURE, None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no JSON"),
        ("[]", "is no file of `firstword save`"),
        ('{"sessions": 1}', "is no file of `firstword save`"),
        ('{"firstword": 1}', "has format 1; this firstword reads 2: save the figures again"),
        ('{"firstword": 2, "sessions": 1, "samples": {"ttfw": "1"}}', "is no file of `firstword save`"),
        ('{"firstword": 2, "sessions": 1, "samples": {"ttfw": {"starts": 1, "values": "1 x"}}}', "is no file of"),
        ('{"firstword": 2, "sessions": 1, "samples": {"ttfw": {"starts": 1, "values": "1 2"}}}', "is no file of"),
        ('{"firstword": 2, "sessions": 1, "samples": {"ttfw": {"starts": 1, "values": "-1"}}}', "is no file of"),
        ('{"firstword": 2, "sessions": 1, "samples": {"ttfw": {"starts": 1e9, "values": "1*99999999"}}}', "is no file"),
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
        save(saved_of(THEN), tmp_path)


tokens = st.lists(
    st.from_regex(
        r"(never|[0-9]{1,3}(\.[0-9]{1,2})?(e[+-]?[0-9]{1,3})?)\+?(@0?\.[0-9])?(\*[0-9]{1,3})?", fullmatch=True
    ),
    max_size=6,
).map(" ".join)
samples = st.fixed_dictionaries(
    {"starts": st.one_of(st.integers(-1, 1000), st.floats(allow_nan=True)), "values": st.one_of(tokens, st.text())}
)


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of=st.dictionaries(st.sampled_from(["ttfw", "errors", "task.account", "task.", "\x1b"]), samples, max_size=3))
def test_a_file_of_anything_is_compared_or_refused(tmp_path: Path, of: dict[str, object]) -> None:
    """Whoever edited it: no error but ours, and every difference has a word."""
    (tmp_path / "startup.json").write_text(json.dumps({"firstword": 2, "sessions": 1, "samples": of}))
    try:
        then = load(tmp_path / "startup.json")
    except SavedError:
        return
    for now in (saved_of(THEN[:9]), then):
        for each in [*diff(then, now), *diff(now, then)]:
            assert each.change in Change
            assert each.more is None or each.more.starts > 0
