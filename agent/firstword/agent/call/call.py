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
    """The state of one call: what it was given, what may end it, and what is known of it so far."""

    job: JobContext
    settings: CallSettings
    run: Run
    """The run of its start. Tasks ask its clock for the time, so that all of a call is on one clock."""
    trace: StartTrace
    unheard: Unheard
    """Tells the worker's other processes that a caller waits."""
    caller: asyncio.Future[Caller]
    """The caller, once LiveKit has announced them."""
    light: bool = True
    """Whether the room is joined with nothing subscribed and one peer connection."""
    audio_input: AudioInputOptions | None = field(default_factory=AudioInputOptions)
    """How the caller is listened to; None: the session hears nothing, or has ears of its own."""
    audio_output: AudioOutputOptions = field(default_factory=AudioOutputOptions)
    """As what the agent's voice is published. The sample rate is ours."""
    on_arrival: Callable[[Caller], object] = lambda _: None
    """Called with the caller when they arrive, before the tasks that wait for them go on."""

    server_ahead: int = 0
    """Nanoseconds by which the server's clock is ahead of ours; known once the room is joined."""
    ear: EarlyInput | None = None
    """The input that hears the caller, from before the connect on. None in a console, if nothing is to be heard, or if
    LiveKit's private input has moved.
    """
    voice: Voice | None = None
    """The agent's voice, if it is published before the session starts."""
    speech: Speech | None = None
    """The greeting that was begun before the session had started."""
    said: SpeechHandle | None = None
    """The session's speech handle of the greeting. The session says it, or goes on with one that had begun."""
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `said`."""
    withdrawn: bool = False
    """Whether the greeting that was prepared must not be said to this caller. Then the shipped one is."""
    messages: EarlyMessages | None = None
    """The streams and RPC calls that participants sent before there was a handler."""
    joining: asyncio.Future[None] | None = None
    """The connect, once it has begun. LiveKit can't cancel one."""
    session: AgentSession[Any] | None = None
    """LiveKit's session, once it has started."""
    language: str = "en"
    """The caller's language (BCP 47), as far as it is known; the apology is in it."""
    ended: str | None = None
    """The reason why the call ends, once it must."""
    leaving: asyncio.Task[None] | None = None
    """The task that tells the caller, frees the room and ends the job, once the call must end."""
    closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    """Closes what the call has opened, when the job ends."""
    limits: Limits = field(init=False)
    callers: Callers = field(init=False)
    """Finds the caller in the room."""

    def __post_init__(self) -> None:
        run, room = self.run, self.job.room
        self.limits = Limits(run, room, self.settings)
        self.callers = Callers(room, now=lambda: run.clock() + self.server_ahead, tell=run.event)

    def now(self) -> float:
        """Returns the time on the run's clock, which never goes back: Unix time in seconds."""
        return self.run.clock() / 1e9

    def goes_on_by(self, speech: SpeechHandle) -> None:
        """Records that the session runs and that this is its speech of the greeting. Sets `taken_over`."""
        self.said = speech
        self.taken_over.set()

    def at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Has `close` called when the job ends. What was registered last is called first."""
        self.closing.push_async_callback(close)
