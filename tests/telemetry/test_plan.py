"""A plan that cannot work fails when its module is imported, with the names of who is to blame."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from firstword.telemetry.plan import MOST_FLAGS, Plan, PlanError, unless, when
from firstword.telemetry.vocabulary import CONNECT, GREET, WAIT


def one_phase(**options: object) -> Plan:
    return Plan("p", phases=(GREET,), **options)  # type: ignore[arg-type]


def unknown_need() -> Plan:
    plan = one_phase()

    @plan.first_word
    async def playout(greting: str) -> None: ...

    return plan


def cycle() -> Plan:
    plan = one_phase()

    @plan.task()
    async def chicken(egg: str) -> None: ...

    @plan.task()
    async def egg(chicken: str) -> None: ...

    @plan.first_word
    async def playout(egg: str) -> None: ...

    return plan


def declared_too_late() -> Plan:
    plan = one_phase()

    @plan.task()
    async def greeting(account: str) -> None: ...

    @plan.task()
    async def account() -> None: ...

    @plan.first_word
    async def playout(greeting: str) -> None: ...

    return plan


def open_phase() -> Plan:
    plan = Plan("p")

    @plan.task(closes=CONNECT)
    async def room() -> None: ...

    @plan.first_word
    async def playout(room: str) -> None: ...

    return plan


def closed_twice() -> Plan:
    plan = Plan("p", phases=(CONNECT, GREET))

    @plan.task(closes=CONNECT)
    async def room() -> None: ...

    @plan.task(closes=CONNECT)
    async def lobby() -> None: ...

    @plan.first_word
    async def playout(room: str, lobby: str) -> None: ...

    return plan


def phases_out_of_order() -> Plan:
    plan = Plan("p")

    @plan.task(closes=CONNECT)
    async def room() -> None: ...

    @plan.task(closes=WAIT)
    async def caller() -> None: ...

    @plan.first_word
    async def playout(room: str, caller: str) -> None: ...

    return plan


def no_such_phase() -> Plan:
    plan = one_phase()

    @plan.task(closes="lunch")
    async def room() -> None: ...

    @plan.first_word
    async def playout(room: str) -> None: ...

    return plan


def need_of_a_deferred_task() -> Plan:
    plan = one_phase()

    @plan.task(deferred=when("deferred-setup"))
    async def analytics() -> None: ...

    @plan.first_word
    async def playout(analytics: str) -> None: ...

    return plan


def need_of_an_absent_task() -> Plan:
    plan = one_phase()

    @plan.task(only=unless("account-in-metadata"))
    async def identity() -> None: ...

    @plan.first_word
    async def playout(identity: str) -> None: ...

    return plan


def no_first_word() -> Plan:
    return one_phase()


def after_the_first_word() -> Plan:
    plan = one_phase()

    @plan.first_word
    async def playout() -> None: ...

    @plan.task()
    async def analytics() -> None: ...

    return plan


def fallback_with_unknown_parameter() -> Plan:
    plan = one_phase()

    def guess(weather: str) -> None: ...

    @plan.task(fallback=guess)
    async def account() -> None: ...

    @plan.first_word
    async def playout(account: str) -> None: ...

    return plan


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (unknown_need, "playout needs greting, which is neither a task nor given"),
        (cycle, "chicken -> egg -> chicken"),
        (declared_too_late, "greeting needs account, which is declared after it"),
        (open_phase, "phase wait is closed by no task"),
        (closed_twice, "phase connect is closed by both room and lobby"),
        (phases_out_of_order, "caller closes the phase after room's, so it must need room"),
        (no_such_phase, "room closes lunch, which is no phase"),
        (need_of_a_deferred_task, "playout needs analytics, which is deferred until after the first word"),
        (need_of_an_absent_task, "playout needs identity, which is there only with not account-in-metadata"),
        (no_first_word, "no task is declared the first word"),
        (after_the_first_word, "analytics is declared after the first word, playout, so it must be deferred"),
        (fallback_with_unknown_parameter, "the fallback of account needs weather"),
    ],
)
def test_a_plan_that_cannot_work_says_why(make: Callable[[], Plan], says: str) -> None:
    """Each shape is checked, and the message names the task."""
    with pytest.raises(PlanError, match=re.escape(says)):
        make().check()


def test_the_number_of_shapes_is_bounded() -> None:
    """As many flags as may be are checked in every shape; one more is refused before a shape is built."""
    assert len(with_flags(MOST_FLAGS).flags) == MOST_FLAGS
    with_flags(MOST_FLAGS).check()
    with pytest.raises(PlanError, match=f"{MOST_FLAGS + 1} flags change the plan; expected at most {MOST_FLAGS}"):
        with_flags(MOST_FLAGS + 1).check()


def with_flags(count: int) -> Plan:
    """A plan that so many flags change."""
    plan = one_phase()

    @plan.first_word
    async def playout() -> None: ...

    for number in range(count):

        async def extra() -> None: ...

        extra.__name__ = f"extra_{number}"
        plan.task(only=when(f"flag-{number}"), deferred=True)(extra)
    return plan


def test_what_is_wrong_with_one_task_is_said_at_once() -> None:
    """Two of a name, a name that is given, a plain function, two first words, a deadline of nothing."""
    plan = one_phase(given=("job",))

    @plan.task()
    async def room() -> None: ...

    @plan.first_word
    async def playout(room: str) -> None: ...

    async def job() -> None: ...

    def plain() -> None: ...

    async def other() -> None: ...

    with pytest.raises(PlanError, match="two tasks are named room"):
        plan.task()(room)
    with pytest.raises(PlanError, match="name of a given value"):
        plan.task()(job)
    with pytest.raises(PlanError, match="not an async function"):
        plan.task()(plain)  # type: ignore[type-var]
    with pytest.raises(PlanError, match="both declared the first word"):
        plan.first_word(other)
    with pytest.raises(PlanError, match="must be above 0"):
        plan.task(deadline=0)(other)


def small() -> Plan:
    plan = one_phase(given=("job",))

    @plan.task()
    async def room(job: str) -> None: ...

    @plan.task(only=when("light-connect"))
    async def voice(room: str) -> None: ...

    @plan.task(deferred=when("deferred-setup"))
    async def analytics(room: str) -> None: ...

    @plan.first_word
    async def playout(room: str, voice: str | None = None) -> None: ...

    plan.check()
    return plan


def test_flags_shape_the_plan() -> None:
    """A deferred task that isn't is a need of the first word; a task that is not there is not passed."""
    plain = {node.name: node for node in small().shape({}).nodes}
    assert plain["playout"].needs == ("room", "analytics")
    assert plain["playout"].passed == ("room",)
    tuned = {node.name: node for node in small().shape({"light-connect": True, "deferred-setup": True}).nodes}
    assert tuned["playout"].needs == ("room", "voice")
    assert tuned["analytics"].deferred


def test_what_needs_a_deferred_task_is_deferred_with_it() -> None:
    """If it may be: its own flag is off, but the session it needs only comes after the first word."""
    plan = one_phase()

    @plan.task(deferred=when("smart-greeting"))
    async def session() -> None: ...

    @plan.task(deferred=when("deferred-setup"))
    async def event_handlers(session: str) -> None: ...

    @plan.first_word
    async def playout(session: str | None = None) -> None: ...

    plan.check()
    nodes = {node.name: node for node in plan.shape({"smart-greeting": True}).nodes}
    assert nodes["event_handlers"].deferred
    assert nodes["playout"].needs == ()


def test_in_order_each_task_follows_the_one_declared_before() -> None:
    """Deferred tasks have no place in the order."""
    shape = small().shape({"deferred-setup": True}, in_order=True)
    assert [(node.name, node.order) for node in shape.nodes] == [
        ("room", None),
        ("analytics", None),
        ("playout", "room"),
    ]
    assert shape.needs_of("playout") == {"room", "playout"}


def test_the_plan_draws_itself() -> None:
    """As a Mermaid flowchart for the README."""
    assert small().to_mermaid().splitlines()[:3] == ["flowchart LR", '  room["room"]', '  voice["voice"]']
    assert "playout -. after, if deferred-setup .-> analytics" in small().to_mermaid()
