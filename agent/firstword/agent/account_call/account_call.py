"""The state of one call of the shipped worker: any agent's call, and the account that it is of.

Made by `firstword.agent.entrypoint`, shared by the tasks of `firstword.agent.startup`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from firstword.agent.accounts.identity import Access, Identity, Trust
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.call.call import Call
from firstword.agent.conversation.allowance import Allowance
from firstword.agent.conversation.conversation import Conversation
from firstword.agent.conversation.events import Events
from firstword.agent.flags.improvements import Flags
from firstword.agent.process.job_process import Process


@dataclass(eq=False, repr=False, kw_only=True)
class AccountCall(Call):
    """The state of one call of the shipped worker: any agent's call, plus flags, process, and what is known of its
    account so far.
    """

    process: Process
    flags: Flags
    identity: Identity
    """What the job's metadata says of the account."""
    trust: Trust
    """Who may name an account in this call."""
    began: float
    """When the call began, Unix time in seconds."""
    interrupted: bool = False
    """Whether the call goes on whose agent has died."""

    events: Events = field(default_factory=Events)
    """Events of the room and the session, kept for handlers that come later."""
    caller_said: Identity | None = None
    """What the caller's attributes say of the account. Read once, when they are first seen: a claim may expire later.
    """
    access: Access = Access.ALL
    """How much of the account that is named this call may use."""
    account: GreetingFields = GENERIC
    """The account that is named, once it has been read; the generic one before."""
    allowance: Allowance = field(default_factory=Allowance)
    """Limits the answers to keys and texts that participants send."""
    conversation: Conversation | None = None
    """The conversation so far, once its handlers are attached."""

    @property
    def owner(self) -> GreetingFields:
        """Returns the account whose call it is; the generic one if the job and the caller's claim name two accounts."""
        return GENERIC if self.access is Access.NONE else self.account

    @property
    def remembers(self) -> bool:
        """Returns whether the account's last session is read, and this one is written for the next."""
        return self.access is Access.ALL and self.process.settings.resumption == "on"

    async def whole(self, account: GreetingFields) -> Account:
        """Returns the whole account, as far as this call's assistant may know it; the generic one if it is gone. Raises
        StoreError.

        Unless `access` is ALL, reads nothing and returns the generic account in that account's language.
        """
        if self.access is Access.ALL:
            return await self.process.whole(account)
        return replace(GENERIC, language=account.language)
