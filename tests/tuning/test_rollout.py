"""Simulated weeks: what becomes of good, bad, useless and quarrelling flags when `plan` is followed step by step."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from firstword.tuning.observation import DrawnBy, Observation
from firstword.tuning.rollout import ENOUGH, LADDER, SETTLING, Action, Ladder, Rollout, RolloutStep, plan
from tests.tuning.sessions_drawn import World, Worlds, draw, experiment


@dataclass
class Week:
    """How it ended."""

    shares: dict[str, int]
    exposed: dict[str, int]
    """Sessions that had the flag on."""
    moves: list[RolloutStep]
    sessions: int


def week(
    seed: int,
    worlds: Worlds,
    rollouts: Sequence[Rollout],
    look: int = 250,
    looks: int = 120,
    *,
    ladder: Ladder = LADDER,
) -> Week:
    """Follow the plan until nothing is left to do, or for so many looks, `look` sessions apart."""
    random, now, seen = np.random.default_rng(seed), 1e9, list[Observation]()
    known = list(rollouts)
    ended = Week({}, {rollout.flag: 0 for rollout in known}, [], 0)
    for _ in range(looks):
        for _ in range(look):
            now += 10
            on = {rollout.flag: random.random() * 100 < rollout.percent for rollout in known}
            for flag, is_on in on.items():
                ended.exposed[flag] += is_on
            seen.append(draw(random, {flag: "on" if is_on else "off" for flag, is_on in on.items()}, worlds(on), now))
        ended.sessions += look
        steps = plan(seen, known, ladder=ladder)
        assert sum(step.moves for step in steps) <= 1
        if steps[0].moves:
            ended.moves.append(steps[0])
            known = [moved(rollout, steps[0], now) for rollout in known]
            seen.clear()
        if all(step.action in (Action.DONE, Action.LEFT) for step in steps):
            break
    ended.shares = {rollout.flag: rollout.percent for rollout in known}
    return ended


def moved(rollout: Rollout, step: RolloutStep, now: float) -> Rollout:
    if rollout.flag != step.flag:
        return rollout
    back = step.reason if step.action is Action.TURN_BACK else None
    return dataclasses.replace(rollout, percent=step.to, since=now, turned_back=back)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("factor", [0.85, 0.9], ids=["15 % faster", "10 % faster"])
def test_a_good_flag_ends_at_a_hundred(factor: float, seed: int) -> None:
    """Up the ladder, step by step, each on new sessions."""
    ended = week(seed, lambda on: World(factor if on["good"] else 1.0), [Rollout("good", 0)])
    assert ended.shares == {"good": 100}
    assert [step.to for step in ended.moves] == [5, 25, 50, 100]
    assert ended.sessions < 12_000


@pytest.mark.parametrize(("shares", "probed"), [((20, 50, 100), 50), ((5, 100), 5), ((10, 20, 30, 100), 20)])
def test_other_shares_are_gone_through_by_the_same_rules(shares: tuple[int, ...], probed: int) -> None:
    """Up to the second share a flag that is not much worse goes on; past it only one that is surely faster; never to all at once."""
    ladder = Ladder(shares)
    assert ladder.probed == probed
    ended = week(1, lambda on: World(0.8 if on["good"] else 1.0), [Rollout("good", 0)], ladder=ladder)
    assert tuple(step.to for step in ended.moves) == shares
    for step in ended.moves[1:]:
        assert ("not much worse" in step.reason) == (step.to <= probed)
    useless = week(1, lambda _: World(), [Rollout("useless", 0)], look=7000, looks=9, ladder=ladder)
    assert max(step.to for step in useless.moves) == probed
    assert useless.shares == {"useless": 0}


@pytest.mark.parametrize(
    "shares", [(), (100,), (5, 50), (50, 25, 100), (5, 5, 100), (0, 100), (5, 101), range(90, 101)]
)
def test_shares_that_do_not_grow_to_a_hundred_are_none(shares: Sequence[int]) -> None:
    """They are at least two, and at most ten."""
    with pytest.raises(ValueError, match="two to 10 whole numbers that grow, and end with 100"):
        Ladder(tuple(shares))


@pytest.mark.parametrize(
    ("bad", "most"),
    [
        (World(1.3), 150),
        (World(0.8, errors=0.2), 80),
        (World(1.0, leaving=0.3), 80),
        (World(errors=1.0), 40),
    ],
    ids=["slower", "fails", "callers leave", "always fails"],
)
def test_a_bad_flag_ends_at_zero_with_bounded_harm(bad: World, most: int) -> None:
    """Turned back from 5 %, and not tried again; so few sessions met it, in each of three weeks."""
    for seed in (1, 2, 3):
        ended = week(seed, lambda on: bad if on["bad"] else World(), [Rollout("bad", 0)])
        assert ended.shares == {"bad": 0}
        assert [step.action for step in ended.moves] == [Action.START, Action.TURN_BACK]
        assert f"{ended.exposed['bad']} sessions met it" in ended.moves[-1].reason
        assert ended.exposed["bad"] <= most


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_slightly_bad_flag_ends_at_zero_from_a_quarter(seed: int) -> None:
    """10 % slower: at 5 % that may be chance, at 25 % it is seen; some hundred sessions met it, never more than a quarter."""
    ended = week(seed, lambda on: World(1.1 if on["bad"] else 1.0), [Rollout("bad", 0)])
    assert ended.shares == {"bad": 0}
    assert [step.to for step in ended.moves] == [5, LADDER.probed, 0]
    assert ended.exposed["bad"] <= 1_500


def test_a_flag_that_turns_bad_is_turned_back_from_where_it_is() -> None:
    """Good at first, failing later, at 50 %: the next looks see it, and it goes to 0 at once."""
    seen = experiment(1, 200, World(0.8, errors=0.3))
    steps = plan(seen, [Rollout("f", 50, since=seen[0].time - 60)])
    assert (steps[0].action, steps[0].to) == (Action.TURN_BACK, 0)
    assert steps[0].reason.startswith("more errors: ")


def test_a_useless_flag_is_not_ramped_for_nothing() -> None:
    """It never gets past the quarter on which its gain is measured, and goes back when there is none."""
    ended = week(4, lambda on: World(), [Rollout("useless", 0)], look=1500, looks=30)
    assert ended.shares == {"useless": 0}
    assert max(step.to for step in ended.moves) == LADDER.probed
    assert ended.moves[-1].action is Action.TURN_BACK
    assert "no gain" in ended.moves[-1].reason or "gains less than 5 %" in ended.moves[-1].reason


def test_two_flags_that_hurt_each_other_do_not_both_end_on() -> None:
    """Each alone is faster, both together are much slower: one ends on, the other off, whichever was first."""

    def quarrel(on: dict[str, bool]) -> World:
        return World(1.5 if on["a"] and on["b"] else 0.8 if on["a"] or on["b"] else 1.0)

    for seed, order in ((1, "ab"), (2, "ba")):
        ended = week(seed, quarrel, [Rollout(flag, 0) for flag in order])
        assert sorted(ended.shares.values()) == [0, 100]
        assert ended.exposed[next(flag for flag, share in ended.shares.items() if share == 0)] < 200


def test_two_quarrelling_flags_found_half_way_are_settled_one_at_a_time() -> None:
    """Somebody has set both to 50 %: while they are compared nothing else moves, and not both end on."""

    def quarrel(on: dict[str, bool]) -> World:
        return World(2.0 if on["a"] and on["b"] else 0.7 if on["a"] or on["b"] else 1.0)

    ended = week(3, quarrel, [Rollout("a", 50), Rollout("b", 50)])
    assert ended.shares in ({"a": 100, "b": 0}, {"a": 0, "b": 100}, {"a": 0, "b": 0})


def test_no_trace_changes_nothing() -> None:
    """A source that gives no session, or only old ones: every flag stays where it is."""
    rollouts = [
        Rollout("a", 25, since=2e9),
        Rollout("b", 0),
        Rollout("c", 100),
        Rollout("d", 0, fixed="its rule was written by hand"),
    ]
    old = [dataclasses.replace(o, flags={"a": o.flags["f"]}) for o in experiment(1, 500, World(0.5))]
    for seen in ([], old):
        steps = plan(seen, rollouts)
        assert not any(step.moves for step in steps)
        assert {step.flag: step.action for step in steps} == {
            "a": Action.HOLD,
            "b": Action.WAIT,
            "c": Action.DONE,
            "d": Action.LEFT,
        }


def test_a_source_that_lost_traces_ramps_nothing_but_turns_back() -> None:
    """What is missing may be what failed: a gain is not trusted, harm is."""
    good, bad = experiment(1, 2000, World(0.7)), experiment(1, 2000, World(1.4))
    rollout = [Rollout("f", 50)]
    assert plan(good, rollout)[0].action is Action.RAMP
    held = plan(good, rollout, doubt="part of the traces could not be read")[0]
    assert (held.action, held.reason) == (Action.HOLD, "part of the traces could not be read")
    assert plan(bad, rollout, doubt="lost")[0].action is Action.TURN_BACK


def test_never_ramped_on_too_little() -> None:
    """However fast it looks: with fewer sessions than enough it is held, and the reason says how many there are."""
    seen = experiment(1, 2 * ENOUGH - 20, World(0.3))
    step = plan(seen, [Rollout("f", 50)])[0]
    assert step.action is Action.HOLD
    assert step.reason.startswith("not enough yet: ")


def test_sessions_that_got_lost_are_harm() -> None:
    """At 50 % only a third of the sessions have it on: where are the others? It is turned back; the other way it is held."""
    rollout = [Rollout("f", 50)]
    lost = plan(experiment(1, 600, World(0.7), share=0.33), rollout)[0]
    assert (lost.action, lost.to) == (Action.TURN_BACK, 0)
    assert "sessions with it on get lost" in lost.reason
    assert plan(experiment(1, 600, World(0.7), share=0.67), rollout)[0].action is Action.HOLD


def test_idle_processes_keep_the_old_share_for_a_while() -> None:
    """So a split that is not as asked for says nothing of a flag drawn by process."""
    step = plan(experiment(1, 2000, World(0.7), share=0.33), [Rollout("f", 50, by_process=True)])[0]
    assert step.action is Action.RAMP


def test_sessions_before_the_last_move_do_not_count() -> None:
    """Nor those begun just after it, when a worker may not have heard."""
    seen = experiment(1, 1000, World(0.7))
    late = [Rollout("f", 50, since=seen[-100].time - SETTLING)]
    step = plan(seen, late)[0]
    assert step.comparison is not None
    assert sum(step.comparison.sessions.values()) == 100


def test_what_is_measured_goes_before_what_was_predicted() -> None:
    """Two flags that somebody set to 50 %, both surely faster: the one that gains most goes first, whatever was promised."""
    random, seen = np.random.default_rng(1), list[Observation]()
    for number in range(3000):
        small, large = random.random() < 0.5, random.random() < 0.5
        flags = {"small": "on" if small else "off", "large": "on" if large else "off"}
        seen.append(draw(random, flags, World((0.8 if small else 1.0) * (0.6 if large else 1.0)), 1e9 + number))
    steps = plan(seen, [Rollout("small", 50), Rollout("large", 50)], {"small": 1.0, "large": 0.1})
    assert [(step.flag, step.action, step.predicted) for step in steps] == [
        ("large", Action.RAMP, 0.1),
        ("small", Action.WAIT, 1.0),
    ]
    assert steps[1].reason == "one flag at a time: large goes first"


def test_what_promises_most_starts_first() -> None:
    """By predicted gain; one that should bring nothing isn't started, one nobody knows comes last; one at a time."""
    flags = ("small", "large", "none", "unknown", "tried")
    seen = [dataclasses.replace(o, flags=dict.fromkeys(flags, "off")) for o in experiment(1, ENOUGH, World())]
    rollouts = [Rollout(flag, 0, turned_back="slower" if flag == "tried" else None) for flag in flags]
    steps = plan(seen, rollouts, {"small": 0.1, "large": 0.5, "none": 0.0})
    assert [(step.flag, step.action) for step in steps] == [
        ("large", Action.START),
        ("small", Action.WAIT),
        ("unknown", Action.WAIT),
        ("none", Action.LEFT),
        ("tried", Action.LEFT),
    ]
    assert steps[0].reason == "predicted to save 0.50 s"
    assert steps[1].reason == "one flag at a time: large goes first"


def test_nothing_is_ramped_on_accounts_that_cannot_be_told_apart() -> None:
    """However much faster it looks; the reason says what to set. What looks like harm is turned back."""
    for world, action in ((World(0.5), Action.HOLD), (World(errors=0.5), Action.TURN_BACK)):
        sessions = [dataclasses.replace(o, drawn_by=DrawnBy.ACCOUNT) for o in experiment(1, 400, world)]
        (step,) = plan(sessions, [Rollout("f", 50)])
        assert step.action is action, step
        assert ("FIRSTWORD_ACCOUNT_KEY" in step.reason) is (action is Action.HOLD)
