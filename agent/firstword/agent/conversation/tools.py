"""The tools that an account may list by name: what the LLM can call while the assistant talks.

Beside `firstword.agent.conversation.assistant`. A user's own tools join them in `firstword.agent.parts`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livekit.agents import RunContext, function_tool, llm

from firstword.agent.accounts.model import Account
from firstword.agent.conversation.prompt_data import as_data

logger = logging.getLogger("firstword")

MAX_KNOWLEDGE: Final = 2_000
"""Characters of one text of an account's knowledge."""
_MAX_QUERY: Final = 400
"""Characters of a query that are looked at."""
_SHORTEST_WORD: Final = 3
_MOST_FOUND: Final = 5

HangUp: TypeAlias = Callable[[], None]
"""Function that ends the call, for the caller too."""
MakeTool: TypeAlias = Callable[[Account, HangUp], "llm.Tool"]
"""Function that makes a tool for one call: of this account, and with what ends the call."""


def tools_of(account: Account, known: Mapping[str, MakeTool], hang_up: HangUp) -> list[llm.Tool | llm.Toolset]:
    """Returns the tools that the account lists. A name that is not known is left out, which is a warning, once a
    process.
    """
    for name in set(account.tools) - known.keys():
        _warn_unknown(name)
    return [known[name](account, hang_up) for name in account.tools if name in known]


def unknown_tools(listed: set[str], known: Mapping[str, MakeTool]) -> str | None:
    """Returns one line on the tools that accounts list and nobody has, or None if there is none."""
    unknown = ", ".join(map(repr, sorted(listed - known.keys())))
    if not unknown:
        return None
    return f"accounts list tools that nobody has: {unknown}; expected {', '.join(known)}; possible cause: a slip in a name, or FIRSTWORD_PARTS without them"


@cache
def _warn_unknown(name: str) -> None:
    logger.warning("an account lists the tool %r, which nobody has", name)


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
    return "\n".join(as_data(text, MAX_KNOWLEDGE) for _, text in best) or "Nothing is known about that."


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


SHIPPED_TOOLS: Final[Mapping[str, MakeTool]] = {"current_time": _time, "look_up": _knowledge, "end_call": _end}
"""By name, the one that an account lists and the LLM is told."""
