"""Handles the events of a conversation: keys pressed, errors, who comes, how many turns there were.

Attached by the plan's `event_handlers` task; `firstword.agent.conversation.events` brings what happened before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, ConversationItemAddedEvent, ErrorEvent, llm

from firstword.agent.accounts.model import LastSession
from firstword.agent.conversation.allowance import Allowance
from firstword.agent.conversation.events import Handler
from firstword.agent.conversation.keypad import Keypad

logger = logging.getLogger("firstword")

ROOM_EVENTS = ("participant_connected", "sip_dtmf_received")
COUNTED_EVENTS = ("data_received",)
"""Events of the room that are only counted. Nobody handles them, and they may be large."""
SESSION_EVENTS = ("conversation_item_added", "error")

REMEMBERED = 300
"""Characters of the caller's last words that the next session is told."""


@dataclass
class Conversation:
    """What is known of the conversation so far, for the session's row and for the account's next session. Its handlers
    keep it current.
    """

    session: AgentSession[Any]
    caller: str
    """Identity of the participant whose keys count."""
    allowance: Allowance = field(default_factory=Allowance)
    turns: int = 0
    """Messages of either side."""
    errors: int = 0
    """Failures of STT, LLM and TTS that the session reported."""
    others: int = 0
    """Participants besides the caller who have come."""
    last_words: str = ""
    """What the caller said last."""
    keypad: Keypad = field(init=False)

    def __post_init__(self) -> None:
        self.keypad = Keypad(self.caller, self._enter)

    def handlers(self) -> dict[str, Handler]:
        """Returns the handlers of events by the event's name, for `Events.deliver_to`."""
        return {
            "participant_connected": self._came,
            "sip_dtmf_received": self._key,
            "conversation_item_added": self._item,
            "error": self._error,
        }

    def last_session(self, ended: float) -> LastSession | None:
        """Returns what the account's next session is told of this one, made without an LLM. None if the caller said
        nothing.

        ended: when this session ended, Unix time in seconds.
        """
        words = " ".join(self.last_words.split())
        if not words:
            return None
        return LastSession(ended, f"The last words of the caller were: {shorten(words, REMEMBERED)}", left_open="")

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        self.others += 1
        logger.info("another participant came", extra={"kind": rtc.ParticipantKind.Name(participant.kind)})

    def _key(self, dtmf: rtc.SipDTMF) -> None:
        self.keypad.press(dtmf.digit, None if dtmf.participant is None else dtmf.participant.identity)

    def _enter(self, entry: str) -> None:
        if self.allowance.take():
            self.session.generate_reply(user_input=f"(pressed {entry} on the telephone)")

    def _item(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage):
            self.turns += 1
            if event.item.role == "user":
                self.last_words = event.item.text_content or self.last_words

    def _error(self, event: ErrorEvent) -> None:
        self.errors += 1
        logger.warning("a part of the conversation failed", extra={"source": type(event.source).__name__})  # pyright: ignore[reportUnknownArgumentType]
