"""Writes the greeting, for this call and for the next one: its words, and its audio.

Under the plan's `greeting` and `next_greeting` tasks; `firstword.agent.call.playout` plays it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from livekit.agents import APIError

from firstword.agent.account_call.account_call import AccountCall
from firstword.agent.accounts.model import GENERIC, GreetingFields
from firstword.agent.conversation import greeting_writer
from firstword.agent.conversation.components import Components
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import PreparedGreeting
from firstword.agent.greeting.text import GreetingText, greeting_text, interrupted_greeting
from firstword.telemetry.run import cache_result


async def write_greeting(call: AccountCall, account: GreetingFields, components: Components) -> PreparedGreeting:
    """Returns the greeting of this call. Its audio comes from the cache, is synthesised from now on, or is left to the
    session.
    """
    process = call.process
    if call.interrupted:
        # names nobody, so that everybody with this voice shares its audio
        written, account = GreetingText(interrupted_greeting(account.language), None), replace(account, id=GENERIC.id)
    else:
        written = await _written(call, account, components)
    if process.speeches is None:
        return PreparedGreeting(written.text)
    voice = components.speaker.voice
    deadline = process.settings.greeting_deadline
    greeting = await greetings.prepared(
        written, account, components.speaker, voice, process.speeches, deadline=deadline
    )
    if greeting.audio is not None:
        call.at_end(greeting.audio.aclose)
    cache_result(hit=bool(greeting.hit))
    return greeting


async def write_next_greeting(call: AccountCall, account: GreetingFields, components: Components) -> None:
    """Has the LLM write the account's next greeting, synthesises it and caches both. Does nothing unless the LLM is the
    greeting's writer.

    Raises LiveKit's APIError, and NotKept if the audio could not be cached.
    """
    process = call.process
    if process.settings.greeting_writer != "llm" or process.caches.speeches is None or process.speeches is None:
        return
    written = await greeting_writer.write(account, greeting_text(account, call.now()), components)
    await greeting_writer.keep(account, written, process.caches.speeches)
    voice = components.speaker.voice
    if voice is not None:
        await greetings.make_ahead(written, account, components.speaker, voice, process.speeches)


async def _written(call: AccountCall, account: GreetingFields, components: Components) -> GreetingText:
    written = greeting_text(account, call.now())
    if written.problem is not None:
        call.run.event("greeting.generic", {"reason": written.problem})
    if call.process.settings.greeting_writer == "llm":
        return await _written_by_llm(call, written, account, components)
    return written


async def _written_by_llm(
    call: AccountCall, template: GreetingText, account: GreetingFields, components: Components
) -> GreetingText:
    """What the LLM wrote during the last call or, with nothing cached, what it writes now; the template's if it can't."""
    process = call.process
    if process.caches.speeches is not None:
        return await greeting_writer.last_written(account, template, process.caches.speeches)
    try:
        async with asyncio.timeout(process.settings.greeting_deadline):
            return await greeting_writer.write(account, template, components)
    except (APIError, TimeoutError) as error:
        call.run.event("greeting.template", {"reason": type(error).__qualname__})
        return template
