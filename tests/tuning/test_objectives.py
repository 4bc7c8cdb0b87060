"""Objectives: what may be written, what they answer, and how sure that is."""

import math

import pytest

from firstword.telemetry.record import Outcome
from firstword.tuning.objectives import ObjectiveError, answer, objective
from firstword.tuning.observation import Observation
from tests.tuning.sessions_drawn import World, experiment

SESSIONS = experiment(1, 400, World(), World())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttfw.p90<1.5", "ttfw.p90<1.5: missed: 1.75 s in 400 sessions"),
        (" ttfw.p50 < 1.5", "ttfw.p50<1.5: met: 1.21 s in 400 sessions"),
        ("errors<0.2", "errors<0.2: met: 0.005 in 400 sessions"),
        ("fallbacks<0.1", "fallbacks<0.1: met: 0 in 400 sessions"),
        ("task.voice.max<0.2", "task.voice.max<0.2: met: 0.1 s in 393 sessions"),
        ("init.max<9", "init.max<9: missed: never in 400 sessions"),
        ("ttfw.p90<1500ms", "ttfw.p90<1500ms: missed: 1.75 s in 400 sessions"),
        ("ttfw.p90 < 3 s", "ttfw.p90<3s: met: 1.75 s in 400 sessions"),
        ("errors<20%", "errors<20%: met: 0.005 in 400 sessions"),
    ],
)
def test_an_objective_is_met_or_missed(text: str, says: str) -> None:
    """The line says the figure and of how many sessions."""
    assert str(answer(objective(text), SESSIONS)) == says


def test_what_was_heard_is_an_audits() -> None:
    """No trace tells it."""
    sessions = [
        Observation(Outcome.FIRST_WORD, 1.0, heard=1.1),
        Observation(Outcome.FAILED, math.inf, heard=math.inf),
        Observation(Outcome.FIRST_WORD, 1.0, heard=1.2),
    ]
    assert str(answer(objective("heard.p50<1.25"), sessions)).startswith("heard.p50<1.25: met: 1.2 s in 3 sessions")
    assert not answer(objective("heard.max<9"), sessions).met
    with pytest.raises(ObjectiveError, match="no trace tells what was heard; expected ttfw"):
        answer(objective("heard.p50<1.25"), SESSIONS)


def test_too_few_sessions_are_said() -> None:
    """The figure seen decides; that it may be chance is said: p99 of twenty is the slowest one. Of many, it is sure."""
    few, many = (answer(objective("ttfw.p50<1.5"), sessions) for sessions in (SESSIONS[:10], SESSIONS))
    assert (few.met, few.sure) == (True, False)
    assert "; too few to be sure, it may be " in str(few)
    assert (many.met, many.sure) == (True, True)
    assert str(answer(objective("ttfw.p99<9"), SESSIONS[:5])).endswith(" s or more")


def test_one_session_all_failed_and_no_session_that_says() -> None:
    """One session is its own median; errors are never on time; where none says, the objective is missed."""
    assert answer(objective("ttfw.p90<2"), [Observation(Outcome.FIRST_WORD, 1.0)]).met
    failed = [Observation(Outcome.FAILED, math.inf)] * 30
    late = answer(objective("ttfw.p50<2"), failed)
    assert (late.met, late.sure, str(late)) == (False, True, "ttfw.p50<2: missed: never in 30 sessions")
    nothing = answer(objective("ttfw.p50<2"), [])
    assert (nothing.met, str(nothing)) == (False, "ttfw.p50<2: missed: no session says")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttfw.p90>1.5", "'ttfw.p90>1.5' is no objective; expected NAME<LIMIT, as ttfw.p90<1500ms or errors<1%"),
        ("tfw.p90<1.5", "no figure is named 'tfw.p90'; there is: ttfw.p90"),
        ("ttfw.p95<1.5", "no figure is named 'ttfw.p95'; there is: ttfw.p"),
        ("eror<1", "there is: errors"),
        ("task.p90<1", "there is: task.NAME.p90"),
        ("errors<1.2.3", "'1.2.3' is no number"),
        ("ttfw.p90<1500us", "'us' is no unit of ttfw.p90; expected a limit as 1500ms, 1.5s or 1.5"),
        ("ttfw.p90<5%", "'%' is no unit of ttfw.p90"),
        ("errors<5ms", "'ms' is no unit of errors; expected a limit as 1% or 0.01"),
        ("", "is no objective"),
    ],
)
def test_a_wrong_objective_gets_the_nearest_right_one(text: str, says: str) -> None:
    """Before any trace is read."""
    with pytest.raises(ObjectiveError) as wrong:
        objective(text)
    assert says in str(wrong.value)


def test_a_task_that_no_session_has() -> None:
    """The nearest ones that there are; without any, that."""
    with pytest.raises(ObjectiveError, match="no session has a task 'acount'; there is: account"):
        answer(objective("task.acount.p50<1"), SESSIONS)
    with pytest.raises(ObjectiveError, match="none has any task"):
        answer(objective("task.account.p50<1"), [Observation(Outcome.FIRST_WORD, 1.0)])
