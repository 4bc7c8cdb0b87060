"""The assistant whom the caller talks to once the greeting is over.

Made by the plan's `assistant` task from the account; what the last session said is added when the resumption data is
there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livekit.agents import Agent, RunContext, function_tool, llm

from firstword.agent.accounts.model import Account, LastSession
from firstword.agent.conversation.prompt_data import RULE, as_data
from firstword.agent.greeting.text import MAX_NAME

_MAX_LANGUAGE: Final = 35
"""Characters of a language's tag (RFC 5646)."""
_MAX_KNOWLEDGE: Final = 2_000
"""Characters of one text of an account's knowledge."""
_MAX_LAST: Final = 400
"""Characters of what was said last."""
_MAX_QUERY: Final = 400
"""Characters of a query that are looked at."""
_SHORTEST_WORD: Final = 3
_MOST_FOUND: Final = 5

HangUp: TypeAlias = Callable[[], None]
"""Function that ends the call, for the caller too."""


class Assistant(Agent):
    """The agent that talks with the caller, with the instructions, knowledge and tools of one account.

    hang_up: ends the call. patience: seconds that an answer waits until the minimal assistant becomes the full one
    (`become`) or remains as it is (`stay`). None: it is full from the beginning.
    """

    def __init__(self, account: Account, hang_up: HangUp, *, patience: float | None = None) -> None:
        super().__init__(instructions=instructions(account), tools=tools(account, hang_up))
        self._account = account
        self._hang_up = hang_up
        self._last: LastSession | None = None
        self._patience = patience
        self._settled = asyncio.Event()

    async def become(self, account: Account) -> None:
        """Makes this the full assistant of the account: replaces its instructions and tools. Its answers wait no
        longer.
        """
        self._account = account
        await self.update_instructions(instructions(account, self._last))
        await self.update_tools(tools(account, self._hang_up))
        self._settled.set()

    def stay(self) -> None:
        """Keeps the assistant as it is. Its answers wait no longer."""
        self._settled.set()

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        """Called by LiveKit before an answer. The minimal assistant waits here until it is complete, at most `patience`
        seconds.
        """
        if self._patience is None or self._settled.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._settled.wait()
        # LiveKit copied it before the wait; in it are the instructions
        turn_ctx.items[:] = self.chat_ctx.copy().items

    async def resume(self, last: LastSession | None) -> None:
        """Adds the account's last session to the instructions; None: there was none."""
        self._last = last
        if last is not None:
            await self.update_instructions(instructions(self._account, last))


def instructions(account: Account, last: LastSession | None = None) -> str:
    """Returns the LLM's instructions for the account and its last session. Texts that others filled in are marked as
    data.
    """
    data: list[str] = []
    if account.name:
        language = as_data(account.language, _MAX_LANGUAGE)
        data.append(f"You are speaking with {as_data(account.name, MAX_NAME)}, in the language {language}.")
    if account.knowledge:
        known = "\n".join(f"- {as_data(text, _MAX_KNOWLEDGE)}" for text in account.knowledge)
        data.append(f"What you know of them:\n{known}")
    if last is not None:
        when = datetime.fromtimestamp(last.ended, UTC).strftime("%d %B %Y")
        left_open = f" Left open: {as_data(last.left_open, _MAX_LAST)}" if last.left_open else ""
        data.append(f"You last spoke on {when}. What is known of it: {as_data(last.summary, _MAX_LAST)}{left_open}")
    return "\n\n".join([account.instructions, *([RULE, *data] if data else [])])


def tools(account: Account, hang_up: HangUp) -> list[Any]:
    """Returns the tools that the account may use. A name that has no tool is left out."""
    return [_TOOLS[name](account, hang_up) for name in account.tools if name in _TOOLS]


def _time(account: Account, _: HangUp) -> Any:
    @function_tool(name="current_time", description="The time and date where the caller lives.")
    async def current_time(context: RunContext[Any]) -> str:
        try:
            zone: tzinfo = ZoneInfo(account.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            zone = UTC
        return datetime.now(zone).strftime("%H:%M on %A, %d %B %Y")

    return current_time


def _knowledge(account: Account, _: HangUp) -> Any:
    @function_tool(name="look_up", description="Search what is known about the caller's account for a word or phrase.")
    async def look_up(context: RunContext[Any], query: str) -> str:
        return looked_up(account.knowledge, query)

    return look_up


def looked_up(knowledge: Sequence[str], query: str) -> str:
    """Returns the few texts of the knowledge that have most of the query's words, marked as data. Ignores words of
    under three letters.

    Returns a sentence that says so if there are none.
    """
    words = {word for word in re.findall(r"\w+", query.lower()[:_MAX_QUERY]) if len(word) >= _SHORTEST_WORD}
    scores = [(sum(word in text.lower() for word in words), text) for text in knowledge]
    best = sorted((each for each in scores if each[0]), key=lambda each: each[0], reverse=True)[:_MOST_FOUND]
    return "\n".join(as_data(text, _MAX_KNOWLEDGE) for _, text in best) or "Nothing is known about that."


def _end(_: Account, hang_up: HangUp) -> Any:
    @function_tool(name="end_call", description="End the call, once the caller has said goodbye.")
    async def end_call(context: RunContext[Any]) -> str | None:
        # what it returns is answered within the same speech; it is done when all has been played
        context.speech_handle.add_done_callback(lambda _: hang_up())
        await context.wait_for_playout()  # only then is what it said with this call known
        return None if _said_something(context) else "Say goodbye to the caller, in one short sentence."

    return end_call


def _said_something(context: RunContext[Any]) -> bool:
    """Whether the assistant spoke in the turn that called the tool."""
    items = context.speech_handle.chat_items
    return any(isinstance(item, llm.ChatMessage) and item.role == "assistant" for item in items)


_TOOLS: dict[str, Callable[[Account, HangUp], Any]] = {"current_time": _time, "look_up": _knowledge, "end_call": _end}
"""By name, the one that an account lists and the LLM is told."""
