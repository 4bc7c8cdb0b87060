"""The plan of the shipped worker's start, read top to bottom: connect, wait, greet; everything else after the first
word.

What a task needs are its parameters. Flags decide what is deferred and what an argument is, never a second way of doing
it.
"""

from __future__ import annotations

import logging
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import room_io

from firstword.agent.account_call.account_call import AccountCall
from firstword.agent.account_call.account_ending import hang_up, row_of
from firstword.agent.account_call.identification import identity_of
from firstword.agent.account_call.session_options import options_of
from firstword.agent.account_call.writing import write_greeting, write_next_greeting
from firstword.agent.accounts.identity import Access, Identity, whose
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.audio.background import start_background_audio
from firstword.agent.audio.voice import Voice
from firstword.agent.call.arrival import announced_caller, until_caller
from firstword.agent.call.caller import Caller
from firstword.agent.call.playout import greet, report_failed_audio
from firstword.agent.call.room import join
from firstword.agent.call.session_start import start_session
from firstword.agent.call.speaking_first import new_voice, publish_voice
from firstword.agent.conversation.assistant import Assistant
from firstword.agent.conversation.components import Components, session_of
from firstword.agent.conversation.conversation import COUNTED_EVENTS, ROOM_EVENTS, SESSION_EVENTS, Conversation
from firstword.agent.flags.improvements import Improvement
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import PreparedGreeting
from firstword.agent.parts import WorkerParts
from firstword.agent.process.job_process import Process, set_up_metrics
from firstword.agent.settings import Settings, read_settings
from firstword.telemetry.plan import Plan, unless, when
from firstword.telemetry.run import cache_result
from firstword.telemetry.vocabulary import ACCOUNT_RESULT, CONNECT, ROOT, WAIT

logger = logging.getLogger("firstword")

REMEMBERED_S = 30 * 86_400.0
"""Seconds after a session for which the account's next call is told what was said in it."""
ACCOUNT_IN_METADATA = "account-in-metadata"
"""Condition of the plan: the job's metadata names the account. Then the account can be read before the caller is known.
"""

plan = Plan(ROOT, given=("job", "process", "call"))


# --- connect


@plan.task(closes=CONNECT)
async def room(call: AccountCall) -> rtc.Room:
    """Joins the room and returns it. Its events are watched from before the connect."""
    call.events.watch(call.job.room, ROOM_EVENTS)
    call.events.count(call.job.room, COUNTED_EVENTS)
    return await join(call)


@plan.task(only=when(Improvement.LIGHT_CONNECT))
async def track(call: AccountCall) -> Voice:
    """Makes the agent's voice (an audio track that is not published yet) while the room connects."""
    return new_voice(call)


# --- wait


@plan.task(only=when(Improvement.LIGHT_CONNECT))
async def voice(room: rtc.Room, track: Voice, call: AccountCall) -> Voice:
    """Publishes the agent's voice before the caller comes, and begins to listen. Returns the voice."""
    return await publish_voice(call, track)


@plan.task(closes=WAIT)
async def caller(room: rtc.Room, call: AccountCall, voice: Voice | None = None) -> None:
    """Waits until a caller is there: the first participant, or whoever subscribes to the voice and may be the caller.

    The start's time limit also holds for a caller who has come but does not subscribe.
    """
    await until_caller(call, voice)


@plan.task()
async def participant(room: rtc.Room, caller: None, call: AccountCall) -> Caller:
    """Returns the caller. Waits until LiveKit has announced them, which may be after they subscribed to the voice."""
    return await announced_caller(call)


# --- greet


@plan.task(only=unless(ACCOUNT_IN_METADATA))
async def identity(participant: Caller, call: AccountCall) -> Identity:
    """Returns which account the caller's attributes name, and how far the call may use it."""
    return identity_of(call, participant)


def _generic_account(call: AccountCall) -> Account:
    call.run.attributes[ACCOUNT_RESULT] = "fallback"
    return GENERIC


@plan.task(fallback=_generic_account)
async def account(process: Process, call: AccountCall, identity: Identity | None = None) -> GreetingFields:
    """Reads the account that is named: only the fields that the greeting needs, or all of it at once. Returns the
    generic one if there is none.
    """
    named = whose(call.identity, identity)
    name, call.access = named.account, min(call.access, named.access)
    call.withdrawn = call.access is Access.NONE
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
    call.language = call.account.language
    return call.account


@plan.task()
async def config(call: AccountCall) -> Settings:
    """Returns the settings of this session: those of its process, or with `cached-config` off read anew. Raises
    SettingsError.
    """
    return call.process.settings if Improvement.CACHED_CONFIG in call.flags else read_settings()


@plan.task()
async def components(config: Settings, account: GreetingFields, process: Process, call: AccountCall) -> Components:
    """Returns STT, LLM, TTS and VAD, made here or before the job, and sets them to the account's language and voice."""
    built = process.components or WorkerParts(config).components()
    call.at_end(built.aclose)
    built.fit(account)
    return built


def _generic_assistant(call: AccountCall) -> Assistant:
    """The account's rest could not be read: the assistant knows nothing of it."""
    return call.process.parts.assistant(GENERIC, hang_up(call))


@plan.task(readies=True, fallback=_generic_assistant)
async def assistant(account: GreetingFields, process: Process, call: AccountCall) -> Assistant:
    """Returns the assistant: a minimal one that `upgrade` completes, or one that has instructions, knowledge and tools
    at once.
    """
    if Improvement.ASSISTANT_PREWARM in call.flags:
        return process.parts.assistant(GENERIC, hang_up(call), process.settings.account_deadline)
    return process.parts.assistant(await call.whole(account), hang_up(call))


@plan.task()
async def room_options(call: AccountCall) -> room_io.RoomOptions:
    """Returns LiveKit's options for how the session listens and speaks in the room."""
    return options_of(call.flags, call.allowance)


@plan.task(readies=True, deferred=when(Improvement.SMART_GREETING, Improvement.LIGHT_CONNECT))
async def session(
    room: rtc.Room,
    participant: Caller,
    components: Components,
    assistant: Assistant,
    room_options: room_io.RoomOptions,
    call: AccountCall,
    voice: Voice | None = None,
) -> AgentSession[Any]:
    """Starts LiveKit's session and returns it. From here on it listens, and it goes on with a greeting that has begun."""
    if call.access is Access.NONE:  # since it was made
        assistant = _generic_assistant(call)
    started = session_of(components)
    call.events.watch(started, SESSION_EVENTS)
    return await start_session(call, started, assistant, room_options)


def _stay_minimal(assistant: Assistant) -> None:
    """The account's rest could not be read: the minimal assistant talks on."""
    assistant.stay()


@plan.task(
    readies=True,
    only=when(Improvement.ASSISTANT_PREWARM),
    deferred=when(Improvement.ASSISTANT_PREWARM),
    fallback=_stay_minimal,
)
async def upgrade(account: GreetingFields, assistant: Assistant, call: AccountCall) -> None:
    """Gives the minimal assistant the account's instructions, knowledge and tools. Its first answer waits for that."""
    await assistant.become(await call.whole(account))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP))
async def event_handlers(session: AgentSession[Any], call: AccountCall) -> Conversation:
    """Attaches the handlers of the conversation's events and returns the conversation. Earlier events are replayed to
    them.
    """
    conversation = Conversation(session, call.caller.result().identity, call.allowance)
    call.events.deliver_to(conversation.handlers())
    call.conversation = conversation
    return conversation


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def background_audio(room: rtc.Room, session: AgentSession[Any], call: AccountCall) -> None:
    """Publishes and plays background sound: a quiet room, and typing while the assistant thinks."""
    call.at_end(await start_background_audio(room, session))


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def resumption(account: GreetingFields, assistant: Assistant, process: Process, call: AccountCall) -> None:
    """Reads the account's last session from the store and tells the assistant about it, if it is not too old."""
    if account is not GENERIC and call.remembers:
        last = await process.store.resumption(account.id)
        await assistant.resume(last if last and call.now() - last.ended <= REMEMBERED_S else None)


@plan.task(deferred=when(Improvement.DEFERRED_SETUP), fallback=lambda: None)
async def analytics(account: GreetingFields, process: Process, call: AccountCall) -> None:
    """Writes the session's row to the store. How the session ended is added when the job ends."""
    await process.store.record_session(row_of(call))


@plan.task(deferred=when(Improvement.DEFERRED_METRICS), fallback=lambda: None)
async def metrics(process: Process) -> None:
    """Lets LiveKit's instruments report their metrics from now on."""
    set_up_metrics(process.exporting)


@plan.task()
async def greeting(account: GreetingFields, components: Components, call: AccountCall) -> PreparedGreeting:
    """Writes the greeting and returns it. Its audio comes from the cache, or is synthesised from now on, or when it is
    said.
    """
    return await write_greeting(call, account, components)


@plan.first_word
async def playout(
    caller: None,
    greeting: PreparedGreeting,
    call: AccountCall,
    session: AgentSession[Any] | None = None,
    voice: Voice | None = None,
) -> None:
    """Plays the greeting. Returns at the first frame on a track that the caller is subscribed to."""
    await greet(call, greeting, session, voice)


@plan.task(only=when(Improvement.SMART_GREETING), deferred=True, fallback=lambda: None)
async def greeting_cache(
    greeting: PreparedGreeting, components: Components, process: Process, call: AccountCall
) -> None:
    """Caches the greeting's audio for the next call, if the cache lacked it. Reports it if the shipped greeting had to
    take its place.
    """
    await report_failed_audio(call, greeting)
    if process.speeches is not None:
        await greetings.keep(greeting, components.speaker, process.speeches)


@plan.task(only=when(Improvement.SMART_GREETING), deferred=True, fallback=lambda: None)
async def next_greeting(account: GreetingFields, components: Components, call: AccountCall) -> None:
    """Has the LLM write the greeting of the account's next call, and synthesises it, if the LLM is the greeting's
    writer.
    """
    await write_next_greeting(call, account, components)


plan.check()
