"""How a call ends, on virtual time: what is written of it, what is closed and in which order, and when LiveKit's session fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import AgentSession, JobContext

from firstword.agent.account_call import account_ending
from firstword.agent.account_call.account_call import AccountCall
from firstword.agent.accounts.account_store import StoreError, StoreFailure
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.identity import Identity, Trust
from firstword.agent.accounts.model import LastSession, SessionRow
from firstword.agent.call_settings import CallSettings
from firstword.agent.conversation.conversation import Conversation
from firstword.agent.flags.improvements import profile
from firstword.agent.process.job_process import Process
from firstword.agent.unheard import Unheard
from firstword.telemetry.plan import Plan
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.testing import EPOCH, StartupTest
from firstword.telemetry.vocabulary import GREET
from tests.agent.providers import made

ADA = ACCOUNTS[0]
DEADLINE = 1.0


class _Store:
    """What is written; `write` is what each write does before."""

    def __init__(self, write: Callable[[], Awaitable[None]]) -> None:
        self.rows, self.last = list[SessionRow](), list[tuple[str, LastSession]]()
        self._write = write

    async def record_session(self, row: SessionRow) -> None:
        await self._write()
        self.rows.append(row)

    async def save_last_session(self, id: str, last: LastSession) -> None:
        await self._write()
        self.last.append((id, last))


async def _at_once() -> None: ...


async def _away() -> None:
    raise StoreError(StoreFailure.UNREACHABLE, "refused")


async def _never() -> None:
    await asyncio.Event().wait()


def _call(
    test: StartupTest, folder: Path, write: Callable[[], Awaitable[None]] = _at_once
) -> tuple[AccountCall, _Store]:
    """Ada's call, whose greeting is heard after 0.2 s; and its store."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        await asyncio.sleep(0.2)

    plan.check()
    settings, store = made(folder, store_deadline=DEADLINE), _Store(write)
    run, room = test.new_run(plan), cast("rtc.Room", rtc.EventEmitter())
    ended = list[str]()

    def shutdown(reason: str) -> None:
        ended.append(reason)

    job = SimpleNamespace(job=SimpleNamespace(id="AJ_1"), room=room, ended=ended, shutdown=shutdown)
    call = AccountCall(
        job=cast("JobContext", job),
        process=cast("Process", SimpleNamespace(settings=settings, store=store)),
        flags=profile("baseline"),
        identity=Identity(),
        trust=Trust(frozenset(), None, "room", now=0.0),
        run=run,
        trace=StartTrace(test.exporting),
        settings=CallSettings(),
        unheard=Unheard("AJ_1"),
        began=run.clock() / 1e9,
        caller=cast("asyncio.Future[Any]", None),
        account=ADA,
        conversation=Conversation(
            cast("AgentSession[Any]", None), "caller", turns=4, errors=1, last_words="Move my cleaning."
        ),
    )
    return call, store


def test_it_is_written_how_it_went(startup_test: StartupTest, tmp_path: Path) -> None:
    """The row has first word and reason, the account its last session; what was opened last is closed first, after that."""
    call, store = _call(startup_test, tmp_path)
    closed = list[str]()

    def opened(what: str) -> None:
        async def close() -> None:
            closed.append(f"{what} after {len(store.rows) + len(store.last)} writes")

        call.at_end(close)

    opened("store")
    opened("voice")

    async def go() -> None:
        assert account_ending.row_of(call).ended is None
        call.run.caller_joined(call.run.clock())
        await call.run.perform()
        await asyncio.sleep(60)
        await account_ending.close(call, "participant disconnected")

    startup_test.loop.run_until_complete(go())
    (row,) = store.rows
    assert (row.id, row.account, row.started) == ("AJ_1", ADA.id, EPOCH / 1e9)
    assert (row.turns, row.errors) == (4, 1)
    assert (row.first_word, row.ended, row.flags) == (0.2, "participant disconnected", call.flags.variants())
    ((id, last),) = store.last
    assert (id, last.ended) == (ADA.id, EPOCH / 1e9 + 60.2)
    assert closed == ["voice after 2 writes", "store after 2 writes"]


@pytest.mark.parametrize(("write", "took"), [(_away, 0.0), (_never, 2 * DEADLINE)])
def test_a_store_that_is_away_keeps_nothing_open(
    startup_test: StartupTest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    write: Callable[[], Awaitable[None]],
    took: float,
) -> None:
    """Each write has its deadline; what could not be written is a warning, and everything is closed."""
    call, store = _call(startup_test, tmp_path, write)
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    call.at_end(close)
    with caplog.at_level(logging.WARNING, "firstword"):
        startup_test.loop.run_until_complete(account_ending.close(call, "call ended"))
    assert not store.rows + store.last
    assert closed.is_set()
    assert startup_test.loop.time() == took
    assert [record.getMessage() for record in caplog.records] == [
        "the session's row could not be written",
        "the session's resumption data could not be written",
    ]
