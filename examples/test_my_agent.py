"""How to test a start of your own: run the plan in virtual time, then say what must hold. `pytest examples` runs it."""

import asyncio

import pytest

from firstword.telemetry.plan import Plan, when
from firstword.telemetry.testing import StartupTest
from firstword.telemetry.vocabulary import CONNECT, WAIT

pytest_plugins = ["firstword.telemetry.testing"]

plan = Plan("session.startup", given=("account_takes",))


@plan.task(closes=CONNECT)
async def room() -> str:
    await asyncio.sleep(0.100)
    return "room"


@plan.task(closes=WAIT)
async def caller(room: str) -> str:
    await asyncio.sleep(0.040)
    return "caller"


@plan.task()
async def account(account_takes: float) -> str:
    await asyncio.sleep(account_takes)
    return "Ada"


@plan.task(deferred=when("deferred-setup"))
async def analytics(account: str) -> None:
    await asyncio.sleep(0.200)


@plan.first_word
async def playout(caller: str, account: str) -> None:
    await asyncio.sleep(0.010)


plan.check()


def test_a_quick_account_load_is_not_on_the_critical_path(startup_test: StartupTest) -> None:
    start = startup_test.run(plan, given={"account_takes": 0.090}, flags={"deferred-setup": True})
    assert start.critical_path == ["room", "caller", "playout"]
    start.assert_not_on_path("account")
    start.assert_overlap("room", "account")
    start.assert_after_first_word("analytics")


def test_a_slow_account_load_is_what_the_caller_waits_for(startup_test: StartupTest) -> None:
    start = startup_test.run(plan, given={"account_takes": 0.300}, flags={"deferred-setup": True})
    start.assert_on_path("account")
    assert start.drag("account") == pytest.approx(0.160)


def test_the_whole_trace_is_one_literal(startup_test: StartupTest) -> None:
    start = startup_test.run(plan, given={"account_takes": 0.090}, flags={"deferred-setup": True}, dispatch=0.150)
    assert start.as_lines() == [
        "    0.000   300.000 session.startup",
        "    0.000   149.999   dispatch",
        "    0.000   149.999     critical dispatch",
        "  150.000   249.999   connect",
        "  150.000   249.999     critical room",
        "  150.000   249.998   room",
        "  150.000   240.000   account",
        "  250.000   289.999   wait",
        "  250.000   289.999     critical caller",
        "  250.000   289.998   caller -> needs room",
        "  290.000   300.000   greet",
        "  290.000   300.000     critical playout",
        "  290.000   299.999   playout -> needs caller, needs account",
        "  300.001   500.000   deferred.analytics -> needs account",
    ]
