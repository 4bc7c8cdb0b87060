"""The exact critical path on starts drawn by hand: small numbers, the answer in words above each.

One letter or space in a drawing is 10 ms.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstword.telemetry.critical_path import TaskAnalysis, analyse
from firstword.telemetry.record import Dispatch, DispatchStage, LoopStep, Outcome, Phase, Start, Task, TaskState

MS = 1_000_000


def task(
    name: str, begin: int, end: int, *needs: str, ready: int | None = None, state: TaskState = TaskState.DONE
) -> Task:
    """A task from `begin` to `end` ms, its needs there at once before it unless `ready` says otherwise."""
    return Task(name, (begin if ready is None else ready) * MS, begin * MS, end * MS, needs, state=state)


def holding(one: Task, *steps: tuple[int, int]) -> Task:
    """The task with steps, from and to in ms."""
    return replace(one, steps=tuple(LoopStep(begin * MS, end * MS) for begin, end in steps))


def start(*tasks: Task, end: int, outcome: Outcome = Outcome.FIRST_WORD, last: str | None = "playout") -> Start:
    """A start from 0 ms, with 10 ms of dispatch and all tasks needed but those named idle."""
    needed = tuple(t.name for t in tasks if not t.name.startswith("idle") and not t.deferred)
    phases = (Phase("connect", 0, end * MS),)
    return Start(0, end * MS, 10 * MS, outcome, tasks, phases, last, needed, joined=0, received=0)


def path(of: Start) -> list[tuple[str, int, int]]:
    """The pieces in ms: whose, from, to."""
    return [(p.name, p.start // MS, p.end // MS) for p in analyse(of).pieces]


def in_ms(of: Start, figure: str) -> dict[str, float | None]:
    """One figure of every task, in ms."""
    values = {name: getattr(figures, figure) for name, figures in analyse(of).figures.items()}
    return {name: None if value is None else round(value * 1e3, 6) for name, value in values.items()}


# room      drrrr
# account   daaaaaaaa
# greeting           gggg       needs account
# playout                pp     needs greeting, room
#
# Walking back: playout needed greeting and room, greeting finished last; greeting needed account; account the dispatch.
# The room could have ended 80 ms later, when playout began. Without account's 80 ms, greeting would have begun at
# 10 ms and ended at 50, just with the room: 80 ms won. Without greeting's 40 ms the account still ends at 90: 40 won.
DRAWN = start(
    task("room", 10, 50),
    task("account", 10, 90),
    task("greeting", 90, 130, "account"),
    task("playout", 130, 150, "greeting", "room"),
    end=150,
)


def test_the_path_is_the_chain_that_finished_last() -> None:
    """The room connects while the account loads: nobody waited for it, whatever was being awaited."""
    assert path(DRAWN) == [("dispatch", 0, 10), ("account", 10, 90), ("greeting", 90, 130), ("playout", 130, 150)]
    assert analyse(DRAWN).critical_task == "account"


def test_slack_and_drag_of_the_drawn_start() -> None:
    """Off the path there is slack and no drag; on it the other way round."""
    assert in_ms(DRAWN, "slack") == {"room": 80, "account": 0, "greeting": 0, "playout": 0}
    assert in_ms(DRAWN, "drag") == {"room": 0, "account": 80, "greeting": 40, "playout": 20}
    assert in_ms(DRAWN, "critical") == {"room": 0, "account": 80, "greeting": 40, "playout": 20}


# room      drrrrrr
# account   daaaaaaaa
# playout            pp    needs room, account
#
# The account took 80 ms, but without it playout would still have had to wait for the room until 70: 20 ms won.
def test_drag_ends_where_another_chain_takes_over() -> None:
    """What a task cost is not how long it took: the next longest chain bounds what it could have won."""
    drawn = start(task("room", 10, 70), task("account", 10, 90), task("playout", 90, 110, "room", "account"), end=110)
    assert in_ms(drawn, "drag") == {"room": 0, "account": 20, "playout": 20}
    assert in_ms(drawn, "slack") == {"room": 20, "account": 0, "playout": 0}


# room      drrrr
# account   daaaa
# playout        pp    needs account, room: both ended at 50, and the room is declared first.
def test_a_tie_goes_to_the_task_declared_first() -> None:
    """Whatever the order of the parameters; and neither has drag, since the other would have lasted as long."""
    drawn = start(task("room", 10, 50), task("account", 10, 50), task("playout", 50, 70, "account", "room"), end=70)
    assert path(drawn) == [("dispatch", 0, 10), ("room", 10, 50), ("playout", 50, 70)]
    assert in_ms(drawn, "drag") == {"room": 0, "account": 0, "playout": 20}
    assert in_ms(drawn, "slack") == {"room": 0, "account": 0, "playout": 0}


# room      drrr
# account       aaaaa          after room, in declared order
# playout            pp        needs room, after account
def test_in_declared_order_each_task_needs_the_one_before() -> None:
    """An order edge counts like a need: every task is on the path, and has no slack."""
    account = replace(task("account", 40, 90), order="room")
    playout = replace(task("playout", 90, 110, "room"), order="account")
    drawn = start(task("room", 10, 40), account, playout, end=110)
    assert path(drawn) == [("dispatch", 0, 10), ("room", 10, 40), ("account", 40, 90), ("playout", 90, 110)]
    assert in_ms(drawn, "slack") == {"room": 0, "account": 0, "playout": 0}
    assert in_ms(drawn, "drag") == {"room": 30, "account": 50, "playout": 20}


# room         drrrr
# components   dc##CCC##         holds the loop (#) from 20 to 30 and from 60 to 80
# playout             ..pp       its need, the room, was there at 50; its first step came at 80
#
# Of the 30 ms from 50 to 80 components held the loop for 20, idle for 5.
def test_the_event_loops_delay_is_a_piece_of_its_own() -> None:
    """From the end of the last need to the first step, with the task that held the loop most in it."""
    drawn = start(
        task("room", 10, 50),
        holding(task("idle", 10, 80), (50, 55)),
        holding(task("components", 10, 80), (20, 30), (60, 80)),
        task("playout", 80, 100, "room", ready=50),
        end=100,
    )
    assert path(drawn) == [("dispatch", 0, 10), ("room", 10, 50), ("event loop", 50, 80), ("playout", 80, 100)]
    assert analyse(drawn).pieces[2].held_by == "components"
    assert in_ms(drawn, "ready_delay")["playout"] == 30
    # inside the room's piece for 10 ms, inside the loop's delay for 20: what it may have cost the caller
    assert in_ms(drawn, "contention")["components"] == 30
    assert in_ms(drawn, "loop_time")["components"] == 30
    # needs know nothing of the loop: without components the first word would have come at the same time
    assert in_ms(drawn, "drag")["components"] == 0


def test_a_loop_delay_that_nobody_held_names_nobody() -> None:
    """The machine was slow, or another start's task ran: no task of this one is blamed."""
    drawn = start(task("room", 10, 50), task("playout", 80, 100, "room", ready=50), end=100)
    assert [piece.held_by for piece in analyse(drawn).pieces] == [None, None, None, None]


@pytest.mark.parametrize(
    ("delay", "shown"),
    [
        (999_999, [("dispatch", 10), ("room", 40), ("playout", 20.999999)]),
        (1_000_000, [("dispatch", 10), ("room", 40), ("event loop", 1), ("playout", 20)]),
    ],
)
def test_a_loop_delay_under_a_millisecond_joins_the_next_piece(delay: int, shown: list[tuple[str, float]]) -> None:
    """At one millisecond it becomes a piece."""
    playout = Task("playout", 50 * MS, 50 * MS + delay, 70 * MS + delay, ("room",))
    drawn = replace(start(task("room", 10, 50), playout, end=0), end=70 * MS + delay)
    assert [(p.name, (p.end - p.start) / MS) for p in analyse(drawn).pieces] == shown


# room     drr
# caller      ~~~~~~~~~~~~~~~~~~~c      needs room; joins at 220, is subscribed at 230, seen at 240
# account  daaaaaaaaa
# playout                         pp    needs caller, account
#
# The caller joined at 220. The room was on the chain that led to waiting for him, but he came when he came:
# a faster room would have won nothing, so its drag is 0, and it had 190 ms of slack until he was subscribed to.
AHEAD = replace(
    start(
        task("room", 10, 30),
        replace(task("caller", 30, 240, "room"), outside=230 * MS),
        task("account", 10, 100),
        task("playout", 240, 260, "caller", "account"),
        end=260,
    ),
    dispatch=Dispatch.AHEAD,
    joined=220 * MS,
)


def test_an_absent_caller_is_a_piece_up_to_joined() -> None:
    """It enters no task's share, no drag and not the critical task; the wait after it is the caller task's."""
    assert path(AHEAD) == [
        ("dispatch", 0, 10),
        ("room", 10, 30),
        ("absent caller", 30, 220),
        ("caller", 220, 240),
        ("playout", 240, 260),
    ]
    assert in_ms(AHEAD, "critical") == {"room": 20, "caller": 20, "account": 0, "playout": 20}
    assert in_ms(AHEAD, "drag") == {"room": 0, "caller": 10, "account": 0, "playout": 20}
    assert in_ms(AHEAD, "slack") == {"room": 200, "caller": 0, "account": 140, "playout": 0}
    assert AHEAD.ttfw == 0.04


def test_holding_the_loop_while_the_caller_is_away_costs_nobody() -> None:
    """Contention leaves the absent caller's piece out: of the account's 50 ms only 20 ran beside the room."""
    tasks = tuple(holding(t, (10, 60)) if t.name == "account" else t for t in AHEAD.tasks)
    assert in_ms(replace(AHEAD, tasks=tasks), "contention")["account"] == 20


def test_an_account_slower_than_the_caller_is_on_the_path_all_along() -> None:
    """Nobody waited for the absent caller when something else was finished later than his coming."""
    tasks = (*AHEAD.tasks[:2], task("account", 10, 250), task("playout", 250, 270, "caller", "account"))
    late = replace(AHEAD, tasks=tasks, end=270 * MS)
    assert path(late) == [("dispatch", 0, 10), ("account", 10, 250), ("playout", 250, 270)]
    # without it, playout would have begun when the caller was seen, at 240
    assert in_ms(late, "drag")["account"] == 10


# room     drr
# account     aaaaa!      fails at 80
# other    dooooooooo     cancelled
def test_a_failed_start_is_walked_back_from_the_task_that_failed() -> None:
    """The root ends with the failure, a moment after the task."""
    failed = start(
        task("room", 10, 30),
        task("account", 30, 80, "room", state=TaskState.FAILED),
        task("other", 10, 81, state=TaskState.CANCELLED),
        end=80,
        outcome=Outcome.FAILED,
        last="account",
    )
    assert path(failed) == [("dispatch", 0, 10), ("room", 10, 30), ("account", 30, 80)]
    assert in_ms(failed, "drag") == {"room": 20, "account": 50, "other": 0}
    assert in_ms(failed, "slack") == {"room": 0, "account": 0, "other": None}


# room     drr
# account     aaaaaaaaaa|     running since 30 when the caller leaves at 130
# voice       vv
# greeting      gggggggg|     running since 50
# idle     diiiiiiiiiiii|     running for longer, but the first word doesn't need it
@pytest.mark.parametrize("outcome", [Outcome.ABANDONED, Outcome.TIMED_OUT])
def test_without_a_first_word_the_task_that_had_run_longest_is_to_blame(outcome: Outcome) -> None:
    """Among those running that the first word needs; the same seen at the end and after all was cancelled."""
    for end, state in ((130, TaskState.RUNNING), (131, TaskState.CANCELLED)):
        ended = start(
            task("room", 10, 30),
            task("account", 30, end, "room", state=state),
            task("voice", 30, 50, "room"),
            task("greeting", 50, end, "voice", state=state),
            task("idle", 10, end, state=state),
            end=130,
            outcome=outcome,
            last=None,
        )
        assert path(ended) == [("dispatch", 0, 10), ("room", 10, 30), ("account", 30, 130)]
        assert in_ms(ended, "critical")["account"] == 100


def test_a_start_that_ends_between_two_tasks_is_walked_back_from_what_was_done_last() -> None:
    """The next task had not had its first step: the loop's delay is the last piece."""
    ended = start(task("room", 10, 30), end=90, outcome=Outcome.ABANDONED, last=None)
    assert path(ended) == [("dispatch", 0, 10), ("room", 10, 30), ("event loop", 30, 90)]


def test_a_start_that_ends_before_any_task_is_all_dispatch() -> None:
    """The caller left while the process was being launched."""
    assert path(start(end=8, outcome=Outcome.ABANDONED, last=None)) == [("dispatch", 0, 8)]
    assert analyse(start(end=8, outcome=Outcome.ABANDONED, last=None)).critical_task == "dispatch"


# offer       ..............
# acceptance                .      0.4 ms: too short, it joins the next
# assignment                 ..
# process_wait                 .......
# entrypoint                          .   0.1 ms: the last, it joins the one before
def test_the_dispatch_by_its_stages() -> None:
    """What the caller waited for before the plan began; a stage may be what cost most."""
    ends = (("offer", 4), ("acceptance", 4.4), ("assignment", 6), ("process_wait", 9.9), ("entrypoint", 10))
    begins = (0, *(end for _, end in ends))
    stages = tuple(
        DispatchStage(name, round(begin * MS), round(end * MS))
        for begin, (name, end) in zip(begins, ends, strict=False)
    )
    cut = replace(start(task("playout", 10, 13), end=13), dispatch_stages=stages)
    assert path(cut) == [
        ("dispatch.offer", 0, 4),
        ("dispatch.assignment", 4, 6),
        ("dispatch.process_wait", 6, 10),
        ("playout", 10, 13),
    ]
    assert analyse(cut).critical_task == "dispatch.offer"
    assert analyse(replace(cut, tasks=(task("playout", 10, 14),), end=14 * MS)).critical_task == "playout"
    short = replace(cut, dispatch_stages=tuple(DispatchStage(s.name, s.start // 20, s.end // 20) for s in stages))
    assert path(replace(short, first_step=MS // 2))[0][0] == "dispatch.offer", "all are short: the longest"


# room     drr
# caller      ~~~~~~~~~~|     nobody came until 130
def test_a_caller_who_never_came_is_absent_until_the_end() -> None:
    """Waiting for nobody is no task's time."""
    waiting = task("caller", 30, 130, "room", state=TaskState.RUNNING)
    nobody = start(task("room", 10, 30), waiting, end=130, outcome=Outcome.NO_CALLER, last=None)
    nobody = replace(nobody, joined=None)
    assert path(nobody) == [("dispatch", 0, 10), ("room", 10, 30), ("absent caller", 30, 130)]
    assert analyse(nobody).critical_task == "room"
    assert in_ms(nobody, "drag") == {"room": 0, "caller": 0}


def test_a_server_lost_before_anybody_came_cost_nobody_the_wait() -> None:
    """The start failed, and until then its caller was absent: no task's time, no drag, not the critical task."""
    waiting = replace(task("caller", 30, 131, "room", state=TaskState.CANCELLED), outside=130 * MS)
    lost = start(task("room", 10, 30), waiting, end=130, outcome=Outcome.FAILED, last=None)
    lost = replace(lost, joined=None)
    assert path(lost) == [("dispatch", 0, 10), ("room", 10, 30), ("absent caller", 30, 130)]
    assert analyse(lost).critical_task == "room"
    assert in_ms(lost, "drag") == {"room": 0, "caller": 0}


# room     drr
# playout     pppp
# idle     diiiiiiiiii      goes on after the first word at 70
# later           llll      deferred
def test_what_the_first_word_does_not_need_has_no_slack_to_tell_of() -> None:
    """Nothing bounds how late it may end: None rather than a number that would look like a limit; drag 0."""
    later = holding(replace(task("later", 70, 110, "room"), deferred=True), (80, 90))
    drawn = start(task("room", 10, 30), task("playout", 30, 70, "room"), task("idle", 10, 120), later, end=70)
    figures = analyse(drawn).figures
    assert figures["idle"] == TaskAnalysis(0, None, 0, 0, 0, 0)
    assert figures["later"] == TaskAnalysis(0, None, 0, 0, 0.01, 0)
    assert path(drawn) == [("dispatch", 0, 10), ("room", 10, 30), ("playout", 30, 70)]


def test_loop_time_does_not_count_what_a_finished_task_left_behind_after_the_first_word() -> None:
    """A client that goes on by itself after the root's end is not known when the span is exported."""
    room = holding(task("room", 10, 30), (20, 30), (60, 90))
    drawn = start(room, task("playout", 30, 70, "room"), end=70)
    assert in_ms(drawn, "loop_time")["room"] == 20


def test_declared_in_any_order_the_answer_is_the_same() -> None:
    """A record read back from a trace may have its tasks in another order than they ran."""
    turned = replace(DRAWN, tasks=DRAWN.tasks[::-1])
    assert path(turned) == path(DRAWN)
    assert dict(analyse(turned).figures) == dict(analyse(DRAWN).figures)


def test_needs_in_a_circle_are_refused_by_name() -> None:
    """A plan can't have them; a broken trace may."""
    circle = start(task("room", 10, 30, "account"), task("account", 10, 30, "room"), end=30, last="room")
    with pytest.raises(ValueError, match="circle: room, account"):
        analyse(circle)


def test_a_need_that_is_not_in_the_record_is_passed_over() -> None:
    """A span may have been lost on the way: the rest still has a path."""
    assert path(start(task("playout", 30, 70, "room"), end=70)) == [
        ("dispatch", 0, 10),
        ("event loop", 10, 30),
        ("playout", 30, 70),
    ]
