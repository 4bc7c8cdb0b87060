"""One call from the job to its end: the state that the tasks of the plan share, and what may end it before its time.

Around `firstword.telemetry.run`: an absent caller, one who leaves and comes back, a start that takes too long, a room that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, AutoSubscribe, CloseEvent, CloseReason, JobContext
from livekit.agents.voice import room_io
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from firstword.agent import livekit_private, startup
from firstword.agent.accounts.identity import Identity, account_hash, caller_identity, job_identity, may_write
from firstword.agent.accounts.model import GENERIC, GreetingFields, SessionRow
from firstword.agent.accounts.store import StoreError
from firstword.agent.audio.voice import Speech, Voice
from firstword.agent.call.caller import Caller, Presence, server_ahead, until_only_others
from firstword.agent.conversation import console
from firstword.agent.conversation.apology import apologize
from firstword.agent.conversation.components import Components, session_of
from firstword.agent.conversation.conversation import SESSION_EVENTS, Conversation
from firstword.agent.conversation.events import Events
from firstword.agent.flags.assignment import draw_session
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import Greeting
from firstword.agent.process import start_metrics
from firstword.agent.process.job_process import Process
from firstword.agent.process.unheard import Unheard
from firstword.agent.settings import Settings
from firstword.telemetry.guard import guarded
from firstword.telemetry.livekit import start_of
from firstword.telemetry.metrics import Figures
from firstword.telemetry.record import Outcome, Start
from firstword.telemetry.run import StartFailed, used_fallback
from firstword.telemetry.vocabulary import (
    ACCOUNT_HASH,
    EDGE_CALLER,
    FLAG_EVENT,
    PARTICIPANT_KIND,
)

logger = logging.getLogger("firstword")

_EMPTY_ROOM = frozenset({rtc.DisconnectReason.ROOM_CLOSED, rtc.DisconnectReason.ROOM_DELETED})
"""Why a room ends that nobody needs any more."""


class Call:
    """The state of one session; `conduct` runs it."""

    def __init__(self, job: JobContext, process: Process) -> None:
        self.job = job
        self.process = process
        self.events = Events()
        self.identity: Identity = job_identity(job.job.metadata)
        """What the job's metadata says of the account."""
        drawn = draw_session(process.settings, process.drawn, self.identity.account, job.job.room.name)
        self.flags: Flags = console.prepared(job, drawn.flags)
        self.conversation: Conversation | None = None
        self.account: GreetingFields = GENERIC
        """Whose call it is, once the account has been read."""
        self._began = time.time()
        self._giving_up: asyncio.Task[None] | None = None
        self.speech: Speech | None = None
        """The greeting that was begun before there was a session."""
        self.known: asyncio.Future[Caller] = asyncio.get_running_loop().create_future()
        """Who the caller is, once LiveKit has announced them."""
        self.server_ahead = 0
        """By how many ns the server's clock is ahead of ours, once the room is there."""
        self._presence: Presence | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = contextlib.AsyncExitStack()
        self.at_end(process.aclose)
        self.run, self._trace = start_of(
            job,
            startup.plan.shape(self._conditions(), in_order=Improvement.PARALLEL_INIT not in self.flags),
            process.exporting,
            given={"process": process, "call": self},
            slow=process.settings.slow,
            deadlines={
                "account": process.settings.account_deadline,
                "assistant": process.settings.account_deadline,
                "upgrade": process.settings.account_deadline,
                "resumption": process.settings.store_deadline,
                "analytics": process.settings.store_deadline,
            },
            flags=self.flags.variants(),
            join_window=process.settings.join_window,
        )
        job.log_context_fields = {**job.log_context_fields, "trace_id": f"{self._trace.context.trace_id:032x}"}
        self.run.attributes.update(drawn.attributes)
        self._note(self.identity)
        self._link(self.identity)
        for event in drawn.events:
            self.run.event(FLAG_EVENT, event)

    async def conduct(self) -> None:
        """Start up, greet, and leave the session to LiveKit; or end the job, with the reason on its trace."""
        self.job.room.on("disconnected", self._room_gone)
        self.job.add_shutdown_callback(self._over)
        self._within(self.process.settings.start_timeout, Outcome.TIMED_OUT)
        self._unheard = Unheard(self.job.job.id)
        try:
            start = await self.run.perform()
        except StartFailed as error:
            logger.error("the start failed in task %s", error.task, exc_info=error.__cause__)
            self.job.shutdown(reason=f"start failed: {error.task}")
        else:
            self._started(start)
        finally:
            self._unheard.heard()
            self._no_more_limits()
            self._tell_figures()

    def _started(self, start: Start) -> None:
        if start.outcome is Outcome.FIRST_WORD:
            logger.info("first word after %.3f s", start.ttfw or 0.0)
        else:
            logger.info("no first word: %s", start.outcome)
            self.job.shutdown(reason=start.outcome)

    # --- what the tasks ask

    def connected(self, connecting: int) -> None:
        """The room is there: from now on nobody is late but the caller. connecting: when the connect began, ns."""
        self.server_ahead = server_ahead(self.job.room, connecting)
        self._within(self.process.settings.caller_timeout, Outcome.NO_CALLER)

    def caller_is(self, caller: Caller) -> int:
        """The caller is there; returns when they joined, ns on the run's clock."""
        self._within(self.process.settings.start_timeout, Outcome.TIMED_OUT)
        self.run.attributes[PARTICIPANT_KIND] = rtc.ParticipantKind.Name(caller.participant.kind)
        self._presence = Presence(
            self.job.room,
            caller,
            grace=self.process.settings.return_grace,
            gone=lambda: self.run.stop(Outcome.ABANDONED),
            back=lambda: self.run.event("caller.returned"),
        )
        self._link(self._said_by(caller))
        self.known.set_result(caller)
        return self.run.caller_joined(caller.joined or self.run.clock())

    async def listener(self) -> Caller | None:
        """Who subscribed to the voice: the caller; None as soon as those who are announced are no callers."""
        others = asyncio.ensure_future(until_only_others(self.job.room))
        try:
            await asyncio.wait({self.known, others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            others.cancel()
        return self.known.result() if self.known.done() else None

    def heard(self) -> None:
        """The first frame was played."""
        self._unheard.heard()

    @property
    def presence(self) -> Presence:
        """Whether the caller is there; RuntimeError before `caller_is`."""
        if self._presence is None:
            raise RuntimeError("nobody has called yet")
        return self._presence

    def speech_failed(self, error: Exception) -> None:
        """The greeting's own audio did not come, or not all of it, so the shipped one is played.

        The event is on the root; after the first word, when that is exported, on the span of the task this is called from.
        """
        reason = type(error).__qualname__
        logger.warning("the greeting could not be spoken (%s); the shipped one is played", reason)
        used_fallback(error)
        if self.run.outcome is None:
            self.run.event("greeting.shipped", {"reason": reason})
        else:
            otel.get_current_span().add_event("greeting.shipped", {"reason": reason})

    def identity_of(self, caller: Caller) -> Identity:
        """What the caller's attributes say of the account."""
        identity = self._said_by(caller)
        self._note(identity)
        return identity

    def room_options(self, config: Settings) -> room_io.RoomOptions:
        """How the session listens in the room; noise cancellation is made only when it is wanted, or always."""
        lazy = Improvement.LAZY_ROOM_OPTIONS in self.flags
        wanted = config.noise_cancellation == "bvc"
        audio = room_io.AudioInputOptions(noise_cancellation=livekit_private.noise_cancellation() if wanted else None)
        if lazy and not wanted:
            return room_io.RoomOptions(close_on_disconnect=False)
        return room_io.RoomOptions(
            text_input=room_io.TextInputOptions(),
            audio_input=audio,
            audio_output=room_io.AudioOutputOptions(),
            text_output=room_io.TextOutputOptions(),
            close_on_disconnect=False,
        )

    def new_session(self, components: Components, voice: Voice | None) -> AgentSession[Any]:
        """LiveKit's session of these components, on the voice that is published already; its events are kept from now on."""
        session = session_of(components)
        if voice is not None:
            session.output.audio = voice.output
        self.events.watch(session, SESSION_EVENTS)

        def closed(event: CloseEvent) -> None:
            if event.reason is CloseReason.ERROR:
                self._giving_up = asyncio.create_task(self._give_up(voice, event), name="apology")

        session.on("close", closed)
        return session

    def connect_options(self) -> dict[str, Any]:
        """How the room is joined: as LiveKit does, or with nothing subscribed and one peer connection."""
        if Improvement.LIGHT_CONNECT not in self.flags:
            return {}
        return {"auto_subscribe": AutoSubscribe.SUBSCRIBE_NONE, "single_peer_connection": True}

    def listen(self, caller: Caller) -> None:
        """Subscribe to the caller's audio, now and whenever they publish it; with the default connection that is done."""
        if Improvement.LIGHT_CONNECT not in self.flags:
            return

        def published(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
            if participant.identity == caller.identity and publication.kind == rtc.TrackKind.KIND_AUDIO:
                publication.set_subscribed(True)

        self.job.room.on("track_published", published)
        if (here := self.job.room.remote_participants.get(caller.identity)) is not None:
            for publication in here.track_publications.values():
                published(publication, here)

    def speak(self, voice: Voice, greeting: Greeting) -> Speech:
        """Say the greeting on the voice, from its beginning; the session will take it over."""
        words, audio = greeting.said, greeting.audio
        if audio is None:
            words, audio = greetings.SHIPPED_TEXT, greetings.shipped_audio()
        self.speech = Speech(voice, words, audio.play())
        self.at_end(self.speech.stop)
        return self.speech

    def row(self) -> SessionRow:
        """This session's row, as far as it is known by now."""
        return SessionRow(
            id=self.job.job.id,
            account=self.account.id or None,
            started=self._began,
            flags=self.flags.variants(),
        )

    def at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Call this when the job ends, after what was opened later has been closed."""
        self._ending.push_async_callback(close)

    # --- what happens around them

    def _conditions(self) -> dict[str, bool]:
        return {**self.flags.as_conditions(), startup.ACCOUNT_IN_METADATA: self.identity.account is not None}

    def _note(self, identity: Identity) -> None:
        for problem in identity.problems:
            self.run.event("account.rejected", {"reason": problem})
            logger.warning("what names the account is not taken: %s", problem)
        if identity.account is not None:
            hashed = account_hash(identity.account, self.process.settings.account_key)
            if hashed is not None:
                self.run.attributes[ACCOUNT_HASH] = hashed

    @staticmethod
    def _said_by(caller: Caller) -> Identity:
        participant = caller.participant
        return caller_identity(participant.kind, participant.attributes, may_write(participant))

    def _link(self, identity: Identity) -> None:
        """Link the sender's own trace, whether or not it is they who name the account."""
        if identity.traceparent is not None:
            sender = TraceContextTextMapPropagator().extract({"traceparent": identity.traceparent}, Context())
            self._trace.link(otel.get_current_span(sender).get_span_context(), EDGE_CALLER)

    @guarded
    def _tell_figures(self) -> None:
        start_metrics.send(Figures.of(self.run.record(), self._trace.context))
        start_metrics.send_dropped(self.process.exporting.newly_dropped())

    def _within(self, seconds: float, otherwise: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.run.stop, otherwise)

    def _no_more_limits(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._presence is not None:
            self._presence.close()
        self.job.room.off("disconnected", self._room_gone)

    def _room_gone(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.run.event("room.disconnected", {"reason": rtc.DisconnectReason.Name(reason)})
        if reason not in _EMPTY_ROOM:
            self.run.stop(Outcome.FAILED)
        else:
            self.run.stop(Outcome.NO_CALLER if self._presence is None else Outcome.ABANDONED)

    async def _give_up(self, voice: Voice | None, closed: CloseEvent) -> None:
        """LiveKit has closed the session for too many errors of a provider: tell the caller, end the job."""
        part = "conversation" if closed.error is None else closed.error.type
        try:
            await apologize(self.job.room, voice)
        except Exception as error:  # gone or deaf: either way there is nothing more to be said
            logger.warning("the caller could not be told that the conversation failed: %s", type(error).__qualname__)
        self.run.stop(Outcome.FAILED)
        self.job.shutdown(reason=f"conversation failed: {part}")

    async def _over(self, reason: str) -> None:
        """The job ends: write how, close what this session opened. Its spans are exported when the process ends."""
        store = self.process.store
        row = replace(self.row(), first_word=self.run.record().ttfw, ended=reason)
        async with self._ending:
            await self._write("row", store.record_session(row))
            last = self.conversation and self.conversation.last_session()
            if last and self.account.id:
                await self._write("resumption data", store.save_last_session(self.account.id, last))

    async def _write(self, what: str, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self.process.settings.store_deadline):
                await writing
        except (StoreError, TimeoutError):
            logger.warning("the session's %s could not be written", what)


async def conduct(job: JobContext, process: Process) -> None:
    """One call, from the job to the point where LiveKit's session goes on by itself."""
    await Call(job, process).conduct()
