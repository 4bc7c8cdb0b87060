"""firstword.agent.dispatch_end: an agent that ends on purpose deletes its dispatch, one that does not leaves it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api, rtc
from livekit.agents.ipc import job_proc_lazy_main
from livekit.protocol import agent

from firstword.agent import delete_dispatch_at_end
from firstword.agent.dispatch_end import DELETED_WITHIN_S
from firstword.agent.livekit_private import NOT_BY_ITSELF
from firstword.agent.testing.virtual import LiveKitTest

REMOVED, DELETED, LOST = (
    rtc.DisconnectReason.PARTICIPANT_REMOVED,
    rtc.DisconnectReason.ROOM_DELETED,
    rtc.DisconnectReason.CONNECTION_TIMEOUT,
)


class Job:
    """A job that ends: as much of LiveKit's context as the module touches."""

    def __init__(
        self,
        dispatch: str = "AD_1",
        error: Exception | None = None,
        *,
        hangs: bool = False,
        of: agent.JobType = agent.JobType.JT_ROOM,
    ) -> None:
        self.job = SimpleNamespace(dispatch_id=dispatch, room=SimpleNamespace(name="call"), type=of)
        self.room = rtc.EventEmitter[Any]()
        self.api = SimpleNamespace(agent_dispatch=SimpleNamespace(delete_dispatch=self._delete))
        self.deleted: list[tuple[str, str]] = []
        self.callbacks: list[Callable[[str], Awaitable[None]]] = []
        self._error, self._hangs = error, hangs
        delete_dispatch_at_end(cast("Any", self))

    def add_shutdown_callback(self, callback: Callable[[str], Awaitable[None]]) -> None:
        self.callbacks.append(callback)

    async def ends(self, reason: str, *, left: rtc.DisconnectReason.ValueType | None = None) -> list[tuple[str, str]]:
        """Ends the job, which may have left its room before. Returns the dispatches that were deleted."""
        if left is not None:
            self.room.emit("disconnected", left)
        self.room.emit("disconnected", rtc.DisconnectReason.CLIENT_INITIATED)  # LiveKit leaves before callbacks
        for callback in self.callbacks:
            await callback(reason)
        return self.deleted

    async def _delete(self, dispatch: str, room: str) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        if self._error is not None:
            raise self._error
        self.deleted.append((dispatch, room))


@pytest.mark.parametrize(
    ("reason", "left"),
    [("caller hung up", None), ("user requested", LOST), ("room disconnected", REMOVED), ("job crashed", REMOVED)],
)
async def test_an_end_on_purpose_deletes_the_dispatch(reason: str, left: Any) -> None:
    """Its own, or that of whoever puts it out of the room."""
    assert await Job().ends(reason, left=left) == [("AD_1", "call")]


@pytest.mark.parametrize(
    ("reason", "left"), [(reason, None) for reason in sorted(NOT_BY_ITSELF)] + [("room disconnected", LOST)]
)
async def test_any_other_end_leaves_it(reason: str, left: Any) -> None:
    assert await Job().ends(reason, left=left) == []


async def test_of_a_room_that_is_gone_nothing_is_asked() -> None:
    assert await Job().ends("caller hung up", left=DELETED) == []


def test_a_console_has_no_dispatch() -> None:
    assert Job("").callbacks == []


def test_a_job_of_one_participant_leaves_the_dispatch_that_it_shares() -> None:
    assert Job(of=agent.JobType.JT_PUBLISHER).callbacks == []


@pytest.mark.parametrize(
    "error",
    [api.TwirpError("not_found", "no such room", status=404), api.TwirpError("internal", "", status=500), OSError()],
)
async def test_a_server_that_refuses_costs_nothing(error: Exception) -> None:
    assert await Job(error=error).ends("caller hung up") == []


def test_a_server_that_never_answers_costs_a_deadline() -> None:
    async def ends(_: object) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await Job(hangs=True).ends("caller hung up")
        return loop.time() - began

    assert LiveKitTest().run(ends) == pytest.approx(DELETED_WITHIN_S)


def test_livekit_has_these_reasons() -> None:
    source = inspect.getsource(job_proc_lazy_main)
    for reason in NOT_BY_ITSELF:
        assert f'"{reason}"' in source
