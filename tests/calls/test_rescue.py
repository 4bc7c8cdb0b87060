"""A worker that is killed takes its callers' agents away: `firstword rescue` calls others, on LiveKit's server as it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import api

from firstword.agent.greeting.text import interrupted_greeting
from firstword.agent.interruption import RESCUE
from firstword.rehearsal.callers import AUDIBLE, EarFrame
from firstword.rehearsal.processes import started
from firstword.telemetry.vocabulary import INTERRUPTED
from tests.calls.sent import VOICE_TRACK
from tests.calls.speaker import Speaker
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import CallServers, WorkerUnderTest

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

SORRY = interrupted_greeting("en")


@contextlib.asynccontextmanager
async def rescuer(servers: CallServers, *names: str) -> AsyncGenerator[Path]:
    """`firstword rescue` for these agents; its log."""
    stack = servers.stack
    environment = {
        "LIVEKIT_URL": stack.livekit_url,
        "LIVEKIT_API_KEY": stack.api_key,
        "LIVEKIT_API_SECRET": stack.api_secret,
    }
    arguments = [each for name in names for each in ("--agent", name)]
    command = (sys.executable, "-m", "firstword", "rescue", "--every", "1", *arguments)
    log = servers.folder / f"rescue-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        async with started(command, environment, output=output.fileno()):
            await until(lambda: "Watching" in log.read_text())
            yield log


def loud(frame: EarFrame) -> bool:
    """Whether something is to be heard in it."""
    return bool(np.abs(frame.samples.astype(np.int32)).max(initial=0) > AUDIBLE)


async def agents(servers: CallServers, room: str) -> list[str]:
    """Identities of the agents in a room, as the server sees them."""
    found = await servers.rooms.room.list_participants(api.ListParticipantsRequest(room=room))
    return [each.identity for each in found.participants if each.kind == api.ParticipantInfo.AGENT]


async def greeted(worker: WorkerUnderTest, **token: Any) -> tuple[Speaker, str]:
    """A caller who hears the agent, and their room."""
    room = worker.room()
    caller = worker.caller(room, **token) if worker.name else worker.servers.caller(room, **token)
    await caller.connect()
    await caller.hear(PATIENCE)
    return caller, room


async def test_a_caller_whose_worker_is_killed_hears_that_the_call_was_interrupted(servers: CallServers) -> None:
    """From another worker of that name; and of two callers the other, whose agent has ended by itself, hears nobody again.

    The other tries all that a participant can to be called for, or to have nobody called.
    """
    name = f"reception-{time.monotonic_ns()}"
    async with servers.worker("tuned", name=name) as first:
        caller, room = await greeted(first)
        stranger, left = await greeted(first, may_update=True)
        (agent,) = await agents(servers, left)
        await stranger.room.local_participant.set_attributes({RESCUE: "x", "lk.agent.state": "failed"})
        await _ends_by_itself(servers, name, left, agent)
        async with rescuer(servers, name) as log, servers.worker("tuned", name=name) as second:
            killed = time.monotonic()
            os.killpg(first.running.pid, signal.SIGKILL)
            await until(lambda: any(frame.at > killed + 1.0 and loud(frame) for frame in caller.heard_on(VOICE_TRACK)))
            print(  # noqa: T201 - what was measured
                f"\nthe caller heard another agent {time.monotonic() - killed:.1f} s after the kill"
            )
            await caller.reads(SORRY)
            sid = await caller.room.sid
            start = await second.trace(sid)
            assert start.root.attributes[INTERRUPTED] is True
            assert start.outcome == "first_word"
            await until(lambda: "an agent is there again" in log.read_text())
            assert await agents(servers, left) == []
            assert len(await agents(servers, room)) == 1
            await asyncio.gather(caller.leave(), stranger.leave())
    lines = [line for line in log.read_text().splitlines() if "room " in line]
    assert len(lines) == 2, lines
    assert not [line for line in lines if room in line or left in line]


async def _ends_by_itself(servers: CallServers, name: str, room: str, agent: str) -> None:
    """The agent is called off by the API, as its own `ctx.shutdown` would end it, and its dispatch is gone."""
    await servers.rooms.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=agent))
    async with asyncio.timeout(PATIENCE):
        while name in [each.agent_name for each in await servers.rooms.agent_dispatch.list_dispatch(room)]:  # noqa: ASYNC110 - another process deletes it
            await asyncio.sleep(0.1)


@pytest.mark.soak  # what differs from the test above is what LiveKit makes of a dispatch without a name
async def test_with_automatic_dispatch_too(servers: CallServers) -> None:
    async with servers.worker("tuned", name="") as first, rescuer(servers, "") as log:
        caller, _ = await greeted(first)
        async with servers.worker("tuned", name=""):
            os.killpg(first.running.pid, signal.SIGKILL)
            await caller.reads(SORRY)
            await until(lambda: "an agent is there again" in log.read_text())
            await caller.leave()


async def test_a_key_of_another_server_is_one_line(servers: CallServers) -> None:
    """And the end."""
    environment = {"LIVEKIT_URL": servers.stack.livekit_url, "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
    log = servers.folder / "rescue-refused.log"
    with log.open("wb") as output:
        async with started((sys.executable, "-m", "firstword", "rescue"), environment, output=output.fileno()) as run:
            async with asyncio.timeout(PATIENCE):
                assert await run.wait() == 2
    assert [line for line in log.read_text().splitlines() if "refuses the key; expected" in line] == [
        log.read_text().splitlines()[-1]
    ]
