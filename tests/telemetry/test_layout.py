"""A start as spans: the whole of one as a literal, and each rule of the shape by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstword.telemetry.critical_path import analyse
from firstword.telemetry.inferred_path import TimedSpan, last_finishing_path
from firstword.telemetry.layout import MOST_STEPS, SpanData, lay_out, unsettled
from firstword.telemetry.record import Dispatch, DispatchStage, LoopStep, Outcome, Phase, Start, Task, TaskState

MS = 1_000_000
US = 1_000


def laid_out(start: Start, slow: float = 1.5) -> dict[str, SpanData]:
    """The spans of a start by key."""
    return {span.key: span for span in lay_out(start, analyse(start), slow=slow)}


def times(start: Start) -> dict[str, tuple[str, int, int]]:
    """Name, begin and end in microseconds of every span by key."""
    return {key: (span.name, span.start_us, span.end_us) for key, span in laid_out(start).items()}


# room      drrrr
# account   daaaaaaaa
# session   d    ssssssssssss    goes on until 170
# playout            ppp         needs account, room; the first word at 120
# analytics             aa       deferred
PICTURE = Start(
    start=0,
    end=120 * MS,
    first_step=10 * MS,
    outcome=Outcome.FIRST_WORD,
    tasks=(
        Task("room", 10 * MS, 10 * MS, 50 * MS),
        Task("account", 10 * MS, 10 * MS, 90 * MS, state=TaskState.FALLBACK, error_type="TimeoutError", cache="miss"),
        Task("session", 50 * MS, 50 * MS, 170 * MS, ("room",), readies=True),
        Task("playout", 90 * MS, 90 * MS, 120 * MS, ("account", "room")),
        Task("analytics", 120 * MS, 120 * MS, 140 * MS, ("session",), deferred=True),
    ),
    phases=(
        Phase("connect", 0, 50 * MS),
        Phase("wait", 50 * MS, 50 * MS),
        Phase("greet", 50 * MS, 120 * MS),
    ),
    last="playout",
    first_word_needs=("room", "account", "playout"),
    joined=0,
    received=2 * MS,
    dispatch_stages=(DispatchStage("offer", 0, 4 * MS), DispatchStage("entrypoint", 4 * MS, 10 * MS)),
    ready=170 * MS,
    flags={"parallel-init": "on"},
    attributes={"lk.job_id": "AJ_1"},
)


def test_the_whole_picture() -> None:
    """Phases with the path under them, tasks beside them, what was left running detached, the rest after the root."""
    assert times(PICTURE) == {
        "root": ("session.startup", 0, 120_000),
        "phase.dispatch": ("dispatch", 0, 9_999),
        "piece.0": ("critical dispatch.offer", 0, 3_999),
        "piece.1": ("critical dispatch.entrypoint", 4_000, 9_999),
        "phase.connect": ("connect", 10_000, 49_999),
        "piece.2": ("critical account", 10_000, 49_999),
        "phase.wait": ("wait", 50_000, 50_000),
        "phase.greet": ("greet", 50_000, 120_000),
        "piece.3": ("critical account", 50_000, 89_999),
        "piece.4": ("critical playout", 90_000, 120_000),
        "task.room": ("room", 10_000, 49_998),
        "task.account": ("account", 10_000, 90_000),
        "detached.session": ("detached", 49_998, 49_998),
        "task.session": ("session", 50_000, 170_000),
        "task.playout": ("playout", 90_000, 119_999),
        "task.analytics": ("deferred.analytics", 120_001, 140_000),
        "session.ready": ("session.ready", 120_001, 170_000),
    }
    spans = laid_out(PICTURE)
    assert {key: span.parent_key for key, span in spans.items() if span.parent_key != "root"} == {
        "root": None,
        "piece.0": "phase.dispatch",
        "piece.1": "phase.dispatch",
        "piece.2": "phase.connect",
        "piece.3": "phase.greet",
        "piece.4": "phase.greet",
        "task.session": "detached.session",
    }
    assert {key: span.kind for key, span in spans.items() if span.kind != "internal"} == {
        "root": "server",
        "detached.session": "producer",
        "task.session": "consumer",
    }
    assert {key: span.links for key, span in spans.items() if span.links} == {
        "piece.2": (("task.account", "task"),),
        "piece.3": (("task.account", "task"),),
        "piece.4": (("task.playout", "task"),),
        "task.session": (("task.room", "needs"),),
        "task.playout": (("task.account", "needs"), ("task.room", "needs")),
        "task.analytics": (("task.session", "needs"),),
    }
    assert not any(span.error for span in spans.values())


def test_the_attributes_of_the_picture() -> None:
    """Each row of the contract's table, on a root, a task on the path, one detached, one deferred, a piece, readiness."""
    spans = laid_out(PICTURE)
    assert spans["root"].attributes == {
        "lk.job_id": "AJ_1",
        "startup.method": "exact",
        "startup.outcome": "first_word",
        "startup.ttfw": 0.12,
        "startup.duration": 0.12,
        "startup.slow": False,
        "startup.dispatch": "join",
        "startup.critical_task": "account",
        "startup.flag.parallel-init": "on",
        "startup.fallbacks": 1,
        "startup.clock_skew": 0.0,
    }
    assert spans["task.account"].attributes == {
        "startup.phase": "connect",
        "startup.needs": (),
        "startup.critical": 0.08,
        "startup.slack": 0.0,
        "startup.drag": 0.04,
        "startup.contention": 0.0,
        "startup.loop_time": 0.0,
        "startup.ready_delay": 0.0,
        "startup.cache": "miss",
        "error.type": "TimeoutError",
    }
    assert spans["task.session"].attributes == {
        "startup.phase": "greet",
        "startup.needs": ("room",),
        "startup.critical": 0.0,
        "startup.drag": 0.0,
        "startup.contention": 0.0,
        "startup.loop_time": 0.0,
        "startup.ready_delay": 0.0,
    }
    assert spans["task.analytics"].attributes["startup.deferred"] is True
    assert spans["task.analytics"].attributes["startup.needs"] == ("session",)
    assert "startup.phase" not in spans["task.analytics"].attributes
    assert spans["piece.2"].attributes == {"startup.task": "account"}
    assert spans["piece.0"].attributes == {}
    assert spans["session.ready"].attributes == {"startup.init": 0.168}


def test_what_still_runs_at_the_first_word_is_unsettled() -> None:
    """The session's span waits for its end, readiness is not there yet; its producer and all else can go."""
    session = replace(PICTURE.task("session"), end=PICTURE.end, state=TaskState.RUNNING)
    tasks = tuple(session if t.name == "session" else t for t in PICTURE.tasks if not t.deferred)
    then = replace(PICTURE, tasks=tasks, ready=None)
    assert unsettled(then) == {"task.session"}
    first = laid_out(then)
    assert "session.ready" not in first
    whole = laid_out(PICTURE)
    assert all(whole[key] == span for key, span in first.items() if key != "task.session")
    assert unsettled(PICTURE) == frozenset()


def test_an_order_edge_is_a_link_of_its_own_kind() -> None:
    """Unless the task before is needed too."""
    playout = replace(PICTURE.task("playout"), order="session")
    tasks = tuple(playout if t.name == "playout" else t for t in PICTURE.tasks)
    assert laid_out(replace(PICTURE, tasks=tasks))["task.playout"].links[2] == ("task.session", "order")
    playout = replace(playout, order="room")
    tasks = tuple(playout if t.name == "playout" else t for t in PICTURE.tasks)
    assert [edge for _, edge in laid_out(replace(PICTURE, tasks=tasks))["task.playout"].links] == ["needs", "needs"]


@pytest.mark.parametrize(
    ("outcome", "joined", "limit", "slow"),
    [
        (Outcome.FIRST_WORD, 0, 0.12, False),
        (Outcome.FIRST_WORD, 0, 0.119, True),
        (Outcome.FIRST_WORD, 60 * MS, 0.119, False),  # only 60 ms of it were the caller's
        (Outcome.FAILED, 0, 1.5, True),
        (Outcome.TIMED_OUT, 0, 1.5, True),
        (Outcome.TIMED_OUT, None, 1.5, False),  # there was nobody to wait
        (Outcome.ABANDONED, 0, 1.5, False),  # the caller did not stay
        (Outcome.NO_CALLER, None, 1.5, False),
    ],
)
def test_what_counts_as_slow(outcome: Outcome, joined: int | None, limit: float, slow: bool) -> None:
    """A first word past the limit, or none for a caller who stayed."""
    start = replace(PICTURE, outcome=outcome, joined=joined)
    assert laid_out(start, limit)["root"].attributes["startup.slow"] is slow


def test_a_failed_start_is_an_error_of_root_and_task() -> None:
    """With the type of the error on both; TTFW is on neither. What was cancelled ends with the root."""
    start = Start(
        start=0,
        end=50 * MS,
        first_step=10 * MS,
        outcome=Outcome.FAILED,
        tasks=(
            Task("room", 10 * MS, 10 * MS, 50 * MS - 300, state=TaskState.FAILED, error_type="ConnectError"),
            Task("account", 10 * MS, 10 * MS, 51 * MS, state=TaskState.CANCELLED),
        ),
        phases=(Phase("connect", 0, 50 * MS),),
        last="room",
        first_word_needs=("room", "account", "playout"),
        dispatch=Dispatch.AHEAD,
    )
    spans = laid_out(start)
    assert [key for key, span in spans.items() if span.error] == ["root", "task.room"]
    assert spans["root"].attributes["error.type"] == "ConnectError"
    assert "startup.ttfw" not in spans["root"].attributes
    assert times(start) == {
        "root": ("session.startup", 0, 50_000),
        "phase.dispatch": ("dispatch", 0, 9_999),
        "piece.0": ("critical dispatch", 0, 9_999),
        "phase.connect": ("connect", 10_000, 50_000),
        "piece.1": ("critical room", 10_000, 50_000),
        "task.room": ("room", 10_000, 49_999),
        "task.account": ("account", 10_000, 49_999),
    }


def test_readiness_before_the_first_word_has_no_length() -> None:
    """The span is there, right after the root, and tells the initialization."""
    span = laid_out(replace(PICTURE, ready=60 * MS))["session.ready"]
    assert (span.start_us, span.end_us) == (120_001, 120_001)
    assert span.attributes == {"startup.init": 0.058}


# connect     0.....10.......20        the borders of the path are at 10 and at 12 us
def test_a_piece_too_short_to_show_joins_the_next() -> None:
    """12 - 10 us less the one between neighbours would leave 1 us: the account's 2 us become the greeting's."""
    start = Start(
        start=0,
        end=20 * US,
        first_step=10 * US,
        outcome=Outcome.FIRST_WORD,
        tasks=(
            Task("account", 10 * US, 10 * US, 12 * US),
            Task("playout", 12 * US, 12 * US, 20 * US, ("account",)),
        ),
        phases=(Phase("greet", 0, 20 * US),),
        last="playout",
        first_word_needs=("account", "playout"),
        joined=0,
    )
    pieces = {key: shown for key, shown in times(start).items() if key.startswith("piece")}
    assert pieces == {"piece.0": ("critical dispatch", 0, 9), "piece.1": ("critical playout", 10, 20)}
    # under the last phase there is no next: it joins the one before
    tasks = Task("account", 10 * US, 10 * US, 18 * US), Task("playout", 18 * US, 18 * US, 19 * US, ("account",))
    short = replace(start, tasks=tasks, end=19 * US, phases=(Phase("greet", 0, 19 * US),))
    pieces = {key: shown for key, shown in times(short).items() if key.startswith("piece")}
    assert pieces == {"piece.0": ("critical dispatch", 0, 9), "piece.1": ("critical account", 10, 19)}


@pytest.mark.parametrize("begin", [50 * MS - 2 * US, 50 * MS - US, 50 * MS, 50 * MS + US])
def test_a_detached_task_that_begins_where_a_phase_ends_does_not_take_its_place(begin: int) -> None:
    """The producer has no length, but a child of no length that ends with `connect` would hide all of it."""
    session = replace(PICTURE.task("session"), ready=begin, begin=begin)
    start = replace(PICTURE, tasks=tuple(session if t.name == "session" else t for t in PICTURE.tasks))
    spans = [
        TimedSpan(s.key, s.parent_key, s.name, s.kind, s.start_us, s.end_us)
        for s in reversed([*laid_out(start).values()])
    ]
    assert [
        piece.task for piece in last_finishing_path(spans, as_jaeger=True) if str(piece.task).startswith("piece")
    ] == [
        "piece.0",
        "piece.1",
        "piece.2",
        "piece.3",
        "piece.4",
    ]


def test_of_many_steps_those_near_each_other_are_one() -> None:
    """At most 24 in a span, the sum kept: what stays apart has time between it, or is long on both sides."""
    short = [LoopStep(begin * US, (begin + 50) * US) for begin in range(0, 20_000, 200)]
    long = [LoopStep(begin * MS, (begin + 10) * MS - US) for begin in range(100, 200, 10)]
    alone = [LoopStep(begin * MS, begin * MS + 100 * US) for begin in range(300, 400, 10)]
    room = replace(PICTURE.task("room"), begin=0, end=400 * MS, steps=tuple(short + long + alone))
    start = replace(PICTURE, tasks=(room, *PICTURE.tasks[1:]))
    spans = {span.key: span for span in lay_out(start, analyse(PICTURE))}
    written = str(spans["task.room"].attributes["startup.loop_holds"]).split()
    steps = [(int(begin), int(length)) for begin, length in (step.split("+") for step in written)]
    assert len(steps) == MOST_STEPS
    assert sum(length for _, length in steps) == 100 * 50 + 10 * 9_999 + 10 * 100
    assert [length for begin, length in steps if 100_000 <= begin < 200_000] == [9_999] * 10
    assert [begin for begin, _ in steps if begin >= 300_000] == list(range(300_000, 400_000, 10_000))
