"""THE plan: the start-up of a session, read top to bottom. Connect, wait, greet; everything else after the first word.

What a task needs are its parameters. Flags decide what is deferred and what an argument is, never a second way of doing it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, JobContext
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.voice import room_io

from firstword.agent import run_folder
from firstword.agent.accounts.identity import Access, Identity, whose
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.audio.background import start_background_audio
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.voice import Voice
from firstword.agent.call.agent_session import new_session, options_of
from firstword.agent.call.arrival import arrival, identity_of
from firstword.agent.call.call import Call
from firstword.agent.call.caller import Caller, may_be_listening
from firstword.agent.call.ending import hang_up, row_of
from firstword.agent.call.hearing import hear
from firstword.agent.call.playout import say, speak, speech_failed
from firstword.agent.call.room import join
from firstword.agent.call.second_caller import watch_microphones
from firstword.agent.call.writing import write_greeting, write_next_greeting
from firstword.agent.conversation import components as parts
from firstword.agent.conversation.assistant import Assistant
from firstword.agent.conversation.components import Components
from firstword.agent.conversation.conversation import Conversation
from firstword.agent.flags.improvements import Improvement
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import Greeting
from firstword.agent.process.job_process import Process, set_up_metrics
from firstword.agent.process.tcp_nodelay import send_at_once
from firstword.agent.settings import Settings, read_settings
from firstword.telemetry.plan import Plan, unless, when
from firstword.telemetry.run import cache_result, waited_for
from firstword.telemetry.vocabulary import ACCOUNT_RESULT, CONNECT, ROOT, WAIT

logger = logging.getLogger("firstword")

REMEMBERED_S = 30 * 86_400.0
"""Seconds for which a call is told what was said in the last one."""
ACCOUNT_IN_METADATA = "account-in-metadata"
"""The fact about a session that its job's metadata names the account, so that nobody has to wait for the caller to know."""

plan = Plan(ROOT, given=("job", "process", "call"))


# --- connect


@plan.task(closes=CONNECT)
async def room(call: Call) -> rtc.Room:
    """Join the room."""
    return await join(call)


@plan.task(only=when(Improvement.LIGHT_CONNECT))
async def track(job: JobContext, call: Call) -> Voice:
    """Make the agent's voice while the room connects."""
    call.voice = Voice(job.room)
    call.at_end(call.voice.aclose)
    return call.voice


# --- wait


@plan.task(only=when(Improvement.LIGHT_CONNECT))
async def voice(room: rtc.Room, track: Voice, call: Call) -> Voice:
    """Publish it before anybody is there, and listen."""
    send_at_once()
    await track.publish()
    hear(call)
    return track


@plan.task(closes=WAIT)
async def caller(room: rtc.Room, call: Call, voice: Voice | None = None) -> None:
    """Wait until a caller is there: the first participant, or whoever subscribes to the voice and may be one.

    Who has come and does not subscribe is waited for no longer than for anything else of a start.
    """
    arriving = asyncio.ensure_future(arrival(call))
    try:
        if voice is not None:
            await voice.subscribed()
            waited_for(call.run.clock())
        if voice is None or not may_be_listening(room):
            waited_for(await arriving)
    finally:
        arriving.cancel()


@plan.task()
async def participant(room: rtc.Room, caller: None, call: Call) -> Caller:
    """Who the caller is: LiveKit may announce them after they have subscribed."""
    if not call.caller.done():
        waited_for(await arrival(call))
    watch_microphones(call)
    return call.caller.result()


# --- greet


@plan.task(only=unless(ACCOUNT_IN_METADATA))
async def identity(participant: Caller, call: Call) -> Identity:
    """Whose account it is, by what the caller's token says."""
    return identity_of(call, participant)


def _generic_account(call: Call) -> Account:
    call.run.attributes[ACCOUNT_RESULT] = "fallback"
    return GENERIC


@plan.task(fallback=_generic_account)
async def account(process: Process, call: Call, identity: Identity | None = None) -> GreetingFields:
    """Read the account: what the greeting needs of it first, or all of it at once."""
    named = whose(call.identity, identity)
    name, call.access = named.account, min(call.access, named.access)
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
    if account is None:
        logger.warning("the account that is named is not in the store: the caller hears the generic greeting")
    call.account = account or GENERIC
    return call.account


@plan.task()
async def config(call: Call) -> Settings:
    """The settings this session runs with."""
    return call.process.settings if Improvement.CACHED_CONFIG in call.flags else read_settings()


@plan.task()
async def components(config: Settings, account: GreetingFields, process: Process, call: Call) -> Components:
    """STT, LLM, TTS and VAD, built here or before the job; they listen and speak as the account wants."""
    built = process.components or parts.build(config, Refusals(run_folder.find()))
    call.at_end(built.aclose)
    built.fit(account)
    return built


def _generic_assistant(call: Call) -> Assistant:
    """The account's rest could not be read: the assistant knows nothing of it."""
    return Assistant(GENERIC, hang_up(call))


@plan.task(readies=True, fallback=_generic_assistant)
async def assistant(account: GreetingFields, process: Process, call: Call) -> Assistant:
    """Make the assistant: minimal, or with instructions, knowledge and tools at once."""
    if Improvement.ASSISTANT_PREWARM in call.flags:
        return Assistant(GENERIC, hang_up(call), patience=process.settings.account_deadline)
    return Assistant(await call.whole(account), hang_up(call))


@plan.task()
async def room_options(call: Call) -> room_io.RoomOptions:
    """How the session listens and speaks in the room."""
    return options_of(call.flags, call.allowance)


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
    if call.access is Access.NONE:  # since it was made
        assistant = Assistant(GENERIC, hang_up(call))
    started = new_session(call, components, voice)
    listens_to = call.limits.presence.caller.participant
    room_options.participant_identity = listens_to.identity
    room_options.participant_kinds = [*DEFAULT_PARTICIPANT_KINDS, listens_to.kind]
    room_options.audio_output = room_options.audio_output if voice is None else False
    room_options.audio_input = room_options.audio_input if call.ear is None else False
    await started.start(agent=assistant, room=room, room_options=room_options)
    call.session = started
    if call.messages is not None:
        call.messages.session_runs()
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
async def upgrade(account: GreetingFields, assistant: Assistant, call: Call) -> None:
    """Make the minimal assistant the full one, before the caller's first turn ends."""
    await assistant.become(await call.whole(account))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP))
async def event_handlers(session: AgentSession[Any], call: Call) -> Conversation:
    """Attach what a conversation does with its events; what happened before is replayed to it."""
    conversation = Conversation(session, call.caller.result().identity, call.allowance)
    call.events.deliver_to(conversation.handlers())
    call.conversation = conversation
    return conversation


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def background_audio(room: rtc.Room, session: AgentSession[Any], call: Call) -> None:
    """Ambience, and the sound of thinking."""
    call.at_end(await start_background_audio(room, session))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def resumption(account: GreetingFields, assistant: Assistant, process: Process, call: Call) -> None:
    """Tell the assistant about the last session."""
    if account is not GENERIC and call.remembers:
        last = await process.store.resumption(account.id)
        await assistant.resume(last if last and call.now() - last.ended <= REMEMBERED_S else None)


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def analytics(account: GreetingFields, process: Process, call: Call) -> None:
    """Write the session's row to the store. Its end is added when the job ends."""
    await process.store.record_session(row_of(call))


@plan.task(deferred=when(Improvement.DEFERRED_METRICS), fallback=lambda: None)
async def metrics(process: Process) -> None:
    """Set up the collectors of the session's figures."""
    set_up_metrics(process.exporting)


@plan.task()
async def greeting(account: GreetingFields, components: Components, call: Call) -> Greeting:
    """Write the greeting; its audio comes from the cache, or is synthesised from now on, or when it is said."""
    return await write_greeting(call, account, components)


@plan.first_word
async def playout(
    caller: None,
    greeting: Greeting,
    call: Call,
    session: AgentSession[Any] | None = None,
    voice: Voice | None = None,
) -> None:
    """Speak; returns at the first frame on a track the caller is subscribed to."""
    if call.access is Access.NONE:
        greeting = greetings.shipped()
    if session is not None:
        await say(call, session, voice, greeting)
    elif voice is not None:
        await speak(call, voice, greeting)
    call.unheard.heard()


@plan.task(only=when(Improvement.SMART_GREETING), deferred=True, fallback=lambda: None)
async def greeting_cache(greeting: Greeting, components: Components, process: Process, call: Call) -> None:
    """Keep what the cache did not have, for the next call; say where the shipped greeting had to follow the first word."""
    failure = None if greeting.audio is None else await greeting.audio.failure()
    if failure is not None:
        speech_failed(call, failure)
    if process.speeches is not None:
        await greetings.keep(greeting, components.synthesis, process.speeches)


@plan.task(only=when(Improvement.SMART_GREETING), deferred=True, fallback=lambda: None)
async def next_greeting(account: GreetingFields, components: Components, call: Call) -> None:
    """Let the LLM write and speak the next call's greeting, where it is the LLM that writes."""
    await write_next_greeting(call, account, components)


plan.check()
