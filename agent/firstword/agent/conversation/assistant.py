"""The assistant whom the caller talks to once the greeting is over.

Made by the plan's `assistant` task from the account; what the last session said is added when the resumption data is
there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from livekit.agents import Agent, llm

from firstword.agent.accounts.model import Account, LastSession
from firstword.agent.conversation.prompt_data import RULE, as_data
from firstword.agent.conversation.tools import MAX_KNOWLEDGE, SHIPPED_TOOLS, HangUp, MakeTool, tools_of
from firstword.agent.greeting.text import MAX_NAME

_MAX_LANGUAGE: Final = 35
"""Characters of a language's tag (RFC 5646)."""
_MAX_LAST: Final = 400
"""Characters of what was said last."""


class Assistant(Agent):
    """The agent that talks with the caller, with the instructions, knowledge and tools of one account.

    hang_up: ends the call. tools: what makes each tool, by its name. patience: seconds that an answer waits until the
    minimal assistant becomes the full one (`become`) or remains as it is (`stay`). None: it is full from the beginning.
    """

    def __init__(
        self,
        account: Account,
        hang_up: HangUp,
        *,
        tools: Mapping[str, MakeTool] = SHIPPED_TOOLS,
        patience: float | None = None,
    ) -> None:
        super().__init__(instructions=self.told(account, None), tools=tools_of(account, tools, hang_up))
        self._account = account
        self._known_tools = tools
        self._hang_up = hang_up
        self._last: LastSession | None = None
        self._patience = patience
        self._settled = asyncio.Event()

    def told(self, account: Account, last: LastSession | None) -> str:
        """Returns the instructions for this account and its last session, None if that is not known. Called before the
        assistant is made, too.
        """
        return instructions(account, last)

    async def become(self, account: Account) -> None:
        """Makes this the full assistant of the account: replaces its instructions and tools. Its answers wait no
        longer.
        """
        self._account = account
        await self.update_instructions(self.told(account, self._last))
        await self.update_tools(tools_of(account, self._known_tools, self._hang_up))
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
            await self.update_instructions(self.told(self._account, last))


def instructions(account: Account, last: LastSession | None = None) -> str:
    """Returns the LLM's instructions for the account and its last session. Texts that others filled in are marked as
    data.
    """
    data: list[str] = []
    if account.name:
        language = as_data(account.language, _MAX_LANGUAGE)
        data.append(f"You are speaking with {as_data(account.name, MAX_NAME)}, in the language {language}.")
    if account.knowledge:
        known = "\n".join(f"- {as_data(text, MAX_KNOWLEDGE)}" for text in account.knowledge)
        data.append(f"What you know of them:\n{known}")
    if last is not None:
        when = datetime.fromtimestamp(last.ended, UTC).strftime("%d %B %Y")
        left_open = f" Left open: {as_data(last.left_open, _MAX_LAST)}" if last.left_open else ""
        data.append(f"You last spoke on {when}. What is known of it: {as_data(last.summary, _MAX_LAST)}{left_open}")
    return "\n\n".join([account.instructions, *([RULE, *data] if data else [])])
