"""The state of one call, which the tasks of its plan share.

Made by whoever starts the plan: `firstword.agent.first_word` for any agent, `firstword.agent.entrypoint` for the shipped
worker, which adds an account. It is data: the modules beside this one are the functions that work on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from livekit.agents import AgentSession, JobContext
from livekit.agents.voice.room_io import AudioInputOptions, AudioOutputOptions
from livekit.agents.voice.speech_handle import SpeechHandle

from firstword.agent.audio.voice import Speech, Voice
from firstword.agent.call.caller import Caller, Callers
from firstword.agent.call.early_messages import EarlyMessages
from firstword.agent.call.limits import Limits
from firstword.agent.call_settings import CallSettings
from firstword.agent.unheard import Unheard
from firstword.telemetry.run import Run
from firstword.telemetry.spans import StartTrace

if TYPE_CHECKING:
    from firstword.agent.audio.early_input import EarlyInput


@dataclass(eq=False, repr=False, kw_only=True)  # it is one and no other; what it holds of a caller belongs in no log
class Call:
    """One call: what it was given, what may end it, and what is known of it so far."""

    job: JobContext
    settings: CallSettings
    run: Run
    """Its start. Tasks ask its clock for the time, so that all of a call is on one clock."""
    trace: StartTrace
    limits: Limits
    unheard: Unheard
    """Tells the worker's other processes that somebody waits."""
    callers: Callers
    """Finds the caller in the room."""
    caller: asyncio.Future[Caller]
    """Who the caller is, once LiveKit has announced them."""
    light: bool = True
    """Whether the room is joined with nothing subscribed and one peer connection."""
    audio_input: AudioInputOptions | None = field(default_factory=AudioInputOptions)
    """How the caller is listened to; None: the session hears nothing, or has ears of its own."""
    audio_output: AudioOutputOptions = field(default_factory=AudioOutputOptions)
    """What the agent's voice is published as; its rate is its own."""
    on_arrival: Callable[[Caller], object] = lambda _: None
    """Told who the caller is, before the tasks that wait for them."""

    server_ahead: int = 0
    """By how many ns the server's clock is ahead of ours, once the room is there."""
    ear: EarlyInput | None = None
    """What hears the caller, from before the connect on. None in a console, where nothing is to be heard, or where LiveKit's private input has moved."""
    voice: Voice | None = None
    """The agent's voice, where it is published before the session."""
    speech: Speech | None = None
    """The greeting that was begun before there was a session."""
    said: SpeechHandle | None = None
    """The greeting as the session says it, or goes on with it, once the caller has heard it begin."""
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `said`."""
    withdrawn: bool = False
    """What was prepared for this caller may not be said: the shipped greeting is."""
    messages: EarlyMessages | None = None
    """What participants sent before somebody listened."""
    joining: asyncio.Future[None] | None = None
    """The connect, once it has begun; LiveKit can't cancel one."""
    session: AgentSession[Any] | None = None
    """LiveKit's session, once it has started."""
    language: str = "en"
    """The caller's (BCP 47), as far as it is known: of the apology."""
    ended: str | None = None
    """Why the call ends, once it must."""
    leaving: asyncio.Task[None] | None = None
    """Tells the caller, frees the room and ends the job, once the call must end."""
    closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    """Closes what the call has opened, when the job ends."""

    def now(self) -> float:
        """The time on the run's clock, Unix time, seconds."""
        return self.run.clock() / 1e9

    def goes_on_by(self, speech: SpeechHandle) -> None:
        """The session runs, and the greeting is this speech of its."""
        self.said = speech
        self.taken_over.set()

    def at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have `close` called when the job ends: in reverse order, so what was opened last is closed first."""
        self.closing.push_async_callback(close)
