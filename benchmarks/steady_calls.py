"""Calls at a steady rate, each of which notes when its caller had no agent, and whether the agent answered at the end.

Benchmarks of what callers notice when a part of a deployment dies share this.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from livekit import api, rtc

from benchmarks.deployment import AGENT
from firstword.rehearsal.callers import RehearsalCaller
from firstword.rehearsal.calls import calling
from firstword.rehearsal.result import Quantiles
from firstword.rehearsal.stack import Stack

PATIENCE_S = 30.0
"""Seconds after which a caller has heard nothing."""
ANSWER_S = 20.0
"""Seconds that the agent has to be heard again at the end of a call."""
SAYS_S = 1.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Steady:
    """Who calls how often, and for how long."""

    every_s: float = 8.0
    """Seconds from one caller to the next."""
    stay_s: float = 24.0
    """Seconds that a caller stays after the first word."""


@dataclass(slots=True)
class Call:
    """One caller, and what happened to the call. All instants are on `time.monotonic()`."""

    room: str
    began: float
    place: str | None = None
    """Where the call was when the first word came, as the benchmark names it: a node, or a worker."""
    heard_s: float | None = None
    refused: str = ""
    """Why the caller could not connect."""
    voices: dict[str, float] = field(default_factory=dict[str, float])
    """The agents' tracks by LiveKit's id, each with the instant at which the caller had it."""
    without_s: float = 0.0
    """Seconds for which the caller had no connection, or no agent's track."""
    agents: int = 0
    """Agents with a track in the room when the caller was about to hang up."""
    answered: bool = False
    """Whether the agent was heard after the caller had said something, at the end."""
    ended: float = 0.0
    """When the caller began to say something, and then hung up."""

    def went_on(self, at: float) -> bool:
        """Returns whether the caller had been greeted, and was still there."""
        return self.heard_s is not None and self.began + self.heard_s < at < self.ended

    def new_voice_s(self, at: float) -> float | None:
        """Returns the seconds from `at` until the caller had a track that was not there before; None if none came."""
        later = [since for since in self.voices.values() if since > at]
        return min(later) - at if later else None


async def steady_calls(
    stack: Stack,
    rooms: api.LiveKitAPI,
    steady: Steady,
    calls: list[Call],
    over: asyncio.Event,
    place_of: Callable[[rtc.Room], Awaitable[str | None]],
) -> None:
    """Adds to `calls` until it is over; returns when the last caller has hung up. `place_of` says where a call is."""
    async with asyncio.TaskGroup() as tasks:
        while not over.is_set():
            call = Call(f"steady-{secrets.token_hex(6)}", time.monotonic())
            calls.append(call)
            tasks.create_task(_perform(call, stack, rooms, steady.stay_s, place_of))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), steady.every_s)


async def _perform(
    call: Call,
    stack: Stack,
    rooms: api.LiveKitAPI,
    stay_s: float,
    place_of: Callable[[rtc.Room], Awaitable[str | None]],
) -> None:
    """One caller, from connecting to hanging up."""
    async with calling(stack, rooms, room=call.room, agent_name=AGENT, record=True) as caller:
        try:
            await caller.connect()
            call.heard_s = await caller.hear(PATIENCE_S)
        except rtc.ConnectError as error:
            call.refused = error.message
            return
        except TimeoutError:
            return
        call.place = await place_of(caller.room)
        looked = time.monotonic()
        leaves = looked + stay_s
        while looked < leaves:
            await asyncio.sleep(LOOK_EVERY_S)
            before, looked = looked, time.monotonic()
            voices = _voices(caller)
            call.without_s += 0.0 if voices else looked - before
            call.voices = {**dict.fromkeys(voices, looked), **call.voices}
        call.ended, call.agents = looked, len(set(_voices(caller).values()))
        call.answered = await _answered(caller)


def _voices(caller: RehearsalCaller) -> dict[str, str]:
    """LiveKit's ids of the agents' tracks that the caller has, each with its agent's; none while there is no connection."""
    if caller.room.connection_state != rtc.ConnectionState.CONN_CONNECTED:
        return {}
    return {
        publication.sid: participant.identity
        for participant in caller.room.remote_participants.values()
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        for publication in participant.track_publications.values()
        if publication.track is not None
    }


async def _answered(caller: RehearsalCaller) -> bool:
    """Whether the agent is heard after the caller has said something."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            await caller.hear_out(1.0)
            await caller.say(440.0, SAYS_S)
            await caller.hear_again(ANSWER_S)
            return True
    return False


def summary(calls: Sequence[Call], at: float) -> str:
    """Returns what these calls met, in one line; `at` is when the part died, before or after they began."""
    unheard = [call for call in calls if call.heard_s is None]
    heard = Quantiles.of([call.heard_s for call in calls if call.heard_s is not None])
    stayed = [call for call in calls if call.went_on(at)]
    back = Quantiles.of([seconds for call in stayed if (seconds := call.new_voice_s(at)) is not None])
    without = Quantiles.of([call.without_s for call in calls if call.without_s > 0])
    refused = sum(bool(call.refused) for call in unheard)
    parts = [
        f"{len(calls)}, {len(unheard)} unheard ({refused} refused)",
        f"heard after {heard.p50:.1f} s at p50, {heard.max:.1f} s at most" if heard else "",
        f"an agent's new track after {back.p50:.1f} s at p50, {back.max:.1f} s at most" if back else "",
        f"reconnecting, or without an agent, for {without.p50:.1f} s at p50, {without.max:.1f} s at most"
        if without
        else "",
        f"{sum(call.answered for call in calls)} answered at the end",
        f"{sum(call.agents > 1 for call in calls)} with two agents",
    ]
    return "; ".join(filter(None, parts))
