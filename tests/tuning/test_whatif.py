"""What-if: each change on starts small enough to follow by hand, and the quantiles of many against a simulated truth."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import SUBJECTS
from firstword.agent.flags.location import shipped_file
from firstword.command.flag_shares import predictions
from firstword.telemetry.record import Outcome, Start
from firstword.telemetry.vocabulary import CRITICAL
from firstword.tuning.change import BadChange, changes_of_flag, read_changes
from firstword.tuning.files import Files
from firstword.tuning.left_running import Use
from firstword.tuning.replay import NotPlayable, first_word, model_of, ttfw
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from firstword.tuning.start import RecordedStart, start_of
from firstword.tuning.whatif import NothingToPlay, predict
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.simulated import FIRST_WORD, Rewrite, Script, agent, ms, rewritten, simulate
from tests.tuning.written import T0, no_problem, write


def read_back(folder: Path, *starts: Start) -> list[Trace]:
    """The starts' traces, through the worker's own writer and the reader."""
    ids = write(folder, *starts)
    found = {trace.trace_id: trace for trace in Files(folder).traces(Query(), no_problem)}
    return [found[trace_id] for trace_id in ids]


def recorded(folder: Path, start: Start) -> RecordedStart:
    return start_of(read_back(folder, start)[0])


# What a change does, on one start
#
#   room 100 ms ──────────────┐
#   account 200 ms ─ greeting ┴─ playout 50 ms      greeting computes 80 ms, components 60 ms, nobody else computes
#   components 60 ms ─────────┘

SMALL = (
    Script("room", (), ms((0, 100))),
    Script("account", (), ms((0, 200))),
    Script("components", (), ms((60, 0))),
    Script("greeting", ("account",), ms((80, 0))),
    Script(FIRST_WORD, ("room", "greeting", "components"), ms((0, 50))),
)


@pytest.mark.parametrize(
    ("changes", "in_order", "expected"),
    [
        # 100 + 200 + 60 + 80 + 50 in order; at once the account's 200, then 80, then 50
        ("", True, 490),
        ("", False, 330),
        ("account=0.5", True, 390),
        ("account=0.5", False, 230),
        ("account=-80ms", True, 410),
        ("account=+80ms", False, 410),
        ("account=-1s", True, 290),
        ("room=gone", True, 390),
        ("room=gone", False, 330),
        # what needed it waits for nothing else: both of what computes come first, then the first word
        ("account=gone", False, 190),
        ("components=before-job", True, 430),
        # what it needs is waited for all the same
        ("greeting=before-job", False, 250),
        # the loop is free while room and account wait: only the others are left
        ("components=earlier", True, 430),
        ("room=earlier components=earlier", True, 330),
        ("room=earlier account=earlier components=earlier greeting=earlier playout=earlier", True, 330),
        ("components=deferred", True, 430),
        ("account=deferred greeting=deferred", True, 210),
        # 140 ms of computing don't fit beside 100 ms of waiting
        ("account=gone room=0.5", False, 190),
        ("account=0.1", False, 190),
        ("playout=0.5", True, 465),
    ],
)
def test_a_change_has_the_effect_that_its_name_says(
    tmp_path: Path, changes: str, in_order: bool, expected: float
) -> None:
    """In order and at once; two tasks that compute never at the same time."""
    model = model_of(recorded(tmp_path, simulate(SMALL, in_order=in_order)))
    assert first_word(model, read_changes(changes.split())) / 1000 == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ("account", "'account' is no change; expected TASK=CHANGE"),
        ("account=", "account can't become ''; expected 0.5"),
        ("account=earlyer", "account can't become 'earlyer'; expected earlier"),
        ("account=-0.5", "account can't become '-0.5'"),
        ("account=scaled", "account can't become 'scaled'"),
        ("account=gone account=0.5", "account is changed twice"),
        ("playout=gone", "playout is the first word itself"),
        ("account=deferred", "greeting needs account, so both are deferred or none; add greeting=deferred"),
    ],
)
def test_a_change_that_cannot_be_is_refused(tmp_path: Path, changes: str, says: str) -> None:
    """With the task, and what it may be."""
    model = model_of(recorded(tmp_path, simulate(SMALL, in_order=False)))
    with pytest.raises(BadChange, match=says.replace("(", r"\(")):
        first_word(model, read_changes(changes.split()))


def test_a_caller_who_was_not_there_is_no_time_that_can_be_won(tmp_path: Path) -> None:
    """He joined at 500 ms, and the greeting was ready: nothing before it matters, everything after it does."""
    scripts = (
        Script("room", (), ms((0, 100))),
        Script("caller", ("room",), ms((1, 20), (0, 0)), for_caller=True),
        Script("account", (), ms((0, 300))),
        Script(FIRST_WORD, ("caller", "account"), ms((0, 50))),
    )
    model = model_of(recorded(tmp_path, simulate(scripts, in_order=False, joined=500_000_000)))
    for changes, expected in (("", 71), ("room=gone", 71), ("account=0.5", 71), ("playout=0.5", 46), ("room=+1s", 671)):
        assert ttfw(model, read_changes(changes.split())) * 1000 == pytest.approx(expected, abs=0.1), changes


def test_a_start_without_a_first_word_cannot_be_played(tmp_path: Path) -> None:
    """It says so."""
    start = replace(simulate(SMALL, in_order=True), outcome=Outcome.TIMED_OUT, last=None)
    with pytest.raises(NotPlayable):
        model_of(recorded(tmp_path, start))


@settings(max_examples=examples(40))
@given(play=plays(outcomes=(Outcome.FIRST_WORD,)))
def test_any_start_unchanged_ends_when_it_did(tmp_path_factory: pytest.TempPathFactory, play: Play) -> None:
    """To a few microseconds, in which spans are written."""
    start = recorded(tmp_path_factory.mktemp("traces"), play.record())
    model = model_of(start)
    assert abs(first_word(model) - start.duration_us) <= 10


@settings(max_examples=examples(40))
@given(play=plays(outcomes=(Outcome.FIRST_WORD,)))
def test_before_the_job_wins_the_drag_where_nothing_computes(
    tmp_path_factory: pytest.TempPathFactory, play: Play
) -> None:
    """The trace's own figure, from the same needs, for every task that waited for nothing outside."""
    tasks = tuple(replace(task, holds=(), outside=None) for task in play.tasks)
    start = recorded(tmp_path_factory.mktemp("traces"), replace(play, tasks=tasks, joined=0).record())
    model = model_of(start)
    for task in start.tasks:
        if task.name != FIRST_WORD and not task.deferred:
            won = first_word(model) - first_word(model, read_changes([f"{task.name}=before-job"]))
            assert won / 1e6 == pytest.approx(task.drag, abs=5e-5)


# Many, against the truth


def _gone(*names: str) -> Rewrite:
    return lambda script: None if script.name in names else script


def _deferred(*names: str) -> Rewrite:
    return lambda script: replace(script, deferred=script.name in names)


def _timed(name: str, factor: float) -> Rewrite:
    return lambda script: script.timed(factor) if script.name == name else script


def _shorter(name: str, ns: int) -> Rewrite:
    return lambda s: s.timed(max(s.work - ns, 0) / s.work) if s.name == name else s


def _all_of_it(script: Script) -> Script:
    factor = {"components": 0.0, "account": 0.5}.get(script.name, 1.0)
    later = script.name in ("resumption", "analytics", "background_audio")
    return replace(script.timed(factor), deferred=later)


def _earlier(script: Script) -> Script:
    return replace(script, in_order=False)


def _taking(name: str, milliseconds: float) -> Rewrite:
    return lambda s: replace(s, stretches=ms((milliseconds, 0))) if s.name == name else s


ALL_EARLIER = " ".join(f"{script.name}=earlier" for script in agent(random.Random(0)))


SHIPPED = predictions(read(shipped_file(), SUBJECTS))
SESSIONS = [agent(random.Random(seed)) for seed in range(60)]


@pytest.fixture(scope="module", params=[True, False], ids=["in order", "at once"])
def before(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, list[Trace]]:
    """Whether the sessions ran in order, and their traces."""
    starts = [simulate(scripts, in_order=request.param, dispatch=200_000_000) for scripts in SESSIONS]
    return request.param, read_back(tmp_path_factory.mktemp("traces"), *starts)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> list[Trace]:
    """The sessions in order, without any flag."""
    starts = [simulate(scripts, in_order=True, dispatch=200_000_000) for scripts in SESSIONS]
    return read_back(tmp_path_factory.mktemp("baseline"), *starts)


@pytest.mark.parametrize(
    ("changes", "truth"),
    [
        (ALL_EARLIER, _earlier),
        ("account=0.5", _timed("account", 0.5)),
        ("account=2", _timed("account", 2)),
        ("resumption=-80ms", _shorter("resumption", 80_000_000)),
        ("session=-40ms", _shorter("session", 40_000_000)),
        ("resumption=gone", _gone("resumption")),
        ("components=before-job", _timed("components", 0)),
        ("resumption=deferred analytics=deferred", _deferred("resumption", "analytics")),
        (
            "resumption=deferred analytics=deferred background_audio=deferred components=before-job account=0.5",
            _all_of_it,
        ),
    ],
)
def test_predicted_p50_is_near_the_truth(before: tuple[bool, list[Trace]], changes: str, truth: Rewrite) -> None:
    """Within 10 ms of what the changed agent really takes, in 60 seeded sessions."""
    in_order, traces = before
    after = [simulate(rewritten(scripts, truth), in_order=in_order, dispatch=200_000_000) for scripts in SESSIONS]
    found = predict(traces, read_changes(changes.split()))
    real = statistics.median(_ttfws(after))
    p50 = found.forecasts[0]
    assert abs(p50.predicted - real) <= 0.010, (p50.now, p50.predicted, real)
    assert p50.predicted_range is not None
    assert p50.predicted in p50.predicted_range


# What each flag of the shipped file does to the agent: written of the agent, not of what the flag predicts

FLAGS: dict[str, Rewrite] = {
    "parallel-init": _earlier,
    "lazy-room-options": _taking("room_options", 0.0),
    "cached-config": _taking("config", 0.1),
    "deferred-setup": _deferred("event_handlers", "background_audio", "resumption", "analytics"),
    # a hit is read from a file
    "account-cache": _taking("account", 1.0),
    # they are made to fit the account
    "component-pool": _taking("components", 0.2),
    # the minimal one is made in no time
    "assistant-prewarm": _taking("assistant", 0.1),
    "deferred-metrics": _deferred("metrics"),
}


def test_all_flags_of_the_shipped_file_that_can_be_predicted_are_tried() -> None:
    """A new one needs its line above."""
    assert {flag for flag, changes in SHIPPED.items() if changes} == FLAGS.keys()


@pytest.mark.parametrize("flag", FLAGS)
def test_what_the_shipped_flags_predict_is_near_the_truth(baseline: list[Trace], flag: str) -> None:
    """From starts without any flag: within 10 ms of what the agent with it takes."""
    after = [simulate(rewritten(scripts, FLAGS[flag]), in_order=True, dispatch=200_000_000) for scripts in SESSIONS]
    real = statistics.median(_ttfws(after))
    p50 = predict(baseline, changes_of_flag(SHIPPED, flag), flag=flag).forecasts[0]
    assert abs(p50.predicted - real) <= 0.010, (p50.now, p50.predicted, real)


def _ttfws(starts: Sequence[Start]) -> list[float]:
    return [start.ttfw for start in starts if start.ttfw is not None]


def test_the_same_sessions_give_the_same_ranges(tmp_path: Path) -> None:
    """The bootstrap is seeded; a range holds what it is of, and of one session there is none."""
    starts = [simulate(agent(random.Random(seed)), in_order=True) for seed in range(12)]
    traces = read_back(tmp_path, *starts)
    changes = read_changes(["account=0.5"])
    found = predict(traces, changes)
    assert found == predict(traces, changes)
    assert (found.sessions, found.played, found.moved) == (12, 12, 12)
    for of in found.forecasts:
        assert of.predicted_range is not None
        assert of.difference_range is not None
        assert of.predicted in of.predicted_range
        assert of.difference_range.high < 0
    (one, _) = predict(traces[:1], changes).forecasts
    assert (one.predicted_range, one.difference_range) == (None, None)


def test_errors_stay_infinitely_late_and_callers_who_left_stay_censored(tmp_path: Path) -> None:
    """A change predicts nothing of them: with three of four failed, p50 is never."""
    good = simulate(SMALL, in_order=True)
    failed = replace(good, outcome=Outcome.FAILED, last="account", end=T0 + 300_000_000, tasks=good.tasks[:2])
    found = predict(read_back(tmp_path, good, failed, failed, failed), read_changes(["room=gone"]))
    assert (found.sessions, found.played) == (4, 1)
    assert [of.predicted for of in found.forecasts] == [float("inf")] * 2
    with pytest.raises(NothingToPlay, match="no start can be played, of 1 start"):
        predict(read_back(tmp_path / "failed", failed), read_changes(["room=gone"]))


def test_short_steps_wait_for_long_ones_each_time(tmp_path: Path) -> None:
    """Twenty steps of a store's answer beside a task that holds the loop for 20 ms at a time: one of it before each of them."""
    store = Script("store", (), ms(*[(0.1, 0.5)] * 10, (0.1, 100), *[(0.1, 0.5)] * 10))
    session = Script("session", (), ms(*[(20, 0.1)] * 8))
    scripts = (store, session, Script(FIRST_WORD, ("store", "session"), ms((0, 50))))
    model = model_of(recorded(tmp_path, simulate(scripts, in_order=True)))
    truth = simulate(scripts, in_order=False)
    changes = read_changes(["store=earlier", "session=earlier"])
    # the session's 160 ms come before the store so much as asks; then its 100, its other steps, the first word's 50
    assert (truth.end - T0) / 1e6 == pytest.approx(160 + 100 + 50, abs=10)
    assert first_word(model, changes) == pytest.approx((truth.end - T0) / 1000, abs=1_000)


def test_what_a_task_left_running_is_waited_for_by_who_needs_it(tmp_path: Path) -> None:
    """The session makes the voice's connection in the background: without what came between, the greeting waits for it."""
    scripts = (
        Script("session", (), ms((0, 100))),
        Script("resumption", (), ms((0, 300))),
        Script(FIRST_WORD, ("session",), ms((0, 200))),
    )
    traces = [
        _leaving(trace, "session", until_us=250_000)
        for trace in read_back(tmp_path, *[simulate(scripts, in_order=True)] * 3)
    ]
    found = predict(traces, read_changes(["resumption=gone"]))
    assert found.uses == (Use(FIRST_WORD, "session", "GET /v1/speak"),)
    assert (found.forecasts[0].now, found.forecasts[0].predicted) == pytest.approx((0.600, 0.450), abs=1e-4)
    # it goes with the task that began it
    for change, speaks in (("session=gone", 0.500), ("session=before-job", 0.500), ("session=+100ms", 0.700)):
        assert predict(traces, read_changes([change])).forecasts[0].predicted == pytest.approx(speaks, abs=1e-4), change
    without = predict(traces, read_changes(["resumption=gone", "session=before-job"]))
    assert without.forecasts[0].predicted == pytest.approx(0.200, abs=1e-4)


def _leaving(trace: Trace, task: str, *, until_us: int) -> Trace:
    """The trace with a request in it that the task began, and that went on until so long after the root's start."""
    within = next(span for span in trace.spans if span.name == task)
    request = replace(
        within,
        span_id="f" * 16,
        parent_id=within.span_id,
        name="GET",
        end_ns=trace.root.start_ns + until_us * 1000,
        attributes={"http.url": "ws://voice.example/v1/speak?model=a"},
        links=(),
    )
    return replace(trace, spans=(*trace.spans, request))


def test_a_start_that_lost_spans_is_left_out_and_counted(tmp_path: Path) -> None:
    """It had a first word and can't be played: it is in no figure, and not among those without one."""
    good = simulate(SMALL, in_order=True)
    lossy, *whole = read_back(tmp_path, good, good, good)
    lossy = replace(lossy, spans=tuple(span for span in lossy.spans if CRITICAL not in span.attributes))
    changes = read_changes(["account=0.5"])
    found = predict([*whole, lossy], changes)
    assert (found.sessions, found.played, found.left_out) == (3, 2, 1)
    assert found.forecasts == predict(whole, changes).forecasts


def test_a_flag_is_predicted_from_starts_without_it(tmp_path: Path) -> None:
    """Starts that have it are left out; tasks that a start lacks are passed over, unless none of them is anywhere."""
    off = simulate(SMALL, in_order=True)
    on = replace(simulate(SMALL, in_order=False), flags={"parallel-init": "on"})
    traces = read_back(tmp_path, off, on)
    changes = read_changes(["identity=earlier", "room=earlier"])
    found = predict(traces, changes, flag="parallel-init")
    assert (found.played, found.already) == (1, 1)
    assert found.forecasts[0].predicted == pytest.approx(0.39, abs=1e-3)
    with pytest.raises(NothingToPlay, match="the only start has the flag on already"):
        predict(traces[1:], changes, flag="parallel-init")
    with pytest.raises(BadChange, match="no start has a task identity; there is: "):
        predict(traces, changes)
    with pytest.raises(BadChange, match="no start has a task accont; nearest: account"):
        predict(traces, read_changes(["accont=gone"]), flag="parallel-init")


def test_nothing_to_play_is_said() -> None:
    """Of an empty source."""
    with pytest.raises(NothingToPlay, match="no trace"):
        predict([], read_changes(["account=gone"]))
