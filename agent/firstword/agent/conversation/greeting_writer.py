"""Has the LLM write the greeting instead of the template (`FIRSTWORD_GREETING_WRITER=llm`).

Beside `firstword.agent.greeting.text`, which it falls back to. If greetings are cached, the LLM writes during one call
for the next. Nobody waits for it, and the audio can be cached too. Otherwise it writes while the caller waits.
"""

from __future__ import annotations

import time

from livekit.agents import llm

from firstword.agent.accounts.model import GreetingFields
from firstword.agent.cache.cache import Cache
from firstword.agent.conversation.components import Components
from firstword.agent.greeting.text import MAX_TEXT, GreetingText, day_part

LIFETIME_S = 86_400.0
"""Seconds for which a text is used. Each call writes a new one."""
_TASK = (
    "Write the one or two sentences with which a voice assistant answers the telephone, in the language {language}. "
    "The caller is {name}. It is {day_part} where they live. Plain words, nothing else."
)


async def write(account: GreetingFields, template: GreetingText, components: Components) -> GreetingText:
    """Returns a greeting that the LLM writes, or the template's if it writes nothing that can be said, as a realtime
    model does. Raises LiveKit's APIError.
    """
    if isinstance(components.llm, llm.RealtimeModel):
        return template
    request = _TASK.format(
        language=account.language, name=account.name or "unknown", day_part=template.day_part or "daytime"
    )
    context = llm.ChatContext.empty()
    context.add_message(role="user", content=request)
    async with components.llm.chat(chat_ctx=context) as stream:
        text = " ".join("".join([part async for part in stream.to_str_iterable()]).split())
    # no day part: it has no opening of its own
    return GreetingText(text, None) if text and text.isprintable() and len(text) <= MAX_TEXT else template


async def last_written(account: GreetingFields, template: GreetingText, cache: Cache) -> GreetingText:
    """Returns the greeting that the LLM wrote during an earlier call, or the template's if none is cached."""
    kept = await cache.get(_key(account))
    return template if kept is None else GreetingText(kept.value.decode("utf-8", "replace"), None)


async def keep(account: GreetingFields, written: GreetingText, cache: Cache) -> None:
    """Caches the greeting for the account's next call at this part of the day."""
    await cache.put(_key(account), written.text.encode(), owner=account.id, lifetime=LIFETIME_S)


def _key(account: GreetingFields) -> tuple[str, ...]:
    """All that it is written from: a good evening is not said in the morning, nor is a name that has changed."""
    return "greeting text", account.id, account.name, account.language, day_part(account.time_zone, time.time()) or ""
