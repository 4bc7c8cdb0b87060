"""THE plan: the start-up of a session, read top to bottom. Connect, wait, greet; everything else after the first word.

What a task needs are its parameters. Flags decide what is deferred and what an argument is, never a second way of doing it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from livekit import rtc
from livekit.agents import NOT_GIVEN, AgentSession, APIError, JobContext
from livekit.agents.voice import room_io

from firstword.agent.accounts.identity import Identity, whose
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.audio.background import start_background_audio
from firstword.agent.audio.voice import ON_THE_WAY_S, Voice
from firstword.agent.call.caller import Caller, first_caller, may_be_listening, missed
from firstword.agent.conversation import components as parts
from firstword.agent.conversation import console, greeting_writer
from firstword.agent.conversation.assistant import Assistant
from firstword.agent.conversation.components import Components
from firstword.agent.conversation.conversation import ROOM_EVENTS, Conversation
from firstword.agent.flags.improvements import Improvement
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import Greeting
from firstword.agent.greeting.text import GreetingText, greeting_text
from firstword.agent.process.job_process import Process, set_up_metrics
from firstword.agent.process.tcp_nodelay import send_at_once
from firstword.agent.settings import Settings, read_settings, settings
from firstword.telemetry.livekit import NotSpoken, first_frame
from firstword.telemetry.plan import Plan, unless, when
from firstword.telemetry.run import cache_result, ended_at, waited_for
from firstword.telemetry.vocabulary import ACCOUNT_RESULT, CONNECT, ROOT, WAIT

if TYPE_CHECKING:
    from firstword.agent.call.call import Call

ACCOUNT_IN_METADATA = "account-in-metadata"
"""The fact about a session that its job's metadata names the account, so that nobody has to wait for the caller to know."""

plan = Plan(ROOT, given=("job", "process", "call"))


# --- connect


@plan.task(closes=CONNECT)
async def room(job: JobContext, call: Call) -> rtc.Room:
    """Join the room."""
    call.events.watch(job.room, ROOM_EVENTS)
    connecting = call.run.clock()
    await job.connect(**call.connect_options())
    call.connected(connecting)
    return job.room


@plan.task(only=when(Improvement.LIGHT_CONNECT))
async def track(job: JobContext, call: Call) -> Voice:
    """Make the agent's voice while the room connects."""
    early = Voice(job.room)
    call.at_end(early.aclose)
    return early


# --- wait


@plan.task(only=when(Improvement.LIGHT_CONNECT))
async def voice(room: rtc.Room, track: Voice) -> Voice:
    """Publish it before anybody is there."""
    send_at_once()
    await track.publish()
    return track


@plan.task(closes=WAIT)
async def caller(room: rtc.Room, call: Call, voice: Voice | None = None) -> None:
    """Wait until a caller is there: the first participant, or whoever subscribes to the voice and may be one."""
    if voice is not None:
        await voice.subscribed()
        waited_for(call.run.clock())
    if voice is None or not may_be_listening(room):
        waited_for(call.caller_is(await first_caller(room)))


@plan.task()
async def participant(room: rtc.Room, caller: None, call: Call) -> Caller:
    """Who the caller is: LiveKit may announce them after they have subscribed."""
    if not call.known.done():
        waited_for(call.caller_is(await first_caller(room)))
    return call.known.result()


# --- greet


@plan.task(only=unless(ACCOUNT_IN_METADATA))
async def identity(participant: Caller, call: Call) -> Identity:
    """Whose account it is, by what the caller's token says."""
    return call.identity_of(participant)


def _generic_account(call: Call) -> Account:
    call.run.attributes[ACCOUNT_RESULT] = "fallback"
    return GENERIC


@plan.task(fallback=_generic_account)
async def account(process: Process, call: Call, identity: Identity | None = None) -> GreetingFields:
    """Read the account: what the greeting needs of it first, or all of it at once."""
    name = whose(call.identity, identity)
    if name is None:
        call.run.attributes[ACCOUNT_RESULT] = "unknown"
        return GENERIC
    if process.accounts is None:
        account, hit = await process.store.account(name), False
    else:
        found = await process.accounts.first(name)
        account, hit = found.account, found.hit
        cache_result(hit=hit)
    call.run.attributes[ACCOUNT_RESULT] = "unknown" if account is None else "hit" if hit else "miss"
    call.account = account or GENERIC
    return call.account


@plan.task()
async def config(call: Call) -> Settings:
    """The settings this session runs with."""
    return settings() if Improvement.CACHED_CONFIG in call.flags else read_settings()


@plan.task()
async def components(config: Settings, account: GreetingFields, process: Process, call: Call) -> Components:
    """STT, LLM, TTS and VAD, built here or before the job; they listen and speak as the account wants."""
    built = process.components or parts.build(config)
    call.at_end(built.aclose)
    built.fit(account)
    return built


def _generic_assistant() -> Assistant:
    """The account's rest could not be read: the assistant knows nothing of it."""
    return Assistant(GENERIC)


@plan.task(readies=True, fallback=_generic_assistant)
async def assistant(account: GreetingFields, process: Process, call: Call) -> Assistant:
    """Make the assistant: minimal, or with instructions, knowledge and tools at once."""
    if Improvement.ASSISTANT_PREWARM in call.flags:
        return Assistant(GENERIC, patience=process.settings.account_deadline)
    return Assistant(await process.whole(account))


@plan.task()
async def room_options(config: Settings, call: Call) -> room_io.RoomOptions:
    """How the session listens and speaks in the room."""
    return call.room_options(config)


@plan.task(readies=True, deferred=when(Improvement.SMART_GREETING, Improvement.LIGHT_CONNECT))
async def session(
    room: rtc.Room,
    participant: Caller,
    components: Components,
    assistant: Assistant,
    room_options: room_io.RoomOptions,
    call: Call,
    voice: Voice | None = None,
) -> AgentSession[Any]:
    """Start LiveKit's session: from here on it listens. A greeting that has begun becomes its own."""
    started = call.new_session(components, voice)
    room_options.participant_identity = participant.identity
    room_options.audio_output = room_options.audio_output if voice is None else False
    await started.start(agent=assistant, room=room, room_options=room_options)
    call.listen(participant)
    if call.speech is not None:
        call.speech.hand_over(started)
    return started


def _stay_minimal(assistant: Assistant) -> None:
    """The account's rest could not be read: the minimal assistant talks on."""
    assistant.stay()


@plan.task(
    readies=True,
    only=when(Improvement.ASSISTANT_PREWARM),
    deferred=when(Improvement.ASSISTANT_PREWARM),
    fallback=_stay_minimal,
)
async def upgrade(account: GreetingFields, assistant: Assistant, process: Process) -> None:
    """Make the minimal assistant the full one, before the caller's first turn ends."""
    await assistant.become(await process.whole(account))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP))
async def event_handlers(session: AgentSession[Any], call: Call) -> Conversation:
    """Attach what a conversation does with its events; what happened before is replayed to it."""
    conversation = Conversation(session)
    call.events.deliver_to(conversation.handlers())
    call.conversation = conversation
    return conversation


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def background_audio(room: rtc.Room, session: AgentSession[Any], call: Call) -> None:
    """Ambience, and the sound of thinking."""
    call.at_end(await start_background_audio(room, session))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def resumption(account: GreetingFields, assistant: Assistant, process: Process) -> None:
    """Tell the assistant about the last session."""
    if account is not GENERIC:
        await assistant.resume(await process.store.resumption(account.id))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def analytics(account: GreetingFields, process: Process, call: Call) -> None:
    """Write the session's row; how it ended is written when it has."""
    await process.store.record_session(call.row())


@plan.task(deferred=when(Improvement.DEFERRED_METRICS), fallback=lambda: None)
async def metrics(process: Process) -> None:
    """Set up the collectors of the session's figures."""
    set_up_metrics(process.exporting)


@plan.task()
async def greeting(account: GreetingFields, components: Components, process: Process, call: Call) -> Greeting:
    """Write the greeting; its audio comes from the cache, or is synthesised from now on, or when it is said."""
    written = greeting_text(account, time.time())
    if written.problem is not None:
        call.run.event("greeting.generic", {"reason": written.problem})
    if process.settings.greeting_writer == "llm":
        written = await _written(written, account, components, process, call)
    if process.speeches is None:
        return Greeting(written.text)
    voice = account.voice or process.settings.tts_voice
    deadline = process.settings.greeting_deadline
    prepared = await greetings.prepared(
        written, account, components.synthesis, voice, process.speeches, deadline=deadline
    )
    if prepared.audio is not None:
        call.at_end(prepared.audio.aclose)
    cache_result(hit=bool(prepared.hit))
    return prepared


@plan.first_word
async def playout(
    caller: None,
    greeting: Greeting,
    process: Process,
    call: Call,
    session: AgentSession[Any] | None = None,
    voice: Voice | None = None,
) -> None:
    """Speak; returns at the first frame on a track the caller is subscribed to."""
    if session is not None:
        await _say(session, voice, greeting, process.settings, call)
    elif voice is not None:
        await _speak(voice, greeting, process.settings, call)
    call.heard()


@plan.task(only=when(Improvement.SMART_GREETING), deferred=True, fallback=lambda: None)
async def greeting_cache(greeting: Greeting, components: Components, process: Process, call: Call) -> None:
    """Keep what the cache did not have, for the next call; say where the shipped greeting had to follow the first word."""
    failure = None if greeting.audio is None else await greeting.audio.failure()
    if failure is not None:
        call.speech_failed(failure)
    if process.speeches is not None:
        await greetings.keep(greeting, components.synthesis, process.speeches)


@plan.task(only=when(Improvement.SMART_GREETING), deferred=True, fallback=lambda: None)
async def next_greeting(account: GreetingFields, components: Components, process: Process) -> None:
    """Let the LLM write and speak the next call's greeting, where it is the LLM that writes."""
    if process.settings.greeting_writer != "llm" or process.caches.speeches is None or process.speeches is None:
        return
    written = await greeting_writer.write(account, greeting_text(account, time.time()), components)
    await greeting_writer.keep(account, written, process.caches.speeches)
    voice = account.voice or process.settings.tts_voice
    await greetings.make_ahead(written, account, components.synthesis, voice, process.speeches)


async def _written(
    template: GreetingText, account: GreetingFields, components: Components, process: Process, call: Call
) -> GreetingText:
    """What the LLM wrote during the last call or, with nothing cached, what it writes now; the template's if it can't."""
    if process.caches.speeches is not None:
        return await greeting_writer.last_written(account, template, process.caches.speeches)
    try:
        async with asyncio.timeout(process.settings.greeting_deadline):
            return await greeting_writer.write(account, template, components)
    except (APIError, TimeoutError) as error:
        call.run.event("greeting.template", {"reason": type(error).__qualname__})
        return template


async def _speak(voice: Voice, greeting: Greeting, config: Settings, call: Call) -> None:
    """Say it on the voice at once. Who came after it had begun hears it from its beginning."""
    while True:
        speech = call.speak(voice, greeting)
        try:
            async with asyncio.timeout(config.speech_deadline):
                began = await speech.begun()
        except Exception as error:  # the TTS's own errors, whichever provider it is
            call.speech_failed(error)
            await speech.stop()
            greeting = greetings.shipped()
            continue
        # LiveKit may announce who subscribed later than they heard it
        found = await call.listener()
        if found is None or missed(found, began, call.server_ahead):
            await speech.stop()
            await asyncio.shield(call.known)
            call.presence.missed_it()
        if call.presence.hears:
            ended_at(began)
            await asyncio.sleep(ON_THE_WAY_S)
            return
        await speech.stop()
        await call.presence.hearing()


async def _say(
    session: AgentSession[Any], voice: Voice | None, greeting: Greeting, config: Settings, call: Call
) -> None:
    """Let the session say it."""
    while True:
        await call.presence.hearing()
        try:
            await _first_frame(session, voice, greeting, deadline=config.speech_deadline)
        except (TimeoutError, NotSpoken) as error:
            call.speech_failed(error)
            session.interrupt(force=True)
            await _first_frame(session, voice, greetings.shipped())
        if call.presence.hears:
            return
        # they left while it began: it begins again when they are back
        session.interrupt(force=True)


async def _first_frame(
    session: AgentSession[Any], voice: Voice | None, greeting: Greeting, deadline: float | None = None
) -> None:
    """Say it; returns at the first frame. deadline: seconds that the audio may take, once somebody has subscribed.

    Raises TimeoutError, NotSpoken.
    """
    subscribed = console.subscribed(session) if voice is None else voice.output.subscribed
    if subscribed is None:
        raise NotSpoken("the session has no audio output of its own")
    async with asyncio.timeout(None) as limit:

        def begin(_: object) -> None:
            if deadline is not None:
                limit.reschedule(asyncio.get_running_loop().time() + deadline)

        subscribed.add_done_callback(begin)
        try:
            audio = NOT_GIVEN if greeting.audio is None else greeting.audio.play()
            await first_frame(session, lambda: session.say(greeting.said, audio=audio))
        finally:
            subscribed.remove_done_callback(begin)


plan.check()
