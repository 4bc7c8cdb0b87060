"""The state of one call, which the tasks of its plan share.

Made by `firstword.agent.entrypoint`. It is data: the modules beside this one are the functions that work on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from livekit.agents import AgentSession, JobContext

from firstword.agent.accounts.identity import Access, Identity, Trust
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.audio.voice import Speech, Voice
from firstword.agent.call.caller import Caller, Callers
from firstword.agent.call.early_messages import EarlyMessages
from firstword.agent.call.limits import Limits
from firstword.agent.conversation.allowance import Allowance
from firstword.agent.conversation.conversation import Conversation
from firstword.agent.conversation.events import Events
from firstword.agent.flags.improvements import Flags
from firstword.agent.process.job_process import Process
from firstword.agent.process.unheard import Unheard
from firstword.telemetry.run import Run
from firstword.telemetry.spans import StartTrace

if TYPE_CHECKING:
    from firstword.agent.audio.early_input import EarlyInput


@dataclass(eq=False, repr=False)  # it is one and no other; what it holds of a caller belongs in no log
class Call:
    """One call: what it was given, what may end it, and what is known of it so far."""

    job: JobContext
    process: Process
    flags: Flags
    identity: Identity
    """What the job's metadata says of the account."""
    trust: Trust
    """Who may name an account in this call."""
    run: Run
    """Its start. Tasks ask its clock for the time, so that all of a call is on one clock."""
    trace: StartTrace
    limits: Limits
    unheard: Unheard
    began: float
    """When, Unix time, seconds."""
    callers: Callers
    """Finds the caller in the room."""
    caller: asyncio.Future[Caller]
    """Who the caller is, once LiveKit has announced them."""

    events: Events = field(default_factory=Events)
    """What happens in room and session."""
    caller_said: Identity | None = None
    """What the caller's attributes say of the account, looked at once, when they are first seen: a claim may expire later."""
    access: Access = Access.ALL
    """How much of the account that is named this call may use."""
    account: GreetingFields = GENERIC
    """The account that is named, once it has been read."""
    allowance: Allowance = field(default_factory=Allowance)
    """Of answers to what is sent and not said: keys and texts."""
    server_ahead: int = 0
    """By how many ns the server's clock is ahead of ours, once the room is there."""
    ear: EarlyInput | None = None
    """What hears the caller, from before the connect on; None in a console, or where LiveKit's private input has moved."""
    speech: Speech | None = None
    """The greeting that was begun before there was a session."""
    conversation: Conversation | None = None
    """What is known of the conversation, once its handlers are attached."""
    messages: EarlyMessages | None = None
    """What participants sent before somebody listened."""
    joining: asyncio.Future[None] | None = None
    """The connect, once it has begun; LiveKit can't cancel one."""
    voice: Voice | None = None
    """The agent's voice, where it is published before the session."""
    session: AgentSession[Any] | None = None
    """LiveKit's session, once it has started."""
    ended: str | None = None
    """Why the call ends, once it must."""
    leaving: asyncio.Task[None] | None = None
    """Tells the caller, frees the room and ends the job, once the call must end."""
    closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    """Closes what the call has opened, when the job ends."""

    @property
    def owner(self) -> GreetingFields:
        """Whose call it is: the account that is named, unless two claims name two."""
        return GENERIC if self.access is Access.NONE else self.account

    @property
    def remembers(self) -> bool:
        """Whether the account's last session is read, and this one written for the next."""
        return self.access is Access.ALL and self.process.settings.resumption == "on"

    async def whole(self, account: GreetingFields) -> Account:
        """All that this call's assistant may know of the account. Raises StoreError."""
        if self.access is Access.ALL:
            return await self.process.whole(account)
        return replace(GENERIC, language=account.language)

    def now(self) -> float:
        """The time on the run's clock, Unix time, seconds."""
        return self.run.clock() / 1e9

    def at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have `close` called when the job ends: in reverse order, so what was opened last is closed first."""
        self.closing.push_async_callback(close)
